//! When a connection can be taken over from rustls, and when not.

use fanfare::protocol::tls::{ExtractError, Logged, Session};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, Error, ServerConnection};
use std::io::Write;
use std::sync::Arc;

use crate::client::{SUITES, Sides, flush, give};

fn refused(result: Result<Session, ExtractError>) -> ExtractError {
    result.expect_err("it is refused")
}

#[test]
fn a_handshake_that_is_not_over_is_refused() {
    for suite in SUITES {
        let sides = Sides::new(suite);
        let server = ServerConnection::new(Arc::new(sides.server.clone())).unwrap();
        let result = Session::extract(server, &Logged::new());
        let wanted = ExtractError::Refused(Error::HandshakeNotComplete);
        assert_eq!(refused(result), wanted);

        // In the middle of it.
        let mut server = ServerConnection::new(Arc::new(sides.server)).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut client = ClientConnection::new(Arc::new(sides.client), name).unwrap();
        let mut hello = Vec::new();
        client.write_tls(&mut hello).unwrap();
        give(&mut server, &hello);
        let result = Session::extract(server, &Logged::new());
        let wanted = ExtractError::Refused(Error::HandshakeNotComplete);
        assert_eq!(refused(result), wanted);
    }
}

#[test]
fn what_rustls_has_to_send_is_not_lost() {
    for suite in SUITES {
        let (_, mut server, logged) = Sides::new(suite).handshake();
        server.writer().write_all(b"not sent yet").unwrap();
        let result = Session::extract(server, &logged);
        assert_eq!(refused(result), ExtractError::Unsent);
    }
}

#[test]
fn data_that_rustls_was_given_is_not_lost() {
    for suite in SUITES {
        let (mut client, mut server, logged) = Sides::new(suite).handshake();
        give(&mut server, &client.say(b"too early"));
        let result = Session::extract(server, &logged);
        assert_eq!(refused(result), ExtractError::Received);

        let (mut client, mut server, logged) = Sides::new(suite).handshake();
        client.0.send_close_notify();
        give(&mut server, &client.sent());
        let result = Session::extract(server, &logged);
        assert_eq!(refused(result), ExtractError::Received);
    }
}

#[test]
fn keys_that_rustls_has_changed_are_noticed() {
    for suite in SUITES.into_iter().filter(|suite| suite.tls13().is_some()) {
        let (mut client, mut server, logged) = Sides::new(suite).handshake();
        client.0.refresh_traffic_keys().unwrap();
        give(&mut server, &client.sent());
        flush(&mut server);
        let result = Session::extract(server, &logged);
        assert_eq!(refused(result), ExtractError::NotLogged);
    }
}

#[test]
fn the_log_of_another_connection_is_noticed() {
    for suite in SUITES.into_iter().filter(|suite| suite.tls13().is_some()) {
        let sides = Sides::new(suite);
        let (_, _, other) = sides.handshake();
        let (_, server, _) = sides.handshake();
        let result = Session::extract(server, &other);
        assert_eq!(refused(result), ExtractError::NotLogged);
        let (_, server, _) = sides.handshake();
        let result = Session::extract(server, &Logged::new());
        assert_eq!(refused(result), ExtractError::NotLogged);
    }
}

#[test]
fn settings_that_keep_the_secrets_are_noticed() {
    let mut sides = Sides::new(SUITES[0]);
    sides.server.enable_secret_extraction = false;
    let (_, server, logged) = sides.handshake();
    let result = Session::extract(server, &logged);
    let ExtractError::Refused(Error::General(_)) = refused(result) else {
        panic!("rustls says why");
    };
}

#[test]
fn a_log_shows_nothing_of_what_it_has_heard() {
    let (_, _, logged) = Sides::new(SUITES[0]).handshake();
    assert_eq!(format!("{logged:?}"), "Logged");
}
