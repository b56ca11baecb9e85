//! Sessions: what clients ask for command by command, and how the core does it. What a
//! command means and how it is answered, the dialect knows.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use super::closing::How;
use super::lane::LANE_BYTES_MAX;
use super::publishing::plain;
use super::reactor::State;
use super::talk::Talk;
use crate::hub::{HistoryError, Numbers, Past};
use crate::log::{Range, Topic};
use crate::protocol::centrifugo::{Coding, Data, decode, encode_info, publication};
use crate::protocol::dialect::centrifugo::{
    self as dialect, Deed, Failure, Outcome, Page, Place, Session, Terms, Wish,
};
use crate::protocol::encoding::Extras;
use crate::protocol::reason::CloseReason;
use crate::protocol::rights::Action;
use crate::protocol::topic::TopicName;
use crate::protocol::ws::{Opcode, Payload};

impl State {
    /// A session begins with a connection whose dialect has one.
    pub(super) fn begin_session(&mut self, slot: u32) {
        if self.conns.at(slot).dialect.coding().is_some() {
            self.resume_session(slot, Session::new(fastrand::u128(..)));
        }
    }

    /// A session goes on that may have begun in another process.
    pub(super) fn resume_session(&mut self, slot: u32, session: Session) {
        let talk = Talk {
            info: Arc::new(session.info()),
            session,
            published_to: None,
            came_ms: self.patience_ms,
        };
        if !talk.session.is_connected() {
            self.strangers.push_back((slot, talk.came_ms));
        }
        self.talks.insert(slot, talk);
    }

    /// Closes those who have not said in time who they are.
    pub(super) fn close_stale(&mut self) {
        let patience_ms = self.hub.settings().handshake_ms_max;
        while let Some((slot, came_ms)) = self.strangers.front().copied()
            && self.patience_ms - came_ms >= patience_ms
        {
            self.strangers.pop_front();
            // The slot may be another one's by now.
            let is_stranger = |talk: &Talk| talk.came_ms == came_ms && !talk.session.is_connected();
            if self.talks.get(&slot).is_some_and(is_stranger) {
                self.close(slot, CloseReason::Stale, How::NextBoundary);
            }
        }
    }

    /// The topic whose cores a publisher must not be too far ahead of.
    pub(super) fn paced_topic(&self, slot: u32) -> Option<&Topic> {
        let conn = self.conns.look_at(slot);
        if conn.dialect.coding().is_some() {
            return self.talks.get(&slot)?.published_to.as_deref();
        }
        Some(&self.feeds.look_at(conn.sub.feed).topic)
    }

    /// Does what the commands in a message ask for, in their order. The answers go out
    /// together, ahead of all that the commands have begun.
    pub(super) fn converse(&mut self, slot: u32, payload: Payload<'_>) -> Result<(), CloseReason> {
        let coding = self.conns.at(slot).dialect.coding();
        let coding = coding.expect("its dialect has sessions");
        let requests = decode(coding, &plain(payload)).map_err(|_| CloseReason::BadRequest)?;
        let mut answers = Vec::new();
        for request in requests {
            let terms = self.terms(slot);
            let talk = self.talks.get_mut(&slot).expect("it has a session");
            match talk.session.handle(coding, request, &terms) {
                Ok(deed) => answers.extend_from_slice(&self.perform(slot, coding, deed)),
                Err(reason) => {
                    self.answer(slot, &answers)?;
                    return Err(reason);
                }
            }
        }
        self.answer(slot, &answers)
    }

    fn terms(&self, slot: u32) -> Terms {
        let settings = self.hub.settings();
        let first = self.conns.look_at(slot).sub.is_seated();
        let many = self.conns.look_at(slot).many();
        let further = many.map_or(0, |many| many.count - many.companions);
        Terms {
            ping: Duration::from_millis(settings.ping_ms()),
            topics_max: settings.topics_per_connection_max,
            topics: usize::from(first) + further as usize,
        }
    }

    /// Does one thing, and returns what is said to that.
    fn perform(&mut self, slot: u32, coding: Coding, deed: Deed) -> Vec<u8> {
        match deed {
            Deed::Nothing => Vec::new(),
            Deed::Say(bytes) => bytes,
            Deed::Subscribe(wish) => {
                let outcome = match self.fulfil(slot, &wish) {
                    Ok((outcome, topic)) => {
                        self.come(slot, &topic, wish.joins);
                        outcome
                    }
                    Err(failure) => Outcome::Failed(failure),
                };
                dialect::subscribed(coding, &wish, outcome)
            }
            Deed::Unsubscribe { id, topic } => {
                if let Some(topic) = self.hub.find_topic(topic.as_str())
                    && self.unsubscribe(slot, &topic)
                {
                    self.go(slot, &topic);
                }
                dialect::unsubscribed(coding, id)
            }
            Deed::Publish { id, topic, data } => match self.publish_to(slot, &topic, &data) {
                Ok(()) => dialect::published(coding, id),
                Err(failure) => dialect::failed(coding, id, failure),
            },
            Deed::History { id, topic, page } => match self.history(slot, &topic, &page) {
                Ok(past) => {
                    dialect::history(coding, id, past.epoch, past.offset, &past.publications)
                }
                Err(failure) => dialect::failed(coding, id, failure),
            },
            Deed::Presence { id, topic } => match self.members(slot, &topic) {
                Ok(list) => dialect::presence(coding, id, &list),
                Err(failure) => dialect::failed(coding, id, failure),
            },
            Deed::PresenceStats { id, topic } => match self.occupancy(slot, &topic) {
                Ok(Numbers { clients, users }) => {
                    dialect::presence_stats(coding, id, clients, users)
                }
                Err(failure) => dialect::failed(coding, id, failure),
            },
        }
    }

    fn answer(&mut self, slot: u32, answers: &[u8]) -> Result<(), CloseReason> {
        if answers.is_empty() {
            return Ok(());
        }
        let conn = self.conns.at(slot);
        let frame = conn.dialect.frame(answers);
        let lane = &mut conn.attend().lane;
        if lane.bytes() > LANE_BYTES_MAX {
            return Err(CloseReason::ControlFlood);
        }
        lane.push_shared(frame.into(), None);
        self.mark(slot);
        Ok(())
    }

    /// Subscribes a connection as it wishes, if that can be.
    fn fulfil(&mut self, slot: u32, wish: &Wish) -> Result<(Outcome, Arc<Topic>), Failure> {
        self.allow(slot, Action::Subscribe, &wish.topic)?;
        if wish.recover.is_some() {
            self.allow(slot, Action::History, &wish.topic)?;
        }
        let topic = self.hub.topic(&wish.topic).map_err(|_| Failure::Full)?;
        if self.follows(slot, &topic) {
            return Err(Failure::AlreadySubscribed);
        }
        if let Some(outcome) = self.recover(slot, &topic, wish) {
            return Ok((outcome, topic));
        }
        if wish.whole_or_not && wish.recover.is_some() {
            return Err(Failure::Unrecoverable);
        }
        let next = self.subscribe(slot, topic.clone(), None);
        let outcome = Outcome::Begun {
            epoch: topic.epoch(),
            offset: next.expect("it did not follow it") - 1,
            recovered: false,
            first: None,
        };
        Ok((outcome, topic))
    }

    /// Subscribes with all that was missed, if all of that is there.
    fn recover(&mut self, slot: u32, topic: &Arc<Topic>, wish: &Wish) -> Option<Outcome> {
        let Place { offset, .. } = *wish.recover.as_ref()?;
        if !wish.recover.as_ref()?.is_in(topic.epoch()) {
            return None;
        }
        let mut first = None;
        let missed = Range {
            from: offset.saturating_add(1),
            until: u64::MAX,
            reverse: false,
        };
        topic.visit(missed, self.hub.retention(topic), |message| {
            first = Some(Box::new(publication(message)));
            ControlFlow::Break(())
        });
        let wanted = match &first {
            Some(first) if first.offset != missed.from => return None,
            Some(first) => first.offset + 1,
            None => missed.from,
        };
        let begins = self.subscribe(slot, topic.clone(), Some(wanted))?;
        if begins != wanted {
            // What it wants is of another history, or has just been let go of.
            self.unsubscribe(slot, topic);
            return None;
        }
        Some(Outcome::Begun {
            epoch: topic.epoch(),
            offset,
            recovered: true,
            first,
        })
    }

    /// Publishes to a topic, whether the publisher follows it or not.
    fn publish_to(&mut self, slot: u32, topic: &TopicName, data: &Data) -> Result<(), Failure> {
        self.allow(slot, Action::Publish, topic)?;
        if data.bytes.len() > self.hub.settings().message_bytes_max {
            return Err(Failure::TooBig);
        }
        let topic = self.hub.topic(topic).map_err(|_| Failure::Full)?;
        let talk = self.talks.get(&slot).expect("it has a session");
        let info = encode_info(&talk.info);
        let extras = Extras {
            info: &info,
            ..Extras::default()
        };
        let published = self.seek_room(&topic, |state| {
            state.append(&topic, data.text, Payload::Whole(&data.bytes), Some(extras))
        });
        published.map_err(|_| Failure::Full)?;
        self.published_bytes += data.bytes.len() as u64;
        self.hub.announce(&topic, None);
        let talk = self.talks.get_mut(&slot).expect("it has a session");
        talk.published_to = Some(topic);
        Ok(())
    }

    fn history(&self, slot: u32, topic: &TopicName, page: &Page) -> Result<Past, Failure> {
        self.allow(slot, Action::History, topic)?;
        self.hub.history(topic, page).map_err(|error| match error {
            HistoryError::Topics(_) => Failure::Full,
            HistoryError::OtherEpoch => Failure::Unrecoverable,
        })
    }

    /// Asks a silent peer whether it lives.
    pub(super) fn ask(&mut self, slot: u32) {
        let conn = self.conns.at(slot);
        conn.pings = conn.pings.saturating_add(1);
        let pushed = match conn.dialect.ping() {
            None => self.push_control(slot, Opcode::Ping, &[]),
            Some(ping) => {
                let pushed = conn.attend().lane.push(&ping);
                self.mark(slot);
                pushed.map_err(|_| CloseReason::ControlFlood)
            }
        };
        if let Some(talk) = self.talks.get_mut(&slot) {
            talk.session.ping();
        }
        self.metrics().pings.add(1);
        if let Err(reason) = pushed {
            self.close(slot, reason, How::NextBoundary);
        }
    }

    /// A session ends with its connection.
    pub(super) fn end_session(&mut self, slot: u32) {
        if !self.talks.contains_key(&slot) {
            return;
        }
        self.go_from_all(slot);
        self.talks.remove(&slot);
    }
}
