//! Mercure's requests to subscribe, and the forms that publishers post, by the rules of forms
//! alone.

use fanfare::protocol::event_stream::{Place, Shape};
use fanfare::protocol::http::{HeadLimits, Origins, parse};
use fanfare::protocol::mercure::{Update, asks_for_updates, negotiate_mercure};
use fanfare::protocol::topic::TopicName;

const TOPICS_MAX: usize = 4;
/// What a query may call the id that a client had last.
const ID_KEYS: [&str; 3] = ["lastEventID", "lastEventId", "Last-Event-ID"];

/// A line that is a query and, in part, a header; and a form.
pub fn mercure(data: &[u8]) {
    let at = data.iter().position(|byte| *byte == b'\n');
    let (line, form) = data.split_at(at.unwrap_or(data.len()));
    let form = form.strip_prefix(b"\n").unwrap_or(form);
    if let Ok(line) = std::str::from_utf8(line) {
        let (query, header) = line.split_once(' ').unwrap_or((line, ""));
        subscribes(query, header);
    }
    publishes(form);
    publishes(data);
}

fn subscribes(query: &str, id: &str) {
    let header = match id {
        "" => String::new(),
        id => format!("Last-Event-ID: {id}\r\n"),
    };
    let text =
        format!("GET /.well-known/mercure?{query} HTTP/1.1\r\nHost: localhost\r\n{header}\r\n");
    let Ok(Some((request, _))) = parse(text.as_bytes(), HeadLimits::default()) else {
        return;
    };
    if !asks_for_updates(&request) {
        // The text had a head of its own.
        return;
    }
    let Ok(stream) = negotiate_mercure(&request, &Origins::same_host(), TOPICS_MAX) else {
        return;
    };
    let query = request.query().unwrap_or_default();
    let pairs: Vec<(&str, &str)> = query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .collect();
    assert!(pairs.iter().all(|(key, _)| !key.starts_with("match")));
    let topics: Vec<String> = pairs
        .iter()
        .filter(|(key, _)| *key == "topic")
        .map(|(_, value)| unescape(&spaced(value.as_bytes())))
        .map(|topic| String::from_utf8(topic).expect("it was taken"))
        .collect();
    let wanted: Vec<&str> = stream.wanted.iter().map(|it| it.topic.as_str()).collect();
    assert_eq!(topics, wanted);
    assert!((1..=TOPICS_MAX).contains(&wanted.len()));
    for (at, topic) in wanted.iter().enumerate() {
        assert!(is_exact(topic) && !wanted[..at].contains(topic), "{topic}");
    }
    let shape = if wanted.len() == 1 {
        Shape::One
    } else {
        Shape::Plain
    };
    assert_eq!((stream.shape, stream.mercure), (shape, true));
    let by_query = pairs.iter().rfind(|(key, _)| ID_KEYS.contains(key));
    let by_query =
        by_query.map(|(_, id)| String::from_utf8_lossy(&unescape(id.as_bytes())).into_owned());
    let by_header = request.values("last-event-id").next();
    let by_header = by_header.map(|id| String::from_utf8_lossy(id).into_owned());
    let [by_header, by_query] =
        [by_header, by_query].map(|id| id.filter(|id: &String| !id.is_empty()));
    let asked = by_header.or(by_query);
    // Nobody who says where it was is left without what there is.
    let begins: Vec<_> = stream
        .wanted
        .iter()
        .map(|it| (it.since, it.epoch))
        .collect();
    let places = |id: &str| id.split(',').map(Place::read).collect::<Option<Vec<_>>>();
    let of_all = |places: &Vec<Place>| places.len() == wanted.len();
    let places = asked.as_deref().map(|id| (id, places(id).filter(of_all)));
    let expected: Vec<_> = match places {
        None => vec![(None, None); wanted.len()],
        Some(("earliest", _)) => vec![(Some(0), None); wanted.len()],
        Some((_, Some(places))) => places
            .iter()
            .map(|place| (Some(place.next()), Some(place.epoch)))
            .collect(),
        Some((_, None)) => vec![(Some(1), Some(0)); wanted.len()],
    };
    assert_eq!(begins, expected, "{asked:?}");
}

/// A topic that is named by itself.
fn is_exact(topic: &str) -> bool {
    topic != "*"
        && !topic.contains(['{', '}'])
        && TopicName::new(topic).is_ok_and(|name| name.reserved().is_none())
}

fn publishes(form: &[u8]) {
    let read = Update::read(form);
    let expected = model(form);
    let Ok(update) = read else {
        assert_eq!(expected, None, "{}", form.escape_ascii());
        return;
    };
    let update = (
        update.topic.as_str().to_owned(),
        update.data,
        update.event,
        update.private,
    );
    assert_eq!(Some(update), expected, "{}", form.escape_ascii());
}

/// Topic, data, the event's name, and whether it is private.
fn model(form: &[u8]) -> Option<(String, String, Option<String>, bool)> {
    let mut fields = Vec::new();
    for pair in form.split(|byte| *byte == b'&') {
        let mut parts = pair.splitn(2, |byte| *byte == b'=');
        let mut part = || unescape(&spaced(parts.next().unwrap_or_default()));
        let (key, value) = (String::from_utf8(part()).ok()?, part());
        if ["topic", "data", "type"].contains(&&key[..]) {
            fields.push((key, String::from_utf8(value).ok()?));
        } else if ["private", "id", "retry"].contains(&&key[..]) {
            // What they say is not looked at.
            fields.push((key, String::new()));
        }
    }
    let is_twice = |(at, (key, _)): (usize, &(String, String))| {
        fields[..at].iter().any(|(known, _)| known == key)
    };
    if fields.iter().enumerate().any(is_twice) {
        return None;
    }
    let of = |key: &str| {
        let found = fields.iter().find(|(known, _)| known == key);
        found.map(|(_, value)| value.clone())
    };
    let topic = TopicName::new(&of("topic")?).ok()?;
    let event = of("type").filter(|name| !name.is_empty());
    let is_line = event.iter().all(|name| !name.chars().any(char::is_control));
    (topic.reserved().is_none() && is_line).then(|| {
        let data = of("data").unwrap_or_default();
        (
            topic.as_str().to_owned(),
            data,
            event,
            of("private").is_some(),
        )
    })
}

fn spaced(bytes: &[u8]) -> Vec<u8> {
    let space = |byte: &u8| if *byte == b'+' { b' ' } else { *byte };
    bytes.iter().map(space).collect()
}

/// Byte by byte.
fn unescape(text: &[u8]) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), text);
    while let [first, after @ ..] = rest {
        rest = after;
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let value = match (first, after) {
            (b'%', [high, low, ..]) => digit(*high).zip(digit(*low)),
            _ => None,
        };
        match value {
            Some((high, low)) => {
                bytes.push((high * 16 + low) as u8);
                rest = &after[2..];
            }
            None => bytes.push(*first),
        }
    }
    bytes
}
