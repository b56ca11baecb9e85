//! The coordinator's side of the client threads: it gives orders, begins and ends
//! phases, waits, and collects what the threads saw.
//!
//! The threads themselves are in `client`. Called by the scenarios.

mod sums;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use thiserror::Error;

use crate::client;
use crate::progress::Progress;
use crate::server::Watched;
use crate::shared::{Command, Counters, Event, Final, Group, Pace, Phase, Plan, Shared};
use crate::stats::{Latency, PhaseResult, Point};
use crate::target::Targets;

use sums::{Sample, Totals};

const PUMP: Duration = Duration::from_millis(5);
const CHILDREN_LOOK_NS: u64 = 1_000_000_000;

/// Why a test could not be carried through.
#[derive(Debug, Error)]
pub enum FleetError {
    #[error("{0}")]
    Died(String),
    #[error("only {open} of {wanted} connections came about: {reason}")]
    Open {
        open: u64,
        wanted: u64,
        reason: String,
    },
    #[error("{0}")]
    Stuck(String),
    #[error("cannot set up the client threads: {0}")]
    Setup(#[from] std::io::Error),
}

pub struct FleetSettings {
    pub settle: Duration,
    pub drain: Duration,
    pub connect_timeout: Duration,
}

/// All client threads of a run, and what has been seen so far.
pub struct Fleet {
    pub shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    events: Receiver<Event>,
    settings: FleetSettings,
    pub watched: Option<Watched>,
    progress: Progress,
    phases: u16,
    current: Option<Current>,
    totals: HashMap<u16, Totals>,
    last_problem: Option<String>,
    finals: Vec<Final>,
    points: BTreeMap<u64, (Point, Latency)>,
    sampled: Sample,
    next_children_ns: u64,
    resident_max: u64,
    pub interrupted: bool,
}

/// A phase under way.
struct Current {
    name: String,
    phase: Phase,
    rate: Option<f64>,
    at_warm: Option<Sample>,
}

impl Fleet {
    pub fn start(
        plan: Plan,
        targets: Targets,
        threads: usize,
        settings: FleetSettings,
        watched: Option<Watched>,
        progress: Progress,
    ) -> Result<Fleet, FleetError> {
        let shared = Arc::new(Shared::new(plan, threads)?);
        let targets = Arc::new(targets);
        let (sender, events) = channel();
        let threads = (0..threads)
            .map(|me| {
                let (shared, targets, sender) = (shared.clone(), targets.clone(), sender.clone());
                std::thread::Builder::new()
                    .name(format!("client-{me}"))
                    .spawn(move || client::run(me, shared, targets, sender))
            })
            .collect::<std::io::Result<_>>()?;
        let mut fleet = Fleet {
            shared,
            threads,
            events,
            settings,
            watched,
            progress,
            phases: 0,
            current: None,
            totals: HashMap::new(),
            last_problem: None,
            finals: Vec::new(),
            points: BTreeMap::new(),
            sampled: Sample::default(),
            next_children_ns: 0,
            resident_max: 0,
            interrupted: false,
        };
        fleet.sampled = fleet.sample();
        Ok(fleet)
    }

    pub fn order(&self, command: &Command) {
        for mailbox in &self.shared.mailboxes {
            mailbox.command(command.clone());
        }
    }

    /// Connects a whole group and waits for it; a phase of its own.
    pub fn open(&mut self, group: Group, in_flight: u64) -> Result<PhaseResult, FleetError> {
        self.begin("connect", Pace::Silent, Duration::ZERO, Duration::ZERO);
        let before = self.opened(group);
        self.order_open(group, in_flight);
        self.wait_opened(group, before)?;
        let result = self.end()?;
        let settled = self.shared.now_ns() + self.settings.settle.as_nanos() as u64;
        self.pump_until(settled)?;
        Ok(result)
    }

    /// Resets all connections of a group, has them return at once, and waits until all are back.
    pub fn storm(&mut self, group: Group, in_flight: u64) -> Result<(), FleetError> {
        let before = self.opened(group);
        self.order(&Command::Drop(group));
        self.order_open(group, in_flight);
        self.wait_opened(group, before)
    }

    /// Has a publisher send so many messages beside all schedules, and waits until they
    /// are on their way.
    pub fn burst(&mut self, publisher: u32, count: u64) -> Result<(), FleetError> {
        let target = self.shared.burst_target.load(Ordering::Relaxed) + count;
        self.shared.burst_target.store(target, Ordering::Release);
        self.order(&Command::Burst { publisher, count });
        let sent = |fleet: &Fleet| fleet.shared.sent[publisher as usize].load(Ordering::Acquire);
        self.wait_for("a burst was not published", target, sent)
    }

    /// Has a group return, and waits until its members have heard what they have missed,
    /// `times` in all since the run began.
    pub fn catch_up(&mut self, group: Group, in_flight: u64, times: u64) -> Result<(), FleetError> {
        self.order_open(group, in_flight);
        let caught_up = |fleet: &Fleet| {
            let count = |c: &Counters| c.caught_up.load(Ordering::Acquire);
            fleet.shared.sum(count)
        };
        let what = "not all have heard what they have missed";
        self.wait_for(what, times, caught_up)
    }

    /// Waits until something counted reaches `wanted`; an error once it moves no more.
    fn wait_for(
        &mut self,
        what: &str,
        wanted: u64,
        counted: impl Fn(&Fleet) -> u64,
    ) -> Result<(), FleetError> {
        let patience_ns = self.settings.connect_timeout.as_nanos() as u64;
        let (mut best, mut since) = (0, self.shared.now_ns());
        loop {
            let (count, now) = (counted(self), self.shared.now_ns());
            if count >= wanted {
                return Ok(());
            }
            if count > best {
                (best, since) = (count, now);
            }
            if now - since > patience_ns || self.interrupted {
                let reason = self.last_problem.clone().unwrap_or_default();
                return Err(FleetError::Stuck(format!(
                    "{what}: {count} of {wanted}. {reason}"
                )));
            }
            self.pump()?;
        }
    }

    fn order_open(&self, group: Group, in_flight: u64) {
        let in_flight = in_flight.div_ceil(self.threads_of(group)) as usize;
        self.order(&Command::Open { group, in_flight });
    }

    /// How many threads the members of a group live on.
    pub fn threads_of(&self, group: Group) -> u64 {
        let members = self.shared.plan.members.iter();
        let of_group = members.filter(|member| member.group == group);
        let threads: HashSet<u16> = of_group.map(|member| member.thread).collect();
        threads.len().max(1) as u64
    }

    /// Handshakes of a group so far.
    fn opened(&self, group: Group) -> u64 {
        let opened = |c: &Counters| c.opened[group as usize].load(Ordering::Relaxed);
        self.shared.sum(opened)
    }

    /// Waits until all of a group have connected since there were `before`
    /// handshakes; an error once nothing moves any more.
    fn wait_opened(&mut self, group: Group, before: u64) -> Result<(), FleetError> {
        let members = self.shared.plan.members.iter();
        let wanted = members.filter(|member| member.group == group).count() as u64;
        let patience_ns = self.settings.connect_timeout.as_nanos() as u64;
        let (mut best, mut since) = (0, self.shared.now_ns());
        loop {
            let open = self.opened(group) - before;
            if open >= wanted {
                return Ok(());
            }
            let now = self.shared.now_ns();
            if open > best {
                (best, since) = (open, now);
            }
            // A server that refuses everybody is told apart early from a slow one.
            let refused = self.shared.sum(|c| c.refused.load(Ordering::Relaxed));
            let hopeless = best == 0 && before == 0 && refused > 3 * wanted.min(100);
            if hopeless || now - since > patience_ns || self.interrupted {
                let reason = self.last_problem.clone();
                let reason = reason.unwrap_or_else(|| "no answer in time".into());
                return Err(FleetError::Open {
                    open,
                    wanted,
                    reason,
                });
            }
            self.pump()?;
        }
    }

    /// Begins a phase; the publishers send until `warmup` and `duration` have passed.
    pub fn begin(&mut self, name: &str, pace: Pace, warmup: Duration, duration: Duration) {
        self.phases += 1;
        // A moment ahead, so that all threads know before the first message is due.
        let lead_ns = if pace == Pace::Silent { 0 } else { 20_000_000 };
        let from_ns = self.shared.now_ns() + lead_ns;
        let warm_ns = from_ns + warmup.as_nanos() as u64;
        let phase = Phase {
            number: self.phases,
            from_ns,
            warm_ns,
            until_ns: warm_ns + duration.as_nanos() as u64,
            pace,
        };
        self.resident_max = 0;
        self.progress.phase(name, warmup + duration);
        self.current = Some(Current {
            name: name.into(),
            phase,
            rate: match pace {
                Pace::Rate(rate) => Some(rate),
                _ => None,
            },
            at_warm: None,
        });
        self.order(&Command::Begin(phase));
    }

    /// Waits for the end of the phase and for what is still under way, and sums it up.
    pub fn end(&mut self) -> Result<PhaseResult, FleetError> {
        let phase = self.current.as_ref().expect("a phase was begun").phase;
        self.pump_until(phase.until_ns)?;
        if self.interrupted {
            self.cut();
        }
        self.wait_published(phase.number)?;
        self.wait_delivered()?;
        let end = self.sample();
        let current = self.current.take().expect("a phase was begun");
        self.hush()?;
        Ok(self.sum_up(current, end))
    }

    /// Ends the publishing of the phase now.
    pub fn cut(&mut self) {
        let now = self.shared.now_ns();
        if let Some(current) = &mut self.current {
            current.phase.until_ns = now;
            let phase = Phase {
                pace: Pace::Silent,
                ..current.phase
            };
            self.order(&Command::Begin(phase));
        }
    }

    /// Waits until a time, or until the user interrupts.
    pub fn pump_until(&mut self, until_ns: u64) -> Result<(), FleetError> {
        while self.shared.now_ns() < until_ns && !self.interrupted {
            self.pump()?;
        }
        Ok(())
    }

    /// Ends the threads and returns their checks.
    pub fn finish(mut self) -> Result<Finish, FleetError> {
        self.order(&Command::Stop);
        while self.finals.len() < self.threads.len() {
            self.pump()?;
        }
        for thread in self.threads.drain(..) {
            // A thread that has sent its report cannot have panicked before it.
            let _ = thread.join();
        }
        self.progress.clear();
        // The last interval is not over, and its rates would be too low.
        let last = self.sampled.at_ns / self.shared.plan.interval_ns;
        let whole = self.points.into_iter().filter(|(index, _)| *index < last);
        let series = whole.map(|(_, (point, latency))| {
            let some = |quantile| (latency.count() > 0).then(|| latency.at(quantile));
            Point {
                p50: some(0.5),
                p99: some(0.99),
                max: some(1.0),
                ..point
            }
        });
        Ok(Finish {
            finals: self.finals,
            series: series.collect(),
            buffers_short: (self.shared).sum(|c| c.buffers_short.load(Ordering::Relaxed)),
        })
    }

    fn wait_published(&mut self, number: u16) -> Result<(), FleetError> {
        let (mut sent, mut since) = (0, self.shared.now_ns());
        while !self.phase_is_done(number) {
            let now_sent = self.sent();
            if now_sent != sent {
                (sent, since) = (now_sent, self.shared.now_ns());
            }
            let waited_ns = self.shared.now_ns() - since;
            if waited_ns > self.settings.drain.as_nanos() as u64 {
                break;
            }
            self.pump()?;
        }
        Ok(())
    }

    fn wait_delivered(&mut self) -> Result<(), FleetError> {
        let (mut delivered, mut since) = (0, self.shared.now_ns());
        while self.shared.lag() > 0 {
            let now = self.shared.delivered();
            if now != delivered {
                (delivered, since) = (now, self.shared.now_ns());
            }
            let waited_ns = self.shared.now_ns() - since;
            if waited_ns > self.settings.drain.as_nanos() as u64 {
                break;
            }
            self.pump()?;
        }
        Ok(())
    }

    /// A silent phase makes every thread hand in what it has counted.
    fn hush(&mut self) -> Result<(), FleetError> {
        self.phases += 1;
        let number = self.phases;
        let now = self.shared.now_ns();
        self.order(&Command::Begin(Phase {
            number,
            from_ns: now,
            warm_ns: u64::MAX,
            until_ns: 0,
            pace: Pace::Silent,
        }));
        while !self.phase_is_done(number) {
            self.pump()?;
        }
        while let Ok(event) = self.events.try_recv() {
            self.take(event)?;
        }
        Ok(())
    }

    fn phase_is_done(&self, number: u16) -> bool {
        let counters = self.shared.counters.iter();
        let mut done = counters.map(|c| c.phases_done.load(Ordering::Acquire));
        done.all(|done| done > u32::from(number))
    }

    fn pump(&mut self) -> Result<(), FleetError> {
        match self.events.recv_timeout(PUMP) {
            Ok(event) => {
                self.take(event)?;
                while let Ok(event) = self.events.try_recv() {
                    self.take(event)?;
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Err(FleetError::Died("all client threads ended".into()));
            }
        }
        let now = self.shared.now_ns();
        if let Some(current) = &self.current
            && current.at_warm.is_none()
            && now >= current.phase.warm_ns
        {
            let sample = self.sample();
            if let Some(current) = &mut self.current {
                current.at_warm = Some(sample);
            }
        }
        let interval_ns = self.shared.plan.interval_ns;
        if now / interval_ns > self.sampled.at_ns / interval_ns {
            self.take_point(now);
        }
        if self.progress.interrupted() {
            self.interrupted = true;
        }
        Ok(())
    }

    fn take(&mut self, event: Event) -> Result<(), FleetError> {
        match event {
            Event::Interval(interval) => self.take_interval(&interval),
            Event::Problem(text) => {
                self.last_problem = Some(text);
            }
            Event::Final(report) => self.finals.push(*report),
            Event::Died(reason) => return Err(FleetError::Died(reason)),
        }
        Ok(())
    }

    fn sent(&self) -> u64 {
        let sent = self.shared.sent.iter();
        sent.map(|count| count.load(Ordering::Relaxed)).sum()
    }
}

/// What a fleet leaves behind.
pub struct Finish {
    pub finals: Vec<Final>,
    pub series: Vec<Point>,
    pub buffers_short: u64,
}
