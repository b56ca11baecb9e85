//! Reads a client's bytes, however they are cut, and hands out events: frames are
//! joined to messages, and every rule of RFC 6455 is checked.
//!
//! It sends nothing and ends nothing: a fault is returned. Called by the reactor
//! for each buffer that arrives; one reader lives in each connection's record.

use super::close;
use super::event::{Control, Event, Message, Payload};
use super::fault::Fault;
use super::frame::{self, CLIENT_HEADER_BYTES_MAX, Header, Opcode};
use crate::mask;

/// What the connection agreed to; passed in with each call so that an idle connection
/// carries nothing.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The longest message, in bytes of itself.
    pub message_bytes_max: usize,
    /// permessage-deflate was negotiated: RSV1 is allowed.
    pub deflate: bool,
}

impl Limits {
    /// The longest message in bytes as they arrive. What does not shrink grows when a
    /// client compresses it all the same: by 5 bytes for each stored block (RFC 1951
    /// section 3.2.4), and compressors short of memory make one of every 128 bytes.
    fn arriving_bytes_max(&self, deflated: bool) -> usize {
        if deflated {
            self.message_bytes_max + self.message_bytes_max / 16 + 64
        } else {
            self.message_bytes_max
        }
    }
}

/// Reads what one client sends.
///
/// Between frames it holds no memory but itself.
#[derive(Debug, Default)]
pub struct Reader {
    /// Whatever is not whole yet, or was handed out by the last call.
    part: Option<Box<Part>>,
}

const _: () = assert!(size_of::<Reader>() == 8, "an idle connection stays small");

/// A frame, a message, or both, of which a part has come.
#[derive(Debug, Default)]
struct Part {
    /// The first bytes of a header, until it is whole.
    head: [u8; CLIENT_HEADER_BYTES_MAX],
    head_len: u8,
    /// The frame whose payload is coming in.
    frame: Option<Frame>,
    /// Of that frame, if it is a control frame.
    control: Control,
    /// The data message that is being put together.
    message: Option<Assembly>,
    /// The message has been handed out and is to be freed.
    handed_out: bool,
    /// After a close or a fault nothing is read any more. It stands here, as a flag in the
    /// reader itself would make each idle connection 8 bytes larger.
    closed: bool,
}

#[derive(Debug)]
struct Frame {
    opcode: Opcode,
    fin: bool,
    /// Belongs to the next byte.
    key: [u8; 4],
    /// Bytes of payload still to come.
    left: usize,
}

#[derive(Debug)]
struct Assembly {
    text: bool,
    deflated: bool,
    bytes: Vec<u8>,
    /// Up to here the text is valid UTF-8; behind it stands at most a part of a character.
    checked: usize,
}

/// What one step of the reader led to.
enum Step {
    /// The input is used up.
    Wait,
    /// A state has changed; go on.
    Again,
    /// The message in `part` is whole.
    Whole,
    /// A control frame is whole and unmasked.
    Control(Opcode, Control),
}

impl Reader {
    /// A reader at the start of a connection, right after the opening handshake.
    pub const fn new() -> Self {
        Self { part: None }
    }

    /// Frees the message that was handed out last, as the next call would.
    pub fn let_go(&mut self) {
        if self.part.as_ref().is_some_and(|part| part.handed_out) {
            self.part = None;
        }
    }

    /// Takes bytes from the front of `input` until something is whole, and returns it;
    /// `None` when the input is used up. However the stream is cut into inputs, the events
    /// are the same, but for the form of [`Payload`].
    ///
    /// After a close and after a fault the reader swallows all input (RFC 6455 section 1.4:
    /// data after a close is discarded).
    ///
    /// # Errors
    /// The client's [`Fault`], as soon as a byte proves it; the connection is to be closed
    /// with its code.
    pub fn next<'a, 'i: 'a>(
        &'a mut self,
        input: &mut &'i [u8],
        limits: &Limits,
    ) -> Result<Option<Event<'a>>, Fault> {
        self.let_go();
        match &self.part {
            None => {
                if let Some(message) = whole_message(input, limits) {
                    return Ok(Some(Event::Message(message)));
                }
            }
            Some(part) if part.closed => {
                *input = &[];
                return Ok(None);
            }
            Some(_) => {}
        }
        match self.advance(input, limits) {
            Ok(Step::Whole) => Ok(self.part.as_deref_mut().and_then(Part::hand_out)),
            Ok(Step::Control(opcode, control)) => self.control_event(opcode, control).map(Some),
            Ok(Step::Wait | Step::Again) => Ok(None),
            Err(fault) => {
                self.stop();
                Err(fault)
            }
        }
    }

    /// Bytes of memory that an unfinished message or frame holds.
    pub fn buffered_bytes(&self) -> usize {
        let part = self.part.as_ref().filter(|part| !part.closed);
        part.map_or(0, |part| {
            let message = part.message.as_ref();
            size_of::<Part>() + message.map_or(0, |m| m.bytes.capacity())
        })
    }

    /// Nothing is unfinished: whatever comes next is the begin of something.
    #[inline]
    pub fn is_between(&self) -> bool {
        let part = self.part.as_ref();
        part.is_none_or(|part| part.handed_out || part.closed)
    }

    /// The client has sent its close, or a fault: nothing more is read.
    pub fn is_closed(&self) -> bool {
        self.part.as_ref().is_some_and(|part| part.closed)
    }

    /// Reads nothing more, and lets go of what is unfinished.
    pub fn stop(&mut self) {
        self.part = Some(Box::new(Part {
            closed: true,
            ..Part::default()
        }));
    }

    fn advance(&mut self, input: &mut &[u8], limits: &Limits) -> Result<Step, Fault> {
        loop {
            let step = match &mut self.part {
                None => self.read_frame(input, limits)?,
                Some(part) if part.frame.is_some() => part.read_payload(input, limits)?,
                Some(part) if part.head_len == 0 => {
                    // Between two fragments: a control frame or the next one.
                    match frame::decode(input, limits.deflate)? {
                        Some((header, len)) => {
                            *input = &input[len..];
                            part.begin(header, limits)?;
                            Step::Again
                        }
                        None => part.read_head(input, limits)?,
                    }
                }
                Some(part) => part.read_head(input, limits)?,
            };
            match step {
                Step::Again => {}
                step => {
                    // A finished control frame leaves nothing behind unless it came
                    // inside a fragmented message.
                    if matches!(step, Step::Control(..))
                        && self.part.as_ref().is_some_and(|p| p.message.is_none())
                    {
                        self.part = None;
                    }
                    return Ok(step);
                }
            }
        }
    }

    /// With nothing unfinished, and no whole message in the input: a control frame that is
    /// whole, or the begin of something.
    fn read_frame(&mut self, input: &mut &[u8], limits: &Limits) -> Result<Step, Fault> {
        if input.is_empty() {
            return Ok(Step::Wait);
        }
        let Some((header, header_len)) = frame::decode(input, limits.deflate)? else {
            self.part = Some(Box::default());
            return Ok(Step::Again);
        };
        let rest = &input[header_len..];
        if header.opcode.is_control()
            && let Some((bytes, rest)) = split_payload(&header, rest)
        {
            check_length(&header, 0, 0)?;
            *input = rest;
            let mut control = Control::default();
            control.append(bytes, header.key);
            return Ok(Step::Control(header.opcode, control));
        }
        let mut part = Box::<Part>::default();
        part.begin(header, limits)?;
        self.part = Some(part);
        *input = rest;
        Ok(Step::Again)
    }

    fn control_event(&mut self, opcode: Opcode, control: Control) -> Result<Event<'_>, Fault> {
        Ok(match opcode {
            Opcode::Ping => Event::Ping(control),
            Opcode::Pong => Event::Pong(control),
            _ => {
                self.stop();
                Event::Close(close::parse(control.bytes())?)
            }
        })
    }
}

/// The usual case, kept short: an unfragmented message that lies wholly in the input. All
/// else, faults too, is left where it is.
#[inline]
fn whole_message<'i>(input: &mut &'i [u8], limits: &Limits) -> Option<Message<'i>> {
    let (header, header_len) = frame::decode(input, limits.deflate).ok()??;
    let is_message = header.fin && matches!(header.opcode, Opcode::Text | Opcode::Binary);
    let bytes_max = limits.arriving_bytes_max(header.rsv1);
    if !is_message || header.payload_len > bytes_max as u64 {
        return None;
    }
    let (bytes, rest) = split_payload(&header, &input[header_len..])?;
    *input = rest;
    Some(Message {
        text: header.opcode == Opcode::Text,
        deflated: header.rsv1,
        payload: Payload::Masked {
            bytes,
            key: header.key,
        },
    })
}

/// The payload, if all of it is there, and what follows it.
#[inline]
fn split_payload<'i>(header: &Header, bytes: &'i [u8]) -> Option<(&'i [u8], &'i [u8])> {
    bytes.split_at_checked(usize::try_from(header.payload_len).ok()?)
}

/// Checks what the header alone can tell about the length; `before` bytes of the message
/// have come already, of at most `bytes_max`.
#[inline]
fn check_length(header: &Header, before: usize, bytes_max: usize) -> Result<(), Fault> {
    if header.opcode.is_control() {
        if header.opcode == Opcode::Close && header.payload_len == 1 {
            return Err(Fault::ClosePayload);
        }
        return Ok(());
    }
    // Both fit: a length is below 2^63 and a buffer is no longer than isize::MAX.
    if before as u64 + header.payload_len > bytes_max as u64 {
        return Err(Fault::TooBig);
    }
    Ok(())
}

impl Part {
    /// Collects the bytes of a header that came in pieces.
    fn read_head(&mut self, input: &mut &[u8], limits: &Limits) -> Result<Step, Fault> {
        if input.is_empty() {
            return Ok(Step::Wait);
        }
        let had = usize::from(self.head_len);
        let take = input.len().min(self.head.len() - had);
        self.head[had..had + take].copy_from_slice(&input[..take]);
        match frame::decode(&self.head[..had + take], limits.deflate)? {
            Some((header, len)) => {
                *input = &input[len - had..];
                self.head_len = 0;
                self.begin(header, limits)?;
                Ok(Step::Again)
            }
            None => {
                *input = &input[take..];
                self.head_len += take as u8;
                Ok(Step::Wait)
            }
        }
    }

    /// A header is whole: checks it against the message so far.
    fn begin(&mut self, header: Header, limits: &Limits) -> Result<(), Fault> {
        let (before, deflated) = match &self.message {
            Some(message) => (message.bytes.len(), message.deflated),
            None => (0, header.rsv1),
        };
        let bytes_max = limits.arriving_bytes_max(deflated);
        match (header.opcode, &self.message) {
            (Opcode::Continuation, None) => return Err(Fault::UnexpectedContinuation),
            (Opcode::Text | Opcode::Binary, Some(_)) => return Err(Fault::ExpectedContinuation),
            _ => check_length(&header, before, bytes_max)?,
        }
        if matches!(header.opcode, Opcode::Text | Opcode::Binary) {
            self.message = Some(Assembly {
                text: header.opcode == Opcode::Text,
                deflated: header.rsv1,
                bytes: Vec::new(),
                checked: 0,
            });
        }
        self.control = Control::default();
        self.frame = Some(Frame {
            opcode: header.opcode,
            fin: header.fin,
            key: header.key,
            // It fits: a control frame has 125 bytes at most, a message its limit.
            left: header.payload_len as usize,
        });
        Ok(())
    }

    /// Takes what the input has of the payload.
    fn read_payload(&mut self, input: &mut &[u8], limits: &Limits) -> Result<Step, Fault> {
        let Some(frame) = &mut self.frame else {
            return Ok(Step::Again);
        };
        let (bytes, rest) = input.split_at(input.len().min(frame.left));
        *input = rest;
        let key = frame.key;
        frame.left -= bytes.len();
        frame.key = mask::rotate(key, bytes.len());

        if frame.opcode.is_control() {
            self.control.append(bytes, key);
            if frame.left > 0 {
                return Ok(Step::Wait);
            }
            let opcode = frame.opcode;
            self.frame = None;
            return Ok(Step::Control(opcode, self.control));
        }

        let Some(message) = &mut self.message else {
            unreachable!("a data frame belongs to a message");
        };
        // What is declared caps the spare room, but only what has come makes the buffer grow.
        let ceiling = if frame.fin {
            message.bytes.len() + bytes.len() + frame.left
        } else {
            limits.arriving_bytes_max(message.deflated)
        };
        message.append(bytes, key, ceiling)?;
        if frame.left > 0 {
            return Ok(Step::Wait);
        }
        let fin = frame.fin;
        self.frame = None;
        if !fin {
            return Ok(Step::Again);
        }
        message.finish()?;
        Ok(Step::Whole)
    }

    fn hand_out(&mut self) -> Option<Event<'_>> {
        self.handed_out = true;
        self.message.as_ref().map(|message| {
            Event::Message(Message {
                text: message.text,
                deflated: message.deflated,
                payload: Payload::Whole(&message.bytes),
            })
        })
    }
}

impl Assembly {
    fn append(&mut self, masked: &[u8], key: [u8; 4], ceiling: usize) -> Result<(), Fault> {
        let needed = self.bytes.len() + masked.len();
        if needed > self.bytes.capacity() {
            // Doubling keeps a million fragments cheap; the ceiling keeps the spare room honest.
            let capacity = (2 * self.bytes.capacity()).max(64).min(ceiling).max(needed);
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        mask::append_unmasked(&mut self.bytes, masked, key);
        if !self.text || self.deflated {
            return Ok(());
        }
        match simdutf8::compat::from_utf8(&self.bytes[self.checked..]) {
            Ok(_) => self.checked = self.bytes.len(),
            Err(error) if error.error_len().is_none() => self.checked += error.valid_up_to(),
            Err(_) => return Err(Fault::Utf8),
        }
        Ok(())
    }

    /// The last byte has come: no character may be open.
    fn finish(&self) -> Result<(), Fault> {
        if self.text && !self.deflated && self.checked < self.bytes.len() {
            return Err(Fault::Utf8);
        }
        Ok(())
    }
}

mod saved;
#[cfg(test)]
mod tests;

pub use saved::SavedReader;
