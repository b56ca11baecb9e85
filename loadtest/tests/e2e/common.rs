//! A small broadcast server on threads, built with another WebSocket library,
//! that can be told to do one thing wrong.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use tungstenite::protocol::frame::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{Role, WebSocket};
use tungstenite::{Message, accept};

/// What goes wrong, for one subscriber and one message.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Fault {
    None,
    Lose,
    Double,
    /// The message comes after the one that follows it.
    Swap,
    /// One byte at the end of the message is another.
    Damage,
    /// The subscriber is closed with 1013.
    Close,
    /// Nobody hears what it has sent itself, which is no fault but where it is wanted.
    NoEcho,
    /// Each subscriber hears two messages of two publishers in its own order.
    Disagree,
}

const VICTIM: usize = 3;
const AT_MESSAGE: u64 = 20;

struct Hub {
    fault: Fault,
    messages: u64,
    subscribers: Vec<(usize, Sender<Message>)>,
    held: Option<Message>,
}

/// Starts the server; it ends with the test's process. Returns its port.
pub(crate) fn serve(fault: Fault) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let hub = Arc::new(Mutex::new(Hub {
        fault,
        messages: 0,
        subscribers: vec![],
        held: None,
    }));
    thread::spawn(move || {
        for (id, stream) in listener.incoming().enumerate() {
            let hub = hub.clone();
            thread::spawn(move || attend(id, stream.unwrap(), &hub));
        }
    });
    port
}

fn attend(id: usize, stream: TcpStream, hub: &Mutex<Hub>) {
    stream.set_nodelay(true).unwrap();
    let writing = stream.try_clone().unwrap();
    let (sender, messages) = channel();
    // On the list before the handshake is answered: nothing sent later is missed.
    hub.lock().unwrap().subscribers.push((id, sender));
    let Ok(mut socket) = accept(stream) else {
        return;
    };
    thread::spawn(move || write(writing, &messages));
    while let Ok(message) = socket.read() {
        if message.is_text() || message.is_binary() {
            hub.lock().unwrap().publish(id, &message);
        }
    }
    let mut hub = hub.lock().unwrap();
    hub.subscribers.retain(|(subscriber, _)| *subscriber != id);
}

fn write(stream: TcpStream, messages: &Receiver<Message>) {
    let mut socket = WebSocket::from_raw_socket(stream, Role::Server, None);
    for message in messages {
        if socket.send(message).is_err() {
            return;
        }
    }
}

impl Hub {
    fn publish(&mut self, from: usize, message: &Message) {
        let number = self.messages;
        self.messages += 1;
        for (id, to) in &self.subscribers {
            let hit = *id == VICTIM && number == AT_MESSAGE;
            let after = *id == VICTIM && number == AT_MESSAGE + 1;
            // A subscriber that has gone is taken off the list by its own thread.
            let send = |message: Message| drop(to.send(message));
            match self.fault {
                Fault::Lose if hit => {}
                Fault::NoEcho if *id == from => {}
                Fault::Double if hit => {
                    send(message.clone());
                    send(message.clone());
                }
                Fault::Swap if hit => self.held = Some(message.clone()),
                Fault::Swap if after => {
                    send(message.clone());
                    send(self.held.take().unwrap());
                }
                Fault::Damage if hit => {
                    let mut text = message.to_text().unwrap().to_string();
                    text.pop();
                    send(Message::text(text + "!"));
                }
                Fault::Close if hit => send(Message::Close(Some(CloseFrame {
                    code: CloseCode::Again,
                    reason: "you are too slow".into(),
                }))),
                Fault::Disagree if *id == VICTIM => match (number % 2, self.held.take()) {
                    (0, _) => self.held = Some(message.clone()),
                    (_, held) => {
                        send(message.clone());
                        held.into_iter().for_each(send);
                    }
                },
                _ => send(message.clone()),
            }
        }
    }
}

/// Whether what a client says begins with some bytes; nothing of it is taken.
pub(crate) fn starts_with(stream: &TcpStream, begin: &[u8]) -> bool {
    let mut seen = vec![0; begin.len()];
    loop {
        match stream.peek(&mut seen) {
            Ok(count) if count == begin.len() => return seen == begin,
            // It may be cut, though not where it differs.
            Ok(count) if count > 0 && begin.starts_with(&seen[..count]) => thread::yield_now(),
            _ => return false,
        }
    }
}

/// Runs the tool with a command line of words without spaces.
pub(crate) fn tool(line: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fanfare-loadtest"))
        .args(line.split_whitespace())
        .output()
        .unwrap()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// What `--json` wrote.
pub(crate) fn result(path: &Path) -> loadtest::stats::Run {
    loadtest::load(path).unwrap()
}
