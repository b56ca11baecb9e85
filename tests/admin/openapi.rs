//! `docs/openapi.json` against the running daemon: each path and answer that it names is asked
//! for, and has the shape that it says.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;
use simd_json::OwnedValue as Value;
use simd_json::prelude::*;

use crate::apps::{App, signed};
use crate::client::{Answer, Daemon};
use crate::tokens::{SECRET, token};

const NDJSON: &str = "Content-Type: application/x-ndjson";

/// The description, and what has been seen of it.
struct Description {
    whole: Value,
    seen: BTreeSet<String>,
}

impl Description {
    fn read() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
        let mut bytes = fs::read(path).unwrap();
        Description {
            whole: simd_json::to_owned_value(&mut bytes).unwrap(),
            seen: BTreeSet::new(),
        }
    }

    /// Follows a reference, if it is one.
    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        let Some(reference) = value.get_str("$ref") else {
            return value;
        };
        let parts = reference.strip_prefix("#/").unwrap().split('/');
        self.resolve(parts.fold(&self.whole, |value, part| &value[part]))
    }

    /// Everything that it names: `METHOD PATH STATUS TYPE`.
    fn named(&self) -> BTreeSet<String> {
        let mut named = BTreeSet::new();
        for (path, methods) in self.whole["paths"].as_object().unwrap().iter() {
            for (method, operation) in methods.as_object().unwrap().iter() {
                for (status, answer) in operation["responses"].as_object().unwrap().iter() {
                    let answer = self.resolve(answer);
                    for (kind, _) in answer["content"].as_object().unwrap().iter() {
                        named.insert(format!("{method} {path} {status} {kind}"));
                    }
                }
            }
        }
        named
    }

    /// Sees whether an answer to `method path`, the latter as it is described, is as it says.
    #[track_caller]
    fn check(&mut self, method: &str, path: &str, answer: &Answer) {
        let kind = answer.field("content-type").unwrap();
        let status = answer.status.to_string();
        let place = format!("{method} {path} {status} {kind}");
        let operation = &self.whole["paths"][path][method];
        let described = self.resolve(&operation["responses"][status.as_str()]);
        let schema = &described["content"][kind]["schema"];
        match kind {
            "application/json" => {
                if let Err(wrong) = self.fits(schema, &answer.json()) {
                    panic!("{place}: {wrong} in {answer:?}");
                }
            }
            "application/x-ndjson" => {
                for line in answer.body.lines() {
                    let mut bytes = line.as_bytes().to_vec();
                    let line = simd_json::to_owned_value(&mut bytes).unwrap();
                    if let Err(wrong) = self.fits(schema, &line) {
                        panic!("{place}: {wrong} in {answer:?}");
                    }
                }
            }
            _ => assert_eq!(schema.get_str("type"), Some("string"), "{place}"),
        }
        if answer.status == 503 && path != "/readyz" {
            assert!(answer.field("retry-after").is_some(), "{answer:?}");
        }
        self.seen.insert(place);
    }

    /// Whether a value is as a schema says; of JSON Schema what the file uses.
    fn fits(&self, schema: &Value, value: &Value) -> Result<(), String> {
        let schema = self.resolve(schema);
        if let Some(options) = schema.get_array("oneOf") {
            let fitting = options.iter().filter(|one| self.fits(one, value).is_ok());
            return match fitting.count() {
                1 => Ok(()),
                count => Err(format!("{value} fits {count} of oneOf")),
            };
        }
        let kinds: Vec<&str> = match schema.get("type") {
            None => Vec::new(),
            Some(Value::Array(kinds)) => kinds.iter().map(|kind| kind.as_str().unwrap()).collect(),
            Some(kind) => vec![kind.as_str().unwrap()],
        };
        let is = |kind: &&str| match *kind {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_str(),
            "integer" => value.is_u64() || value.is_i64(),
            "number" => value.is_number(),
            "null" => value.is_null(),
            "boolean" => value.is_bool(),
            other => panic!("{other} is no type"),
        };
        if !kinds.is_empty() && !kinds.iter().any(is) {
            return Err(format!("{value} is none of {kinds:?}"));
        }
        if schema.get_str("pattern") == Some("^[0-9a-f]{16}$") {
            let text = value.as_str().unwrap();
            let hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
            if text.len() != 16 || !hex {
                return Err(format!("{text} is no epoch"));
            }
        }
        if let (Some(items), Some(values)) = (schema.get("items"), value.as_array()) {
            for value in values {
                self.fits(items, value)?;
            }
        }
        let Some(members) = value.as_object() else {
            return Ok(());
        };
        for name in schema.get_array("required").into_iter().flatten() {
            let name = name.as_str().unwrap();
            if !members.contains_key(name) {
                return Err(format!("{value} has no {name}"));
            }
        }
        for (name, member) in members.iter() {
            let known = schema
                .get("properties")
                .and_then(|all| all.get(name.as_str()));
            match (known, schema.get("additionalProperties")) {
                (Some(known), _) => self.fits(known, member)?,
                (None, None) => {}
                (None, Some(more)) if more.is_bool() => {
                    if more.as_bool() == Some(false) {
                        return Err(format!("{name} is not described"));
                    }
                }
                (None, Some(more)) => self.fits(more, member)?,
            }
        }
        Ok(())
    }
}

/// Calls of Centrifugo's API that bring an answer with all that it may have.
const CALLS: [(&str, &str); 13] = [
    (
        "publish",
        r#"{"channel":"a","data":1,"tags":{"k":"v"},"idempotency_key":"k"}"#,
    ),
    ("broadcast", r#"{"channels":["a",""],"data":1}"#),
    ("subscribe", r#"{"channel":"a","user":"u"}"#),
    ("unsubscribe", r#"{"channel":"a","user":"u"}"#),
    ("disconnect", r#"{"user":"u"}"#),
    ("refresh", r#"{"user":"u"}"#),
    ("history", r#"{"channel":"a","limit":-1}"#),
    ("presence", r#"{"channel":"seen"}"#),
    ("presence_stats", r#"{"channel":"seen"}"#),
    ("channels", "{}"),
    ("info", "{}"),
    ("history_remove", r#"{"channel":"a"}"#),
    ("batch", r#"{"commands":[{"info":{}},{"none":{}}]}"#),
];

#[test]
fn each_answer_that_is_described_is_given_and_has_that_shape() {
    let mut described = Description::read();
    let folder = tempfile::tempdir().unwrap();
    let (key, secret) = (folder.path().join("key"), folder.path().join("secret"));
    fs::write(&key, "k3y").unwrap();
    fs::write(&secret, SECRET).unwrap();
    let keys = format!("HS256:{}", secret.display());
    let guarded = Daemon::start(&[
        "--api-key-file",
        key.to_str().unwrap(),
        "--token-keys",
        &keys,
        "--message-bytes-max",
        "1KiB",
        "--presence",
        "on",
        "--batch-lines-max",
        "2",
        "--lag-bytes-max",
        "16KiB",
        "--anonymous",
        "match = \"**\", presence = true",
    ]);
    let with = "X-API-Key: k3y";
    let user = format!(
        "Authorization: Bearer {}",
        token(r#"{"sub":"u","publish":[]}"#)
    );
    let (_subscriber, _) = guarded.subscribe("a");
    let url = format!("ws://{}/connection/websocket", guarded.public);
    let (mut session, _) = tungstenite::connect(url).unwrap();
    for line in [
        r#"{"id":1,"connect":{}}"#,
        r#"{"id":2,"subscribe":{"channel":"seen"}}"#,
    ] {
        session.send(tungstenite::Message::text(line)).unwrap();
        crate::client::next(&mut session);
    }
    let mut ask =
        |daemon: &Daemon, method: &str, path: &str, target: &str, fields: &[&str], body: &[u8]| {
            let request = format!("{} {target}", method.to_ascii_uppercase());
            let answer = daemon.ask(&request, fields, body);
            described.check(method, path, &answer);
            answer.status
        };
    // What there is.
    for path in ["/healthz", "/readyz"] {
        ask(&guarded, "get", path, path, &[], b"");
    }
    for path in ["/openapi.json", "/connections", "/topics"] {
        assert_eq!(ask(&guarded, "get", path, path, &[with], b""), 200);
        assert_eq!(ask(&guarded, "get", path, path, &[], b""), 401);
    }
    ask(&guarded, "get", "/topics", "/topics?limit=0", &[with], b"");
    for (target, field, status) in [
        ("/topics/a", with, 200),
        ("/topics/%zz", with, 400),
        ("/topics/none", with, 404),
        ("/topics/a", "X: y", 401),
    ] {
        assert_eq!(
            ask(&guarded, "get", "/topics/{topic}", target, &[field], b""),
            status
        );
    }
    // What is kept on disk.
    let store = folder.path().join("store").display().to_string();
    let kept = Daemon::start(&["--store", &store, "--keep", "disk"]);
    for (path, target) in [
        ("/topics/{topic}/messages", "/topics/a/messages?"),
        ("/messages", "/messages?topic=a&"),
    ] {
        let mut post = |within_ms: u32, body: &[u8]| {
            let target = format!("{target}ack=stored&within_ms={within_ms}");
            ask(&kept, "post", path, &target, &[], body)
        };
        assert_eq!(post(30_000, b"x"), 200);
        // It may be stored in time by chance.
        let long = vec![b'x'; 1 << 20];
        assert!((0..1000).any(|_| post(1, &long) == 202), "{path}");
    }
    // Publishing, by either path.
    let full = Daemon::start(&["--topics-max", "1"]);
    let (_reader, _) = full.subscribe("first");
    for (path, of_a, of_second) in [
        (
            "/topics/{topic}/messages",
            "/topics/a/messages",
            "/topics/second/messages",
        ),
        ("/messages", "/messages?topic=a", "/messages?topic=second"),
    ] {
        let sign = if of_a.contains('?') { '&' } else { '?' };
        let acked = format!("{of_a}{sign}ack=delivered");
        let gzip = "Content-Encoding: gzip";
        let named = "Idempotency-Key: n";
        let long = [b'x'; 2000];
        let mut post = |target: &str, fields: &[&str], body: &[u8]| {
            ask(&guarded, "post", path, target, fields, body)
        };
        assert_eq!(post(of_a, &[with], b"x"), 200);
        assert_eq!(post(&acked, &[with], b"x"), 200);
        assert_eq!(post(of_a, &[with], b""), 400);
        assert_eq!(post(of_a, &[], b"x"), 401);
        assert_eq!(post(of_a, &[&user], b"x"), 403);
        assert_eq!(post(of_a, &[with], &long), 413);
        assert_eq!(post(of_a, &[with, gzip], b"x"), 415);
        let first = format!("{named}{sign}");
        assert_eq!(post(of_a, &[with, &first], b"x"), 200);
        assert_eq!(post(of_a, &[with, &first], b"y"), 422);
        assert_eq!(ask(&full, "post", path, of_second, &[], b"x"), 503);
    }
    for (lines, status) in [
        (&b"{\"topic\":\"a\",\"data\":1}\n{}"[..], 200),
        (b"\n\n\n", 413),
    ] {
        let path = "/messages";
        let fields = [with, NDJSON];
        assert_eq!(ask(&guarded, "post", path, path, &fields, lines), status);
    }
    // Centrifugo's.
    for (name, body) in CALLS {
        let path = format!("/api/{name}");
        assert_eq!(
            ask(&guarded, "post", &path, &path, &[with], body.as_bytes()),
            200
        );
        assert_eq!(ask(&guarded, "post", &path, &path, &[with], b"[]"), 400);
        assert_eq!(ask(&guarded, "post", &path, &path, &[], b"{}"), 401);
        let long = [b' '; 3000];
        assert_eq!(ask(&guarded, "post", &path, &path, &[with], &long), 413);
    }
    of_apps(&mut ask);
    // While it stops, for as long as somebody does not take the goodbye.
    let stopping = Daemon::start(&["--drain-ms-max", "600000"]);
    let (_silent, _) = stopping.subscribe("a");
    stopping.signal(Signal::SIGTERM);
    while ask(&stopping, "get", "/readyz", "/readyz", &[], b"") != 503 {
        std::thread::yield_now();
    }
    under_way(&mut described);
    // Only a cluster that does not answer brings 504: `daemon::clustered` has one.
    let mut named = described.named();
    named.retain(|place| !place.contains(" 504 "));
    let missing: Vec<_> = named.difference(&described.seen).collect();
    assert!(missing.is_empty(), "never asked for: {missing:?}");
    let unnamed: Vec<_> = described.seen.difference(&named).collect();
    assert!(unnamed.is_empty(), "not described: {unnamed:?}");
}

/// What servers of apps ask.
fn of_apps(ask: &mut impl FnMut(&Daemon, &str, &str, &str, &[&str], &[u8]) -> u16) {
    let app = App::start(
        "",
        &["--message-bytes-max", "1KiB", "--lag-bytes-max", "16KiB"],
    );
    let full = App::start("", &["--topics-max", "1"]);
    let (_reader, _) = full.daemon.subscribe("first");
    let event = r#"{"name":"a","data":"","channel":"presence-a","info":"user_count"}"#;
    let batch = format!(r#"{{"batch":[{event}]}}"#);
    let long = format!("{{{}}}", " ".repeat(1 << 20));
    let spoilt = "/apps/1/channels?a=%ff";
    let answered = ask(&app.daemon, "get", "/apps/{app}/channels", spoilt, &[], b"");
    assert_eq!(answered, 400);
    let mut both = |app: &App, method: &str, path: &str, target: &str, body: &str, status: u16| {
        let of = |target: &str| {
            let signed = signed(&method.to_ascii_uppercase(), target, &[], body);
            signed.split_once(' ').unwrap().1.to_owned()
        };
        let mut asked = |target: &str| ask(&app.daemon, method, path, target, &[], body.as_bytes());
        assert_eq!(asked(&of(target)), status);
        if status == 200 {
            assert_eq!(asked(target), 401);
            assert_eq!(asked(&of(&target.replace("/1/", "/2/"))), 404);
        }
    };
    for (part, right) in [("events", event), ("batch_events", &batch)] {
        let path = format!("/apps/{{app}}/{part}");
        let target = format!("/apps/1/{part}");
        both(&app, "post", &path, &target, right, 200);
        both(&app, "post", &path, &target, "{}", 400);
        both(&app, "post", &path, &target, &long, 413);
        both(&full, "post", &path, &target, right, 503);
    }
    for (part, right, wrong) in [
        ("channels", "channels", None),
        ("channels/{channel}", "channels/a", Some("channels/a%20b")),
        (
            "channels/{channel}/users",
            "channels/presence-a/users",
            Some("channels/a/users"),
        ),
    ] {
        let path = format!("/apps/{{app}}/{part}");
        both(&app, "get", &path, &format!("/apps/1/{right}"), "", 200);
        if let Some(wrong) = wrong {
            both(&app, "get", &path, &format!("/apps/1/{wrong}"), "", 400);
        }
    }
    let path = "/apps/{app}/users/{user}/terminate_connections";
    let of = |user: &str| format!("/apps/1/users/{user}/terminate_connections");
    both(&app, "post", path, &of("ann"), "{}", 200);
    both(&app, "post", path, &of("a%0Ab"), "{}", 400);
    both(&app, "post", path, &of("ann"), &long, 413);
}

/// A request whose name is that of one which is still being carried out.
fn under_way(described: &mut Description) {
    use std::io::Write;
    let daemon = Daemon::start(&["--lag-bytes-max", "14MiB"]);
    let _still = crate::acks::still(&daemon);
    for _ in 0..8 {
        assert_eq!(daemon.post("t", &[b'x'; 1 << 20]).status, 200);
    }
    for (number, (path, target)) in [
        ("/topics/{topic}/messages", "/topics/t/messages?"),
        ("/messages", "/messages?topic=t&"),
    ]
    .into_iter()
    .enumerate()
    {
        let target = format!("{target}ack=delivered&within_ms=30000");
        let mut first = daemon.connect();
        let head = format!(
            "POST {target} HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: {number}\r\n\
             Content-Length: 1\r\n\r\nx"
        );
        first.write_all(head.as_bytes()).unwrap();
        let offset = Some(9 + number as u64);
        while daemon.get("/topics/t").json().get_u64("offset") != offset {
            std::thread::yield_now();
        }
        let key = format!("Idempotency-Key: {number}");
        let answer = daemon.ask(&format!("POST {target}"), &[&key], b"x");
        assert_eq!(answer.status, 409, "{answer:?}");
        described.check("post", path, &answer);
    }
}
