//! Centrifugo's client protocol, word by word.

use tungstenite::Message;

use crate::common::{self, Client, Daemon};
use crate::tokens::token;

pub(crate) const PATH: &str = "/connection/websocket";

/// What comes next, without who published it.
pub(crate) fn hear(client: &mut Client) -> String {
    let mut heard = common::hear(client);
    while let Some(at) = heard.find(r#","info":{"#) {
        let end = at + heard[at..].find('}').unwrap() + 1;
        heard.replace_range(at..end, "");
    }
    heard
}

pub(crate) fn say(client: &mut Client, line: &str) {
    client.send(Message::text(line)).unwrap();
}

/// Sends commands and returns what comes next.
pub(crate) fn ask(client: &mut Client, line: &str) -> String {
    say(client, line);
    hear(client)
}

/// A client that has said who it is.
pub(crate) fn connect(daemon: &Daemon) -> Client {
    let mut client = daemon.connect(PATH);
    let answer = ask(&mut client, r#"{"id":1,"connect":{"name":"test"}}"#);
    assert!(
        answer.starts_with(r#"{"id":1,"connect":{"client":""#),
        "{answer}"
    );
    assert!(
        answer.contains(r#""ping":"#) && answer.contains(r#""pong":true"#),
        "{answer}"
    );
    client
}

/// Subscribes and returns the topic's epoch.
pub(crate) fn subscribe(client: &mut Client, id: u32, topic: &str) -> String {
    let answer = ask(
        client,
        &format!(r#"{{"id":{id},"subscribe":{{"channel":"{topic}"}}}}"#),
    );
    assert!(
        answer.starts_with(&format!(r#"{{"id":{id},"subscribe":{{"#)),
        "{answer}"
    );
    epoch(&answer)
}

pub(crate) fn epoch(answer: &str) -> String {
    let (_, rest) = answer.split_once(r#""epoch":""#).expect(answer);
    rest.split_once('"').unwrap().0.to_owned()
}

pub(crate) fn push(topic: &str, data: &str, offset: u64) -> String {
    format!(r#"{{"push":{{"channel":"{topic}","pub":{{"data":{data},"offset":{offset}}}}}}}"#)
}

pub(crate) fn recover(id: u32, topic: &str, offset: u64, epoch: &str) -> String {
    format!(
        r#"{{"id":{id},"subscribe":{{"channel":"{topic}","recover":true,"offset":{offset},"epoch":"{epoch}"}}}}"#
    )
}

/// The name that the server has given a client that connects.
pub(crate) fn connect_as(daemon: &Daemon) -> (Client, String) {
    let mut client = daemon.connect(PATH);
    let answer = ask(&mut client, r#"{"id":1,"connect":{}}"#);
    let (_, rest) = answer.split_once(r#""client":""#).unwrap();
    let name = rest.split_once('"').unwrap().0.to_owned();
    (client, name)
}

/// A client that has connected with this token, and the answer.
pub(crate) fn connect_with(daemon: &Daemon, token: &str) -> (Client, String) {
    let mut client = daemon.connect(PATH);
    let line = format!(r#"{{"id":1,"connect":{{"token":"{token}"}}}}"#);
    let answer = ask(&mut client, &line);
    (client, answer)
}

/// A client that has connected with a token of these claims.
#[track_caller]
pub(crate) fn connected(daemon: &Daemon, claims: &str) -> Client {
    let (client, answer) = connect_with(daemon, &token(claims));
    assert!(
        answer.starts_with(r#"{"id":1,"connect":{"client":""#),
        "{answer}"
    );
    client
}

/// It is answered, and hears nothing before that.
#[track_caller]
pub(crate) fn lives(client: &mut Client) {
    let answer = ask(client, r#"{"id":99,"unsubscribe":{"channel":"none"}}"#);
    assert_eq!(answer, r#"{"id":99,"unsubscribe":{}}"#);
}

/// Calls the server API, which answers so.
#[track_caller]
pub(crate) fn call(daemon: &Daemon, method: &str, body: &str) -> String {
    let (status, answer) = daemon.ask_with(&format!("POST /api/{method}"), body.as_bytes());
    assert_eq!(status, "HTTP/1.1 200 OK", "{answer}");
    answer
}

/// The same where there is nothing to tell.
#[track_caller]
pub(crate) fn order(daemon: &Daemon, method: &str, body: &str) {
    assert_eq!(call(daemon, method, body), r#"{"result":{}}"#, "{body}");
}
