//! One client thread: a ring, its share of the connections, and the turn.
//!
//! A turn takes the coordinator's orders, sends what is due, opens what is to be
//! opened, waits, and acts on what the kernel finished. Nothing in it blocks but
//! that one wait.

mod connection;
mod hear;
mod leave;
mod post;
mod posts;
mod publish;
mod sealed;
mod talk;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::Duration;

use socket2::SockAddr;

use crate::check::{Ledger, Start};
use crate::ring::{Completion, Lease, Pool, Ring, What};
use crate::shared::{
    Command, Event, Final, Group, Interval, Member, Pace, Phase, Plan, Shared, share,
};
use crate::target::Targets;

use connection::{Conn, State};
use hear::Progress;
use publish::Publishers;

/// Receive buffers of a thread, in bytes.
const BUFFERS_BYTES: u32 = 32 << 20;
const BUFFERS_MAX: u32 = 8192;
const BUFFER_BYTES_MIN: u32 = 4 << 10;
const BUFFER_BYTES_MAX: u32 = 64 << 10;
const _: () = assert!(
    BUFFERS_MAX <= 32_768,
    "the kernel's limit for a buffer ring"
);

/// Completions acted on before the next look at what is due to be sent.
const BATCH: usize = 128;
const WAIT_NS_MAX: u64 = 100_000_000;
/// Kinds of problems told apart.
const PROBLEMS_MAX: usize = 20;

struct Client {
    me: usize,
    ring: Ring,
    shared: Arc<Shared>,
    targets: Arc<Targets>,
    events: Sender<Event>,
    conns: Vec<Conn>,
    ledger: Ledger,
    progress: Progress,
    publishers: Publishers,
    phase: Phase,
    interval: Interval,
    report: Final,
    /// Slots to connect, with the time from which on.
    to_open: VecDeque<(u64, u32)>,
    opening: usize,
    opening_max: usize,
    /// Turns running that had no time to open any, see `open_waiting`.
    turns_behind: u32,
    open_order_ns: [u64; 3],
    churn: Option<Churn>,
    next_check_ns: u64,
    stop: bool,
}

struct Churn {
    period_ns: u64,
    next_ns: u64,
    at: usize,
    politely: bool,
}

/// Runs a client thread until it is told to stop.
pub fn run(me: usize, shared: Arc<Shared>, targets: Arc<Targets>, events: Sender<Event>) {
    let ended =
        Client::new(me, shared, targets, events.clone()).and_then(|(mut client, mut pool)| {
            client.take_precedence();
            client.work(&mut pool).map(|()| client.finish())
        });
    // A coordinator that has gone needs no report.
    let _ = match ended {
        Ok(report) => events.send(Event::Final(Box::new(report))),
        Err(error) => events.send(Event::Died(explain(&error))),
    };
}

/// The commonest reasons why a ring cannot be had, in words.
fn explain(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::ENOSYS | libc::EPERM) => format!(
            "io_uring cannot be used here ({error}): the kernel is older than 6.1, or \
             kernel.io_uring_disabled or a container's seccomp profile forbids it"
        ),
        Some(libc::ENOMEM) => format!("no memory for the ring ({error}): raise 'ulimit -l'"),
        _ => format!("a client thread failed: {error}"),
    }
}

impl Client {
    fn new(
        me: usize,
        shared: Arc<Shared>,
        targets: Arc<Targets>,
        events: Sender<Event>,
    ) -> io::Result<(Client, Pool)> {
        let plan = &shared.plan;
        let members = &share(&plan.members, me);
        // Room for a few messages per buffer, so that bursts need few completions.
        let wanted = (4 * plan.message_bytes as u32).next_power_of_two();
        let buffer_bytes = wanted.clamp(BUFFER_BYTES_MIN, BUFFER_BYTES_MAX);
        let buffers = (BUFFERS_BYTES / buffer_bytes).min(BUFFERS_MAX) as u16;
        let (ring, pool) = Ring::new(
            (members.len() as u32).max(1),
            [false, true]
                .map(|publishes| SockAddr::from(targets.of(publishes).address))
                .into(),
            buffers,
            buffer_bytes,
            shared.mailboxes[me].wake.clone(),
        )?;
        let phase = Phase {
            number: 0,
            from_ns: 0,
            warm_ns: u64::MAX,
            until_ns: u64::MAX,
            pace: Pace::Silent,
        };
        let client = Client {
            me,
            ring,
            targets,
            events,
            conns: members
                .iter()
                .map(|member| Conn::new(member, plan.posts(member.publisher)))
                .collect(),
            ledger: Ledger::new(members.len(), shared.streams_of_connection()),
            progress: Progress::new(&shared, me, members),
            publishers: Publishers::new(&shared, members),
            phase,
            interval: Interval::new(0, 0),
            report: Final::default(),
            to_open: VecDeque::new(),
            opening: 0,
            opening_max: 0,
            turns_behind: 0,
            open_order_ns: [0; 3],
            churn: None,
            next_check_ns: 0,
            stop: false,
            shared: shared.clone(),
        };
        Ok((client, pool))
    }

    /// A thread whose latencies are measured does not wait for those that make the load.
    fn take_precedence(&mut self) {
        if self.me >= self.shared.plan.apart_threads {
            return;
        }
        // It is the thread's own on Linux: nice(2).
        if let Err(error) = rustix::process::nice(-20) {
            self.problem(format!(
                "the live topic's readers wait for the other clients, as only root or \
                 CAP_SYS_NICE may let them go first ({error})"
            ));
        }
    }

    fn work(&mut self, pool: &mut Pool) -> io::Result<()> {
        let mut completions = Vec::new();
        while !self.stop {
            self.take_orders()?;
            let now = self.shared.now_ns();
            self.churn(now)?;
            let open_next = self.open_waiting(now)?;
            self.handle_time(now)?;
            let next = self.publish_due(now)?;
            let next = next
                .min(open_next)
                .min(self.next_check_ns)
                .min(self.churn.as_ref().map_or(u64::MAX, |c| c.next_ns))
                .min((self.interval.index + 1) * self.shared.plan.interval_ns);
            let wait_ns = next.saturating_sub(self.shared.now_ns()).min(WAIT_NS_MAX);
            self.ring
                .wait(Duration::from_nanos(wait_ns), &mut completions)?;
            // What is in hand now had arrived by now: one clock reading per batch.
            let now = self.shared.now_ns();
            for (count, completion) in completions.drain(..).enumerate() {
                if count % BATCH == BATCH - 1 {
                    self.publish_due(self.shared.now_ns())?;
                }
                self.act(completion, now, pool)?;
            }
            self.tell_advances();
        }
        Ok(())
    }

    fn take_orders(&mut self) -> io::Result<()> {
        let shared = self.shared.clone();
        let Some((commands, advanced)) = shared.mailboxes[self.me].take() else {
            return Ok(());
        };
        for publisher in advanced {
            self.publishers.ready(publisher);
        }
        for command in commands {
            match command {
                Command::Open { group, in_flight } => self.order_open(group, in_flight),
                Command::Drop(group) => self.drop_group(group)?,
                Command::Stall(group) => {
                    for slot in self.slots_of(group) {
                        self.stall(slot)?;
                    }
                }
                Command::Resume(group) => {
                    for slot in self.slots_of(group) {
                        self.resume(slot)?;
                    }
                }
                Command::Churn(period_ns) => {
                    self.churn = period_ns.map(|period_ns| Churn {
                        period_ns,
                        next_ns: self.shared.now_ns(),
                        at: 0,
                        politely: false,
                    });
                }
                Command::Begin(phase) => {
                    self.flush_interval(self.interval.index);
                    self.phase = phase;
                    self.interval.phase = phase.number;
                    self.publishers.begin(&phase);
                }
                Command::Burst { publisher, count } => self.burst(publisher, count)?,
                Command::Stop => self.stop = true,
            }
        }
        Ok(())
    }

    fn act(&mut self, completion: Completion, now: u64, pool: &mut Pool) -> io::Result<()> {
        let slot = completion.slot;
        match completion.what {
            What::Connected(result) => self.on_connected(slot, result, now),
            What::Received { result, armed } => {
                let lease = self.on_receive_state(slot, result, armed, now)?;
                self.on_lease(slot, lease, now, pool)
            }
            What::Sent(bytes, result) => self.on_sent(slot, bytes, result),
            What::Woken => Ok(()),
        }
    }

    fn on_lease(
        &mut self,
        slot: u32,
        lease: Option<Lease>,
        now: u64,
        pool: &mut Pool,
    ) -> io::Result<()> {
        let Some(lease) = lease else {
            return Ok(());
        };
        let result = self.on_raw_bytes(slot, pool.bytes(&lease), now);
        pool.recycle(lease);
        result
    }

    /// What the clock alone makes due: the end of an interval, the end of a
    /// phase, handshakes that take too long.
    fn handle_time(&mut self, now: u64) -> io::Result<()> {
        let index = now / self.shared.plan.interval_ns;
        if index > self.interval.index {
            self.flush_interval(index);
        }
        if self.publishers.is_done(&self.phase, now) && !self.awaits_answers() {
            let done = u32::from(self.phase.number) + 1;
            let counter = &self.shared.counters[self.me].phases_done;
            counter.store(done, Ordering::Release);
        }
        if now < self.next_check_ns {
            return Ok(());
        }
        self.next_check_ns = now + WAIT_NS_MAX;
        let limit = self.shared.plan.handshake_ns_max;
        for slot in 0..self.conns.len() {
            let conn = &self.conns[slot];
            if conn.state.is_opening() && now.saturating_sub(conn.began_ns) > limit {
                self.problem(format!(
                    "no answer to the handshake within {} s",
                    limit / 1_000_000_000
                ));
                self.fail_opening(slot as u32, now)?;
            }
        }
        Ok(())
    }

    fn flush_interval(&mut self, next: u64) {
        let fresh = Interval::new(next, self.phase.number);
        let full = std::mem::replace(&mut self.interval, fresh);
        if !full.is_empty() {
            let _ = self.events.send(Event::Interval(Box::new(full)));
        }
    }

    fn churn(&mut self, now: u64) -> io::Result<()> {
        let Some(churn) = &mut self.churn else {
            return Ok(());
        };
        if now < churn.next_ns {
            return Ok(());
        }
        churn.next_ns += churn.period_ns;
        churn.politely = !churn.politely;
        let (politely, start) = (churn.politely, churn.at);
        let coming = (0..self.conns.len())
            .map(|step| (start + step) % self.conns.len())
            .find(|slot| self.conns[*slot].group == Group::Coming);
        let Some(slot) = coming else {
            self.churn = None;
            return Ok(());
        };
        churn.at = slot + 1;
        match self.conns[slot].state {
            State::Open => self.leave(slot as u32, politely, true),
            // It said goodbye a whole round ago and the server has not answered.
            State::Leaving => self.leave(slot as u32, false, true),
            _ => Ok(()),
        }
    }

    fn slots_of(&self, group: Group) -> Vec<u32> {
        let all = self.conns.iter().enumerate();
        let of_group = all.filter(|(_, conn)| conn.group == group);
        of_group.map(|(slot, _)| slot as u32).collect()
    }

    fn problem(&mut self, text: String) {
        let problems = &mut self.report.problems;
        let text = match problems.len() {
            PROBLEMS_MAX.. if !problems.contains_key(&text) => "other problems".to_string(),
            _ => text,
        };
        let count = problems.entry(text.clone()).or_default();
        *count += 1;
        if *count == 1 {
            let _ = self.events.send(Event::Problem(text));
        }
    }

    /// The checks at the end, when nothing more is to come.
    fn finish(&mut self) -> Final {
        self.flush_interval(self.interval.index);
        let shared = self.shared.clone();
        for slot in 0..self.conns.len() {
            let (group, topic) = (self.conns[slot].group, self.conns[slot].topic);
            if let Some(posts) = &self.conns[slot].posts {
                self.report.posts_unanswered += posts.under_way.len() as u64;
                continue;
            }
            let mut lost = 0;
            for (publisher, stream) in shared.heard_from(topic) {
                let sent = shared.sent[publisher as usize].load(Ordering::Acquire);
                // Only who was there all along owes the last messages too.
                let owed = owes_everything(group, &shared.plan).then_some(sent);
                lost += self.ledger.lost(slot, stream, owed);
            }
            self.report.tallies[group as usize].lost += lost;
            let conn = &self.conns[slot];
            let hears_all = conn.publisher.is_none() || shared.plan.echo;
            let one_topic = shared.plan.topics_per_connection <= 1;
            let whole = lost == 0 && hears_all && conn.state == State::Open;
            if group == Group::Steady && one_topic && whole {
                let orders = self.report.orders.entry(topic).or_default();
                *orders.entry(conn.order).or_default() += 1;
            }
        }
        std::mem::take(&mut self.report)
    }
}

/// Whether a member must hear every message, from the first to the last.
fn owes_everything(group: Group, plan: &Plan) -> bool {
    group == Group::Steady || (plan.recover && group == Group::Coming)
}

/// Where a member's stream begins: at the first message, or where it joins. A
/// publisher whose server may or may not echo owes nothing of its own.
fn start_of(member: &Conn, publisher: u32, plan: &Plan) -> Start {
    let own = member.publisher == Some(publisher);
    if owes_everything(member.group, plan) && (plan.echo || !own) {
        Start::First
    } else {
        Start::Anywhere
    }
}

/// Whether a member's hearing a message is waited for.
fn is_waited_for(member: &Member, publisher: u32, plan: &Plan) -> bool {
    let hears = plan.echo || member.publisher != Some(publisher);
    member.group == Group::Steady && hears && !plan.posts(member.publisher)
}
