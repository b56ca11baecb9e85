//! What the servers of apps ask: the signed query, names of channels, and bodies; and what
//! their clients send.

use fanfare::protocol::dialect::pusher::{Deed, Own};
use fanfare::protocol::pusher::{
    App, Event, Incoming, Member, QueryFault, Secrets, SignedQuery, SocketId, channel_of,
    check_channel, decode_event, read,
};
use serde_json::json;

const NOW_S: u64 = 1000;
const SIGNED: &str = "auth_key=k&auth_timestamp=1000&auth_version=1.0";
/// Beside those that are added here.
const PARAMETERS_MAX: usize = 32 - 4;

/// A line with a query, one with the name of a channel, and a body.
pub fn apps(data: &[u8]) {
    let mut lines = data.splitn(3, |byte| *byte == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let (a_query, a_channel, body) = (line(), line(), line());
    if let Ok(text) = std::str::from_utf8(a_query) {
        query(text);
    }
    if let Ok(text) = std::str::from_utf8(a_channel) {
        channel(text);
    }
    event(body);
    client(body);
}

/// What clients send, which has no signature: nobody is let in anywhere that takes one, and each
/// answer is JSON.
fn client(message: &[u8]) {
    if let Ok(text) = std::str::from_utf8(message)
        && let Ok(member) = Member::of_channel(text)
    {
        assert!(!member.id.is_empty());
    }
    let Ok(incoming) = read(message) else {
        return;
    };
    assert!(std::str::from_utf8(message).is_ok());
    if let Incoming::Client { data, .. } = &incoming {
        assert!(std::str::from_utf8(data).is_ok());
    }
    let id = SocketId {
        node: 1,
        connection: 2,
    };
    let app = App {
        client_events: true,
        ..app()
    };
    match Own::new("k".into()).handle(&app, id, incoming, Some(0)) {
        Deed::Nothing | Deed::Unsubscribe(_) => {}
        Deed::Say(answer) => {
            serde_json::from_slice::<serde_json::Value>(&answer).expect("an answer is JSON");
        }
        Deed::Subscribe(wish) => {
            assert!(!wish.kind.is_guarded() && wish.member.is_none());
            assert_eq!(check_channel(wish.topic.as_str()), Ok(()));
        }
        Deed::SignIn { user, .. } => panic!("{user} has signed in without a signature"),
        Deed::Publish { topic, event, data } => {
            assert!(event.starts_with("client-") && data.len() <= app.event_bytes_max);
            assert!(topic.as_str().starts_with("pr"));
        }
    }
}

fn app() -> App {
    App {
        id: "1".into(),
        key: "k".into(),
        secret_files: Vec::new(),
        secrets: Secrets::new(["secret".to_owned()]),
        prefix: "".into(),
        client_events: false,
        client_events_per_s_max: 0,
        connections_max: 0,
        event_bytes_max: 64,
        event_channels_max: 3,
        batch_events_max: 3,
        presence_members_max: 1,
        presence_user_bytes_max: 1,
        webhooks: Vec::new(),
    }
}

/// A query with whatever parameters is believed once it is signed as it is read here.
fn query(text: &str) {
    let _ = SignedQuery::read(text);
    let pairs: Option<Vec<_>> = text
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((unescape(key)?.to_ascii_lowercase(), unescape(value)?))
        })
        .collect();
    let whole = |signature: &str| format!("{text}&{SIGNED}&auth_signature={signature}");
    let Some(mut pairs) = pairs.filter(|pairs| pairs.len() <= PARAMETERS_MAX) else {
        assert!(matches!(
            SignedQuery::read(&whole("0")),
            Err(QueryFault::Form)
        ));
        return;
    };
    let is_own = |key: &str| key.starts_with("auth_") || key == "body_md5";
    if pairs.iter().any(|(key, _)| is_own(key)) {
        return;
    }
    let more = [
        ("auth_key", "k"),
        ("auth_timestamp", "1000"),
        ("auth_version", "1.0"),
    ];
    pairs.extend(more.map(|(key, value)| (key.to_owned(), value.to_owned())));
    pairs.sort_by(|a, b| a.0.cmp(&b.0));
    let pairs: Vec<_> = pairs
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let message = format!("GET\n/x\n{}", pairs.join("&"));
    let app = app();
    let read = SignedQuery::read(&whole(&app.secrets.sign(message.as_bytes()))).unwrap();
    assert_eq!(read.check(&app, "GET", "/x", NOW_S), Ok(()));
    assert_eq!(
        read.check(&app, "POST", "/x", NOW_S),
        Err(QueryFault::Signature)
    );
}

/// Byte by byte.
fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        let digit = |byte: &u8| char::from(*byte).to_digit(16);
        match (first, after) {
            (b'+', _) => bytes.push(b' '),
            (b'%', [high, low, more @ ..]) if digit(high).is_some() && digit(low).is_some() => {
                bytes.push((digit(high)? * 16 + digit(low)?) as u8);
                rest = more;
            }
            _ => bytes.push(*first),
        }
    }
    String::from_utf8(bytes).ok()
}

fn channel(text: &str) {
    let allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-=@,.;";
    let is_valid = (1..=200).contains(&text.len()) && text.chars().all(|c| allowed.contains(c));
    assert_eq!(check_channel(text).is_ok(), is_valid, "{text:?}");
    let found = channel_of(text);
    assert!(text.ends_with(found));
    if is_valid {
        for prefix in ["", "a/", "é:", "a b|"] {
            assert_eq!(channel_of(&format!("{prefix}{text}")), text);
        }
    }
}

/// What is read is within its bounds, and is read again from what it says.
fn event(body: &[u8]) {
    let app = app();
    let Ok(event) = decode_event(&app, body) else {
        return;
    };
    let Event {
        name,
        data,
        channels,
        socket_id,
        info,
    } = &event;
    assert!((1..=200).contains(&name.len()) && data.len() <= app.event_bytes_max);
    assert!((1..=app.event_channels_max).contains(&channels.len()));
    let info: Vec<_> = [
        ("user_count", info.user_count),
        ("subscription_count", info.subscription_count),
    ]
    .into_iter()
    .filter_map(|(name, is_asked)| is_asked.then_some(name))
    .collect();
    let again = json!({
        "name": name, "data": data, "channels": channels,
        "socket_id": socket_id.map(|id| id.to_string()), "info": info.join(","),
    });
    assert_eq!(decode_event(&app, again.to_string().as_bytes()), Ok(event));
}
