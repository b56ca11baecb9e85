//! A daemon with few descriptors.

use std::net::TcpStream;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use crate::common::{Daemon, command, eventually, hear, hear_close, pass};

/// The daemon's command, under a limit of so many open files.
fn with_files(files: u32, options: &[&str]) -> Command {
    let daemon = command(options);
    let mut shell = Command::new("sh");
    let script = format!("ulimit -n {files} && exec \"$0\" \"$@\"");
    shell.args(["-c", &script]).arg(daemon.get_program());
    shell.args(daemon.get_args());
    shell.stdout(Stdio::piped()).stderr(Stdio::piped());
    shell
}

#[test]
fn silent_peers_keep_neither_the_operator_out_nor_fill_the_log() {
    let options = ["--handshake-ms-max", "3000"];
    let daemon = Daemon::start_as(with_files(256, &options));
    let silent: Vec<_> = (0..600)
        .map(|_| TcpStream::connect(daemon.addresses[0]))
        .collect();
    eventually("new connections are left waiting", || {
        daemon.metric("fanfare_accept_pauses_total") > 0
    });
    // The operator gets in while they hold all they may.
    for _ in 0..50 {
        assert_eq!(daemon.metric("fanfare_ready"), 1);
    }
    // And so does everybody, once their time is up. Until then who comes is told so.
    let mut clients = Vec::new();
    eventually("there is room for two", || {
        clients.extend(daemon.open("/", &[]).ok());
        clients.len() >= 2
    });
    let [(speaker, _), (listener, _)] = &mut clients[..] else {
        unreachable!("there are two")
    };
    pass(speaker, listener, "hello");
    drop(silent);
    assert!(
        daemon.count_log("cannot accept") <= 2,
        "the log is not filled"
    );
}

#[test]
fn the_table_of_descriptors_need_not_grow_while_topics_wait() {
    let daemon = Daemon::start_as(with_files(1000, &[]));
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let places = status.lines().find_map(|line| line.strip_prefix("FDSize:"));
    let places: u32 = places.unwrap().trim().parse().unwrap();
    assert!(places >= 1000, "{places}");
}

/// The lowest descriptor that a daemon does not have.
fn first_free(daemon: &Daemon) -> u64 {
    let folder = format!("/proc/{}/fd", daemon.pid());
    let number = |entry: std::io::Result<std::fs::DirEntry>| {
        let name = entry.unwrap().file_name();
        name.to_str().unwrap().parse::<u64>().unwrap()
    };
    let taken: Vec<u64> = std::fs::read_dir(folder).unwrap().map(number).collect();
    (0..).find(|number| !taken.contains(number)).unwrap()
}

/// Leaves a daemon no descriptor beyond those that it has.
fn leave_none(daemon: &Daemon) {
    eventually("none is free", || {
        let limit = Rlimit {
            current: Some(first_free(daemon)),
            ..getrlimit(Resource::Nofile)
        };
        let pid = Pid::from_raw(daemon.pid().as_raw());
        prlimit(pid, Resource::Nofile, limit).unwrap();
        limit.current == Some(first_free(daemon))
    });
}

#[test]
fn a_daemon_without_a_descriptor_left_lets_clients_in_and_stops_in_order() {
    let mut daemon = Daemon::start(&["--cores", "1"]);
    let mut before = daemon.connect("/topic");
    let mut besides = daemon.connect("/topic");
    // The topic has memory from then on, for which a descriptor is needed.
    pass(&mut before, &mut besides, "hello");
    leave_none(&daemon);
    let mut after = daemon.connect("/topic");
    pass(&mut besides, &mut after, "hello again");
    assert_eq!(hear(&mut before), "hello again");
    daemon.signal(Signal::SIGTERM);
    for mut client in [before, besides, after] {
        assert_eq!(hear_close(&mut client).0, 1001);
    }
    assert!(daemon.wait().success());
}
