//! A client of Server-Sent Events, by the rules of the HTML standard.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use crate::common::{Answer, Daemon, Raw};

/// What a stream has told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// Its name; `message` without one.
    pub(crate) name: String,
    pub(crate) data: String,
    /// The id that holds from it on.
    pub(crate) id: String,
}

pub(crate) struct EventSource {
    stream: TcpStream,
    pub(crate) head: Answer,
    unread: Vec<u8>,
    /// The id by which it would come back.
    pub(crate) id: String,
    /// When it would.
    pub(crate) retry_ms: Option<u64>,
    pub(crate) comments: Vec<String>,
    /// Of the event that has come in part.
    field_id: Option<String>,
    name: String,
    data: String,
}

/// A request for a stream, with further header lines, each with its line end.
pub(crate) fn request(path: &str, lines: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n{lines}\r\n")
}

/// What a request for a stream is refused with.
pub(crate) fn refusal(daemon: &Daemon, path: &str, lines: &str) -> (u16, String) {
    let mut raw = daemon.raw();
    raw.send(request(path, lines).as_bytes());
    let answer = raw.read_answer();
    (answer.status, String::from_utf8(answer.body).unwrap())
}

impl EventSource {
    pub(crate) fn open(daemon: &Daemon, path: &str) -> EventSource {
        EventSource::open_with(daemon, path, "")
    }

    pub(crate) fn open_with(daemon: &Daemon, path: &str, lines: &str) -> EventSource {
        EventSource::open_over(daemon.stream(), path, lines)
    }

    pub(crate) fn open_over(stream: TcpStream, path: &str, lines: &str) -> EventSource {
        let mut raw = Raw::new(stream);
        raw.send(request(path, lines).as_bytes());
        let head = raw.read_head();
        assert_eq!(head.status, 200, "{head:?}");
        let (stream, unread) = raw.into_parts();
        let mut source = EventSource {
            stream,
            head,
            unread,
            id: String::new(),
            retry_ms: None,
            comments: Vec::new(),
            field_id: None,
            name: String::new(),
            data: String::new(),
        };
        // What every stream begins with.
        while source.id.is_empty() {
            let line = source.line().expect("it begins");
            assert_eq!(source.take(&line), None);
        }
        source
    }

    /// Comes back to `path` as a browser does.
    pub(crate) fn again(&self, daemon: &Daemon, path: &str) -> EventSource {
        EventSource::open_with(daemon, path, &format!("Last-Event-ID: {}\r\n", self.id))
    }

    /// The next event; `None` at the end of the stream.
    pub(crate) fn next(&mut self) -> Option<Event> {
        loop {
            let line = self.line()?;
            if let Some(event) = self.take(&line) {
                return Some(event);
            }
        }
    }

    /// The data of the next event, which has no name.
    pub(crate) fn hear(&mut self) -> String {
        let event = self.next().expect("an event comes");
        assert_eq!(event.name, "message", "{event:?}");
        event.data
    }

    /// Reads until that is so.
    pub(crate) fn read_until(&mut self, is_so: impl Fn(&EventSource) -> bool) {
        while !is_so(self) {
            let line = self.line().expect("the stream goes on");
            assert_eq!(self.take(&line), None);
        }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("it can be sent");
    }

    /// The next line that has its end; `None` where none comes any more.
    fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let mut line: Vec<u8> = self.unread.drain(..=end).collect();
                line.pop();
                return Some(String::from_utf8(line).expect("a stream is UTF-8"));
            }
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes) {
                Ok(0) => return None,
                Ok(len) => self.unread.extend_from_slice(&bytes[..len]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("cannot receive: {error}"),
            }
        }
    }

    fn take(&mut self, line: &str) -> Option<Event> {
        assert!(!line.contains('\r'), "{line:?}");
        if line.is_empty() {
            self.id = self.field_id.clone().unwrap_or_default();
            let name = std::mem::take(&mut self.name);
            let mut data = std::mem::take(&mut self.data);
            data.pop()?;
            return Some(Event {
                name: if name.is_empty() {
                    "message".into()
                } else {
                    name
                },
                data,
                id: self.id.clone(),
            });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" => self.comments.push(value.to_owned()),
            "id" => self.field_id = Some(value.to_owned()),
            "event" => self.name = value.to_owned(),
            "data" => {
                self.data += value;
                self.data += "\n";
            }
            "retry" => self.retry_ms = Some(value.parse().expect("a number")),
            _ => panic!("{line:?} is no field"),
        }
        None
    }
}
