//! What the coordinator and the client threads share: the plan of a run, the
//! clock, the counters, and the words they exchange.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::check::Tally;
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
}

impl Plan {
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
    /// How late this tool itself sent, against its own schedule.
    pub lateness: Rough,
    /// From the start of a connect to the 101.
    pub handshakes: Rough,
    /// From the order to connect to the 101.
    pub returns: Rough,
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
            lateness: Rough::default(),
            handshakes: Rough::default(),
            returns: Rough::default(),
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
}

/// Counters of one thread that the coordinator reads at any time.
#[derive(Default)]
pub struct Counters {
    pub open: [AtomicU32; GROUPS],
    /// Handshakes so far.
    pub opened: [AtomicU64; GROUPS],
    pub refused: AtomicU64,
    pub closed: AtomicU64,
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
