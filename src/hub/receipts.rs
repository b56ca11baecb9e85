//! Answers that are kept for a while, for the request that bears the same
//! `Idempotency-Key`, or the message with the same `idempotency_key`: who has not heard
//! whether a request was carried out sends it again, and is answered as the first time.
//!
//! They are shared by all listeners and go over to the next process; a stop forgets them.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use serde::{Deserialize, Serialize};

use super::Hub;
use crate::protocol::topic::TopicName;

/// All answers and keys together. A batch's answer may be long, nearly all others have some
/// hundred bytes.
const BYTES_MAX: usize = 16 << 20;
/// What a kept answer takes beside its key and its body.
const ENTRY_BYTES: usize = 200;

/// An answer as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    pub status: u16,
    /// A JSON value in each line, rather than one.
    pub lines: bool,
    pub body: Vec<u8>,
}

/// Whose request it was, and how they have named it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RequestName {
    /// A user; `None` is a backend.
    pub user: Option<Box<str>>,
    pub key: Box<[u8]>,
}

impl RequestName {
    /// A message that a backend publishes to a topic with an `idempotency_key`. Neither topics
    /// nor the keys of whole requests have a byte 0.
    pub fn of_message(topic: &TopicName, key: &str) -> Self {
        let parts = [b"\0", topic.as_str().as_bytes(), b"\0", key.as_bytes()];
        RequestName {
            user: None,
            key: parts.concat().into(),
        }
    }
}

/// Distinguishes requests from each other; need not resist an attacker, who could only
/// deceive himself.
type Print = u64;

/// A kept answer, on its way to another process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedReceipt {
    name: RequestName,
    print: Print,
    /// How long it has been kept.
    age_ms: u64,
    answer: Answer,
}

#[cfg(test)]
impl SavedReceipt {
    /// One with something of everything.
    pub(crate) fn sample() -> Self {
        SavedReceipt {
            name: RequestName {
                user: Some("u".into()),
                key: b"k".as_slice().into(),
            },
            print: 31,
            age_ms: 32,
            answer: Answer {
                status: 200,
                lines: true,
                body: vec![33],
            },
        }
    }
}

/// What becomes of a request with a name.
pub enum Claim {
    /// It is to be carried out.
    First(Claimed),
    /// It has been: this was the answer.
    Again(Answer),
    /// The name was another request's.
    Reused,
    /// It is just being carried out.
    UnderWay,
    /// As many requests are under way as names are kept.
    Full,
}

/// A request that is being carried out. Dropped, it has come to nothing, and may be sent again.
pub struct Claimed {
    hub: Arc<Hub>,
    name: Arc<RequestName>,
    print: Print,
    is_kept: bool,
}

#[derive(Default)]
pub(super) struct Receipts {
    kept: Mutex<Kept>,
    repeated: AtomicU64,
    evicted: AtomicU64,
}

#[derive(Default)]
struct Kept {
    requests: HashMap<Arc<RequestName>, Request>,
    /// Those that are answered, oldest first, and since when.
    answered: VecDeque<(u64, Arc<RequestName>)>,
    bytes: usize,
}

struct Request {
    print: Print,
    /// `None` while it is under way.
    answer: Option<Answer>,
}

impl Hub {
    /// Looks whether a request has been answered before.
    pub fn claim(self: &Arc<Self>, name: RequestName, print: Print) -> Claim {
        let settings = self.settings();
        let mut kept = self.receipts.lock();
        kept.expire(self.now_ms(), settings.idempotency_ms_max);
        let name = Arc::new(name);
        match kept.requests.get(&name) {
            Some(request) if request.print != print => return Claim::Reused,
            Some(Request { answer: None, .. }) => return Claim::UnderWay,
            Some(Request {
                answer: Some(answer),
                ..
            }) => {
                self.receipts.repeated.fetch_add(1, Ordering::Relaxed);
                return Claim::Again(answer.clone());
            }
            None => {}
        }
        while kept.requests.len() >= settings.idempotency_keys_max {
            if !kept.evict() {
                return Claim::Full;
            }
            self.receipts.evicted.fetch_add(1, Ordering::Relaxed);
        }
        let answer = None;
        let request = Request { print, answer };
        kept.requests.insert(name.clone(), request);
        Claim::First(Claimed {
            hub: self.clone(),
            name,
            print,
            is_kept: false,
        })
    }

    /// How many requests are kept, those under way included.
    pub fn receipts(&self) -> usize {
        self.receipts.lock().requests.len()
    }

    /// Requests that were answered as before.
    pub fn receipts_repeated(&self) -> u64 {
        self.receipts.repeated.load(Ordering::Relaxed)
    }

    /// Answers that had to go before their time.
    pub fn receipts_evicted(&self) -> u64 {
        self.receipts.evicted.load(Ordering::Relaxed)
    }

    /// The answers that are kept, oldest first.
    pub fn save_receipts(&self) -> Vec<SavedReceipt> {
        let now_ms = self.now_ms();
        let kept = self.receipts.lock();
        let saved = kept.answered.iter().map(|(since_ms, name)| {
            let Request { print, answer } = &kept.requests[name];
            SavedReceipt {
                name: (**name).clone(),
                print: *print,
                age_ms: now_ms.saturating_sub(*since_ms),
                answer: answer.clone().expect("it is answered"),
            }
        });
        saved.collect()
    }

    /// Takes over the answers of the process before.
    pub fn restore_receipts(&self, saved: Vec<SavedReceipt>) {
        let now_ms = self.now_ms();
        let mut kept = self.receipts.lock();
        for receipt in saved {
            let name = Arc::new(receipt.name);
            let (print, answer) = (receipt.print, None);
            kept.requests
                .insert(name.clone(), Request { print, answer });
            kept.answer(&name, receipt.answer, now_ms.saturating_sub(receipt.age_ms));
        }
    }
}

impl Claimed {
    /// Keeps the answer.
    pub fn keep(mut self, answer: Answer) {
        self.is_kept = true;
        let mut kept = self.hub.receipts.lock();
        let evicted = kept.answer(&self.name, answer, self.hub.now_ms());
        self.hub
            .receipts
            .evicted
            .fetch_add(evicted, Ordering::Relaxed);
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        if !self.is_kept {
            let mut kept = self.hub.receipts.lock();
            let removed = kept.requests.remove(&self.name);
            debug_assert!(removed.is_some_and(|request| request.print == self.print));
        }
    }
}

impl Receipts {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().expect("nothing panics inside the lock")
    }
}

impl Kept {
    /// Keeps the answer to a request that was under way. Returns how many older ones had to go.
    fn answer(&mut self, name: &Arc<RequestName>, answer: Answer, now_ms: u64) -> u64 {
        self.bytes += bytes(name, &answer);
        let request = self.requests.get_mut(name);
        request.expect("it was under way").answer = Some(answer);
        self.answered.push_back((now_ms, name.clone()));
        let mut evicted = 0;
        while self.bytes > BYTES_MAX && self.evict() {
            evicted += 1;
        }
        evicted
    }

    fn expire(&mut self, now_ms: u64, ms_max: u64) {
        let is_old = |(since_ms, _): &(u64, _)| since_ms.saturating_add(ms_max) <= now_ms;
        while self.answered.front().is_some_and(is_old) {
            self.evict();
        }
    }

    /// Lets go of the oldest answer; false if there is none.
    fn evict(&mut self) -> bool {
        let Some((_, name)) = self.answered.pop_front() else {
            return false;
        };
        let request = self.requests.remove(&name).expect("it is kept");
        let answer = request.answer.expect("it is answered");
        self.bytes -= bytes(&name, &answer);
        true
    }
}

fn bytes(name: &RequestName, answer: &Answer) -> usize {
    let user = name.user.as_ref().map_or(0, |user| user.len());
    ENTRY_BYTES + user + name.key.len() + answer.body.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    fn hub(keys_max: usize, ms_max: u64) -> Arc<Hub> {
        let settings = Settings {
            idempotency_keys_max: keys_max,
            idempotency_ms_max: ms_max,
            ..Settings::default()
        };
        Hub::new(settings).unwrap()
    }

    fn name(key: &str) -> RequestName {
        RequestName {
            user: None,
            key: key.as_bytes().into(),
        }
    }

    fn answer(len: usize) -> Answer {
        Answer {
            status: 200,
            lines: false,
            body: vec![b'x'; len],
        }
    }

    fn keep(hub: &Arc<Hub>, key: &str, len: usize) {
        match hub.claim(name(key), 1) {
            Claim::First(claimed) => claimed.keep(answer(len)),
            _ => panic!("{key} is not new"),
        }
    }

    #[test]
    fn a_request_is_carried_out_once_and_answered_as_often_as_it_comes() {
        let hub = hub(10, 60_000);
        let Claim::First(claimed) = hub.claim(name("a"), 1) else {
            panic!()
        };
        assert!(matches!(hub.claim(name("a"), 1), Claim::UnderWay));
        assert!(matches!(hub.claim(name("a"), 2), Claim::Reused));
        // It has come to nothing.
        drop(claimed);
        keep(&hub, "a", 3);
        for _ in 0..2 {
            assert!(matches!(hub.claim(name("a"), 1), Claim::Again(kept) if kept == answer(3)));
        }
        assert!(matches!(hub.claim(name("a"), 2), Claim::Reused));
        assert_eq!(hub.receipts_repeated(), 2);
        // Others have names of their own.
        let user = Some("u".into());
        let other = RequestName { user, ..name("a") };
        assert!(matches!(hub.claim(other, 1), Claim::First(_)));
    }

    #[test]
    fn the_oldest_go_where_there_are_too_many_or_too_long_ones() {
        let hub = hub(2, 60_000);
        for key in ["a", "b", "c"] {
            keep(&hub, key, 1);
        }
        assert!(matches!(hub.claim(name("b"), 1), Claim::Again(_)));
        assert_eq!((hub.receipts(), hub.receipts_evicted()), (2, 1));
        keep(&hub, "d", BYTES_MAX);
        assert_eq!((hub.receipts(), hub.receipts_evicted()), (0, 4));
        let _one = hub.claim(name("e"), 1);
        let _two = hub.claim(name("f"), 1);
        assert!(matches!(hub.claim(name("g"), 1), Claim::Full));
    }

    #[test]
    fn an_answer_is_kept_for_its_time_and_no_longer() {
        let hub = hub(10, 0);
        keep(&hub, "a", 1);
        keep(&hub, "a", 1);
        assert_eq!(hub.receipts_evicted(), 0);
    }

    #[test]
    fn the_next_process_answers_as_this_one() {
        let (old, new) = (hub(10, 60_000), hub(10, 60_000));
        keep(&old, "a", 1);
        let _under_way = old.claim(name("b"), 1);
        new.restore_receipts(old.save_receipts());
        assert!(matches!(new.claim(name("a"), 1), Claim::Again(_)));
        assert!(matches!(new.claim(name("b"), 1), Claim::First(_)));
    }
}
