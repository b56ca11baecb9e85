//! How messages are written for subscribers, and read where they come
//! compressed: the compressors of one core and the memory that messages pass
//! through. Made when first needed.

use crate::mask;
use crate::protocol::centrifugo::{
    Coding, alone, membership_bound, numbered_bound, publication_bound, write_membership,
    write_numbered, write_publication,
};
use crate::protocol::chat;
use crate::protocol::encoding::{Encoding, Format, Formats, HEADER_BYTES_MAX, Message};
use crate::protocol::ws::deflate::{Deflater, Inflater};
use crate::protocol::ws::frame::{self, SERVER_HEADER_BYTES_MAX};
use crate::protocol::ws::{Fault, Opcode, Payload};

/// Scratch memory that is kept between messages; larger is given back.
const KEPT_BYTES_MAX: usize = 1 << 20;
/// Compressors that are kept, each for a window size of its own.
const COMPRESSORS_MAX: usize = 2;

const _: () = assert!(SERVER_HEADER_BYTES_MAX <= HEADER_BYTES_MAX);

/// How hard is tried to compress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effort {
    pub level: u32,
    /// Shorter messages are left as they are.
    pub bytes_min: usize,
}

/// Compresses and inflates for one thread, or one lock.
#[derive(Default)]
pub struct Codec {
    /// The one used last comes first.
    compressors: Vec<Compressor>,
    inflater: Option<Box<Inflater>>,
    scratch: Scratch,
}

/// A compressor, and what it last made.
struct Compressor {
    window_bits: u8,
    deflater: Deflater,
    compressed: Vec<u8>,
    /// That is the message at hand.
    is_ready: bool,
}

/// The bytes of one message, plain.
#[derive(Default)]
pub struct Scratch {
    masked: Vec<u8>,
    plain: Vec<u8>,
}

/// Writes messages in all formats.
pub struct Encoder<'a> {
    codec: &'a mut Codec,
    how: How,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// Nothing goes out compressed.
    Plain,
    /// What has been prepared goes out compressed.
    Prepared,
    /// Each message is compressed when it is written.
    Afresh(Effort),
}

impl Codec {
    /// The plain bytes of a message that came compressed, in `scratch`.
    /// `own` is the inflater of a client that keeps its window.
    pub fn inflate(
        &mut self,
        payload: Payload<'_>,
        own: Option<&mut Inflater>,
        message_bytes_max: usize,
        scratch: &mut Scratch,
    ) -> Result<(), Fault> {
        let bytes = match payload {
            Payload::Masked { bytes, key } => {
                scratch.masked.clear();
                mask::append_unmasked(&mut scratch.masked, bytes, key);
                &scratch.masked
            }
            Payload::Whole(bytes) => bytes,
        };
        let inflater = match own {
            Some(own) => own,
            None => {
                let shared = self.inflater.get_or_insert_default();
                shared.reset();
                shared
            }
        };
        inflater.inflate(bytes, message_bytes_max, &mut scratch.plain)
    }

    /// Compresses `message` for those of `formats` that want it, so that it need
    /// not be done while others wait. [`Codec::prepared`] writes it.
    pub fn prepare(&mut self, formats: Formats, message: &[u8], effort: Effort) {
        for compressor in &mut self.compressors {
            compressor.is_ready = false;
        }
        for format in formats.iter() {
            if let Format::Deflated(window_bits) = format {
                self.compress(window_bits, message, effort);
            }
        }
    }

    /// What each format has been prepared with, and how many bytes that saves.
    pub fn saved_bytes(&self) -> impl Iterator<Item = (Format, u64)> {
        let ready = self.compressors.iter().filter(|c| c.is_ready);
        ready.map(|compressor| {
            let saved = compressor.deflater.total_in() - compressor.compressed.len() as u64;
            (Format::Deflated(compressor.window_bits), saved)
        })
    }

    /// Writes a message that nothing has been prepared for.
    #[inline]
    pub fn plain(&mut self) -> Encoder<'_> {
        let (codec, how) = (self, How::Plain);
        Encoder { codec, how }
    }

    /// Writes the message that has been prepared.
    pub fn prepared(&mut self) -> Encoder<'_> {
        let (codec, how) = (self, How::Prepared);
        Encoder { codec, how }
    }

    /// Writes any messages, one after the other.
    pub fn afresh(&mut self, effort: Effort) -> Encoder<'_> {
        let (codec, how) = (self, How::Afresh(effort));
        Encoder { codec, how }
    }

    fn compress(&mut self, window_bits: u8, message: &[u8], effort: Effort) {
        let fits = |c: &Compressor| c.window_bits == window_bits;
        let compressor = match self.compressors.iter().position(fits) {
            Some(at) => self.compressors.remove(at),
            None => {
                self.compressors.truncate(COMPRESSORS_MAX - 1);
                Compressor {
                    window_bits,
                    deflater: Deflater::new(effort.level),
                    compressed: Vec::new(),
                    is_ready: false,
                }
            }
        };
        self.compressors.insert(0, compressor);
        let compressor = &mut self.compressors[0];
        compressor.deflater.set_level(effort.level);
        compressor.compressed.clear();
        compressor.is_ready = false;
        if message.len() < effort.bytes_min {
            return;
        }
        if let Some(compressed) = compressor.deflater.deflate(message, window_bits) {
            compressor.compressed.extend_from_slice(compressed);
            compressor.is_ready = true;
        }
    }

    fn ready(&self, window_bits: u8) -> Option<&[u8]> {
        let mut ready = self.compressors.iter().filter(|c| c.is_ready);
        let compressor = ready.find(|c| c.window_bits == window_bits)?;
        Some(&compressor.compressed)
    }

    /// Lends the scratch memory out; to be given back.
    pub fn lend(&mut self) -> Scratch {
        std::mem::take(&mut self.scratch)
    }

    pub fn give_back(&mut self, mut scratch: Scratch) {
        for bytes in [&mut scratch.masked, &mut scratch.plain] {
            if bytes.capacity() > KEPT_BYTES_MAX {
                *bytes = Vec::new();
            }
        }
        self.scratch = scratch;
    }
}

impl Encoder<'_> {
    /// The payload that goes out, and whether it is compressed.
    fn payload<'a>(&'a self, format: Format, message: &Message<'a>) -> (&'a [u8], bool) {
        let ready = match (format, self.how) {
            (_, How::Plain) => None,
            (Format::Deflated(window_bits), _) => self.codec.ready(window_bits),
            _ => None,
        };
        (ready.unwrap_or(message.payload), ready.is_some())
    }
}

impl Encoding for Encoder<'_> {
    #[inline]
    fn header(&self, text: bool, len: usize, out: &mut [u8; HEADER_BYTES_MAX]) -> usize {
        let out = out.first_chunk_mut().expect("it is long enough");
        frame::encode(out, opcode(text), false, len)
    }

    fn bound(&mut self, format: Format, message: &Message<'_>) -> usize {
        if let Some(coding) = coding(format) {
            let bound = match format.is_joins() {
                true => membership_bound(message),
                false => publication_bound(coding, message),
            };
            return SERVER_HEADER_BYTES_MAX + bound;
        }
        if format == Format::Numbered {
            return SERVER_HEADER_BYTES_MAX + numbered_bound(message);
        }
        if let (How::Afresh(effort), Format::Deflated(window_bits)) = (self.how, format) {
            self.codec.compress(window_bits, message.payload, effort);
        }
        let mark = if is_foreign(format, message) {
            chat::MARK.len()
        } else {
            0
        };
        frame::encoded_len(mark + self.payload(format, message).0.len())
    }

    fn write(&mut self, format: Format, message: &Message<'_>, out: &mut [u8]) -> usize {
        if let Some(coding) = coding(format) {
            let write = match format.is_joins() {
                true => write_membership,
                false => write_publication,
            };
            return write_push(coding, out, |room| write(coding, message, room));
        }
        if format == Format::Numbered {
            return write_push(Coding::Json, out, |room| write_numbered(message, room));
        }
        let (mut payload, compressed) = self.payload(format, message);
        let marked;
        if is_foreign(format, message) {
            let text = simdutf8::basic::from_utf8(payload).expect("it was checked as text");
            marked = chat::marked(text);
            payload = marked.as_bytes();
        }
        let mut header = [0; SERVER_HEADER_BYTES_MAX];
        let header_len =
            frame::encode(&mut header, opcode(message.text), compressed, payload.len());
        let len = header_len + payload.len();
        out[..header_len].copy_from_slice(&header[..header_len]);
        out[header_len..len].copy_from_slice(payload);
        len
    }
}

/// How messages are written in formats of Centrifugo's client protocol.
fn coding(format: Format) -> Option<Coding> {
    match format {
        Format::CentrifugoJson | Format::JoinsJson => Some(Coding::Json),
        Format::CentrifugoProtobuf | Format::JoinsProtobuf => Some(Coding::Protobuf),
        Format::Raw | Format::Lines | Format::Numbered | Format::Deflated(_) => None,
    }
}

/// Writes a push, and then the header before it, as its length is known only then.
fn write_push(coding: Coding, out: &mut [u8], write: impl FnOnce(&mut [u8]) -> usize) -> usize {
    let room = SERVER_HEADER_BYTES_MAX.min(out.len());
    let end = room + write(&mut out[room..]);
    let len = alone(coding, &out[room..end]).len();
    let mut header = [0; SERVER_HEADER_BYTES_MAX];
    let header_len = frame::encode(&mut header, opcode(coding == Coding::Json), false, len);
    out.copy_within(room..room + len, header_len);
    out[..header_len].copy_from_slice(&header[..header_len]);
    header_len + len
}

/// It is text in the view of a chat, of whose lines it is none.
fn is_foreign(format: Format, message: &Message<'_>) -> bool {
    let tags = message.extras.map_or("", |extras| extras.tags);
    format == Format::Lines && message.text && tags != chat::TAGS
}

#[inline]
fn opcode(text: bool) -> Opcode {
    if text { Opcode::Text } else { Opcode::Binary }
}

impl Scratch {
    /// The plain bytes of a message that came as it is.
    pub fn unmask(&mut self, bytes: &[u8], key: [u8; 4]) {
        self.plain.clear();
        mask::append_unmasked(&mut self.plain, bytes, key);
    }

    pub fn plain(&self) -> &[u8] {
        &self.plain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EFFORT: Effort = Effort {
        level: 1,
        bytes_min: 16,
    };

    fn written(mut encoder: Encoder<'_>, format: Format, payload: &[u8]) -> Vec<u8> {
        let message = Message {
            topic: "t",
            epoch: 1,
            offset: 1,
            time_ms: 1,
            text: true,
            payload,
            extras: None,
        };
        let mut out = vec![0; encoder.bound(format, &message)];
        let len = encoder.write(format, &message, &mut out);
        assert_eq!(len, out.len(), "the bound is exact");
        out
    }

    #[test]
    fn what_was_prepared_goes_out_compressed_and_nothing_else_does() {
        let mut codec = Codec::default();
        let (nine, fifteen) = (Format::Deflated(9), Format::Deflated(15));
        let mut formats = Formats::default();
        formats.insert(nine);
        let message = b"once more, once more, once more, once more";
        codec.prepare(formats, message, EFFORT);
        assert_eq!(codec.saved_bytes().count(), 1);
        let compressed = written(codec.prepared(), nine, message);
        assert_eq!(compressed[0], 0xC1);
        assert!(compressed.len() < message.len());
        // Its reader has come since.
        let plain = written(codec.prepared(), fifteen, message);
        assert_eq!(plain, [&[0x81, message.len() as u8][..], message].concat());
        // Nor does a message for which nothing has been prepared.
        assert_eq!(written(codec.plain(), nine, b"another")[2..], *b"another");
        // What is too short, or does not shrink, goes as it is.
        codec.prepare(formats, b"short", EFFORT);
        assert_eq!(written(codec.prepared(), nine, b"short")[0], 0x81);
        assert_eq!(codec.saved_bytes().count(), 0);
    }

    #[test]
    fn a_changed_level_holds_from_the_next_message_on() {
        let words = (0..4000).map(|n| format!("word {} of {} ", n % 613, n % 97));
        let message: String = words.collect();
        let mut codec = Codec::default();
        let mut len = |level| {
            let effort = Effort {
                level,
                bytes_min: 0,
            };
            written(
                codec.afresh(effort),
                Format::Deflated(15),
                message.as_bytes(),
            )
            .len()
        };
        let (fast, small) = (len(1), len(9));
        assert!(small < fast, "{small} is not less than {fast}");
        assert_eq!(len(1), fast);
    }

    #[test]
    fn afresh_each_message_is_compressed_on_the_spot() {
        let mut codec = Codec::default();
        for number in 0..5u8 {
            let message = [number; 100];
            for bits in [9, 12, 15] {
                let format = Format::Deflated(bits);
                let bytes = written(codec.afresh(EFFORT), format, &message);
                assert_eq!(bytes[0], 0xC1);
                let mut plain = Vec::new();
                let mut inflater = Inflater::default();
                inflater.inflate(&bytes[2..], 1000, &mut plain).unwrap();
                assert_eq!(plain, message);
            }
        }
        assert_eq!(codec.compressors.len(), COMPRESSORS_MAX);
    }
}
