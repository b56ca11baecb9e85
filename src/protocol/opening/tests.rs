use super::*;
use crate::protocol::http::{HeadLimits, parse};

const NOW_S: u64 = 784_111_777;

fn documents(path: &str, host: &str) -> Option<Document> {
    (path == "/").then(|| Document {
        content_type: "text/html",
        body: b"the page".into(),
        etag: Some("\"1\""),
        headers: vec![("X-Host", host.to_owned().into())],
    })
}

/// How it is decided, by a change to the usual settings.
fn decide(text: &str, change: impl FnOnce(&mut Settings<'_>)) -> Result<Opening, Reject> {
    let (head, _) = parse(text.as_bytes(), HeadLimits::default())?.expect("it is whole");
    let (origins, hosts) = (Origins::same_host(), Hosts::default());
    let mut settings = Settings {
        origins: &origins,
        hosts: &hosts,
        via: Via::Loopback,
        is_named: true,
        rules: &Rules::default(),
        cookie: None,
        check: &|_| Err(TokenFault::NoKeys),
        api: false,
        centrifugo: true,
        event_streams: true,
        mercure: true,
        topics_max: 4,
        apps: None,
        topics: &|_| TopicTerms {
            deflate: true,
            chat: true,
            page: true,
        },
        deflate: None,
        deflates_somewhere: true,
        documents: &documents,
    };
    change(&mut settings);
    opening(&head, &settings, NOW_S)
}

fn answer(text: &str) -> String {
    match decide(text, |_| {}).unwrap() {
        Opening::Answer(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn handshake(path: &str, host: &str, lines: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{lines}\r\n"
    )
}

#[test]
fn a_handshake_becomes_a_websocket() {
    let opened = decide(&handshake("/news", "localhost", ""), |_| {});
    let Ok(Opening::WebSocket(upgrade)) = opened else {
        panic!("{opened:?}");
    };
    assert_eq!(upgrade.topic.as_ref().unwrap().as_str(), "news");
}

#[test]
fn health_is_told_to_all_and_a_page_to_who_calls_the_server_right() {
    for host in ["localhost", "evil.example"] {
        let text = format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert!(answer(&text).ends_with("\r\n\r\nok\n"), "{host}");
    }
    let page = answer("GET / HTTP/1.1\r\nHost: localhost:8000\r\n\r\n");
    assert!(page.starts_with("HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"));
    assert!(page.contains("X-Host: localhost:8000\r\n") && page.ends_with("the page"));
    let foreign = decide("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", |_| {});
    assert_eq!(foreign.unwrap_err(), Reject::Host);
}

#[test]
fn head_has_the_headers_of_get_and_nothing_more() {
    for path in ["/", "/healthz"] {
        let [get, head] = ["GET", "HEAD"]
            .map(|method| answer(&format!("{method} {path} HTTP/1.1\r\nHost: [::1]\r\n\r\n")));
        assert!(head.ends_with("\r\n\r\n") && get.starts_with(&head) && get.len() > head.len());
    }
}

#[test]
fn a_known_page_is_not_sent_again() {
    let text = "GET / HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: \"0\", \"1\"\r\n\r\n";
    assert!(answer(text).starts_with("HTTP/1.1 304 Not Modified\r\n"));
    assert!(answer(text).ends_with("\r\n\r\n"));
}

#[test]
fn the_checks_of_load_balancers_are_answered() {
    for text in [
        // HAProxy's `option httpchk` without more.
        "OPTIONS / HTTP/1.0\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /healthz HTTP/1.0\r\n\r\n",
        "HEAD /healthz HTTP/1.1\r\nHost: fanfare\r\n\r\n",
        // An ALB asks for the page, by the address that it has.
        "GET / HTTP/1.1\r\nHost: 10.0.0.7:8000\r\nUser-Agent: ELB-HealthChecker/2.0\r\n\r\n",
    ] {
        assert!(answer(text).starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
        let unnamed = decide(text, |settings| {
            settings.is_named = false;
            settings.via = Via::Proxy;
        });
        assert!(matches!(unnamed, Ok(Opening::Answer(_))), "{text}");
    }
}

#[test]
fn whoever_is_not_named_opens_nothing() {
    let unnamed = decide(&handshake("/", "localhost", ""), |settings| {
        settings.is_named = false
    });
    assert_eq!(unnamed.unwrap_err(), Reject::ProxyHeader);
}

#[test]
fn a_rebound_name_is_refused_though_its_page_is_of_the_same_host() {
    let lines = "Origin: http://evil.example:8000\r\n";
    let text = handshake("/", "evil.example:8000", lines);
    for via in [Via::Loopback, Via::Proxy] {
        let refused = decide(&text, |settings| settings.via = via);
        assert_eq!(refused.unwrap_err(), Reject::Host, "{via:?}");
    }
    assert!(decide(&text, |settings| settings.via = Via::Network).is_ok());
    let listed = Hosts::from_list(&["live.example"]).unwrap();
    let (head, _) = parse(text.as_bytes(), HeadLimits::default())
        .unwrap()
        .unwrap();
    let origins = Origins::same_host();
    let settings = Settings {
        origins: &origins,
        hosts: &listed,
        via: Via::Network,
        centrifugo: true,
        event_streams: true,
        mercure: true,
        topics_max: 4,
        apps: None,
        topics: &|_| TopicTerms {
            deflate: true,
            chat: true,
            page: true,
        },
        is_named: true,
        api: false,
        rules: &Rules::default(),
        cookie: None,
        check: &|_| Err(TokenFault::NoKeys),
        deflate: None,
        deflates_somewhere: true,
        documents: &documents,
    };
    assert_eq!(opening(&head, &settings, NOW_S).unwrap_err(), Reject::Host);
}

#[test]
fn the_origin_is_asked_for_as_well_as_the_host() {
    let text = handshake("/", "localhost", "Origin: http://evil.example\r\n");
    assert_eq!(decide(&text, |_| {}).unwrap_err(), Reject::Origin);
}

#[test]
fn what_is_neither_is_told_what_it_could_be() {
    let refused = |path: &str| {
        let text = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        decide(&text, |_| {}).unwrap_err()
    };
    assert_eq!(refused("/news"), Reject::NoUpgrade { streams: true });
    assert_eq!(refused("/%zz"), Reject::NotFound);
}

#[test]
fn the_server_api_is_there_where_the_listener_has_that_role() {
    let text = |method: &str, path: &str| {
        format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n")
    };
    let on = |text: &str| decide(text, |settings| settings.api = true);
    for (method, path) in [
        ("POST", "/api/publish"),
        ("POST", "/topics/a/messages?x=y"),
        ("GET", "/topics"),
        ("POST", "/messages?topic=a"),
        ("OPTIONS", "/messages"),
    ] {
        let text = text(method, path);
        assert!(matches!(on(&text), Ok(Opening::Api)), "{text}");
        let off = decide(&text, |_| {}).unwrap_err();
        assert!(matches!(off, Reject::Method | Reject::Body), "{text}");
    }
    // A topic may be called so, and the rest is as it was.
    let opened = on(&handshake("/topics/a", "localhost", ""));
    assert!(matches!(opened, Ok(Opening::WebSocket(_))));
    assert_eq!(on(&text("POST", "/apis")).unwrap_err(), Reject::Method);
    assert_eq!(on(&text("GET", "/healthz")).unwrap_err(), Reject::Body);
    let foreign = text("POST", "/api/info").replace("localhost", "evil.example");
    assert_eq!(on(&foreign).unwrap_err(), Reject::Host);
    let unnamed = decide(&text("POST", "/api/info"), |settings| {
        (settings.api, settings.is_named) = (true, false);
    });
    assert_eq!(unnamed.unwrap_err(), Reject::ProxyHeader);
}

#[test]
fn options_that_mean_to_open_a_websocket_are_refused() {
    let text = handshake("/", "localhost", "").replace("GET", "OPTIONS");
    assert_eq!(decide(&text, |_| {}).unwrap_err(), Reject::Method);
}

fn stream(text: &str, change: impl FnOnce(&mut Settings<'_>)) -> Result<EventStream, Reject> {
    match decide(text, change)? {
        Opening::EventStream(stream) => Ok(*stream),
        other => panic!("{other:?}"),
    }
}

fn reads(path: &str, lines: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n{lines}\r\n")
}

#[test]
fn a_topic_is_streamed_to_who_asks_so_though_there_is_a_page() {
    for path in [
        "/news",
        "/",
        "/events?topic=a",
        "/.well-known/mercure?topic=a",
    ] {
        assert!(stream(&reads(path, ""), |_| {}).is_ok(), "{path}");
    }
    let off = |settings: &mut Settings<'_>| {
        (settings.event_streams, settings.mercure) = (false, false);
    };
    let page = decide(&reads("/", ""), off);
    assert!(matches!(page, Ok(Opening::Answer(_))));
    let refused = decide(&reads("/news", ""), off).unwrap_err();
    assert_eq!(refused, Reject::NoUpgrade { streams: false });
    let refused = decide(&reads("/.well-known/mercure?topic=a", ""), |settings| {
        settings.mercure = false;
    });
    assert_eq!(refused.unwrap_err(), Reject::TopicTwice);
}

#[test]
fn a_stream_is_for_those_who_call_the_server_right_and_are_named() {
    let foreign = reads("/news", "").replace("localhost", "evil.example");
    assert_eq!(stream(&foreign, |_| {}).unwrap_err(), Reject::Host);
    let unnamed = stream(&reads("/news", ""), |settings| settings.is_named = false);
    assert_eq!(unnamed.unwrap_err(), Reject::ProxyHeader);
}

#[test]
fn pages_of_listed_origins_are_let_read_and_with_cookies_where_one_may_bear_a_token() {
    static LISTED: std::sync::LazyLock<Origins> =
        std::sync::LazyLock::new(|| Origins::from_list(&["https://a.example"]).unwrap());
    let page = |path: &str, cookie| {
        let text = reads(path, "Origin: https://a.example\r\n");
        let opened = stream(&text, |settings| {
            settings.origins = &LISTED;
            settings.cookie = cookie;
        });
        opened.unwrap().page.unwrap().credentials
    };
    assert!(!page("/news", None) && page("/news", Some("session")));
    assert!(page("/.well-known/mercure?topic=a", None));
    let asks = |path: &str| {
        let text = format!(
            "OPTIONS {path} HTTP/1.1\r\nHost: localhost\r\nOrigin: https://a.example\r\n\
             Access-Control-Request-Method: GET\r\n\r\n"
        );
        let answer = decide(&text, |settings| {
            settings.origins = &LISTED;
            settings.api = true;
        });
        match answer.unwrap() {
            Opening::Answer(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
            other => panic!("{other:?}"),
        }
    };
    assert!(asks("/news").contains("Access-Control-Allow-Methods: GET\r\n"));
    assert!(asks("/.well-known/mercure").contains("Access-Control-Allow-Methods: GET, POST\r\n"));
}

#[test]
fn an_update_is_for_the_server_api_where_that_is() {
    let text = "POST /.well-known/mercure HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\n";
    let opened = decide(text, |settings| settings.api = true);
    assert!(matches!(opened, Ok(Opening::Api)), "{opened:?}");
    assert_eq!(decide(text, |_| {}).unwrap_err(), Reject::Method);
    let off = decide(text, |settings| {
        (settings.api, settings.mercure) = (true, false);
    });
    assert_eq!(off.unwrap_err(), Reject::Method);
}
