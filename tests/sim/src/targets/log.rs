//! A topic's log against a list of messages: publishing, subscribing, reading,
//! letting go and growing old in any order.

use std::convert::Infallible;
use std::sync::Arc;

use fanfare::log::{
    AppendError, Arenas, Bounds, Draft, Interest, OutOfReach, Reached, Retention, Topic, Window,
};
use fanfare::protocol::encoding::{Encoding, Format, HEADER_BYTES_MAX, Message as Said, Plain};

use super::split;

const AGE_MS_MAX: u64 = 1280;
const DEFLATED: Format = Format::Deflated(Plain::Raw, 10);

/// Writes half of what has an even length as if it were compressed.
struct Halves;

impl Encoding for Halves {
    fn header(&self, text: bool, len: usize, out: &mut [u8; HEADER_BYTES_MAX]) -> usize {
        let frame = frame(0x82 - u8::from(text), &vec![0; len]);
        let header_len = frame.len() - len;
        out[..header_len].copy_from_slice(&frame[..header_len]);
        header_len
    }

    fn bound(&mut self, _: Format, message: &Said<'_>) -> usize {
        message.payload.len() + 10
    }

    fn write(&mut self, _: Format, message: &Said<'_>, out: &mut [u8]) -> usize {
        let frame = deflated(message.payload);
        out[..frame.len()].copy_from_slice(&frame);
        frame.len()
    }
}

fn deflated(payload: &[u8]) -> Vec<u8> {
    match payload.len() {
        len if len.is_multiple_of(2) => frame(0xC2, &payload[..len / 2]),
        _ => frame(0x82, payload),
    }
}

/// Bytes 0 to 2 choose the limits, each pair behind them is a deed.
pub fn log(data: &[u8]) {
    let (steering, deeds) = split(data, 3);
    let at = |place: usize| u64::from(steering.get(place).copied().unwrap_or(0));
    let retention = Retention {
        messages_max: [0, 1, 5, 1000][at(0) as usize % 4],
        bytes_max: [0, 100, 3_000, 1 << 20][at(1) as usize % 4],
        age_ms_max: AGE_MS_MAX,
        bounds: Bounds {
            log_bytes_max: [64 << 10, 256 << 10, 16 << 20][at(2) as usize % 3],
            log_bytes_total_max: 32 << 20,
        },
    };
    let arenas = Arenas::new();
    let mut play = Play {
        topic: Arc::new(Topic::new("t".into(), 1, 1, arenas.clone())),
        retention,
        now_ms: 1,
        messages: Vec::new(),
        kept_from: 1,
        readers: Vec::new(),
        deflating: None,
    };
    for deed in deeds.chunks_exact(2) {
        play.act(deed[0], deed[1]);
    }
    play.readers.clear();
    drop(play);
    assert_eq!(arenas.held_bytes(), 0, "a log that is gone holds nothing");
}

struct Message {
    at_ms: u64,
    /// Whole frames, in each view.
    raw: Vec<u8>,
    deflated: Vec<u8>,
    /// Where the raw one lies.
    start: u64,
}

/// A core's window, and one cursor in it.
struct Reader {
    format: Format,
    window: Window,
    cursor: u64,
    /// Offset of the next message it reads.
    next: u64,
}

struct Play {
    topic: Arc<Topic>,
    retention: Retention,
    now_ms: u64,
    messages: Vec<Message>,
    /// The oldest offset that was still to be had when last asked: history
    /// never comes back.
    kept_from: u64,
    readers: Vec<Reader>,
    /// Keeps the other view.
    deflating: Option<Interest>,
}

impl Play {
    fn act(&mut self, what: u8, how: u8) {
        match what % 12 {
            0..=3 => self.publish(usize::from(how)),
            4 => self.publish(usize::from(how) * 300),
            5 => self.fail(usize::from(how) * 100),
            6 => self.subscribe(how),
            7 | 8 => self.read(usize::from(how)),
            9 => {
                self.now_ms += u64::from(how) * 8;
                self.expire();
            }
            10 if !self.readers.is_empty() => {
                let gone = usize::from(how) % self.readers.len();
                self.readers.swap_remove(gone);
            }
            _ => self.deflate(how),
        }
        let held = self.topic.summary(&self.retention).log_bytes;
        let max = self.retention.bounds.log_bytes_max;
        assert!(held <= max, "{held} bytes held");
    }

    fn next(&self) -> u64 {
        self.messages.len() as u64 + 1
    }

    fn head(&self) -> u64 {
        let end = |m: &Message| m.start + m.raw.len() as u64;
        self.messages.last().map_or(0, end)
    }

    fn publish(&mut self, len: usize) {
        let payload: Vec<u8> = (0..len)
            .map(|at| (at + self.messages.len()) as u8)
            .collect();
        let published = self.topic.publish(
            &self.draft(len, false),
            &self.retention,
            &mut Halves,
            |room| {
                room.copy_from_slice(&payload);
                Ok::<_, Infallible>(())
            },
        );
        let published = match published {
            Ok(committed) => committed,
            Err(AppendError::Payload(never)) => match never {},
            Err(full) => return self.check_full(full, len),
        };
        let raw = frame(0x82, &payload);
        let start = self.head();
        assert_eq!(published.offset, self.next());
        assert_eq!(published.raw, start..start + raw.len() as u64);
        let deflated = deflated(&payload);
        if self.deflating.is_some() {
            let range = published.range(DEFLATED).expect("it has a reader");
            assert_eq!(range.end - range.start, deflated.len() as u64);
        }
        self.messages.push(Message {
            at_ms: self.now_ms,
            raw,
            deflated,
            start,
        });
    }

    fn draft(&self, len: usize, text: bool) -> Draft<'static> {
        Draft {
            text,
            len,
            now_ms: self.now_ms,
            offset: None,
            extras: None,
        }
    }

    /// A log is full only if readers keep what it holds.
    fn check_full(&self, _full: AppendError<Infallible>, len: usize) {
        let held = self.topic.summary(&self.retention).log_bytes;
        let wanted = (len + 10) as u64;
        let max = self.retention.bounds.log_bytes_max;
        // Room for two segments, each of an eighth or of one message.
        let room = (max / 4).max(2 * wanted + 2 * (300 * 255 + 10));
        assert!(
            !self.readers.is_empty() || held + room > max,
            "full with {held} of {max} bytes and nobody reading"
        );
    }

    /// A message that turns out to be bad leaves nothing behind.
    fn fail(&mut self, len: usize) {
        let draft = self.draft(len, true);
        let outcome = self
            .topic
            .publish(&draft, &self.retention, &mut Halves, |room| {
                room.fill(0xEE);
                Err("bad")
            });
        assert!(outcome.is_err());
    }

    /// By the rules, what is surely to be had, and what surely is not.
    fn floors(&self) -> (u64, u64) {
        let next = self.next();
        let by_messages = next.saturating_sub(self.retention.messages_max).max(1);
        let oldest = self.head().saturating_sub(self.retention.bytes_max);
        let by_bytes = 1 + self.messages.partition_point(|m| m.start < oldest) as u64;
        let oldest_ms = self.now_ms.saturating_sub(AGE_MS_MAX);
        let by_age = 1 + self.messages.partition_point(|m| m.at_ms < oldest_ms) as u64;
        let exact = by_messages.max(by_bytes);
        (exact, exact.max(by_age))
    }

    fn expire(&mut self) {
        let empty = self.topic.expire(self.now_ms, &self.retention);
        let floor = self.topic.summary(&self.retention).first_offset;
        let (_, gone_before) = self.floors();
        assert!(
            floor >= gone_before,
            "{floor} is too old, {gone_before} is not"
        );
        if empty {
            assert_eq!(floor, self.next());
        }
        // Nothing young is given up but to make room.
        let young_ms = self.now_ms.saturating_sub(AGE_MS_MAX);
        let young = 1 + self.messages.partition_point(|m| m.at_ms < young_ms) as u64;
        let (exact, _) = self.floors();
        let full = self.retention.bounds.log_bytes_max < 16 << 20;
        assert!(floor <= exact.max(young).max(self.kept_from) || full);
        self.kept_from = floor;
    }

    fn subscribe(&mut self, how: u8) {
        if self.readers.len() == 6 {
            return;
        }
        let format = if self.deflating.is_some() && how.is_multiple_of(2) {
            DEFLATED
        } else {
            Format::Raw
        };
        let since = (!how.is_multiple_of(3)).then(|| u64::from(how / 3).min(self.next() + 1));
        let (exact, _) = self.floors();
        let asked_at = self.next();
        let (format, start) = match self.topic.start(format, since, &self.retention) {
            Ok(start) => (format, start),
            Err(OutOfReach::Stored(_)) => unreachable!("nothing is stored elsewhere"),
            Err(OutOfReach::Raw(later)) => {
                let run = self.topic.reach(format, &later);
                let mut run = run.expect("nobody else reaches back");
                loop {
                    match run.step(&mut Halves, 300, &self.retention.bounds) {
                        Reached::Done(start) if start.offset == later.offset => {
                            break (format, start);
                        }
                        Reached::Done(_) => break (Format::Raw, later),
                        Reached::NotYet => self.publish(usize::from(how)),
                    }
                }
            }
        };
        let next = self.next();
        match since {
            None => assert_eq!(start.offset, next),
            Some(since) => {
                // An offset still to come is one of another history.
                assert!(start.offset >= since || since > asked_at);
                assert!(start.offset >= exact.min(asked_at));
                assert!(start.offset <= next);
            }
        }
        let wanted = |m: &Message| m.start;
        if format == Format::Raw {
            let position = self.messages.get(start.offset as usize - 1).map(wanted);
            assert_eq!(start.position, position.unwrap_or(self.head()));
        }
        self.readers.push(Reader {
            format,
            window: Window::new(start.segments),
            cursor: start.position,
            next: start.offset,
        });
    }

    /// A reader goes on by at most so many bytes, in the middle of a frame too.
    fn read(&mut self, bytes: usize) {
        let Some(reader) = self.readers.first_mut() else {
            return;
        };
        let end = reader.window.advance();
        let until = end.min(reader.cursor + 64 * bytes as u64);
        let mut read: Vec<u8> = Vec::new();
        let from = reader.cursor;
        while reader.cursor < until {
            let run = reader.window.slice(reader.cursor, until);
            read.extend(&run.bytes[run.from as usize..(run.from + run.len) as usize]);
            reader.cursor += u64::from(run.len);
        }
        // What the list has from there on.
        let mut wanted: Vec<u8> = Vec::new();
        let (mut at, mut offset) = (from, reader.next);
        let mut skip = 0;
        let (boundary, behind) = reader.window.boundary(from);
        let first = behind - u64::from(boundary > from);
        if boundary > from {
            // It stands inside the message before.
            offset = behind - 1;
            let whole = frame_of(&self.messages, reader.format, offset).len() as u64;
            skip = whole - (boundary - from);
            at -= skip;
        } else {
            assert_eq!(behind, offset, "the offset at a boundary");
        }
        while at < until && offset < self.messages.len() as u64 + 1 {
            let frame = frame_of(&self.messages, reader.format, offset);
            wanted.extend(frame);
            at += frame.len() as u64;
            if at <= until {
                offset += 1;
            }
        }
        let wanted = &wanted[skip as usize..];
        assert!(wanted.len() >= read.len() && read == wanted[..read.len()]);
        let read = reader.window.messages_before(until) - reader.window.messages_before(from);
        // The one that it stands inside of is read with its end.
        assert_eq!(read, offset - first);
        reader.next = offset;
        reader.window.release(until);
        self.readers.rotate_left(1);
    }

    fn deflate(&mut self, how: u8) {
        if self.deflating.is_none() {
            let (format, interest) = self.topic.attach(DEFLATED).expect("there is room");
            assert_eq!(format, DEFLATED);
            self.deflating = Some(interest);
        } else if how.is_multiple_of(3) {
            self.deflating = None;
            self.readers.retain(|reader| reader.format == Format::Raw);
        }
    }
}

fn frame_of(messages: &[Message], format: Format, offset: u64) -> &[u8] {
    let message = &messages[offset as usize - 1];
    match format {
        Format::Raw => &message.raw,
        _ => &message.deflated,
    }
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let len = payload.len();
    let mut frame = match len {
        0..=125 => vec![first, len as u8],
        126..=65535 => vec![first, 126, (len >> 8) as u8, len as u8],
        _ => [&[first, 127][..], &(len as u64).to_be_bytes()].concat(),
    };
    frame.extend(payload);
    frame
}
