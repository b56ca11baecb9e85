//! What a reader checks of all that it reads: each event is the next one of its topic, ids name
//! what has been heard and nothing else, and what else it is told has its reason.

use super::{Block, Counts, Heard, Reader};
use crate::client::{Fate, View};
use crate::plan::LATE_MS_MAX;
use crate::socket::Socket;
use crate::targets::base64::as_standard;
use crate::truth::Message;

/// More than an event has around its payload.
const ENVELOPE_BYTES: u64 = 160;

impl Reader {
    pub(super) fn check_greeting(&mut self, head: &[u8]) {
        let head = std::str::from_utf8(head).expect("a head is text");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert!(
            head.contains("\r\nContent-Type: text/event-stream;"),
            "{head}"
        );
        if let [heard] = &self.heard[..] {
            let epoch = format!("\r\nFanfare-Epoch: {:016x}\r\n", heard.epoch);
            let next = format!("\r\nFanfare-Next: {}\r\n", heard.next);
            assert!(head.contains(&epoch) && head.contains(&next), "{head}");
        }
        self.greeted = true;
    }

    pub(super) fn check_block(
        &mut self,
        block: Block,
        socket: &Socket,
        view: &View<'_>,
        counts: &mut Counts,
    ) {
        let Block { id, event, data } = block;
        match (data, event.as_deref()) {
            // The goodbye of one topic says when to come back, and nothing else.
            (None, None) => match id {
                Some(id) => self.check_ids(&id),
                None => assert!(self.words.is_some(), "{}: an empty event", self.name()),
            },
            (Some(data), Some("gap")) => {
                self.check_gap(id.as_deref(), data.trim_end_matches('\n'), socket, view);
                counts.gaps += 1;
            }
            (Some(data), None) => {
                let data = data.strip_suffix('\n').expect("each field ends");
                match (self.many, self.plain) {
                    (true, false) => self.hear_of_many(id.as_deref(), data, view),
                    (true, true) => self.hear_of_some(id.as_deref(), data, view),
                    (false, _) => self.hear(id.as_deref(), data, view),
                }
                counts.events += 1;
            }
            (_, event) => panic!("{} hears an event {event:?}", self.name()),
        }
    }

    /// An id without an event names nothing that has not been heard.
    fn check_ids(&mut self, id: &str) {
        let name = self.name();
        let parts: Vec<&str> = id.split(',').collect();
        assert_eq!(parts.len(), self.heard.len(), "{name}: {id}");
        for (part, heard) in parts.into_iter().zip(&mut self.heard) {
            let offset = heard.offset(part).unwrap_or_else(|| panic!("{name}: {id}"));
            if self.begun {
                assert!(offset < heard.next, "{name} has not heard all of {id}");
                assert!(offset >= heard.told, "{name}: {id} goes back");
            } else {
                assert_eq!(offset, heard.next - 1, "{name} begins with {id}");
            }
            heard.told = offset;
        }
        self.begun = true;
    }

    fn hear(&mut self, id: Option<&str>, data: &str, view: &View<'_>) {
        let name = self.name();
        let heard = &mut self.heard[0];
        assert_eq!(heard.missed, None, "{name} is told too late");
        let message = view.truths[heard.truth].message(heard.next);
        let message = message.unwrap_or_else(|| panic!("{name} hears {data:?}"));
        assert_eq!(data, shown(message), "{name}");
        let offset = id.and_then(|id| heard.offset(id));
        assert_eq!(offset, Some(heard.next), "{name}: {id:?}");
        heard.told = heard.next;
        heard.next += 1;
    }

    fn hear_of_many(&mut self, id: Option<&str>, data: &str, view: &View<'_>) {
        let name = self.name();
        assert_eq!(id, None, "{name}");
        let heard = self.named(data);
        assert_eq!(heard.missed, None, "{name} is told too late");
        assert_eq!(number(data, "\"offset\":"), heard.next, "{name}: {data}");
        let message = view.truths[heard.truth].message(heard.next);
        let message = message.unwrap_or_else(|| panic!("{name} hears {data:?}"));
        if message.opcode == 2 {
            let bytes = as_standard(&message.payload);
            let wanted = format!("\"b64data\":\"{bytes}\"}}");
            assert!(data.ends_with(&wanted), "{name}: {data}");
        }
        heard.next += 1;
    }

    /// No two messages are equal, so that an event can be of one topic only.
    fn hear_of_some(&mut self, id: Option<&str>, data: &str, view: &View<'_>) {
        let name = self.name();
        assert_eq!(id, None, "{name}");
        let is_next = |heard: &&mut Heard| {
            let message = view.truths[heard.truth].message(heard.next);
            message.is_some_and(|message| shown(message) == data)
        };
        let heard = self.heard.iter_mut().find(is_next);
        let heard = heard.unwrap_or_else(|| panic!("{name} hears {data:?}"));
        assert_eq!(heard.missed, None, "{name} is told too late");
        heard.next += 1;
    }

    /// The topic that the data of an event names.
    fn named(&mut self, data: &str) -> &mut Heard {
        let rest = data
            .strip_prefix("{\"topic\":\"")
            .expect("it says of which");
        let (topic, _) = rest.split_once('"').expect("it ends");
        let mut all = self.heard.iter_mut();
        all.find(|heard| heard.name == topic)
            .expect("it is one of its own")
    }

    fn check_gap(&mut self, id: Option<&str>, data: &str, socket: &Socket, view: &View<'_>) {
        let name = self.name();
        let behind = self.heard.iter().any(|heard| lags(heard, socket, view));
        let many = self.many;
        let heard = match many {
            true => self.named(data),
            false => &mut self.heard[0],
        };
        let (from, to) = (number(data, "\"from\":"), number(data, "\"to\":"));
        let epoch = format!("\"epoch\":\"{:016x}\"", heard.epoch);
        assert!(data.contains(&epoch), "{name}: {data}");
        match id {
            Some(id) => assert_eq!(heard.offset(id), Some(to), "{name}: {id}"),
            None => assert!(many),
        }
        let is_lost = data.contains("\"resume\":\"unknown\"");
        if let Some(missed) = heard.missed.take() {
            assert_eq!((from, to, is_lost), missed, "{name}: {data}");
        } else {
            assert!(!is_lost && behind, "{name} skips but is not behind: {data}");
            let newest = view.truths[heard.truth].next() - 1;
            assert!(
                from == heard.next && from <= to && to <= newest,
                "{name}: {data}"
            );
            assert_eq!(number(data, "\"missed\":"), to + 1 - from, "{name}: {data}");
            heard.next = to + 1;
        }
        if !many {
            heard.told = to;
        }
    }

    /// A stream ends with words that say why, or there is a cause.
    pub(super) fn check_end(&self, socket: &Socket, view: &View<'_>) {
        let behind = self.heard.iter().any(|heard| lags(heard, socket, view));
        // It may not have taken the words that it was closed with for a record in part.
        let lacked_rest = socket.lacks_rest(view.now_ms, view.settings.message_ms_max)
            || socket.tls.is_some() && view.settings.partial_bytes_max < 1 << 20;
        let cause = socket.reset
            || socket.died
            || self.fate != Fate::Open
            || self.nature.sluggard
            || stalls(socket, view)
            || view.drained.is_some()
            || lacked_rest
            || behind;
        let Some(words) = &self.words else {
            return assert!(cause, "{} is cut off", self.name());
        };
        let explained = match &words[..] {
            "the server is stopping" => {
                let drained = view.drained.expect("nobody else says goodbye");
                let reached = |heard: &Heard| {
                    let newest = drained.get(heard.truth).copied().unwrap_or(0);
                    heard.next > newest || behind
                };
                // What it was cut in the midst of it is not owed any more.
                socket.reset || self.nature.sluggard || self.heard.iter().all(reached)
            }
            "lag: too far behind the topic" => behind,
            words if words.starts_with("stall:") => stalls(socket, view),
            words if words.starts_with("come back for new keys") => socket.uses_up_keys(),
            // What it says is for nobody, but a record of it comes in part.
            words if words.starts_with("slow:") => {
                socket.lacks_rest(view.now_ms, view.settings.message_ms_max)
            }
            "the server's memory for partial messages is used up" => socket.tls.is_some(),
            _ => false,
        };
        assert!(explained, "{} is closed with that", self.name());
        let told = |heard: &Heard| heard.told == heard.next - 1;
        // It may have been cut off in the midst of its last event.
        let is_cut = self.block.id.is_some() || socket.reset || self.nature.sluggard;
        assert!(
            self.heard.iter().all(told) || is_cut,
            "{} does not know where it was",
            self.name()
        );
    }
}

impl Heard {
    /// The offset in a place of this topic.
    fn offset(&self, place: &str) -> Option<u64> {
        let (epoch, offset) = place.split_once('-')?;
        let is_own = epoch == format!("{:016x}", self.epoch);
        offset.parse().ok().filter(|_| is_own)
    }
}

/// A message as the data of its event has it.
fn shown(message: &Message) -> String {
    if message.opcode == 2 {
        return as_standard(&message.payload);
    }
    let text = std::str::from_utf8(&message.payload).expect("it is text");
    text.replace("\r\n", "\n").replace('\r', "\n")
}

/// It may have been found too far behind.
fn lags(heard: &Heard, socket: &Socket, view: &View<'_>) -> bool {
    let truth = &view.truths[heard.truth];
    // It may since have been sent the rest of the event that it was in.
    let unread = heard.next.saturating_sub(1).max(1)..truth.next();
    let len = |offset: u64| {
        let payload = truth.message(offset).map_or(0, |m| m.payload.len() as u64);
        2 * payload + ENVELOPE_BYTES
    };
    let behind = unread.map(len).sum::<u64>() + socket.uncounted_bytes();
    behind > view.settings.lag_bytes_max as u64
        || (behind > 0 && (view.tight || stalls(socket, view)))
}

/// Its socket has taken nothing for long.
fn stalls(socket: &Socket, view: &View<'_>) -> bool {
    let stalled_ms = socket.stalled_ms_max.max(view.now_ms - socket.accepted_ms);
    stalled_ms + LATE_MS_MAX >= view.settings.stall_ms_max
}

fn number(text: &str, name: &str) -> u64 {
    let (_, rest) = text
        .split_once(name)
        .unwrap_or_else(|| panic!("{text} lacks {name}"));
    let end = rest.find(|c: char| !c.is_ascii_digit()).expect("an end");
    rest[..end].parse().expect("a number")
}
