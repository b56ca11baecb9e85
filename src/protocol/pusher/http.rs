//! What servers post to the HTTP API: events, one or a batch of them.

use serde::Deserialize;

use super::app::App;
use super::channel::{ChannelFault, check_target};
use super::is_own_event;
use super::socket_id::SocketId;

/// The longest name of an event.
const NAME_BYTES_MAX: usize = 200;

/// An event that is to be published.
#[derive(Debug, PartialEq, Eq)]
pub struct Event {
    pub name: String,
    pub data: String,
    /// Each once.
    pub channels: Vec<String>,
    /// The connection that is not to hear it.
    pub socket_id: Option<SocketId>,
    /// What is to be told of the channels.
    pub info: Attributes,
}

/// What may be asked of a channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attributes {
    pub user_count: bool,
    pub subscription_count: bool,
}

impl Attributes {
    /// Reads names with commas between them.
    ///
    /// # Errors
    /// [`BodyFault::Info`]
    pub fn read(text: &str) -> Result<Self, BodyFault> {
        let mut read = Attributes::default();
        for name in text
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
        {
            match name {
                "user_count" => read.user_count = true,
                "subscription_count" => read.subscription_count = true,
                _ => return Err(BodyFault::Info),
            }
        }
        Ok(read)
    }

    pub fn are_asked(self) -> bool {
        self != Attributes::default()
    }
}

/// Why nothing is published.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyFault {
    #[error("the body is not the JSON that is expected here: {0}")]
    Json(String),
    #[error("an event's name has 1 to {NAME_BYTES_MAX} bytes")]
    Name,
    #[error("an event's name must not begin with pusher:, pusher_internal: or fanfare:")]
    OwnName,
    #[error("an event's data has at most {0} bytes (event_bytes_max)")]
    DataTooLong(usize),
    #[error("an event names its channel in channel, or several in channels, not both")]
    Channels,
    #[error("an event goes to 1 to {0} channels (event_channels_max)")]
    TooManyChannels(usize),
    #[error("{0}: {1:?}")]
    Channel(ChannelFault, String),
    #[error("a batch has 1 to {0} events (batch_events_max)")]
    TooManyEvents(usize),
    #[error("socket_id must be that of a connection: two numbers with a point between them")]
    SocketId,
    #[error("info must be user_count, subscription_count, or both with a comma between them")]
    Info,
}

impl BodyFault {
    /// It is right in itself, and only too large.
    pub fn is_too_long(&self) -> bool {
        matches!(self, BodyFault::DataTooLong(_))
    }
}

#[derive(Deserialize)]
struct Written {
    name: String,
    data: String,
    channel: Option<String>,
    channels: Option<Vec<String>>,
    socket_id: Option<String>,
    info: Option<String>,
}

#[derive(Deserialize)]
struct Batch {
    batch: Vec<Written>,
}

/// Reads the body of a request to publish one event.
///
/// # Errors
/// See [`BodyFault`].
pub fn decode_event(app: &App, body: &[u8]) -> Result<Event, BodyFault> {
    check(app, read(body)?)
}

/// Reads the body of a request to publish several.
///
/// # Errors
/// See [`BodyFault`].
pub fn decode_batch(app: &App, body: &[u8]) -> Result<Vec<Event>, BodyFault> {
    let Batch { batch } = read(body)?;
    if !(1..=app.batch_events_max).contains(&batch.len()) {
        return Err(BodyFault::TooManyEvents(app.batch_events_max));
    }
    batch.into_iter().map(|event| check(app, event)).collect()
}

fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, BodyFault> {
    serde_json::from_slice(body).map_err(|error| BodyFault::Json(error.to_string()))
}

fn check(app: &App, written: Written) -> Result<Event, BodyFault> {
    let Written {
        name,
        data,
        channel,
        channels,
        socket_id,
        info,
    } = written;
    if !(1..=NAME_BYTES_MAX).contains(&name.len()) {
        return Err(BodyFault::Name);
    }
    if is_own_event(&name) {
        return Err(BodyFault::OwnName);
    }
    if data.len() > app.event_bytes_max {
        return Err(BodyFault::DataTooLong(app.event_bytes_max));
    }
    let named = match (channel, channels) {
        (Some(channel), None) => vec![channel],
        (None, Some(channels)) => channels,
        _ => return Err(BodyFault::Channels),
    };
    if !(1..=app.event_channels_max).contains(&named.len()) {
        return Err(BodyFault::TooManyChannels(app.event_channels_max));
    }
    let mut channels: Vec<String> = Vec::with_capacity(named.len());
    for channel in named {
        if let Err(fault) = check_target(&channel) {
            let shown = channel.chars().take(NAME_BYTES_MAX).collect();
            return Err(BodyFault::Channel(fault, shown));
        }
        if !channels.contains(&channel) {
            channels.push(channel);
        }
    }
    let socket_id = match socket_id.as_deref() {
        None | Some("") => None,
        Some(text) => Some(SocketId::parse(text).ok_or(BodyFault::SocketId)?),
    };
    Ok(Event {
        name,
        data,
        channels,
        socket_id,
        info: Attributes::read(&info.unwrap_or_default())?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::pusher::app::testing::app;

    fn event(body: &str) -> Result<Event, BodyFault> {
        decode_event(&app(), body.as_bytes())
    }

    #[test]
    fn an_event_is_read_with_all_it_says() {
        let read = event(
            r##"{"name":"goal","data":"{\"a\":1}","channels":["a","b","a","#server-to-user-1"],
                "socket_id":"1.2","info":"user_count, subscription_count","more":[1]}"##,
        );
        let read = read.unwrap();
        assert_eq!((&*read.name, &*read.data), ("goal", r#"{"a":1}"#));
        assert_eq!(read.channels, ["a", "b", "#server-to-user-1"]);
        assert_eq!(read.socket_id, SocketId::parse("1.2"));
        assert!(read.info.user_count && read.info.subscription_count);
        let plain = event(r#"{"name":"n","data":"","channel":"a","socket_id":null}"#).unwrap();
        assert_eq!(plain.channels, ["a"]);
        assert!(plain.socket_id.is_none() && !plain.info.are_asked());
    }

    #[test]
    fn each_fault_is_told() {
        let long = "x".repeat(201);
        let many = vec!["a"; 101].join("\",\"");
        for (body, told) in [
            ("", "the body is not the JSON"),
            ("[]", "the body is not the JSON"),
            ("{\"name\":\"a\"}", "missing field `data`"),
            (
                r#"{"name":"a","data":{"b":1},"channel":"c"}"#,
                "expected a string",
            ),
            (r#"{"name":"","data":"","channel":"c"}"#, "1 to 200 bytes"),
            (
                &format!(r#"{{"name":"{long}","data":"","channel":"c"}}"#),
                "1 to 200 bytes",
            ),
            (
                r#"{"name":"pusher:x","data":"","channel":"c"}"#,
                "must not begin",
            ),
            (
                r#"{"name":"fanfare:gap","data":"","channel":"c"}"#,
                "must not begin",
            ),
            (
                r#"{"name":"a","data":""}"#,
                "in channel, or several in channels",
            ),
            (
                r#"{"name":"a","data":"","channel":"c","channels":["c"]}"#,
                "not both",
            ),
            (
                r#"{"name":"a","data":"","channels":[]}"#,
                "1 to 100 channels",
            ),
            (
                &format!(r#"{{"name":"a","data":"","channels":["{many}"]}}"#),
                "1 to 100 channels",
            ),
            (
                r#"{"name":"a","data":"","channel":"c d"}"#,
                "letters, digits and",
            ),
            (
                r#"{"name":"a","data":"","channel":""}"#,
                "must not be empty",
            ),
            (
                r#"{"name":"a","data":"","channel":"c","socket_id":"1"}"#,
                "socket_id must be",
            ),
            (
                r#"{"name":"a","data":"","channel":"c","info":"cache"}"#,
                "info must be",
            ),
        ] {
            let fault = event(body).unwrap_err();
            assert!(fault.to_string().contains(told), "{fault} for {body}");
            assert!(!fault.is_too_long());
        }
        let data = "x".repeat(10_241);
        let fault = event(&format!(r#"{{"name":"a","data":"{data}","channel":"c"}}"#));
        assert!(fault.unwrap_err().is_too_long());
        let deep = format!(
            r#"{{"name":"a","data":"","channel":"c","x":{}"#,
            "[".repeat(100_000)
        );
        assert!(matches!(event(&deep), Err(BodyFault::Json(_))));
    }

    #[test]
    fn a_batch_has_one_to_ten_events() {
        let batch = |count: usize| {
            let one = r#"{"name":"a","data":"","channel":"c"}"#;
            let body = format!(r#"{{"batch":[{}]}}"#, vec![one; count].join(","));
            decode_batch(&app(), body.as_bytes()).map(|events| events.len())
        };
        assert_eq!((batch(1), batch(10)), (Ok(1), Ok(10)));
        for count in [0, 11] {
            assert_eq!(batch(count), Err(BodyFault::TooManyEvents(10)));
        }
    }
}
