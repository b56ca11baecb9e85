//! Dialects: how connections talk. Each is a pure state machine: what a peer sends
//! goes in, [`Command`]s for the core come out, and what the core has to tell the
//! peer is put into the dialect's words. None knows the log, the ring or another
//! dialect.

mod chat;
mod raw;

use std::net::SocketAddr;

use super::encoding::{Extras, Format};
use super::reason::CloseReason;
use super::ws::Payload;

/// How a connection talks. Small, as every connection's record holds one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Dialect {
    /// Each message is published as it is.
    Raw,
    /// People talking, line by line.
    Chat,
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
    pub missed: u64,
}

impl Dialect {
    /// Every dialect, in the order of their numbers.
    pub const ALL: [Dialect; 2] = [Dialect::Raw, Dialect::Chat];

    /// The dialect with that number, as [`Dialect::number`] gave it.
    pub fn from_number(number: u8) -> Option<Dialect> {
        Dialect::ALL.get(usize::from(number)).copied()
    }

    /// What stands for the dialect outside this process.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// What a peer reads with which compression was agreed on, up to two to the power
    /// of `window_bits` bytes back, or none if that is 0.
    pub fn format(self, window_bits: u8) -> Format {
        match (self, window_bits) {
            // Its lines are short.
            (Dialect::Chat, _) => Format::Lines,
            (Dialect::Raw, 0) => Format::Raw,
            (Dialect::Raw, bits) => Format::Deflated(bits),
        }
    }

    /// What goes with all that a peer publishes.
    pub fn extras(self) -> Option<Extras<'static>> {
        match self {
            Dialect::Raw => None,
            Dialect::Chat => Some(chat::extras()),
        }
    }

    /// A publisher hears its own messages, whatever it asked for.
    pub fn hears_itself(self) -> bool {
        self == Dialect::Chat
    }

    /// What is said to all when a connection has been subscribed.
    pub fn entered(self, context: &Context<'_>) -> Option<String> {
        match self {
            Dialect::Raw => None,
            Dialect::Chat => Some(chat::entered(context)),
        }
    }

    /// What is said to all when a connection ends that had entered.
    pub fn left(self, context: &Context<'_>) -> Option<String> {
        match self {
            Dialect::Raw => None,
            Dialect::Chat => Some(chat::left(context)),
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
        match self {
            Dialect::Raw => Ok(Command::Publish(message)),
            Dialect::Chat => chat::handle_message(context, message),
        }
    }

    /// Tells of a gap: a whole frame.
    pub fn gap(self, gap: &Gap) -> Vec<u8> {
        match self {
            Dialect::Raw | Dialect::Chat => raw::gap(gap),
        }
    }

    /// The reason in the close frame, for the person who debugs the peer.
    /// `retry_ms` is when a peer should come back whom the server's end sends
    /// away.
    pub fn farewell(self, reason: CloseReason, retry_ms: u64) -> String {
        match self {
            Dialect::Raw | Dialect::Chat => raw::farewell(reason, retry_ms),
        }
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
