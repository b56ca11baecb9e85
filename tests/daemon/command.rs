//! The command line, as a person at a terminal sees it.

use std::fs;
use std::process::{Command, Output};

use crate::common::{Daemon, command, pass};

fn fanfare(words: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanfare"));
    read(command.args(words).output().unwrap())
}

fn read(output: Output) -> (Option<i32>, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// A file in a folder of its own, which goes with the first value.
fn file(text: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fanfare.toml");
    fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (folder, path)
}

#[test]
fn a_second_daemon_on_the_same_port_is_told_what_to_do() {
    let daemon = Daemon::start(&[]);
    let address = daemon.addresses[0].to_string();
    let (code, out, err) = fanfare(&["--listen", &address, "--admin", "off"]);
    assert_eq!(code, Some(1));
    assert_eq!(out, "");
    let sentence = format!(
        "fanfare: cannot listen on {address}: address already in use \
         (another fanfare? try --listen)\n"
    );
    assert!(err.ends_with(&sentence), "{err}");
}

#[test]
fn an_unknown_option_is_named_and_costs_exit_code_2() {
    let (code, out, err) = fanfare(&["--no-such-option"]);
    assert_eq!((code, &out[..]), (Some(2), ""));
    assert!(err.contains("'--no-such-option'"), "{err}");
}

#[test]
fn a_bad_value_is_told_with_what_is_allowed() {
    let (code, _, err) = fanfare(&["--cores", "0"]);
    assert_eq!(code, Some(2));
    assert!(err.contains("--cores") && err.contains("1 to 256"), "{err}");
}

#[test]
fn an_unknown_key_and_a_bad_value_are_told_with_their_lines() {
    let (_folder, path) = file("cores = 2\n\nmesage_bytes_max = 5\nlag_policy = \"wait\"\n");
    for words in [
        vec!["check-config", &path],
        vec!["serve", "--config", &path],
    ] {
        let (code, out, err) = fanfare(&words);
        assert_eq!((code, &out[..]), (Some(2), ""));
        let lines: Vec<_> = err.lines().collect();
        assert_eq!(lines.len(), 2, "{err}");
        let unknown = format!("fanfare: {path}, line 3: there is no setting \"mesage_bytes_max\"");
        assert!(lines[0].starts_with(&unknown), "{err}");
        assert!(
            lines[0].ends_with("did you mean message_bytes_max?"),
            "{err}"
        );
        let bad = format!("fanfare: {path}, line 4: lag_policy:");
        assert!(lines[1].starts_with(&bad), "{err}");
        assert!(lines[1].ends_with("allowed: close, skip, latest"), "{err}");
    }
}

#[test]
fn a_file_that_is_right_is_said_to_be_and_is_used() {
    let (_folder, path) = file("message_bytes_max = \"1KiB\"\nlisten = [\"127.0.0.1:1\"]\n");
    let (code, out, err) = fanfare(&["check-config", &path]);
    assert_eq!(
        (code, out, &err[..]),
        (Some(0), format!("{path}: ok\n"), "")
    );
    // An option overrules the file: nobody listens on port 1.
    let daemon = Daemon::start(&["--config", &path]);
    let (mut speaker, mut listener) = (daemon.connect("/"), daemon.connect("/"));
    pass(&mut speaker, &mut listener, &"m".repeat(1024));
    speaker
        .send(tungstenite::Message::text("m".repeat(1025)))
        .unwrap();
    assert_eq!(crate::common::hear_close(&mut speaker).0, 1009);
}

#[test]
fn what_check_config_accepts_can_be_started_with() {
    for line in [
        "origins = [\"https://a:99999\"]",
        "origins = [\"https://a:\"]",
        "origins = [\"https://::1\"]",
        "log = \"warning\"",
        "admin_token_file = \"/no/such/token\"",
        "admin = \"127.0.0.1:8000\"",
        "listen = [\"127.0.0.1:8000\", \"0.0.0.0:8000\"]\nanonymous = [{ match = \"**\" }]",
        "listen = \"0.0.0.0:8000\"",
    ] {
        let (_folder, path) = file(line);
        let checked = fanfare(&["check-config", &path]);
        assert_eq!(checked.0, Some(2), "{line}: {checked:?}");
        assert_eq!(fanfare(&["--config", &path]), checked);
    }
    let (_folder, path) = file(
        "origins = [\"null\", \"file://\", \"same-host\", \"https://[::1]:80\"]\n\
         trusted_proxies = [\"::ffff:10.0.0.0/104\"]\nlog = \"WARN\"\n\
         anonymous = [{ match = \"**\" }]\n",
    );
    assert_eq!(fanfare(&["check-config", &path]).0, Some(0));
    Daemon::start(&["--config", &path]).connect("/");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let (code, _, err) = fanfare(&["check-config", "/no/such/file.toml"]);
    assert_eq!(code, Some(2));
    assert!(err.contains("/no/such/file.toml"), "{err}");
}

#[test]
fn the_probe_says_what_the_kernel_offers() {
    let (code, out, err) = fanfare(&["probe"]);
    // Elsewhere it may fail, but then it says what is missing.
    assert_eq!((code, &err[..]), (Some(0), ""));
    assert!(!out.trim().is_empty());
}

#[test]
fn the_reason_of_a_failed_start_is_json_where_the_log_is() {
    let daemon = Daemon::start(&[]);
    let address = daemon.addresses[0].to_string();
    let words = [
        "--listen",
        &address,
        "--admin",
        "off",
        "--log-format",
        "json",
    ];
    let (code, out, err) = fanfare(&words);
    assert_eq!((code, &out[..]), (Some(1), ""));
    assert!(err.contains("address already in use"), "{err}");
    for line in err.lines() {
        assert!(line.starts_with('{') && line.ends_with('}'), "{line}");
    }
}

#[test]
fn log_lines_are_json_where_that_is_asked_for() {
    let daemon = Daemon::start_as(command(&["--log-format", "json"]));
    daemon.connect("/");
    daemon.await_log("\"reason\":\"gone\"", 1);
}
