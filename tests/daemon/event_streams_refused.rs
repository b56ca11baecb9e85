//! Who may have a stream of events, and what a request for one is refused with.

use crate::common::{Daemon, Raw, eventually};
use crate::event_source::{EventSource, refusal, request};
use crate::tokens::token;
use crate::world::World;

const ID: &str = "00000000000000ab-7";

#[test]
fn a_request_that_cannot_be_served_is_told_why() {
    let daemon = Daemon::start(&["--topics-per-connection-max", "2"]);
    let (id, twice) = (
        format!("Last-Event-ID: {ID}\r\n"),
        format!("Last-Event-ID: {ID}\r\nLast-Event-ID: {ID}\r\n"),
    );
    for (path, lines, status, reason) in [
        ("/a", "Last-Event-ID: 7\r\n", 400, "last_event_id"),
        ("/a", &twice, 400, "last_event_id"),
        ("/a?lastEventId=x", "", 400, "last_event_id"),
        ("/events?topic=a&topic=b", &id, 400, "last_event_id"),
        ("/a?since=x", "", 400, "event_query"),
        ("/a?epoch=ab", "", 400, "event_query"),
        ("/a?echo=true", "", 400, "query_key"),
        ("/events?since=1&topic=a", "", 400, "query_key"),
        ("/a?topic=b", "", 400, "topic_twice"),
        ("/a%00", "", 400, "topic"),
        ("/events?topic=%ff", "", 400, "topic"),
        ("/api", "", 404, "reserved"),
        ("/events?topic=api%2Fx", "", 404, "reserved"),
        ("/events", "", 400, "event_topics"),
        ("/events?topic=a&topic=a", "", 400, "event_topics"),
        ("/events?topic=a&topic=b&topic=c", "", 400, "event_topics"),
        ("/a", "Origin: https://elsewhere.example\r\n", 403, "origin"),
        ("/a", "Content-Length: 1\r\n", 400, "body"),
        ("/a?token=x", "", 401, "token_no_keys"),
        (
            "/a?token=x",
            "Authorization: Bearer x\r\n",
            400,
            "token_twice",
        ),
    ] {
        let before = daemon.counter("fanfare_rejects_total", reason);
        let (told, words) = refusal(&daemon, path, lines);
        assert_eq!(told, status, "{path}: {words}");
        assert!(words.len() > 10 && words.ends_with('\n'), "{words}");
        eventually("it is counted", || {
            daemon.counter("fanfare_rejects_total", reason) == before + 1
        });
    }
    let mut raw = daemon.raw();
    raw.send(b"GET /a HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n");
    let answer = raw.read_answer();
    assert_eq!(answer.status, 426);
    assert!(
        String::from_utf8(answer.body)
            .unwrap()
            .contains("Accept: text/event-stream")
    );
}

#[test]
fn switched_off_there_are_none() {
    let daemon = Daemon::start(&["--event-streams", "off"]);
    let (status, words) = refusal(&daemon, "/a", "");
    assert_eq!(status, 426);
    assert!(!words.contains("event-stream"), "{words}");
    assert_eq!(refusal(&daemon, "/events?topic=a", "").0, 426);
}

#[test]
fn pages_of_allowed_origins_may_read_streams() {
    let options = ["--origins", "same-host,https://page.example", "--anonymous"];
    let rule = r#"match = "**""#;
    let daemon = Daemon::start(&[&options[..], &[rule]].concat());
    let lines = "Origin: https://page.example\r\n";
    let source = EventSource::open_with(&daemon, "/a", lines);
    let header = |name| source.head.header(name);
    assert_eq!(
        header("Access-Control-Allow-Origin"),
        Some("https://page.example")
    );
    assert_eq!(header("Vary"), Some("Origin"));
    assert_eq!(header("Access-Control-Allow-Credentials"), None);
    assert!(
        header("Access-Control-Expose-Headers")
            .unwrap()
            .contains("Fanfare-Next")
    );
    assert_eq!(
        refusal(&daemon, "/a", "Origin: https://other.example\r\n").0,
        403
    );
    let preflight = |origin: &str| {
        let mut raw = daemon.raw();
        let text = format!(
            "OPTIONS /a HTTP/1.1\r\nHost: localhost\r\nOrigin: {origin}\r\n\
             Access-Control-Request-Method: GET\r\n\
             Access-Control-Request-Headers: authorization,last-event-id\r\n\r\n"
        );
        raw.send(text.as_bytes());
        raw.read_answer()
    };
    let answer = preflight("https://page.example");
    let allowed = answer.header("Access-Control-Allow-Headers").unwrap();
    assert!(allowed.contains("authorization") && allowed.contains("last-event-id"));
    let origin = answer.header("Access-Control-Allow-Origin");
    assert_eq!((answer.status, origin), (200, Some("https://page.example")));
    let answer = preflight("https://other.example");
    assert_eq!(answer.header("Access-Control-Allow-Origin"), None);
}

#[test]
fn a_page_may_read_why_it_is_refused_if_its_origin_is_allowed() {
    let origins = "origins = [\"https://page.example\"]\ntopics_max = 1\n";
    let world = World::new(&format!("{origins}{RULES}"));
    let daemon = &world.daemon;
    let refused = |path: &str, origin: &str| {
        let mut raw = daemon.raw();
        raw.send(request(path, &format!("Origin: {origin}\r\n")).as_bytes());
        raw.read_answer()
    };
    let hub = "/.well-known/mercure";
    let mut paths = vec![
        ("/closed".to_owned(), 401),
        ("/closed?token=x".to_owned(), 401),
        ("/elsewhere?token=x".to_owned(), 401),
        ("/open?since=x".to_owned(), 400),
        ("/events".to_owned(), 400),
        ("/events?topic=api".to_owned(), 404),
        (format!("{hub}?topic=closed"), 401),
        (format!("{hub}?topic=%7Bid%7D"), 400),
        (format!("{hub}?topic=.well-known"), 404),
    ];
    let token = token(r#"{"sub":"u"}"#);
    paths.push((format!("/never?token={token}"), 403));
    // There is room for one topic, and it has a reader.
    let _reader = EventSource::open(daemon, "/open");
    paths.push((format!("/closed?token={token}"), 503));
    for (path, status) in paths {
        let answer = refused(&path, "https://page.example");
        assert_eq!(answer.status, status, "{path}");
        let header = |name| answer.header(name);
        let allowed = header("Access-Control-Allow-Origin");
        assert_eq!(allowed, Some("https://page.example"), "{path}");
        // The settings name a cookie.
        let credentials = header("Access-Control-Allow-Credentials");
        assert_eq!(credentials, Some("true"), "{path}");
        assert_eq!(header("Vary"), Some("Origin"));
        let exposed = header("Access-Control-Expose-Headers").unwrap();
        assert!(exposed.contains("Retry-After"), "{exposed}");
        // Another page is not even told that it is refused for its origin.
        let answer = refused(&path, "https://other.example");
        assert_eq!(answer.header("Access-Control-Allow-Origin"), None);
    }
    // Whoever asks for no stream is no page's reader.
    let mut raw = daemon.raw();
    let plain = request("/open", "Origin: https://page.example\r\n");
    raw.send(plain.replace("text/event-stream", "*/*").as_bytes());
    let answer = raw.read_answer();
    assert_eq!(answer.status, 426);
    assert_eq!(answer.header("Access-Control-Allow-Origin"), None);
}

const RULES: &str = r#"
token_cookie = "session"

[[topics]]
match = "open"
subscribe = "anyone"
history = "token"

[[topics]]
match = "closed"
subscribe = "token"
history = "token"

[[topics]]
match = "never"
subscribe = "nobody"
"#;

#[test]
fn rights_are_those_of_the_topic() {
    let world = World::new(RULES);
    let daemon = &world.daemon;
    assert_eq!(refusal(daemon, "/closed", "").0, 401);
    assert_eq!(
        refusal(daemon, "/events?topic=open&topic=closed", "").0,
        401
    );
    assert_eq!(refusal(daemon, "/open?since=1", "").0, 401);
    let token = token(r#"{"sub":"u"}"#);
    EventSource::open(daemon, &format!("/closed?token={token}"));
    let header = format!("Authorization: Bearer {token}\r\n");
    EventSource::open_with(daemon, "/closed?since=1", &header);
    EventSource::open_with(daemon, "/events?topic=open&topic=closed", &header);
    // Of its own host a page sends the cookie, but no origin.
    let cookie = format!("Cookie: session={token}\r\n");
    assert_eq!(refusal(daemon, "/closed", &cookie).0, 401);
    let own = format!("{cookie}Sec-Fetch-Site: same-origin\r\n");
    EventSource::open_with(daemon, "/closed", &own);
    let foreign = format!("{cookie}Sec-Fetch-Site: cross-site\r\n");
    assert_eq!(refusal(daemon, "/closed", &foreign).0, 401);
}

#[test]
fn who_may_not_have_history_goes_on_with_what_is_new_and_is_told_so() {
    let world = World::new(RULES);
    let daemon = &world.daemon;
    let source = EventSource::open(daemon, "/open");
    let again = source.again(daemon, "/open");
    assert_eq!(again.id, source.id);
    daemon.ask_with("POST /topics/open/messages", b"missed");
    let mut again = source.again(daemon, "/open");
    let gap = again.next().unwrap();
    assert_eq!(gap.name, "gap");
    assert!(gap.data.contains(r#""from":1,"to":1"#), "{}", gap.data);
    daemon.ask_with("POST /topics/open/messages", b"new");
    assert_eq!(again.next().unwrap().data, "bmV3");
}

#[test]
fn a_stream_ends_with_the_right_to_it() {
    let world = World::new(RULES);
    let mut one = EventSource::open(&world.daemon, "/open");
    let token = token(r#"{"sub":"u"}"#);
    let path = format!("/events?topic=closed&topic=open&token={token}");
    let mut many = EventSource::open(&world.daemon, &path);
    let closed = RULES.replacen("anyone", "nobody", 1);
    world.reload(&closed);
    for source in [&mut one, &mut many] {
        assert_eq!(source.next(), None);
        assert!(
            source.comments[0].starts_with("denied"),
            "{:?}",
            source.comments
        );
    }
}

#[test]
fn a_token_that_expires_ends_its_stream() {
    let world = World::new(RULES);
    let expired = crate::tokens::now_s() + 1;
    let token = token(&format!(r#"{{"sub":"u","exp":{expired}}}"#));
    let mut source = EventSource::open(&world.daemon, &format!("/closed?token={token}"));
    assert_eq!(source.next(), None);
    assert!(source.comments[0].starts_with("token expired"));
}

#[test]
fn a_websocket_is_one_whatever_it_accepts() {
    let daemon = Daemon::start(&[]);
    let mut raw = daemon.raw();
    raw.send(Raw::request("/a", "Accept: text/event-stream\r\n").as_bytes());
    raw.expect_upgrade();
    // A page is what a browser gets that asks for no stream.
    let mut raw = daemon.raw();
    raw.send(
        request("/", "")
            .replace("text/event-stream", "text/html")
            .as_bytes(),
    );
    assert_eq!(raw.read_answer().status, 200);
}
