//! The Pusher Channels protocol on `/app/{key}`, word by word.

use std::fs;

use ring::hmac;
use tempfile::TempDir;
use tungstenite::Message;

use crate::common::{self, Client, Daemon, eventually, hear, hear_close};
use crate::speaking;
use crate::tokens::{SECRET, token};
use crate::world::World;

pub(crate) const PATH: &str = "/app/key?protocol=7&client=test&version=1";

const TEXT: &str = "Content-Type: text/plain\r\n";

/// A daemon with an app, and with keys for tokens.
pub(crate) struct Apps {
    pub(crate) world: World,
    secret: TempDir,
}

/// A client, and the id that it was told.
pub(crate) struct Speaker {
    pub(crate) client: Client,
    pub(crate) id: String,
}

impl Apps {
    pub(crate) fn new(of_app: &str, more: &str) -> Apps {
        let secret = tempfile::tempdir().unwrap();
        fs::write(secret.path().join("app"), SECRET).unwrap();
        let text = text(&secret, of_app, more);
        Apps {
            world: World::new(&text),
            secret,
        }
    }

    pub(crate) fn daemon(&self) -> &Daemon {
        &self.world.daemon
    }

    pub(crate) fn reload(&self, of_app: &str, more: &str) {
        self.world.reload(&text(&self.secret, of_app, more));
    }

    /// Changes the settings of the next process alone.
    pub(crate) fn rewrite(&self, of_app: &str, more: &str) {
        self.world.rewrite(&text(&self.secret, of_app, more));
    }

    pub(crate) fn connect(&self) -> Speaker {
        Speaker::over(self.daemon().connect(PATH))
    }
}

impl Speaker {
    /// One that has just connected.
    pub(crate) fn over(mut client: Client) -> Speaker {
        let told = hear(&mut client);
        let rest = told
            .strip_prefix(r#"{"event":"pusher:connection_established","data":"{\"socket_id\":\""#);
        let (id, rest) = rest.expect(&told).split_once(r#"\""#).unwrap();
        assert_eq!(rest, r#",\"activity_timeout\":120}"}"#);
        let id = id.to_owned();
        Speaker { client, id }
    }
}

fn text(secret: &TempDir, of_app: &str, more: &str) -> String {
    let path = secret.path().join("app");
    let path = path.display();
    format!("{more}\n[[apps]]\nid = \"1\"\nkey = \"key\"\nsecret_files = \"{path}\"\n{of_app}\n")
}

impl Speaker {
    pub(crate) fn say(&mut self, message: &str) {
        self.client.send(Message::text(message)).unwrap();
    }

    pub(crate) fn ask(&mut self, message: &str) -> String {
        self.say(message);
        hear(&mut self.client)
    }

    /// What the app's own server would have signed.
    pub(crate) fn auth(&self, rest: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        let tag = hmac::sign(&key, format!("{}:{rest}", self.id).as_bytes());
        let hex = tag.as_ref().iter().map(|byte| format!("{byte:02x}"));
        format!("key:{}", hex.collect::<String>())
    }

    /// The words that ask for a channel that takes a signature.
    pub(crate) fn wish(&self, channel: &str, user: Option<&str>) -> String {
        let Some(user) = user else {
            let auth = self.auth(channel);
            return format!(
                r#"{{"event":"pusher:subscribe","data":{{"channel":"{channel}","auth":"{auth}"}}}}"#
            );
        };
        let data = format!(r#"{{"user_id":"{user}","user_info":{{"name":"{user}!"}}}}"#);
        let auth = self.auth(&format!("{channel}:{data}"));
        let data = data.replace('"', "\\\"");
        format!(
            r#"{{"event":"pusher:subscribe","data":{{"channel":"{channel}","auth":"{auth}","channel_data":"{data}"}}}}"#
        )
    }

    pub(crate) fn subscribe(&mut self, channel: &str) {
        let message = match channel.starts_with("private-") {
            true => self.wish(channel, None),
            false => {
                format!(r#"{{"event":"pusher:subscribe","data":{{"channel":"{channel}"}}}}"#)
            }
        };
        assert_eq!(self.ask(&message), succeeded(channel));
    }

    /// Joins a presence channel and returns who is there.
    pub(crate) fn join(&mut self, channel: &str, user: &str) -> String {
        let message = self.wish(channel, Some(user));
        let told = self.ask(&message);
        let begin = format!(
            r#"{{"event":"pusher_internal:subscription_succeeded","channel":"{channel}","data":"{{\"presence\":"#
        );
        told.strip_prefix(&begin).expect(&told).replace('\\', "")
    }

    pub(crate) fn hear(&mut self) -> String {
        hear(&mut self.client)
    }

    /// It is answered, and hears nothing before that.
    pub(crate) fn is_quiet(&mut self) {
        let pong = r#"{"event":"pusher:pong","data":{}}"#;
        assert_eq!(self.ask(r#"{"event":"pusher:ping","data":{}}"#), pong);
    }
}

pub(crate) fn succeeded(channel: &str) -> String {
    format!(
        r#"{{"event":"pusher_internal:subscription_succeeded","channel":"{channel}","data":"{{}}"}}"#
    )
}

pub(crate) fn event(name: &str, channel: &str, data: &str) -> String {
    format!(r#"{{"event":"{name}","channel":"{channel}","data":"{data}"}}"#)
}

pub(crate) fn member(what: &str, channel: &str, user: &str) -> String {
    let data = match what {
        "added" => format!(r#"{{\"user_id\":\"{user}\",\"user_info\":{{\"name\":\"{user}!\"}}}}"#),
        _ => format!(r#"{{\"user_id\":\"{user}\"}}"#),
    };
    event(&format!("pusher_internal:member_{what}"), channel, &data)
}

#[test]
fn what_others_publish_is_heard_as_events_and_client_events_by_others() {
    let apps = Apps::new("client_events = true", "");
    let daemon = apps.daemon();
    let (mut ann, mut bob) = (apps.connect(), apps.connect());
    for speaker in [&mut ann, &mut bob] {
        speaker.subscribe("news");
        speaker.subscribe("private-room");
    }
    let answer = daemon.ask_as("POST /topics/news/messages", TEXT, b"{\"score\": \"1:0\"}");
    assert!(answer.0.contains("200"), "{answer:?}");
    daemon.ask_as("POST /topics/news/messages", TEXT, b"plain");
    for speaker in [&mut ann, &mut bob] {
        let goal = event("message", "news", r#"{\"score\": \"1:0\"}"#);
        assert_eq!(speaker.hear(), goal);
        assert_eq!(speaker.hear(), event("message", "news", "plain"));
    }
    ann.say(r#"{"event":"client-typing","channel":"private-room","data":{"who":"ann"}}"#);
    let typing = event("client-typing", "private-room", r#"{\"who\":\"ann\"}"#);
    assert_eq!(bob.hear(), typing);
    ann.is_quiet();
    bob.say(r#"{"event":"pusher:unsubscribe","data":{"channel":"private-room"}}"#);
    bob.is_quiet();
    ann.say(r#"{"event":"client-typing","channel":"private-room","data":"x"}"#);
    ann.is_quiet();
    bob.is_quiet();
    // Other dialects hear it too, if they may.
    let bearer = token(r#"{"sub":"eve","subscribe":["private-room"]}"#);
    let mut raw = daemon.connect(&format!("/private-room?token={bearer}"));
    ann.say(r#"{"event":"client-typing","channel":"private-room","data":"y"}"#);
    assert_eq!(hear(&mut raw), "y");
}

#[test]
fn members_come_and_go_by_user_and_newcomers_are_told_who_is_there() {
    let mut apps = Apps::new("", "");
    let mut ann = apps.connect();
    let alone = ann.join("presence-room", "ann");
    assert_eq!(
        alone,
        r#"{"count":1,"ids":["ann"],"hash":{"ann":{"name":"ann!"}}}}"}"#
    );
    let mut bob = apps.connect();
    let both = bob.join("presence-room", "bob");
    assert!(both.starts_with(r#"{"count":2,"#), "{both}");
    assert_eq!(ann.hear(), member("added", "presence-room", "bob"));
    // A second connection of the same user is news to nobody.
    let mut again = apps.connect();
    assert!(
        again
            .join("presence-room", "bob")
            .starts_with(r#"{"count":2,"#)
    );
    for speaker in [&mut ann, &mut bob, &mut again] {
        speaker.is_quiet();
    }
    apps.world.daemon.hand_over(1);
    drop(bob);
    again.is_quiet();
    again.say(r#"{"event":"pusher:unsubscribe","data":{"channel":"presence-room"}}"#);
    assert_eq!(ann.hear(), member("removed", "presence-room", "bob"));
    again.is_quiet();
    ann.is_quiet();
}

#[test]
fn a_cache_channel_begins_with_its_newest_event_or_says_that_there_is_none() {
    let apps = Apps::new("", "");
    let mut early = apps.connect();
    early.subscribe("cache-price");
    assert_eq!(
        early.hear(),
        event("pusher:cache_miss", "cache-price", "{}")
    );
    for price in ["1", "2"] {
        apps.daemon()
            .ask_as("POST /topics/cache-price/messages", TEXT, price.as_bytes());
        assert_eq!(early.hear(), event("message", "cache-price", price));
    }
    let mut late = apps.connect();
    late.subscribe("cache-price");
    assert_eq!(late.hear(), event("message", "cache-price", "2"));
    late.is_quiet();
}

#[test]
fn a_user_signs_in_and_hears_what_is_for_the_user() {
    let apps = Apps::new("", "");
    let mut ann = apps.connect();
    let own = r##"{"event":"pusher:subscribe","data":{"channel":"#server-to-user-ann"}}"##;
    let refused = ann.ask(own);
    assert!(refused.contains(r#""type":"AuthError""#), "{refused}");
    let data = r#"{"id":"ann"}"#;
    let auth = ann.auth(&format!(":user::{data}"));
    let data = data.replace('"', "\\\"");
    let signin =
        format!(r#"{{"event":"pusher:signin","data":{{"auth":"{auth}","user_data":"{data}"}}}}"#);
    let success = ann.ask(&signin);
    let wanted = r#"{"event":"pusher:signin_success","data":"{\"user_data\":\"{\\\"id\\\":\\\"ann\\\"}\"}"}"#;
    assert_eq!(success, wanted);
    assert_eq!(ann.ask(own), succeeded("#server-to-user-ann"));
    apps.daemon().ask_as(
        "POST /topics/%23server-to-user-ann/messages",
        TEXT,
        b"for you",
    );
    let heard = event("message", "#server-to-user-ann", "for you");
    assert_eq!(ann.hear(), heard);
    // Who has signed in needs to say it no more where members are known.
    let wish = ann.wish("presence-room", None);
    assert!(ann.ask(&wish).contains(r#"\"ids\":[\"ann\"]"#));
}

#[test]
fn who_may_not_come_is_told_so_by_an_event_and_a_code() {
    let apps = Apps::new("connections_max = 1", "");
    for (path, code, words) in [
        ("/app/other?protocol=7", 4001, "no app"),
        ("/app/?protocol=7", 4001, "no app"),
        ("/app/key?protocol=8", 4007, "versions 5 to 7"),
        ("/app/key", 4007, "versions 5 to 7"),
    ] {
        let mut client = apps.daemon().connect(path);
        let told = hear(&mut client);
        let begin = format!(r#"{{"event":"pusher:error","data":{{"code":{code},"#);
        assert!(told.starts_with(&begin) && told.contains(words), "{told}");
        assert_eq!(hear_close(&mut client).0, code);
    }
    let first = apps.connect();
    let mut second = apps.daemon().connect(PATH);
    assert!(hear(&mut second).contains(r#""code":4100"#));
    assert_eq!(hear_close(&mut second).0, 4100);
    drop(first);
    eventually("the first one's place is free", || {
        hear(&mut apps.daemon().connect(PATH)).contains("connection_established")
    });
}

#[test]
fn each_bad_request_gets_its_answer_and_the_connection_goes_on() {
    let apps = Apps::new(
        "client_events = true\nclient_events_per_s_max = 2\nevent_bytes_max = 20\n\
         presence_members_max = 1\npresence_user_bytes_max = 20",
        "topics_per_connection_max = 3",
    );
    let mut ann = apps.connect();
    let other = apps.connect();
    let long = "x".repeat(201);
    let signed = |of: &Speaker, channel: &str, data: &str| {
        let auth = of.auth(&format!("{channel}:{data}"));
        let data = data.replace('"', "\\\"");
        format!(
            r#"{{"event":"pusher:subscribe","data":{{"channel":"{channel}","auth":"{auth}","channel_data":"{data}"}}}}"#
        )
    };
    let plain = |channel: &str| {
        format!(r#"{{"event":"pusher:subscribe","data":{{"channel":"{channel}"}}}}"#)
    };
    let client = |name: &str, channel: &str, data: &str| {
        format!(r#"{{"event":"{name}","channel":"{channel}","data":"{data}"}}"#)
    };
    let foreign_key = ann.wish("private-a", None).replace("key:", "kex:");
    let foreign_socket = other.wish("private-a", None);
    let user_too_long = format!(r#"{{"user_id":"{long}"}}"#);
    for (message, answer) in [
        ("hello".to_owned(), "this is no event"),
        ("[]".into(), "this is no event"),
        (r#"{"event":"pusher:subscribe"}"#.into(), "this is no event"),
        (r#"{"event":"hello"}"#.into(), "means nothing here"),
        (
            plain(""),
            r#""type":"InvalidChannel","error":"a channel's name must not be empty","status":400"#,
        ),
        (plain("a/b"), "letters, digits and"),
        (plain(&long), "at most 200 characters"),
        (
            plain("private-a"),
            r#""type":"AuthError","error":"auth must be the app's key, a colon and a signature","status":401"#,
        ),
        (foreign_key, "by another key"),
        (foreign_socket, "does not fit"),
        (signed(&ann, "presence-a", "x"), "channel_data must be"),
        (
            signed(&ann, "presence-a", r#"{"user_id":""}"#),
            "channel_data must be",
        ),
        (
            signed(&ann, "presence-a", &user_too_long),
            "user_id has 1 to 200 bytes",
        ),
        (
            signed(
                &ann,
                "presence-a",
                r#"{"user_id":"a","user_info":"12345678901234567890"}"#,
            ),
            r#""type":"LimitReached","error":"user_info is too long"#,
        ),
        (
            r#"{"event":"pusher:signin","data":{"auth":"key:00","user_data":"{}"}}"#.into(),
            r#""code":4009"#,
        ),
        (
            client("client-x", "news", "1"),
            "for private and presence channels",
        ),
        (
            client("client-x", "private-encrypted-a", "1"),
            "for private and presence channels",
        ),
        (client("client-x", "private-a", &"x".repeat(21)), "too long"),
        (
            client(&format!("client-{long}"), "private-a", "1"),
            "at most 200 bytes",
        ),
        (
            client("client-x", "private-a", "1"),
            r#""code":4301,"message":"client events are for channels that the connection is subscribed to""#,
        ),
        (client("client-x", "private-a", "1"), "subscribed to"),
        (
            client("client-x", "private-a", "1"),
            "too many client events in a second",
        ),
    ] {
        let told = ann.ask(&message);
        assert!(told.contains(answer), "{message}: {told}");
    }
    ann.join("presence-a", "ann");
    let mut other = other;
    let wish = other.wish("presence-a", Some("bob"));
    let full = other.ask(&wish);
    assert!(full.contains("presence_members_max"), "{full}");
    assert!(other.join("presence-a", "ann").contains(r#""count":1"#));
    ann.subscribe("a");
    assert!(ann.ask(&plain("a")).contains("already"));
    ann.subscribe("b");
    assert!(ann.ask(&plain("c")).contains(r#""type":"LimitReached""#));
    ann.is_quiet();
    // Neither is a binary message anything but an event, well or badly made.
    ann.client.send(Message::binary(b"\xff".to_vec())).unwrap();
    assert!(ann.hear().contains("this is no event"));
}

#[test]
fn an_app_that_is_gone_from_the_settings_parts_with_its_clients() {
    let apps = Apps::new("", "");
    let mut ann = apps.connect();
    ann.subscribe("news");
    apps.reload("", "log = \"debug\"");
    ann.is_quiet();
    apps.world.reload("");
    assert_eq!(hear_close(&mut ann.client).0, 4001);
}

#[test]
fn guarded_channels_are_guarded_in_every_dialect() {
    let apps = Apps::new("", "");
    let daemon = apps.daemon();
    for topic in ["private-a", "presence-a", "%23server-to-user-1"] {
        let mut raw = daemon.raw();
        raw.send(common::Raw::request(&format!("/{topic}"), "").as_bytes());
        assert_eq!(raw.read_answer().status, 401, "{topic}");
    }
    let mut client = speaking::connect(daemon);
    for (id, topic) in [
        (2, "private-a"),
        (3, "presence-a"),
        (4, "#server-to-user-1"),
    ] {
        let ask = format!(r#"{{"id":{id},"subscribe":{{"channel":"{topic}"}}}}"#);
        let refused = speaking::ask(&mut client, &ask);
        assert!(refused.contains(r#""code":103"#), "{refused}");
        let ask = format!(r#"{{"id":{id},"presence":{{"channel":"{topic}"}}}}"#);
        let refused = speaking::ask(&mut client, &ask);
        assert!(refused.contains(r#""code":103"#), "{refused}");
    }
    // Centrifugo's clients with a token for the channel stand beside those of the app.
    let mut ann = apps.connect();
    ann.join("presence-a", "ann");
    let bearer = token(r#"{"sub":"eve","subscribe":["presence-a"],"presence":["presence-a"]}"#);
    let mut eve = daemon.connect(&format!("{}?token={bearer}", speaking::PATH));
    let connect = format!(r#"{{"id":1,"connect":{{"token":"{bearer}"}}}}"#);
    assert!(speaking::ask(&mut eve, &connect).contains(r#""connect":"#));
    speaking::subscribe(&mut eve, 2, "presence-a");
    let added = r#"{\"user_id\":\"eve\",\"user_info\":null}"#;
    let added = event("pusher_internal:member_added", "presence-a", added);
    assert_eq!(ann.hear(), added);
    let list = speaking::ask(&mut eve, r#"{"id":3,"presence":{"channel":"presence-a"}}"#);
    assert!(list.contains(r#""user":"ann""#), "{list}");
    let mut bob = apps.connect();
    assert!(bob.join("presence-a", "bob").contains(r#""count":3"#));
    drop(eve);
    assert_eq!(ann.hear(), member("added", "presence-a", "bob"));
    assert_eq!(ann.hear(), member("removed", "presence-a", "eve"));
}
