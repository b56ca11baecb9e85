//! The fuzz targets as ordinary tests: each committed input, then fresh ones
//! made from them by chance. `fuzz/` runs the same functions under libFuzzer.
//!
//! `FANFARE_FUZZ_RUNS=n` asks for so many fresh inputs of each target,
//! `FANFARE_FUZZ_SEED=n` for others.

use std::panic::catch_unwind;
use std::path::PathBuf;

use fanfare_sim::targets::{ALL, Target};
use fastrand::Rng;

/// Fresh inputs of each target in an ordinary test run.
const RUNS: u64 = 4_000;
const INPUT_BYTES_MAX: usize = 2_000;

fn number(name: &str, default: u64) -> u64 {
    let value = std::env::var(name).ok();
    value.map_or(default, |value| value.parse().expect(name))
}

#[test]
fn apps_agree_with_their_model() {
    fuzz("apps");
}

#[test]
fn batch_agrees_with_its_model() {
    fuzz("batch");
}

#[test]
fn centrifugo_api_agrees_with_its_model() {
    fuzz("centrifugo_api");
}

#[test]
fn centrifugo_json_agrees_with_its_model() {
    fuzz("centrifugo_json");
}

#[test]
fn centrifugo_protobuf_agrees_with_its_model() {
    fuzz("centrifugo_protobuf");
}

#[test]
fn centrifugo_publication_agrees_with_its_model() {
    fuzz("centrifugo_publication");
}

#[test]
fn connection_agrees_with_its_model() {
    fuzz("connection");
}

#[test]
fn events_agree_with_their_model() {
    fuzz("events");
}

#[test]
fn head_agrees_with_its_model() {
    fuzz("head");
}

#[test]
fn inflate_agrees_with_its_model() {
    fuzz("inflate");
}

#[test]
fn log_agrees_with_its_model() {
    fuzz("log");
}

#[test]
fn mercure_agrees_with_its_model() {
    fuzz("mercure");
}

#[test]
fn negotiation_agrees_with_its_model() {
    fuzz("negotiation");
}

#[test]
fn proxy_agrees_with_its_model() {
    fuzz("proxy");
}

#[test]
fn reader_agrees_with_its_model() {
    fuzz("reader");
}

#[test]
fn tls_open_agrees_with_its_model() {
    fuzz("tls_open");
}

#[test]
fn tls_seal_agrees_with_rustls() {
    fuzz("tls_seal");
}

#[test]
fn token_agrees_with_its_model() {
    fuzz("token");
}

#[test]
fn webhook_agrees_with_its_model() {
    fuzz("webhook");
}

fn fuzz(name: &str) {
    let (_, target) = ALL.iter().find(|(known, _)| *known == name).expect(name);
    let corpus = corpus(name);
    assert!(!corpus.is_empty(), "fuzz/corpus/{name} is empty");
    for input in &corpus {
        try_out(name, *target, input);
    }
    let mut rng = Rng::with_seed(number("FANFARE_FUZZ_SEED", 1));
    for _ in 0..number("FANFARE_FUZZ_RUNS", RUNS) {
        try_out(name, *target, &fresh(&mut rng, &corpus));
    }
}

/// One input; if it fails, it is left where libFuzzer would take it from.
fn try_out(name: &str, target: Target, input: &[u8]) {
    if catch_unwind(|| target(input)).is_err() {
        let path = std::env::temp_dir().join(format!("fanfare-fuzz-{name}"));
        std::fs::write(&path, input).expect("the input is kept");
        panic!("{name} fails on the input in {}", path.display());
    }
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let files = std::fs::read_dir(folder.join(name)).expect("the corpus is there");
    let mut paths: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    paths.sort();
    let read = |path| std::fs::read(path).expect("the corpus can be read");
    paths.into_iter().map(read).collect()
}

/// Known inputs joined, cut and changed in a few places, or plain noise.
fn fresh(rng: &mut Rng, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut input = Vec::new();
    if rng.u8(..) < 30 {
        input = (0..rng.usize(..200)).map(|_| rng.u8(..)).collect();
    } else {
        for _ in 0..rng.usize(1..=3) {
            let known = &corpus[rng.usize(..corpus.len())];
            let from = if rng.bool() {
                0
            } else {
                rng.usize(..=known.len())
            };
            input.extend(&known[from..]);
        }
    }
    for _ in 0..rng.usize(..6) {
        if input.is_empty() {
            break;
        }
        let at = rng.usize(..input.len());
        match rng.u8(..4) {
            0 => input[at] = rng.u8(..),
            1 => input[at] ^= 1 << rng.u32(..8),
            2 => input.truncate(at),
            _ => {
                let end = at + rng.usize(..=(input.len() - at).min(40));
                input.extend_from_within(at..end);
            }
        }
    }
    input.truncate(INPUT_BYTES_MAX);
    input
}
