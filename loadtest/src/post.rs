//! One client that publishes over HTTP, as fast as it is answered: single messages that do not
//! wait for each other's answers, or batches of lines.
//!
//! It needs no fleet: two threads of its own, of which one writes and the other reads and
//! checks every answer.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use crate::Error;
use crate::args::PostArgs;
use crate::server::Watched;

/// Requests that may be unanswered. Their answers fit into what the kernel holds for a socket.
const UNDER_WAY_MAX: u64 = 512;
/// Single requests that are written in one go.
const WRITE_REQUESTS: usize = 64;

/// How long answers are awaited that are still due, and how long the server may read nothing.
const DRAIN: Duration = Duration::from_secs(5);

/// Carries the scenario out. True if every message was taken.
pub fn run(args: &PostArgs) -> Result<bool, Error> {
    let failed = |action: &'static str| {
        move |error: std::io::Error| Error::File {
            action,
            path: args.url.clone(),
            reason: error.to_string(),
        }
    };
    let address = args
        .url
        .strip_prefix("http://")
        .map(|rest| rest.trim_end_matches('/'));
    let address = address.ok_or_else(|| {
        Error::Arguments(
            "--url is the address of a listener for the server API, as http://127.0.0.1:8001"
                .into(),
        )
    })?;
    let watched = args.pid.and_then(Watched::new);
    let mut stream = TcpStream::connect(address).map_err(failed("connect to"))?;
    stream.set_nodelay(true).map_err(failed("connect to"))?;
    stream
        .set_write_timeout(Some(DRAIN))
        .map_err(failed("write to"))?;
    let (piece, requests) = piece(args);
    let of_each = args.lines.unwrap_or(1);
    let reader =
        BufReader::with_capacity(1 << 16, stream.try_clone().map_err(failed("read from"))?);
    let before = watched.as_ref().map(Watched::usage);
    let (began, mut took) = (Instant::now(), Duration::ZERO);
    let (sent, answered, outcome) = thread::scope(|scope| {
        let (tell, told) = mpsc::channel();
        let reading = scope.spawn(move || read_answers(reader, of_each, &tell));
        let (mut sent, mut answered) = (0, 0);
        let written = loop {
            let left = args.duration.saturating_sub(began.elapsed());
            if left.is_zero() {
                break Ok(());
            }
            answered += told.try_iter().sum::<u64>();
            if sent - answered > UNDER_WAY_MAX {
                match told.recv_timeout(left) {
                    Ok(more) => answered += more,
                    Err(RecvTimeoutError::Timeout) => {}
                    // The reader has ended, and says why.
                    Err(RecvTimeoutError::Disconnected) => break Ok(()),
                }
                continue;
            }
            let written = stream.write_all(&piece);
            sent += requests;
            match written {
                Ok(()) => {}
                // The server reads no further: what it has not read is not answered.
                Err(error) if error.kind() == ErrorKind::WouldBlock => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        // What has been asked is still answered.
        let end = began + args.duration + DRAIN;
        while answered < sent
            && let left = end.saturating_duration_since(Instant::now())
            && let Ok(more) = told.recv_timeout(left)
        {
            answered += more;
        }
        took = began.elapsed();
        let ended = stream.shutdown(Shutdown::Both);
        let read = reading.join().expect("the reader does not panic");
        (sent, answered, written.and(ended).and(read))
    });
    outcome.map_err(failed("talk to"))?;
    let messages = answered * of_each;
    let rate = messages as f64 / took.as_secs_f64();
    println!(
        "{messages} messages in {:.2} s: {rate:.0} a second",
        took.as_secs_f64()
    );
    if let (Some(watched), Some(before)) = (&watched, before) {
        let cpu_ns = watched.usage().cpu_ns_since(&before);
        let us = cpu_ns as f64 / messages.max(1) as f64 / 1e3;
        println!("server's processor time: {us:.2} µs a message");
    }
    if answered < sent {
        println!(
            "FAILED: {} of {sent} requests were not answered",
            sent - answered
        );
    }
    Ok(answered == sent && answered > 0)
}

/// What is written in one go, and how many requests that are.
fn piece(args: &PostArgs) -> (Vec<u8>, u64) {
    let text = "x".repeat(args.size as usize);
    let topic = &args.topic;
    let headers: String = args
        .header
        .iter()
        .map(|line| format!("{line}\r\n"))
        .collect();
    let request = |target: &str, kind: &str, body: &str| {
        let len = body.len();
        format!(
            "POST {target} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Type: {kind}\r\n\
             Content-Length: {len}\r\n\r\n{body}"
        )
    };
    match args.lines {
        None => {
            let one = request(&format!("/topics/{topic}/messages"), "text/plain", &text);
            (one.repeat(WRITE_REQUESTS).into(), WRITE_REQUESTS as u64)
        }
        Some(lines) => {
            let line = format!("{{\"topic\":\"{topic}\",\"text\":\"{text}\"}}\n");
            let body = line.repeat(lines as usize);
            (
                request("/messages", "application/x-ndjson", &body).into(),
                1,
            )
        }
    }
}

/// Reads answers to the end, and sees that each says that all messages were taken, `of_each`.
/// Tells how many there were each time before it waits for more.
fn read_answers(
    mut reader: BufReader<TcpStream>,
    of_each: u64,
    tell: &Sender<u64>,
) -> std::io::Result<()> {
    let (mut line, mut body) = (Vec::new(), Vec::new());
    let mut answered = 0;
    loop {
        let mut length = 0;
        let mut first = true;
        loop {
            line.clear();
            if reader.read_until(b'\n', &mut line)? == 0 {
                return match first {
                    // It is told by what is missing.
                    true => Ok(()),
                    false => Err(ErrorKind::UnexpectedEof.into()),
                };
            }
            if first && !line.starts_with(b"HTTP/1.1 200 ") {
                return Err(refused(&line));
            }
            first = false;
            if line == b"\r\n" {
                break;
            }
            if line.len() > 16 && line[..16].eq_ignore_ascii_case(b"content-length: ") {
                let number = std::str::from_utf8(&line[16..]).unwrap_or_default().trim();
                length = number.parse().map_err(|_| refused(&line))?;
            }
        }
        body.resize(length, 0);
        reader.read_exact(&mut body)?;
        let lines = body
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty());
        let taken = lines
            .filter(|line| !line.starts_with(b"{\"error\""))
            .count() as u64;
        if taken != of_each {
            return Err(refused(&body));
        }
        answered += 1;
        if reader.buffer().is_empty() {
            // Nobody listens any more once the time is over.
            let _ = tell.send(std::mem::take(&mut answered));
        }
    }
}

fn refused(answer: &[u8]) -> std::io::Error {
    let shown = String::from_utf8_lossy(&answer[..answer.len().min(200)]).into_owned();
    std::io::Error::other(format!("a message was not taken: {}", shown.trim_end()))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    fn args(url: &str, extra: &str) -> PostArgs {
        let line = format!("fanfare-loadtest post --url {url} {extra}");
        match Cli::try_parse_from(line.split_whitespace())
            .unwrap()
            .command
        {
            Command::Post(args) => args,
            _ => unreachable!(),
        }
    }

    /// A server that answers the first `answers` requests so, and no others.
    fn server(answers: usize, answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let len = answer.len();
            let whole = format!("HTTP/1.1 200 OK\r\ncontent-length: {len}\r\n\r\n{answer}");
            stream.write_all(whole.repeat(answers).as_bytes()).unwrap();
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        });
        url
    }

    #[test]
    fn a_message_that_is_not_taken_or_not_answered_is_a_fault() {
        // Long enough to be waiting for an answer when the time is up.
        let lost = run(&args(&server(3, "{\"offset\":1}\n"), "-d 500ms"));
        assert!(matches!(lost, Ok(false)), "{lost:?}");
        let refused = server(9, "{\"offset\":1}\n{\"error\":\"x\"}\n");
        let refused = run(&args(&refused, "--lines 2")).unwrap_err().to_string();
        assert!(refused.contains("was not taken"), "{refused}");
        assert!(run(&args("ws://127.0.0.1:1", "")).is_err());
    }

    #[test]
    fn a_server_that_reads_nothing_is_a_fault() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let lost = run(&args(&url, "-d 100ms --size 1m --lines 64"));
        assert!(matches!(lost, Ok(false)), "{lost:?}");
    }

    #[test]
    fn a_batch_has_the_lines_that_were_asked_for() {
        let (bytes, requests) = piece(&args("http://x", "--lines 3 --size 24 --topic t"));
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(requests, 1);
        let text_of = "x".repeat(24);
        let line = format!("{{\"topic\":\"t\",\"text\":\"{text_of}\"}}\n");
        assert!(
            text.ends_with(&format!("\r\n\r\n{}", line.repeat(3))),
            "{text}"
        );
    }
}
