//! A cluster in memory that plays the servers which decide on topics' messages: they store
//! what is proposed late and in an order of their own, tell what they have stored later still,
//! answer before or after that, refuse some of it, and know what is proposed once more.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use fanfare::hub::{
    Accepted, Answers, Archive, At, Failure, Heard, Hub, Link, Outcome, PageEnds, Proposal,
    Unproposed, Unreadable,
};
use fanfare::protocol::encoding::{Extras, Message};
use fastrand::Rng;
use tokio::sync::oneshot;

use crate::world::World;

/// Messages of a page of history.
const PAGE_MESSAGES: usize = 20;
/// Proposals that may wait.
const WAITING_MAX: usize = 40;

#[derive(Default)]
struct Inner {
    /// In the order in which they came.
    waiting: Vec<Proposal>,
    topics: BTreeMap<Arc<str>, Topic>,
    stored: HashMap<u128, u64>,
    /// Who has proposed what last.
    tickets: HashMap<u128, u64>,
    /// Publishers of whom something was refused: what comes behind it is refused as well.
    refused: HashSet<u64>,
    /// What is to be told to those who have proposed, and by whom it was.
    answers: Vec<(u64, u64, Outcome)>,
    /// Topics that the daemon at present has asked for, and what it is to hear next.
    followed: BTreeMap<Arc<str>, usize>,
    /// Topics of which it has asked anew, and has not been told where they stand.
    asked: Vec<(Arc<str>, Option<u64>)>,
    /// There was no room for a proposal.
    was_full: bool,
    /// Another daemon proposes anew what the one before had proposed: for that there is room.
    is_opening: bool,
}

#[derive(Default)]
struct Topic {
    epoch: u64,
    messages: Vec<Stored>,
}

struct Stored {
    offset: u64,
    time_ms: u64,
    proposal: Proposal,
}

/// The servers, as the daemon's hub and its archive see them.
#[derive(Default)]
pub(crate) struct Cluster(Mutex<Inner>);

impl Cluster {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    /// The daemon is linked to these servers from now on, in place of another one.
    pub(crate) fn open(self: &Arc<Self>, hub: &Hub) {
        let mut inner = self.lock();
        inner.followed.clear();
        inner.asked.clear();
        // What the one before had proposed is its successor's.
        inner.waiting.clear();
        inner.answers.clear();
        inner.tickets.clear();
        // Its numbers of publishers are others.
        inner.refused.clear();
        inner.is_opening = true;
        drop(inner);
        hub.read_at_once();
        hub.link(self.clone(), self.clone());
        self.lock().is_opening = false;
    }
}

impl Inner {
    /// Stores one of the proposals, unless one before it is to be stored first.
    fn store(&mut self, rng: &mut Rng, now_ms: u64) -> bool {
        if self.waiting.is_empty() {
            return false;
        }
        let proposal = self.first_of_lane(rng);
        if self.refused.contains(&proposal.publisher) {
            self.refuse_one(&proposal);
            return true;
        }
        let id = proposal.id.expect("connections have no keys");
        let (publisher, ticket) = (proposal.publisher, proposal.ticket);
        let topic = self
            .topics
            .get_mut(&proposal.topic)
            .expect("it was asked for");
        let known = self.stored.get(&id).copied();
        let next = topic.messages.len() as u64 + 1;
        let accepted = Accepted {
            offset: known.unwrap_or(next),
            epoch: topic.epoch,
            duplicate: known.is_some(),
        };
        if known.is_none() {
            self.stored.insert(id, next);
            topic.messages.push(Stored {
                offset: next,
                time_ms: now_ms,
                proposal,
            });
        }
        self.answers.push((publisher, ticket, Ok(accepted)));
        true
    }

    /// Refuses one of the proposals, and all behind it of the same publisher: they could not
    /// keep their order.
    fn refuse(&mut self, rng: &mut Rng) -> bool {
        if self.waiting.is_empty() {
            return false;
        }
        let first = self.first_of_lane(rng);
        self.refused.insert(first.publisher);
        self.refuse_one(&first);
        true
    }

    fn refuse_one(&mut self, proposal: &Proposal) {
        let known = proposal.id.and_then(|id| self.stored.get(&id).copied());
        if let Some(offset) = known {
            // It was stored before, for another process.
            let epoch = self.topics[&proposal.topic].epoch;
            let accepted = Accepted {
                offset,
                epoch,
                duplicate: true,
            };
            let answer = (proposal.publisher, proposal.ticket, Ok(accepted));
            return self.answers.push(answer);
        }
        let why = Failure::NotStored("it is played so".into());
        self.answers
            .push((proposal.publisher, proposal.ticket, Err(why)));
    }

    fn first_of_lane(&mut self, rng: &mut Rng) -> Proposal {
        let some = &self.waiting[rng.usize(..self.waiting.len())];
        let lane = (some.publisher, some.topic.clone());
        let mut waiting = self.waiting.iter();
        let first = waiting.position(|of| (of.publisher, &of.topic) == (lane.0, &lane.1));
        self.waiting.remove(first.expect("it is there"))
    }
}

impl Link for Cluster {
    fn propose(&self, proposal: Proposal) -> Result<(), Unproposed> {
        let mut inner = self.lock();
        if inner.waiting.len() >= WAITING_MAX && !inner.is_opening {
            inner.was_full = true;
            return Err(Unproposed::NoRoom);
        }
        if let Some(id) = proposal.id {
            inner.tickets.insert(id, proposal.ticket);
        }
        inner.waiting.push(proposal);
        Ok(())
    }

    fn follow(&self, topic: &Arc<str>, since: Option<u64>) {
        let mut inner = self.lock();
        let entry = inner.topics.entry(topic.clone()).or_default();
        if entry.epoch == 0 {
            entry.epoch = fastrand::u64(1..);
        }
        inner.followed.remove(topic);
        inner.asked.push((topic.clone(), since));
    }

    fn unfollow(&self, topic: &Arc<str>) {
        let mut inner = self.lock();
        inner.followed.remove(topic);
        inner.asked.retain(|(asked, _)| asked != topic);
    }

    fn present(&self, _: &Arc<str>, _: u128, _: Option<Vec<u8>>) {}

    fn ask(&self, _: Vec<u8>, told: oneshot::Sender<Answers>) {
        let _ = told.send(Answers::default());
    }
}

impl Archive for Cluster {
    fn page(
        &self,
        topic: &str,
        epoch: u64,
        at: At,
        show: &mut dyn FnMut(&Message<'_>),
    ) -> Result<Option<PageEnds>, Unreadable> {
        let inner = self.lock();
        let stored = &inner.topics[topic];
        assert_eq!(stored.epoch, epoch);
        let len = stored.messages.len();
        let (from, until) = match at {
            At::Holding(offset) => {
                let from = (offset.max(1) as usize - 1).min(len);
                (from, (from + PAGE_MESSAGES).min(len))
            }
            At::Before(offset) => {
                let until = (offset.max(1) as usize - 1).min(len);
                (until.saturating_sub(PAGE_MESSAGES), until)
            }
        };
        if from == until {
            return Ok(None);
        }
        for of in &stored.messages[from..until] {
            show(&Message {
                topic,
                epoch,
                offset: of.offset,
                time_ms: of.time_ms,
                text: of.proposal.text,
                payload: &of.proposal.payload,
                extras: Extras::decode(&of.proposal.extras),
            });
        }
        Ok(Some((from as u64 + 1, until as u64 + 1)))
    }
}

impl World {
    /// Nothing may be proposed for a while.
    pub(crate) fn note_cluster_full(&self) {
        if let Some((cluster, _)) = &self.cluster {
            cluster.lock().was_full = true;
        }
    }

    /// There was no room for something that was proposed.
    pub(crate) fn was_cluster_full(&self) -> bool {
        let cluster = self.cluster.as_ref();
        cluster.is_some_and(|(cluster, _)| cluster.lock().was_full)
    }

    /// The servers do something, perhaps.
    pub(crate) fn step_cluster(&mut self) {
        let Some((cluster, rng)) = &mut self.cluster else {
            return;
        };
        let cluster = cluster.clone();
        let (roll, refuses) = (rng.u8(..), self.plan.refusing);
        let mut rng = rng.fork();
        match roll {
            0..=79 => _ = cluster.lock().store(&mut rng, self.now()),
            80 if refuses => _ = cluster.lock().refuse(&mut rng),
            81..=159 => _ = self.hear_one(&cluster, &mut rng),
            160..=200 => _ = self.answer_one(&cluster, &mut rng),
            201..=203 => self.hub.look_for_room(),
            // What is heard later is known by its origin alone.
            204..=206 => self.hub.forget_unheard(Duration::ZERO),
            _ => {}
        }
        self.begin_asked(&cluster);
        self.look();
    }

    /// The servers do all that there is to do. True if there was something.
    pub(crate) fn run_cluster(&mut self) -> bool {
        let Some((cluster, rng)) = &mut self.cluster else {
            return false;
        };
        let (cluster, mut rng) = (cluster.clone(), rng.fork());
        let mut moved = false;
        self.begin_asked(&cluster);
        while cluster.lock().store(&mut rng, self.now()) {
            moved = true;
        }
        while self.hear_one(&cluster, &mut rng) || self.answer_one(&cluster, &mut rng) {
            moved = true;
        }
        if self.hub.cluster().set_aside_len() > 0 {
            self.hub.look_for_room();
            moved |= self.begin_asked(&cluster);
        }
        self.look();
        moved
    }

    /// Says where the topics stand that have been asked for.
    pub(crate) fn begin_asked(&self, cluster: &Cluster) -> bool {
        let asked = std::mem::take(&mut cluster.lock().asked);
        let any = !asked.is_empty();
        for (name, since) in asked {
            let mut inner = cluster.lock();
            let topic = &inner.topics[&name];
            let (newest, epoch) = (topic.messages.len() as u64, topic.epoch);
            let last = since.unwrap_or(newest);
            inner.followed.insert(name.clone(), last as usize);
            drop(inner);
            self.hub.following(&name, last, epoch);
            self.hub.open_topic(&name, 1);
        }
        any
    }

    fn hear_one(&self, cluster: &Cluster, rng: &mut Rng) -> bool {
        let inner = cluster.lock();
        let behind = inner.followed.iter();
        let behind: Vec<_> = behind
            .filter(|(name, next)| **next < inner.topics[*name].messages.len())
            .map(|(name, next)| (name.clone(), *next))
            .collect();
        if behind.is_empty() {
            return false;
        }
        let (name, next) = &behind[rng.usize(..behind.len())];
        let of = &inner.topics[name].messages[*next];
        let (offset, time_ms, proposal) = (of.offset, of.time_ms, of.proposal.clone());
        let ticket = proposal.id.and_then(|id| inner.tickets.get(&id).copied());
        drop(inner);
        cluster.lock().followed.insert(name.clone(), next + 1);
        self.hub.commit(
            &mut self.hub.turn(),
            &Heard {
                topic: name,
                offset,
                time_ms,
                text: proposal.text,
                payload: &proposal.payload,
                extras: Extras::decode(&proposal.extras),
                ticket,
                origin: proposal.origin,
            },
        );
        true
    }

    fn answer_one(&self, cluster: &Cluster, rng: &mut Rng) -> bool {
        let mut inner = cluster.lock();
        if inner.answers.is_empty() {
            return false;
        }
        // Those to one publisher come in their order.
        let (publisher, ..) = inner.answers[rng.usize(..inner.answers.len())];
        let mut all = inner.answers.iter();
        let at = all
            .position(|(of, ..)| *of == publisher)
            .expect("it is there");
        let (_, ticket, outcome) = inner.answers.remove(at);
        drop(inner);
        self.hub.settle(&mut self.hub.turn(), ticket, outcome);
        true
    }
}
