//! Runs over TLS, against a plain server with something in front that speaks it.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection};

use crate::common::{Fault, serve, stderr, stdout, tool};

/// Speaks TLS in front of a server at `port`, with a certificate for 127.0.0.1 that lies in
/// `folder` then. Returns its own port.
fn front(port: u16, folder: &Path) -> u16 {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(folder.join("ca.pem"), made.cert.pem()).unwrap();
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for client in listener.incoming() {
            let conn = ServerConnection::new(config.clone()).unwrap();
            let server = TcpStream::connect(("127.0.0.1", port)).unwrap();
            thread::spawn(move || pass(conn, client.unwrap(), server));
        }
    });
    own
}

/// Passes bytes both ways until one side ends.
fn pass(mut conn: ServerConnection, mut client: TcpStream, mut server: TcpStream) {
    let look = Some(Duration::from_millis(1));
    client.set_read_timeout(look).unwrap();
    server.set_read_timeout(look).unwrap();
    let mut bytes = vec![0; 64 << 10];
    loop {
        match conn.read_tls(&mut client) {
            Ok(0) => return,
            Ok(_) => {
                let Ok(state) = conn.process_new_packets() else {
                    let _ = conn.write_tls(&mut client);
                    return;
                };
                let mut plain = vec![0; state.plaintext_bytes_to_read()];
                conn.reader().read_exact(&mut plain).unwrap();
                if server.write_all(&plain).is_err() {
                    return;
                }
            }
            Err(error) if is_silence(&error) => {}
            Err(_) => return,
        }
        match server.read(&mut bytes) {
            Ok(0) => return,
            Ok(len) => conn.writer().write_all(&bytes[..len]).unwrap(),
            Err(error) if is_silence(&error) => {}
            Err(_) => return,
        }
        while conn.wants_write() {
            match conn.write_tls(&mut client) {
                Ok(_) => {}
                Err(error) if is_silence(&error) => {}
                Err(_) => return,
            }
        }
    }
}

fn is_silence(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

const QUICK: &str = "--settle 50ms --drain 2s --quiet";

#[test]
fn messages_are_heard_over_tls_as_without() {
    let folder = tempfile::tempdir().unwrap();
    let port = front(serve(Fault::None), folder.path());
    let ca = folder.path().join("ca.pem");
    for trust in [format!("--ca {}", ca.display()), "--insecure".to_owned()] {
        let output = tool(&format!(
            "fanout --url wss://127.0.0.1:{port}/ {trust} -n 4 --size 2k --rate 50 --verify \
             --warmup 50ms -d 300ms {QUICK}"
        ));
        let text = stdout(&output);
        assert_eq!(output.status.code(), Some(0), "{text}{}", stderr(&output));
    }
}

#[test]
fn a_storm_returns_over_tls_with_new_sessions_and_with_old_ones() {
    let folder = tempfile::tempdir().unwrap();
    let port = front(serve(Fault::None), folder.path());
    for resume in ["", "--resume"] {
        let output = tool(&format!(
            "storm --url wss://127.0.0.1:{port}/ --insecure {resume} -n 20 --live 2 \
             --rate 50 --quiet-time 300ms {QUICK}"
        ));
        let text = stdout(&output);
        assert_eq!(output.status.code(), Some(0), "{text}{}", stderr(&output));
    }
}

#[test]
fn a_server_that_is_not_believed_is_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let port = front(serve(Fault::None), folder.path());
    let url = format!("wss://127.0.0.1:{port}/");
    let output = tool(&format!("fanout --url {url} -n 1 -d 100ms {QUICK}"));
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--ca"), "{}", stderr(&output));
    let other = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let path = folder.path().join("other.pem");
    std::fs::write(&path, other.cert.pem()).unwrap();
    let ca = path.display();
    let output = tool(&format!(
        "fanout --url {url} --ca {ca} -n 1 -d 100ms --connect-timeout 2s {QUICK}"
    ));
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("TLS: "), "{}", stderr(&output));
}

/// A server that takes what is posted.
fn take_posts() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            thread::spawn(move || {
                // A request stands behind the body of the one before.
                let lines = BufReader::new(client.try_clone().unwrap()).lines();
                for _ in lines
                    .map_while(Result::ok)
                    .filter(|line| line.contains("POST "))
                {
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\n{\"offset\":1}\n";
                    if client.write_all(answer).is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

#[test]
fn requests_are_posted_and_answered_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    let port = front(take_posts(), folder.path());
    let url = format!("https://127.0.0.1:{port}/");
    let ca = folder.path().join("ca.pem");
    for trust in [format!("--ca {}", ca.display()), "--insecure".to_owned()] {
        let output = tool(&format!("post --url {url} {trust} -c 2 -d 300ms"));
        let text = stdout(&output);
        assert_eq!(output.status.code(), Some(0), "{text}{}", stderr(&output));
        assert!(text.contains(" messages in "), "{text}");
    }
    let output = tool(&format!("post --url {url} -d 100ms"));
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--ca"), "{}", stderr(&output));
}
