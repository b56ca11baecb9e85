use super::*;
use crate::protocol::http::{HeadLimits, parse};

const ID: &str = "00000000000000ab-7";

fn asked(method: &str, path: &str, lines: &str) -> bool {
    let text = format!("{method} {path} HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
    let (request, _) = parse(text.as_bytes(), HeadLimits::default())
        .unwrap()
        .unwrap();
    asks_for_events(&request)
}

fn open_with(path: &str, lines: &str) -> Result<EventStream, Reject> {
    let text =
        format!("GET {path} HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n{lines}\r\n");
    let (request, _) = parse(text.as_bytes(), HeadLimits::default())?.unwrap();
    negotiate_events(&request, &Origins::same_host(), 3)
}

fn open(path: &str) -> Result<EventStream, Reject> {
    open_with(path, "")
}

fn wanted(path: &str) -> Vec<(String, Option<u64>, Option<u64>)> {
    let stream = open(path).unwrap();
    let wanted = stream.wanted.into_iter();
    wanted
        .map(|wanted| (wanted.topic.to_string(), wanted.since, wanted.epoch))
        .collect()
}

#[test]
fn a_stream_is_asked_for_by_its_type_alone() {
    for accept in [
        "text/event-stream",
        "Text/Event-Stream",
        "text/event-stream;q=0.1",
        "text/event-stream; charset=utf-8; q=1.000",
        "application/json, text/event-stream",
        "text/event-stream, */*;q=0",
    ] {
        assert!(
            asked("GET", "/a", &format!("Accept: {accept}\r\n")),
            "{accept}"
        );
        assert!(
            asked("HEAD", "/a", &format!("Accept: {accept}\r\n")),
            "{accept}"
        );
        assert!(!asked("OPTIONS", "/a", &format!("Accept: {accept}\r\n")));
    }
    for accept in [
        "*/*",
        "text/*",
        "text/event-stream;q=0",
        "text/event-stream; Q=0.000",
        "text/event-streams",
        "",
    ] {
        assert!(
            !asked("GET", "/a", &format!("Accept: {accept}\r\n")),
            "{accept}"
        );
        // There is nothing else.
        assert!(asked("GET", "/events", &format!("Accept: {accept}\r\n")));
    }
    assert!(!asked("GET", "/a", "") && asked("GET", "/events", ""));
}

#[test]
fn the_path_or_the_query_name_the_topics() {
    assert_eq!(wanted("/a/b"), [("a/b".into(), None, None)]);
    assert_eq!(wanted("/?topic=a%2Fb"), [("a/b".into(), None, None)]);
    assert_eq!(wanted("/"), [("lobby".into(), None, None)]);
    let many = [("b".into(), None, None), ("a c".into(), None, None)];
    assert_eq!(wanted("/events?topic=b&topic=a+c"), many);
    let shape = |path| open(path).unwrap().shape;
    assert_eq!(
        (shape("/events?topic=b"), shape("/b")),
        (Shape::Many, Shape::One)
    );
}

#[test]
fn who_comes_back_goes_on_behind_what_it_has() {
    assert_eq!(wanted("/a?since=5"), [("a".into(), Some(5), None)]);
    assert_eq!(
        wanted("/a?since=5&epoch=ab"),
        [("a".into(), Some(5), Some(0xab))]
    );
    let here = [("a".into(), Some(8), Some(0xab))];
    assert_eq!(wanted(&format!("/a?lastEventId={ID}")), here);
    let header = format!("Last-Event-ID: {ID}\r\n");
    let stream = open_with("/a?lastEventId=00000000000000ab-3", &header).unwrap();
    assert_eq!((stream.wanted[0].since, stream.comes_back), (Some(8), true));
    // The page began with that.
    assert_eq!(
        open_with("/a?since=1", &header).unwrap().wanted[0].since,
        Some(8)
    );
    let many = "/events?topic=a&topic=b&lastEventId=00000000000000ab-7%2C00000000000000ac-0";
    let places = [
        ("a".into(), Some(8), Some(0xab)),
        ("b".into(), Some(1), Some(0xac)),
    ];
    assert_eq!(wanted(many), places);
    assert_eq!(
        open_with("/a", "Last-Event-ID:\r\n").unwrap().wanted[0].since,
        None
    );
    assert_eq!(wanted("/a?lastEventId="), [("a".into(), None, None)]);
}

#[test]
fn what_it_begins_with_depends_on_the_history() {
    let mut wanted = open(&format!("/a?lastEventId={ID}"))
        .unwrap()
        .wanted
        .remove(0);
    assert_eq!(wanted.since(0xab), Some(8));
    assert_eq!(wanted.since(1), Some(0), "all there is of another one");
    wanted.withheld = true;
    assert_eq!((wanted.since(0xab), wanted.since(1)), (None, None));
}

#[test]
fn what_cannot_be_served_is_refused_with_its_cause() {
    for (path, reject) in [
        ("/a?lastEventId=7", Reject::LastEventId),
        ("/a?lastEventId=%ff", Reject::LastEventId),
        (
            "/a?lastEventId=00000000000000ab-7,00000000000000ab-7",
            Reject::LastEventId,
        ),
        (
            "/events?topic=a&topic=b&lastEventId=00000000000000ab-7",
            Reject::LastEventId,
        ),
        (
            "/a?lastEventId=00000000000000ab-7&since=1",
            Reject::EventQuery,
        ),
        (
            "/a?lastEventId=00000000000000ab-7&lastEventId=00000000000000ab-7",
            Reject::EventQuery,
        ),
        ("/a?since=x", Reject::EventQuery),
        ("/a?since=1&since=1", Reject::EventQuery),
        ("/a?epoch=ab", Reject::EventQuery),
        ("/a?epoch=x&since=1", Reject::EventQuery),
        ("/a?token=x&token=x", Reject::EventQuery),
        ("/?topic=a&topic=b", Reject::EventQuery),
        ("/a?topic=b", Reject::TopicTwice),
        ("/a%00", Reject::Topic),
        ("/api/x", Reject::Reserved { part: "api" }),
        ("/events/x", Reject::Reserved { part: "events" }),
        ("/events", Reject::EventTopics { max: 3 }),
        ("/events?topic=a&topic=a", Reject::EventTopics { max: 3 }),
        (
            "/events?topic=a&topic=b&topic=c&topic=d",
            Reject::EventTopics { max: 3 },
        ),
        ("/events?topic=", Reject::Topic),
        ("/events?topic=api", Reject::Reserved { part: "api" }),
    ] {
        assert_eq!(open(path).unwrap_err(), reject, "{path}");
    }
    for lines in [
        "Last-Event-ID: 7\r\n",
        "Last-Event-ID: \u{e9}\r\n",
        "Last-Event-ID: 00000000000000ab-7\r\nLast-Event-ID: 00000000000000ab-7\r\n",
    ] {
        assert_eq!(open_with("/a", lines).unwrap_err(), Reject::LastEventId);
    }
    let foreign = open_with("/a", "Origin: https://b\r\n");
    assert_eq!(foreign.unwrap_err(), Reject::Origin);
}

#[test]
fn a_key_of_another_protocol_is_told_which_there_are() {
    let sentence = |path| open(path).unwrap_err().to_string();
    assert_eq!(
        sentence("/a?lasteventid=x"),
        "the query key \"lasteventid\" is unknown here: did you mean \"lastEventId\"?"
    );
    assert!(sentence("/a?echo=1").ends_with("there are epoch, lastEventId, since, token, topic"));
    assert!(sentence("/events?since=1").ends_with("there are lastEventId, token, topic"));
}
