//! What the coordinator and the client threads share: the plan of a run, the
//! clock, the counters, and the words they exchange.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::api::App;
use crate::check::Tally;
use crate::dialect::Dialect;
use crate::stats::{Latency, Rough};

/// Which part a connection plays; also an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// There from the first message to the last: must hear everything.
    Steady,
    /// Comes and goes: must hear everything between its first and last message.
    Coming,
    /// Stops reading for a while: may be closed or skipped by the server.
    Stalling,
}

pub const GROUPS: usize = 3;

/// One simulated client.
#[derive(Clone, Debug)]
pub struct Member {
    /// The first of its topics; those after it follow, the last one before the first.
    pub topic: u32,
    pub publisher: Option<u32>,
    pub group: Group,
    /// The client thread that it lives on.
    pub thread: u16,
    /// The source address to bind, where the kernel's choice would run out of ports.
    pub source: Option<IpAddr>,
}

/// Everything that stays the same during a run.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub members: Vec<Member>,
    /// The topic of each publisher.
    pub publisher_topics: Vec<u32>,
    /// Whether the server sends a publisher its own messages too.
    pub echo: bool,
    pub message_bytes: usize,
    pub binary: bool,
    /// Whether every byte of the padding is compared.
    pub verify: bool,
    /// A text frame sent after the handshake, with `{topic}` filled in.
    pub hello: Option<String>,
    pub interval_ns: u64,
    pub handshake_ns_max: u64,
    pub dialect: Dialect,
    /// Publishers do so over HTTP, in this one's name.
    pub app: Option<App>,
    /// The name of a topic where commands name it, with `{topic}` for its number.
    pub channel: String,
    pub topics: u32,
    pub topics_per_connection: u32,
    /// Those that come and go ask for what they have missed, and must hear everything.
    pub recover: bool,
    /// A publisher that sends only what [`Command::Burst`] orders.
    pub burst: Option<u32>,
    /// So many threads, from the first on, go before the others: what is heard there is
    /// measured, and the others are load.
    pub apart_threads: usize,
}

impl Plan {
    /// Whether a member publishes over HTTP, and so hears nothing.
    pub fn posts(&self, publisher: Option<u32>) -> bool {
        self.app.is_some() && publisher.is_some()
    }

    /// The name of a topic in commands.
    pub fn channel(&self, topic: u32) -> String {
        self.channel.replace(TOPIC, &topic.to_string())
    }

    /// The number of a topic by its name in commands.
    pub fn topic_of(&self, channel: &str) -> Option<u32> {
        let Some((before, behind)) = self.channel.split_once(TOPIC) else {
            return (channel == self.channel).then_some(0);
        };
        let number = channel.strip_prefix(before)?.strip_suffix(behind)?;
        number.parse().ok()
    }

    /// The topics of a connection, beginning with its first.
    pub fn topics_from(&self, first: u32) -> impl Iterator<Item = u32> + use<> {
        let topics = self.topics.max(1);
        (0..self.topics_per_connection.max(1)).map(move |place| (first + place) % topics)
    }

    /// Which of the topics from `first` on a topic is; `None` if it is none of them.
    pub fn place_of(&self, first: u32, topic: u32) -> Option<usize> {
        let topics = self.topics.max(1);
        let place = (topic + topics - first) % topics;
        (place < self.topics_per_connection.max(1)).then_some(place as usize)
    }

    /// The number of each publisher among those of its topic.
    pub fn streams(&self) -> Vec<u32> {
        let mut of_topic: HashMap<u32, u32> = HashMap::new();
        let streams = self.publisher_topics.iter().map(|topic| {
            let count = of_topic.entry(*topic).or_default();
            *count += 1;
            *count - 1
        });
        streams.collect()
    }

    fn publishers_by_topic(&self) -> Vec<Vec<u32>> {
        let topics = self
            .publisher_topics
            .iter()
            .max()
            .map_or(0, |most| most + 1);
        let mut lists = vec![Vec::new(); topics as usize];
        for (publisher, topic) in self.publisher_topics.iter().enumerate() {
            lists[*topic as usize].push(publisher as u32);
        }
        lists
    }
}

/// What stands for a topic's number in paths and names.
pub const TOPIC: &str = "{topic}";

/// How publishers send.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// Messages per second of all publishers together, on a fixed schedule
    /// that does not wait for the server.
    Rate(f64),
    /// Messages of one publisher that are not yet heard by all; the next one
    /// goes out when one is done.
    Window(u32),
    Silent,
}

/// A stretch of a run with one pace. Times are nanoseconds since the run began.
#[derive(Clone, Copy, Debug)]
pub struct Phase {
    pub number: u16,
    pub from_ns: u64,
    /// Messages due before this are sent and checked, but not timed.
    pub warm_ns: u64,
    pub until_ns: u64,
    pub pace: Pace,
}

/// What the coordinator tells a thread.
#[derive(Clone, Debug)]
pub enum Command {
    /// Connect all of a group that are not, with so many handshakes at a time.
    Open {
        group: Group,
        in_flight: usize,
    },
    /// Reset all connections of a group without a word.
    Drop(Group),
    Stall(Group),
    Resume(Group),
    /// Every so many nanoseconds one of the coming group leaves and returns; `None` ends it.
    Churn(Option<u64>),
    Begin(Phase),
    /// A publisher sends so many messages at once, beside all schedules.
    Burst {
        publisher: u32,
        count: u64,
    },
    /// Report the checks and end.
    Stop,
}

/// What a thread reports.
pub enum Event {
    Interval(Box<Interval>),
    /// How connections failed, for the person who looks for the cause; each kind once.
    Problem(String),
    Final(Box<Final>),
    Died(String),
}

/// What one thread saw within one interval of one phase.
pub struct Interval {
    pub index: u64,
    pub phase: u16,
    pub latency: Latency,
    /// When the last subscriber heard a message, where this thread alone knows it.
    pub last: Rough,
    /// How late this tool itself sent, against its own schedule.
    pub lateness: Rough,
    /// From the start of a connect until it is open: the 101 has come, and every topic
    /// is subscribed to.
    pub handshakes: Rough,
    /// The same from the order to connect.
    pub returns: Rough,
    /// From the order to connect until all that was missed has been heard.
    pub caught_up: Rough,
    pub published: u64,
    pub delivered: u64,
    pub bytes: u64,
}

impl Interval {
    pub fn new(index: u64, phase: u16) -> Interval {
        Interval {
            index,
            phase,
            latency: Latency::default(),
            last: Rough::default(),
            lateness: Rough::default(),
            handshakes: Rough::default(),
            returns: Rough::default(),
            caught_up: Rough::default(),
            published: 0,
            delivered: 0,
            bytes: 0,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.published + self.delivered + self.handshakes.count() == 0
    }
}

/// A thread's checks at the end.
#[derive(Default)]
pub struct Final {
    pub tallies: [Tally; GROUPS],
    /// What went wrong, in words, and how often.
    pub problems: BTreeMap<String, u64>,
    /// Connections that the server closed, by close code.
    pub closes: [BTreeMap<u16, u64>; GROUPS],
    /// Per topic: in which orders its subscribers heard it, and how many each.
    pub orders: HashMap<u32, HashMap<u64, u64>>,
    /// Messages that came back to the connection that had sent them.
    pub echoes: u64,
    /// Returns after which the server could not give what was missed.
    pub unrecovered: u64,
    /// Requests over HTTP that were refused, or answered by what cannot be read.
    pub posts_refused: u64,
    /// Requests over HTTP whose answers never came.
    pub posts_unanswered: u64,
}

/// Counters of one thread that the coordinator reads at any time.
#[derive(Default)]
pub struct Counters {
    pub open: [AtomicU32; GROUPS],
    /// Handshakes so far.
    pub opened: [AtomicU64; GROUPS],
    pub refused: AtomicU64,
    pub closed: AtomicU64,
    /// Times that a connection which had been away had heard all that it had missed.
    pub caught_up: AtomicU64,
    pub delivered: AtomicU64,
    pub last_delivery_ns: AtomicU64,
    /// One more than the last phase whose publishers are done on this thread.
    pub phases_done: AtomicU32,
    pub buffers_short: AtomicU64,
}

/// The way to a thread.
pub struct Mailbox {
    pub wake: Arc<EventFd>,
    commands: Mutex<VecDeque<Command>>,
    /// Publishers of this thread with messages done elsewhere.
    advanced: Mutex<Vec<u32>>,
    any: AtomicBool,
}

pub struct Shared {
    began: Instant,
    pub plan: Plan,
    /// Tells this run's messages from those of others.
    pub run: u32,
    pub streams: Vec<u32>,
    /// Messages of the plan's burst publisher that whoever comes back is to have heard.
    pub burst_target: AtomicU64,
    of_topic: Vec<Vec<u32>>,
    /// Messages sent so far, per publisher.
    pub sent: Vec<AtomicU64>,
    /// Per thread and publisher: how many of the first messages all of the
    /// thread's steady connections have heard.
    pub done: Vec<Vec<AtomicU64>>,
    pub counters: Vec<Counters>,
    pub mailboxes: Vec<Mailbox>,
    /// The thread that each publisher lives on.
    pub owners: Vec<u16>,
}

impl Shared {
    pub fn new(plan: Plan, threads: usize) -> std::io::Result<Shared> {
        let publishers = plan.publisher_topics.len();
        let mut owners = vec![0; publishers];
        for member in &plan.members {
            if let Some(publisher) = member.publisher {
                owners[publisher as usize] = member.thread;
            }
        }
        let mailboxes = (0..threads)
            .map(|_| Mailbox::new())
            .collect::<std::io::Result<_>>()?;
        Ok(Shared {
            began: Instant::now(),
            run: fastrand::u32(0..=crate::stamp::RUN_MAX),
            streams: plan.streams(),
            burst_target: AtomicU64::new(0),
            of_topic: plan.publishers_by_topic(),
            sent: (0..publishers).map(|_| AtomicU64::new(0)).collect(),
            done: (0..threads)
                .map(|_| (0..publishers).map(|_| AtomicU64::new(0)).collect())
                .collect(),
            counters: (0..threads).map(|_| Counters::default()).collect(),
            mailboxes,
            owners,
            plan,
        })
    }

    pub fn publishers_of(&self, topic: u32) -> &[u32] {
        self.of_topic.get(topic as usize).map_or(&[], |list| list)
    }

    /// Publishers of a topic, at most.
    fn streams_of_topic(&self) -> usize {
        self.streams
            .iter()
            .max()
            .map_or(0, |most| *most as usize + 1)
    }

    /// Publishers that one connection may hear.
    pub fn streams_of_connection(&self) -> usize {
        self.streams_of_topic() * self.plan.topics_per_connection.max(1) as usize
    }

    /// The number of a publisher's stream among those of a connection, by the place of
    /// its topic.
    pub fn stream(&self, place: usize, publisher: u32) -> usize {
        place * self.streams_of_topic() + self.streams[publisher as usize] as usize
    }

    /// The publishers that a connection hears, each with its stream.
    pub fn heard_from(&self, first_topic: u32) -> impl Iterator<Item = (u32, usize)> + '_ {
        let topics = self.plan.topics_from(first_topic).enumerate();
        topics.flat_map(move |(place, topic)| {
            let publishers = self.publishers_of(topic).iter();
            publishers.map(move |publisher| (*publisher, self.stream(place, *publisher)))
        })
    }

    /// Nanoseconds since the run began.
    pub fn now_ns(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    /// Messages of a publisher that all steady connections have heard.
    pub fn done_by_all(&self, publisher: usize) -> u64 {
        let done = self.done.iter();
        let least = done.map(|thread| thread[publisher].load(Ordering::Acquire));
        least.min().unwrap_or(u64::MAX)
    }

    /// Messages, of the publisher with the most of them, not yet heard by all.
    pub fn lag(&self) -> u64 {
        let all = self.sent.iter().enumerate();
        let lags = all.map(|(publisher, sent)| {
            let sent = sent.load(Ordering::Acquire);
            sent.saturating_sub(self.done_by_all(publisher))
        });
        lags.max().unwrap_or(0)
    }

    pub fn sum(&self, of: impl Fn(&Counters) -> u64) -> u64 {
        self.counters.iter().map(of).sum()
    }

    pub fn open(&self, group: Group) -> u64 {
        self.sum(|c| u64::from(c.open[group as usize].load(Ordering::Relaxed)))
    }

    pub fn delivered(&self) -> u64 {
        self.sum(|c| c.delivered.load(Ordering::Relaxed))
    }
}

/// The members that live on a thread.
pub fn share(members: &[Member], thread: usize) -> Vec<Member> {
    let mine = members.iter().filter(|m| usize::from(m.thread) == thread);
    mine.cloned().collect()
}

impl Mailbox {
    fn new() -> std::io::Result<Mailbox> {
        let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
        Ok(Mailbox {
            wake: Arc::new(EventFd::from_flags(flags)?),
            commands: Mutex::default(),
            advanced: Mutex::default(),
            any: AtomicBool::new(false),
        })
    }

    pub fn command(&self, command: Command) {
        self.commands.lock().expect("no panic").push_back(command);
        self.ring();
    }

    pub fn advance(&self, publishers: &[u32]) {
        let mut advanced = self.advanced.lock().expect("no panic");
        advanced.extend_from_slice(publishers);
        drop(advanced);
        self.ring();
    }

    /// What has come since the last look; for the owning thread alone.
    pub fn take(&self) -> Option<(VecDeque<Command>, Vec<u32>)> {
        if !self.any.swap(false, Ordering::AcqRel) {
            return None;
        }
        let commands = std::mem::take(&mut *self.commands.lock().expect("no panic"));
        let advanced = std::mem::take(&mut *self.advanced.lock().expect("no panic"));
        Some((commands, advanced))
    }

    fn ring(&self) {
        // One write per look is enough: the flag says that one is under way.
        if !self.any.swap(true, Ordering::AcqRel) {
            // A full counter cannot be: it is read at every wake.
            let _ = self.wake.write(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_with_several_topics_hears_their_publishers_as_streams_of_its_own() {
        let plan = Plan {
            publisher_topics: vec![0, 1, 2, 0],
            channel: "a-{topic}-z".into(),
            topics: 3,
            topics_per_connection: 2,
            ..Plan::default()
        };
        assert_eq!(plan.channel(2), "a-2-z");
        assert_eq!(plan.topic_of("a-2-z"), Some(2));
        assert_eq!(plan.topic_of("a-x-z"), None);
        assert_eq!(plan.place_of(2, 0), Some(1));
        assert_eq!(plan.place_of(2, 1), None);
        let shared = Shared::new(plan, 1).unwrap();
        assert_eq!(shared.streams_of_connection(), 4);
        let heard: Vec<_> = shared.heard_from(2).collect();
        assert_eq!(heard, [(2, 0), (0, 2), (3, 3)]);
    }
}
