//! What a daemon holds of connections over TLS: their keys.

use std::net::TcpStream;

use tungstenite::Message;

use crate::common::{Daemon, pass};
use crate::handover::{program, replace};
use crate::tls_talking::open;
use crate::tls_world::{Authority, shake};

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
