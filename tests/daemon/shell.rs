//! `fanfare subscribe` and `fanfare publish`, as a shell runs them.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::{Daemon, OPEN, eventually};
use crate::tokens::{SECRET, token};

/// The program with these words, away from any settings of this machine's.
pub(crate) fn fanfare(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanfare"));
    command.args(words);
    for variable in ["FANFARE_TOKEN", "FANFARE_API_KEY"] {
        command.env_remove(variable);
    }
    command.stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub(crate) fn public(daemon: &Daemon) -> String {
    format!("ws://{}", daemon.addresses[0])
}

/// Publishes lines, and awaits the end.
pub(crate) fn publish(daemon: &Daemon, words: &[&str], input: &[u8]) -> Output {
    let admin = daemon.admin();
    run(&[&["publish", "--server", &admin], words].concat(), input)
}

pub(crate) fn run(words: &[&str], input: &[u8]) -> Output {
    let mut child = fanfare(words).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // It may end before it has read all.
    let writing = thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    let _ = writing.join();
    output
}

#[track_caller]
pub(crate) fn assert_done(output: &Output) {
    assert!(output.status.success(), "{output:?}");
}

#[track_caller]
pub(crate) fn assert_ends(output: &Output, code: i32, words: &str) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{errors}");
    assert!(errors.contains(words), "{words:?} in {errors}");
}

/// A subscriber that runs, gone with the value.
pub(crate) struct Subscriber {
    child: Child,
    /// `None` once nobody reads them any more.
    lines: Option<BufReader<ChildStdout>>,
    errors: Arc<Mutex<String>>,
    /// Reads the errors to their end.
    telling: Option<JoinHandle<()>>,
}

impl Subscriber {
    pub(crate) fn start(words: &[&str]) -> Subscriber {
        let mut child = fanfare(&[&["subscribe"], words].concat()).spawn().unwrap();
        let lines = Some(BufReader::new(child.stdout.take().unwrap()));
        let told = BufReader::new(child.stderr.take().unwrap());
        let errors = Arc::new(Mutex::new(String::new()));
        let into = errors.clone();
        let telling = thread::spawn(move || {
            for line in told.lines().map_while(Result::ok) {
                *into.lock().unwrap() += &(line + "\n");
            }
        });
        Subscriber {
            child,
            lines,
            errors,
            telling: Some(telling),
        }
    }

    /// One that follows `topic`, and has begun to.
    pub(crate) fn following(daemon: &Daemon, topic: &str, words: &[&str]) -> Subscriber {
        let server = public(daemon);
        let started = Subscriber::start(&[&["--server", &server, topic], words].concat());
        await_subscribers(daemon, topic, 1);
        started
    }

    pub(crate) fn next(&mut self) -> String {
        let mut line = String::new();
        self.lines.as_mut().unwrap().read_line(&mut line).unwrap();
        line
    }

    /// What comes until it ends.
    pub(crate) fn rest(&mut self) -> String {
        String::from_utf8(self.rest_in_bytes()).unwrap()
    }

    fn rest_in_bytes(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.lines.as_mut().unwrap().read_to_end(&mut rest).unwrap();
        self.await_last_error();
        rest
    }

    /// What has been said so far; all of it, once it has ended.
    pub(crate) fn errors(&self) -> String {
        self.errors.lock().unwrap().clone()
    }

    pub(crate) fn await_error(&self, words: &str) {
        eventually(words, || self.errors().contains(words));
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// Nobody reads its lines any more.
    pub(crate) fn close_output(&mut self) {
        self.lines = None;
    }

    /// How it has ended.
    pub(crate) fn code(&mut self) -> Option<i32> {
        let code = self.child.wait().unwrap().code();
        self.await_last_error();
        code
    }

    fn await_last_error(&mut self) {
        if let Some(telling) = self.telling.take() {
            telling.join().unwrap();
        }
    }
}

/// Waits until a topic has so many subscribers.
pub(crate) fn await_subscribers(daemon: &Daemon, topic: &str, count: usize) {
    // No key of the server API is asked for there.
    let wanted = format!("{count} of {topic}");
    eventually(&wanted, || {
        let (_, body) = daemon.ask("GET /overview");
        let overview: serde_json::Value = serde_json::from_str(&body).unwrap();
        let topics = overview["topics"]["shown"].as_array().unwrap();
        let found = topics.iter().find(|known| known["name"] == topic);
        found.is_some_and(|found| found["subscribers"] == count)
    });
}

#[test]
fn lines_that_are_published_are_heard_as_lines_in_their_order() {
    let daemon = Daemon::start(&[]);
    let mut heard = Subscriber::following(&daemon, "news/sport", &["--count", "5000"]);
    let all: String = (0..5000).map(|n| format!("line {n}\n")).collect();
    assert_done(&publish(&daemon, &["news/sport"], all.as_bytes()));
    assert_eq!(heard.rest(), all);
    assert_eq!(heard.code(), Some(0));
    assert_eq!(heard.errors(), "");
}

#[test]
fn texts_bytes_and_json_come_through_as_they_are() {
    let daemon = Daemon::start(&[]);
    let mut heard = Subscriber::following(&daemon, "a", &["-n", "6"]);
    let lines = b"plain\n\"quoted\"\n{\"a\": [1, 2]}\n\n\xff\xfe\0\nlast";
    assert_done(&publish(&daemon, &["a"], lines));
    assert_done(&publish(&daemon, &["a", "one\nmessage"], b""));
    let all = heard.rest_in_bytes();
    let wanted = b"plain\n\"quoted\"\n{\"a\": [1, 2]}\n\xff\xfe\0\nlast\none\nmessage\n";
    assert_eq!(all, wanted);
}

#[test]
fn in_json_a_line_says_all_that_is_known_and_can_be_published_again() {
    let daemon = Daemon::start(&[]);
    let mut first = Subscriber::following(&daemon, "a", &["--json", "-n", "4"]);
    let mut second = Subscriber::following(&daemon, "b", &["--json", "-n", "4"]);
    let given = r#"{"event":"goal","data":{"by":9}}
{"text":"Kick \"off\""}
{"b64data":"AAEC"}
{"data":"a JSON string"}
"#;
    assert_done(&publish(&daemon, &["--json", "a"], given.as_bytes()));
    let heard = first.rest();
    let (_, body) = daemon.ask("GET /topics/a");
    let epoch = body.split("\"epoch\":\"").nth(1).unwrap();
    let epoch = &epoch[..16];
    let wanted: Vec<String> = [
        r#""offset":1,"event":"goal","data":{"by":9}}"#,
        r#""offset":2,"text":"Kick \"off\""}"#,
        r#""offset":3,"b64data":"AAEC"}"#,
        r#""offset":4,"data":"a JSON string"}"#,
    ]
    .iter()
    .map(|rest| format!("{{\"topic\":\"a\",\"epoch\":\"{epoch}\",{rest}"))
    .collect();
    assert_eq!(heard.lines().collect::<Vec<_>>(), wanted);
    assert_done(&publish(&daemon, &["--json", "b"], heard.as_bytes()));
    let again = second.rest();
    let payloads = |text: &str| -> Vec<String> {
        let lines = text.lines();
        lines
            .map(|line| line.split_once("\"offset\"").unwrap().1.to_owned())
            .collect()
    };
    assert_eq!(payloads(&again), payloads(&heard));
}

#[test]
fn several_topics_are_followed_at_once() {
    let daemon = Daemon::start(&[]);
    let url = format!("{}/b%2Fc", public(&daemon));
    let mut heard = Subscriber::following(&daemon, "a", &[&url, "--json", "-n", "2"]);
    await_subscribers(&daemon, "b/c", 1);
    assert_done(&publish(&daemon, &["a", "1"], b""));
    assert!(heard.next().starts_with("{\"topic\":\"a\","));
    assert_done(&publish(&daemon, &["b/c", "2"], b""));
    assert!(heard.next().starts_with("{\"topic\":\"b/c\","));
    assert_eq!(heard.code(), Some(0));
}

#[test]
fn history_is_heard_from_an_offset_on_and_what_is_gone_is_told() {
    let daemon = Daemon::start(&["--retain-messages-max", "3"]);
    assert_done(&publish(&daemon, &["a"], b"1\n2\n3\n4\n5\n"));
    let server = public(&daemon);
    let words = ["--server", &server, "a", "--since"];
    let mut late = Subscriber::start(&[&words[..], &["4", "-n", "2"]].concat());
    assert_eq!(late.rest(), "4\n5\n");
    assert_eq!(late.errors(), "");
    let mut all = Subscriber::start(&[&words[..], &["1", "-n", "3"]].concat());
    assert_eq!(all.rest(), "3\n4\n5\n");
    all.await_error("the offsets from 1 to 2 is missing");
    let other = "00000000000000ab-4";
    let mut lost = Subscriber::start(&[&words[..], &[other, "-n", "3"]].concat());
    assert_eq!(lost.rest(), "3\n4\n5\n");
    lost.await_error("unknown here");
}

#[test]
fn who_may_not_and_what_is_wrong_is_told_by_the_exit_code() {
    let secret = tempfile::tempdir().unwrap();
    let file = secret.path().join("secret");
    fs::write(&file, SECRET).unwrap();
    let keys = format!("HS256:{}", file.display());
    let daemon = Daemon::start(&["--token-keys", &keys]);
    let server = public(&daemon);
    let subscribe = |words: &[&str]| {
        run(
            &[
                &["subscribe", "--server", &server, "-n", "1", "--since", "1"],
                words,
            ]
            .concat(),
            b"",
        )
    };
    assert_done(&publish(&daemon, &["room.a", "hello"], b""));
    assert_ends(&subscribe(&["room.a"]), 1, "without a token");
    let borne = secret.path().join("token");
    let borne_text = borne.to_str().unwrap();
    assert_ends(
        &subscribe(&["room.a", "--token-file", borne_text]),
        2,
        "cannot read",
    );
    let claims = r#"{"sub":"anna","subscribe":["room.*"],"history":["room.*"]}"#;
    fs::write(&borne, token(claims)).unwrap();
    let heard = subscribe(&["room.a", "--token-file", borne_text]);
    assert_done(&heard);
    assert_eq!(heard.stdout, b"hello\n");
    let denied = subscribe(&["hall.a", "--token-file", borne_text]);
    assert_ends(&denied, 1, "(403)");
    // The token is in no line.
    assert!(!String::from_utf8_lossy(&denied.stderr).contains("eyJ"));
    let in_variable = fanfare(&[
        "subscribe",
        "--server",
        &server,
        "room.a",
        "-n",
        "1",
        "--since",
        "1",
    ])
    .env("FANFARE_TOKEN", token(claims))
    .output()
    .unwrap();
    assert_eq!(in_variable.stdout, b"hello\n");
    for words in [
        &["subscribe"][..],
        &["subscribe", "a", "--since", "x"],
        &["subscribe", "a", "--count", "0"],
        &["subscribe", "ws://u:p@localhost/a"],
        &["publish", "--server", "ftp://x", "a", "b"],
        &["top"],
    ] {
        assert_ends(&run(words, b""), 2, "");
    }
    let nobody = "ws://127.0.0.1:1";
    assert_ends(
        &run(&["subscribe", "--server", nobody, "a"], b""),
        3,
        "refused",
    );
    assert_ends(
        &run(&["publish", "--server", nobody, "a", "b"], b""),
        3,
        "refused",
    );
}

#[test]
fn a_publisher_bears_the_key_of_the_server_api_or_a_token() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let key = write("key", "the key of the API".replace(' ', "-").as_str());
    let secret = write("secret", SECRET);
    let keys = format!("HS256:{secret}");
    let api = tempfile::tempdir().unwrap();
    let place = format!("unix:{}/api", api.path().display());
    let words = [
        "--api",
        &place,
        "--api-key-file",
        &key,
        "--token-keys",
        &keys,
        OPEN[0],
        OPEN[1],
    ];
    let daemon = Daemon::start(&words);
    let mut heard = Subscriber::following(&daemon, "a", &["-n", "2"]);
    let publish = |words: &[&str]| {
        run(
            &[&["publish", "--server", &place, "a"], words].concat(),
            b"",
        )
    };
    assert_ends(&publish(&["none"]), 1, "the API key is missing");
    assert_done(&publish(&["by key", "--key-file", &key]));
    let token = write("token", &token(r#"{"sub":"anna","publish":["a"]}"#));
    assert_done(&publish(&["by token", "--token-file", &token]));
    assert_eq!(heard.rest(), "by key\nby token\n");
}

#[test]
fn lines_that_are_refused_are_named_and_spoil_no_others() {
    let daemon = Daemon::start(&["--message-bytes-max", "1KiB"]);
    let mut heard = Subscriber::following(&daemon, "a", &["-n", "2"]);
    let lines = format!("first\n{}\nlast\n", "x".repeat(2000));
    let output = publish(&daemon, &["a"], lines.as_bytes());
    assert_ends(&output, 1, "line 2 is not published");
    assert_ends(&output, 1, "1 lines were refused, 2 are published");
    assert_eq!(heard.rest(), "first\nlast\n");
    let output = publish(&daemon, &["--json", "b"], b"{\"text\":\"x\"}\nno JSON\n");
    assert_ends(&output, 1, "line 2 is not published");
}

#[test]
fn who_reads_no_more_ends_it_quietly() {
    let daemon = Daemon::start(&[]);
    // One learns it by a message, the other by looking.
    for is_told in [true, false] {
        let mut heard = Subscriber::following(&daemon, "a", &[]);
        assert_done(&publish(&daemon, &["a", "x"], b""));
        assert_eq!(heard.next(), "x\n");
        heard.close_output();
        if is_told {
            assert_done(&publish(&daemon, &["a", "y"], b""));
        }
        assert_eq!(heard.code(), Some(0));
        assert_eq!(heard.errors(), "");
        await_subscribers(&daemon, "a", 0);
    }
}

#[test]
fn a_signal_ends_a_subscriber_as_it_was_asked_to() {
    let daemon = Daemon::start(&[]);
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut heard = Subscriber::following(&daemon, "a", &[]);
        assert_done(&publish(&daemon, &["a", "x"], b""));
        assert_eq!(heard.next(), "x\n");
        heard.signal(signal);
        assert_eq!(heard.code(), Some(0));
        assert_eq!(
            (heard.rest(), heard.errors()),
            (String::new(), String::new())
        );
        // It has said goodbye.
        eventually("it is gone", || {
            daemon.counter("fanfare_closes_total", "peer") > 0
        });
        await_subscribers(&daemon, "a", 0);
    }
}

#[test]
fn a_signal_is_obeyed_while_nobody_reads() {
    let daemon = Daemon::start(&[]);
    let mut heard = Subscriber::following(&daemon, "a", &[]);
    let lines = format!("{}\n", "x".repeat(10_000)).repeat(500);
    assert_done(&publish(&daemon, &["a"], lines.as_bytes()));
    eventually("what it does not take waits", || {
        daemon.metric("fanfare_lag_bytes") > 0
    });
    heard.signal(Signal::SIGINT);
    assert_eq!(heard.code(), Some(0));
}
