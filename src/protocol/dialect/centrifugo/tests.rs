//! Sessions without a core: who they are, what tokens give them, and what they may say when.

use super::*;
use crate::protocol::centrifugo::Connect;
use crate::protocol::dialect::session::{Client, client_number};
use crate::protocol::rights::Channel;

const NOW_S: u64 = 1_800_000_000;

fn name(topic: &str) -> TopicName {
    TopicName::new(topic).unwrap()
}

fn rights_of(user: &str) -> Rights {
    Rights {
        user: user.into(),
        info: Some(r#"{"name":"A"}"#.into()),
        expires_s: Some(NOW_S + 60),
        channels: vec![Channel::default()],
        ..Rights::default()
    }
}

fn session_of(user: &str) -> Session {
    let mut session = Session::new(Client::uuid(1));
    session.connect(Some(&rights_of(user)));
    session
}

fn handle(session: &mut Session, command: Command) -> Result<Deed, CloseReason> {
    session.handle(Coding::Json, Request { id: 7, command })
}

fn token(text: &str) -> String {
    text.to_owned()
}

fn subscription(user: &str, channel: &str) -> Subscription {
    Subscription {
        user: user.into(),
        channel: channel.into(),
        client: None,
        info: Some("1".into()),
        id: None,
        issued_s: 0,
        expires_s: Some(NOW_S + 30),
        ends_s: None,
    }
}

#[test]
fn nothing_is_asked_for_before_the_client_is_known_and_a_token_goes_to_the_core() {
    let mut session = Session::new(Client::uuid(1));
    let refresh = Command::Refresh { token: token("t") };
    assert_eq!(
        handle(&mut session, refresh.clone()),
        Err(CloseReason::BadRequest)
    );
    let sub = Subscribe {
        recover: true,
        offset: 3,
        epoch: "e".to_owned(),
        ..Subscribe::default()
    };
    let connect = Command::Connect(Connect {
        token: token("t"),
        subs: vec![("c".to_owned(), sub)],
        ..Connect::default()
    });
    let Ok(Deed::Connect(hello)) = handle(&mut session, connect) else {
        panic!("it is to be welcomed");
    };
    assert_eq!((hello.id, &*hello.token), (7, "t"));
    let place = Place {
        offset: 3,
        epoch: "e".to_owned(),
    };
    assert_eq!(hello.place("c"), Some(place));
    assert_eq!(hello.place("d"), None);
    // Its token was not accepted: it may try again, and nothing else.
    assert!(!session.is_connected());
    session.connect(None);
    let deed = Deed::Refresh {
        id: 7,
        token: token("t"),
    };
    assert_eq!(handle(&mut session, refresh), Ok(deed));
    let empty = Command::Refresh { token: token("") };
    assert_eq!(handle(&mut session, empty), Err(CloseReason::BadRequest));
}

#[test]
fn each_ping_has_its_pong_however_late_and_none_comes_unasked() {
    let mut session = session_of("anna");
    assert_eq!(
        handle(&mut session, Command::Pong),
        Err(CloseReason::BadRequest)
    );
    session.ping();
    session.ping();
    for _ in 0..2 {
        assert_eq!(handle(&mut session, Command::Pong), Ok(Deed::Nothing));
    }
    assert_eq!(
        handle(&mut session, Command::Pong),
        Err(CloseReason::BadRequest)
    );
}

#[test]
fn a_token_says_who_it_is_and_another_ones_changes_nothing() {
    let mut session = session_of("anna");
    let info = session.info();
    assert_eq!(
        (&*info.user, &*info.conn_info),
        ("anna", &br#"{"name":"A"}"#[..])
    );
    assert_eq!(session.expires_s(), Some(NOW_S + 60));
    assert!(!session.has_expired(NOW_S + 59) && session.has_expired(NOW_S + 60));
    assert_eq!(
        session.refresh(&rights_of("bob")),
        Err(TokenFault::Mismatch)
    );
    let longer = Rights {
        info: None,
        expire_at_s: Some(0),
        ..rights_of("anna")
    };
    assert_eq!(session.refresh(&longer), Ok(()));
    assert_eq!((session.expires_s(), session.info()), (None, info));
    // Who came without a token has no name, and gets none by refreshing.
    let mut nameless = Session::new(Client::uuid(2));
    nameless.connect(None);
    assert_eq!((nameless.user(), nameless.expires()), ("", false));
    assert_eq!(
        nameless.refresh(&rights_of("anna")),
        Err(TokenFault::Mismatch)
    );
}

#[test]
fn a_subscription_token_is_for_one_user_channel_and_client() {
    let session = session_of("anna");
    let sound = subscription("anna", "c");
    let special = session.judge(Ok(sound.clone()), &name("c"), NOW_S).unwrap();
    assert_eq!(
        special,
        Special {
            source: Source::Token,
            user: None,
            expires_s: Some(NOW_S + 30),
            info: Some("1".into()),
        }
    );
    let mine = Subscription {
        client: Some(Client::uuid(1).to_string().into()),
        ..sound.clone()
    };
    assert!(session.judge(Ok(mine), &name("c"), NOW_S).is_ok());
    let others = Subscription {
        client: Some(Client::uuid(2).to_string().into()),
        ..sound.clone()
    };
    for (token, topic) in [
        (subscription("bob", "c"), "c"),
        (sound.clone(), "d"),
        (others, "c"),
    ] {
        let refused = session.judge(Ok(token), &name(topic), NOW_S);
        let reason = CloseReason::Token(TokenFault::Mismatch);
        assert_eq!(refused, Err(Refusal::Closes(reason)));
    }
    let late = session.judge(Ok(sound), &name("c"), NOW_S + 30);
    assert_eq!(late, Err(Failure::Expired.into()));
}

#[test]
fn each_fault_of_a_token_has_its_answer_where_it_comes() {
    let session = session_of("anna");
    for fault in TokenFault::ALL {
        let expired = matches!(fault, TokenFault::Expired | TokenFault::NotYet);
        let closes = Refusal::Closes(CloseReason::Token(fault));
        let judged = session.judge(Err(fault), &name("c"), NOW_S).unwrap_err();
        let again = session.judge_refresh(Err(fault), &name("c"), NOW_S);
        let again = again.unwrap_err();
        if expired {
            assert_eq!(refuse_connect(fault), Failure::TokenExpired.into());
            assert_eq!(judged, Failure::TokenExpired.into());
            assert_eq!(again, Failure::TokenExpiredTryAgain.into());
            assert_eq!(refuse_refresh(fault), TokenFault::Expired.into());
        } else {
            assert_eq!(
                (refuse_connect(fault), refuse_refresh(fault)),
                (closes, closes)
            );
            assert_eq!(judged, Failure::Denied.into());
            assert_eq!(again, closes);
        }
    }
    for (failure, code, temporary) in [
        (Failure::TokenExpired, 109, false),
        (Failure::TokenExpiredTryAgain, 109, true),
        (Failure::Expired, 110, false),
        (Failure::NotSubscribed, 103, false),
        (Failure::TokenMissing, 107, false),
    ] {
        let error = Error::from(failure);
        assert_eq!((error.code, error.temporary), (code, temporary));
    }
}

#[test]
fn clients_come_back_or_stay_away_as_the_codes_say() {
    for (reason, wanted) in [
        (CloseReason::Token(TokenFault::Expired), 3005),
        (CloseReason::SubscriptionExpired, 3006),
        (CloseReason::InsufficientState, 3010),
        (CloseReason::Token(TokenFault::Signature), 3500),
        (CloseReason::Token(TokenFault::Mismatch), 3500),
        (CloseReason::Disconnected, 3503),
        (CloseReason::TooManyTopics, 3505),
        (CloseReason::TopicsFull, 3004),
    ] {
        assert_eq!(code(reason), wanted, "{reason:?}");
    }
}

#[test]
fn special_subscriptions_are_known_until_they_end_and_expire_each_by_itself() {
    let mut session = Session::new(Client::uuid(1));
    session.connect(None);
    let special = |source, expires_s| Special {
        source,
        user: None,
        expires_s,
        info: None,
    };
    session.note("a", special(Source::Token, Some(NOW_S)));
    session.note("b", special(Source::ConnectionToken, None));
    session.note("c", special(Source::Api, Some(NOW_S + 1)));
    assert!(session.expires());
    let expired = session.expired_subs(NOW_S);
    assert_eq!(expired, [("a".into(), Source::Token)]);
    assert_eq!(session.token_topics().collect::<Vec<_>>(), ["b"]);
    session.forget("a");
    session.forget("c");
    assert!(session.special("a").is_none() && !session.expires());
}

#[test]
fn the_name_of_a_client_is_read_as_it_is_written() {
    let number = 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef;
    let text = Client::uuid(number).to_string();
    assert_eq!(client_number(&text), Some(number));
    for bad in [
        "",
        "x",
        &text[1..],
        &text.replace('-', ""),
        &text.to_uppercase(),
    ] {
        assert_eq!(client_number(bad), None, "{bad}");
    }
}

/// A reply tells how long something lasts; 0 seconds would be taken for never.
#[test]
fn a_reply_tells_in_how_many_seconds_something_expires() {
    for (expires_s, told) in [
        (None, "{}"),
        (Some(NOW_S + 60), r#"{"expires":true,"ttl":60}"#),
        (Some(NOW_S), r#"{"expires":true,"ttl":1}"#),
        (Some(0), r#"{"expires":true,"ttl":1}"#),
        (Some(u64::MAX), r#"{"expires":true,"ttl":31536000}"#),
    ] {
        let reply = words::refreshed(Coding::Json, 7, expires_s, NOW_S);
        let wanted = format!("{{\"id\":7,\"refresh\":{told}}}\n");
        assert_eq!(String::from_utf8(reply).unwrap(), wanted);
    }
}
