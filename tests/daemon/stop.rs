//! Stopping: everyone is told, nothing published is lost, nobody holds it up.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tungstenite::Message;

use crate::common::{Client, Daemon, Raw, eventually, hear, hear_close, masked};

/// Reads the numbers from `next` on, up to the close; returns the next one.
fn hear_out(client: &mut Client, mut next: u64) -> u64 {
    loop {
        match client.read().expect("the close comes") {
            Message::Text(text) => {
                assert_eq!(text.parse(), Ok(next));
                next += 1;
            }
            Message::Close(close) => {
                let close = close.expect("it has a code");
                assert_eq!(u16::from(close.code), 1001);
                let reason = close.reason.as_str();
                assert!(
                    reason.starts_with("the server is stopping, retry in "),
                    "{reason}"
                );
                return next;
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Answers the close, and goes once the daemon has ended the connection.
fn part(mut client: Client) {
    while client.read().is_ok() {}
}

#[test]
fn under_load_everyone_hears_all_that_was_published_and_then_1001() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut daemon = Daemon::start(&["--cores", "3", "--drain-ms-max", "20000"]);
        let mut publisher = daemon.connect("/load");
        let subscribers: Vec<_> = (0..30).map(|_| daemon.connect("/load")).collect();
        let heard = thread::scope(|scope| {
            scope.spawn(|| {
                // It goes on until it cannot.
                let mut numbers = 0u64..;
                while let Some(n) = numbers.next()
                    && publisher.send(Message::text(n.to_string())).is_ok()
                {}
            });
            let ears = subscribers.into_iter().map(|mut subscriber| {
                scope.spawn(|| {
                    let next = hear_out(&mut subscriber, 0);
                    part(subscriber);
                    next
                })
            });
            let ears: Vec<_> = ears.collect();
            // In the middle of it, by the reckoning of one more.
            let mut gauge = daemon.connect("/load");
            for _ in 0..2000 {
                hear(&mut gauge);
            }
            daemon.signal(signal);
            part(gauge);
            ears.into_iter()
                .map(|ear| ear.join().unwrap())
                .collect::<Vec<_>>()
        });
        assert!(heard.iter().all(|next| *next >= 2000), "{heard:?}");
        assert_eq!(daemon.wait().code(), Some(0));
    }
}

#[test]
fn what_was_published_before_the_signal_reaches_slow_readers_too() {
    let mut daemon = Daemon::start(&["--drain-ms-max", "60000"]);
    let mut publisher = daemon.connect("/last");
    let mut listener = daemon.connect("/last");
    let slow: Vec<_> = (0..8)
        .map(|_| {
            daemon
                .open_over(daemon.narrow_stream(), "/last", &[])
                .unwrap()
                .0
        })
        .collect();
    // More than lies in the kernel's buffers, and less than the lag allowed.
    let bulk = |n: u32| format!("{n:0>65000}");
    for n in 0..110 {
        publisher.send(Message::text(bulk(n))).unwrap();
        assert!(hear(&mut listener) == bulk(n));
    }
    daemon.signal(Signal::SIGTERM);
    daemon.await_log("reason=\"drain\"", 10);
    for mut client in slow {
        for n in 0..110 {
            assert!(hear(&mut client) == bulk(n), "{n}");
        }
        assert_eq!(hear_close(&mut client).0, 1001);
        part(client);
    }
    for mut client in [publisher, listener] {
        assert_eq!(hear_close(&mut client).0, 1001);
        part(client);
    }
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn whoever_comes_too_late_is_turned_away() {
    // On one core: a core without connections would not wait for a handshake.
    let mut daemon = Daemon::start(&["--cores", "1", "--drain-ms-max", "60000"]);
    let mut early = daemon.raw_on("/topic");
    let mut half = daemon.raw();
    let request = Raw::request("/topic", "");
    half.send(&request.as_bytes()[..40]);
    let mut chatting = daemon.connect("/topic");
    daemon.signal(Signal::SIGTERM);
    daemon.await_log("reason=\"drain\"", 2);
    for path in ["/topic", "/another", "/"] {
        let mut late = daemon.raw();
        late.send(Raw::request(path, "").as_bytes());
        let answer = late.read_answer();
        assert_eq!(answer.status, 503, "{path}");
        assert!(answer.header("Retry-After").is_some(), "{path}");
    }
    assert_eq!(hear_close(&mut chatting).0, 1001);
    part(chatting);
    half.send(&request.as_bytes()[40..]);
    let answer = half.read_answer();
    assert_eq!(answer.status, 503);
    assert!(answer.header("Retry-After").is_some());
    daemon.await_reason("draining");
    drop(half);
    assert_eq!(early.expect_close().0, 1001);
    early.send(&masked(0x88, &1001u16.to_be_bytes()));
    early.expect_end();
    drop(early);
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn a_peer_that_never_reads_nor_answers_is_left_behind_at_the_deadline() {
    let mut daemon = Daemon::start(&["--drain-ms-max", "300"]);
    let mut publisher = daemon.connect("/stall");
    let mut listener = daemon.connect("/stall");
    let stalled = daemon
        .open_over(daemon.narrow_stream(), "/stall", &[])
        .unwrap();
    // It does read, and never answers the close.
    let mute = daemon.raw_on("/stall");
    let bulk = "b".repeat(1 << 16);
    for _ in 0..100 {
        publisher.send(Message::text(&bulk)).unwrap();
        assert!(hear(&mut listener) == bulk);
    }
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(0));
    drop((stalled, mute));
}

#[test]
fn who_waits_to_be_accepted_when_it_stops_is_answered() {
    for cores in ["1", "3"] {
        let mut daemon = Daemon::start(&["--cores", cores]);
        let mut waiting = Vec::new();
        daemon.signal(Signal::SIGSTOP);
        for _ in 0..60 {
            let mut raw = daemon.raw();
            raw.send(Raw::request("/topic", "").as_bytes());
            waiting.push(raw);
        }
        daemon.signal(Signal::SIGTERM);
        daemon.signal(Signal::SIGCONT);
        for mut raw in waiting {
            // Who was accepted before the signal was heard is told by a close.
            match raw.read_head().status {
                101 => assert_eq!(raw.expect_close().0, 1001),
                status => assert_eq!(status, 503),
            }
        }
        assert_eq!(daemon.wait().code(), Some(0));
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut daemon = Daemon::start(&["--drain-ms-max", "600000"]);
    // It would be waited for, for ten minutes.
    let _mute = daemon.raw_on("/topic");
    daemon.signal(Signal::SIGTERM);
    daemon.await_log("stopping", 1);
    // One that comes right after the first says the same.
    let status = loop {
        daemon.signal(Signal::SIGTERM);
        match daemon.has_ended() {
            Some(status) => break status,
            None => thread::sleep(Duration::from_millis(50)),
        }
    };
    assert_eq!(status.code(), Some(1));
    daemon.await_log("stopping at once", 1);
}

#[test]
fn a_signal_that_comes_several_times_at_once_is_one() {
    let mut daemon = Daemon::start(&[]);
    let mut client = daemon.connect("/topic");
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGINT] {
        daemon.signal(signal);
    }
    assert_eq!(hear_out(&mut client, 0), 0);
    part(client);
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn the_end_of_its_terminal_is_the_end_of_a_daemon_without_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let file = folder.path().join("fanfare.toml");
    std::fs::write(&file, "").unwrap();
    for (options, ends) in [
        ("", true),
        (&format!("--config {}", file.display())[..], false),
    ] {
        std::fs::write(&log, "").unwrap();
        let program = env!("CARGO_BIN_EXE_fanfare");
        let line = format!(
            "exec {program} --listen 127.0.0.1:0 --admin off --cores 1 {options} 2>{}",
            log.display()
        );
        let mut terminal = Command::new("script")
            .args(["--quiet", "--command", &line, "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("util-linux is there");
        let mut lines = BufReader::new(terminal.stdout.take().unwrap()).lines();
        let said = lines.next().unwrap().unwrap();
        assert!(said.contains("listening on"), "{said}");
        let logs = |words: &str| std::fs::read_to_string(&log).unwrap().contains(words);
        // It obeys signals when it has said that.
        let children = format!("/proc/{0}/task/{0}/children", terminal.id());
        let child = std::fs::read_to_string(children).unwrap();
        let child = Pid::from_raw(child.trim().parse().unwrap());
        terminal.kill().unwrap();
        terminal.wait().unwrap();
        if ends {
            eventually("it has stopped", || logs("stopped"));
        } else {
            eventually("it has read its file again", || logs("settings read again"));
            kill(child, Signal::SIGKILL).unwrap();
        }
    }
}

#[test]
fn a_reload_says_what_the_command_line_overrules() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, "topics_max = 7\n").unwrap();
    let path = file.path().to_str().unwrap();
    let daemon = Daemon::start(&["--config", path, "--topics-max", "7"]);
    let overruled = "the file's topics_max is not used: --topics-max on the command line";
    assert_eq!(daemon.count_log(overruled), 0);
    std::fs::write(&file, "topics_max = 8\nlag_policy = \"skip\"\n").unwrap();
    daemon.signal(Signal::SIGHUP);
    daemon.await_log("settings read again: applied lag_policy", 1);
    daemon.await_log(overruled, 1);
}

#[test]
fn an_idle_daemon_stops_without_delay_and_frees_its_port() {
    let mut daemon = Daemon::start(&["--drain-ms-max", "600000", "--cores", "4"]);
    let port = daemon.addresses[0];
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(0));
    std::net::TcpListener::bind(port).unwrap();
}

#[test]
fn a_chat_is_closed_without_a_logout_for_each() {
    let mut daemon = Daemon::start(&[]);
    let chat = [("Sec-WebSocket-Protocol", "chat")];
    let (mut ann, _) = daemon.open("/room", &chat).unwrap();
    let (mut bob, _) = daemon.open("/room", &chat).unwrap();
    for welcome in [hear(&mut ann), hear(&mut ann), hear(&mut bob)] {
        assert!(welcome.starts_with("Welcome"), "{welcome}");
    }
    daemon.signal(Signal::SIGTERM);
    for mut client in [ann, bob] {
        assert_eq!(hear_out(&mut client, 0), 0);
        part(client);
    }
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn publishers_may_go_on_while_the_daemon_stops_and_are_not_heard() {
    let mut daemon = Daemon::start(&["--drain-ms-max", "60000"]);
    let mut raw = daemon.raw_on("/on");
    let mut subscriber = daemon.connect("/on");
    daemon.signal(Signal::SIGTERM);
    assert_eq!(raw.expect_close().0, 1001);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let done = &done;
        scope.spawn(move || {
            // It does not answer the close for a while.
            while !done.load(Ordering::Relaxed) {
                raw.send(&masked(0x81, b"too late"));
            }
            raw.send(&masked(0x88, &1001u16.to_be_bytes()));
            raw.expect_end();
            drop(raw);
        });
        assert_eq!(hear_out(&mut subscriber, 0), 0);
        part(subscriber);
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(daemon.wait().code(), Some(0));
}
