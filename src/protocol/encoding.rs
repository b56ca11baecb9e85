//! What a message is, and the trait by which the log has it written for one
//! kind of subscriber.
//!
//! The log calls an [`Encoding`] and knows no protocol; an encoding is pure and
//! knows no log. A new kind of subscriber is a variant of [`Format`] and an arm
//! in the encoder that implements it.

/// Longest header of a raw message, in bytes.
pub const HEADER_BYTES_MAX: usize = 16;

/// How the messages of a view are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// WebSocket frames with the payload as it is: the source of all others.
    Raw,
    /// The lines of a chat, as frames; text that is none of its lines is marked.
    Lines,
    /// Pushes of Centrifugo's client protocol, as frames with JSON.
    CentrifugoJson,
    /// The same with Protobuf.
    CentrifugoProtobuf,
    /// Who comes and goes, as pushes of that protocol with JSON. Not of a topic, but of its
    /// companion.
    JoinsJson,
    /// The same with Protobuf.
    JoinsProtobuf,
    /// Raw messages as JSON, each with its offset.
    Numbered,
    /// Events of Server-Sent Events, each with the id by which a client comes back.
    EventStream,
    /// The same without ids, where one stream has the events of many topics: each says of
    /// which one it is.
    EventStreams,
    /// The same as they are: which topic one is of it does not say.
    PlainEvents,
    /// Events of the Pusher Channels protocol, as frames.
    Pusher,
    /// Which users come and go, as events of that protocol. Of a topic's companion.
    JoinsPusher,
    /// One of the others with compressed payloads, which refer back at most two to the
    /// power of this many bytes.
    Deflated(Plain, u8),
}

/// What may be compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Plain {
    Raw,
    CentrifugoJson,
    CentrifugoProtobuf,
    Numbered,
    Pusher,
}

impl Plain {
    const ALL: [Plain; 5] = [
        Plain::Raw,
        Plain::CentrifugoJson,
        Plain::CentrifugoProtobuf,
        Plain::Numbered,
        Plain::Pusher,
    ];

    /// The format without compression.
    pub const fn format(self) -> Format {
        match self {
            Plain::Raw => Format::Raw,
            Plain::CentrifugoJson => Format::CentrifugoJson,
            Plain::CentrifugoProtobuf => Format::CentrifugoProtobuf,
            Plain::Numbered => Format::Numbered,
            Plain::Pusher => Format::Pusher,
        }
    }
}

impl Format {
    /// Formats there may be; each has an index below this.
    pub const COUNT: u8 = 64;

    /// A number that names the format for good: it goes from one process to the
    /// next.
    pub const fn index(self) -> u8 {
        match self {
            Format::Raw => 0,
            Format::Lines => 1,
            Format::CentrifugoJson => 2,
            Format::CentrifugoProtobuf => 3,
            Format::JoinsJson => 4,
            Format::JoinsProtobuf => 5,
            Format::Numbered => 6,
            Format::EventStream => 48,
            Format::EventStreams => 49,
            Format::PlainEvents => 51,
            Format::Pusher => 7,
            Format::JoinsPusher => 50,
            // Window sizes are 8 to 15 bits.
            Format::Deflated(plain, window_bits) => plain as u8 * 8 + window_bits,
        }
    }

    /// The format with that number.
    pub const fn from_index(index: u8) -> Option<Format> {
        match index {
            0 => Some(Format::Raw),
            1 => Some(Format::Lines),
            2 => Some(Format::CentrifugoJson),
            3 => Some(Format::CentrifugoProtobuf),
            4 => Some(Format::JoinsJson),
            5 => Some(Format::JoinsProtobuf),
            6 => Some(Format::Numbered),
            48 => Some(Format::EventStream),
            49 => Some(Format::EventStreams),
            51 => Some(Format::PlainEvents),
            7 => Some(Format::Pusher),
            50 => Some(Format::JoinsPusher),
            8.. => {
                let plain = index as usize / 8 - 1;
                match plain < Plain::ALL.len() {
                    true => Some(Format::Deflated(Plain::ALL[plain], 8 + index % 8)),
                    false => None,
                }
            }
        }
    }

    /// Who reads this format understands `other` as well.
    pub fn understands(self, other: Format) -> bool {
        match (self, other) {
            (Format::Deflated(own, window), Format::Deflated(other, other_window)) => {
                own == other && other_window <= window
            }
            // A compressed message says so itself; any may come as it is.
            _ => self == other || self.plain() == other,
        }
    }

    /// The same without compression.
    pub const fn plain(self) -> Format {
        match self {
            Format::Deflated(plain, _) => plain.format(),
            plain => plain,
        }
    }

    /// The same with compression, which refers back at most two to the power of
    /// `window_bits` bytes; as it is if that is 0 or it is never compressed.
    pub fn deflated(self, window_bits: u8) -> Format {
        let plain = Plain::ALL.into_iter().find(|plain| plain.format() == self);
        match plain {
            Some(plain) if window_bits > 0 => Format::Deflated(plain, window_bits),
            _ => self,
        }
    }

    /// It tells who comes and goes.
    pub fn is_joins(self) -> bool {
        matches!(
            self,
            Format::JoinsJson | Format::JoinsProtobuf | Format::JoinsPusher
        )
    }

    /// It is a topic's, read by clients of sessions.
    pub fn is_push(self) -> bool {
        matches!(
            self.plain(),
            Format::CentrifugoJson | Format::CentrifugoProtobuf | Format::Pusher
        )
    }

    /// It is a kind of compressed payloads.
    pub fn is_deflated(self) -> bool {
        matches!(self, Format::Deflated(..))
    }
}

/// A set of formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Formats(u64);

impl Formats {
    pub const fn from_bits(bits: u64) -> Formats {
        Formats(bits)
    }

    pub const fn bits(self) -> u64 {
        self.0
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn insert(&mut self, format: Format) {
        self.0 |= 1 << format.index();
    }

    pub const fn contains(self, format: Format) -> bool {
        self.0 & 1 << format.index() != 0
    }

    pub fn iter(self) -> impl Iterator<Item = Format> {
        (0..Format::COUNT)
            .filter(move |index| self.0 & 1 << index != 0)
            .filter_map(Format::from_index)
    }
}

/// A message as an encoding gets it.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    pub topic: &'a str,
    /// Names the topic's history.
    pub epoch: u64,
    /// Its number in the topic, from 1.
    pub offset: u64,
    /// When it was published: Unix time in milliseconds, which never goes back
    /// within a topic.
    pub time_ms: u64,
    /// The payload is UTF-8 text.
    pub text: bool,
    pub payload: &'a [u8],
    pub extras: Option<Extras<'a>>,
}

/// What only few messages have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extras<'a> {
    /// The name of the event that the message reports.
    pub event: Option<&'a str>,
    /// What is known of the publisher, as the publisher's protocol writes it.
    pub info: &'a [u8],
    /// A JSON object whose values are strings, or empty.
    pub tags: &'a str,
    /// The connection it came from.
    pub origin: Option<u64>,
}

/// Writes messages for one kind of subscriber each.
pub trait Encoding {
    /// Writes what stands before the payload of a raw message and returns how
    /// many bytes that is.
    fn header(&self, text: bool, payload_len: usize, out: &mut [u8; HEADER_BYTES_MAX]) -> usize;

    /// [`Encoding::write`] writes at most so many bytes for `message`.
    fn bound(&mut self, format: Format, message: &Message<'_>) -> usize;

    /// Writes `message` to the start of `out`, which has as many bytes as
    /// [`Encoding::bound`] said, and returns how many were written; none is
    /// allowed.
    fn write(&mut self, format: Format, message: &Message<'_>, out: &mut [u8]) -> usize;
}

/// Extras whose parts together are longer are refused.
pub const EXTRAS_BYTES_MAX: usize = 64 << 10;

impl<'a> Extras<'a> {
    /// Length of what [`Extras::encode`] appends.
    pub fn encoded_len(&self) -> usize {
        1 + 3 * 4 + 8 + self.event.map_or(0, str::len) + self.info.len() + self.tags.len()
    }

    /// Appends the parts to `out`, for [`Extras::decode`].
    pub fn encode(&self, out: &mut Vec<u8>) {
        let event = self.event.unwrap_or_default();
        out.push(u8::from(self.event.is_some()) | u8::from(self.origin.is_some()) << 1);
        for part in [event.as_bytes(), self.info, self.tags.as_bytes()] {
            out.extend_from_slice(&(part.len() as u32).to_le_bytes());
        }
        out.extend_from_slice(&self.origin.unwrap_or(0).to_le_bytes());
        for part in [event.as_bytes(), self.info, self.tags.as_bytes()] {
            out.extend_from_slice(part);
        }
    }

    /// The extras at the start of `bytes`; `None` if there are none.
    pub fn decode(bytes: &'a [u8]) -> Option<Extras<'a>> {
        let (flags, rest) = bytes.split_first()?;
        let (lens, rest) = rest.split_at_checked(12)?;
        let (origin, rest) = rest.split_first_chunk()?;
        let len = |at: usize| {
            let bytes = lens[4 * at..].first_chunk().expect("three lengths");
            u32::from_le_bytes(*bytes) as usize
        };
        let (event, rest) = rest.split_at_checked(len(0))?;
        let (info, rest) = rest.split_at_checked(len(1))?;
        let tags = rest.get(..len(2))?;
        let event = std::str::from_utf8(event).ok()?;
        Some(Extras {
            event: (flags & 1 != 0).then_some(event),
            info,
            tags: std::str::from_utf8(tags).ok()?,
            origin: (flags & 2 != 0).then_some(u64::from_le_bytes(*origin)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_format_has_its_own_number() {
        let known = (0..Format::COUNT).filter_map(Format::from_index);
        let mut all = Formats::default();
        for format in known {
            assert_eq!(Format::from_index(format.index()), Some(format));
            assert!(!all.contains(format));
            all.insert(format);
            assert!(all.contains(format));
            assert!(format.understands(format));
        }
        assert!(all.iter().any(|format| format == Format::Raw));
        assert_eq!(Formats::from_bits(all.bits()), all);
    }

    #[test]
    fn a_larger_window_reads_what_a_smaller_one_does() {
        for plain in Plain::ALL {
            let (nine, fifteen) = (Format::Deflated(plain, 9), Format::Deflated(plain, 15));
            assert!(fifteen.understands(nine));
            assert!(!nine.understands(fifteen));
            assert!(nine.understands(plain.format()));
            assert!(!plain.format().understands(fifteen));
            assert_eq!(plain.format().deflated(9), nine);
            assert_eq!(plain.format().deflated(0), plain.format());
        }
        assert!(!Format::Deflated(Plain::Numbered, 9).understands(Format::Raw));
        let raw = Format::Deflated(Plain::Raw, 9);
        assert!(!Format::Deflated(Plain::Numbered, 9).understands(raw));
        assert_eq!(Format::Lines.deflated(9), Format::Lines);
    }

    #[test]
    fn extras_come_out_as_they_went_in_and_cut_ones_not_at_all() {
        let all = Extras {
            event: Some("joined"),
            info: b"{\"name\":1}",
            tags: "{\"a\":\"b\"}",
            origin: Some(77),
        };
        let partly = Extras {
            info: b"x",
            ..Extras::default()
        };
        for extras in [all, partly, Extras::default()] {
            let mut bytes = Vec::new();
            extras.encode(&mut bytes);
            assert_eq!(bytes.len(), extras.encoded_len());
            assert_eq!(Extras::decode(&bytes), Some(extras));
            for cut in 0..bytes.len() {
                assert_eq!(Extras::decode(&bytes[..cut]), None);
            }
        }
    }
}
