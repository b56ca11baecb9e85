//! What a daemon holds of connections over TLS: their keys, and the rest of a record that a slow reader
//! has not taken.

use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use tungstenite::Message;

use crate::common::{Daemon, eventually, pass};
use crate::handover::{program, replace};
use crate::tls_living::open_narrow;
use crate::tls_talking::open;
use crate::tls_world::{Authority, VERSIONS, shake, start};

#[test]
fn a_successor_that_speaks_no_tls_keeps_the_keys_that_it_goes_on_with_to_itself() {
    const WORDS: &str = "can neither be dumped nor traced";
    let authority = Authority::new();
    authority.sign("own", &["localhost"]);
    let mut command = program(authority.folder.path());
    let table = authority.table("own");
    command.args(["--listen-tls", "127.0.0.1:0", "--tls-certificates", &table]);
    let mut daemon = Daemon::start_as(command);
    daemon.await_log(WORDS, 1);
    let tls = shake(&daemon, authority.client(), "localhost").unwrap();
    let mut sealed = open(&daemon, tls, "/t");
    // The same without those two options, each of which has a value.
    let script = format!(
        "#!/bin/sh\n\
         for word do\n\
         shift\n\
         case \"$before\" in --listen-tls|--tls-certificates) before=; continue;; esac\n\
         before=$word\n\
         case \"$word\" in --listen-tls|--tls-certificates) continue;; esac\n\
         set -- \"$@\" \"$word\"\n\
         done\n\
         exec {} \"$@\"\n",
        env!("CARGO_BIN_EXE_fanfare")
    );
    replace(&authority.path("fanfare"), &script);
    daemon.hand_over(1);
    daemon.await_log(WORDS, 2);
    let mut plain = daemon.connect("/t");
    plain.send(Message::text("still sealed")).unwrap();
    assert_eq!(sealed.read().unwrap(), Message::text("still sealed"));
    // Nobody else comes in so.
    TcpStream::connect(daemon.tls_addresses[0]).unwrap_err();
}

#[test]
fn a_process_without_tls_can_be_looked_into_as_ever() {
    let mut daemon = Daemon::start(&[]);
    let (mut speaker, mut listener) = (daemon.connect("/t"), daemon.connect("/t"));
    daemon.hand_over(1);
    pass(&mut speaker, &mut listener, "on");
    assert_eq!(daemon.count_log("can neither be dumped nor traced"), 0);
}

#[test]
fn what_is_kept_of_a_record_is_counted_until_it_has_been_read() {
    let options = ["--lag-policy", "skip", "--lag-bytes-max", "256KiB"];
    let (daemon, authority) = start(&options);
    let kept = || daemon.metric("fanfare_tls_kept_bytes");
    for version in VERSIONS {
        let path = "/t?offsets=true";
        let mut slow = open_narrow(&daemon, authority.client_of(&[version]), path);
        let mut speaker = daemon.connect("/t");
        // Before it is skipped, the record that it stands in is kept; it stands in none if its socket
        // has taken the whole of one, and then takes a little more of others.
        let mut rounds = 0..50;
        loop {
            rounds.next().expect("something is kept by now");
            for _ in 0..50 {
                speaker.send(Message::text("x".repeat(20_000))).unwrap();
            }
            let is_kept = (0..20).any(|_| {
                thread::sleep(Duration::from_millis(50));
                kept() > 0
            });
            if is_kept {
                break;
            }
            slow.read().unwrap();
        }
        assert!(kept() <= 17 << 10, "{}", kept());
        // What is published before it has been told may be skipped as well.
        loop {
            let heard = slow.read().unwrap().into_text().unwrap();
            if heard.contains("\"missed\"") {
                speaker.send(Message::text("last")).unwrap();
            }
            if heard.contains("last") {
                break;
            }
        }
        eventually("nothing is kept", || kept() == 0);
    }
}
