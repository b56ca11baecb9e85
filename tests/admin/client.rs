//! The daemon as a child process, and a plain HTTP client for its admin listener.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tungstenite::stream::MaybeTlsStream;
use tungstenite::{Message, WebSocket};

/// Far more than anything here takes: a test that hangs fails instead.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) type Subscriber = WebSocket<MaybeTlsStream<TcpStream>>;

pub(crate) enum Admin {
    Tcp(String),
    Unix(PathBuf),
    Off,
}

pub(crate) struct Daemon {
    child: Child,
    pub(crate) public: String,
    pub(crate) admin: Admin,
}

pub(crate) fn command(options: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanfare"));
    command
        .args(["--listen", "127.0.0.1:0"])
        .args(options)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if !options.contains(&"--cores") {
        command.args(["--cores", "2"]);
    }
    command
}

impl Daemon {
    /// A daemon with an admin listener on a port of its own.
    pub(crate) fn start(options: &[&str]) -> Self {
        Self::start_at("127.0.0.1:0", options)
    }

    pub(crate) fn start_at(admin: &str, options: &[&str]) -> Self {
        let mut options = options.to_vec();
        options.extend(["--admin", admin]);
        let mut child = command(&options).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let admin = if admin == "off" {
            Admin::Off
        } else {
            let mut lines = lines.by_ref().map(Result::unwrap);
            lines
                .find_map(|line| admin_in(&line))
                .expect("the daemon names its admin listener")
        };
        // A full pipe would hold the daemon up.
        std::thread::spawn(move || lines.for_each(drop));
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut first)
            .unwrap();
        let public = first
            .trim()
            .strip_prefix("listening on http://")
            .unwrap_or_else(|| panic!("{first:?} names no address"));
        Daemon {
            public: public.trim_end_matches('/').to_owned(),
            admin,
            child,
        }
    }

    pub(crate) fn connect(&self) -> Box<dyn Stream> {
        self.admin.connect()
    }

    /// `request` is method and path; `fields` are whole lines.
    pub(crate) fn ask(&self, request: &str, fields: &[&str], body: &[u8]) -> Answer {
        self.admin.ask(request, fields, body)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path}"), &[], b"")
    }

    pub(crate) fn post(&self, topic: &str, body: &[u8]) -> Answer {
        self.ask(&format!("POST /topics/{topic}/messages"), &[], body)
    }

    /// A subscriber of `topic`, and the epoch it was told.
    pub(crate) fn subscribe(&self, topic: &str) -> (Subscriber, String) {
        let url = format!("ws://{}/{topic}", self.public);
        let (socket, response) = tungstenite::connect(url).unwrap();
        if let MaybeTlsStream::Plain(stream) = socket.get_ref() {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
        }
        let epoch = response.headers()["fanfare-epoch"].to_str().unwrap();
        (socket, epoch.to_owned())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    pub(crate) fn wait(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Admin {
    pub(crate) fn connect(&self) -> Box<dyn Stream> {
        match self {
            Admin::Tcp(address) => {
                let stream = TcpStream::connect(address).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                Box::new(stream)
            }
            Admin::Unix(path) => {
                let stream = UnixStream::connect(path).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                Box::new(stream)
            }
            Admin::Off => panic!("there is no admin listener"),
        }
    }

    /// `request` is method and path; `fields` are whole lines.
    pub(crate) fn ask(&self, request: &str, fields: &[&str], body: &[u8]) -> Answer {
        let mut stream = self.connect();
        let mut head = format!("{request} HTTP/1.1\r\nConnection: close\r\n");
        if !fields.iter().any(|field| field.starts_with("Host:")) {
            head += "Host: 127.0.0.1\r\n";
        }
        if !fields
            .iter()
            .any(|field| field.starts_with("Transfer-Encoding:"))
        {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        for field in fields {
            head += field;
            head += "\r\n";
        }
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(b"\r\n").unwrap();
        // A refusal may come, and the connection end, before all is written.
        let _ = stream.write_all(body);
        Answer::read(&mut stream)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It has ended already where a test waited for that.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn admin_in(line: &str) -> Option<Admin> {
    let (_, place) = line.split_once("admin listener on ")?;
    // Its roles follow.
    let place = place.split(' ').next()?;
    if let Some(address) = place.strip_prefix("http://") {
        return Some(Admin::Tcp(address.trim_end_matches('/').to_owned()));
    }
    place
        .strip_prefix("unix:")
        .map(|path| Admin::Unix(path.into()))
}

pub(crate) trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    /// Reads until the daemon closes.
    pub(crate) fn read(stream: &mut impl Read) -> Self {
        let mut bytes = Vec::new();
        // What comes in spite of unsent request bytes ends in a reset.
        let _ = stream.read_to_end(&mut bytes);
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").expect("an answer has a head");
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap();
        Answer {
            status: status.parse().unwrap(),
            fields: lines
                .map(|line| line.split_once(": ").unwrap())
                .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                .collect(),
            body: body.to_owned(),
        }
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter();
        let found = fields.find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> simd_json::OwnedValue {
        assert_eq!(
            self.field("content-type"),
            Some("application/json"),
            "{self:?}"
        );
        let mut body = self.body.clone().into_bytes();
        simd_json::to_owned_value(&mut body).unwrap()
    }

    /// Asserts the status and that a sentence of the error holds `words`.
    #[track_caller]
    pub(crate) fn refuses(&self, status: u16, words: &str) {
        assert_eq!(self.status, status, "{self:?}");
        let json = self.json();
        let sentence = simd_json::prelude::ValueObjectAccessAsScalar::get_str(&json, "error");
        let sentence = sentence.unwrap_or_else(|| panic!("{self:?} names no error"));
        assert!(sentence.contains(words), "{sentence}");
    }
}

/// The next data message.
pub(crate) fn next(subscriber: &mut Subscriber) -> Message {
    loop {
        match subscriber.read().unwrap() {
            Message::Ping(_) | Message::Pong(_) => {}
            message => return message,
        }
    }
}
