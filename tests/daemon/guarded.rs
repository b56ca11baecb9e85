//! Channels of apps that take a token or a signature: every dialect is tried against every kind
//! of them.

use std::fs;

use tungstenite::Message;

use crate::apps::{Apps, PATH, Speaker};
use crate::common::{Client, Daemon, Raw, hear_close};
use crate::event_source;
use crate::speaking;
use crate::tokens::token;

const CHANNELS: [&str; 6] = [
    "private-a",
    "private-cache-a",
    "private-encrypted-a",
    "presence-a",
    "presence-cache-a",
    "#server-to-user-1",
];

/// What else the settings may say of everything.
const SETTINGS: [&str; 3] = [
    "",
    "anonymous = [{ match = \"**\", publish = true, presence = true, history = true }]",
    "[[topics]]\nmatch = \"**\"\nsubscribe = \"anyone\"\npublish = \"anyone\"\n\
     presence = \"anyone\"\nhistory = \"anyone\"",
];

/// One way to a topic, with a token or without one. Returns how it was refused, if it was.
type Attempt = fn(&Daemon, &Topic<'_>, Option<&str>) -> Option<String>;

const ATTEMPTS: [(&str, Attempt); 17] = [
    ("raw", |daemon, topic, token| {
        shake_hands(daemon, &format!("/{}", topic.path), "", token)
    }),
    ("raw with offsets", |daemon, topic, token| {
        shake_hands(daemon, &format!("/{}?offsets=true", topic.path), "", token)
    }),
    ("raw with history", |daemon, topic, token| {
        shake_hands(daemon, &format!("/{}?since=1", topic.path), "", token)
    }),
    ("chat", |daemon, topic, token| {
        let chat = "Sec-WebSocket-Protocol: chat\r\n";
        shake_hands(daemon, &format!("/{}", topic.path), chat, token)
    }),
    ("a stream", |daemon, topic, token| {
        stream(daemon, &format!("/{}", topic.path), token)
    }),
    ("a stream with history", |daemon, topic, token| {
        stream(daemon, &format!("/{}?since=1", topic.path), token)
    }),
    ("a stream of several", |daemon, topic, token| {
        let Topic { public, query, .. } = topic;
        stream(
            daemon,
            &format!("/events?topic={public}&topic={query}"),
            token,
        )
    }),
    ("Mercure", |daemon, topic, token| {
        let path = format!("/.well-known/mercure?topic={}", topic.query);
        stream(daemon, &path, token)
    }),
    ("an update of Mercure", |daemon, topic, token| {
        let form = format!("topic={}&data=x", topic.query);
        let kind = "application/x-www-form-urlencoded";
        post(daemon, "/.well-known/mercure", kind, &form, token)
    }),
    ("a message over HTTP", |daemon, topic, token| {
        let path = format!("/topics/{}/messages", topic.query);
        post(daemon, &path, "text/plain", "x", token)
    }),
    ("Centrifugo", |daemon, topic, token| {
        say(daemon, topic, token, r#""subscribe":{"channel":"TOPIC"}"#)
    }),
    ("Centrifugo, recovery", |daemon, topic, token| {
        let command = r#""subscribe":{"channel":"TOPIC","recover":true,"offset":0,"epoch":"x"}"#;
        say(daemon, topic, token, command)
    }),
    ("Centrifugo, history", |daemon, topic, token| {
        say(
            daemon,
            topic,
            token,
            r#""history":{"channel":"TOPIC","limit":1}"#,
        )
    }),
    ("Centrifugo, presence", |daemon, topic, token| {
        say(daemon, topic, token, r#""presence":{"channel":"TOPIC"}"#)
    }),
    ("Centrifugo, numbers", |daemon, topic, token| {
        let command = r#""presence_stats":{"channel":"TOPIC"}"#;
        say(daemon, topic, token, command)
    }),
    ("Centrifugo, publishing", |daemon, topic, token| {
        let command = r#""publish":{"channel":"TOPIC","data":{}}"#;
        say(daemon, topic, token, command)
    }),
    ("Centrifugo in Protobuf", say_in_protobuf),
];

/// A topic, as it stands in each place.
struct Topic<'a> {
    name: &'a str,
    path: String,
    query: String,
    /// One of the same app that is for everybody.
    public: String,
}

impl Topic<'_> {
    fn of<'a>(name: &'a str, prefix: &str) -> Topic<'a> {
        let path = name.replace('#', "%23");
        Topic {
            name,
            query: path.replace('/', "%2F"),
            path,
            public: format!("{prefix}news").replace('/', "%2F"),
        }
    }
}

fn bearer(token: Option<&str>) -> String {
    token.map_or_else(String::new, |token| {
        format!("Authorization: Bearer {token}\r\n")
    })
}

fn refused(status: u16, welcome: u16) -> Option<String> {
    (status != welcome).then(|| status.to_string())
}

fn shake_hands(daemon: &Daemon, path: &str, lines: &str, token: Option<&str>) -> Option<String> {
    let mut raw = daemon.raw();
    let lines = format!("{lines}{}", bearer(token));
    raw.send(Raw::request(path, &lines).as_bytes());
    refused(raw.read_head().status, 101)
}

fn stream(daemon: &Daemon, path: &str, token: Option<&str>) -> Option<String> {
    let mut raw = daemon.raw();
    raw.send(event_source::request(path, &bearer(token)).as_bytes());
    refused(raw.read_head().status, 200)
}

fn post(
    daemon: &Daemon,
    path: &str,
    kind: &str,
    body: &str,
    token: Option<&str>,
) -> Option<String> {
    let lines = format!("Content-Type: {kind}\r\n{}", bearer(token));
    let (head, _) = daemon.ask_as(&format!("POST {path}"), &lines, body.as_bytes());
    refused(head[9..12].parse().unwrap(), 200)
}

fn say(daemon: &Daemon, topic: &Topic<'_>, token: Option<&str>, command: &str) -> Option<String> {
    let (mut client, answer) = speaking::connect_with(daemon, token.unwrap_or_default());
    assert!(answer.contains(r#""connect":"#), "{answer}");
    let command = command.replace("TOPIC", topic.name);
    let answer = speaking::ask(&mut client, &format!(r#"{{"id":2,{command}}}"#));
    answer.contains(r#""error":"#).then_some(answer)
}

/// A field of bytes, with its number.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut written = vec![number << 3 | 2];
    written.extend(sized(bytes));
    written
}

/// Bytes behind their length, which has less than 14 bits here.
fn sized(bytes: &[u8]) -> Vec<u8> {
    let len = bytes.len();
    let mut written = match len {
        0..128 => vec![len as u8],
        _ => vec![len as u8 | 128, (len >> 7) as u8],
    };
    written.extend(bytes);
    written
}

fn say_in_protobuf(daemon: &Daemon, topic: &Topic<'_>, token: Option<&str>) -> Option<String> {
    let offer = [("Sec-WebSocket-Protocol", "centrifuge-protobuf")];
    let (mut client, _) = daemon.open(speaking::PATH, &offer).unwrap();
    let ask = |client: &mut Client, id: u8, kind: u8, text: &str| {
        let request = match text {
            "" => Vec::new(),
            text => field(1, text.as_bytes()),
        };
        let command = [vec![1 << 3, id], field(kind, &request)].concat();
        client.send(Message::binary(sized(&command))).unwrap();
        let answer = client.read().unwrap().into_data();
        let begin = if answer[0] < 128 { 1 } else { 2 };
        let answer = answer[begin..].to_vec();
        assert_eq!(answer[..2], [1 << 3, id], "{answer:?}");
        let error = 2 << 3 | 2;
        // Its first field is the code.
        (answer[2] == error).then(|| format!(r#""code":{}"#, answer[5]))
    };
    assert_eq!(ask(&mut client, 1, 4, token.unwrap_or_default()), None);
    ask(&mut client, 2, 5, topic.name)
}

/// Not by their own protocol either, without a signature. Client events need a subscription.
fn are_refused_by_app(speaker: &mut Speaker, channel: &str) {
    let subscribe = format!(r#"{{"event":"pusher:subscribe","data":{{"channel":"{channel}"}}}}"#);
    let answer = speaker.ask(&subscribe);
    assert!(answer.contains(r#""type":"AuthError""#), "{answer}");
    let publish = format!(r#"{{"event":"client-x","channel":"{channel}","data":"x"}}"#);
    let answer = speaker.ask(&publish);
    assert!(answer.contains(r#""code":4301"#), "{answer}");
}

fn claims(subscribe: &str, rest: &str) -> String {
    token(&format!(
        r#"{{"sub":"eve","subscribe":["{subscribe}"],"publish":["{rest}"],"presence":["{rest}"],"history":["{rest}"]}}"#
    ))
}

#[test]
fn no_dialect_lets_anybody_at_a_guarded_channel_without_a_token_or_a_signature() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    fs::write(&key, "the key of the server API").unwrap();
    for prefix in ["", "shop/"] {
        for settings in SETTINGS {
            let settings = format!("api_key_file = {key:?}\n{settings}");
            let of_app = format!("prefix = {prefix:?}\nclient_events = true");
            let apps = Apps::new(&of_app, &settings);
            for channel in CHANNELS {
                let name = format!("{prefix}{channel}");
                check(&apps, channel, &Topic::of(&name, prefix), &settings);
            }
        }
    }
}

fn check(apps: &Apps, channel: &str, topic: &Topic<'_>, settings: &str) {
    let daemon = apps.daemon();
    let named = claims(topic.name, topic.name);
    let other = claims("other", "other");
    for (dialect, attempt) in ATTEMPTS {
        let told = format!("{dialect}, {}, {settings}", topic.name);
        for (token, codes) in [
            (None, ["401", r#""code":103"#]),
            (Some(&*other), ["403", r#""code":103"#]),
        ] {
            let refusal = attempt(daemon, topic, token).unwrap_or_default();
            let is_right = codes.iter().any(|code| refusal.contains(code));
            assert!(is_right, "{told}: {refusal:?}");
        }
        // What keeps the others out is the channel, not the way.
        let refusal = attempt(daemon, topic, Some(&named)).unwrap_or_default();
        let is_let_in = ["401", "403", r#""code":103"#]
            .iter()
            .all(|code| !refusal.contains(code));
        assert!(is_let_in, "{told}: {refusal:?}");
    }
    // Who may only hear publishes nothing.
    let hearing = claims(topic.name, "other");
    let mut raw = daemon.connect(&format!("/{}?token={hearing}", topic.path));
    raw.send(Message::text("x")).unwrap();
    assert_eq!(hear_close(&mut raw).0, 1008, "{}", topic.name);
    are_refused_by_app(&mut apps.connect(), channel);
    let with_token = daemon.connect(&format!("{PATH}&token={named}"));
    are_refused_by_app(&mut Speaker::over(with_token), channel);
}
