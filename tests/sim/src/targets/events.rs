//! Requests for streams of events, and the events that messages are, read by plainer rules.

use fanfare::protocol::encoding::{Extras, Message};
use fanfare::protocol::event_stream::{
    Place, Shape, asks_for_events, event_bound, events_bound, negotiate_events, write_event,
    write_events,
};
use fanfare::protocol::http::{HeadLimits, Origins, parse};

use super::base64::standard;
use super::split;

const TOPICS_MAX: usize = 4;

/// Byte 0 says what kind of message the rest is, byte 1 how long its event's name is; the rest
/// is a request as well.
pub fn events(data: &[u8]) {
    let (steering, bytes) = split(data, 2);
    let [kind, name_len] = steering else { return };
    check_event(*kind, usize::from(*name_len), bytes);
    check_request(bytes);
}

fn check_event(kind: u8, name_len: usize, bytes: &[u8]) {
    let (name, payload) = bytes.split_at(name_len.min(bytes.len()));
    let name = std::str::from_utf8(name).ok();
    let text = kind & 1 == 0 && std::str::from_utf8(payload).is_ok();
    let message = Message {
        topic: "a \"topic\"",
        epoch: u64::from(kind) << 56 | 0xab,
        offset: 7 + u64::from(kind),
        time_ms: 1,
        text,
        payload,
        extras: name.map(|name| Extras {
            event: Some(name),
            ..Extras::default()
        }),
    };
    let shown = name.map(|name| name.replace(['\r', '\n'], " "));
    let wanted_name = shown.unwrap_or_default();
    let mut out = vec![0; event_bound(&message)];
    let len = write_event(&message, &mut out);
    let fields = fields(&out[..len]);
    let of = |field: &str| -> Vec<&str> {
        let of = fields.iter().filter(|(known, _)| known == field);
        of.map(|(_, value)| &value[..]).collect()
    };
    let place = Place {
        epoch: message.epoch,
        offset: message.offset,
    };
    assert_eq!(of("id").len(), 1);
    assert_eq!(Place::read(of("id")[0]), Some(place));
    assert_eq!(of("event").concat(), wanted_name);
    let data = of("data").join("\n");
    match text {
        true => {
            let text = std::str::from_utf8(payload).expect("just seen");
            assert_eq!(data, text.replace("\r\n", "\n").replace('\r', "\n"));
        }
        false => assert_eq!(standard(data.as_bytes()).as_deref(), Some(payload)),
    }
    assert_eq!(fields.len(), 1 + of("event").len() + of("data").len());
    let mut out = vec![0; events_bound(&message)];
    let len = write_events(&message, &mut out);
    let fields = self::fields(&out[..len]);
    let (last, before) = fields.split_last().expect("it has data");
    assert!(last.0 == "data" && before.iter().all(|(field, _)| field == "event"));
    let json: serde_json::Value = serde_json::from_str(&last.1).expect("it is JSON");
    assert_eq!(json["topic"], "a \"topic\"");
    assert_eq!(json["offset"], message.offset);
    assert_eq!(json.get("data").is_some(), text);
}

/// The fields of one event, which ends with it.
fn fields(event: &[u8]) -> Vec<(String, String)> {
    let event = std::str::from_utf8(event).expect("a stream is UTF-8");
    assert!(!event.contains('\r'));
    let lines = event.strip_suffix("\n\n").expect("it ends");
    let field = |line: &str| {
        let (field, value) = line.split_once(": ").expect("each line is a field");
        (field.to_owned(), value.to_owned())
    };
    lines.split('\n').map(field).collect()
}

fn check_request(bytes: &[u8]) {
    let limits = HeadLimits {
        bytes_max: 2_000,
        fields_max: 12,
    };
    let Ok(Some((request, _))) = parse(bytes, limits) else {
        return;
    };
    if !asks_for_events(&request) {
        return;
    }
    let accepts = request.elements("accept").any(|element| {
        let element = element.to_ascii_lowercase();
        element.starts_with("text/event-stream")
    });
    assert!(accepts || request.path() == "/events");
    let Ok(stream) = negotiate_events(&request, &Origins::any(), TOPICS_MAX) else {
        return;
    };
    let query = request.query().unwrap_or_default();
    let named = query.split('&').filter(|pair| pair.starts_with("topic"));
    let count = stream.wanted.len();
    let many = stream.shape != Shape::One;
    assert_eq!(many, request.path() == "/events");
    assert!((1..=TOPICS_MAX).contains(&count));
    assert_eq!(if many { named.count() } else { 1 }, count);
    for (at, wanted) in stream.wanted.iter().enumerate() {
        let mut before = stream.wanted[..at].iter();
        assert!(before.all(|other| other.topic != wanted.topic));
        assert!(wanted.topic.reserved().is_none());
        assert!(wanted.since.is_some() || wanted.epoch.is_none());
    }
    let header = request.values("last-event-id").next().unwrap_or_default();
    assert_eq!(stream.comes_back, !header.is_empty());
    if stream.comes_back {
        let id = std::str::from_utf8(header).expect("an id is text");
        let parts = id.split(',').zip(&stream.wanted);
        assert_eq!(id.split(',').count(), count);
        for (part, wanted) in parts {
            let place = Place::read(part).expect("it is a place");
            assert_eq!(wanted.epoch, Some(place.epoch));
            assert_eq!(wanted.since, Some(place.offset.saturating_add(1)));
        }
    }
}
