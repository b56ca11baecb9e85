//! The server of an app, as far as webhooks go, or a collector of traces: it notes what it is told,
//! and answers as it is made to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Instant;

use ring::hmac;
use serde_json::Value;

use crate::common::PATIENCE;
use crate::tokens::SECRET;

/// How a request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// With this status, and headers behind it.
    Status(&'static str),
    /// With a 200 whose body never ends.
    Endless,
    /// Not at all, though the connection stays.
    Silence,
    /// The connection is closed.
    Hangup,
}

pub(crate) const TAKEN: Answer = Answer::Status("200 OK");

#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) line: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) answer: Answer,
}

#[derive(Default)]
struct Shared {
    requests: Mutex<Vec<Request>>,
    grown: Condvar,
}

pub(crate) struct HookServer {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// What a connection is once it is encrypted or not.
pub(crate) trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

impl HookServer {
    /// Answers the first request, which is number 0, and others as `answer` says.
    pub(crate) fn start(answer: impl Fn(usize) -> Answer + Send + Sync + 'static) -> HookServer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        HookServer::on(listener, answer, |stream| Some(Box::new(stream)))
    }

    /// The same where `open` makes a connection what it is to be.
    pub(crate) fn on(
        listener: TcpListener,
        answer: impl Fn(usize) -> Answer + Send + Sync + 'static,
        open: impl Fn(TcpStream) -> Option<Box<dyn Stream>> + Send + Sync + 'static,
    ) -> HookServer {
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let (of_all, how) = (shared.clone(), Arc::new((answer, open)));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (shared, how) = (of_all.clone(), how.clone());
                thread::spawn(move || {
                    let (answer, open) = &*how;
                    if let Some(stream) = open(stream) {
                        serve(&shared, stream, answer);
                    }
                });
            }
        });
        HookServer { address, shared }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hooks?a=1", self.address)
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Waits until there are so many requests, and returns all.
    pub(crate) fn requests(&self, count: usize) -> Vec<Request> {
        self.until(&format!("{count} requests"), |requests| {
            requests.len() >= count
        })
    }

    /// Waits until it has taken so many events, and returns all, the ones of one request as they
    /// were in it.
    pub(crate) fn events(&self, count: usize) -> Vec<Value> {
        let taken = |requests: &[Request]| -> Vec<Value> {
            let taken = requests
                .iter()
                .filter(|request| matches!(request.answer, TAKEN | Answer::Endless));
            taken.flat_map(Request::events).collect()
        };
        let what = format!("{count} events");
        taken(&self.until(&what, |requests| taken(requests).len() >= count))
    }

    /// Waits until they are as `what` says, and returns all.
    pub(crate) fn until(&self, what: &str, is_so: impl Fn(&[Request]) -> bool) -> Vec<Request> {
        let begin = Instant::now();
        let mut requests = self.shared.requests.lock().unwrap();
        while !is_so(&requests) {
            let left = PATIENCE.checked_sub(begin.elapsed());
            let left = left.unwrap_or_else(|| panic!("never {what}: {requests:#?}"));
            requests = self.shared.grown.wait_timeout(requests, left).unwrap().0;
        }
        requests.clone()
    }
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> &str {
        let mut headers = self.headers.iter();
        let found = headers.find(|(known, _)| known == name);
        &found.unwrap_or_else(|| panic!("no {name}: {self:?}")).1
    }

    /// What it tells, if it is signed as it is to be.
    pub(crate) fn events(&self) -> Vec<Value> {
        assert_eq!(self.header("x-pusher-key"), "key");
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        let tag = hmac::sign(&key, &self.body);
        let hex = tag.as_ref().iter().map(|byte| format!("{byte:02x}"));
        assert_eq!(self.header("x-pusher-signature"), hex.collect::<String>());
        let body: Value = serde_json::from_slice(&self.body).unwrap();
        assert!(
            body["time_ms"]
                .as_u64()
                .is_some_and(|ms| ms > 1_600_000_000_000)
        );
        body["events"].as_array().expect("a list").clone()
    }
}

fn serve(shared: &Shared, stream: Box<dyn Stream>, answer: &impl Fn(usize) -> Answer) {
    let mut stream = BufReader::new(stream);
    while let Some((line, headers, body)) = read(&mut stream) {
        let mut requests = shared.requests.lock().unwrap();
        let answer = answer(requests.len());
        requests.push(Request {
            line,
            headers,
            body,
            answer,
        });
        drop(requests);
        shared.grown.notify_all();
        let out = stream.get_mut();
        match answer {
            Answer::Status(status) => {
                let head = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nok");
                let sent = out.write_all(head.as_bytes()).and_then(|()| out.flush());
                if sent.is_err() {
                    return;
                }
            }
            Answer::Endless => {
                let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
                let mut sent = out.write_all(head);
                while sent.is_ok() {
                    sent = out.write_all(b"4\r\nmore\r\n");
                }
                return;
            }
            Answer::Silence => {
                // Until the other side has enough.
                let _ = stream.read(&mut [0]);
                return;
            }
            Answer::Hangup => return,
        }
    }
}

type Read3 = (String, Vec<(String, String)>, Vec<u8>);

/// The next request; `None` when the connection ends.
fn read(stream: &mut impl BufRead) -> Option<Read3> {
    let mut next = || {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        Some(line.trim_end().to_owned())
    };
    let first = next().filter(|line| !line.is_empty())?;
    let mut headers = Vec::new();
    loop {
        let line = next()?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(": ")?;
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let (_, len) = headers.iter().find(|(name, _)| name == "content-length")?;
    let mut body = vec![0; len.parse().ok()?];
    stream.read_exact(&mut body).ok()?;
    Some((first, headers, body))
}
