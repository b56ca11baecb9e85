//! The reactor: one core's connections, on a ring of their own: those that are established, and
//! those that come in through the ring, until they are.
//!
//! A turn lets the kernel deliver, notes every completion as a fact, then acts:
//! grown topics are fanned out, and connections that need it are looked at.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use super::calendar::Calendar;
use super::catching::Catching;
use super::conn::{Asker, Flags, Phase, Reaching};
use super::feeds::Feeds;
use super::followed::Followed;
use super::joiners::Joiners;
use super::keepalive::KeptAlive;
use super::links::Links;
use super::newcomers::{HandedOn, Newcomers};
use super::paced::Resting;
use super::slots::Slots;
use super::slow_walk::SlowWalk;
use super::streams::Streams;
use super::subs::{SubId, Subs};
use super::talk::Talks;
use super::users::{Underway, Users};
use super::watched::Watched;
use crate::hub::codec::Codec;
use crate::hub::metrics::Metrics;
use crate::hub::{Hub, Origin};
use crate::log::Topic;
use crate::ring::{Completion, Ring};

/// Rounds of one turn; then the acceptor is let in.
const ROUNDS_MAX: usize = 16;
/// Requests to the kernel after which a turn begins no further round while somebody waits for
/// an answer of the acceptor: it takes several turns, and would wait for 16 full rounds in each.
const TURN_REQUESTS_MAX: usize = 512;

/// What patience begins with, so that what was longer ago in another process has a
/// time here.
const PATIENCE_MS_BEGIN: u64 = 1 << 31;

/// Established connections of one core, on ring `R`.
pub struct Reactor<R: Ring> {
    pub(super) ring: R,
    pub(super) state: State,
    pub(super) completions: Vec<Completion>,
    /// When the last turn began that had something to do.
    pub(super) active_at: Instant,
    /// Who has come in through the ring and is the acceptor's.
    pub(super) handed_on: Vec<HandedOn<R::Plain>>,
    /// Plain descriptors for a handover.
    pub(super) installed: Vec<(u32, io::Result<R::Plain>)>,
}

/// All of a reactor but its ring.
pub(super) struct State {
    pub(super) core: usize,
    pub(super) hub: Arc<Hub>,
    pub(super) conns: Slots,
    pub(super) newcomers: Newcomers,
    pub(super) feeds: Feeds,
    pub(super) subs: Subs,
    /// Feeds to be fanned out, in turn.
    pub(super) growing: VecDeque<u32>,
    /// Those that have to wait before, for their pace.
    pub(super) resting: Resting,
    /// Topics whose growth other cores are to be told of.
    pub(super) announce: Vec<(u32, Arc<Topic>)>,
    /// Connections to be looked at in this turn.
    pub(super) dirty: Vec<u32>,
    /// Subscribers found to be too far behind.
    pub(super) lagging: Vec<SubId>,
    /// Publishers that are not read from for now.
    pub(super) paused: Vec<u32>,
    /// Subscriptions that have not begun.
    pub(super) reaching: VecDeque<Reaching>,
    /// Those of them that are sent stored history.
    pub(super) catching: Catching,
    pub(super) codec: Codec,
    /// What is known of clients whose dialect has sessions, by slot.
    pub(super) talks: Talks,
    /// Those of them who wait to be let into channels.
    pub(super) joiners: Joiners,
    /// Those of them who have not said who they are, and when they came, oldest first.
    pub(super) strangers: VecDeque<(u32, u64)>,
    /// What is known of clients that are sent many topics as one stream.
    pub(super) streams: Streams,
    /// The keys of those who have TLS.
    pub(super) links: Links,
    /// Connections by their user.
    pub(super) users: Users,
    /// What is to be done with some of them.
    pub(super) orders: VecDeque<Underway>,
    /// Tokens that may still be checked here in this turn.
    pub(super) checks_left: u32,
    /// Tokens that have been given to others to check.
    pub(super) checks: u64,
    /// Messages that are followed to their subscribers.
    pub(super) followed: Followed,
    pub(super) now_ms: u64,
    /// The core's patience: its time, less what it could hear nobody in.
    pub(super) patience_ms: u64,
    /// Those whose timers are looked at again and again.
    pub(super) watched: Watched,
    /// When the others' are.
    pub(super) calendar: Calendar,
    /// By which intervals they stand there.
    pub(super) intervals: (u64, u64),
    /// Whether the kernel keeps alive who comes.
    pub(super) kept_alive: KeptAlive,
    /// The feed whose memory is looked at next.
    pub(super) feeds_walk: u32,
    /// The furthest that anybody was behind on this walk.
    pub(super) furthest: u64,
    /// Who is slow, as far as this walk has come.
    pub(super) slow_walk: SlowWalk,
    /// Bytes that connections of this core have ever published.
    pub(super) published_bytes: u64,
    /// How far changes of the hub's relief have been seen.
    relief_seen: u64,
    /// How often relief had helped when room was last looked for.
    pub(super) help_seen: u64,
    /// Some publisher waits for room in a log.
    pub(super) awaits_room: bool,
    /// Nothing is asked of the ring: the connections are about to move.
    pub(super) frozen: bool,
    mail: Vec<u32>,
    /// How far changes of rules have been seen. `None` where nobody has been looked at yet: who
    /// comes from another process was let in by the rules there.
    pub(super) rights_seen: Option<u64>,
    /// Who has proposed what to the cluster.
    pub(super) proposals: foldhash::HashMap<u64, Asker>,
    /// Who is not to hear what the cluster has of it.
    pub(super) origins: foldhash::HashMap<Origin, u32>,
    /// The topic that the command under way has to wait for, and up to which offset.
    pub(super) unknown: Option<(Arc<Topic>, u64)>,
}

impl<R: Ring> Reactor<R> {
    /// A reactor for at most `slots` connections. Its thread is the ring's.
    pub fn new(core: usize, hub: Arc<Hub>, ring: R, slots: u32) -> Self {
        hub.mailbox(core).metrics.capacity.set(u64::from(slots));
        Reactor {
            ring,
            state: State {
                core,
                now_ms: hub.now_ms(),
                patience_ms: PATIENCE_MS_BEGIN,
                watched: Watched::default(),
                calendar: Calendar::new(slots as usize),
                intervals: (0, 0),
                kept_alive: KeptAlive::default(),
                feeds_walk: 0,
                furthest: 0,
                slow_walk: SlowWalk::default(),
                published_bytes: 0,
                relief_seen: 0,
                help_seen: 0,
                awaits_room: false,
                hub,
                conns: Slots::new(slots),
                newcomers: Newcomers::default(),
                feeds: Feeds::default(),
                subs: Subs::new(),
                growing: VecDeque::new(),
                resting: Resting::default(),
                announce: Vec::new(),
                dirty: Vec::new(),
                lagging: Vec::new(),
                paused: Vec::new(),
                reaching: VecDeque::new(),
                catching: Catching::default(),
                codec: Codec::default(),
                talks: Talks::default(),
                streams: Streams::default(),
                links: Links::default(),
                joiners: Joiners::default(),
                strangers: VecDeque::new(),
                users: Users::default(),
                orders: VecDeque::new(),
                checks_left: 0,
                checks: 0,
                followed: Followed::default(),
                proposals: foldhash::HashMap::default(),
                origins: foldhash::HashMap::default(),
                unknown: None,
                frozen: false,
                mail: Vec::new(),
                rights_seen: None,
            },
            completions: Vec::new(),
            active_at: Instant::now(),
            handed_on: Vec::new(),
            installed: Vec::new(),
        }
    }

    /// The ring has so many slots more, for those who come in through it and are not answered
    /// yet. To be called first of all.
    #[must_use]
    pub fn with_spare(mut self, slots: u32) -> Self {
        self.state.conns.add_spare(slots);
        self
    }

    /// Connections it holds.
    pub fn len(&self) -> usize {
        self.state.conns.len()
    }

    /// It is on its way to another process, or has just come from one.
    pub fn is_frozen(&self) -> bool {
        self.state.frozen
    }

    /// Nobody is connected.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Does all that is to be done, up to a bound. True when work is left, or
    /// came in meanwhile.
    ///
    /// # Errors
    /// Those of the ring, of which none is expected.
    pub fn turn(&mut self) -> io::Result<bool> {
        let began = Instant::now();
        let hub = self.state.hub.clone();
        self.ring.mute(true);
        self.state.begin_checks();
        self.state.newcomers.stirs = 0;
        let mut requests = 0;
        for _ in 0..ROUNDS_MAX {
            self.state.look_at_clock();
            let queued = self.ring.enter()?;
            self.state.links.handed_over();
            self.ring.completions(&mut self.completions);
            let quiet = queued == 0 && self.completions.is_empty();
            if !quiet {
                self.active_at = began;
            }
            self.handle_completions();
            self.state.handle_mail();
            if !self.state.frozen {
                self.state.end_rests();
            }
            self.state.look_at_lateness();
            self.state.look_at_deliveries();
            if hub.relief().has_changed(&mut self.state.relief_seen) && !self.state.frozen {
                self.state.relieve();
            }
            if !self.state.frozen {
                self.state.carry_out_orders();
            }
            self.state.resume_paused();
            if self.state.frozen {
                self.part_with_ended();
            } else {
                self.state.admit_joiners(false);
                self.state.go_on_reaching();
                self.state.go_on_catching_up();
                // First what is published, then who is new, of whom only so many.
                self.fan_out();
                self.greet();
                self.flush();
                self.wait_at_doors();
            }
            self.see_out();
            requests += queued;
            let idle = quiet && !self.state.has_work() && self.ring.queued() == 0;
            let awaited = requests >= TURN_REQUESTS_MAX && self.state.newcomers.guests > 0;
            if idle || awaited {
                break;
            }
        }
        hub.mailbox(self.state.core).beat(self.state.now_ms);
        self.metrics().refusals.set(self.ring.refusals());
        self.metrics().overflows.set(self.ring.overflows());
        self.metrics()
            .turns
            .note(began.elapsed().as_micros() as u64);
        let waiting = self.ring.mute(false);
        let more = waiting || self.state.has_work() || self.ring.queued() > 0;
        if !more {
            self.state.newcomers.rounds.rest();
        }
        Ok(more)
    }

    /// Turns the ring's wake-ups on for the first time.
    pub fn start(&mut self) {
        self.ring.mute(false);
    }

    /// While frozen, only connections that are at their end go on with it.
    fn part_with_ended(&mut self) {
        for slot in std::mem::take(&mut self.state.dirty) {
            if let Some(conn) = self.state.conns.get_mut(slot) {
                conn.flags.clear(Flags::DIRTY);
                if conn.phase == Phase::ShutDown {
                    self.look_after(slot);
                }
            }
        }
    }

    /// Looks at every connection that something has happened to.
    fn flush(&mut self) {
        let mut dirty = std::mem::take(&mut self.state.dirty);
        for slot in dirty.drain(..) {
            if let Some(conn) = self.state.conns.get_mut(slot) {
                conn.flags.clear(Flags::DIRTY);
                self.look_after(slot);
            }
        }
        // What was marked while looking waits for the next round.
        std::mem::swap(&mut dirty, &mut self.state.dirty);
        self.state.dirty.append(&mut dirty);
    }

    fn look_after(&mut self, slot: u32) {
        let conn = self.state.conns.at(slot);
        if conn.phase == Phase::ShutDown {
            if self.send_last(slot) {
                return;
            }
            let conn = self.state.conns.at(slot);
            if !conn.flags.any(Flags::OUTSTANDING) && conn.unreleased == 0 {
                conn.flags.set(Flags::SHUTTING);
                self.ring.close(slot);
            } else if !conn
                .flags
                .any(Flags::SHUT_BOTH | Flags::SHUTTING | Flags::SENDING_RUN)
            {
                // One shutdown at a time: the flag tells of one answer. A send
                // under way tells first whether bytes will be held for it.
                conn.flags.set(Flags::SHUT_BOTH | Flags::SHUTTING);
                if conn.unreleased > 0 {
                    // The kernel holds bytes of the log for a peer that may
                    // never take them.
                    self.ring.reset(slot);
                } else {
                    self.ring.shutdown(slot, std::net::Shutdown::Both);
                }
            }
            return;
        }
        let receiving = conn.flags.any(Flags::RECEIVING);
        if let Some(pause) = conn.pause() {
            if receiving && !pause.called_off {
                pause.called_off = true;
                self.ring.cancel_receive(slot);
            }
        } else if !receiving && !conn.flags.any(Flags::ENDED) {
            conn.flags.set(Flags::RECEIVING);
            self.ring.receive(slot);
        }
        self.push_out(slot);
    }

    pub(super) fn metrics(&self) -> &Metrics {
        self.state.metrics()
    }
}

impl State {
    #[inline]
    pub(super) fn metrics(&self) -> &Metrics {
        &self.hub.mailbox(self.core).metrics
    }

    /// Puts a connection on the list of those to be looked at.
    #[inline]
    pub(super) fn mark(&mut self, slot: u32) {
        let conn = self.conns.at(slot);
        if !conn.flags.any(Flags::DIRTY) {
            conn.flags.set(Flags::DIRTY);
            self.dirty.push(slot);
        }
    }

    fn has_work(&self) -> bool {
        let to_send = !self.growing.is_empty() || !self.announce.is_empty() || self.is_reaching();
        let to_do = to_send || !self.orders.is_empty();
        let newcomers = self.newcomers.want_something(self.frozen);
        !self.dirty.is_empty() || newcomers || (to_do && !self.frozen)
    }

    /// How long what is about to be delivered may have waited decides on how many newcomers
    /// this round deals with.
    fn look_at_lateness(&mut self) {
        let delivers = !self.growing.is_empty();
        let now_us = self.hub.now_us();
        self.newcomers.rounds.look(now_us, delivers);
    }

    fn handle_mail(&mut self) {
        let mut mail = std::mem::take(&mut self.mail);
        self.hub.mailbox(self.core).collect(&mut mail);
        for place in mail.drain(..) {
            // The topic may have gone since; another may have its number. One that rests
            // looks by itself when its time has come.
            let feed = self.feeds.get_mut(place);
            if let Some(feed) = feed.filter(|feed| !feed.pace.rests()) {
                feed.interest[self.core].told.heard();
                self.grow(place);
            }
        }
        self.mail = mail;
    }

    /// A topic has grown by a message from this core: its views here are to be
    /// fanned out, and other cores told.
    pub(super) fn grow_topic(&mut self, number: u32) {
        let feed = self.feeds.at(number);
        let topic = feed.topic.clone();
        if !feed.announce {
            feed.announce = true;
            self.announce.push((number, topic.clone()));
        }
        if topic.formats().is_empty() {
            // There is only the raw view.
            return self.grow(number);
        }
        for interest in topic.interests() {
            let listener = &interest[self.core];
            if listener.subscribers() > 0 {
                self.grow(listener.place());
            }
        }
    }

    /// A view has grown: it is to be fanned out.
    pub(super) fn grow(&mut self, number: u32) {
        let feed = self.feeds.at(number);
        if !feed.growing {
            feed.growing = true;
            self.growing.push_back(number);
        }
    }
}
