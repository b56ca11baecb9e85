//! What the end-to-end tests share: a running daemon, and clients for it.

mod raw;

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tungstenite::client::IntoClientRequest;
use tungstenite::handshake::client::Response;
use tungstenite::http::HeaderValue;
use tungstenite::{Message, WebSocket};

pub(crate) use raw::{Answer, Raw, masked};

/// Nothing that works takes this long; it keeps a failing test from hanging.
pub(crate) const PATIENCE: Duration = Duration::from_secs(25);

/// Lets everybody do everything, where that must be said: where others than programs of this
/// machine get in.
pub(crate) const OPEN: [&str; 2] = [
    "--anonymous",
    r#"match = "**", publish = true, presence = true"#,
];

/// A client of another make than the daemon's own code.
pub(crate) type Client = WebSocket<TcpStream>;

/// A daemon of this build on a port of its own, gone with the value.
pub(crate) struct Daemon {
    child: Child,
    /// The process that has taken over from `child`, or from another successor.
    successor: Option<Pid>,
    /// Those of TCP, in the order in which they were asked for.
    pub(crate) addresses: Vec<SocketAddr>,
    /// The same of those where TLS is spoken.
    pub(crate) tls_addresses: Vec<SocketAddr>,
    /// Of the admin listener.
    socket: PathBuf,
    _folder: TempDir,
    log: Arc<Log>,
}

/// The lines on the daemon's standard error so far.
#[derive(Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    grown: Condvar,
}

/// The daemon's command with `options`, on a free port; two cores unless
/// `options` say otherwise.
pub(crate) fn command(options: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanfare"));
    command.args(["--listen", "127.0.0.1:0", "--log", "debug"]);
    if !options.contains(&"--cores") {
        command.args(["--cores", "2"]);
    }
    command.args(options);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Daemon {
    /// Starts [`command`] and waits until it listens.
    pub(crate) fn start(options: &[&str]) -> Daemon {
        Daemon::start_as(command(options))
    }

    /// Starts `command`, which must pipe its output, and waits until it listens.
    pub(crate) fn start_as(mut command: Command) -> Daemon {
        let folder = tempfile::tempdir().expect("there is room");
        let socket = folder.path().join("admin");
        let admin = format!("unix:{}", socket.display());
        command.args(["--admin", &admin]);
        let mut child = command.spawn().expect("the daemon can be run");
        let errors = BufReader::new(child.stderr.take().expect("it is piped"));
        let log = Arc::new(Log::default());
        let into = log.clone();
        thread::spawn(move || {
            for line in errors.lines().map_while(Result::ok) {
                into.lines.lock().unwrap().push(line);
                into.grown.notify_all();
            }
        });
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let is_place = |arg: &&OsStr| *arg == "--listen" || *arg == "--listen-tls";
        let wanted = command.get_args().filter(is_place).count();
        let places: Vec<_> = lines.take(wanted).map(Result::unwrap).collect();
        let of = |scheme| places.iter().filter_map(move |line| address(line, scheme));
        let (addresses, tls_addresses) = (of("http://").collect(), of("https://").collect());
        if places.len() < wanted {
            let status = child.wait();
            panic!("it does not listen; {status:?}; {:#?}", log.lines);
        }
        Daemon {
            child,
            successor: None,
            addresses,
            tls_addresses,
            socket,
            _folder: folder,
            log,
        }
    }

    /// A connected WebSocket client for `path`, which begins with a slash.
    pub(crate) fn connect(&self, path: &str) -> Client {
        self.open(path, &[]).expect("the handshake succeeds").0
    }

    /// A WebSocket client with further request headers, and the 101.
    pub(crate) fn open(
        &self,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> tungstenite::Result<(Client, Response)> {
        self.open_over(self.stream(), path, headers)
    }

    /// As [`Daemon::open`], over a connection that is there already.
    pub(crate) fn open_over(
        &self,
        stream: TcpStream,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> tungstenite::Result<(Client, Response)> {
        let mut request = format!("ws://{}{path}", self.addresses[0]).into_client_request()?;
        for (name, value) in headers {
            let value = HeaderValue::from_str(value).expect("a valid value");
            request.headers_mut().append(*name, value);
        }
        let outcome = tungstenite::client::client(request, stream);
        outcome.map_err(|error| match error {
            tungstenite::HandshakeError::Failure(error) => error,
            other => panic!("{other}"),
        })
    }

    /// A TCP connection on which nothing has been said yet.
    pub(crate) fn stream(&self) -> TcpStream {
        let stream = TcpStream::connect(self.addresses[0]).expect("it listens");
        set_up(&stream);
        stream
    }

    /// As [`Daemon::stream`], with a receive buffer as small as it gets, so
    /// that a reader that pauses is soon felt at the other end.
    pub(crate) fn narrow_stream(&self) -> TcpStream {
        self.narrow_stream_to(self.addresses[0])
    }

    /// The same to another of its addresses.
    pub(crate) fn narrow_stream_to(&self, address: SocketAddr) -> TcpStream {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket.expect("a socket can be made");
        socket.set_recv_buffer_size(4096).expect("it may be small");
        socket.connect(&address.into()).expect("it listens");
        let stream = TcpStream::from(socket);
        set_up(&stream);
        stream
    }

    /// A connection for bytes as the test chooses them.
    pub(crate) fn raw(&self) -> Raw {
        Raw::new(self.stream())
    }

    /// As [`Daemon::raw`], after the opening handshake for `path`.
    pub(crate) fn raw_on(&self, path: &str) -> Raw {
        let mut raw = self.raw();
        raw.shake_hands(path);
        raw
    }

    /// Waits until `times` log lines hold `words`; returns the last of these.
    pub(crate) fn await_log(&self, words: &str, times: usize) -> String {
        let begin = Instant::now();
        let mut lines = self.log.lines.lock().unwrap();
        loop {
            let mut found = lines.iter().filter(|line| line.contains(words));
            if let Some(line) = found.nth(times - 1) {
                return line.clone();
            }
            let left = PATIENCE.checked_sub(begin.elapsed());
            let left = left.unwrap_or_else(|| panic!("{words:?} {times} times in {lines:#?}"));
            lines = self.log.grown.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// How many log lines hold `words` by now.
    pub(crate) fn count_log(&self, words: &str) -> usize {
        let lines = self.log.lines.lock().unwrap();
        lines.iter().filter(|line| line.contains(words)).count()
    }

    /// Asks the admin listener; returns the status line and the body.
    pub(crate) fn ask(&self, request: &str) -> (String, String) {
        self.ask_with(request, b"")
    }

    /// The same with a body of any bytes.
    pub(crate) fn ask_with(&self, request: &str, body: &[u8]) -> (String, String) {
        let (head, body) = self.ask_as(request, "", body);
        let status = head.lines().next().unwrap_or_default();
        (status.to_owned(), body)
    }

    /// The same with further lines of the head, each with its end. Returns the head and the body
    /// of the answer.
    pub(crate) fn ask_as(&self, request: &str, lines: &str, body: &[u8]) -> (String, String) {
        let mut stream = UnixStream::connect(&self.socket).expect("it listens");
        let mut usual = "Host: localhost\r\nConnection: close\r\n".to_owned();
        if !lines.contains("Content-Type") {
            usual += "Content-Type: application/octet-stream\r\n";
        }
        let len = body.len();
        let head = format!("{request} HTTP/1.1\r\n{usual}{lines}Content-Length: {len}\r\n\r\n");
        // Whoever is refused by the head alone would not be read from again.
        let request = [head.as_bytes(), body].concat();
        stream.write_all(&request).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a whole answer");
        (head.to_owned(), body.to_owned())
    }

    /// Where its admin listener is, as commands for the shell take it.
    pub(crate) fn admin(&self) -> String {
        format!("unix:{}", self.socket.display())
    }

    /// The process that serves.
    pub(crate) fn pid(&self) -> Pid {
        let child = Pid::from_raw(self.child.id() as i32);
        self.successor.unwrap_or(child)
    }

    /// Has the daemon hand everything to a successor, for the `time`th time.
    pub(crate) fn hand_over(&mut self, time: usize) {
        self.signal(Signal::SIGUSR2);
        self.handed_over(time);
    }

    /// Waits until everything is a successor's, for the `time`th time.
    pub(crate) fn handed_over(&mut self, time: usize) {
        let line = self.await_log("handed over", time);
        let pid = line.split_once("successor=").expect("it is named").1;
        let pid = pid.trim().parse().expect("it is a number");
        self.successor = Some(Pid::from_raw(pid));
    }

    /// Waits until a request has been refused, or a connection closed, for
    /// `reason`, by the name that logs and metrics share; shows that it is
    /// counted.
    pub(crate) fn await_reason(&self, reason: &str) {
        self.await_log(&format!("reason=\"{reason}\""), 1);
        let families = ["fanfare_rejects_total", "fanfare_closes_total"];
        eventually(&format!("{reason} is counted"), || {
            families
                .iter()
                .any(|family| self.counter(family, reason) > 0)
        });
    }

    /// A counter for `reason`, as the admin listener tells it.
    pub(crate) fn counter(&self, family: &str, reason: &str) -> u64 {
        self.counter_of(family, "reason", reason)
    }

    /// A counter with another label.
    pub(crate) fn counter_of(&self, family: &str, label: &str, value: &str) -> u64 {
        self.metric(&format!("{family}{{{label}=\"{value}\"}}"))
    }

    /// One sample, as the admin listener tells it; 0 if its family has none.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let (_, text) = self.ask("GET /metrics");
        let family = name.split('{').next().unwrap_or_default();
        assert!(
            text.contains(&format!("# TYPE {family} ")),
            "there is no family {family}"
        );
        assert!(
            name != family || !text.contains(&format!("\n{family}{{")),
            "{family} has labels"
        );
        let mut lines = text.lines().filter_map(|line| line.strip_prefix(name));
        let value = lines.find_map(|rest| rest.strip_prefix(' '));
        value.map_or(0, |value| value.parse().expect("a number"))
    }

    /// Connections of all cores.
    pub(crate) fn connections(&self) -> u64 {
        let (_, text) = self.ask("GET /metrics");
        let samples = text
            .lines()
            .filter(|line| line.starts_with("fanfare_connections{"));
        let values = samples.filter_map(|sample| sample.rsplit(' ').next()?.parse::<u64>().ok());
        values.sum()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("the daemon is there");
    }

    /// How the daemon has ended, if it has.
    pub(crate) fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the daemon is a child")
    }

    /// Waits until the daemon has ended by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("the daemon is a child")
    }

    /// Resident memory of the daemon.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("the daemon is there");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        kib.and_then(|kib| kib.parse::<u64>().ok()).expect("kB") * 1024
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(successor) = self.successor {
            let _ = kill(successor, Signal::SIGKILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        let lines = self.log.lines.lock();
        let lines = lines.unwrap_or_else(PoisonError::into_inner);
        if thread::panicking() {
            let last = lines.len().saturating_sub(40);
            eprintln!("the daemon said at last: {:#?}", &lines[last..]);
        } else {
            let wrong = |line: &&String| line.contains("panicked") || line.contains("has failed");
            assert_eq!(lines.iter().find(wrong), None);
        }
    }
}

/// The address in the line that says where the daemon listens; `None` for a Unix
/// socket, and for an address of another scheme.
fn address(line: &str, scheme: &str) -> Option<SocketAddr> {
    let place = line.split_once("listening on ").map(|(_, place)| place);
    let place = place.unwrap_or_else(|| panic!("{line:?} names no place"));
    if place.starts_with("unix:") {
        return None;
    }
    let (address, _) = place.strip_prefix(scheme)?.split_once('/')?;
    Some(address.parse().expect("an address"))
}

/// Tries again until it is so.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < PATIENCE, "never: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn set_up(stream: &TcpStream) {
    stream.set_read_timeout(Some(PATIENCE)).expect("it is set");
    stream.set_nodelay(true).expect("it is set");
}

/// The next message, which must be text.
pub(crate) fn hear(client: &mut Client) -> String {
    match client.read().expect("a message comes") {
        Message::Text(text) => text.to_string(),
        other => panic!("{other:?} instead of text"),
    }
}

/// Sends `text` and awaits it at `listener`.
pub(crate) fn pass(speaker: &mut Client, listener: &mut Client, text: &str) {
    speaker.send(Message::text(text)).expect("it can be sent");
    assert_eq!(hear(listener), text);
}

/// Reads up to the close frame; returns its code and reason. Messages before
/// it are passed over.
pub(crate) fn hear_close(client: &mut Client) -> (u16, String) {
    loop {
        match client.read().expect("the close comes") {
            Message::Close(Some(close)) => return (close.code.into(), close.reason.to_string()),
            Message::Close(None) => panic!("a close without code"),
            _ => {}
        }
    }
}

/// Two well-behaved clients that go on talking while others misbehave.
pub(crate) struct Witnesses {
    speaker: Client,
    listener: Client,
    said: u32,
}

impl Witnesses {
    /// Two clients on `path`, where the misbehaving one will be as well.
    pub(crate) fn new(daemon: &Daemon, path: &str) -> Witnesses {
        let mut witnesses = Witnesses {
            speaker: daemon.connect(path),
            listener: daemon.connect(path),
            said: 0,
        };
        witnesses.check();
        witnesses
    }

    /// Each says something, and the other hears that and nothing else.
    pub(crate) fn check(&mut self) {
        self.said += 1;
        let (there, back) = (
            format!("{} there", self.said),
            format!("{} back", self.said),
        );
        pass(&mut self.speaker, &mut self.listener, &there);
        pass(&mut self.listener, &mut self.speaker, &back);
    }
}
