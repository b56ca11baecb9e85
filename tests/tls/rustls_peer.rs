//! Whole connections with rustls' client, every suite of both versions.

use fanfare::protocol::tls::{Alert, ContentType, Fault, Session};
use fastrand::Rng;
use rustls::{AlertDescription, Error, HandshakeKind, SupportedCipherSuite};

use crate::client::{Client, SUITES, Sides};
use crate::hearing::{Heard, hear};

fn suites13() -> impl Iterator<Item = SupportedCipherSuite> {
    SUITES.into_iter().filter(|suite| suite.tls13().is_some())
}

/// What we say to the client.
fn say(session: &mut Session, content: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::new();
    let kind = ContentType::ApplicationData;
    session.send.seal(kind, content, &mut sealed);
    sealed
}

/// All data that the client's records have, which have nothing else.
fn data(session: &mut Session, records: &[u8]) -> Vec<u8> {
    let heard = hear(&mut session.receive, records).into_iter();
    let data = heard.map(|heard| match heard {
        Heard::Data(data) => data,
        other => panic!("{other:?}"),
    });
    data.flatten().collect()
}

/// A word in each direction.
fn both_speak(client: &mut Client, session: &mut Session) {
    let ping = client.say(b"ping");
    assert_eq!(data(session, &ping), b"ping");
    assert_eq!(client.hear(&say(session, b"pong")), b"pong");
}

#[test]
fn both_sides_speak_in_every_suite() {
    let mut rng = Rng::with_seed(3);
    for suite in SUITES {
        let (mut client, mut session) = Sides::new(suite).connect();
        for _ in 0..20 {
            both_speak(&mut client, &mut session);
            let text: Vec<u8> = (0..rng.usize(1..60_000)).map(|_| rng.u8(..)).collect();
            let sealed = client.say(&text);
            assert_eq!(data(&mut session, &sealed), text, "{suite:?}");
            let sealed = say(&mut session, &text);
            assert_eq!(client.hear(&sealed), text, "{suite:?}");
        }
    }
}

#[test]
fn both_sides_say_goodbye() {
    for suite in SUITES {
        let (mut client, mut session) = Sides::new(suite).connect();
        let mut last = say(&mut session, b"last");
        session.send.alert(Alert::CloseNotify, &mut last);
        assert_eq!(client.hear(&last), b"last");
        assert!(client.is_closed());
        // The client may go on until it says the same.
        let more = client.say(b"more");
        assert_eq!(data(&mut session, &more), b"more");
        client.0.send_close_notify();
        let close = client.sent();
        let heard = hear(&mut session.receive, &close);
        assert_eq!(heard, [Heard::CloseNotify]);
        assert!(session.receive.has_ended());
    }
}

#[test]
fn a_fatal_alert_of_ours_is_understood() {
    for suite in SUITES {
        let (mut client, mut session) = Sides::new(suite).connect();
        let mut sealed = Vec::new();
        session.send.alert(Alert::BadRecordMac, &mut sealed);
        let heard = client.try_hear(&sealed);
        let wanted = Error::AlertReceived(AlertDescription::BadRecordMac);
        assert_eq!(heard, Err(wanted));
    }
}

#[test]
fn a_fatal_alert_of_the_clients_is_told() {
    for suite in SUITES {
        let (mut client, mut session) = Sides::new(suite).connect();
        let mut broken = say(&mut session, b"broken");
        *broken.last_mut().unwrap() ^= 1;
        assert_eq!(client.try_hear(&broken), Err(Error::DecryptError));
        let alert = client.sent();
        let heard = hear(&mut session.receive, &alert);
        assert_eq!(heard, [Heard::Fault(Fault::PeerAlert)]);
        let number = u8::from(AlertDescription::BadRecordMac);
        assert_eq!(session.receive.peer_alert(), Some(number));
    }
}

#[test]
fn the_clients_keys_change_and_ours_follow() {
    for suite in suites13() {
        let (mut client, mut session) = Sides::new(suite).connect();
        for _ in 0..5 {
            // rustls asks for an update of ours in return.
            client.0.refresh_traffic_keys().expect("it is TLS 1.3");
            let update = client.sent();
            let heard = hear(&mut session.receive, &update);
            assert_eq!(heard, [Heard::KeyUpdate { requested: true }]);
            let mut answer = Vec::new();
            session.send.key_update(&mut answer);
            assert_eq!(client.hear(&answer), b"");
            both_speak(&mut client, &mut session);
        }
    }
}

#[test]
fn our_keys_change_and_the_clients_stay() {
    for suite in suites13() {
        let (mut client, mut session) = Sides::new(suite).connect();
        for _ in 0..5 {
            let mut sealed = say(&mut session, b"old, ");
            session.send.key_update(&mut sealed);
            sealed.extend(say(&mut session, b"new"));
            assert_eq!(client.hear(&sealed), b"old, new");
            assert_eq!(client.sent(), b"", "nothing was asked for");
            both_speak(&mut client, &mut session);
        }
    }
}

#[test]
fn the_client_changes_its_keys_when_it_is_asked_to() {
    for suite in suites13() {
        let (mut client, mut session) = Sides::new(suite).connect();
        for _ in 0..5 {
            let mut request = Vec::new();
            session.send.request_key_update(&mut request);
            assert_eq!(client.hear(&request), b"");
            // rustls answers with what it sends next.
            let answer = client.say(b"ping");
            let heard = hear(&mut session.receive, &answer);
            let update = Heard::KeyUpdate { requested: false };
            assert_eq!(heard, [update, Heard::data(b"ping")]);
            both_speak(&mut client, &mut session);
        }
    }
}

#[test]
fn a_resumed_connection_is_taken_over_too() {
    for suite in SUITES {
        let sides = Sides::new(suite).with_tickets();
        let (mut client, mut session) = sides.connect();
        assert_eq!(client.0.handshake_kind(), Some(HandshakeKind::Full));
        both_speak(&mut client, &mut session);
        for _ in 0..2 {
            let (mut client, mut session) = sides.connect();
            let kind = client.0.handshake_kind();
            assert_eq!(kind, Some(HandshakeKind::Resumed), "{suite:?}");
            both_speak(&mut client, &mut session);
        }
    }
}

#[test]
fn a_client_with_a_certificate_is_taken_over_too() {
    for suite in SUITES {
        let sides = Sides::with_client_certificate(suite).with_tickets();
        for _ in 0..2 {
            let (mut client, mut session) = sides.connect();
            both_speak(&mut client, &mut session);
        }
    }
}

#[test]
fn tickets_that_went_out_before_are_counted() {
    for suite in suites13() {
        let sides = Sides::new(suite).with_tickets();
        let tickets = sides.server.send_tls13_tickets as u64;
        assert!(tickets > 0);
        let (mut client, mut session) = sides.connect();
        // rustls sends them as records of their own, or as one; the client has read them.
        assert!((1..=tickets).contains(&session.send.next()));
        both_speak(&mut client, &mut session);
    }
}

#[test]
fn a_connection_goes_to_another_process_and_the_client_does_not_notice() {
    for suite in SUITES {
        let (mut client, mut session) = Sides::new(suite).connect();
        for _ in 0..3 {
            both_speak(&mut client, &mut session);
            let words = client.say(b"in the middle of a record");
            let (start, rest) = words.split_at(words.len() / 2);
            assert_eq!(data(&mut session, start), b"");
            let saved = postcard::to_stdvec(&session).unwrap();
            session = postcard::from_bytes(&saved).unwrap();
            assert_eq!(data(&mut session, rest), b"in the middle of a record");
        }
    }
}

/// The reactor's way: records by a sealer, one of them sealed again in full after a short write
/// has taken a part, and both parts put together.
#[test]
fn a_record_stitched_from_two_sealings_is_read() {
    for suite in SUITES {
        let (mut client, mut session) = Sides::new(suite).connect();
        let content = [5; 700];
        for cut in 0..content.len() {
            let number = session.send.next();
            let seal = || {
                let (mut out, kind) = (Vec::new(), ContentType::ApplicationData);
                let fill = |out: &mut Vec<u8>| out.extend_from_slice(&content);
                session.send.sealer().seal(number, kind, &mut out, fill);
                out
            };
            let stitched = [&seal()[..cut], &seal()[cut..]].concat();
            assert_eq!(client.hear(&stitched), content);
            session.send.advance(1);
        }
    }
}
