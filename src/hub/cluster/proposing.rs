//! Messages that are proposed to the cluster, and who waits for what becomes of them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use foldhash::HashMap;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::outcome::{Accepted, Failure, Outcome};
use super::{Hub, Link, Origin, Proposal, Turn, lock};
use crate::hub::mailbox::Task;
use crate::hub::traces::Begun;
use crate::log::{Committed, Topic};
use crate::protocol::topic::TopicName;

/// Why a message cannot be proposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unproposed {
    #[error("as much is proposed to the cluster as may be (cluster.proposed_bytes_max)")]
    NoRoom,
    #[error("the message is larger than the cluster takes")]
    TooBig,
    #[error("there is no way to the cluster: the daemon was started without one")]
    NoLink,
}

/// Who waits for what becomes of a proposal.
#[derive(Debug)]
pub enum Waits {
    /// A core, for a connection that is not to hear it.
    Own(usize),
    /// A core, for a connection that is to be told.
    Reply(usize),
    /// Somebody outside of the cores, and whether for where it lies in the log as well.
    Outside(oneshot::Sender<Outcome>, Option<oneshot::Sender<Committed>>),
}

/// What is proposed.
#[derive(Debug, Clone)]
pub struct Draft {
    pub text: bool,
    pub payload: Bytes,
    /// See [`Proposal::extras`].
    pub extras: Vec<u8>,
    /// See [`Proposal::publisher`].
    pub publisher: u64,
    pub key: Option<(String, String)>,
    /// See [`Proposal::origin`].
    pub origin: Option<Origin>,
    /// Its trace, and the protocol that it came by.
    pub trace: Option<(Begun, &'static str)>,
}

/// A connection's proposal on its way to another process, which proposes it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedProposal {
    topic: String,
    id: u128,
    text: bool,
    payload: Vec<u8>,
    extras: Vec<u8>,
    /// The command that is to be answered.
    pub reply: Option<u32>,
    /// A later message of the same publisher is stored: this one would come too late.
    overtaken: bool,
}

impl SavedProposal {
    /// One with something in every field.
    #[cfg(test)]
    pub(crate) fn sample() -> Self {
        SavedProposal {
            topic: "t".into(),
            id: 31,
            text: true,
            payload: vec![32],
            extras: vec![33],
            reply: Some(34),
            overtaken: true,
        }
    }
}

/// A proposal that is under way.
#[derive(Debug)]
struct UnderWay {
    topic: Arc<Topic>,
    proposal: Proposal,
    waits: Waits,
    /// Since when it is stored, but not heard.
    stored: Option<Instant>,
    heard: bool,
}

/// One that is heard.
#[derive(Clone, Copy)]
pub(super) struct Own {
    pub(super) ticket: u64,
    /// The core that is to step over it.
    pub(super) core: Option<usize>,
    /// Somebody waits for where it lies, or for it alone.
    pub(super) is_awaited: bool,
}

/// All that are under way.
#[derive(Debug, Default)]
pub(super) struct Tickets(HashMap<u64, UnderWay>);

/// What a proposal counts beside its bytes.
const COST: u64 = 512;

fn cost(proposal: &Proposal) -> u64 {
    proposal.payload.len() as u64 + proposal.extras.len() as u64 + COST
}

impl Hub {
    /// Proposes a message to the cluster. Returns the ticket that names it.
    ///
    /// # Errors
    /// See [`Unproposed`].
    pub fn propose(
        &self,
        topic: &Arc<Topic>,
        draft: Draft,
        waits: Waits,
    ) -> Result<u64, Unproposed> {
        let link = self.cluster.link().ok_or(Unproposed::NoLink)?;
        if self.cluster.holds.load(Ordering::Acquire) {
            return Err(Unproposed::NoRoom);
        }
        let ticket = self.cluster.number();
        let proposal = Proposal {
            ticket,
            topic: topic.name().clone(),
            publisher: draft.publisher,
            // Random, as another process may have to propose it again.
            id: draft.key.is_none().then(|| fastrand::u128(..)),
            key: draft.key,
            text: draft.text,
            payload: draft.payload,
            extras: draft.extras,
            origin: draft.origin,
        };
        // Before it is proposed: the answer may come at once.
        self.enter(topic, &proposal, waits);
        if let Some(trace) = draft.trace {
            self.traces.note_proposed(ticket, trace);
        }
        let proposed = link.propose(proposal);
        if proposed.is_err() {
            let under_way = lock(&self.cluster.tickets).0.remove(&ticket);
            let under_way = under_way.expect("nobody else takes it");
            let kept = topic.kept().expect("it is shared");
            kept.note_decided(cost(&under_way.proposal));
        }
        proposed.map(|()| ticket)
    }

    /// The cluster has decided on a proposal.
    pub fn settle(&self, turn: &mut Turn<'_>, ticket: u64, outcome: Outcome) {
        let mut tickets = lock(&self.cluster.tickets);
        let Some(under_way) = tickets.0.get_mut(&ticket) else {
            return;
        };
        if under_way.stored.is_some() {
            return;
        }
        let figures = &self.cluster_figures;
        match &outcome {
            Ok(_) => figures.stored.fetch_add(1, Ordering::Relaxed),
            Err(_) => figures.failed.fetch_add(1, Ordering::Relaxed),
        };
        let topic = under_way.topic.clone();
        let kept = topic.kept().expect("it is shared");
        kept.note_decided(cost(&under_way.proposal));
        // What is there since an earlier try may have been heard before this one.
        let comes = |accepted: &Accepted| !accepted.duplicate || accepted.offset > topic.newest();
        let will_be_heard = outcome.as_ref().is_ok_and(comes)
            && !under_way.heard
            && matches!(under_way.waits, Waits::Own(_) | Waits::Outside(_, Some(_)));
        if will_be_heard {
            under_way.stored = Some(Instant::now());
            if let Waits::Outside(told, _) = &mut under_way.waits {
                // The sender can be used once; what is heard comes by the other.
                let (unused, _) = oneshot::channel();
                let _ = std::mem::replace(told, unused).send(outcome);
            }
        } else {
            let under_way = tickets.0.remove(&ticket).expect("it is there");
            match under_way.waits {
                Waits::Own(core) | Waits::Reply(core) => {
                    turn.give(core, Task::Settled(ticket, outcome));
                }
                // Who asked may have gone.
                Waits::Outside(told, _) => _ = told.send(outcome),
            }
        }
        drop(tickets);
        if topic.waiting.is_set() {
            turn.wake_publishers(&topic);
        }
    }

    /// A message of ours is about to be written into its log.
    pub(super) fn note_heard(&self, ticket: u64) -> Option<Own> {
        let mut tickets = lock(&self.cluster.tickets);
        let under_way = tickets.0.get_mut(&ticket)?;
        under_way.heard = true;
        let core = match under_way.waits {
            Waits::Own(core) => Some(core),
            _ => None,
        };
        let is_awaited =
            under_way.stored.is_some() || matches!(under_way.waits, Waits::Outside(_, Some(_)));
        Some(Own {
            ticket,
            core,
            is_awaited,
        })
    }

    /// It could not be written.
    pub(super) fn unnote_heard(&self, ticket: u64) {
        if let Some(under_way) = lock(&self.cluster.tickets).0.get_mut(&ticket) {
            under_way.heard = false;
        }
    }

    /// It has been written.
    pub(super) fn finish_heard(&self, turn: &mut Turn<'_>, ticket: u64, committed: Committed) {
        let mut tickets = lock(&self.cluster.tickets);
        let Some(under_way) = tickets.0.get_mut(&ticket) else {
            return;
        };
        if let Waits::Outside(_, heard) = &mut under_way.waits
            && let Some(heard) = heard.take()
        {
            let _ = heard.send(committed);
        }
        if under_way.stored.is_some() {
            let under_way = tickets.0.remove(&ticket).expect("it is there");
            if let Waits::Own(core) = under_way.waits {
                turn.give(core, Task::Forget(ticket));
            }
        }
    }

    /// Forgets what was stored longer ago than `time` and is not heard: its topic may be followed
    /// no more.
    pub fn forget_unheard(&self, time: Duration) {
        let mut tickets = lock(&self.cluster.tickets);
        let is_late =
            |under_way: &UnderWay| under_way.stored.is_some_and(|since| since.elapsed() > time);
        let late = tickets.0.extract_if(|_, under_way| is_late(under_way));
        for (ticket, under_way) in late {
            if let Waits::Own(core) = under_way.waits {
                self.cores[core].forget_ticket(ticket);
            }
        }
    }

    /// Waits until nothing is under way, as long as `time` at most.
    pub fn wait_for_proposals(&self, time: Duration) {
        let end = Instant::now() + time;
        let is_under_way = || !lock(&self.cluster.tickets).0.is_empty();
        while is_under_way() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Nothing has been decided on any of these tickets. Of others a core is told, though perhaps
    /// a little later.
    pub fn are_under_way(&self, mut tickets: impl Iterator<Item = u64>) -> bool {
        let all = lock(&self.cluster.tickets);
        tickets.all(|ticket| all.0.contains_key(&ticket))
    }

    /// Writes proposals down, for another process to propose them again. Those that are heard
    /// and need no answer are left out. Of each is said which command wants an answer, and
    /// whether a later one of the same publisher to the same topic is stored.
    pub fn save_proposals(&self, tickets: &[(u64, Option<u32>, bool)]) -> Vec<SavedProposal> {
        let all = lock(&self.cluster.tickets);
        let save = |(ticket, reply, is_overtaken): &(u64, Option<u32>, bool)| {
            let under_way = all.0.get(ticket)?;
            let (is_stored, heard) = (under_way.stored.is_some(), under_way.heard);
            if heard && (is_stored || reply.is_none()) {
                return None;
            }
            let proposal = &under_way.proposal;
            Some(SavedProposal {
                topic: proposal.topic.to_string(),
                id: proposal.id.unwrap_or_default(),
                text: proposal.text,
                payload: proposal.payload.to_vec(),
                extras: proposal.extras.clone(),
                reply: *reply,
                overtaken: *is_overtaken && !heard && !is_stored,
            })
        };
        tickets.iter().filter_map(save).collect()
    }

    /// Takes up what another process has proposed, to be proposed again as soon as there is a
    /// way to the cluster, by a publisher and an origin. Returns its ticket, and its topic's number.
    ///
    /// # Errors
    /// When it makes no sense.
    pub fn carry(
        &self,
        saved: SavedProposal,
        (publisher, origin): (u64, Option<Origin>),
        waits: Waits,
    ) -> Result<(u64, u64), String> {
        let topic = TopicName::new(&saved.topic).map_err(|error| error.to_string())?;
        let topic = self.topic(&topic).map_err(|error| error.to_string())?;
        if !topic.is_shared() {
            return Err(format!("nothing is proposed to topic {}", topic.name()));
        }
        let proposal = Proposal {
            ticket: self.cluster.number(),
            topic: topic.name().clone(),
            publisher,
            id: Some(saved.id),
            key: None,
            text: saved.text,
            payload: saved.payload.into(),
            extras: saved.extras,
            origin,
        };
        let ticket = proposal.ticket;
        self.enter(&topic, &proposal, waits);
        lock(&self.cluster.carried).push((proposal, saved.overtaken));
        Ok((ticket, topic.id()))
    }

    /// Proposes again what was carried, in its order.
    pub(super) fn propose_carried(&self, link: &dyn Link) {
        let mut turn = self.turn();
        for (proposal, overtaken) in std::mem::take(&mut *lock(&self.cluster.carried)) {
            let ticket = proposal.ticket;
            let proposed = match overtaken {
                false => link.propose(proposal).map_err(|error| error.to_string()),
                true => Err("a later message of the same publisher is stored".into()),
            };
            if let Err(sentence) = proposed {
                self.settle(&mut turn, ticket, Err(Failure::NotStored(sentence)));
            }
        }
    }

    /// A proposal is under way from now on.
    fn enter(&self, topic: &Arc<Topic>, proposal: &Proposal, waits: Waits) {
        let kept = topic.kept().expect("it is shared");
        kept.note_proposed(cost(proposal));
        let under_way = UnderWay {
            topic: topic.clone(),
            proposal: proposal.clone(),
            waits,
            stored: None,
            heard: false,
        };
        lock(&self.cluster.tickets)
            .0
            .insert(proposal.ticket, under_way);
    }
}
