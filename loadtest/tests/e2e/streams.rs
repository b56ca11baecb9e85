//! A small server whose readers have streams of events and whose publishers have WebSockets, that
//! can be told to do one thing wrong; and what is tried on it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use tungstenite::accept;

use crate::common::{result, starts_with, stderr, stdout, tool};

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// One reader does not hear one message, and is told of the gap.
    Lose,
    /// One reader's stream ends.
    End,
    /// What is asked for is answered by a page.
    Page,
}

struct Hub {
    fault: Fault,
    messages: u64,
    readers: Vec<TcpStream>,
}

const VICTIM: usize = 3;
const AT_MESSAGE: u64 = 20;
const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nretry: 1000\n\n";

/// Starts the server; it ends with the test's process. Returns its port.
fn serve(fault: Fault) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let hub = Arc::new(Mutex::new(Hub {
        fault,
        messages: 0,
        readers: vec![],
    }));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (hub, stream) = (hub.clone(), stream.unwrap());
            stream.set_nodelay(true).unwrap();
            thread::spawn(move || attend(stream, &hub));
        }
    });
    port
}

fn attend(mut stream: TcpStream, hub: &Mutex<Hub>) {
    if starts_with(&stream, b"GET /events-") {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let mut hub = hub.lock().unwrap();
        if hub.fault == Fault::Page || !head.contains("\r\naccept: text/event-stream\r\n") {
            let page = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>";
            stream.write_all(page.as_bytes()).unwrap();
            return;
        }
        stream.write_all(HEAD.as_bytes()).unwrap();
        return hub.readers.push(stream);
    }
    let Ok(mut socket) = accept(stream) else {
        return;
    };
    while let Ok(message) = socket.read() {
        if message.is_text() {
            hub.lock().unwrap().publish(message.to_text().unwrap());
        }
    }
}

impl Hub {
    fn publish(&mut self, text: &str) {
        let number = self.messages;
        self.messages += 1;
        // Every second one has the name that those without one are called by, and the pieces end
        // inside a line.
        let name = ["", "event: message\n"][number as usize % 2];
        let event = format!(":\n\nid: e-{number}\n{name}data: {text}\n\n");
        let (first, second) = event.split_at(event.len() / 2);
        for (at, reader) in self.readers.iter_mut().enumerate() {
            let hit = at == VICTIM && number == AT_MESSAGE;
            // A reader may have gone.
            let _ = match self.fault {
                Fault::Lose if hit => reader.write_all(b"event: gap\ndata: {\"missed\":1}\n\n"),
                Fault::End if hit => reader.shutdown(std::net::Shutdown::Both),
                _ => (reader.write_all(first.as_bytes()))
                    .and_then(|()| reader.write_all(second.as_bytes())),
            };
        }
    }
}

fn fanout(fault: Fault, extra: &str) -> (Option<i32>, String) {
    let port = serve(fault);
    let output = tool(&format!(
        "fanout --url ws://127.0.0.1:{port}/events-x --publish-url ws://127.0.0.1:{port}/say \
         --dialect sse -n 8 --rate 200 --warmup 0s -d 400ms --settle 50ms --drain 300ms \
         --connect-timeout 1s --quiet {extra}"
    ));
    (output.status.code(), stdout(&output) + &stderr(&output))
}

#[test]
fn readers_of_streams_hear_what_a_websocket_publishes() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("a.json");
    let (code, text) = fanout(Fault::None, &format!("--verify --json {}", json.display()));
    assert_eq!(code, Some(0), "{text}");
    let steady = result(&json).checks.steady;
    assert!(
        steady.received > 0 && steady.received.is_multiple_of(8),
        "{text}"
    );
    assert_eq!((steady.faults(), steady.foreign), (0, 0), "{text}");
}

#[test]
fn a_stream_that_lacks_a_message_or_ends_is_caught() {
    for (fault, told) in [(Fault::Lose, "were lost"), (Fault::End, "1006")] {
        let (code, text) = fanout(fault, "");
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains(told), "{told}: {text}");
    }
}

#[test]
fn a_page_is_no_stream() {
    let (code, text) = fanout(Fault::Page, "");
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("text/event-stream"), "{text}");
}
