//! A small server of the Pusher Channels protocol with its HTTP API, both on one port, that can be
//! told to do one thing wrong; and what is tried on it.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};
use tungstenite::protocol::{Role, WebSocket};
use tungstenite::{Message, accept};

use crate::common::{result, starts_with, stderr, stdout, tool};

const SECRET: &str = "only-the-app-knows";

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// Answers as another server would: no data where none is needed, chunks, a closed connection
    /// after each answer, a ping before the subscriptions are confirmed.
    Another,
    /// One event is answered, but heard by nobody.
    Lose,
    /// One event is refused.
    Refuse,
    /// One event is heard, but its connection ends without an answer.
    Hang,
    /// The key is not known.
    Stranger,
    /// One of the channels is refused.
    Forbid,
}

#[derive(Default)]
struct Hub {
    readers: HashMap<String, Vec<(usize, Sender<Message>)>>,
    events: u64,
    pongs: u64,
}

struct Server {
    fault: Fault,
    hub: Mutex<Hub>,
}

const AT_EVENT: u64 = 20;

/// Starts the server; it ends with the test's process.
fn serve(fault: Fault) -> (u16, Arc<Server>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = Arc::new(Server {
        fault,
        hub: Mutex::default(),
    });
    let serving = server.clone();
    thread::spawn(move || {
        for (id, stream) in listener.incoming().enumerate() {
            let (server, stream) = (serving.clone(), stream.unwrap());
            stream.set_nodelay(true).unwrap();
            thread::spawn(move || match starts_with(&stream, b"POST ") {
                true => server.answer(stream),
                false => server.attend(id, stream),
            });
        }
    });
    (port, server)
}

impl Server {
    fn attend(&self, id: usize, stream: TcpStream) {
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
        let say = |value: Value| drop(sender.send(Message::text(value.to_string())));
        if self.fault == Fault::Stranger {
            let data = json!({"code": 4001, "message": "no such app"});
            say(json!({"event": "pusher:error", "data": data}));
        } else {
            let data = json!({"socket_id": "1.2", "activity_timeout": 120}).to_string();
            say(json!({"event": "pusher:connection_established", "data": data}));
        }
        while let Ok(message) = socket.read() {
            if let Ok(text) = message.to_text()
                && !text.is_empty()
                && message.is_text()
            {
                self.obey(id, &serde_json::from_str(text).unwrap(), &sender);
            }
        }
        for readers in self.hub.lock().unwrap().readers.values_mut() {
            readers.retain(|(reader, _)| *reader != id);
        }
    }

    fn obey(&self, reader: usize, event: &Value, sender: &Sender<Message>) {
        let say = |value: Value| drop(sender.send(Message::text(value.to_string())));
        let mut hub = self.hub.lock().unwrap();
        match event["event"].as_str().unwrap() {
            "pusher:pong" => hub.pongs += 1,
            "pusher:subscribe" => {
                let channel = event["data"]["channel"].as_str().unwrap();
                if self.fault == Fault::Forbid && channel == "bench-1" {
                    let data = json!({"type": "AuthError", "error": "not this one", "status": 403});
                    return say(
                        json!({"event": "pusher:subscription_error", "channel": channel, "data": data}),
                    );
                }
                let readers = hub.readers.entry(channel.to_owned()).or_default();
                readers.push((reader, sender.clone()));
                let name = "pusher_internal:subscription_succeeded";
                if self.fault == Fault::Another {
                    say(json!({"event": "pusher:ping"}));
                    return say(json!({"event": name, "channel": channel}));
                }
                say(json!({"event": name, "channel": channel, "data": "{}"}));
            }
            other => panic!("{other} is nothing that a client says"),
        }
    }

    /// The HTTP API on one connection.
    fn answer(&self, mut stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        loop {
            let mut lines = Vec::new();
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) == 0 {
                    return;
                }
                match line.trim_end() {
                    "" => break,
                    line => lines.push(line.to_lowercase()),
                }
            }
            let length = lines
                .iter()
                .find_map(|line| line.strip_prefix("content-length: "));
            let mut body = vec![0; length.unwrap().parse().unwrap()];
            reader.read_exact(&mut body).unwrap();
            assert!(is_signed(&lines[0], &body), "{}", lines[0]);
            let event = serde_json::from_slice(&body).unwrap();
            let answer = match self.publish(&event) {
                Some(answer) => answer,
                None => return,
            };
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
            if answer.contains("close") {
                // What has come meanwhile must not make a reset of it.
                let _ = stream.shutdown(Shutdown::Write);
                let _ = reader.read_to_end(&mut Vec::new());
                return;
            }
        }
    }

    /// Publishes an event; its answer, if it has one.
    fn publish(&self, event: &Value) -> Option<&'static str> {
        let mut hub = self.hub.lock().unwrap();
        let number = hub.events;
        hub.events += 1;
        let hit = number == AT_EVENT;
        if self.fault == Fault::Refuse && hit {
            return Some("HTTP/1.1 413 Too Large\r\nContent-Length: 7\r\n\r\ntoo big");
        }
        for channel in event["channels"].as_array().unwrap() {
            let channel = channel.as_str().unwrap();
            let said = json!({"event": event["name"], "channel": channel, "data": event["data"]});
            let readers = hub.readers.get(channel);
            for (_, reader) in readers.into_iter().flatten() {
                if !(self.fault == Fault::Lose && hit) {
                    let _ = reader.send(Message::text(said.to_string()));
                }
            }
        }
        match self.fault {
            Fault::Hang if hit => None,
            // In chunks, and every few events on another connection.
            Fault::Another if number % 8 == 7 => Some(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
                 b\r\n{\"ok\":true}\r\n0\r\n\r\n",
            ),
            _ => Some("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"),
        }
    }
}

/// Whether a request line has all that the protocol asks for. What the signature is to be is said
/// by the protocol's own example, in a test beside the code.
fn is_signed(line: &str, body: &[u8]) -> bool {
    let query = line.strip_prefix("post /apps/7/events?");
    let query = query.and_then(|rest| rest.strip_suffix(" http/1.1"));
    let parts: Vec<_> = query.unwrap_or_default().split('&').collect();
    let wanted = [
        ("auth_key=", 6),
        ("auth_timestamp=", 10),
        ("auth_version=1.0", 0),
        ("body_md5=", 32),
        ("auth_signature=", 64),
    ];
    !body.is_empty()
        && parts.len() == wanted.len()
        && parts.iter().zip(wanted).all(|(part, (name, length))| {
            part.strip_prefix(name)
                .is_some_and(|value| value.len() == length)
        })
}

const QUICK: &str = "--settle 50ms --drain 500ms --connect-timeout 2s --quiet";

/// Exit status and what was printed of a run, with the key in the URL and a secret's file in a
/// folder of its own.
fn run(port: u16, folder: &Path, line: &str) -> (Option<i32>, String) {
    let secret = folder.join("secret");
    std::fs::write(&secret, format!("{SECRET}\n")).unwrap();
    let (scenario, options) = line.split_once(' ').unwrap();
    let output = tool(&format!(
        "{scenario} --url ws://127.0.0.1:{port}/app/my-key?protocol=7 --dialect pusher --app 7 \
         --app-secret-file {} {QUICK} {options}",
        secret.display()
    ));
    (output.status.code(), stdout(&output) + &stderr(&output))
}

fn fanout(fault: Fault, options: &str) -> (Option<i32>, String) {
    let (port, _) = serve(fault);
    let folder = tempfile::tempdir().unwrap();
    let line = format!("fanout -n 8 --warmup 0s -d 400ms {options}");
    run(port, folder.path(), &line)
}

#[test]
fn what_is_published_over_http_is_heard_by_all_who_have_joined() {
    let (port, server) = serve(Fault::None);
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("a.json");
    let line = format!(
        "fanout -n 6 -t 6 --topics-per-connection 3 --verify --rate 300 --warmup 0s -d 400ms \
         --json {}",
        json.display()
    );
    let (code, text) = run(port, folder.path(), &line);
    assert_eq!(code, Some(0), "{text}");
    let steady = result(&json).checks.steady;
    let events = server.hub.lock().unwrap().events;
    assert!(events > 0, "{text}");
    assert_eq!(steady.received, 3 * events, "{text}");
    assert_eq!((steady.faults(), steady.foreign), (0, 0), "{text}");
}

#[test]
fn a_window_has_several_requests_under_way_on_one_connection() {
    let (code, text) = fanout(Fault::None, "--window 8 --verify");
    assert_eq!(code, Some(0), "{text}");
}

#[test]
fn a_server_that_words_it_otherwise_and_ends_connections_is_understood() {
    for pace in ["--rate 200", "--window 4"] {
        let (port, server) = serve(Fault::Another);
        let folder = tempfile::tempdir().unwrap();
        let line = format!("fanout -n 8 --verify --warmup 0s -d 400ms {pace}");
        let (code, text) = run(port, folder.path(), &line);
        assert_eq!(code, Some(0), "{text}");
        let hub = server.hub.lock().unwrap();
        assert!(hub.events > 8, "{text}");
        assert_eq!(hub.pongs, 8, "{text}");
    }
}

#[test]
fn an_event_that_is_lost_refused_or_not_answered_is_caught() {
    for (fault, told) in [
        (Fault::Lose, "deliveries were lost"),
        (Fault::Refuse, "1 requests to publish were refused"),
        (Fault::Refuse, "did not take an event: 413 too big"),
        (Fault::Hang, "1 requests to publish were not answered"),
    ] {
        let (code, text) = fanout(fault, "--rate 200");
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains(told), "{told}: {text}");
    }
}

#[test]
fn a_key_or_a_channel_that_is_refused_is_told() {
    for (fault, told) in [
        (Fault::Stranger, "4001 no such app"),
        (Fault::Forbid, "403 not this one"),
    ] {
        let (code, text) = fanout(fault, "-t 2 --rate 200");
        assert_eq!(code, Some(3), "{text}");
        assert!(text.contains(told), "{told}: {text}");
    }
}

#[test]
fn storms_and_idle_connections_are_tried_as_well() {
    let (port, _) = serve(Fault::None);
    let folder = tempfile::tempdir().unwrap();
    let storm = "storm -n 20 --live 4 --rate 100 --quiet-time 300ms";
    let (code, text) = run(port, folder.path(), storm);
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = run(port, folder.path(), "idle -n 20 -d 200ms --messages 2");
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("message 2: all have heard it after"),
        "{text}"
    );
}
