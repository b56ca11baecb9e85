use super::*;
use crate::protocol::http::begins::{Begins, answer};

const DEFLATE: Option<deflate::Policy> = Some(deflate::Policy {
    client_takeover: false,
});
use crate::protocol::http::head::{HeadLimits, parse};

const GOOD: [&str; 5] = [
    "Host: localhost:8000",
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];

fn begins(epoch: u64, next: u64) -> Begins {
    let newest = next - 1;
    Begins {
        epoch,
        next,
        newest,
    }
}

fn request(line: &str, headers: &[&str]) -> String {
    format!("{line}\r\n{}\r\n\r\n", headers.join("\r\n"))
}

fn try_line(line: &str, headers: &[&str]) -> Result<Upgrade, Reject> {
    let text = request(line, headers);
    let (request, len) = parse(text.as_bytes(), HeadLimits::default())?.expect("the head is whole");
    assert_eq!(len, text.len());
    assert!(is_upgrade(&request) || negotiate(&request, &Origins::any(), DEFLATE).is_err());
    negotiate(&request, &Origins::same_host(), DEFLATE)
}

pub(in crate::protocol::http) fn try_path(path: &str) -> Result<Upgrade, Reject> {
    try_line(&format!("GET {path} HTTP/1.1"), &GOOD)
}

/// The good request with headers replaced by name, or added.
fn try_with(changes: &[&str]) -> Result<Upgrade, Reject> {
    let name = |h: &str| h.split(':').next().unwrap().to_ascii_lowercase();
    let kept = GOOD
        .into_iter()
        .filter(|h| !changes.iter().any(|c| name(c) == name(h)));
    let headers: Vec<_> = kept.chain(changes.iter().copied()).collect();
    try_line("GET / HTTP/1.1", &headers)
}

fn try_without(name: &str) -> Result<Upgrade, Reject> {
    let headers: Vec<_> = GOOD.into_iter().filter(|h| !h.starts_with(name)).collect();
    assert_eq!(headers.len(), GOOD.len() - 1);
    try_line("GET / HTTP/1.1", &headers)
}

#[test]
fn the_example_of_the_rfc_is_answered_word_for_word() {
    let upgrade = try_with(&[]).unwrap();
    assert_eq!(&upgrade.accept, b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_eq!(upgrade.topic.as_ref().unwrap().as_str(), "lobby");
    assert_eq!(
        (upgrade.echo, upgrade.since, upgrade.subprotocol),
        (false, None, None)
    );
    assert_eq!(
        answer(&upgrade, Some(&begins(0xfa9, 7))),
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
         Fanfare-Epoch: 0000000000000fa9\r\nFanfare-Next: 7\r\n\r\n"
            .as_bytes()
    );
}

#[test]
fn the_answer_names_the_subprotocol_that_was_picked() {
    let upgrade = try_with(&["Sec-WebSocket-Protocol: chat, superchat"]).unwrap();
    let text = answer(&upgrade, Some(&begins(0xfa9, 7)));
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("=\r\nSec-WebSocket-Protocol: chat\r\n"));
}

#[test]
fn the_first_offered_subprotocol_that_is_known_is_picked() {
    let chat = Some(Subprotocol::Chat);
    for (offers, picked) in [
        (vec!["chat"], chat),
        (vec!["superchat, chat"], chat),
        (vec!["superchat", "mqtt ,\tchat"], chat),
        (vec![",, chat,"], chat),
        (vec![""], None),
        (vec![], None),
    ] {
        let lines: Vec<_> = offers
            .iter()
            .map(|o| format!("Sec-WebSocket-Protocol: {o}"))
            .collect();
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        assert_eq!(try_with(&lines).unwrap().subprotocol, picked, "{offers:?}");
    }
}

#[test]
fn an_offer_of_other_subprotocols_alone_is_refused_and_told_which_there_are() {
    for offer in ["superchat", "Chat", "superchat;chat", "mqtt, graphql-ws"] {
        let refused = try_with(&[&format!("Sec-WebSocket-Protocol: {offer}")]);
        assert_eq!(refused, Err(Reject::Subprotocol), "{offer}");
    }
    assert!(Reject::Subprotocol.to_string().contains("\"chat\""));
}

#[test]
fn upgrade_and_connection_are_lists_without_case() {
    for changes in [
        vec!["Upgrade: WebSocket"],
        vec!["Upgrade: h2c, websocket"],
        vec!["Upgrade: h2c", "upgrade: WEBSOCKET"],
        vec!["Connection: keep-alive, Upgrade"],
        vec!["Connection: keep-alive", "connection:upgrade"],
        vec!["CONNECTION:\tKeep-Alive ,\tUPGRADE\t"],
    ] {
        assert!(try_with(&changes).is_ok(), "{changes:?}");
    }
    for changes in ["Upgrade: websockets", "Upgrade: web socket", "Upgrade:"] {
        assert_eq!(
            try_with(&[changes]),
            Err(Reject::NoUpgrade { streams: false })
        );
    }
    for changes in ["Connection: keep-alive", "Connection: not-upgrade"] {
        assert_eq!(try_with(&[changes]), Err(Reject::NoConnectionUpgrade));
    }
}

#[test]
fn each_missing_header_has_its_own_answer() {
    for (name, reject) in [
        ("Host", Reject::MissingHost),
        ("Upgrade", Reject::NoUpgrade { streams: false }),
        ("Connection", Reject::NoConnectionUpgrade),
        ("Sec-WebSocket-Version", Reject::WebSocketVersion),
        ("Sec-WebSocket-Key", Reject::MissingKey),
    ] {
        assert_eq!(try_without(name), Err(reject));
    }
}

#[test]
fn the_version_is_13_once() {
    let version = "Sec-WebSocket-Version: 13";
    for changes in [
        &["Sec-WebSocket-Version: 8"][..],
        &["Sec-WebSocket-Version: 013"],
        &["Sec-WebSocket-Version: 13, 8"],
        &["Sec-WebSocket-Version:"],
        &[version, version],
    ] {
        assert_eq!(try_with(changes), Err(Reject::WebSocketVersion));
    }
}

#[test]
fn the_key_is_sixteen_bytes_in_base64_once() {
    for key in [
        "",
        "short",
        "dGhlIHNhbXBsZSBub25jZQ",
        "dGhlIHNhbXBsZSBub25jZQ=",
        "dGhlIHNhbXBsZSBub25jZQ===",
        "dGhlIHNhbXBsZSBub25jZQAA",
        "dGhlIHNhbXBsZSBub25jZWE=",
        "dGhlIHNhbXBsZSBub25j",
        "dGhlIHNhbXBsZSBub25j*Q==",
        "dGhlIHNhbXBsZSBub25jZQ== x",
    ] {
        let line = format!("Sec-WebSocket-Key: {key}");
        assert_eq!(try_with(&[&line]), Err(Reject::BadKey), "{key}");
    }
    let long = format!("Sec-WebSocket-Key: {}", "A".repeat(4000));
    assert_eq!(try_with(&[&long]), Err(Reject::BadKey));
    let key = GOOD[4];
    assert_eq!(try_with(&[key, key]), Err(Reject::DuplicateKey));
}

#[test]
fn a_key_whose_last_bits_mean_nothing_is_taken_as_it_is() {
    assert!(try_with(&["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZR=="]).is_ok());
}

#[test]
fn only_get_over_http_1_1_upgrades() {
    assert_eq!(try_line("HEAD / HTTP/1.1", &GOOD), Err(Reject::Method));
    assert_eq!(try_line("GET / HTTP/1.0", &GOOD), Err(Reject::HttpVersion));
}

#[test]
fn the_path_names_the_topic_and_the_query_its_options() {
    let upgrade = try_path("/caf%C3%A9?echo=true&since=18446744073709551615").unwrap();
    assert_eq!(upgrade.topic.as_ref().unwrap().as_str(), "café");
    assert_eq!((upgrade.echo, upgrade.since), (true, Some(u64::MAX)));
    for (query, echo) in [("echo=1", true), ("echo=0", false), ("echo=false", false)] {
        assert_eq!(try_path(&format!("/a?{query}")).unwrap().echo, echo);
    }
    for query in ["", "&", "&since=1&"] {
        assert!(try_path(&format!("/a?{query}")).is_ok(), "{query}");
    }
    for query in ["=", "sicne=5", "other=1", "tokens"] {
        let refused = try_path(&format!("/a?{query}"));
        assert!(matches!(refused, Err(Reject::QueryKey { .. })), "{query}");
    }
}

#[test]
fn a_topic_is_named_by_the_path_or_by_the_query() {
    for (path, topic) in [
        ("/?topic=a%2Fb", "a/b"),
        ("/?topic=%2Fa&echo=1", "/a"),
        ("/a%2Fb", "a/b"),
        // A slash more is a part of the name.
        ("//a", "/a"),
        ("/", "lobby"),
    ] {
        assert_eq!(
            try_path(path).unwrap().topic.as_ref().unwrap().as_str(),
            topic,
            "{path}"
        );
    }
    assert_eq!(try_path("/a?topic=a"), Err(Reject::TopicTwice));
    assert_eq!(try_path("/?topic="), Err(Reject::Topic));
}

#[test]
fn bad_topics_and_bad_values_are_refused() {
    let long = format!("/{}", "a".repeat(256));
    for path in ["/%00", "/%ff", "/%2", &long] {
        assert_eq!(try_path(path), Err(Reject::Topic), "{path}");
    }
    for query in [
        "echo",
        "echo=",
        "echo=yes",
        "echo=TRUE",
        "echo=1&echo=1",
        "since",
        "since=",
        "since=-1",
        "since=+1",
        "since=1.5",
        "since=18446744073709551616",
        "since=1&since=2",
    ] {
        let path = format!("/a?{query}");
        assert_eq!(try_path(&path), Err(Reject::Query), "{query}");
    }
}

#[test]
fn a_page_of_another_host_is_refused_and_no_origin_is_no_browser() {
    assert!(try_with(&["Origin: http://localhost:8000"]).is_ok());
    for changes in [
        &["Origin: http://evil.example"][..],
        &["Origin: null"],
        &["Origin:"],
        &[
            "Origin: http://localhost:8000",
            "Origin: http://evil.example",
        ],
    ] {
        assert_eq!(try_with(changes), Err(Reject::Origin));
    }
}

#[test]
fn offers_of_an_extension_may_come_in_several_headers() {
    let upgrade = try_with(&[
        "Sec-WebSocket-Extensions: foo; bar=\"a,b\"",
        "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=12",
    ]);
    let upgrade = upgrade.unwrap();
    let text = String::from_utf8(answer(&upgrade, Some(&begins(1, 1)))).unwrap();
    let line = "\r\nSec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; \
                client_no_context_takeover; server_max_window_bits=12\r\n";
    assert!(text.contains(line), "{text}");
    assert_eq!(try_with(&[]).unwrap().deflate, None);
}

#[test]
fn a_page_request_is_told_from_a_handshake() {
    let tell = |headers: &[&str]| {
        let text = request("GET / HTTP/1.1", &[&["Host: a"], headers].concat());
        is_upgrade(
            &parse(text.as_bytes(), HeadLimits::default())
                .unwrap()
                .unwrap()
                .0,
        )
    };
    assert!(!tell(&["Accept: text/html", "Connection: keep-alive"]));
    assert!(!tell(&[
        "Connection: Upgrade, HTTP2-Settings",
        "Upgrade: h2c"
    ]));
    assert!(tell(&["Upgrade: WebSocket"]));
    assert!(tell(&["Sec-WebSocket-Key: x"]));
    assert!(tell(&["Sec-WebSocket-Version: 8"]));
}

#[test]
fn the_answer_tells_what_became_of_since() {
    for (since, offset, told) in [
        (5, 5, Some("exact")),
        (0, 1, Some("exact")),
        (0, 2, Some("expired")),
        (3, 5, Some("expired")),
        (5000, 1, Some("unknown")),
    ] {
        let upgrade = try_path(&format!("/a?since={since}")).unwrap();
        let text = String::from_utf8(answer(&upgrade, Some(&begins(1, offset)))).unwrap();
        let line = told.map(|told| format!("\r\nFanfare-Resume: {told}\r\n\r\n"));
        assert!(text.ends_with(&line.unwrap()), "{since}: {text}");
    }
    let plain = String::from_utf8(answer(&try_path("/a").unwrap(), Some(&begins(1, 7)))).unwrap();
    assert!(!plain.contains("Resume"));
}

#[test]
fn a_browser_that_keeps_its_window_goes_without_compression() {
    let offer = "Sec-WebSocket-Extensions: permessage-deflate";
    let agent = |version: &str| {
        let agent =
            format!("User-Agent: Mozilla/5.0 (Macintosh) Version/{version} Safari/605.1.15");
        try_with(&[offer, &agent]).unwrap().deflate
    };
    assert_eq!(agent("15.2"), None);
    assert!(agent("15.4").is_some());
}
