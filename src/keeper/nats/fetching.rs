//! Messages that are missing: fetched in pages, from any replica or one by one from the leader.

use async_nats::{Message, StatusCode};
use serde_json::json;

use super::chain::{PageEnd, Place, Source};
use super::counts::Counters;
use super::event::{Committed, Topic};
use super::headers::{self, Signer};
use super::nodes::{Answer, Base64, Told, What};
use super::state::{Ask, Carried, Delayed, Fetch, State};
use super::wire::{self, Got, Stored};

/// Fetches that may be under way at once, of all topics.
const FETCHES_MAX: usize = 64;
/// What one page may have. Beside a page's bytes there is room for two of the longest
/// messages, so that each page brings the fetch on.
pub(super) const PAGE_MESSAGES_MAX: usize = 128;
pub(super) const PAGE_BYTES_MAX: usize = 256 << 10;

impl State {
    pub(super) fn pump_fetches(&mut self) {
        while self.fetches_under_way < FETCHES_MAX
            && let Some((topic, fetch)) = self.fetches.pop_front()
        {
            let is_wanted = |generation| generation == fetch.generation;
            if !self
                .topics
                .get(&topic)
                .is_some_and(|it| is_wanted(it.generation))
            {
                continue;
            }
            self.fetches_under_way += 1;
            let number = self.subjects.stream(&topic);
            let subject = self.subjects.stored(&topic);
            let (verb, body) = match fetch.of {
                Source::Any => (
                    "DIRECT.GET",
                    self.page_of(&subject, fetch.from, PAGE_MESSAGES_MAX),
                ),
                Source::Leader => (
                    "STREAM.MSG.GET",
                    json!({ "seq": fetch.from.max(1), "next_by_subj": subject }),
                ),
            };
            self.ask_api(verb, number, &body, Ask::Fetch(topic, fetch));
        }
    }

    /// The request for a page of messages. It is not longer than what can be read in time.
    pub(super) fn page_of(&self, subject: &str, from: u64, count: usize) -> serde_json::Value {
        json!({
            "seq": from.max(1),
            "next_by_subj": subject,
            "batch": count.clamp(1, self.settings.unread_messages_max / 4),
            "max_bytes": PAGE_BYTES_MAX + 2 * self.settings.message_bytes_max,
        })
    }

    /// The last answer to a fetch; those before it are in `fetch.found`.
    pub(super) fn handle_fetched(&mut self, topic: Topic, mut fetch: Fetch, message: &Message) {
        let end = match fetch.of {
            Source::Any if fetch.is_broken => None,
            Source::Any => page_end(message, fetch.found.last().map(|(place, _)| place.offset)),
            Source::Leader => match wire::response::<Got>(message) {
                Ok(got) => got.stored().map(|stored| {
                    fetch.found.push(self.carry(&topic, stored));
                    PageEnd::More
                }),
                Err(error) if error.err_code == wire::NO_MESSAGE => Some(PageEnd::End),
                Err(_) => None,
            },
        };
        let Some(end) = end else {
            return self.handle_no_fetch(&topic, &fetch);
        };
        self.fetches_under_way = self.fetches_under_way.saturating_sub(1);
        let Some(followed) = self.topics.get_mut(&topic) else {
            return;
        };
        if followed.generation != fetch.generation {
            return;
        }
        self.shared.counters.fetched.add(fetch.found.len() as u64);
        let mut steps = Vec::new();
        followed.chain.handle_page(fetch.found, end, &mut steps);
        self.perform(&topic, steps);
    }

    /// A fetch that is not answered is put again, unless its topic begins anew meanwhile.
    pub(super) fn handle_no_fetch(&mut self, topic: &Topic, fetch: &Fetch) {
        self.fetches_under_way = self.fetches_under_way.saturating_sub(1);
        self.delay(Delayed::Fetch(topic.clone(), fetch.generation));
    }

    pub(super) fn fetch_again(&mut self, topic: &Topic, generation: u32) {
        if let Some(followed) = self.topics.get_mut(topic)
            && followed.generation == generation
        {
            let mut steps = Vec::new();
            followed.chain.handle_silence(&mut steps);
            self.perform(topic, steps);
        }
    }

    fn carry(&self, topic: &str, stored: Stored) -> (Place, Carried) {
        carry(topic, stored, &self.signer, &self.shared.counters)
    }
}

impl Ask {
    /// Takes an answer that others may follow. Returns whether it is the last one, which
    /// is left to be handled.
    pub(super) fn handle_part(
        &mut self,
        message: &Message,
        signer: &Signer,
        counters: &Counters,
    ) -> bool {
        match self {
            Ask::Fetch(topic, fetch) if fetch.of == Source::Any => {
                let Some((place, carried)) = direct(topic, message, signer, counters) else {
                    return true;
                };
                let last = fetch.found.last().map(|(place, _)| place.offset);
                fetch.is_broken |= !continues(message, last);
                fetch.found.push((place, carried));
                is_alone(message)
            }
            Ask::History(past) if past.is_trying() => true,
            Ask::History(past) => {
                let Some((place, carried)) = direct(&past.topic, message, signer, counters) else {
                    return true;
                };
                let last = past.found.last().map(|it| it.offset);
                past.is_broken |= !continues(message, last);
                past.found.push(Committed {
                    topic: past.topic.clone(),
                    offset: place.offset,
                    previous: past.found.last().map_or(past.wish.since(), |it| it.offset),
                    time_ms: place.time_ms,
                    message: carried.message,
                    ticket: None,
                });
                is_alone(message)
            }
            Ask::Call {
                answers, missing, ..
            } => {
                if let Ok(told) = serde_json::from_slice::<Told>(&message.payload)
                    && let What::Answer {
                        bytes: Base64(bytes),
                    } = told.what
                    && let Some(name) = missing.remove(&told.incarnation)
                {
                    let node = told.incarnation;
                    answers.push(Answer { node, name, bytes });
                }
                missing.is_empty()
            }
            _ => true,
        }
    }
}

/// Whether this part of a page comes right behind the one with the offset `last`: the
/// client library drops answers that are not read in time, like all messages.
fn continues(message: &Message, last: Option<u64>) -> bool {
    let headers = message.headers.as_ref();
    let before = headers.and_then(|headers| wire::number(headers, "Nats-Last-Sequence"));
    before.is_none_or(|before| before == last.unwrap_or(0))
}

/// How many messages of the topic are behind the one in this answer, or behind the page that it
/// ends.
pub(super) fn pending_of(message: &Message) -> Option<u64> {
    wire::number(message.headers.as_ref()?, "Nats-Num-Pending")
}

/// How a page ends, by the answer behind its messages, of which `last` was the last one;
/// `None` if it cannot be told.
pub(super) fn page_end(message: &Message, last: Option<u64>) -> Option<PageEnd> {
    match message.status {
        Some(StatusCode::NOT_FOUND) => Some(PageEnd::End),
        // The end of a batch.
        Some(status) if status.as_u16() == 204 => {
            match (continues(message, last), pending_of(message)) {
                (false, _) => None,
                (true, Some(0)) => Some(PageEnd::End),
                (true, _) => Some(PageEnd::More),
            }
        }
        Some(_) => None,
        // A server that knows no batches gives one message.
        None => Some(PageEnd::More),
    }
}

/// The message in an answer to a direct get, if one is in it.
fn direct(
    topic: &str,
    message: &Message,
    signer: &Signer,
    counters: &Counters,
) -> Option<(Place, Carried)> {
    let headers = message.headers.as_ref()?;
    if message.status.is_some() {
        return None;
    }
    let stored = Stored {
        place: wire::place(headers)?,
        headers: Some(headers.clone()),
        payload: message.payload.clone(),
    };
    Some(carry(topic, stored, signer, counters))
}

/// A server that knows no batches says nothing of what is left.
fn is_alone(message: &Message) -> bool {
    let headers = message.headers.as_ref();
    headers.is_none_or(|headers| headers.get("Nats-Num-Pending").is_none())
}

fn carry(topic: &str, stored: Stored, signer: &Signer, counters: &Counters) -> (Place, Carried) {
    let headers = stored.headers.as_ref();
    let (message, id, is_forged) = headers::read(headers, stored.payload, topic, signer, |_| false);
    counters.forged.add(u64::from(is_forged));
    (stored.place, Carried { message, id })
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_nats::HeaderMap;
    use bytes::Bytes;

    fn answer(status: Option<u16>, headers: &[(&str, &str)]) -> Message {
        let mut map = HeaderMap::new();
        headers
            .iter()
            .for_each(|(name, value)| map.insert(*name, *value));
        Message {
            subject: "inbox.1".into(),
            reply: None,
            payload: Bytes::from_static(b"x"),
            headers: Some(map),
            status: status.map(|code| StatusCode::from_u16(code).expect("a code")),
            description: None,
            length: 0,
        }
    }

    fn part(offset: &str, before: &str, pending: &str) -> Message {
        answer(
            None,
            &[
                ("Nats-Sequence", offset),
                ("Nats-Time-Stamp", "2026-01-01T00:00:00Z"),
                ("Nats-Last-Sequence", before),
                ("Nats-Num-Pending", pending),
            ],
        )
    }

    /// How a page ends whose answers are these, as `handle_answer` would have it.
    fn end(answers: &[Message]) -> Option<PageEnd> {
        let (signer, counters) = (Signer::new(b"key", &[]), Counters::default());
        let fetch = Fetch {
            generation: 1,
            from: 1,
            of: Source::Any,
            found: Vec::new(),
            is_broken: false,
        };
        let mut ask = Ask::Fetch("t".into(), fetch);
        let (last, parts) = answers.split_last().expect("there is one");
        for part in parts {
            assert!(!ask.handle_part(part, &signer, &counters));
        }
        assert!(ask.handle_part(last, &signer, &counters));
        let Ask::Fetch(_, fetch) = ask else {
            unreachable!()
        };
        let offset = fetch.found.last().map(|(place, _)| place.offset);
        page_end(last, offset).filter(|_| !fetch.is_broken)
    }

    #[test]
    fn a_page_ends_as_its_last_answer_says() {
        let eob = |last: &str, pending: &str| {
            answer(
                Some(204),
                &[("Nats-Last-Sequence", last), ("Nats-Num-Pending", pending)],
            )
        };
        let parts = [part("5", "0", "2"), part("8", "5", "1")];
        let page = |end: Message| parts.iter().cloned().chain([end]).collect::<Vec<_>>();
        assert_eq!(end(&page(eob("8", "0"))), Some(PageEnd::End));
        assert_eq!(end(&page(eob("8", "1"))), Some(PageEnd::More));
        assert_eq!(end(&[answer(Some(404), &[])]), Some(PageEnd::End));
        assert_eq!(end(&[answer(Some(503), &[])]), None);
        // A server that knows no pages.
        let alone = [
            ("Nats-Sequence", "5"),
            ("Nats-Time-Stamp", "2026-01-01T00:00:00Z"),
        ];
        assert_eq!(end(&[answer(None, &alone)]), Some(PageEnd::More));
    }

    #[test]
    fn a_page_that_lost_a_part_on_its_way_is_no_page() {
        let eob = answer(
            Some(204),
            &[("Nats-Last-Sequence", "9"), ("Nats-Num-Pending", "0")],
        );
        let (first, second, third) = (
            part("5", "0", "2"),
            part("8", "5", "1"),
            part("9", "8", "0"),
        );
        let whole = [first.clone(), second.clone(), third.clone(), eob.clone()];
        assert_eq!(end(&whole), Some(PageEnd::End));
        assert_eq!(end(&[second.clone(), third.clone(), eob.clone()]), None);
        assert_eq!(end(&[first.clone(), third, eob.clone()]), None);
        assert_eq!(end(&[first, second, eob.clone()]), None);
        assert_eq!(end(&[eob]), None);
    }
}
