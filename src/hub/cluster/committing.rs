//! What comes from the cluster: into the logs, in the order in which it comes. Called by the
//! one thread that hears it.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::proposing::Own;
use super::{Hub, Origin, Turn, lock};
use crate::hub::codec::Codec;
use crate::hub::mailbox::Mark;
use crate::log::{AppendError, Committed, Draft, Lack, Topic};
use crate::protocol::encoding::Extras;

/// A message that the cluster has stored.
#[derive(Debug, Clone, Copy)]
pub struct Heard<'a> {
    pub topic: &'a str,
    pub offset: u64,
    /// When it was stored, in Unix milliseconds.
    pub time_ms: u64,
    pub text: bool,
    pub payload: &'a [u8],
    pub extras: Option<Extras<'a>>,
    /// Of the proposal that it is, if it was made here.
    pub ticket: Option<u64>,
    /// The connection that is not to hear it, as a node says.
    pub origin: Option<Origin>,
}

impl Hub {
    /// The cluster says where a topic stands: the message behind `last` comes next. Who reads
    /// it for the first time waits for [`Hub::open_topic`].
    pub fn following(&self, name: &str, last: u64, epoch: u64) {
        let Some(topic) = self.shared_topic(name) else {
            return;
        };
        self.cluster.take_up(name);
        if !topic.has_begun() {
            topic.begin(epoch, last + 1);
        } else if topic.epoch() != epoch {
            self.end_topic(&topic);
        } else if last > topic.newest() {
            // What lies between will not come.
            self.missing(name, topic.newest() + 1, last);
        }
    }

    /// The cluster says that it has no message of a topic before `oldest`, or none that is to
    /// be had by the topic's rule.
    pub fn open_topic(&self, name: &str, oldest: u64) {
        let topic = self.shared_topic(name);
        if let Some(topic) = topic.filter(|topic| topic.has_begun()) {
            let was_known = topic.is_known();
            topic.open(oldest);
            if !was_known {
                self.cluster.known.send_modify(|count| *count += 1);
                self.wake_all();
            }
        }
    }

    /// Writes a message into its topic's log. What it comes too early or too late for is let
    /// go of: the topic is not followed, or has it.
    pub fn commit(&self, turn: &mut Turn<'_>, heard: &Heard<'_>) {
        let Some(topic) = self.shared_topic(heard.topic) else {
            return;
        };
        // Held to the end, see `rest_cluster`.
        let mut codec = lock(&self.cluster.codec);
        let is_late = heard.offset <= topic.newest() || !topic.has_begun();
        if is_late || self.cluster.is_aside(heard.topic) || self.is_frozen() {
            return;
        }
        if heard.payload.len() > self.settings().message_bytes_max {
            let (offset, bytes) = (heard.offset, heard.payload.len());
            tracing::warn!(
                topic = heard.topic,
                offset,
                bytes,
                "a message in the cluster is longer than message_bytes_max, and left out"
            );
            return self.missing(heard.topic, offset, offset);
        }
        match self.append(turn, &topic, heard, &mut codec) {
            Ok(()) => {
                self.cluster_figures
                    .committed
                    .fetch_add(1, Ordering::Relaxed);
                turn.announce(&topic);
            }
            Err(AppendError::Payload(never)) => match never {},
            Err(AppendError::ExtrasTooBig) => {
                let offset = heard.offset;
                tracing::warn!(
                    topic = heard.topic,
                    offset,
                    "a message in the cluster says too much about itself, and is left out"
                );
                self.missing(heard.topic, offset, offset);
            }
            Err(AppendError::LogFull(lack)) => {
                self.relief.ask(Some(topic.id()), self);
                self.stall(&topic, lack);
            }
            Err(AppendError::TotalFull(lack)) => {
                self.relief.ask(None, self);
                self.stall(&topic, lack);
            }
            Err(AppendError::NoMemory(lack)) => self.stall(&topic, lack),
        }
    }

    fn append(
        &self,
        turn: &mut Turn<'_>,
        topic: &Arc<Topic>,
        heard: &Heard<'_>,
        codec: &mut Codec,
    ) -> Result<(), AppendError<Infallible>> {
        let draft = Draft {
            text: heard.text,
            len: heard.payload.len(),
            now_ms: heard.time_ms,
            offset: Some(heard.offset),
            extras: heard.extras,
        };
        let own = heard.ticket.and_then(|ticket| self.note_heard(ticket));
        let formats = topic.formats();
        codec.prepare(formats, heard.text, heard.payload, self.effort());
        let mut commit = || {
            topic.commit(
                &draft,
                self.retention(topic),
                &mut codec.prepared(),
                |room| {
                    room.copy_from_slice(heard.payload);
                    Ok(())
                },
                |committed| self.mark_own((topic, heard), own, committed),
            )
        };
        let committed = match commit() {
            Err(AppendError::TotalFull(_)) if self.make_room() => commit(),
            committed => committed,
        };
        self.encoded
            .fetch_add(codec.take_encoded(), Ordering::Relaxed);
        if let (Ok(committed), Some(ticket)) = (&committed, heard.ticket)
            && let Some((begun, via)) = self.traces.take_proposed(ticket)
        {
            self.trace_message(begun, via, (topic, heard.payload.len()), committed);
        }
        match (committed, own) {
            (Ok(committed), Some(own)) if own.is_awaited => {
                self.finish_heard(turn, own.ticket, committed);
            }
            (Ok(_), _) => {}
            (Err(error), own) => {
                own.inspect(|own| self.unnote_heard(own.ticket));
                return Err(error);
            }
        }
        Ok(())
    }

    /// A message is about to be found in the log: who published it is to step over it. Where
    /// nothing is known here of its proposal, its origin says who that is.
    fn mark_own(
        &self,
        (topic, heard): (&Arc<Topic>, &Heard<'_>),
        own: Option<Own>,
        committed: &Committed,
    ) {
        if let Some(own) = own
            && let Some(core) = own.core
        {
            let ticket = own.ticket;
            let committed = committed.clone();
            return self.cores[core].mark(Mark::Own { ticket, committed });
        }
        if let Some(origin) = heard.origin {
            self.mark_from(topic, origin, committed);
        }
    }

    /// A message is about to be found in the log that the connection with this origin is to
    /// step over, if it is here.
    pub(in crate::hub) fn mark_from(
        &self,
        topic: &Arc<Topic>,
        origin: Origin,
        committed: &Committed,
    ) {
        if !self.cluster.homes().contains(&origin.node) {
            return;
        }
        // Connections go from core to core in a handover, so that each looks for it.
        for mailbox in &self.cores {
            mailbox.mark(Mark::From {
                origin,
                topic: topic.clone(),
                committed: committed.clone(),
            });
        }
    }

    /// There is no room for what comes: the topic is let go of until there is. What it misses
    /// meanwhile is fetched then.
    fn stall(&self, topic: &Arc<Topic>, lack: Lack) {
        self.cluster_figures.stalls.fetch_add(1, Ordering::Relaxed);
        self.cluster.set_aside(topic.name(), Some(lack));
        if let Some(link) = self.cluster.link() {
            link.unfollow(topic.name());
        }
    }

    /// Goes on with the topics that there is room for again.
    pub fn look_for_room(&self) {
        let aside = lock(&self.cluster.set_aside);
        let waiting = aside
            .iter()
            .filter_map(|(name, lack)| Some((name, (*lack)?)));
        let waiting: Vec<_> = waiting.map(|(name, lack)| (name.clone(), lack)).collect();
        drop(aside);
        for (name, lack) in waiting {
            let Some(topic) = self.shared_topic(&name) else {
                self.cluster.take_up(&name);
                continue;
            };
            let bounds = self.retention(&topic).bounds;
            match topic.reserve::<Infallible>(&lack, &bounds) {
                Ok(()) => self.follow_anew(&topic),
                Err(AppendError::LogFull(_)) => self.relief.ask(Some(topic.id()), self),
                Err(_) => {
                    self.make_room();
                    self.relief.ask(None, self);
                }
            }
        }
    }

    /// Messages with these offsets may have been there, and are gone. All who read the topic
    /// are told between what lies before and behind.
    pub fn missing(&self, name: &str, from: u64, to: u64) {
        let Some(topic) = self.shared_topic(name) else {
            return;
        };
        if !topic.has_begun()
            || to <= topic.newest()
            || self.is_frozen()
            || self.cluster.is_aside(name)
        {
            return;
        }
        let from = from.max(topic.newest() + 1);
        self.cluster_figures.gaps.fetch_add(1, Ordering::Relaxed);
        topic.kept().expect("it is shared").note_gap(from, to);
        let at = topic.end();
        for mailbox in &self.cores {
            let topic = topic.clone();
            mailbox.mark(Mark::Gap {
                topic,
                at,
                from,
                to,
            });
        }
        // Even if nothing comes behind it for long.
        self.announce(&topic, None);
    }

    /// The topic of that name, if the cluster decides on its messages.
    pub(super) fn shared_topic(&self, name: &str) -> Option<Arc<Topic>> {
        self.find_topic(name).filter(|topic| topic.is_shared())
    }

    /// Proposes nothing more, and waits until what is proposed has been decided on, as long as
    /// `time` at most.
    pub fn hold_proposals(&self, time: Duration) {
        self.cluster.holds.store(true, Ordering::Release);
        self.wait_for_proposals(time);
    }

    /// From here on nothing is written into logs any more, as the hub is frozen.
    pub fn rest_cluster(&self) {
        drop(lock(&self.cluster.codec));
    }

    /// A handover has failed: topics are taken up again that were let go of meanwhile.
    pub fn resume_cluster(&self) {
        self.cluster.holds.store(false, Ordering::Release);
        if !self.cluster.is_linked() {
            return;
        }
        for topic in self.all_topics() {
            if topic.is_shared() && topic.has_begun() {
                self.follow_anew(&topic);
            }
        }
    }
}
