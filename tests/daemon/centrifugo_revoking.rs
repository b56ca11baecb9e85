//! Tokens that are revoked before their time, at every door.

use crate::common::{Daemon, Raw, hear_close};
use crate::speaking::{PATH, ask, connect_with, connected, lives, order, say};
use crate::tokens::{now_s, token};
use crate::world::World;

const RULES: &str = "anonymous = [{ match = \"open\" }]\n";

/// What a raw client's opening is answered with, and a chat's.
fn statuses(daemon: &Daemon, token: &str) -> [u16; 2] {
    ["", "Sec-WebSocket-Protocol: chat\r\n"].map(|lines| {
        let mut raw = daemon.raw();
        let request = Raw::request(&format!("/open?token={token}"), lines);
        raw.send(request.as_bytes());
        raw.read_head().status
    })
}

/// What a session's client is closed with that comes with the token.
fn code(daemon: &Daemon, token: &str) -> (u16, String) {
    let mut client = daemon.connect(PATH);
    say(
        &mut client,
        &format!(r#"{{"id":1,"connect":{{"token":"{token}"}}}}"#),
    );
    hear_close(&mut client)
}

#[test]
fn a_revoked_token_is_refused_at_every_door_and_its_connections_are_closed() {
    let mut world = World::new(RULES);
    let exp = now_s() + 3600;
    let stolen = token(&format!(r#"{{"sub":"anna","jti":"t1","exp":{exp}}}"#));
    let other = token(r#"{"sub":"anna","jti":"t2"}"#);
    let sub = token(r#"{"sub":"anna","jti":"t1","channel":"room"}"#);
    let daemon = &world.daemon;
    let (mut session, _) = connect_with(daemon, &stolen);
    let mut raw = daemon.connect(&format!("/open?token={stolen}"));
    let mut stranger = daemon.connect(&format!("{PATH}?token={stolen}"));
    let (mut spared, _) = connect_with(daemon, &other);
    order(
        daemon,
        "disconnect",
        &format!(r#"{{"jti":"t1","expire_at":{exp}}}"#),
    );
    for client in [&mut session, &mut stranger] {
        assert_eq!(hear_close(client), (3503, "force disconnect".into()));
    }
    assert_eq!(hear_close(&mut raw).0, 1008);
    lives(&mut spared);
    assert_eq!(daemon.metric("fanfare_revocations"), 1);
    for handovers in 0..2 {
        if handovers > 0 {
            world.daemon.hand_over(handovers);
        }
        let daemon = &world.daemon;
        assert_eq!(statuses(daemon, &stolen), [401, 401]);
        daemon.await_reason("token_revoked");
        let (code, words) = code(daemon, &stolen);
        assert_eq!(
            (code, &*words),
            (3500, "invalid token: the token has been revoked")
        );
        assert_eq!(statuses(daemon, &other), [101, 101]);
        let line = format!(r#"{{"id":2,"subscribe":{{"channel":"room","token":"{sub}"}}}}"#);
        let answer = ask(&mut spared, &line);
        assert!(answer.contains(r#""code":103"#), "{answer}");
    }
    say(
        &mut spared,
        &format!(r#"{{"id":3,"refresh":{{"token":"{stolen}"}}}}"#),
    );
    assert_eq!(hear_close(&mut spared).0, 3500);
}

#[test]
fn all_that_a_user_was_issued_before_a_time_is_revoked() {
    let world = World::new(RULES);
    let daemon = &world.daemon;
    let now_s = now_s();
    let issued = |iat: u64| token(&format!(r#"{{"sub":"anna","iat":{iat}}}"#));
    let (old, new) = (issued(now_s - 10), issued(now_s));
    let undated = token(r#"{"sub":"anna"}"#);
    let (mut gone, _) = connect_with(daemon, &old);
    let (mut stays, _) = connect_with(daemon, &new);
    let mut ben = connected(daemon, r#"{"sub":"ben"}"#);
    order(
        daemon,
        "disconnect",
        &format!(r#"{{"user":"anna","not_before":{now_s}}}"#),
    );
    assert_eq!(hear_close(&mut gone).0, 3503);
    lives(&mut stays);
    lives(&mut ben);
    for token in [&old, &undated] {
        assert_eq!(statuses(daemon, token), [401, 401]);
        assert_eq!(code(daemon, token).0, 3500);
    }
    assert_eq!(statuses(daemon, &new), [101, 101]);
    // A disconnect alone revokes nothing.
    order(daemon, "disconnect", r#"{"user":"ben"}"#);
    assert_eq!(hear_close(&mut ben).0, 3503);
    connected(daemon, r#"{"sub":"ben"}"#);
}
