//! Who sees whether silent peers live: the daemon with pings, or the kernel.

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};

use nix::sys::signal::Signal;
use socket2::{SockFilter, SockRef};
use tungstenite::{Error, Message};

use crate::common::{Client, Daemon, Witnesses, eventually, hear, masked};
use crate::tls_talking::open;
use crate::tls_world::{dial, shake_over, start};

const KERNEL: [&str; 2] = ["--keepalive", "kernel"];

/// The kernel has a timer for the silence of the daemon's side of a connection (proc(5),
/// /proc/net/tcp: `tr` is 2).
fn has_timer(daemon: SocketAddr, client: SocketAddr) -> bool {
    let ends = |line: &str| -> Option<(u16, u16, bool)> {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let port = |field: &str| u16::from_str_radix(field.rsplit(':').next()?, 16).ok();
        Some((
            port(fields.get(1)?)?,
            port(fields.get(2)?)?,
            fields.get(5)?.starts_with("02:"),
        ))
    };
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let wanted = (daemon.port(), client.port());
    let mut lines = table.lines().filter_map(ends);
    let found = lines.find(|(local, remote, _)| (*local, *remote) == wanted);
    found.expect("the connection is there").2
}

/// From now on nothing gets to that side of a connection, as if its machine were gone: neither
/// messages nor the kernel's questions are acknowledged.
fn vanish(stream: &TcpStream) {
    // BPF_RET with BPF_K: nothing of a segment is kept.
    let nothing = SockFilter::new(6, 0, 0, 0);
    SockRef::from(stream).attach_filter(&[nothing]).unwrap();
}

/// Whether the next frame there is a ping, if any has come.
fn is_pinged(client: &mut Client) -> bool {
    client.get_ref().set_nonblocking(true).unwrap();
    let read = client.read();
    client.get_ref().set_nonblocking(false).unwrap();
    match read {
        Ok(message) => {
            assert!(message.is_ping(), "{message:?}");
            true
        }
        Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => false,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn the_kernel_asks_however_a_connection_came_in() {
    for (options, through_ring) in [(&[][..], true), (&["--ring-handshakes", "never"], false)] {
        let (daemon, authority) = start(&[&KERNEL[..], options].concat());
        let client = daemon.connect("/topic");
        assert_eq!(
            daemon.metric("fanfare_ring_handshakes_total"),
            u64::from(through_ring)
        );
        let here = client.get_ref().local_addr().unwrap();
        eventually("the kernel waits", || has_timer(daemon.addresses[0], here));
        let stream = dial(&daemon);
        let here = stream.local_addr().unwrap();
        let tls = shake_over(stream, authority.client(), "localhost").unwrap();
        let _sealed = open(&daemon, tls, "/topic");
        // Once what was sent last has been acknowledged.
        let address = daemon.tls_addresses[0];
        eventually("the kernel waits", || has_timer(address, here));
    }
}

#[test]
fn it_does_not_where_the_daemon_pings() {
    let daemon = Daemon::start(&[]);
    let client = daemon.connect("/topic");
    let here = client.get_ref().local_addr().unwrap();
    assert!(!has_timer(daemon.addresses[0], here));
}

#[test]
fn a_peer_that_is_gone_is_noticed_and_counted_as_idle() {
    let times = ["--ping-interval-ms", "1000", "--idle-ms-max", "3000"];
    let (daemon, authority) = start(&[&KERNEL[..], &times].concat());
    let mut witnesses = Witnesses::new(&daemon, "/topic");
    let mut silent = daemon.connect("/topic");
    let gone = daemon.connect("/topic");
    let stream = dial(&daemon);
    let gone_too = stream.try_clone().unwrap();
    let tls = shake_over(stream, authority.client(), "localhost").unwrap();
    let _sealed = open(&daemon, tls, "/topic");
    // One of them is sent nothing, the others a message that they do not get.
    let half = daemon.raw_on("/other");
    vanish(&half.stream);
    vanish(gone.get_ref());
    vanish(&gone_too);
    witnesses.check();
    eventually("they are noticed", || {
        daemon.counter("fanfare_closes_total", "idle") == 3
    });
    assert_eq!(daemon.metric("fanfare_pings_total"), 0);
    witnesses.check();
    for _ in 0..4 {
        hear(&mut silent);
    }
    silent.send(Message::text("still here")).unwrap();
    eventually("all others are there", || daemon.connections() == 3);
}

#[test]
fn who_is_promised_pings_has_them_all_the_same() {
    let times = ["--ping-interval-ms", "200", "--idle-ms-max", "2000"];
    let daemon = Daemon::start(&[&KERNEL[..], &times].concat());
    let mut client = daemon.raw_on("/connection/websocket");
    client.send(&masked(0x81, br#"{"id":1,"connect":{}}"#));
    let (_, connected) = client.read_frame().unwrap();
    assert!(String::from_utf8_lossy(&connected).contains("\"ping\""));
    assert_eq!(client.read_frame().unwrap(), (0x81, b"{}".to_vec()));
    let mut events = daemon.raw();
    events.send(b"GET /topic HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n");
    assert_eq!(events.read_head().status, 200);
    let (mut stream, mut heard) = events.into_parts();
    while !heard.windows(3).any(|piece| piece == b"\n:\n") {
        let mut piece = [0; 256];
        let len = stream.read(&mut piece).unwrap();
        assert!(len > 0, "it goes on");
        heard.extend_from_slice(&piece[..len]);
    }
}

#[test]
fn a_reload_holds_for_who_comes_then_and_others_keep_what_they_came_with() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("settings.toml");
    let write = |keepalive: &str| {
        let settings = format!(
            "keepalive = \"{keepalive}\"\nping_interval_ms = 300\nidle_ms_max = 60000\n\
             handshake_ms_max = 500\n"
        );
        std::fs::write(&path, settings).unwrap();
    };
    write("ping");
    let mut daemon = Daemon::start(&["--config", path.to_str().unwrap()]);
    let mut before = daemon.connect("/topic");
    write("kernel");
    daemon.signal(Signal::SIGHUP);
    let mut after = None;
    eventually("who comes is not pinged", || {
        let mut client = daemon.connect("/topic");
        let here = client.get_ref().local_addr().unwrap();
        for _ in 0..3 {
            assert!(before.read().unwrap().is_ping());
        }
        let asked_by_kernel = has_timer(daemon.addresses[0], here);
        if is_pinged(&mut client) {
            return false;
        }
        assert!(asked_by_kernel, "one of the two asks");
        after = Some(client);
        true
    });
    // So it is in another process, whatever the settings say there.
    write("ping");
    daemon.hand_over(1);
    let mut newest = daemon.connect("/topic");
    for _ in 0..3 {
        assert!(before.read().unwrap().is_ping());
        assert!(newest.read().unwrap().is_ping());
    }
    assert!(!is_pinged(after.as_mut().unwrap()));
}

#[test]
fn at_a_socket_of_this_machine_nobody_is_pinged_either() {
    let folder = tempfile::tempdir().unwrap();
    let place = format!("unix:{}/public", folder.path().display());
    let times = ["--ping-interval-ms", "100", "--idle-ms-max", "400"];
    let daemon = Daemon::start(&[&KERNEL[..], &times, &["--listen", &place]].concat());
    let stream = std::os::unix::net::UnixStream::connect(folder.path().join("public")).unwrap();
    let (mut silent, _) = tungstenite::client("ws://localhost/topic", stream).unwrap();
    let mut pinged = daemon.raw_on("/connection/websocket");
    pinged.send(&masked(0x81, br#"{"id":1,"connect":{}}"#));
    // It does not answer, and is closed for that: so long the other one has been silent as well.
    let closed = std::iter::from_fn(|| pinged.read_frame()).any(|(first, _)| first == 0x88);
    assert!(closed);
    let mut speaker = daemon.connect("/topic");
    speaker.send(Message::text("are you there?")).unwrap();
    assert_eq!(silent.read().unwrap(), Message::text("are you there?"));
}
