//! A run: the threads with their clients, what they are told, and what they
//! report.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::client::{End, Wake};
use crate::clock::Clock;
use crate::observe::{self, Usage};
use crate::outcome::{Latency, Phase, Point, ServerCost};
use crate::payload::Shape;
use crate::ring::SLOTS_MAX;
use crate::target::{Sources, Url};
use crate::worker::{
    Command, Counts, Findings, Group, Note, Pace, PublisherCounts, Seat, Setup, Slice,
    new_histogram, work,
};

/// How often the director looks.
const LOOK: Duration = Duration::from_millis(20);
/// Publishing starts this long after the word is given, so that every thread
/// has heard it.
const HEAD_START_NS: u64 = 5_000_000;

/// What went wrong with the run itself.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    #[error(
        "io_uring does not work here: {0} (Linux 6.1 or later is needed, and io_uring allowed)"
    )]
    Ring(std::io::Error),
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    #[error("{count} of {of} clients could not connect to {url}; most often: {why}")]
    Connect {
        count: u64,
        of: u64,
        url: String,
        why: String,
    },
    #[error("no process has the id {0} (--pid)")]
    Pid(u32),
}

/// Who takes part.
#[derive(Debug, Clone)]
pub struct Cast {
    pub url: Url,
    pub subscribers: u32,
    pub publishers_per_topic: u32,
    pub topics: u32,
    /// The first so many of the subscribers are of the other group.
    pub others: u32,
    /// The others come on top of the subscribers, on a topic of their own if
    /// the address has room for one.
    pub others_apart: bool,
    pub shape: Shape,
    pub threads: Option<usize>,
    pub in_flight_max: usize,
    pub per_address: u32,
    pub pid: Option<u32>,
}

/// How opening a group went.
#[derive(Debug, Clone, Copy)]
pub struct Opening {
    pub count: u64,
    pub seconds: f64,
    /// Attempts that failed and were repeated.
    pub repeated: u64,
}

/// Sees how the run goes on.
pub trait Watcher {
    fn on_point(&mut self, what: &str, point: &Point, progress: f64);
    fn on_opening(&mut self, open: u64, of: u64);
}

/// A run under way.
pub struct Session {
    setup: Arc<Setup>,
    commands: Vec<Sender<Command>>,
    wakes: Vec<Arc<Wake>>,
    threads: Vec<JoinHandle<()>>,
    notes: Receiver<(usize, Note)>,
    slices: BTreeMap<u64, Vec<Slice>>,
    pub timeline: Vec<Point>,
    usage: Option<Usage>,
    gathering: Option<Gathering>,
    groups: HashMap<Group, u64>,
    pid: Option<u32>,
    settled: Vec<Findings>,
    trouble: Option<std::io::Error>,
    /// How often [`Session::published`] was waited for.
    rounds: u64,
}

/// What a phase adds up to.
struct Gathering {
    name: String,
    latency: Histogram<u64>,
    published: u64,
    deliveries: u64,
    late_ns_max: u64,
    seconds: f64,
    cpu_ns: u64,
    before: Option<Usage>,
    /// Slices that begin earlier belong to what was before.
    from_index: u64,
}

impl Session {
    /// Starts the threads; nobody connects yet.
    ///
    /// # Errors
    /// When a thread cannot be started or the server's process does not exist.
    pub fn start(cast: &Cast) -> Result<Self, Trouble> {
        if let Some(pid) = cast.pid {
            observe::usage(pid).ok_or(Trouble::Pid(pid))?;
        }
        let seats = seats(cast);
        let fewest = seats.len().div_ceil(SLOTS_MAX).max(1);
        let cores = std::thread::available_parallelism().map_or(1, |count| count.get());
        // Half of the processors are the server's.
        let count = cast.threads.unwrap_or((cores / 2).max(1)).max(fewest);
        let wakes = (0..count).map(|_| Wake::new().map(Arc::new));
        let wakes: Vec<_> = wakes
            .collect::<Result<_, _>>()
            .map_err(|errno| Trouble::Thread(errno.into()))?;
        let mut shares = vec![Vec::with_capacity(seats.len() / count + 1); count];
        let mut homes = vec![0; (cast.topics * cast.publishers_per_topic) as usize];
        let mut groups = HashMap::new();
        for (at, seat) in seats.into_iter().enumerate() {
            if let Some(publisher) = seat.publisher {
                homes[publisher as usize] = at % count;
            }
            *groups.entry(seat.group).or_default() += 1;
            shares[at % count].push(seat);
        }
        let mut heard_by = vec![0u64; cast.topics as usize];
        for seat in shares
            .iter()
            .flatten()
            .filter(|seat| seat.group == Group::Main)
        {
            heard_by[seat.topic as usize] += 1;
        }
        let per_publisher = (0..homes.len()).map(|publisher| PublisherCounts {
            subscribers: heard_by[publisher / cast.publishers_per_topic as usize],
            ..PublisherCounts::default()
        });
        let setup = Arc::new(Setup {
            url: Arc::new(cast.url.clone()),
            sources: Arc::new(Sources::new(cast.url.address, cast.per_address)),
            clock: Clock::start(),
            run: fastrand::u32(..),
            shape: cast.shape,
            publishers_per_topic: cast.publishers_per_topic,
            topics: cast.topics,
            in_flight_max: cast.in_flight_max.div_ceil(count),
            slice_ns: 250_000_000,
            counts: Counts {
                per_publisher: per_publisher.collect(),
                ..Counts::default()
            },
            wakes: wakes.clone(),
            homes,
        });
        let (note, notes) = channel();
        let mut session = Session {
            setup,
            commands: Vec::new(),
            wakes,
            threads: Vec::new(),
            notes,
            slices: BTreeMap::new(),
            timeline: Vec::new(),
            usage: cast.pid.and_then(observe::usage),
            gathering: None,
            groups,
            pid: cast.pid,
            settled: Vec::new(),
            trouble: None,
            rounds: 0,
        };
        for (me, seats) in shares.into_iter().enumerate() {
            let (command, commands) = channel();
            session.commands.push(command);
            let (setup, wake, note) = (
                session.setup.clone(),
                session.wakes[me].clone(),
                note.clone(),
            );
            let thread = std::thread::Builder::new()
                .name(format!("clients-{me}"))
                .spawn(move || work(setup, seats, wake, commands, note, me))
                .map_err(Trouble::Thread)?;
            session.threads.push(thread);
        }
        Ok(session)
    }

    pub fn tell(&self, command: impl Fn() -> Command) {
        for (sender, wake) in self.commands.iter().zip(&self.wakes) {
            // A thread that has ended has said why.
            let _ = sender.send(command());
            let _ = wake.write(1);
        }
    }

    pub fn counts(&self) -> &Counts {
        &self.setup.counts
    }

    pub fn now_ns(&self) -> u64 {
        self.setup.clock.now_ns()
    }

    pub fn group_size(&self, group: Group) -> u64 {
        self.groups.get(&group).copied().unwrap_or(0)
    }

    /// The server's use of time and memory right now.
    pub fn usage(&self) -> Option<Usage> {
        self.pid.and_then(observe::usage)
    }

    /// Lets a group connect and waits until everybody is in.
    ///
    /// # Errors
    /// When somebody has to be given up.
    pub fn open(&mut self, group: Group, watcher: &mut impl Watcher) -> Result<Opening, Trouble> {
        let counts = &self.setup.counts;
        let (open_before, refused_before) = (
            counts.handshakes.load(Relaxed),
            counts.refused.load(Relaxed),
        );
        let size = self.group_size(group);
        let started = self.now_ns();
        self.tell(|| Command::Open(group));
        loop {
            let opened = self.setup.counts.handshakes.load(Relaxed) - open_before;
            watcher.on_opening(opened, size);
            if opened >= size {
                break;
            }
            if self.setup.counts.given_up.load(Relaxed) > 0 {
                return Err(self.give_up(size));
            }
            self.take_notes(LOOK, "connecting", 0.0, watcher)?;
        }
        Ok(Opening {
            count: size,
            seconds: (self.now_ns() - started) as f64 / 1e9,
            repeated: self.setup.counts.refused.load(Relaxed) - refused_before,
        })
    }

    fn give_up(&mut self, of: u64) -> Trouble {
        let count = self.setup.counts.given_up.load(Relaxed);
        let findings = self.settle();
        let ends = findings.ends.into_iter().chain(findings.other_ends);
        let why = ends.max_by_key(|(_, count)| *count);
        Trouble::Connect {
            count,
            of,
            url: self.setup.url.to_string(),
            why: why.map_or("no reason seen".into(), |(end, _)| end.to_string()),
        }
    }

    pub fn publish(&mut self, pace: Pace) {
        let start_ns = self.now_ns() + HEAD_START_NS;
        self.tell(|| Command::Publish { pace, start_ns });
    }

    /// Waits until the whole group is out.
    ///
    /// # Errors
    /// When a thread failed.
    pub fn left(&mut self, group: Group, watcher: &mut impl Watcher) -> Result<(), Trouble> {
        let size = self.group_size(group);
        let all: u64 = self.groups.values().sum();
        let until = self.now_ns() + 30_000_000_000;
        while self.setup.counts.open.load(Relaxed) > all - size && self.now_ns() < until {
            self.take_notes(Duration::from_millis(1), "leaving", 1.0, watcher)?;
        }
        Ok(())
    }

    /// Waits until each publisher has sent one message more than when it was
    /// told to, 5 s at most.
    ///
    /// # Errors
    /// When a thread failed.
    pub fn published(&mut self, watcher: &mut impl Watcher) -> Result<(), Trouble> {
        self.rounds += 1;
        let until = self.now_ns() + 5_000_000_000;
        let behind = |counts: &Counts, rounds| {
            let mut publishers = counts.per_publisher.iter();
            publishers.any(|it| it.sent.load(Acquire) < rounds)
        };
        while behind(&self.setup.counts, self.rounds) && self.now_ns() < until {
            self.take_notes(Duration::from_millis(1), "publishing", 1.0, watcher)?;
        }
        Ok(())
    }

    /// From the next slice on what happens counts for a new phase; it has
    /// begun when this returns.
    ///
    /// # Errors
    /// When a thread failed.
    pub fn begin_phase(&mut self, name: &str, watcher: &mut impl Watcher) -> Result<(), Trouble> {
        let into = self.now_ns() % self.setup.slice_ns;
        self.run_for((self.setup.slice_ns - into) as f64 / 1e9, watcher)?;
        self.gathering = Some(Gathering {
            name: name.to_string(),
            latency: new_histogram(),
            published: 0,
            deliveries: 0,
            late_ns_max: 0,
            seconds: 0.0,
            cpu_ns: 0,
            before: self.usage(),
            from_index: self.now_ns() / self.setup.slice_ns,
        });
        Ok(())
    }

    /// Lets the run go on for so many seconds.
    ///
    /// # Errors
    /// When a thread failed.
    pub fn run_for(&mut self, seconds: f64, watcher: &mut impl Watcher) -> Result<(), Trouble> {
        let started = self.now_ns();
        let span_ns = seconds * 1e9;
        loop {
            let passed = (self.now_ns() - started) as f64;
            if passed >= span_ns {
                return Ok(());
            }
            let left = Duration::from_nanos((span_ns - passed) as u64);
            let what = self
                .gathering
                .as_ref()
                .map_or("", |it| &it.name)
                .to_string();
            self.take_notes(left.min(LOOK), &what, passed / span_ns, watcher)?;
        }
    }

    /// Closes the phase. Its slices are whole ones, so that the figures of
    /// time, messages and processor belong together.
    ///
    /// # Errors
    /// When a thread failed.
    pub fn end_phase(&mut self, watcher: &mut impl Watcher) -> Result<Phase, Trouble> {
        let last = self.now_ns() / self.setup.slice_ns;
        let after = self.usage();
        while self.timeline_index() < last {
            self.take_notes(LOOK, "", 1.0, watcher)?;
        }
        let done = self.gathering.take().expect("a phase was begun");
        Ok(Phase {
            name: done.name,
            seconds: done.seconds,
            published: done.published,
            deliveries: done.deliveries,
            latency: Latency::of(&done.latency),
            server: done.before.zip(after).map(|(before, after)| ServerCost {
                cpu_ns: done.cpu_ns,
                user_share: after.user_share_since(&before),
                resident_bytes_before: before.resident_bytes,
                resident_bytes_after: after.resident_bytes,
            }),
            late_ns_max: done.late_ns_max,
        })
    }

    /// Waits until everything that was sent has come, or until nothing has
    /// come for `patience_s`.
    ///
    /// # Errors
    /// When a thread failed.
    pub fn drain(&mut self, patience_s: f64, watcher: &mut impl Watcher) -> Result<(), Trouble> {
        self.tell(|| Command::StopPublishing);
        let mut seen = (0, 0);
        let mut since = self.now_ns();
        loop {
            // Threads take the word within moments; what they had sent by then
            // is in the counts.
            self.take_notes(LOOK, "waiting for the rest", 1.0, watcher)?;
            let now = (self.behind(), self.setup.counts.deliveries.load(Acquire));
            if now != seen {
                (seen, since) = (now, self.now_ns());
            }
            let quiet_s = (self.now_ns() - since) as f64 / 1e9;
            if (now.0 == 0 && quiet_s > 0.1) || quiet_s > patience_s {
                return Ok(());
            }
        }
    }

    /// Deliveries to the main group that are still to come.
    pub fn behind(&self) -> u64 {
        let publishers = self.setup.counts.per_publisher.iter();
        let behind = publishers.map(|it| {
            let due = it.sent.load(Acquire) * it.subscribers;
            due.saturating_sub(it.heard.load(Acquire))
        });
        behind.sum()
    }

    /// Asks all threads for what they found.
    pub fn settle(&mut self) -> Findings {
        self.tell(|| Command::Settle);
        while self.settled.len() < self.threads.len() && self.trouble.is_none() {
            self.take_one(Duration::from_secs(1));
        }
        let mut all = Findings::default();
        for one in self.settled.drain(..) {
            all.faults.add(&one.faults);
            all.other_faults.add(&one.other_faults);
            all.examples.extend(one.examples);
            for (end, count) in one.ends {
                *all.ends.entry(end).or_default() += count;
            }
            for (end, count) in one.other_ends {
                *all.other_ends.entry(end).or_default() += count;
            }
        }
        all.examples.truncate(10);
        all
    }

    fn timeline_index(&self) -> u64 {
        let at_s = self.timeline.last().map_or(0.0, |point| point.at_s);
        (at_s * 1e9 / self.setup.slice_ns as f64).round() as u64
    }

    /// Waits for reports and makes points of the slices that are complete.
    fn take_notes(
        &mut self,
        wait: Duration,
        what: &str,
        progress: f64,
        watcher: &mut impl Watcher,
    ) -> Result<(), Trouble> {
        let until = self.now_ns() + wait.as_nanos() as u64;
        loop {
            let left = until.saturating_sub(self.now_ns());
            let took = self.take_one(Duration::from_nanos(left));
            if let Some(error) = self.trouble.take() {
                return Err(Trouble::Ring(error));
            }
            while let Some(first) = self.slices.first_entry() {
                if first.get().len() < self.threads.len() {
                    break;
                }
                let (index, slices) = first.remove_entry();
                self.add_point(index, slices);
                let point = self.timeline.last().expect("just added");
                watcher.on_point(what, point, progress);
            }
            if !took {
                return Ok(());
            }
        }
    }

    fn take_one(&mut self, wait: Duration) -> bool {
        match self.notes.recv_timeout(wait) {
            Ok((_, Note::Slice(slice))) => self.slices.entry(slice.index).or_default().push(slice),
            Ok((_, Note::Settled(findings))) => self.settled.push(findings),
            Ok((_, Note::Failed(error))) => self.trouble = Some(error),
            Err(RecvTimeoutError::Timeout) => return false,
            Err(RecvTimeoutError::Disconnected) => {
                self.trouble
                    .get_or_insert(std::io::Error::other("all threads have ended"));
                return false;
            }
        }
        true
    }

    fn add_point(&mut self, index: u64, slices: Vec<Slice>) {
        let mut latency = new_histogram();
        let seconds = self.setup.slice_ns as f64 / 1e9;
        let mut point = Point {
            at_s: (index + 1) as f64 * seconds,
            seconds,
            open: slices.iter().map(|slice| slice.open).max().unwrap_or(0),
            behind: self.behind(),
            ..Point::default()
        };
        for slice in slices {
            latency.add(&slice.latency).expect("equal bounds");
            point.published += slice.published;
            point.deliveries += slice.deliveries;
            point.late_ns_max = point.late_ns_max.max(slice.late_ns_max);
        }
        if !latency.is_empty() {
            point.p50 = latency.value_at_quantile(0.5);
            point.p99 = latency.value_at_quantile(0.99);
            point.max = latency.max();
        }
        if let Some(now) = self.usage() {
            let before = self.usage.replace(now);
            point.cpu_ns = before.map(|before| now.cpu_ns_since(&before));
            point.resident_bytes = Some(now.resident_bytes);
        }
        if let Some(phase) = self.gathering.as_mut().filter(|it| index >= it.from_index) {
            phase.latency.add(&latency).expect("equal bounds");
            phase.published += point.published;
            phase.deliveries += point.deliveries;
            phase.late_ns_max = phase.late_ns_max.max(point.late_ns_max);
            phase.seconds += seconds;
            // Taken at the same moments as the counts.
            phase.cpu_ns += point.cpu_ns.unwrap_or(0);
        }
        self.timeline.push(point);
    }

    /// Everybody leaves.
    pub fn end(mut self) {
        self.tell(|| Command::Quit);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Everybody who takes part: publishers first, so that they share no
/// thread's last places.
fn seats(cast: &Cast) -> Vec<Seat> {
    let publishers = cast.topics * cast.publishers_per_topic;
    let mut seats = Vec::new();
    let mut seat = |topic, group, publisher| {
        let number = seats.len() as u32;
        seats.push(Seat {
            number,
            topic,
            group,
            publisher,
        });
    };
    for publisher in 0..publishers {
        let topic = publisher / cast.publishers_per_topic;
        seat(topic, Group::Publishers, Some(publisher));
    }
    for subscriber in 0..cast.subscribers {
        let is_other = !cast.others_apart && subscriber < cast.others;
        let group = if is_other { Group::Other } else { Group::Main };
        seat(subscriber % cast.topics, group, None);
    }
    if cast.others_apart {
        let topic = if cast.url.has_topic() { cast.topics } else { 0 };
        for _ in 0..cast.others {
            seat(topic, Group::Other, None);
        }
    }
    seats
}

/// Ends by how often they came.
pub fn sorted(ends: HashMap<End, u64>) -> Vec<(String, u64)> {
    let mut ends: Vec<_> = ends
        .into_iter()
        .map(|(end, n)| (end.to_string(), n))
        .collect();
    ends.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    ends
}
