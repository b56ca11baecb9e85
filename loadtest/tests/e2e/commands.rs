//! A small server of Centrifugo's client protocol in JSON, with history, that can be told
//! to do one thing wrong; and the dialects and recoveries that are tried on it.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};
use tungstenite::protocol::{Role, WebSocket};
use tungstenite::{Message, accept};

use crate::common::{result, stderr, stdout, tool};

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// What was missed comes without its last message.
    Lose,
    /// What was missed is not given at all, and that is said.
    Forget,
    /// One of the subscriptions is refused.
    Refuse,
}

struct Server {
    fault: Fault,
    topics: Mutex<HashMap<String, Topic>>,
    /// How often a message was written as a push.
    encoded: AtomicU64,
}

#[derive(Default)]
struct Topic {
    log: Vec<Value>,
    readers: Vec<(usize, Sender<Message>)>,
}

/// Starts the server and what tells its metrics; they end with the test's process.
fn serve(fault: Fault) -> (u16, u16) {
    let server = Arc::new(Server {
        fault,
        topics: Mutex::default(),
        encoded: AtomicU64::new(0),
    });
    let listen = || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    };
    let ((clients, port), (metrics, metrics_port)) = (listen(), listen());
    let told = server.clone();
    thread::spawn(move || {
        for stream in metrics.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let encoded = told.encoded.load(Ordering::SeqCst);
            let answer =
                format!("HTTP/1.1 200 OK\r\n\r\nfanfare_encoded_messages_total {encoded}\n");
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    thread::spawn(move || {
        for (id, stream) in clients.incoming().enumerate() {
            let (server, stream) = (server.clone(), stream.unwrap());
            thread::spawn(move || attend(&server, id, stream));
        }
    });
    (port, metrics_port)
}

fn attend(server: &Server, id: usize, stream: TcpStream) {
    stream.set_nodelay(true).unwrap();
    let writing = stream.try_clone().unwrap();
    let Ok(mut socket) = accept(stream) else {
        return;
    };
    let (sender, messages) = channel();
    thread::spawn(move || {
        let mut socket = WebSocket::from_raw_socket(writing, Role::Server, None);
        for message in messages {
            if socket.send(message).is_err() {
                return;
            }
        }
    });
    while let Ok(message) = socket.read() {
        let Ok(text) = message.to_text() else {
            continue;
        };
        for line in text.lines().filter(|line| *line != "{}") {
            let command: Value = serde_json::from_str(line).unwrap();
            server.obey(id, &command, &sender);
        }
    }
    for topic in server.topics.lock().unwrap().values_mut() {
        topic.readers.retain(|(reader, _)| *reader != id);
    }
}

impl Server {
    fn obey(&self, reader: usize, command: &Value, sender: &Sender<Message>) {
        let say = |value: Value| drop(sender.send(Message::text(value.to_string())));
        let id = &command["id"];
        if command.get("connect").is_some() {
            // A ping among the answers is to be answered in kind.
            say(json!({"id": id, "connect": {"client": "x", "ping": 25, "pong": true}}));
            return say(json!({}));
        }
        let mut topics = self.topics.lock().unwrap();
        if let Some(asked) = command.get("publish") {
            let channel = asked["channel"].as_str().unwrap();
            let topic = topics.entry(channel.to_owned()).or_default();
            topic.log.push(asked["data"].clone());
            let push = push(channel, &asked["data"], topic.log.len());
            self.encoded.fetch_add(1, Ordering::SeqCst);
            for (_, reader) in &topic.readers {
                let _ = reader.send(Message::text(push.to_string()));
            }
            return say(json!({"id": id, "publish": {}}));
        }
        let asked = &command["subscribe"];
        let channel = asked["channel"].as_str().unwrap();
        if self.fault == Fault::Refuse && channel == "bench-1" {
            return say(json!({"id": id, "error": {"code": 103, "message": "permission denied"}}));
        }
        let topic = topics.entry(channel.to_owned()).or_default();
        topic.readers.push((reader, sender.clone()));
        let newest = topic.log.len();
        let recovers = asked["recover"] == true && asked["epoch"] == "e";
        if !recovers || self.fault == Fault::Forget {
            return say(json!({"id": id, "subscribe": {"epoch": "e", "offset": newest}}));
        }
        let from = asked["offset"].as_u64().unwrap() as usize;
        let until = newest - usize::from(self.fault == Fault::Lose && newest > from);
        let missed = |at: usize| json!({"data": topic.log[at], "offset": at + 1});
        // The first in the answer, the others as ordinary pushes.
        let first: Vec<Value> = (from..until).take(1).map(missed).collect();
        let answer = json!({
            "epoch": "e", "offset": from, "recovered": true, "was_recovering": true,
            "publications": first
        });
        say(json!({"id": id, "subscribe": answer}));
        for at in (from..until).skip(1) {
            say(push(channel, &topic.log[at], at + 1));
        }
    }
}

fn push(channel: &str, data: &Value, offset: usize) -> Value {
    json!({"push": {"channel": channel, "pub": {"data": data, "offset": offset}}})
}

const QUICK: &str = "--dialect centrifugo-json --settle 50ms --drain 500ms --quiet";

fn recover(fault: Fault, extra: &str) -> (Option<i32>, String) {
    let (port, metrics) = serve(fault);
    let output = tool(&format!(
        "recover --url ws://127.0.0.1:{port}/ --metrics http://127.0.0.1:{metrics}/metrics {QUICK} \
         -n 10 --messages 20 --live 3 --quiet-time 200ms {extra}"
    ));
    (output.status.code(), stdout(&output) + &stderr(&output))
}

#[test]
fn a_connection_with_several_topics_hears_all_of_them() {
    let (port, _) = serve(Fault::None);
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("a.json");
    let output = tool(&format!(
        "fanout --url ws://127.0.0.1:{port}/ {QUICK} -n 6 -t 6 --topics-per-connection 3 --echo \
         --verify --rate 300 --warmup 0s -d 400ms --json {}",
        json.display()
    ));
    let text = stdout(&output) + &stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    let run = result(&json);
    let steady = &run.checks.steady;
    assert!(
        steady.received > 0 && steady.received.is_multiple_of(3),
        "{text}"
    );
    assert_eq!((steady.faults(), steady.foreign), (0, 0), "{text}");
}

#[test]
fn a_refused_subscription_is_told_and_no_connection_comes_about() {
    let (port, _) = serve(Fault::Refuse);
    let output = tool(&format!(
        "fanout --url ws://127.0.0.1:{port}/ {QUICK} -n 2 -t 2 --topics-per-connection 2 \
         --connect-timeout 1s -d 200ms"
    ));
    assert_eq!(output.status.code(), Some(3));
    let text = stderr(&output);
    assert!(text.contains("103 permission denied"), "{text}");
}

#[test]
fn who_returns_is_given_what_it_has_missed_and_nothing_is_encoded_for_it() {
    let (code, text) = recover(Fault::None, "--rounds 2");
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("recovery 2: all have caught up after"),
        "{text}"
    );
    assert!(
        text.contains("recovery 1: messages encoded for it"),
        "{text}"
    );
}

#[test]
fn a_recovery_that_is_not_whole_is_caught() {
    let (code, text) = recover(Fault::Lose, "--connect-timeout 1s");
    assert_eq!(code, Some(3), "{text}");
    assert!(
        text.contains("not all have heard what they have missed"),
        "{text}"
    );
}

#[test]
fn a_server_that_has_forgotten_what_was_missed_is_caught() {
    let (code, text) = recover(Fault::Forget, "--connect-timeout 1s");
    assert_eq!(code, Some(3), "{text}");
    assert!(
        text.contains("could not give what a client had missed"),
        "{text}"
    );
}

#[test]
fn metrics_that_cannot_be_read_are_told() {
    let (port, _) = serve(Fault::None);
    let line = format!("recover --url ws://127.0.0.1:{port}/ {QUICK} -n 2 --quiet-time 100ms");
    let output = tool(&format!("{line} --metrics 127.0.0.1:1"));
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    let output = tool(&format!("{line} --metrics http://127.0.0.1:1/metrics"));
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(stderr(&output).contains("cannot read http://127.0.0.1:1/metrics"));
}
