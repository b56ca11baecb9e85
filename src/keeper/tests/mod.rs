//! Any interleaving of publishing, crashes, resuming and retention gives each reader a part of
//! one order, whichever keeper a topic has: by seed, with readers that come and go.
//!
//! `FANFARE_KEEPER_SEED=n` plays one seed alone, of each keeper.

mod cluster;
mod disk;
mod memory;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use fastrand::Rng;

use crate::config::{Keep, Settings};
use crate::handover::{State, write_down};
use crate::hub::{Clock, HistoryError, Hub};
use crate::protocol::dialect::centrifugo::{Page, Place, epoch_text};
use crate::protocol::topic::TopicName;
use crate::protocol::ws::Opcode;

const STEPS: usize = 120;
const READERS: usize = 5;
const TOPICS: [&str; 2] = ["a", "b"];
const RETAIN_MS: u64 = 10_000;

/// What was published, in its order: what readers hear is compared with it.
#[derive(Default)]
struct Truth {
    /// By topic and epoch, then by offset.
    histories: HashMap<(String, u64), BTreeMap<u64, Said>>,
    number: u64,
}

struct Said {
    text: String,
    time_ms: u64,
    /// It may have been lost: in a crash before it was stored, or by a purge.
    may_lack: bool,
}

impl Truth {
    /// A payload that nothing else has.
    fn words(&mut self) -> String {
        self.number += 1;
        format!("\"m{}\"", self.number)
    }

    fn history(&mut self, topic: &str, epoch: u64) -> &mut BTreeMap<u64, Said> {
        self.histories.entry((topic.into(), epoch)).or_default()
    }

    fn note(&mut self, topic: &str, epoch: u64, offset: u64, text: String, time_ms: u64) {
        let history = self.history(topic, epoch);
        let newest = history.last_key_value().map_or(0, |(offset, _)| *offset);
        assert!(newest < offset, "offset {offset} is given behind {newest}");
        let may_lack = false;
        let said = Said {
            text,
            time_ms,
            may_lack,
        };
        history.insert(offset, said);
    }

    /// What has these offsets may be lost from now on.
    fn lose(&mut self, topic: &str, epoch: u64, offsets: impl std::ops::RangeBounds<u64>) {
        for (_, said) in self.history(topic, epoch).range_mut(offsets) {
            said.may_lack = true;
        }
    }
}

/// The time, of all processes.
#[derive(Clone)]
struct Time(Arc<AtomicU64>);

impl Time {
    fn begin() -> Time {
        Time(Arc::new(AtomicU64::new(1 << 40)))
    }

    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn pass(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::Relaxed);
    }

    fn hub(&self, settings: &Settings) -> Arc<Hub> {
        let clock = Clock::Manual(self.0.clone(), self.0.clone());
        Hub::with_clock(settings.clone(), clock).expect("eventfds are to be had")
    }
}

fn settings(keep: Keep, rng: &mut Rng) -> Settings {
    Settings {
        cores: 1,
        keep,
        retain_messages_max: [5, 40, 1000][rng.usize(..3)],
        retain_ms_max: RETAIN_MS,
        retain_bytes_max: 1 << 20,
        store_sync_ms: 60_000,
        ..Settings::default()
    }
}

/// What keeps topics, and the processes that readers may ask.
trait Keeper {
    fn hubs(&self) -> Vec<Arc<Hub>>;

    fn publish(&mut self, topic: &str, truth: &Mutex<Truth>, rng: &mut Rng);

    /// Something happens that nobody has to notice.
    fn step(&mut self, truth: &Mutex<Truth>, rng: &mut Rng);

    /// A process ends in some way, and another one takes its place.
    fn restart(&mut self, truth: &Mutex<Truth>, rng: &mut Rng);

    /// All that is on its way arrives.
    fn settle(&mut self, truth: &Mutex<Truth>, rng: &mut Rng);
}

/// Somebody who reads a topic a page at a time, and goes on where it was.
struct Reader {
    topic: TopicName,
    epoch: Option<u64>,
    /// Of the last message it has had.
    last: u64,
    /// Histories that it was told the end of, each with who said so: another node may know of
    /// the end only later.
    left: HashSet<(*const Hub, u64)>,
}

impl Reader {
    fn new(topic: &str) -> Reader {
        Reader {
            topic: TopicName::new(topic).expect("it is one"),
            epoch: None,
            last: 0,
            left: HashSet::new(),
        }
    }

    /// Reads a page. False if there was nothing more.
    fn read(&mut self, hub: &Arc<Hub>, truth: &Mutex<Truth>, limit: usize, now_ms: u64) -> bool {
        let since = self.epoch.map(|epoch| Place {
            offset: self.last,
            epoch: epoch_text(epoch),
        });
        let page = Page {
            since,
            limit: Some(limit),
            reverse: false,
        };
        let past = match hub.history_stored(&self.topic, &page) {
            Ok(past) => past,
            Err(HistoryError::OtherEpoch) => {
                // It begins again, and knows why.
                let of = |epoch| (Arc::as_ptr(hub), epoch);
                self.left.extend(self.epoch.take().map(of));
                self.last = 0;
                return true;
            }
            // It is asked again.
            Err(HistoryError::Unknown | HistoryError::Unreadable) => return false,
            Err(error) => panic!("{error}"),
        };
        let has_ended = self.left.contains(&(Arc::as_ptr(hub), past.epoch));
        assert!(!has_ended, "a history comes back");
        let epoch = *self.epoch.insert(past.epoch);
        let mut truth = lock(truth);
        let history = truth.history(self.topic.as_str(), epoch);
        let messages_max = hub.settings().retain_messages_max;
        let missed = |from: u64, until: u64| {
            for (offset, said) in history.range(from..until) {
                let newer = history.range(offset + 1..).count();
                assert!(
                    said.may_lack || newer >= messages_max || said.time_ms + RETAIN_MS <= now_ms,
                    "{offset} ({}) is missing, {newer} before the end",
                    said.text
                );
            }
        };
        for publication in &past.publications {
            let offset = publication.offset;
            assert!(self.last < offset, "{offset} comes behind {}", self.last);
            // An offset that is left out tells what is missing.
            missed(self.last + 1, offset);
            let said = history.get(&offset).expect("it was published");
            let words = std::str::from_utf8(&publication.data.bytes).expect("text");
            assert_eq!(said.text, words, "at offset {offset}");
            self.last = offset;
        }
        // A node may be behind the one that was asked before.
        if past.publications.len() < limit && self.last < past.offset {
            missed(self.last + 1, past.offset + 1);
        }
        past.publications.len() == limit
    }

    /// Reads all there is.
    fn read_all(&mut self, hub: &Arc<Hub>, truth: &Mutex<Truth>, now_ms: u64) {
        while self.read(hub, truth, 7, now_ms) {}
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics inside the lock")
}

/// Publishes where a process decides by itself.
fn publish_here(hub: &Arc<Hub>, topic: &str, truth: &Mutex<Truth>) {
    let name = TopicName::new(topic).expect("it is one");
    let mut truth = lock(truth);
    let text = truth.words();
    match hub.publish(&name, Opcode::Text, text.as_bytes(), None) {
        Ok((committed, epoch)) => {
            let now_ms = hub.unix_ms(hub.now_ms());
            truth.note(topic, epoch, committed.offset, text, now_ms);
        }
        Err(error) => assert!(error.passes(), "{error}"),
    }
}

/// Another process takes over the memory of one.
fn hand_over(hub: &Arc<Hub>, time: &Time, settings: &Settings) -> Arc<Hub> {
    let (state, logs) = write_down(hub, &[]).expect("there are descriptors");
    let state = State::decode(&state.encode()).expect("it is as it was written");
    let next = time.hub(settings);
    next.arenas().inherit(logs).expect("they are from a log");
    for topic in &state.topics {
        next.restore_topic(topic)
            .expect("what was saved makes sense");
    }
    next.arenas().own();
    next
}

fn play(seed: u64, begin: impl Fn(&Time, &mut Rng) -> Box<dyn Keeper>) {
    let mut rng = Rng::with_seed(seed);
    let time = Time::begin();
    let truth = Mutex::default();
    let mut keeper = begin(&time, &mut rng);
    let mut readers: Vec<Reader> = Vec::new();
    for _ in 0..STEPS {
        match rng.u8(..) {
            0..=99 => {
                for _ in 0..rng.usize(1..6) {
                    let topic = TOPICS[rng.usize(..TOPICS.len())];
                    keeper.publish(topic, &truth, &mut rng);
                }
            }
            100..=139 => keeper.step(&truth, &mut rng),
            140..=149 => keeper.restart(&truth, &mut rng),
            150..=169 => {
                time.pass(rng.u64(1..RETAIN_MS / 3));
                for hub in keeper.hubs() {
                    hub.expire();
                }
            }
            170..=179 if readers.len() < READERS => {
                readers.push(Reader::new(TOPICS[rng.usize(..TOPICS.len())]));
            }
            180..=183 if !readers.is_empty() => {
                let gone = rng.usize(..readers.len());
                readers.swap_remove(gone);
            }
            _ => {
                let hubs = keeper.hubs();
                let hub = &hubs[rng.usize(..hubs.len())];
                let limit = rng.usize(1..12);
                if let Some(reader) = rng.choice(&mut readers) {
                    reader.read(hub, &truth, limit, time.now_ms());
                }
            }
        }
    }
    keeper.settle(&truth, &mut rng);
    for hub in keeper.hubs() {
        for reader in &mut readers {
            reader.read_all(&hub, &truth, time.now_ms());
        }
        for topic in TOPICS {
            Reader::new(topic).read_all(&hub, &truth, time.now_ms());
        }
    }
}

/// Plays many seeds, and says which one fails.
fn play_all(seeds: u64, begin: impl Fn(&Time, &mut Rng) -> Box<dyn Keeper>) {
    let one = std::env::var("FANFARE_KEEPER_SEED");
    if let Ok(seed) = one {
        return play(seed.parse().expect("a number"), begin);
    }
    for seed in 0..seeds {
        let played = std::panic::AssertUnwindSafe(|| play(seed, &begin));
        if std::panic::catch_unwind(played).is_err() {
            panic!("FANFARE_KEEPER_SEED={seed} fails, see above");
        }
    }
}
