//! Where the public listeners can be.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use tungstenite::client::IntoClientRequest;
use tungstenite::http::HeaderValue;
use tungstenite::{Message, WebSocket};

use crate::common::{Client, Daemon, OPEN, PATIENCE, command, hear, pass};

/// A folder for a socket, the socket's path, and the word for the settings.
fn socket() -> (tempfile::TempDir, PathBuf, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("public.sock");
    let word = format!("unix:{}", path.display());
    (folder, path, word)
}

fn connect(path: &Path, target: &str, headers: &[(&'static str, &str)]) -> WebSocket<UnixStream> {
    let mut request = format!("ws://localhost{target}")
        .into_client_request()
        .unwrap();
    for (name, value) in headers {
        let value = HeaderValue::from_str(value).unwrap();
        request.headers_mut().append(*name, value);
    }
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    tungstenite::client::client(request, stream).unwrap().0
}

fn text(client: &mut WebSocket<UnixStream>) -> String {
    client.read().unwrap().into_text().unwrap().to_string()
}

/// Something goes each way between the two.
fn converse(local: &mut WebSocket<UnixStream>, remote: &mut Client) {
    local.send(Message::text("from the socket")).unwrap();
    assert_eq!(hear(remote), "from the socket");
    remote.send(Message::text("from the port")).unwrap();
    assert_eq!(text(local), "from the port");
}

#[test]
fn every_address_of_both_families_can_be_listened_on_at_one_port() {
    // Free on all addresses of both families.
    let Ok(free) = TcpListener::bind("[::]:0").and_then(|free| free.local_addr()) else {
        return eprintln!("skipped: this machine has no IPv6");
    };
    let (v4, v6) = (
        format!("0.0.0.0:{}", free.port()),
        format!("[::]:{}", free.port()),
    );
    let daemon = Daemon::start(&["--listen", &v4, "--listen", &v6, OPEN[0], OPEN[1]]);
    let mut speaker = daemon.connect("/");
    for host in ["127.0.0.1", "[::1]"] {
        let stream = TcpStream::connect(format!("{host}:{}", free.port())).unwrap();
        let (mut listener, _) = daemon.open_over(stream, "/", &[]).unwrap();
        pass(&mut speaker, &mut listener, "hello");
    }
}

#[test]
fn over_a_unix_socket_all_is_as_over_a_port() {
    let (_folder, path, word) = socket();
    let mut daemon = Daemon::start(&["--listen", &word]);
    let mut local = connect(&path, "/", &[]);
    let mut remote = daemon.connect("/");
    converse(&mut local, &mut remote);
    // A second daemon does not take it away.
    let second = command(&["--listen", &word, "--admin", "off"])
        .output()
        .unwrap();
    let sentence = String::from_utf8(second.stderr).unwrap();
    assert!(
        sentence.contains("somebody answers there already"),
        "{sentence}"
    );
    assert!(get(UnixStream::connect(&path).unwrap(), "/").contains("</html>"));
    daemon.signal(Signal::SIGTERM);
    assert!(matches!(local.read(), Ok(Message::Close(Some(frame))) if frame.code == 1001.into()));
    drop((local, remote));
    assert!(daemon.wait().success());
    assert!(!path.exists());
}

#[test]
fn a_connection_over_a_unix_socket_survives_a_handover() {
    let (_folder, path, word) = socket();
    let mut daemon = Daemon::start(&["--listen", &word]);
    let mut local = connect(&path, "/", &[]);
    let mut remote = daemon.connect("/");
    for time in 1..=2 {
        daemon.hand_over(time);
        converse(&mut local, &mut remote);
        let mut late = connect(&path, "/", &[]);
        remote.send(Message::text("to both")).unwrap();
        assert_eq!(
            (text(&mut late), text(&mut local)),
            ("to both".into(), "to both".into())
        );
    }
}

#[test]
fn all_addresses_beside_the_public_ones_go_over_to_a_successor() {
    let (_folder, path, word) = socket();
    // The API has an address of its own, and is on the public one too.
    let api = ["--api", "127.0.0.2:0", "--api", "127.0.0.1:0"];
    let mut daemon = Daemon::start(&[&["--metrics", &word][..], &api].concat());
    let line = daemon.await_log("roles=api", 1);
    let (_, api) = line.split_once("http://").unwrap();
    let api = api.split('/').next().unwrap().to_owned();
    for time in 1..=2 {
        daemon.hand_over(time);
        let figures = get(UnixStream::connect(&path).unwrap(), "/metrics");
        assert!(figures.contains("fanfare_connections"), "{figures}");
        let public = daemon.addresses[0].to_string();
        for address in [&api, &public] {
            let topics = get(TcpStream::connect(address).unwrap(), "/topics");
            assert!(topics.contains("{\"topics\":[]"), "{topics}");
        }
    }
}

/// The whole answer.
fn get(mut stream: impl Read + Write, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_proxy_on_a_unix_socket_may_name_its_client() {
    let (_folder, path, word) = socket();
    let options = ["--listen", &word, "--trusted-proxies", "127.0.0.1"];
    let header = ["--proxy-header", "x-forwarded-for"];
    let _daemon = Daemon::start(&[&options[..], &header, &OPEN].concat());
    let chat = ("Sec-WebSocket-Protocol", "chat");
    // A topic for each, or the next one might hear how the one before goes.
    let welcome = |topic: &str, fields: &[_]| {
        text(&mut connect(&path, topic, &[&[chat][..], fields].concat()))
    };
    let named = welcome("/named", &[("X-Forwarded-For", "6.6.6.6, 192.0.2.7")]);
    assert!(named.starts_with("Welcome, 192.0.2.7:"), "{named}");
    // Who is not named is told from the next one all the same.
    let (one, other) = (welcome("/one", &[]), welcome("/other", &[]));
    assert!(one.starts_with("Welcome, 127.0.0.1:"), "{one}");
    assert_ne!(one, other);
}

#[test]
fn a_slow_reader_on_a_unix_socket_loses_nothing_whatever_zero_copy_is_set_to() {
    for zerocopy in ["auto", "always", "never"] {
        let (_folder, path, word) = socket();
        let daemon = Daemon::start(&["--listen", &word, "--zerocopy", zerocopy]);
        let mut local = connect(&path, "/", &[]);
        let mut remote = daemon.connect("/");
        let body = |n: usize| format!("{n} {}", "x".repeat(200_000));
        for n in 0..20 {
            remote.send(Message::text(body(n))).unwrap();
        }
        for n in 0..20 {
            assert_eq!(text(&mut local), body(n), "{zerocopy}");
        }
    }
}
