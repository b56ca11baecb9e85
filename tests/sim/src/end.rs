//! What must hold when all has gone quiet, and when all is over.

use fanfare::protocol::encoding::Format;

use crate::client::{Client, Fate};
use crate::outcome::Outcome;
use crate::plan::PACE_MS_MAX;
use crate::world::{CoreRun, World};

/// As often as a core looks at the clock.
pub(crate) const TICK_MS: u64 = 250;

/// As often as a core looks for room while a message waits.
pub(crate) const LOOK_MS: u64 = 50;

/// Rounds in which everything must have come to rest.
const ROUNDS_MAX: usize = 100_000;

impl World {
    /// Everybody reads and writes all they can, the cores turn as long as they
    /// are woken: then nothing may be left undone.
    pub(crate) fn settle(&mut self) {
        self.say(|| "all go quiet".into());
        self.fall_quiet();
        for core in 0..self.cores.len() {
            self.tick(core);
        }
        self.fall_quiet();
        self.look_for_room();
        self.wait_for_doors();
        if self.readers.come || self.subscribers.come {
            // What came of that is told with the next tick.
            for core in 0..self.cores.len() {
                self.tick(core);
            }
            self.fall_quiet();
        }
        self.check_quiet();
    }

    /// What rests for a pace is sent when that has passed.
    fn fall_quiet(&mut self) {
        for _ in 0..ROUNDS_MAX {
            self.run_dry();
            let rests = self.cores.iter().map(|run| run.reactor.rests_until_us());
            let Some(until_us) = rests.flatten().min() else {
                return;
            };
            let left_us = until_us.saturating_sub(self.hub.now_us());
            assert!(left_us > 0, "it is due and has not been sent");
            assert!(left_us <= PACE_MS_MAX * 1000, "it rests for too long");
            self.advance(left_us.div_ceil(1000));
        }
        panic!("something rests for ever");
    }

    /// A core looks by itself, now and then, whether there is room for what waits for it.
    fn look_for_room(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let waits = |run: &CoreRun| run.reactor.awaits_room() && !run.reactor.is_frozen();
            if !self.cores.iter().any(waits) {
                return;
            }
            self.advance(LOOK_MS);
            for core in 0..self.cores.len() {
                if waits(&self.cores[core]) {
                    self.turn(core);
                }
            }
            self.fall_quiet();
        }
        panic!("a message waits for room for ever");
    }

    pub(crate) fn run_dry(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let mut moved = false;
            for index in 0..self.clients.len() {
                if !self.clients[index].over {
                    moved |= self.write(index, usize::MAX);
                    if self.clients[index].asleep_until < usize::MAX {
                        moved |= self.read(index, usize::MAX);
                    }
                }
            }
            moved |= self.run_sessions();
            moved |= self.run_readers();
            moved |= self.run_subscribers();
            moved |= self.run_cluster();
            self.run_scribe();
            for core in 0..self.cores.len() {
                let side = self.cores[core].side;
                let idle = self.kernel.borrow().is_idle(side);
                self.kernel.borrow_mut().progress(side, 200);
                let awake = self.is_awake(core);
                if awake {
                    self.turn(core);
                }
                moved |= awake || !idle;
            }
            if !moved {
                return;
            }
        }
        let kernel = self.kernel.borrow();
        for (core, run) in self.cores.iter().enumerate() {
            let place = kernel.describe_core(run.side);
            eprintln!("core {core}, awake: {}, {place}", run.awake);
        }
        panic!("it never goes quiet");
    }

    fn check_quiet(&mut self) {
        for index in 0..self.clients.len() {
            let client = &mut self.clients[index];
            if client.over {
                continue;
            }
            client.step_over_own(&self.truths);
            let client = &self.clients[index];
            let describe = || {
                let kernel = self.kernel.borrow();
                format!("{}: {}", client.name(), kernel.describe(client.socket))
            };
            if client.is_newcomer() && client.fate != Fate::Open {
                // It has not even said what it wanted.
                continue;
            }
            assert!(client.greeted, "{} was not answered", describe());
            if client.closed {
                // A rude one waits for the server's patience to end.
                assert!(client.nature.rude, "{} is not let go", describe());
                continue;
            }
            assert_eq!(client.fate, Fate::Open, "{} is not let go", describe());
            let awaits_keys = self.kernel.borrow().awaits_keys(client.socket);
            assert!(
                !awaits_keys,
                "{} has asked for new keys in vain",
                describe()
            );
            for follow in client.following() {
                let truth = &self.truths[follow.truth];
                assert_eq!(
                    follow.next,
                    truth.next(),
                    "{} has not heard all of {}",
                    describe(),
                    truth.name
                );
            }
            assert!(client.pings.is_empty(), "{} wants a pong", describe());
            assert_eq!(
                client.published,
                client.said.len(),
                "{} is not heard",
                describe()
            );
        }
        self.check_sessions_quiet();
        self.check_readers_quiet();
        self.check_subscribers_quiet();
        let parting = |client: &Client| client.closed && !client.over;
        let mut sessions = self.sessions.list.iter();
        let ending = sessions.any(|session| session.closed && !session.over);
        let mut subscribers = self.subscribers.list.iter();
        let ending = ending || subscribers.any(|of| of.closed && !of.over);
        if !ending && !self.clients.iter().any(parting) {
            assert_eq!(self.hub.partial_bytes(), 0, "nothing is half received");
        }
        self.check_memory();
    }

    /// With everybody at the head, a log holds its history and no more.
    fn check_memory(&self) {
        for truth in &self.truths {
            let Some((topic, _)) = &truth.watch else {
                continue;
            };
            let retention = self.hub.retention(topic);
            let mut explained = 0;
            for format in std::iter::once(Format::Raw).chain(topic.formats().iter()) {
                let history = topic.start_held(format, 0).segments;
                explained += history.iter().map(|s| s.capacity()).sum::<usize>();
                // The byte limit may lie in the segment before the first
                // message: an ordinary one, or one long message's.
                let ordinary = retention.bounds.log_bytes_max as usize / 8;
                explained += ordinary
                    .max(history[0].capacity())
                    // What the others read of it may be twice as long.
                    .max(truth.frame_bytes_max * (1 + usize::from(is_longer(format))) + 4096);
            }
            let held = topic.summary(retention).log_bytes;
            assert!(
                held <= explained as u64,
                "the log of {} holds {held} bytes, its history is {explained}",
                truth.name
            );
        }
    }

    /// The daemon stops; then nothing of anybody may be left.
    pub(crate) fn end(mut self) -> Outcome {
        if self.rng.bool() {
            self.settle();
        }
        self.say(|| "the daemon stops".into());
        self.hub.stop(false);
        self.look();
        for core in 0..self.cores.len() {
            let newest = |world: &World| world.truths.iter().map(|t| t.next() - 1).collect();
            self.cores[core].drained = Some(newest(&self));
            let patience_ms = self.plan.settings.drain_ms_max;
            let spread_ms = self.rng.u64(..=patience_ms);
            self.cores[core].reactor.drain(spread_ms, patience_ms);
            self.turn(core);
            self.plan.connects_max = 0;
            for _ in 0..self.rng.usize(..100) {
                self.take_step();
            }
        }
        for _ in 0..200 {
            self.take_step();
        }
        for core in 0..self.cores.len() {
            self.cores[core].reactor.drain(0, 0);
            self.turn(core);
        }
        // Beyond all patience, with the daemon's stopping and with each peer.
        // Who does not read now must be parted with all the same.
        for client in &mut self.clients {
            client.asleep_until = if client.nature.sluggard {
                usize::MAX
            } else {
                0
            };
        }
        for reader in &mut self.readers.list {
            reader.oversleep();
        }
        for subscriber in &mut self.subscribers.list {
            subscriber.oversleep();
        }
        for session in &mut self.sessions.list {
            session.asleep_until = if session.nature.sluggard {
                usize::MAX
            } else {
                0
            };
        }
        for _ in 0..3 {
            self.run_dry();
            let patience_ms = 2_000 + self.plan.settings.drain_ms_max;
            for _ in 0..patience_ms / TICK_MS + 1 {
                self.advance(TICK_MS);
                for core in 0..self.cores.len() {
                    self.tick(core);
                }
            }
        }
        self.run_dry();
        for (core, run) in self.cores.iter().enumerate() {
            assert!(
                run.reactor.is_empty(),
                "core {core} keeps {}: {}",
                run.reactor.len(),
                self.kernel.borrow().describe_core(run.side)
            );
        }
        for client in &mut self.clients {
            client.asleep_until = 0;
        }
        for reader in &mut self.readers.list {
            reader.asleep_until = 0;
        }
        for session in &mut self.sessions.list {
            session.asleep_until = 0;
        }
        for subscriber in &mut self.subscribers.list {
            subscriber.asleep_until = 0;
        }
        self.run_dry();
        self.check_doors();
        self.check_over();
        self.outcome.key_requests = self.kernel.borrow().key_requests();
        self.outcome
    }

    /// Adds up what a daemon has counted, at its end.
    pub(crate) fn count(&mut self) {
        for mailbox in self.hub.mailboxes() {
            let metrics = &mailbox.metrics;
            for (reason, count) in metrics.closes.iter().enumerate() {
                self.outcome.reasons |= u128::from(count.get() > 0) << reason;
                self.closes += count.get();
            }
            self.outcome.deliveries += metrics.deliveries.get();
            self.outcome.connections += metrics.ring_handshakes.get();
            self.outcome.by_door += metrics.ring_handshakes.get();
            self.outcome.gaps += metrics.lag_skips.get();
            self.outcome.pauses += metrics.pauses.get();
            self.outcome.rests += metrics.pace_rests.get();
            self.outcome.refusals += metrics.refusals.get();
            self.outcome.overflows += metrics.overflows.get();
        }
    }

    fn check_over(&mut self) {
        for client in &self.clients {
            let deflates = client.greeted && client.deflate.is_some();
            self.outcome.deflated_by_door += u64::from(client.by_door.is_some() && deflates);
            let kernel = self.kernel.borrow();
            let place = kernel.describe(client.socket);
            assert!(client.over, "{} is still there: {place}", client.name());
            if client.chat && client.greeted && client.fate != Fate::Reset {
                let refused = self.plan.refusing || self.was_cluster_full();
                assert!(
                    client.welcomed == 1 || (refused && client.welcomed == 0),
                    "{} is welcomed once",
                    client.name()
                );
            }
            assert!(client.logged_out <= 1, "{} leaves once", client.name());
            if client.fate == Fate::Quit && client.closed_with == Some(1000) {
                // Nobody waits with the last line until something may be proposed again.
                let refused = self.plan.refusing || self.was_cluster_full();
                assert!(
                    client.logged_out == 1 || refused,
                    "{} has left",
                    client.name()
                );
            }
        }
        self.check_sessions_over();
        self.check_readers_over();
        self.check_subscribers_over();
        let counts = &self.readers.counts;
        self.outcome.events = counts.events;
        self.outcome.event_gaps = counts.gaps;
        self.outcome.returns = counts.returns;
        let counts = &self.subscribers.counts;
        self.outcome.channel_events = counts.events;
        self.outcome.entered = counts.entered;
        self.outcome.channel_gaps = counts.gaps;
        self.outcome.moves = counts.moves;
        let counts = &self.sessions.pushes.counts;
        self.outcome.recovered = counts.recovered;
        self.outcome.not_recovered = counts.not_recovered;
        self.outcome.ended = counts.ended;
        self.outcome.pushed = counts.publications;
        self.outcome.joins = counts.joins;
        self.outcome.answers = counts.answers;
        for mailbox in self.hub.mailboxes() {
            assert_eq!(mailbox.metrics.connections.get(), 0);
        }
        self.count();
        let connections = self.outcome.connections;
        assert_eq!(self.closes, connections, "each end has one reason");
        assert_eq!(self.hub.admission().connections(), 0);
        assert_eq!(self.hub.admission().handshakes(), 0);
        assert_eq!(self.hub.partial_bytes(), 0);
        self.truths.clear();
        let age_ms = 2 * self.plan.settings.retain_ms_max + 1;
        self.advance(age_ms);
        self.run_scribe();
        for topic in self.hub.all_topics() {
            if let Some(kept) = topic.kept() {
                // The store keeps nothing for longer either.
                kept.note_oldest(topic.newest() + 1);
            }
        }
        self.hub.expire();
        assert_eq!(self.hub.topics_len(), 0, "nobody needs a topic any more");
        assert_eq!(self.hub.log_bytes(), 0, "logs that are gone hold nothing");
    }
}

/// What messages are written as may be much longer than they are.
fn is_longer(format: Format) -> bool {
    format.is_push() || matches!(format, Format::EventStream | Format::EventStreams)
}
