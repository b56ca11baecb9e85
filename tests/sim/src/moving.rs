//! The daemon hands over: its cores come to rest, are written down and taken up
//! by the cores of another daemon on the same sockets, or go on themselves.

use std::ops::Range;
use std::sync::Arc;

use fanfare::core::{SavedCore, SavedLink};
use fanfare::handover::{Secrets, State, Topics, write_down};
use fanfare::hub::Hub;

use crate::ring::Handle;
use crate::world::{CoreRun, World, new_hub};

/// Rounds in which cores come to rest whatever their peers do.
const ROUNDS_MAX: usize = 2_000;

impl World {
    /// Hands everything to a new daemon, unless one of many things goes wrong:
    /// then all goes on as it was.
    pub(crate) fn hand_over(&mut self) {
        if self.cores.iter().any(|core| core.drained.is_some()) {
            // A daemon that stops hands nothing over.
            return;
        }
        self.say(|| "the daemon comes to rest".into());
        let handed_over = match self.come_to_rest() {
            Some(saved) if self.rng.u8(..) < 200 => self.succeed(saved),
            _ => Err("given up".into()),
        };
        if let Err(why) = handed_over {
            self.say(|| format!("the old daemon goes on: {why}"));
            self.hub.arenas().own();
            self.hub.set_frozen(false);
            self.hub.resume_cluster();
            for core in &mut self.cores {
                core.reactor.thaw();
                core.awake = true;
            }
            self.open_doors();
        }
    }

    /// Freezes all cores, one after the other, and writes each down as soon as
    /// it is still. The others go on meanwhile, and so do the clients.
    fn come_to_rest(&mut self) -> Option<Vec<SavedCore>> {
        // Some of it is carried, where the cluster takes its time.
        self.hub.hold_proposals(std::time::Duration::ZERO);
        self.note_cluster_full();
        self.hub.set_frozen(true);
        for core in &mut self.cores {
            core.reactor.close_doors();
        }
        let count = self.cores.len();
        let mut to_freeze: Vec<usize> = (0..count).collect();
        self.rng.shuffle(&mut to_freeze);
        let mut saved: Vec<Option<SavedCore>> = (0..count).map(|_| None).collect();
        // Given up at some time, or waited for.
        let patience = [self.rng.usize(..10), ROUNDS_MAX][self.rng.usize(..2)];
        for _ in 0..patience {
            if self.rng.bool()
                && let Some(core) = to_freeze.pop()
            {
                self.cores[core].reactor.freeze();
            }
            match self.rng.u8(..) {
                0..=80 => {
                    self.step_client();
                    self.step_sessions();
                    self.step_readers();
                }
                81..=90 => self.pass_time(),
                _ => {}
            }
            for (core, saved) in saved.iter_mut().enumerate() {
                let side = self.cores[core].side;
                self.kernel.borrow_mut().progress(side, 200);
                self.turn(core);
                let reactor = &mut self.cores[core].reactor;
                if saved.is_none() && reactor.is_frozen() && reactor.is_still() {
                    *saved = Some(reactor.save());
                }
            }
            if saved.iter().all(Option::is_some) {
                self.run_scribe();
                return saved.into_iter().collect();
            }
        }
        for (core, run) in self.cores.iter().enumerate() {
            let kernel = self.kernel.borrow();
            assert!(
                patience < ROUNDS_MAX || saved[core].is_some(),
                "core {core} does not hold still: {}",
                kernel.describe_core(run.side)
            );
        }
        None
    }

    /// Has a new daemon take everything up. If it fails, it has touched nothing.
    fn succeed(&mut self, mut saved: Vec<SavedCore>) -> Result<(), String> {
        let mut settings = self.plan.settings.clone();
        if self.rng.bool() {
            settings.cores = self.rng.usize(1..=3);
        }
        let secrets = Secrets::of(&self.hub, &mut saved);
        let (state, logs) = write_down(&self.hub, &saved).expect("there are descriptors");
        let state = State::decode(&state.encode()).expect("it is as it was written");
        let (hub, hub_ms) = new_hub(&mut self.rng, &settings, &self.now_ms);
        hub.arenas().inherit(logs).expect("they are from a log");
        for topic in &state.topics {
            hub.restore_topic(topic)
                .expect("what was saved makes sense");
        }
        for companion in &state.companions {
            hub.restore_companion(companion)
                .expect("what was saved makes sense");
        }
        if let Some((store, _)) = &self.store {
            store.open(&hub);
        }
        self.check_topics(&hub);
        let slots = [self.plan.slots, self.plan.slots + state.conns.len() as u32];
        let slots = slots[self.rng.usize(..2)];
        let first = self.kernel.borrow().sides();
        let cores = 0..settings.cores;
        let mut cores: Vec<_> = cores
            .map(|core| CoreRun::new(core, &hub, &self.kernel, slots))
            .collect();
        let sides = first..first + cores.len();
        let sockets = self.sockets(&saved);
        let mut outcome = seat(&hub, &mut cores, (state, secrets), &sockets);
        if self.rng.u8(..) < 60 {
            outcome = Err("the successor dies".into());
        }
        if outcome.is_err() {
            drop((cores, hub));
            self.kernel.borrow_mut().forget_process(sides);
            return outcome;
        }
        self.say(|| format!("a new daemon with {} cores takes over", cores.len()));
        self.look();
        self.count();
        self.count_sessions();
        let sides = self.cores.iter().map(|core| core.side);
        let old: Range<usize> = sides.clone().min().expect("a core")..first;
        self.cores = cores;
        (self.hub, self.hub_ms) = (hub, hub_ms);
        if let Some((cluster, _)) = &self.cluster {
            cluster.open(&self.hub);
            self.begin_asked(cluster);
        }
        self.hub.arenas().own();
        self.kernel.borrow_mut().end_process(old, &sockets);
        for client in &mut self.clients {
            let place = self.kernel.borrow().place(client.socket);
            let on = |side| self.cores.iter().position(|core| core.side == side);
            // Who was at the end already is on no core any more.
            client.core = place.and_then(|(side, _)| on(side)).unwrap_or(0);
        }
        for reader in &mut self.readers.list {
            let place = self.kernel.borrow().place(reader.socket);
            let on = |side| self.cores.iter().position(|core| core.side == side);
            reader.core = place.and_then(|(side, _)| on(side)).unwrap_or(0);
        }
        for subscriber in &mut self.subscribers.list {
            let place = self.kernel.borrow().place(subscriber.socket);
            let on = |side| self.cores.iter().position(|core| core.side == side);
            subscriber.core = place.and_then(|(side, _)| on(side)).unwrap_or(0);
        }
        for session in &mut self.sessions.list {
            let place = self.kernel.borrow().place(session.socket);
            let on = |side| self.cores.iter().position(|core| core.side == side);
            session.core = place.and_then(|(side, _)| on(side)).unwrap_or(0);
        }
        for truth in &mut self.truths {
            truth.watch = None;
            if let Some(topic) = self.hub.find_topic(&truth.name)
                && topic.epoch() == truth.epoch
            {
                truth.watch(topic);
            }
        }
        for core in &mut self.cores {
            core.reactor.thaw();
            core.reactor.start();
            core.awake = true;
        }
        self.add_doors();
        self.open_doors();
        self.outcome.handovers += 1;
        Ok(())
    }

    /// The sockets of all connections that were written down, in their order.
    fn sockets(&self, saved: &[SavedCore]) -> Vec<usize> {
        let kernel = self.kernel.borrow();
        let pairs = self.cores.iter().zip(saved);
        let sockets = pairs.flat_map(|(core, saved)| {
            let slots = saved.conns.iter().map(|(slot, _)| *slot);
            slots.map(|slot| kernel.socket(core.side, slot))
        });
        sockets.collect()
    }

    /// Every topic is there, with its history and the offset it had reached.
    fn check_topics(&self, hub: &Hub) {
        let topics = self.hub.all_topics();
        assert_eq!(topics.len(), hub.topics_len());
        for topic in topics {
            let now = hub.find_topic(topic.name()).expect("no topic is lost");
            assert_eq!(now.epoch(), topic.epoch());
            let was = topic.summary(self.hub.retention(&topic));
            let is = now.summary(hub.retention(&now));
            assert_eq!(is.offset, was.offset, "{}", topic.name());
            assert!(is.first_offset <= was.first_offset, "{was:?} {is:?}");
        }
    }
}

fn seat(
    hub: &Arc<Hub>,
    cores: &mut [CoreRun],
    (state, secrets): (State, Secrets),
    sockets: &[usize],
) -> Result<(), String> {
    let all = Topics::of_all(hub);
    let mut links = secrets.links.into_iter();
    for (conn, socket) in state.conns.into_iter().zip(sockets) {
        let topics = all.of(&conn);
        let core = conn.core as usize % cores.len();
        let link = conn.has_tls().then(|| links.next()).flatten();
        let reactor = &mut cores[core].reactor;
        if link.is_some() {
            // What is no link is refused, and nothing of the connection stays.
            let damaged: SavedLink = postcard::from_bytes(&[1, 0xFF]).expect("a byte");
            let before = (reactor.len(), hub.admission().connections());
            let (again, topics) = (conn.clone(), topics.clone());
            let refused = reactor.restore(&Handle(*socket), again, Some(damaged), topics);
            let why = refused.expect_err("it is damaged");
            assert!(why.starts_with("its keys are damaged"), "{why}");
            let after = (reactor.len(), hub.admission().connections());
            assert_eq!(after, before);
        }
        let restored = reactor.restore(&Handle(*socket), conn, link, topics);
        if let Err(why) = restored {
            let expected = ["cannot register", "more connections than slots"];
            assert!(expected.iter().any(|words| why.contains(words)), "{why}");
            return Err(why);
        }
    }
    Ok(())
}
