//! Nodes of two versions ask each other.

use super::*;
use crate::config::Settings;
use crate::protocol::centrifugo::Data;

fn sessions() -> Sessions {
    Sessions {
        user: "u".into(),
        client: "c".into(),
        session: "s".into(),
    }
}

fn questions() -> [(Question, &'static str); 8] {
    [
        (
            Question::Subscribe {
                of: sessions(),
                channel: "a".into(),
                terms: Terms {
                    info: "1".into(),
                    data: Data {
                        text: true,
                        bytes: b"{}".to_vec(),
                    },
                    expire_at: 2,
                    recover_since: Some((3, "e".into())),
                },
            },
            r#"{"Subscribe":{"of":{"user":"u","client":"c","session":"s"},"channel":"a","terms":{"info":"1","data":{"text":true,"bytes":[123,125]},"expire_at":2,"recover_since":[3,"e"]}}}"#,
        ),
        (
            Question::Unsubscribe {
                of: sessions(),
                channel: "a".into(),
            },
            r#"{"Unsubscribe":{"of":{"user":"u","client":"c","session":"s"},"channel":"a"}}"#,
        ),
        (
            Question::Disconnect {
                of: sessions(),
                code: 3503,
                reason: "r".into(),
                whitelist: vec!["w".into()],
                revoke: Revoke {
                    jti: "j".into(),
                    not_before: 4,
                    expire_at: 5,
                },
            },
            r#"{"Disconnect":{"of":{"user":"u","client":"c","session":"s"},"code":3503,"reason":"r","whitelist":["w"],"revoke":{"jti":"j","not_before":4,"expire_at":5}}}"#,
        ),
        (
            Question::Refresh {
                of: sessions(),
                expired: true,
                expire_at: 6,
                info: "i".into(),
            },
            r#"{"Refresh":{"of":{"user":"u","client":"c","session":"s"},"expired":true,"expire_at":6,"info":"i"}}"#,
        ),
        (
            Question::Channels {
                pattern: "a*".into(),
            },
            r#"{"Channels":{"pattern":"a*"}}"#,
        ),
        (
            Question::Terminate {
                app: "k".into(),
                user: "u".into(),
            },
            r#"{"Terminate":{"app":"k","user":"u"}}"#,
        ),
        (
            Question::Subscribers {
                topics: vec!["a".into(), "b".into()],
            },
            r#"{"Subscribers":{"topics":["a","b"]}}"#,
        ),
        (Question::Info, r#""Info""#),
    ]
}

fn replies() -> [(Reply, &'static str); 5] {
    [
        (Reply::Done, r#""Done""#),
        (Reply::Failed(100), r#"{"Failed":100}"#),
        (
            Reply::Channels(vec![("a".into(), 2)]),
            r#"{"Channels":[["a",2]]}"#,
        ),
        (
            Reply::Info(Node {
                uid: "i".into(),
                name: "n".into(),
                version: "v".into(),
                num_clients: 1,
                num_users: 2,
                num_channels: 3,
                num_subs: 4,
                uptime_s: 5,
            }),
            r#"{"Info":{"uid":"i","name":"n","version":"v","num_clients":1,"num_users":2,"num_channels":3,"num_subs":4,"uptime_s":5}}"#,
        ),
        (Reply::Unknown, r#""Unknown""#),
    ]
}

/// A word that a later version may say in each object.
fn later(words: &str) -> String {
    words
        .replace('{', r#"{"later":[1],"#)
        .replacen(r#"{"later":[1],"#, "{", 1)
}

#[test]
fn what_nodes_ask_each_other_keeps_its_form() {
    for (question, words) in questions() {
        assert_eq!(serde_json::to_string(&question).unwrap(), words);
        let read: Question = serde_json::from_str(&later(words)).unwrap();
        assert_eq!(read, question);
    }
    for (reply, words) in replies() {
        assert_eq!(serde_json::to_string(&reply).unwrap(), words);
        assert_eq!(read_reply(later(words).as_bytes()), reply);
    }
}

#[test]
fn parts_that_an_earlier_version_does_not_say_have_defaults() {
    let words = r#"{"Subscribe":{"of":{"user":"u"},"channel":"a","terms":{}}}"#;
    let Question::Subscribe { of, terms, .. } = serde_json::from_str(words).unwrap() else {
        panic!("it is another question");
    };
    assert_eq!((of.user.as_str(), of.client.as_str()), ("u", ""));
    assert_eq!(terms, Terms::default());
    let read = read_reply(br#"{"Info":{"uid":"i"}}"#);
    let node = Node {
        uid: "i".into(),
        ..Node::default()
    };
    assert_eq!(read, Reply::Info(node));
}

#[tokio::test]
async fn a_question_of_a_later_version_is_answered_as_unknown() {
    let hub = Hub::new(Settings {
        cores: 1,
        ..Settings::default()
    });
    let hub = hub.unwrap();
    let unknown = br#""Unknown""#;
    for words in [
        r#"{"Sing":{"song":1}}"#,
        r#""Sing""#,
        "",
        r#"{"Channels":{}}"#,
    ] {
        assert_eq!(
            answer(&hub, Some(words.as_bytes())).await,
            unknown,
            "{words}"
        );
    }
    assert_eq!(answer(&hub, None).await, unknown);
    let known = answer(&hub, Some(br#"{"Channels":{"pattern":""}}"#)).await;
    assert_eq!(read_reply(&known), Reply::Channels(Vec::new()));
}

#[test]
fn what_is_told_is_told_without_those_who_do_not_know_and_what_is_ordered_fails() {
    let channels = || Ok(Answer::Channels(vec![("a".into(), 1)]));
    assert!(
        matches!(add(channels(), read_reply(b"{}")), Ok(Answer::Channels(of)) if of.len() == 1)
    );
    assert!(matches!(
        add(Ok(Answer::Info(Vec::new())), Reply::Unknown),
        Ok(Answer::Info(_))
    ));
    for ordered in [Answer::Disconnected, Answer::Subscribed] {
        assert!(matches!(
            add(Ok(ordered), Reply::Unknown),
            Err(Error::INTERNAL)
        ));
    }
}
