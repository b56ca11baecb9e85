//! One thread of clients: subscribers that check what they hear, publishers
//! that keep their schedule.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::check::{Faults, Ledger, Verdict};
use crate::client::{Clients, End, Message, Owner, Wake, wake_fd};
use crate::clock::Clock;
use crate::payload::{Schedule, Shape, Stamp};
use crate::target::{Sources, Url};

/// Messages that one publisher queues at a time; what is due beyond that goes
/// with the next turn.
const BATCH_MAX: u32 = 1024;
/// Bytes that a publisher queues while the kernel takes no more. The schedule
/// runs on meanwhile, and so do the intended times.
const QUEUE_BYTES_MAX: usize = 4 << 20;
/// When to look again at a publisher whose queue is full.
const FULL_NS: u64 = 500_000;
/// Who joins while messages flow may miss what is sent in this time: the
/// answer to a handshake may overtake the subscription.
const GRACE_S: f64 = 2.0;
/// Attempts to connect before a client is given up.
const ATTEMPTS_MAX: u8 = 8;
/// The longest wait of a turn.
const WAIT_NS_MAX: u64 = 100_000_000;
/// Faults that are described in words, per thread.
const EXAMPLES_MAX: usize = 5;

/// Which clients a command is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Group {
    /// Subscribers whose latency counts.
    Main,
    /// Those of a storm, or those that stall.
    Other,
    Publishers,
}

/// One client of a thread.
#[derive(Debug, Clone, Copy)]
pub struct Seat {
    /// Unique in the run.
    pub number: u32,
    pub topic: u32,
    pub group: Group,
    /// The publisher's number, if it is one.
    pub publisher: Option<u32>,
}

/// What does not change during a run.
#[derive(Debug)]
pub struct Setup {
    pub url: Arc<Url>,
    pub sources: Arc<Sources>,
    pub clock: Clock,
    pub run: u32,
    pub shape: Shape,
    pub publishers_per_topic: u32,
    pub topics: u32,
    pub in_flight_max: usize,
    pub slice_ns: u64,
    pub counts: Counts,
    /// Wakes each thread.
    pub wakes: Vec<Arc<Wake>>,
    /// The thread of each publisher.
    pub homes: Vec<usize>,
}

/// What all threads count together.
#[derive(Debug, Default)]
pub struct Counts {
    pub open: AtomicU64,
    pub handshakes: AtomicU64,
    pub refused: AtomicU64,
    pub given_up: AtomicU64,
    pub broken: AtomicU64,
    pub deliveries: AtomicU64,
    /// The last delivery.
    pub last_ns: AtomicU64,
    pub per_publisher: Vec<PublisherCounts>,
}

#[derive(Debug, Default)]
pub struct PublisherCounts {
    pub sent: AtomicU64,
    /// Messages that subscribers of the main group have heard, in all.
    pub heard: AtomicU64,
    /// Subscribers that hear it.
    pub subscribers: u64,
}

/// How fast the publishers are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// Messages per second of all publishers together.
    Rate(f64),
    /// Messages under way per publisher: the next goes out when one has
    /// reached everybody.
    Window(u64),
    /// So many messages per publisher, at once.
    Count(u64),
}

/// What a thread is told to do.
#[derive(Debug)]
pub enum Command {
    Open(Group),
    /// All of the group drop their connections at once.
    Leave(Group),
    Publish {
        pace: Pace,
        start_ns: u64,
    },
    StopPublishing,
    Stall(Group, bool),
    /// So many clients of the group leave and return each second.
    Churn(Group, f64),
    /// Nothing more will come: say what was missed.
    Settle,
    Quit,
}

/// What a thread saw between two ticks of the clock.
#[derive(Debug)]
pub struct Slice {
    pub index: u64,
    pub latency: Histogram<u64>,
    pub deliveries: u64,
    pub published: u64,
    /// How late the latest message left this tool.
    pub late_ns_max: u64,
    pub open: u64,
}

/// What a thread reports.
#[derive(Debug)]
pub enum Note {
    Slice(Slice),
    Settled(Findings),
    Failed(io::Error),
}

/// What was wrong, all in all.
#[derive(Debug, Default)]
pub struct Findings {
    pub faults: Faults,
    pub examples: Vec<String>,
    pub ends: HashMap<End, u64>,
    /// The same for clients that were meant to be in trouble.
    pub other_faults: Faults,
    pub other_ends: HashMap<End, u64>,
}

/// An empty latency histogram: 1 µs to 10 min, three digits.
pub fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1000, 600_000_000_000, 3).expect("constant bounds")
}

/// The thread's main function: it works until told to quit.
pub fn work(
    setup: Arc<Setup>,
    seats: Vec<Seat>,
    wake: Arc<Wake>,
    commands: Receiver<Command>,
    notes: Sender<(usize, Note)>,
    me: usize,
) {
    // A late timer would count as latency.
    let _ = nix::sys::prctl::set_timerslack(1);
    let done =
        Worker::new(setup, seats, &notes, me).and_then(|mut worker| worker.run(&wake, &commands));
    if let Err(error) = done {
        let _ = notes.send((me, Note::Failed(error)));
    }
}

struct Worker {
    clients: Clients,
    desk: Desk,
    publishers: Vec<Publisher>,
    /// By publisher number: its place in `publishers`.
    by_number: HashMap<u32, usize>,
    pace: Option<Pace>,
    /// When to look at which publisher.
    due: BinaryHeap<Reverse<(u64, usize)>>,
    churn: Option<Churn>,
    message: Vec<u8>,
}

struct Churn {
    slots: Vec<u32>,
    schedule: Schedule,
    nth: u64,
}

struct Publisher {
    slot: u32,
    number: u32,
    sent: u64,
    /// Of this plan.
    nth: u64,
    schedule: Schedule,
}

/// Everything the clients report to, apart from the clients themselves.
struct Desk {
    setup: Arc<Setup>,
    seats: Vec<Seat>,
    ledger: Ledger,
    /// Of those that are meant to be in trouble.
    other_ledger: Ledger,
    /// What a subscriber that joined late must have heard at the latest.
    joined_at: Vec<u64>,
    /// Whether anything was published yet.
    live: bool,
    windowed: bool,
    grace_messages: u64,
    findings: Findings,
    attempts: Vec<u8>,
    slice: Slice,
    heard: Vec<u32>,
    touched: Vec<u32>,
    last_ns: u64,
    /// Publishers of this thread that may send again.
    freed: Vec<u32>,
    notes: Sender<(usize, Note)>,
    me: usize,
}

impl Worker {
    fn new(
        setup: Arc<Setup>,
        seats: Vec<Seat>,
        notes: &Sender<(usize, Note)>,
        me: usize,
    ) -> io::Result<Self> {
        let clients = Clients::new(
            seats.iter().map(|seat| (seat.number, seat.topic)),
            setup.url.clone(),
            setup.sources.clone(),
            setup.clock,
            setup.in_flight_max,
        )?;
        let publishers = seats.iter().enumerate().filter_map(|(slot, seat)| {
            Some(Publisher {
                slot: slot as u32,
                number: seat.publisher?,
                sent: 0,
                nth: 0,
                schedule: Schedule::new(0, 1.0, 0, 1),
            })
        });
        let publishers: Vec<Publisher> = publishers.collect();
        let numbers = publishers.iter().enumerate();
        Ok(Worker {
            by_number: numbers.map(|(at, it)| (it.number, at)).collect(),
            clients,
            publishers,
            pace: None,
            due: BinaryHeap::new(),
            churn: None,
            message: Vec::new(),
            desk: Desk::new(setup, seats, notes.clone(), me),
        })
    }

    fn run(&mut self, wake: &Wake, commands: &Receiver<Command>) -> io::Result<()> {
        self.clients.await_wake(wake_fd(wake));
        loop {
            let wait = self.wait_ns();
            self.clients
                .turn(Duration::from_nanos(wait), &mut self.desk)?;
            self.desk.flush_counts();
            if self.clients.take_woken() {
                while let Ok(command) = commands.try_recv() {
                    if matches!(command, Command::Quit) {
                        return Ok(());
                    }
                    self.obey(command);
                }
                if let Some(Pace::Window(_)) = self.pace {
                    self.look_at_all();
                }
                self.clients.await_wake(wake_fd(wake));
            }
            self.publish();
            self.churn();
            self.desk.tick();
        }
    }

    /// How long nothing is due.
    fn wait_ns(&self) -> u64 {
        let now = self.desk.setup.clock.now_ns();
        let mut until = (now + WAIT_NS_MAX).min(self.desk.tick_ns());
        if let Some(next) = self.clients.next_ns() {
            until = until.min(next);
        }
        if let Some(Reverse((due, _))) = self.due.peek() {
            until = until.min(*due);
        }
        if let Some(churn) = &self.churn {
            until = until.min(churn.schedule.intended_ns(churn.nth));
        }
        until.saturating_sub(now)
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Open(group) => self.each(group, |clients, slot| clients.open(slot)),
            Command::Leave(group) => {
                let desk = &mut self.desk;
                for slot in desk.slots(group) {
                    desk.leave(&mut self.clients, slot);
                }
            }
            Command::Publish { pace, start_ns } => self.begin(pace, start_ns),
            Command::StopPublishing => {
                self.pace = None;
                self.due.clear();
            }
            Command::Stall(group, stalled) => {
                self.each(group, |clients, slot| clients.stall(slot, stalled));
            }
            Command::Churn(group, per_s) => {
                let now = self.desk.setup.clock.now_ns();
                let slots = self.desk.slots(group);
                let wanted = per_s > 0.0 && !slots.is_empty();
                self.churn = wanted.then(|| Churn {
                    slots,
                    schedule: Schedule::new(now, per_s, 0, 1),
                    nth: 0,
                });
            }
            Command::Settle => self.desk.settle(&self.clients),
            Command::Quit => {}
        }
    }

    fn each(&mut self, group: Group, act: impl Fn(&mut Clients, u32)) {
        for slot in self.desk.slots(group) {
            act(&mut self.clients, slot);
        }
    }

    fn begin(&mut self, pace: Pace, start_ns: u64) {
        self.pace = Some(pace);
        let all = self.desk.setup.topics * self.desk.setup.publishers_per_topic;
        self.desk.live = true;
        self.desk.windowed = matches!(pace, Pace::Window(_));
        self.desk.grace_messages = match pace {
            Pace::Rate(per_s) => 1 + (GRACE_S * per_s / all as f64) as u64,
            _ => u64::MAX / 2,
        };
        for publisher in &mut self.publishers {
            publisher.nth = 0;
            if let Pace::Rate(per_s) = pace {
                publisher.schedule = Schedule::new(start_ns, per_s, publisher.number, all);
            }
        }
        self.look_at_all();
    }

    fn look_at_all(&mut self) {
        self.due.clear();
        let pace = self.pace;
        let first = self.publishers.iter().enumerate().map(|(at, it)| {
            let due = match pace {
                Some(Pace::Rate(_)) => it.schedule.intended_ns(it.nth),
                _ => 0,
            };
            Reverse((due, at))
        });
        self.due.extend(first);
    }

    /// Sends what is due.
    fn publish(&mut self) {
        for number in self.desk.freed.drain(..) {
            if self.pace.is_some() {
                self.due.push(Reverse((0, self.by_number[&number])));
            }
        }
        let Some(pace) = self.pace else { return };
        let now = self.desk.setup.clock.now_ns();
        while let Some(&Reverse((due, at))) = self.due.peek() {
            if due > now {
                break;
            }
            self.due.pop();
            if let Some(next) = self.publish_as(at, pace, now) {
                self.due.push(Reverse((next.max(now + 1), at)));
            }
        }
    }

    /// Sends what one publisher is due to send; when to look at it again.
    fn publish_as(&mut self, at: usize, pace: Pace, now: u64) -> Option<u64> {
        let publisher = &mut self.publishers[at];
        let setup = self.desk.setup.clone();
        let counts = &setup.counts.per_publisher[publisher.number as usize];
        let done = counts.heard.load(Ordering::Relaxed) / counts.subscribers.max(1);
        let mut next = None;
        if !self.clients.is_open(publisher.slot) {
            return None;
        }
        for _ in 0..BATCH_MAX {
            let intended_ns = match pace {
                Pace::Rate(_) => publisher.schedule.intended_ns(publisher.nth),
                Pace::Window(window) if publisher.sent < done + window => now,
                Pace::Count(count) if publisher.nth < count => now,
                _ => break,
            };
            next = Some(intended_ns);
            if intended_ns > now {
                break;
            }
            if self.clients.queued_bytes(publisher.slot) > QUEUE_BYTES_MAX {
                next = Some(now + FULL_NS);
                break;
            }
            let late = now - intended_ns;
            self.desk.slice.late_ns_max = self.desk.slice.late_ns_max.max(late);
            let stamp = Stamp {
                run: setup.run,
                publisher: publisher.number,
                sequence: publisher.sent,
                intended_ns,
            };
            setup.shape.write(stamp, &mut self.message);
            self.clients
                .send(publisher.slot, setup.shape.opcode(), &self.message);
            publisher.sent += 1;
            publisher.nth += 1;
            self.desk.slice.published += 1;
        }
        counts.sent.store(publisher.sent, Ordering::Release);
        self.clients.flush(publisher.slot);
        next
    }

    /// Lets those leave and return whose turn it is.
    fn churn(&mut self) {
        let Some(churn) = &mut self.churn else { return };
        let now = self.desk.setup.clock.now_ns();
        while churn.schedule.intended_ns(churn.nth) <= now {
            churn.nth += 1;
            let slot = churn.slots[fastrand::usize(..churn.slots.len())];
            if self.clients.is_open(slot) {
                self.desk.leave(&mut self.clients, slot);
                self.clients.open(slot);
            }
        }
    }
}

impl Desk {
    fn new(setup: Arc<Setup>, seats: Vec<Seat>, notes: Sender<(usize, Note)>, me: usize) -> Self {
        let places = seats.len() * setup.publishers_per_topic as usize;
        let index = setup.clock.now_ns() / setup.slice_ns;
        Desk {
            ledger: Ledger::new(places),
            other_ledger: Ledger::new(places),
            joined_at: vec![0; places],
            live: false,
            windowed: false,
            grace_messages: 0,
            last_ns: 0,
            freed: Vec::new(),
            findings: Findings::default(),
            attempts: vec![0; seats.len()],
            slice: new_slice(index),
            heard: vec![0; setup.counts.per_publisher.len()],
            touched: Vec::new(),
            notes,
            me,
            seats,
            setup,
        }
    }

    fn slots(&self, group: Group) -> Vec<u32> {
        let all = self.seats.iter().zip(0..);
        let of_group = all.filter(|(seat, _)| seat.group == group);
        of_group.map(|(_, slot)| slot).collect()
    }

    /// Where the ledger has the pairs of this client, and its publishers.
    fn places(&self, slot: u32) -> impl Iterator<Item = (usize, u32)> + use<> {
        let per_topic = self.setup.publishers_per_topic;
        let start = slot as usize * per_topic as usize;
        let topic = self.seats[slot as usize].topic;
        (0..per_topic).map(move |nth| (start + nth as usize, topic * per_topic + nth))
    }

    fn sent(&self, publisher: u32) -> u64 {
        let counts = self.setup.counts.per_publisher.get(publisher as usize);
        counts.map_or(0, |counts| counts.sent.load(Ordering::Acquire))
    }

    fn leave(&mut self, clients: &mut Clients, slot: u32) {
        if clients.is_open(slot) {
            self.setup.counts.open.fetch_sub(1, Ordering::Relaxed);
        }
        clients.leave(slot);
        self.attempts[slot as usize] = 0;
        for (place, publisher) in self.places(slot) {
            // Until it returns it need not hear anything.
            self.ledger_of(slot).expect_from(place, None);
            self.joined_at[place] = self.sent(publisher);
        }
    }

    fn tick_ns(&self) -> u64 {
        (self.slice.index + 1) * self.setup.slice_ns
    }

    /// Reports the slice that is over.
    fn tick(&mut self) {
        let now = self.setup.clock.now_ns();
        while self.tick_ns() <= now {
            let next = new_slice(self.slice.index + 1);
            let mut slice = std::mem::replace(&mut self.slice, next);
            slice.open = self.setup.counts.open.load(Ordering::Relaxed);
            let _ = self.notes.send((self.me, Note::Slice(slice)));
        }
    }

    /// Tells the other threads what was heard in this turn.
    fn flush_counts(&mut self) {
        let counts = &self.setup.counts;
        let mut all = 0;
        for publisher in self.touched.drain(..) {
            let heard = std::mem::take(&mut self.heard[publisher as usize]) as u64;
            all += heard;
            let counts = &counts.per_publisher[publisher as usize];
            let before = counts.heard.fetch_add(heard, Ordering::Relaxed);
            let subscribers = counts.subscribers.max(1);
            if !self.windowed || before / subscribers == (before + heard) / subscribers {
                continue;
            }
            let home = self.setup.homes[publisher as usize];
            if home == self.me {
                self.freed.push(publisher);
            } else {
                let _ = self.setup.wakes[home].write(1);
            }
        }
        if all > 0 {
            counts.last_ns.fetch_max(self.last_ns, Ordering::Relaxed);
            counts.deliveries.fetch_add(all, Ordering::Release);
        }
    }

    fn ledger_of(&mut self, slot: u32) -> &mut Ledger {
        match self.seats[slot as usize].group {
            Group::Other => &mut self.other_ledger,
            _ => &mut self.ledger,
        }
    }

    /// Enters what never came, and reports what was found.
    fn settle(&mut self, clients: &Clients) {
        for slot in 0..self.seats.len() as u32 {
            let seat = self.seats[slot as usize];
            if seat.group == Group::Publishers || seat.topic >= self.setup.topics {
                continue;
            }
            for (place, publisher) in self.places(slot) {
                let sent = self.sent(publisher);
                let joined_at = self.joined_at[place].min(sent);
                let ledger = self.ledger_of(slot);
                // Whoever has left of its own will is excused.
                if !clients.is_open(slot) && ledger.next(place).is_none() {
                    continue;
                }
                let lost = ledger.close(place, sent, joined_at);
                if lost > 0 {
                    self.example(seat, |who| {
                        format!(
                            "{who} never heard the last {lost} of {sent} messages \
                             of publisher {publisher}"
                        )
                    });
                }
            }
        }
        let mut findings = std::mem::take(&mut self.findings);
        findings.faults = std::mem::take(&mut self.ledger.faults);
        findings.other_faults = std::mem::take(&mut self.other_ledger.faults);
        let _ = self.notes.send((self.me, Note::Settled(findings)));
    }

    #[cold]
    fn describe(&mut self, seat: Seat, stamp: Stamp, verdict: Verdict) {
        self.example(seat, |who| {
            let (sequence, publisher) = (stamp.sequence, stamp.publisher);
            let message = format!("{who} heard message {sequence} of publisher {publisher}");
            match verdict {
                Verdict::Gap(count) => format!("{message} with {count} before it missing"),
                Verdict::Late => format!("{message} after later ones"),
                _ => format!("{message} twice"),
            }
        });
    }

    fn example(&mut self, seat: Seat, text: impl FnOnce(&str) -> String) {
        if seat.group == Group::Main && self.findings.examples.len() < EXAMPLES_MAX {
            let who = format!("subscriber {} of topic {}", seat.number, seat.topic);
            self.findings.examples.push(text(&who));
        }
    }
}

impl Owner for Desk {
    fn handle_open(&mut self, slot: u32, _now_ns: u64) {
        self.setup.counts.open.fetch_add(1, Ordering::Relaxed);
        self.setup.counts.handshakes.fetch_add(1, Ordering::Relaxed);
        self.attempts[slot as usize] = 0;
        if !self.live {
            return;
        }
        for (place, publisher) in self.places(slot) {
            self.ledger_of(slot).expect_from(place, None);
            self.joined_at[place] = self.sent(publisher) + self.grace_messages;
        }
    }

    #[inline]
    fn handle_message(&mut self, slot: u32, now_ns: u64, message: Message<'_>) {
        let seat = self.seats[slot as usize];
        self.slice.deliveries += 1;
        if seat.group == Group::Publishers {
            return;
        }
        let shape = self.setup.shape;
        let stamp = shape.read(message.opcode, message.head, message.last, message.len);
        let per_topic = self.setup.publishers_per_topic;
        let known = stamp.filter(|stamp| {
            stamp.run == self.setup.run
                && stamp.publisher.wrapping_sub(seat.topic * per_topic) < per_topic
                && seat.topic < self.setup.topics
        });
        let Some(stamp) = known else {
            self.ledger_of(slot).faults.strange += 1;
            let start = String::from_utf8_lossy(&message.head[..message.head.len().min(40)]);
            let len = message.len;
            return self.example(seat, |who| {
                format!("{who} heard what nobody sent: {len} bytes that begin with {start:?}")
            });
        };
        let nth = stamp.publisher - seat.topic * per_topic;
        let place = slot as usize * per_topic as usize + nth as usize;
        let verdict = self.ledger_of(slot).enter(place, stamp.sequence);
        if verdict != Verdict::Good {
            self.describe(seat, stamp, verdict);
        }
        if seat.group == Group::Main {
            let latency = now_ns.saturating_sub(stamp.intended_ns);
            self.slice.latency.saturating_record(latency);
            self.last_ns = now_ns;
            let heard = &mut self.heard[stamp.publisher as usize];
            if *heard == 0 {
                self.touched.push(stamp.publisher);
            }
            *heard += 1;
        }
    }

    fn handle_end(&mut self, slot: u32, end: End, was_open: bool) -> bool {
        let counts = &self.setup.counts;
        let seat = self.seats[slot as usize];
        let ends = match seat.group {
            Group::Other => &mut self.findings.other_ends,
            _ => &mut self.findings.ends,
        };
        *ends.entry(end).or_default() += 1;
        if was_open {
            counts.open.fetch_sub(1, Ordering::Relaxed);
            counts.broken.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        counts.refused.fetch_add(1, Ordering::Relaxed);
        let attempts = &mut self.attempts[slot as usize];
        *attempts += 1;
        let again = *attempts < ATTEMPTS_MAX;
        if !again {
            counts.given_up.fetch_add(1, Ordering::Relaxed);
        }
        again
    }
}

fn new_slice(index: u64) -> Slice {
    Slice {
        index,
        latency: new_histogram(),
        deliveries: 0,
        published: 0,
        late_ns_max: 0,
        open: 0,
    }
}
