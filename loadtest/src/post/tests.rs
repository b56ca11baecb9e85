use std::io::Write;
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
fn who_is_refused_and_cut_off_is_told_why() {
    // What it has not read makes the kernel reset the connection behind its answer.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut [0]).unwrap();
        let answer = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(answer).unwrap();
    });
    let refused = run(&args(&url, "-d 300ms")).unwrap_err().to_string();
    assert!(refused.contains("503"), "{refused}");
}

#[test]
fn a_server_that_reads_no_more_on_a_connection_is_asked_on_another_one() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        // Each connection is good for one answer, however much is asked on it.
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream.read_exact(&mut [0]).unwrap();
            let answer = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}";
            stream.write_all(answer).unwrap();
            tell.send(()).unwrap();
        }
    });
    let done = run(&args(&url, "-d 300ms"));
    assert!(matches!(done, Ok(true)), "{done:?}");
    assert!(told.try_iter().count() > 1);
}

#[test]
fn a_batch_has_the_lines_that_were_asked_for() {
    let piece = Piece::new(&args("http://x", "--lines 3 --size 24 --topic t"));
    let text = String::from_utf8(piece.bytes).unwrap();
    assert_eq!((piece.requests, piece.messages_of_each), (1, 3));
    let text_of = "x".repeat(24);
    let line = format!("{{\"topic\":\"t\",\"text\":\"{text_of}\"}}\n");
    assert!(
        text.ends_with(&format!("\r\n\r\n{}", line.repeat(3))),
        "{text}"
    );
}

#[test]
fn what_is_not_stored_in_time_is_a_fault_where_that_was_asked() {
    let answer = "{\"offset\":1,\"stored\":true}\n{\"offset\":2,\"stored\":false}\n";
    let late = run(&args(&server(9, answer), "--lines 2 --stored")).unwrap_err();
    assert!(late.to_string().contains("was not taken"), "{late}");
    let piece = Piece::new(&args("http://x", "--stored"));
    assert!(
        piece
            .one
            .starts_with(b"POST /topics/post/messages?ack=stored&")
    );
    assert!(piece.is_answered_by(b"{\"offset\":1,\"stored\":true}"));
    assert!(!piece.is_answered_by(b"{\"offset\":1}"));
}

#[test]
fn the_end_waits_until_all_is_stored() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    thread::spawn(move || {
        for answer in ["{\"offset\":1}", "{\"stored\":true}"] {
            let (mut stream, _) = listener.accept().unwrap();
            let len = answer.len();
            let whole = format!("HTTP/1.1 200 OK\r\ncontent-length: {len}\r\n\r\n{answer}");
            let mut bytes = [0; 4096];
            while let Ok(read) = stream.read(&mut bytes)
                && read > 0
            {
                let asked = bytes[..read].windows(5).filter(|there| there == b"POST ");
                stream
                    .write_all(whole.repeat(asked.count()).as_bytes())
                    .unwrap();
            }
        }
    });
    let done = run(&args(&url, "-d 50ms --window 1 --until-stored"));
    assert!(matches!(done, Ok(true)), "{done:?}");
}
