//! How messages are written for subscribers, and read where they come
//! compressed: the compressors of one core and the memory that messages pass
//! through. Made when first needed.

use std::ops::Range;

use super::compressors::{Compressors, Effort, Form};
use crate::mask;
use crate::protocol::centrifugo::{
    Coding, Written, alone, membership_bound, publication_bound, write_membership,
    write_publication, written,
};
use crate::protocol::chat;
use crate::protocol::encoding::{Encoding, Format, Formats, HEADER_BYTES_MAX, Message, Plain};
use crate::protocol::event_stream::{
    event_bound, events_bound, write_event, write_events, write_plain_event,
};
use crate::protocol::numbered::{numbered_bound, write_numbered};
use crate::protocol::pusher;
use crate::protocol::ws::deflate::{Inflater, WRAP_BYTES, wrap};
use crate::protocol::ws::frame::{self, SERVER_HEADER_BYTES_MAX};
use crate::protocol::ws::{Fault, Opcode, Payload};

/// Scratch memory that is kept between messages; larger is given back.
const KEPT_BYTES_MAX: usize = 1 << 20;
const _: () = assert!(SERVER_HEADER_BYTES_MAX <= HEADER_BYTES_MAX);

/// Compresses and inflates for one thread, or one lock.
#[derive(Default)]
pub struct Codec {
    compressors: Compressors,
    /// What has been saved with each format that has been prepared.
    saved: Vec<(Format, u64)>,
    /// An envelope whose payload is about to be replaced.
    envelope: Vec<u8>,
    inflater: Option<Box<Inflater>>,
    scratch: Scratch,
    /// Messages written for views since that was last asked.
    encoded: u64,
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

    /// Compresses `payload` for those of `formats` that want it, so that it need
    /// not be done while others wait. [`Codec::prepared`] writes it.
    pub fn prepare(&mut self, formats: Formats, text: bool, payload: &[u8], effort: Effort) {
        self.compressors.forget();
        self.saved.clear();
        for format in formats.iter() {
            if let Format::Deflated(plain, window_bits) = format
                && let Some(saved) = self.compress(plain, window_bits, text, payload, effort)
            {
                self.saved.push((format, saved as u64));
            }
        }
    }

    /// What each format has been prepared with, and how many bytes that saves.
    pub fn saved_bytes(&self) -> impl Iterator<Item = (Format, u64)> {
        self.saved.iter().copied()
    }

    /// How many messages have been written for other views than raw since this was last
    /// asked, each once for all readers of its view.
    pub fn take_encoded(&mut self) -> u64 {
        std::mem::take(&mut self.encoded)
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

    fn compress(
        &mut self,
        plain: Plain,
        window_bits: u8,
        text: bool,
        payload: &[u8],
        effort: Effort,
    ) -> Option<usize> {
        let coding = coding(plain.format()).filter(|_| payload.len() >= effort.bytes_min);
        let other = coding.and_then(|coding| match plain {
            Plain::Pusher => Some((Form::Text, pusher::data(text, payload))),
            _ => Some((Form::Json, written(coding, text, payload)?)),
        });
        let (form, data) = match &other {
            Some((form, other)) => (*form, &other[..]),
            None => (Form::Own, payload),
        };
        self.compressors.compress(window_bits, form, data, effort)
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
    /// The payload that goes out where there is no envelope, and whether it is compressed.
    fn payload<'a>(&'a self, format: Format, message: &Message<'a>) -> (&'a [u8], bool) {
        let ready = match (format, self.how) {
            (_, How::Plain) => None,
            (Format::Deflated(_, window_bits), _) => {
                self.codec.compressors.ready(window_bits, Form::Own)
            }
            _ => None,
        };
        (ready.unwrap_or(message.payload), ready.is_some())
    }

    /// Writes a message into its envelope, with a payload that has been compressed if there
    /// is one.
    fn write_deflated(
        &mut self,
        coding: Coding,
        format: Format,
        window_bits: u8,
        message: &Message<'_>,
        out: &mut [u8],
    ) -> usize {
        let envelope = &mut self.codec.envelope;
        if envelope.len() < out.len() {
            envelope.resize(out.len(), 0);
        }
        let Written { len, data } = write_envelope(coding, format, message, envelope);
        let whole = alone(coding, &envelope[..len]);
        // Both codings write what is no JSON in the same way.
        let form = match whole[data.clone()] == *message.payload {
            _ if format.plain() == Format::Pusher => Form::Text,
            true => Form::Own,
            false => Form::Json,
        };
        let (room, body) = out.split_at_mut(SERVER_HEADER_BYTES_MAX);
        let wrapped = self.codec.compressors.ready(window_bits, form);
        let wrapped = wrapped.and_then(|compressed| {
            let (head, tail) = (&whole[..data.start], &whole[data.end..]);
            let len = head.len() + compressed.len() + tail.len() + WRAP_BYTES;
            let shorter = len < whole.len();
            shorter
                .then(|| wrap(head, compressed, tail, body))
                .flatten()
        });
        let len = wrapped.unwrap_or_else(|| {
            body[..whole.len()].copy_from_slice(whole);
            whole.len()
        });
        let (begin, end) = (room.len(), room.len() + len);
        if self.codec.envelope.len() > KEPT_BYTES_MAX {
            self.codec.envelope = Vec::new();
        }
        put_header(coding, wrapped.is_some(), begin..end, out)
    }
}

impl Encoding for Encoder<'_> {
    #[inline]
    fn header(&self, text: bool, len: usize, out: &mut [u8; HEADER_BYTES_MAX]) -> usize {
        let out = out.first_chunk_mut().expect("it is long enough");
        frame::encode(out, opcode(text), false, len)
    }

    fn bound(&mut self, format: Format, message: &Message<'_>) -> usize {
        if let (How::Afresh(effort), Format::Deflated(plain, window_bits)) = (self.how, format) {
            self.codec.compressors.forget();
            let Message { text, payload, .. } = *message;
            self.codec
                .compress(plain, window_bits, text, payload, effort);
        }
        match format {
            Format::EventStream | Format::PlainEvents => return event_bound(message),
            Format::EventStreams => return events_bound(message),
            _ => {}
        }
        if let Some(coding) = coding(format) {
            let bound = match format.plain() {
                Format::Numbered => numbered_bound(message),
                Format::Pusher => pusher::event_bound(message),
                Format::JoinsPusher => pusher::member_bound(message),
                plain if plain.is_joins() => membership_bound(message),
                _ => publication_bound(coding, message),
            };
            return SERVER_HEADER_BYTES_MAX + bound;
        }
        let mark = if is_foreign(format, message) {
            chat::MARK.len()
        } else {
            0
        };
        frame::encoded_len(mark + self.payload(format, message).0.len())
    }

    fn write(&mut self, format: Format, message: &Message<'_>, out: &mut [u8]) -> usize {
        self.codec.encoded += 1;
        match format {
            Format::EventStream => return write_event(message, out),
            Format::EventStreams => return write_events(message, out),
            Format::PlainEvents => return write_plain_event(message, out),
            _ => {}
        }
        if let Some(coding) = coding(format) {
            if let (Format::Deflated(_, window_bits), How::Prepared | How::Afresh(_)) =
                (format, self.how)
            {
                return self.write_deflated(coding, format, window_bits, message, out);
            }
            let room = SERVER_HEADER_BYTES_MAX;
            let end = room + write_envelope(coding, format, message, &mut out[room..]).len;
            let len = alone(coding, &out[room..end]).len();
            if len == 0 {
                // It is nothing to those who read this.
                return 0;
            }
            return put_header(coding, false, room..room + len, out);
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

/// How the envelopes of a format are written, if it has any.
fn coding(format: Format) -> Option<Coding> {
    match format.plain() {
        Format::CentrifugoJson
        | Format::JoinsJson
        | Format::Numbered
        | Format::Pusher
        | Format::JoinsPusher => Some(Coding::Json),
        Format::CentrifugoProtobuf | Format::JoinsProtobuf => Some(Coding::Protobuf),
        Format::Raw
        | Format::Lines
        | Format::EventStream
        | Format::EventStreams
        | Format::PlainEvents
        | Format::Deflated(..) => None,
    }
}

/// Writes a message in its envelope to the start of `out`.
fn write_envelope(
    coding: Coding,
    format: Format,
    message: &Message<'_>,
    out: &mut [u8],
) -> Written {
    match format.plain() {
        Format::Numbered => write_numbered(message, out),
        Format::Pusher => pusher::write_event(message, out),
        Format::JoinsPusher => Written {
            len: pusher::write_member(message, out),
            data: 0..0,
        },
        plain if plain.is_joins() => Written {
            len: write_membership(coding, message, out),
            data: 0..0,
        },
        _ => write_publication(coding, message, out),
    }
}

/// Writes the header before what lies in `out` there, as its length is known only then, and
/// returns how long both are.
fn put_header(coding: Coding, compressed: bool, body: Range<usize>, out: &mut [u8]) -> usize {
    let mut header = [0; SERVER_HEADER_BYTES_MAX];
    let text = opcode(coding == Coding::Json);
    let header_len = frame::encode(&mut header, text, compressed, body.len());
    let len = header_len + body.len();
    out.copy_within(body, header_len);
    out[..header_len].copy_from_slice(&header[..header_len]);
    len
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
mod tests;
