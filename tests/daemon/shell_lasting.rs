//! What comes of `fanfare subscribe` and `fanfare publish` when connections break off: a proxy
//! between them and the daemon does so whenever a test wants it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use nix::sys::signal::Signal;

use crate::common::{Daemon, eventually};
use crate::shell::{Subscriber, assert_done, assert_ends, await_subscribers, public, publish};
use crate::tokens::{SECRET, token};

/// Hands bytes on in both directions.
struct Proxy {
    address: SocketAddr,
    there: Arc<Mutex<Vec<TcpStream>>>,
    is_shut: Arc<AtomicBool>,
    /// Connections break off after so many bytes of answers; 0 is never.
    answers_max: Arc<AtomicU64>,
}

impl Proxy {
    fn to(target: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Proxy {
            address: listener.local_addr().unwrap(),
            there: Arc::default(),
            is_shut: Arc::default(),
            answers_max: Arc::default(),
        };
        let (there, is_shut) = (proxy.there.clone(), proxy.is_shut.clone());
        let answers_max = proxy.answers_max.clone();
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                if is_shut.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(far) = TcpStream::connect(target) else {
                    continue;
                };
                let mut kept = there.lock().unwrap();
                kept.push(near.try_clone().unwrap());
                kept.push(far.try_clone().unwrap());
                drop(kept);
                let (near_too, far_too) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                thread::spawn(move || carry(near, far, 0));
                let most = answers_max.load(Ordering::SeqCst);
                thread::spawn(move || carry(far_too, near_too, most));
            }
        });
        proxy
    }

    /// Cuts all connections.
    fn cut(&self) {
        for stream in self.there.lock().unwrap().drain(..) {
            // It may have ended by itself.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn shut(&self, is_shut: bool) {
        self.is_shut.store(is_shut, Ordering::SeqCst);
    }

    fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}", self.address)
    }
}

/// Ends both directions with the end of one, or after `most` bytes.
fn carry(mut from: TcpStream, mut to: TcpStream, most: u64) {
    let mut piece = [0; 8192];
    let mut carried = 0;
    while let Ok(len @ 1..) = from.read(&mut piece) {
        carried += len as u64;
        if most > 0 && carried > most {
            break;
        }
        if to.write_all(&piece[..len]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

#[test]
fn a_subscriber_comes_back_and_hears_each_message_once() {
    let daemon = Daemon::start(&[]);
    let proxy = Proxy::to(daemon.addresses[0]);
    let url = proxy.url("ws");
    let mut heard = Subscriber::start(&["--server", &url, "a", "-n", "41"]);
    await_subscribers(&daemon, "a", 1);
    let mut wanted = String::new();
    for round in 0..4 {
        let lines: String = (0..5).map(|n| format!("{round}/{n}\n")).collect();
        assert_done(&publish(&daemon, &["a"], lines.as_bytes()));
        proxy.shut(true);
        proxy.cut();
        // Somebody has to be away, else nothing is missed.
        await_subscribers(&daemon, "a", 0);
        let missed: String = (5..10).map(|n| format!("{round}/{n}\n")).collect();
        assert_done(&publish(&daemon, &["a"], missed.as_bytes()));
        proxy.shut(false);
        await_subscribers(&daemon, "a", 1);
        wanted += &(lines + &missed);
    }
    assert_done(&publish(&daemon, &["a", "end"], b""));
    assert_eq!(heard.rest(), wanted + "end\n");
    assert_eq!(heard.code(), Some(0));
    assert!(
        heard.errors().contains("trying again"),
        "{}",
        heard.errors()
    );
    assert!(!heard.errors().contains("missing"), "{}", heard.errors());
}

#[test]
fn what_is_not_kept_meanwhile_is_told_as_a_gap() {
    let daemon = Daemon::start(&["--retain-messages-max", "2"]);
    let proxy = Proxy::to(daemon.addresses[0]);
    let url = proxy.url("ws");
    let mut heard = Subscriber::start(&["--server", &url, "a", "-n", "3", "--quiet"]);
    await_subscribers(&daemon, "a", 1);
    assert_done(&publish(&daemon, &["a", "1"], b""));
    assert_eq!(heard.next(), "1\n");
    proxy.shut(true);
    proxy.cut();
    await_subscribers(&daemon, "a", 0);
    assert_done(&publish(&daemon, &["a"], b"2\n3\n4\n5\n"));
    proxy.shut(false);
    assert_eq!(heard.rest(), "4\n5\n");
    let errors = heard.errors();
    assert!(
        errors.contains("the offsets from 2 to 3 is missing"),
        "{errors}"
    );
    assert!(!errors.contains("trying again"), "{errors}");
}

#[test]
fn a_token_that_expires_is_not_taken_for_a_history_that_may_not_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let (secret, borne) = (folder.path().join("secret"), folder.path().join("token"));
    std::fs::write(&secret, SECRET).unwrap();
    let keys = format!("HS256:{}", secret.display());
    let daemon = Daemon::start(&["--token-keys", &keys]);
    let proxy = Proxy::to(daemon.addresses[0]);
    let url = proxy.url("ws");
    let claims = r#"{"sub":"anna","subscribe":["a"],"history":["a"]}"#;
    std::fs::write(&borne, token(claims)).unwrap();
    let borne_text = borne.to_str().unwrap();
    let mut heard = Subscriber::start(&["--server", &url, "a", "--token-file", borne_text]);
    await_subscribers(&daemon, "a", 1);
    std::fs::write(&borne, token(&claims.replace('{', r#"{"exp":1,"#))).unwrap();
    proxy.cut();
    assert_eq!(heard.code(), Some(1));
    let errors = heard.errors();
    assert!(errors.contains("(401)"), "{errors}");
    assert!(!errors.contains("may not be read"), "{errors}");
}

#[test]
fn who_may_not_read_history_hears_what_comes_and_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let (secret, borne) = (folder.path().join("secret"), folder.path().join("token"));
    std::fs::write(&secret, SECRET).unwrap();
    std::fs::write(&borne, token(r#"{"sub":"anna","subscribe":["a"]}"#)).unwrap();
    let keys = format!("HS256:{}", secret.display());
    let rule = r#"match = "a", history = false"#;
    let daemon = Daemon::start(&["--token-keys", &keys, "--anonymous", rule]);
    for words in [&[][..], &["--token-file", borne.to_str().unwrap()]] {
        let proxy = Proxy::to(daemon.addresses[0]);
        let url = proxy.url("ws");
        let all = [&["--server", &url, "a", "-n", "1"], words].concat();
        let mut heard = Subscriber::start(&all);
        await_subscribers(&daemon, "a", 1);
        proxy.cut();
        heard.await_error("its history may not be read");
        await_subscribers(&daemon, "a", 1);
        assert_done(&publish(&daemon, &["a", "what comes"], b""));
        assert_eq!(heard.rest(), "what comes\n");
        await_subscribers(&daemon, "a", 0);
    }
}

#[test]
fn a_handover_is_not_noticed() {
    let mut daemon = Daemon::start(&[]);
    let mut heard = Subscriber::following(&daemon, "a", &["-n", "2"]);
    assert_done(&publish(&daemon, &["a", "before"], b""));
    daemon.hand_over(1);
    assert_done(&publish(&daemon, &["a", "after"], b""));
    assert_eq!(heard.rest(), "before\nafter\n");
    assert_eq!(heard.errors(), "");
}

#[test]
fn patience_ends_when_it_was_to() {
    let daemon = Daemon::start(&[]);
    let proxy = Proxy::to(daemon.addresses[0]);
    let url = proxy.url("ws");
    let mut heard = Subscriber::start(&["--server", &url, "a", "--retry-s", "1"]);
    await_subscribers(&daemon, "a", 1);
    proxy.shut(true);
    proxy.cut();
    assert_eq!(heard.code(), Some(3));
    heard.await_error(&format!("a at {}", proxy.address));
}

#[test]
fn a_server_that_stops_is_left_and_waited_for() {
    let mut daemon = Daemon::start(&[]);
    let mut heard = Subscriber::following(&daemon, "a", &[]);
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.wait().success());
    heard.await_error("the server is stopping");
    heard.signal(Signal::SIGINT);
    assert_eq!(heard.code(), Some(0));
}

#[test]
fn nobody_reads_and_so_nothing_is_read_nor_lost() {
    let daemon = Daemon::start(&[
        "--lag-bytes-max",
        "1MiB",
        "--retain-bytes-max",
        "64MiB",
        "--log-bytes-max",
        "128MiB",
        "--retain-messages-max",
        "100000",
    ]);
    let mut heard = Subscriber::following(&daemon, "a", &["-n", "3000", "-q"]);
    let all: String = (0..3000)
        .map(|n| format!("{n} {}\n", "x".repeat(4000)))
        .collect();
    assert_done(&publish(&daemon, &["a"], all.as_bytes()));
    // Twelve megabytes: it has been sent away for its lag, and comes back for the rest.
    eventually("it lags", || {
        daemon.counter("fanfare_closes_total", "lag") > 0
    });
    assert_eq!(heard.rest(), all);
    assert_eq!(heard.code(), Some(0));
    assert!(!heard.errors().contains("missing"), "{}", heard.errors());
}

#[test]
fn a_publisher_whose_answers_get_lost_publishes_each_line_once() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, "a-key").unwrap();
    let key = key.to_str().unwrap();
    // The API on a port of its own, through the proxy.
    let port = TcpListener::bind("127.0.0.1:0").unwrap();
    let api = port.local_addr().unwrap();
    drop(port);
    let place = api.to_string();
    let daemon = Daemon::start(&["--api", &place, "--api-key-file", key]);
    let proxy = Proxy::to(api);
    // An answer to some dozens of lines is longer, so that it is cut off after the lines are there.
    proxy.answers_max.store(500, Ordering::SeqCst);
    let mut heard = Subscriber::following(&daemon, "a", &["-n", "4000"]);
    let url = proxy.url("http");
    let words = ["publish", "--server", &url, "a", "--key-file", key];
    let mut publishing = crate::shell::fanfare(&words).spawn().unwrap();
    let mut stdin = publishing.stdin.take().unwrap();
    // The server has to be there at first: one line alone has a short answer.
    stdin.write_all(b"line 0\n").unwrap();
    assert_eq!(heard.next(), "line 0\n");
    let rest: String = (1..4000).map(|n| format!("line {n}\n")).collect();
    stdin.write_all(rest.as_bytes()).unwrap();
    drop(stdin);
    eventually("an answer was sent again", || {
        daemon.metric("fanfare_idempotency_replays_total") > 0
    });
    proxy.answers_max.store(0, Ordering::SeqCst);
    proxy.cut();
    assert_done(&publishing.wait_with_output().unwrap());
    assert_eq!(heard.rest(), rest);
}

#[test]
fn the_order_is_kept_while_somebody_who_does_not_read_fills_the_log() {
    let daemon = Daemon::start(&[
        "--publish-wait-ms-max",
        "50",
        "--log-bytes-max",
        "512KiB",
        "--lag-bytes-max",
        "256KiB",
        "--message-bytes-max",
        "64KiB",
        "--retain-messages-max",
        "0",
        "--retain-bytes-max",
        "64KiB",
        "--stall-ms-max",
        "3000",
    ]);
    let mut stuck = daemon.narrow_stream();
    let request = crate::common::Raw::request("/a", "");
    stuck.write_all(request.as_bytes()).unwrap();
    await_subscribers(&daemon, "a", 1);
    let mut heard = Subscriber::start(&["--server", &public(&daemon), "a", "-n", "400"]);
    await_subscribers(&daemon, "a", 2);
    // A run is shorter than a reader may lag, so that none is lost to who reads.
    for run in 0..20 {
        let lines: String = (0..20)
            .map(|n| format!("{run}/{n} {}\n", "x".repeat(10_000)))
            .collect();
        assert_done(&publish(&daemon, &["a"], lines.as_bytes()));
        let read: String = (0..20).map(|_| heard.next()).collect();
        assert!(read == lines, "run {run} came as {} bytes", read.len());
    }
    assert_eq!(heard.rest(), "");
    assert_eq!(daemon.metric("fanfare_closes_total{reason=\"lag\"}"), 1);
}

#[test]
fn a_publisher_that_is_stopped_says_so() {
    let daemon = Daemon::start(&[]);
    let admin = daemon.admin();
    let mut child = crate::shell::fanfare(&["publish", "--server", &admin, "a"])
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"first\n").unwrap();
    eventually("it is published", || {
        daemon.ask("GET /topics/a").1.contains("\"offset\":1")
    });
    let pid = nix::unistd::Pid::from_raw(child.id() as i32);
    nix::sys::signal::kill(pid, Signal::SIGINT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_ends(&output, 4, "a signal has come");
    drop(stdin);
}
