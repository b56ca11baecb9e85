//! Dialects: how connections talk. Each is a pure state machine: what a peer sends
//! goes in, [`Command`]s for the core come out, and what the core has to tell the
//! peer is put into the dialect's words. None knows the log, the ring or another
//! dialect.

pub mod centrifugo;
mod chat;
mod event_stream;
pub mod pusher;
mod raw;
pub mod session;

use std::net::SocketAddr;

use self::centrifugo::{Ending, words};
use super::centrifugo::{Coding, alone, ping};
use super::encoding::{Extras, Format};
use super::event_stream::Shape;
use super::pusher::words as pusher_words;
use super::reason::CloseReason;
use super::ws::frame::{self, SERVER_HEADER_BYTES_MAX};
use super::ws::{Opcode, Payload};

/// How a connection talks. Small, as every connection's record holds one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Dialect {
    /// Each message is published as it is.
    Raw,
    /// People talking, line by line.
    Chat,
    /// Centrifugo's client protocol, in JSON.
    CentrifugoJson,
    /// The same in Protobuf.
    CentrifugoProtobuf,
    /// As raw, but what it hears comes as JSON, with offsets.
    Numbered,
    /// The Pusher Channels protocol.
    Pusher,
    /// Server-Sent Events of one topic: it says nothing, and is spoken to over plain HTTP.
    EventStream,
    /// The same of many topics.
    EventStreams,
    /// The same of many topics, with messages as they are.
    PlainEvents,
}

/// What dialects are in which they behave alike.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Each message is published as it is, and gaps are told in frames of their own.
    Raw,
    /// The same for people, line by line.
    Chat,
    /// Centrifugo's sessions.
    Sessions(Coding),
    /// A client of an app.
    App,
    /// A stream of events.
    Stream,
}

/// What becomes of a subscription that has missed messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtGap {
    /// Its peer is told, and it goes on.
    Told,
    /// It ends, and its client asks for it again.
    Ends,
    /// The connection is closed, and its client comes back.
    Closes,
}

/// What a dialect may ask about the connection it speaks on.
pub struct Context<'a> {
    /// The peer's address.
    pub peer: SocketAddr,
    /// The time of day as people there have it, `HH:MM:SS`; asked only where a
    /// line names it.
    pub time_of_day: &'a dyn Fn() -> String,
}

/// A message as it came from a peer.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    /// Text, else binary.
    pub text: bool,
    /// Its bytes; masked text is not yet checked for UTF-8.
    pub payload: Payload<'a>,
}

/// What a core is to do for a peer.
#[derive(Debug)]
pub enum Command<'a> {
    /// Publish to the peer's topic.
    Publish(Incoming<'a>),
    /// Publish a text to the peer's topic, to be heard by the peer as well.
    Say(String),
    /// Say this, and close once the peer has heard it.
    SayAndLeave(String),
    /// Go through the commands in it, one after the other, with the peer's session.
    Converse(Incoming<'a>),
}

/// Messages of a topic that a subscriber has missed: all from one offset to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The history's name.
    pub epoch: u64,
    /// Offset of the first one.
    pub from: u64,
    /// Offset of the last one.
    pub to: u64,
    /// How many there were, where they were counted.
    pub missed: Option<u64>,
}

impl Dialect {
    /// Every dialect, in the order of their numbers.
    pub const ALL: [Dialect; 9] = [
        Dialect::Raw,
        Dialect::Chat,
        Dialect::CentrifugoJson,
        Dialect::CentrifugoProtobuf,
        Dialect::Numbered,
        Dialect::Pusher,
        Dialect::EventStream,
        Dialect::EventStreams,
        Dialect::PlainEvents,
    ];

    /// As it is called where people see it.
    pub fn name(self) -> &'static str {
        match self {
            Dialect::Raw => "raw",
            Dialect::Chat => "chat",
            Dialect::CentrifugoJson => "centrifugo_json",
            Dialect::CentrifugoProtobuf => "centrifugo_protobuf",
            Dialect::Numbered => "numbered",
            Dialect::Pusher => "pusher",
            Dialect::EventStream => "event_stream",
            Dialect::EventStreams => "event_streams",
            Dialect::PlainEvents => "plain_events",
        }
    }

    /// The dialect with that number, as [`Dialect::number`] gave it.
    pub fn from_number(number: u8) -> Option<Dialect> {
        Dialect::ALL.get(usize::from(number)).copied()
    }

    /// How a client is talked to that has asked for a stream of that shape.
    pub fn of_stream(shape: Shape) -> Dialect {
        match shape {
            Shape::One => Dialect::EventStream,
            Shape::Many => Dialect::EventStreams,
            Shape::Plain => Dialect::PlainEvents,
        }
    }

    /// What stands for the dialect outside this process.
    pub fn number(self) -> u8 {
        self as u8
    }

    #[inline]
    fn kind(self) -> Kind {
        match self {
            Dialect::Raw | Dialect::Numbered => Kind::Raw,
            Dialect::Chat => Kind::Chat,
            Dialect::CentrifugoJson => Kind::Sessions(Coding::Json),
            Dialect::CentrifugoProtobuf => Kind::Sessions(Coding::Protobuf),
            Dialect::Pusher => Kind::App,
            Dialect::EventStream | Dialect::EventStreams | Dialect::PlainEvents => Kind::Stream,
        }
    }

    /// What a peer reads with which compression was agreed on, up to two to the power
    /// of `window_bits` bytes back, or none if that is 0.
    pub fn format(self, window_bits: u8) -> Format {
        let plain = match self {
            // Its lines are short, and never compressed.
            Dialect::Chat => Format::Lines,
            Dialect::CentrifugoJson => Format::CentrifugoJson,
            Dialect::CentrifugoProtobuf => Format::CentrifugoProtobuf,
            Dialect::Numbered => Format::Numbered,
            Dialect::Pusher => Format::Pusher,
            // Each message alone compresses badly, and what decompresses a stream on its way
            // holds it back.
            Dialect::EventStream => Format::EventStream,
            Dialect::EventStreams => Format::EventStreams,
            Dialect::PlainEvents => Format::PlainEvents,
            Dialect::Raw => Format::Raw,
        };
        plain.deflated(window_bits)
    }

    /// How a peer reads who comes and goes, if it can ask for that.
    pub fn joins_format(self) -> Option<Format> {
        self.coding().map(|coding| match coding {
            Coding::Json => Format::JoinsJson,
            Coding::Protobuf => Format::JoinsProtobuf,
        })
    }

    /// What goes with all that a peer publishes.
    pub fn extras(self) -> Option<Extras<'static>> {
        match self {
            Dialect::Chat => Some(chat::extras()),
            _ => None,
        }
    }

    /// A publisher hears its own messages, whatever it asked for.
    pub fn hears_itself(self) -> bool {
        !matches!(self.kind(), Kind::Raw | Kind::App)
    }

    /// A peer may publish to its topic, if it may publish there at all and, where people
    /// talk, that is what the topic is for.
    pub fn may_speak(self, may_publish: bool, chat: bool) -> bool {
        may_publish && (chat || self != Dialect::Chat) && !self.is_event_stream()
    }

    /// What is said to all when a connection has been subscribed.
    pub fn entered(self, context: &Context<'_>) -> Option<String> {
        match self {
            Dialect::Chat => Some(chat::entered(context)),
            _ => None,
        }
    }

    /// What is said to all when a connection ends that had entered.
    pub fn left(self, context: &Context<'_>) -> Option<String> {
        match self {
            Dialect::Chat => Some(chat::left(context)),
            _ => None,
        }
    }

    /// What a message asks for.
    ///
    /// # Errors
    /// Why the connection is to be closed instead.
    #[inline]
    pub fn handle_message<'a>(
        self,
        context: &Context<'_>,
        message: Incoming<'a>,
    ) -> Result<Command<'a>, CloseReason> {
        match self.kind() {
            Kind::Raw => Ok(Command::Publish(message)),
            Kind::Chat => chat::handle_message(context, message),
            Kind::Sessions(_) | Kind::App => Ok(Command::Converse(message)),
            Kind::Stream => Err(CloseReason::BadRequest),
        }
    }

    /// It is no WebSocket: the peer says nothing once it has asked, and is sent events.
    #[inline]
    pub fn is_event_stream(self) -> bool {
        self.kind() == Kind::Stream
    }

    /// It is a stream of events of many topics: its client is told apart from them where it is.
    #[inline]
    pub fn has_many_topics(self) -> bool {
        matches!(self, Dialect::EventStreams | Dialect::PlainEvents)
    }

    /// Its clients say command by command what they want.
    #[inline]
    pub fn has_sessions(self) -> bool {
        matches!(self.kind(), Kind::Sessions(_) | Kind::App)
    }

    /// How sessions of Centrifugo's protocol write.
    #[inline]
    pub fn coding(self) -> Option<Coding> {
        match self.kind() {
            Kind::Sessions(coding) => Some(coding),
            Kind::Raw | Kind::Chat | Kind::App | Kind::Stream => None,
        }
    }

    /// What becomes of a subscription with a gap; `latest` is that only the latest message
    /// counts.
    pub fn at_gap(self, latest: bool) -> AtGap {
        match self.kind() {
            Kind::Raw | Kind::Chat | Kind::Stream => AtGap::Told,
            Kind::Sessions(_) => AtGap::Ends,
            Kind::App if latest => AtGap::Told,
            Kind::App => AtGap::Closes,
        }
    }

    /// Tells of a gap in a topic: a whole frame, or event.
    pub fn gap(self, topic: &str, gap: &Gap) -> Vec<u8> {
        match self.kind() {
            Kind::Stream => event_stream::gap(self.told(topic), gap),
            Kind::App => self.frame(&pusher::gap(topic, gap)),
            Kind::Raw | Kind::Chat => self.frame(raw::gap(gap).as_bytes()),
            Kind::Sessions(coding) => {
                self.frame(&words::ended(coding, topic, Ending::InsufficientState))
            }
        }
    }

    /// Tells who reads a stream of events that it has asked for what comes behind an offset of a
    /// history that is not known here. It begins with what is `next` in that of `epoch`.
    pub fn lost(self, topic: &str, epoch: u64, next: u64) -> Vec<u8> {
        event_stream::lost(self.told(topic), epoch, next)
    }

    /// The topic, where the stream has many.
    fn told(self, topic: &str) -> Option<&str> {
        self.has_many_topics().then_some(topic)
    }

    /// A frame with what the server says of its own accord.
    pub fn frame(self, message: &[u8]) -> Vec<u8> {
        let message = match self.coding() {
            None => message,
            Some(coding) => alone(coding, message),
        };
        let opcode = match self {
            Dialect::CentrifugoProtobuf => Opcode::Binary,
            _ => Opcode::Text,
        };
        let mut header = [0; SERVER_HEADER_BYTES_MAX];
        let len = frame::encode(&mut header, opcode, false, message.len());
        let mut bytes = header[..len].to_vec();
        bytes.extend_from_slice(message);
        bytes
    }

    /// Its clients are promised pings of their own, or signs of life.
    #[inline]
    pub fn has_pings(self) -> bool {
        !matches!(self.kind(), Kind::Raw | Kind::Chat)
    }

    /// How a session asks whether its peer lives: a whole frame. Others have WebSocket's ping.
    /// A stream of events only shows that it lives itself.
    pub fn ping(self) -> Option<Vec<u8>> {
        match self.kind() {
            Kind::Stream => Some(event_stream::HEARTBEAT.to_vec()),
            Kind::Sessions(coding) => Some(self.frame(ping(coding))),
            Kind::App => Some(self.frame(pusher_words::ping())),
            Kind::Raw | Kind::Chat => None,
        }
    }

    /// The code of the close frame.
    pub fn code(self, reason: CloseReason) -> u16 {
        match self.kind() {
            Kind::Raw | Kind::Chat | Kind::Stream => reason.code(),
            Kind::Sessions(_) => centrifugo::code(reason),
            Kind::App => pusher::code(reason),
        }
    }

    /// The reason in the close frame, for the person who debugs the peer.
    /// `retry_ms` is when a peer should come back whom the server's end sends
    /// away.
    pub fn farewell(self, reason: CloseReason, retry_ms: u64) -> String {
        match self.kind() {
            Kind::Raw | Kind::Chat => raw::farewell(reason, retry_ms),
            Kind::Sessions(_) | Kind::App | Kind::Stream => reason.phrase(),
        }
    }

    /// What a stream of events ends with, in place of a close frame with those words: with the
    /// field `id`, or an empty one where the last event has told that.
    pub fn last_event(self, words: &str, reason: CloseReason, retry_ms: u64, id: &[u8]) -> Vec<u8> {
        event_stream::farewell(words, reason, retry_ms, id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dialect_comes_back_by_its_number() {
        for dialect in Dialect::ALL {
            assert_eq!(Dialect::from_number(dialect.number()), Some(dialect));
        }
        assert_eq!(Dialect::from_number(Dialect::ALL.len() as u8), None);
    }
}
