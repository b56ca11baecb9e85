//! How clients talk once a WebSocket is open: plain messages, Centrifugo's client
//! protocol in JSON or Protobuf, or the Pusher Channels protocol.
//!
//! Pure: bytes go in and words come out. Called by `client` for what it sends and
//! hears.

mod json;
mod protobuf;
mod pusher;

use std::borrow::Cow;

use clap::ValueEnum;

use crate::codec::Opcode;

/// Which words are spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Dialect {
    /// A message is the payload; the path names the topic
    #[default]
    Raw,
    /// Centrifugo's client protocol in JSON, on /connection/websocket
    CentrifugoJson,
    /// The same in Protobuf
    CentrifugoProtobuf,
    /// Server-Sent Events of the topic that the path names; publishers talk as raw ones do
    Sse,
    /// The Pusher Channels protocol, on /app/KEY?protocol=7; publishers use its HTTP API (--app)
    Pusher,
}

/// What a client asks for. `id` comes back in the answer.
#[derive(Clone, Copy, Debug)]
pub enum Ask<'a> {
    Connect,
    Subscribe {
        channel: &'a str,
        /// Where the client was, if it is to be sent what it has missed.
        since: Option<&'a Position>,
    },
    Publish {
        channel: &'a str,
        /// Plain ASCII without quotes and backslashes.
        payload: &'a [u8],
    },
}

/// A place in a topic's history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position {
    pub epoch: String,
    /// Of the last message that was heard.
    pub offset: u64,
}

/// A publication: its payload without the quotes that JSON puts around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publication<'a> {
    pub payload: &'a [u8],
    pub offset: u64,
}

/// What a server says.
#[derive(Debug, PartialEq, Eq)]
pub enum Word<'a> {
    Publication {
        channel: Cow<'a, str>,
        publication: Publication<'a>,
    },
    Connected,
    Subscribed {
        id: u32,
        position: Position,
        recovered: bool,
        /// The first that were missed; the others may follow as ordinary ones.
        publications: Vec<Publication<'a>>,
    },
    /// A subscription that is known by its channel.
    Entered {
        channel: Cow<'a, str>,
    },
    /// The answer to anything else.
    Done,
    /// Wants to be answered in kind.
    Ping,
    Refused {
        id: u32,
        code: u32,
        message: Cow<'a, str>,
    },
    /// The server has ended a subscription.
    Unsubscribed {
        code: u32,
    },
    Other,
}

impl Dialect {
    /// Whether a connection names its topics in commands, so that it may have several.
    pub fn asks(self) -> bool {
        !matches!(self, Dialect::Raw | Dialect::Sse)
    }

    /// Whether the server speaks first, and clients wait for that before they ask for topics,
    /// each in a message of its own.
    pub fn is_greeted(self) -> bool {
        self == Dialect::Pusher
    }

    /// Whether who returns can ask for what it has missed.
    pub fn recovers(self) -> bool {
        self != Dialect::Pusher
    }

    /// Whether who `publishes`, or does not, reads a stream of events rather than a WebSocket.
    pub fn streams(self, publishes: bool) -> bool {
        self == Dialect::Sse && !publishes
    }

    pub fn subprotocol(self) -> Option<&'static str> {
        (self == Dialect::CentrifugoProtobuf).then_some("centrifuge-protobuf")
    }

    pub fn opcode(self) -> Opcode {
        match self {
            Dialect::CentrifugoProtobuf => Opcode::Binary,
            _ => Opcode::Text,
        }
    }

    /// Appends a command; several may stand in one message, except where the client is greeted.
    ///
    /// # Panics
    /// For raw and streams, which have no commands.
    pub fn ask(self, id: u32, ask: &Ask<'_>, out: &mut Vec<u8>) {
        match self {
            Dialect::Raw | Dialect::Sse => unreachable!("its clients send payloads"),
            Dialect::CentrifugoJson => json::ask(id, ask, out),
            Dialect::CentrifugoProtobuf => protobuf::ask(id, ask, out),
            Dialect::Pusher => pusher::ask(ask, out),
        }
    }

    /// The answer to a ping.
    pub fn pong(self) -> &'static [u8] {
        match self {
            Dialect::Raw | Dialect::Sse => b"",
            Dialect::CentrifugoJson => b"{}",
            Dialect::CentrifugoProtobuf => &[0],
            Dialect::Pusher => pusher::PONG,
        }
    }

    /// Takes the words of one message, in order; an error says what cannot be read.
    ///
    /// # Panics
    /// For raw and streams, whose messages are payloads.
    pub fn read<'a>(self, message: &'a [u8], each: &mut dyn FnMut(Word<'a>)) -> Result<(), String> {
        match self {
            Dialect::Raw | Dialect::Sse => unreachable!("its messages are payloads"),
            Dialect::CentrifugoJson => json::read(message, each),
            Dialect::CentrifugoProtobuf => protobuf::read(message, each),
            Dialect::Pusher => pusher::read(message, each),
        }
    }
}

/// A payload as `data`: a JSON string, so that readers of every kind can have it.
fn quote(payload: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(payload);
    out.push(b'"');
}

/// The payload of a JSON string; what is no string is left as it is.
fn unquote(data: &[u8]) -> &[u8] {
    let inside = data
        .strip_prefix(b"\"")
        .and_then(|rest| rest.strip_suffix(b"\""));
    inside.unwrap_or(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: [Dialect; 2] = [Dialect::CentrifugoJson, Dialect::CentrifugoProtobuf];

    fn said(dialect: Dialect, ask: Ask<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        dialect.ask(7, &ask, &mut out);
        out
    }

    #[test]
    fn commands_are_as_the_protocol_has_them() {
        let since = Position {
            epoch: "e".into(),
            offset: 300,
        };
        let subscribe = |since| Ask::Subscribe {
            channel: "a-1",
            since,
        };
        let publish = Ask::Publish {
            channel: "a",
            payload: b"Fxy",
        };
        let json = |ask| String::from_utf8(said(Dialect::CentrifugoJson, ask)).unwrap();
        assert_eq!(json(Ask::Connect), "{\"id\":7,\"connect\":{}}\n");
        assert_eq!(
            json(subscribe(Some(&since))),
            "{\"id\":7,\"subscribe\":{\"channel\":\"a-1\",\"recover\":true,\"epoch\":\"e\",\"offset\":300}}\n"
        );
        assert_eq!(
            json(publish),
            "{\"id\":7,\"publish\":{\"channel\":\"a\",\"data\":\"Fxy\"}}\n"
        );
        let protobuf = |ask| said(Dialect::CentrifugoProtobuf, ask);
        // Length, id = 1, connect = 4 of no bytes.
        assert_eq!(protobuf(Ask::Connect), [4, 8, 7, 0x22, 0]);
        assert_eq!(
            protobuf(subscribe(None)),
            [9, 8, 7, 0x2a, 5, 0x0a, 3, b'a', b'-', b'1']
        );
        assert_eq!(
            protobuf(subscribe(Some(&since))),
            [
                17, 8, 7, 0x2a, 13, 0x0a, 3, b'a', b'-', b'1', 0x18, 1, 0x32, 1, b'e', 0x38, 0xac,
                2
            ]
        );
        assert_eq!(
            protobuf(publish),
            [
                14, 8, 7, 0x3a, 10, 0x0a, 1, b'a', 0x12, 5, b'"', b'F', b'x', b'y', b'"'
            ]
        );
    }

    #[test]
    fn what_cannot_be_read_is_an_error_and_never_a_panic() {
        for dialect in BOTH {
            let mut words = 0;
            for message in [
                &b"{\"push\":"[..],
                b"\xff",
                b"\x05\x08",
                b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
            ] {
                let read = dialect.read(message, &mut |_| words += 1);
                assert!(read.is_err(), "{dialect:?} {message:?}");
            }
            for length in 0..=255u8 {
                let message = [&[length][..], &[0x22; 40]].concat();
                let _ = dialect.read(&message, &mut |_| {});
            }
        }
    }
}
