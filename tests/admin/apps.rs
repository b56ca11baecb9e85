//! The HTTP API of the Pusher Channels protocol, as the servers of apps ask.

use std::fs;
use std::net::TcpStream;
use std::time::{SystemTime, UNIX_EPOCH};

use md5::{Digest, Md5};
use ring::hmac;
use simd_json::prelude::*;
use tempfile::TempDir;
use tungstenite::Message;
use tungstenite::stream::MaybeTlsStream;

use crate::client::{Admin, Answer, Daemon, PATIENCE, Subscriber, next};

pub(crate) const SECRET: &str = "app secret";

/// A daemon with an app.
pub(crate) struct App {
    pub(crate) daemon: Daemon,
    _secret: TempDir,
}

/// A client, and the id that it was told.
pub(crate) struct Client {
    pub(crate) socket: Subscriber,
    pub(crate) id: String,
    /// What was heard of other channels meanwhile.
    aside: Vec<String>,
}

impl App {
    pub(crate) fn start(of_app: &str, options: &[&str]) -> App {
        let secret = tempfile::tempdir().unwrap();
        let path = secret.path().join("secret");
        fs::write(&path, SECRET).unwrap();
        let path = path.display();
        let table = format!("id = \"1\", key = \"key\", secret_files = \"{path}\"{of_app}");
        let mut options = options.to_vec();
        options.extend(["--apps", &table]);
        App {
            daemon: Daemon::start(&options),
            _secret: secret,
        }
    }

    pub(crate) fn connect(&self) -> Client {
        self.connect_to("key")
    }

    pub(crate) fn connect_to(&self, key: &str) -> Client {
        let stream = TcpStream::connect(&self.daemon.public).unwrap();
        self.connect_over(stream, key)
    }

    pub(crate) fn connect_over(&self, stream: TcpStream, key: &str) -> Client {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let url = format!("ws://{}/app/{key}?protocol=7", self.daemon.public);
        let (mut socket, _) = tungstenite::client(url, MaybeTlsStream::Plain(stream)).unwrap();
        let told = next(&mut socket).into_text().unwrap().to_string();
        let (_, rest) = told.split_once(r#"\"socket_id\":\""#).expect(&told);
        let (id, _) = rest.split_once('\\').unwrap();
        let id = id.to_owned();
        Client {
            socket,
            id,
            aside: Vec::new(),
        }
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> Answer {
        self.daemon
            .ask(&signed("POST", path, &[], body), &[], body.as_bytes())
    }

    fn get(&self, path: &str, query: &[(&str, &str)]) -> Answer {
        self.daemon.ask(&signed("GET", path, query, ""), &[], b"")
    }

    #[track_caller]
    pub(crate) fn publish(&self, body: &str) {
        let answer = self.post("/apps/1/events", body);
        assert_eq!((answer.status, &*answer.body), (200, "{}\n"));
    }
}

impl Client {
    fn ask(&mut self, message: &str) -> String {
        self.socket.send(Message::text(message)).unwrap();
        self.hear()
    }

    fn hear(&mut self) -> String {
        next(&mut self.socket).into_text().unwrap().to_string()
    }

    pub(crate) fn subscribe(&mut self, channel: &str) {
        let wish = format!(r#"{{"event":"pusher:subscribe","data":{{"channel":"{channel}"}}}}"#);
        let told = self.ask(&wish);
        assert!(told.contains("subscription_succeeded"), "{told}");
    }

    /// Joins a presence channel as a user.
    fn join(&mut self, channel: &str, user: &str) {
        let data = format!(r#"{{"user_id":"{user}"}}"#);
        let auth = sign(&format!("{}:{channel}:{data}", self.id));
        let data = data.replace('"', "\\\"");
        let told = self.ask(&format!(
            r#"{{"event":"pusher:subscribe","data":{{"channel":"{channel}","auth":"key:{auth}","channel_data":"{data}"}}}}"#
        ));
        assert!(told.contains("subscription_succeeded"), "{told}");
    }

    pub(crate) fn sign_in(&mut self, user: &str) {
        self.sign_in_to("key", user);
    }

    pub(crate) fn sign_in_to(&mut self, key: &str, user: &str) {
        let data = format!(r#"{{"id":"{user}"}}"#);
        let auth = sign(&format!("{}::user::{data}", self.id));
        let data = data.replace('"', "\\\"");
        let told = self.ask(&format!(
            r#"{{"event":"pusher:signin","data":{{"auth":"{key}:{auth}","user_data":"{data}"}}}}"#
        ));
        assert!(told.contains("pusher:signin_success"), "{told}");
        // As the official client does by itself.
        self.subscribe(&format!("#server-to-user-{user}"));
    }
}

fn sign(message: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    hex(hmac::sign(&key, message.as_bytes()).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A method and a target whose query is signed now.
pub(crate) fn signed(method: &str, path: &str, query: &[(&str, &str)], body: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    signed_at(now.as_secs(), method, path, query, body)
}

fn signed_at(now_s: u64, method: &str, path: &str, query: &[(&str, &str)], body: &str) -> String {
    let digest = hex(&Md5::digest(body.as_bytes()));
    let now_s = now_s.to_string();
    let mut pairs = vec![
        ("auth_key", "key"),
        ("auth_timestamp", &*now_s),
        ("auth_version", "1.0"),
    ];
    if !body.is_empty() {
        pairs.push(("body_md5", &digest));
    }
    pairs.extend(query);
    pairs.sort();
    let pairs: Vec<_> = pairs
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let query = pairs.join("&");
    let signature = sign(&format!("{method}\n{path}\n{query}"));
    format!("{method} {path}?{query}&auth_signature={signature}")
}

fn event(name: &str, channel: &str, data: &str) -> String {
    format!(r#"{{"event":"{name}","channel":"{channel}","data":"{data}"}}"#)
}

#[test]
fn an_event_is_heard_by_all_in_its_channels_whatever_they_speak() {
    let app = App::start("", &[]);
    let (mut raw, _) = app.daemon.subscribe("news");
    let mut clients = [app.connect(), app.connect()];
    clients[0].subscribe("news");
    clients[1].subscribe("sport");
    app.publish(r#"{"name":"goal","data":"{\"by\":\"ann\"}","channels":["news","sport","empty"]}"#);
    assert_eq!(next(&mut raw), Message::text(r#"{"by":"ann"}"#));
    let data = r#"{\"by\":\"ann\"}"#;
    assert_eq!(clients[0].hear(), event("goal", "news", data));
    assert_eq!(clients[1].hear(), event("goal", "sport", data));
    let batch = r#"{"batch":[{"name":"a","data":"1","channel":"news"},
        {"name":"b","data":"2","channel":"sport","info":"subscription_count"}]}"#;
    let answer = app.post("/apps/1/batch_events", batch);
    assert_eq!(answer.body, "{\"batch\":[{},{\"subscription_count\":1}]}\n");
    assert_eq!(clients[0].hear(), event("a", "news", "1"));
    assert_eq!(clients[1].hear(), event("b", "sport", "2"));
    // A batch in which nothing is asked is answered as one event.
    let batch = r#"{"batch":[{"name":"a","data":"1","channel":"news"}]}"#;
    assert_eq!(app.post("/apps/1/batch_events", batch).body, "{}\n");
}

#[test]
fn the_connection_that_an_event_came_from_does_not_hear_it_on_whichever_core_it_is() {
    let app = App::start("", &[]);
    let mut clients: Vec<Client> = (0..6).map(|_| app.connect()).collect();
    for client in &mut clients {
        client.subscribe("room");
        client.subscribe("other");
    }
    let ids: Vec<String> = clients.iter().map(|client| client.id.clone()).collect();
    for round in 0..20 {
        for (by, id) in ids.iter().enumerate() {
            app.publish(&format!(
                r#"{{"name":"said","data":"{round} {by}","channels":["room","other"],"socket_id":"{id}"}}"#
            ));
        }
    }
    // One that is nobody's is everybody's.
    app.publish(r#"{"name":"end","data":"","channels":["room","other"],"socket_id":"1.2"}"#);
    for (own, client) in clients.iter_mut().enumerate() {
        for channel in ["room", "other"] {
            let mut wanted: Vec<String> = Vec::new();
            for round in 0..20 {
                let others = (0..6).filter(|by| *by != own);
                wanted.extend(others.map(|by| event("said", channel, &format!("{round} {by}"))));
            }
            wanted.push(event("end", channel, ""));
            client.expect(channel, wanted);
        }
    }
}

impl Client {
    /// Hears these in their order in a channel, and others in between.
    fn expect(&mut self, channel: &str, wanted: Vec<String>) {
        let of_channel = format!("\"channel\":\"{channel}\"");
        for wanted in wanted {
            let at = self
                .aside
                .iter()
                .position(|told| told.contains(&of_channel));
            let told = match at {
                Some(at) => self.aside.remove(at),
                None => loop {
                    let told = self.hear();
                    if told.contains(&of_channel) {
                        break told;
                    }
                    self.aside.push(told);
                },
            };
            assert_eq!(told, wanted);
        }
    }
}

#[test]
fn servers_reach_a_user_by_id_and_end_the_users_connections() {
    let app = App::start(", prefix = \"a/\"", &[]);
    let mut ann = [app.connect(), app.connect()];
    ann.iter_mut().for_each(|client| client.sign_in("ann"));
    let mut bob = app.connect();
    bob.sign_in("bob");
    app.publish(r##"{"name":"hi","data":"x","channels":["#server-to-user-ann"]}"##);
    for client in &mut ann {
        assert_eq!(client.hear(), event("hi", "#server-to-user-ann", "x"));
    }
    let path = "/apps/1/users/ann/terminate_connections";
    let answer = app.post(path, "{}");
    assert_eq!((answer.status, &*answer.body), (200, "{}\n"));
    for client in &mut ann {
        let Message::Close(Some(frame)) = next(&mut client.socket) else {
            panic!("it goes on");
        };
        assert_eq!(u16::from(frame.code), 4009);
    }
    app.publish(r##"{"name":"hi","data":"y","channels":["#server-to-user-bob"]}"##);
    assert_eq!(bob.hear(), event("hi", "#server-to-user-bob", "y"));
    // Who has no connection has none to lose.
    assert_eq!(
        app.post("/apps/1/users/a%20b/terminate_connections", "{}")
            .status,
        200
    );
}

#[test]
fn channels_and_who_is_in_them_are_told() {
    let app = App::start(", prefix = \"a/\"", &["--anonymous", "match = \"**\""]);
    let (_other, _) = app.daemon.subscribe("elsewhere");
    let (_strange, _) = app.daemon.subscribe("a/no%20channel");
    let mut clients: Vec<Client> = (0..4).map(|_| app.connect()).collect();
    clients[0].subscribe("news");
    clients[1].subscribe("news");
    clients[1].join("presence-room", "ann");
    clients[2].join("presence-room", "ann");
    clients[3].join("presence-room", "bob");
    let body = |answer: Answer| {
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    };
    let all = body(app.get("/apps/1/channels", &[]));
    assert_eq!(all, "{\"channels\":{\"news\":{},\"presence-room\":{}}}\n");
    let presence = [
        ("filter_by_prefix", "presence-"),
        ("info", "user_count,subscription_count"),
    ];
    assert_eq!(
        body(app.get("/apps/1/channels", &presence)),
        "{\"channels\":{\"presence-room\":{\"subscription_count\":3,\"user_count\":2}}}\n"
    );
    assert_eq!(
        body(app.get("/apps/1/channels/news", &[("info", "subscription_count")])),
        "{\"occupied\":true,\"subscription_count\":2}\n"
    );
    assert_eq!(
        body(app.get("/apps/1/channels/presence-room", &[("info", "user_count")])),
        "{\"occupied\":true,\"user_count\":2}\n"
    );
    assert_eq!(
        body(app.get("/apps/1/channels/none", &[])),
        "{\"occupied\":false}\n"
    );
    assert_eq!(
        body(app.get("/apps/1/channels/presence-room/users", &[])),
        "{\"users\":[{\"id\":\"ann\"},{\"id\":\"bob\"}]}\n"
    );
    assert_eq!(
        body(app.get("/apps/1/channels/presence-none/users", &[])),
        "{\"users\":[]}\n"
    );
    let asked = r#"{"name":"a","data":"","channels":["news","presence-room"],
        "info":"user_count,subscription_count"}"#;
    assert_eq!(
        body(app.post("/apps/1/events", asked)),
        "{\"channels\":{\"news\":{\"subscription_count\":2},\
         \"presence-room\":{\"subscription_count\":3,\"user_count\":2}}}\n"
    );
}

#[test]
fn each_request_that_is_not_right_is_answered_with_why() {
    let app = App::start(", event_bytes_max = 8", &[]);
    let good = r#"{"name":"a","data":"","channel":"c"}"#;
    let post = |target: &str, body: &str| app.daemon.ask(target, &[], body.as_bytes());
    let events = "/apps/1/events";
    let right = signed("POST", events, &[], good);
    assert_eq!(post(&right, good).status, 200);
    let other = "/apps/2/events";
    let old = signed_at(1000, "POST", events, &[], good);
    let spoilt = |from: &str, to: &str| right.replace(from, to);
    for (target, body, status, told) in [
        (
            "POST /apps/1/events".to_owned(),
            good,
            401,
            "lacks auth_signature",
        ),
        (
            spoilt("auth_key=key", "auth_key=kay"),
            good,
            401,
            "auth_key is not",
        ),
        (
            spoilt("auth_version=1.0", "auth_version=2"),
            good,
            401,
            "must be 1.0",
        ),
        (
            spoilt("auth_signature=", "auth_signature=0"),
            good,
            401,
            "does not fit",
        ),
        (spoilt("?", "?auth_key=key&"), good, 400, "auth_key twice"),
        (old, good, 401, "600 seconds"),
        (right.clone(), "{}", 401, "body_md5 is not"),
        (
            signed("POST", other, &[], good),
            good,
            404,
            "no app with this id",
        ),
        (
            signed("GET", events, &[], good),
            good,
            405,
            "does not apply",
        ),
        (
            signed("POST", "/apps/1/none", &[], good),
            good,
            404,
            "nothing at this path",
        ),
    ] {
        let answer = post(&target, body);
        assert_eq!(answer.status, status, "{target} {answer:?}");
        assert!(answer.body.contains(told), "{answer:?}");
    }
    for (body, status, told) in [
        ("x", 400, "not the JSON"),
        (
            r#"{"name":"a","data":"123456789","channel":"c"}"#,
            413,
            "at most 8 bytes",
        ),
        (
            r#"{"name":"a","data":"","channel":"c/d"}"#,
            400,
            "letters, digits",
        ),
        (
            r#"{"name":"pusher:a","data":"","channel":"c"}"#,
            400,
            "must not begin",
        ),
        (
            r#"{"name":"a","data":"","channel":"c","socket_id":"x"}"#,
            400,
            "socket_id",
        ),
        (
            &format!(r#"{{"name":"a","data":"{}"}}"#, "x".repeat(1 << 17)),
            413,
            "body of such",
        ),
    ] {
        let answer = app.post(events, body);
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(answer.body.contains(told), "{answer:?}");
    }
    assert_eq!(
        app.post("/apps/1/batch_events", r#"{"batch":[]}"#).status,
        400
    );
    for (path, query, told) in [
        (
            "/apps/1/channels",
            ("info", "user_count"),
            "filter_by_prefix=presence-",
        ),
        ("/apps/1/channels", ("info", "cache"), "info must be"),
        (
            "/apps/1/channels/news",
            ("info", "user_count"),
            "presence channels",
        ),
        ("/apps/1/channels/a%20b", ("info", ""), "letters, digits"),
        (
            "/apps/1/channels/news/users",
            ("info", ""),
            "presence channels",
        ),
    ] {
        let answer = app.get(path, &[query]);
        assert_eq!(answer.status, 400, "{answer:?}");
        assert!(answer.body.contains(told), "{answer:?}");
    }
    let long = format!("/apps/1/users/{}/terminate_connections", "x".repeat(201));
    assert_eq!(app.post(&long, "{}").status, 400);
}

#[test]
fn the_public_port_serves_apps_where_it_has_the_role_and_needs_no_other_key() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    fs::write(&key, "k3y").unwrap();
    let options = [
        "--api",
        "127.0.0.1:0",
        "--api-key-file",
        key.to_str().unwrap(),
    ];
    let app = App::start("", &options);
    let public = Admin::Tcp(app.daemon.public.clone());
    let mut client = app.connect();
    client.subscribe("news");
    let body = r#"{"name":"a","data":"1","channel":"news"}"#;
    let target = signed("POST", "/apps/1/events", &[], body);
    assert_eq!(public.ask(&target, &[], body.as_bytes()).status, 200);
    assert_eq!(client.hear(), event("a", "news", "1"));
    assert_eq!(
        public
            .ask("GET /apps/1/channels", &["X-API-Key: k3y"], b"")
            .status,
        401
    );
    // An app's signature is no key to anything else.
    let elsewhere = signed("GET", "/topics", &[], "");
    assert_eq!(public.ask(&elsewhere, &[], b"").status, 401);
    assert!(
        app.get("/apps/1/channels", &[])
            .json()
            .get("channels")
            .is_some()
    );
}
