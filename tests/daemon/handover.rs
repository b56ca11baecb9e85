//! Another process takes everything over, and no client notices.

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use nix::sys::signal::Signal;
use tungstenite::Message;

use crate::common::{
    Client, Daemon, Raw, Witnesses, command, eventually, hear, hear_close, masked, pass,
};

/// The daemon's program under a path of its own, which a test can replace.
pub(crate) fn program(folder: &Path) -> Command {
    let path = folder.join("fanfare");
    std::fs::copy(env!("CARGO_BIN_EXE_fanfare"), &path).unwrap();
    let mut here = Command::new(path);
    here.args(command(&[]).get_args());
    here.stdout(Stdio::piped()).stderr(Stdio::piped());
    here
}

/// Puts another file in the place of one that may be running.
pub(crate) fn replace(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::rename(new, path).unwrap();
}

#[test]
fn what_is_half_received_is_completed_in_the_new_process() {
    let mut daemon = Daemon::start(&[]);
    let mut listener = daemon.connect("/half");
    let mut fragments = daemon.raw_on("/half");
    fragments.send(&masked(0x01, b"one, "));
    let mut frame = daemon.raw_on("/half");
    let bytes = masked(0x81, b"half a frame");
    let mut header = daemon.raw_on("/half");
    frame.send(&bytes[..9]);
    header.send(&bytes[..3]);
    // In this order they have been read.
    let mut last = daemon.connect("/half");
    pass(&mut last, &mut listener, "before");
    daemon.hand_over(1);
    fragments.send(&masked(0x00, b"two, "));
    daemon.hand_over(2);
    fragments.send(&masked(0x80, b"three"));
    assert_eq!(hear(&mut listener), "one, two, three");
    frame.send(&bytes[9..]);
    assert_eq!(hear(&mut listener), "half a frame");
    header.send(&bytes[3..]);
    assert_eq!(hear(&mut listener), "half a frame");
    pass(&mut listener, &mut last_after(last), "after");
}

/// The client once it has heard what the others have completed.
fn last_after(mut last: Client) -> Client {
    for text in ["one, two, three", "half a frame", "half a frame"] {
        assert_eq!(hear(&mut last), text);
    }
    last
}

#[test]
fn a_chat_goes_on_and_history_and_epoch_stay() {
    let mut daemon = Daemon::start(&[]);
    let chat = [("Sec-WebSocket-Protocol", "chat")];
    let (mut ann, before) = daemon.open("/room", &chat).unwrap();
    assert!(hear(&mut ann).starts_with("Welcome, "));
    ann.send(Message::text("hello")).unwrap();
    assert!(hear(&mut ann).ends_with(" say: hello"));
    daemon.hand_over(1);
    let (mut bob, after) = daemon.open("/room?since=2", &chat).unwrap();
    assert_eq!(
        before.headers()["Fanfare-Epoch"],
        after.headers()["Fanfare-Epoch"]
    );
    let said = hear(&mut bob);
    assert!(said.ends_with(" say: hello"), "{said}");
    for client in [&mut ann, &mut bob] {
        assert!(hear(client).starts_with("Welcome, "));
    }
    ann.send(Message::text("quit")).unwrap();
    assert!(hear(&mut bob).ends_with(" Logout"));
}

#[test]
fn compression_goes_on_with_its_window() {
    let mut daemon = Daemon::start(&["--deflate", "takeover"]);
    let mut squeezer = daemon.raw();
    let lines = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    squeezer.send(Raw::request("/tight", lines).as_bytes());
    squeezer.expect_upgrade();
    let mut listener = daemon.connect("/tight");
    let mut window = flate2::Compress::new(flate2::Compression::default(), false);
    let mut text = |text: &str| {
        let mut bytes = Vec::with_capacity(256);
        let flush = flate2::FlushCompress::Sync;
        window
            .compress_vec(text.as_bytes(), &mut bytes, flush)
            .unwrap();
        bytes.truncate(bytes.len() - 4);
        masked(0xc1, &bytes)
    };
    squeezer.send(&text("the same words twice"));
    assert_eq!(hear(&mut listener), "the same words twice");
    daemon.hand_over(1);
    let again = text("the same words twice");
    assert!(again.len() < 20, "it refers to what was sent before");
    squeezer.send(&again);
    assert_eq!(hear(&mut listener), "the same words twice");
    let long = "long enough to be worth it. ".repeat(40);
    listener.send(Message::text(&long)).unwrap();
    let (first, bytes) = squeezer.read_frame().unwrap();
    assert_eq!(first, 0xc1);
    assert!(bytes.len() < long.len() / 4);
}

/// Two publish `each` messages, forty hear them all, once and in order; in the middle of
/// it, by the reckoning of one more, `event` happens three times.
fn under_load(daemon: &mut Daemon, each: u32, mut event: impl FnMut(&mut Daemon, usize)) {
    let mut publishers = [daemon.connect("/load"), daemon.connect("/load")];
    let mut ears: Vec<Client> = (0..40).map(|_| daemon.connect("/load")).collect();
    let mut gauge = daemon.connect("/load");
    thread::scope(|scope| {
        for (name, publisher) in ["a", "b"].into_iter().zip(&mut publishers) {
            scope.spawn(move || {
                for n in 0..each {
                    let text = format!("{name} {n}");
                    publisher.send(Message::text(text)).unwrap();
                }
            });
        }
        for ear in &mut ears {
            scope.spawn(move || {
                let mut next = [0; 2];
                while next != [each; 2] {
                    let text = hear(ear);
                    let (name, n) = text.split_once(' ').unwrap();
                    let next = &mut next[usize::from(name == "b")];
                    assert_eq!(n.parse(), Ok(*next));
                    *next += 1;
                }
            });
        }
        for time in 1..=3 {
            for _ in 0..each / 15 {
                hear(&mut gauge);
            }
            event(daemon, time);
        }
        drop(gauge);
    });
}

#[test]
fn under_load_nothing_is_lost_nor_heard_twice() {
    let mut daemon = Daemon::start(&[]);
    under_load(&mut daemon, 30_000, |daemon, time| daemon.hand_over(time));
}

#[test]
fn who_connects_meanwhile_is_served() {
    let mut daemon = Daemon::start(&[]);
    for time in 1..=3 {
        thread::scope(|scope| {
            let addresses = daemon.addresses.clone();
            let comers = scope.spawn(move || {
                for _ in 0..100 {
                    let stream = std::net::TcpStream::connect(addresses[0]).unwrap();
                    Raw::new(stream).shake_hands("/door");
                }
            });
            daemon.hand_over(time);
            comers.join().unwrap();
        });
    }
}

#[test]
fn a_successor_that_fails_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let program = program(folder.path());
    let path = folder.path().join("fanfare");
    let mut daemon = Daemon::start_as(program);
    let mut witnesses = Witnesses::new(&daemon, "/w");
    for (time, (script, says)) in [
        ("exit 1", "the successor has ended, exit status: 1"),
        ("kill -SEGV $$", "the successor has ended, signal: 11"),
    ]
    .into_iter()
    .enumerate()
    {
        replace(&path, &format!("#!/bin/sh\n{script}\n"));
        daemon.signal(Signal::SIGUSR2);
        let line = daemon.await_log("handover failed, going on as before", time + 1);
        assert!(line.contains(says), "{line}");
        witnesses.check();
    }
    std::fs::remove_file(&path).unwrap();
    daemon.signal(Signal::SIGUSR2);
    let line = daemon.await_log("handover failed, going on as before", 3);
    assert!(line.contains("cannot start"), "{line}");
    witnesses.check();
    // And with a good one it still can.
    std::fs::copy(env!("CARGO_BIN_EXE_fanfare"), &path).unwrap();
    daemon.hand_over(1);
    witnesses.check();
}

#[test]
fn settings_that_are_wrong_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("fanfare.toml");
    std::fs::write(&file, "ping_interval_ms = 5000\n").unwrap();
    let mut daemon = Daemon::start(&["--config", file.to_str().unwrap()]);
    let mut witnesses = Witnesses::new(&daemon, "/w");
    std::fs::write(&file, "ping_interval_ms = 5000\ntopics_max = 0\n").unwrap();
    daemon.signal(Signal::SIGUSR2);
    daemon.await_log("handover failed, going on as before", 1);
    witnesses.check();
    std::fs::write(&file, "ping_interval_ms = 6000\n").unwrap();
    daemon.hand_over(1);
    witnesses.check();
}

#[test]
fn a_successor_says_goodbye_like_any_other() {
    let mut daemon = Daemon::start(&[]);
    let mut client = daemon.connect("/bye");
    daemon.hand_over(1);
    daemon.signal(Signal::SIGTERM);
    let (code, reason) = hear_close(&mut client);
    assert_eq!(code, 1001);
    assert!(
        reason.starts_with("the server is stopping, retry in "),
        "{reason}"
    );
    while client.read().is_ok() {}
    daemon.await_log("stopped", 1);
}

#[test]
fn history_goes_over_any_number_of_times() {
    let mut daemon = Daemon::start(&["--retain-bytes-max", "4MiB"]);
    let mut speaker = daemon.connect("/quiet");
    // Longer than a topic's first segment.
    let text = |n: usize| format!("{n:0>5000}");
    for n in 0..400 {
        speaker.send(Message::text(text(n))).unwrap();
    }
    let mut listener = daemon.connect("/quiet?since=1");
    for n in 0..400 {
        assert!(hear(&mut listener) == text(n), "{n}");
    }
    for time in 1..=4 {
        daemon.hand_over(time);
        let mut late = daemon.connect("/quiet?since=1");
        for n in 0..400 {
            assert!(hear(&mut late) == text(n), "{n} after {time}");
        }
    }
    pass(&mut speaker, &mut listener, "still here");
}

#[test]
fn a_release_behind_a_link_is_looked_up_anew_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let releases = ["1.0", "2.0"].map(|name| folder.path().join(name));
    for release in &releases {
        std::fs::create_dir(release).unwrap();
        program(release);
    }
    let current = folder.path().join("current");
    let point_to = |release: &Path| {
        let new = folder.path().join("new");
        std::os::unix::fs::symlink(release, &new).unwrap();
        std::fs::rename(new, &current).unwrap();
    };
    point_to(&releases[0]);
    let mut here = Command::new(current.join("fanfare"));
    here.args(command(&[]).get_args());
    here.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut daemon = Daemon::start_as(here);
    for (time, release) in [(1, &releases[1]), (2, &releases[0]), (3, &releases[1])] {
        point_to(release);
        daemon.hand_over(time);
        let runs = std::fs::read_link(format!("/proc/{}/exe", daemon.pid())).unwrap();
        assert_eq!(runs, release.join("fanfare"));
    }
}

#[test]
fn a_successor_that_fails_late_leaves_every_message_to_its_predecessor() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fanfare");
    let mut daemon = Daemon::start_as(program(folder.path()));
    // It has too few files for all that it is sent.
    let real = env!("CARGO_BIN_EXE_fanfare");
    replace(
        &path,
        &format!("#!/bin/sh\nulimit -n 30\nexec {real} \"$@\"\n"),
    );
    under_load(&mut daemon, 20_000, |daemon, time| {
        daemon.signal(Signal::SIGUSR2);
        daemon.await_log("handover failed, going on as before", time);
    });
    // Nor has it taken away what it was only lent.
    let (status, _) = daemon.ask("GET /healthz");
    assert!(status.contains(" 200 "), "{status}");
}

#[test]
fn there_is_one_course_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fanfare");
    let mut daemon = Daemon::start_as(program(folder.path()));
    let mut client = daemon.connect("/c");
    let begun = folder.path().join("begun");
    replace(
        &path,
        &format!("#!/bin/sh\ntouch {}\nexec sleep 60\n", begun.display()),
    );
    let real = env!("CARGO_BIN_EXE_fanfare");
    thread::scope(|scope| {
        let first = scope.spawn(|| daemon.ask("POST /upgrade"));
        eventually("the first one is under way", || begun.exists());
        let (status, body) = daemon.ask("POST /upgrade");
        assert!(status.contains(" 409 "), "{status}");
        assert!(body.contains("is under way already"), "{body}");
        // Told to stop, the daemon waits for nobody.
        daemon.signal(Signal::SIGTERM);
        let (status, body) = first.join().unwrap();
        assert!(status.contains(" 500 "), "{status}");
        assert!(body.contains("called off"), "{body}");
    });
    assert_eq!(hear_close(&mut client).0, 1001);
    // And stopping, it hands over no more.
    replace(&path, &format!("#!/bin/sh\nexec {real} \"$@\"\n"));
    let (status, body) = daemon.ask("POST /upgrade");
    assert!(status.contains(" 409 "), "{status}");
    assert!(body.contains("the daemon is stopping"), "{body}");
    while client.read().is_ok() {}
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn an_upgrade_says_which_process_serves_now_and_passes_a_late_signal_on() {
    let mut daemon = Daemon::start(&[]);
    let mut client = daemon.connect("/c");
    let before = daemon.pid();
    let (status, body) = daemon.ask("POST /upgrade");
    assert!(status.contains(" 200 "), "{status}");
    // The old process is still there, for an instant, and owns nothing any more.
    daemon.signal(Signal::SIGTERM);
    daemon.handed_over(1);
    assert_eq!(
        body,
        format!("handed over: process {} serves now\n", daemon.pid())
    );
    assert_ne!(daemon.pid(), before);
    daemon.await_log("passed on to the process that has taken over", 1);
    assert_eq!(hear_close(&mut client).0, 1001);
    while client.read().is_ok() {}
    daemon.await_log("stopped", 1);
}
