//! What sessions' clients ask for command by command, and how the core does it. What a
//! command means and how it is answered, the dialect knows; who a session is, and which
//! tokens it comes with, is looked at in `welcoming`.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use super::conn::{Unpublished, Wait};
use super::publishing::plain;
use super::reactor::State;
use super::subs::SubId;
use crate::hub::{Busy, HistoryError, Numbers, Past, Unproposed, Verdict};
use crate::log::{AppendError, Lack, Range, Topic};
use crate::protocol::centrifugo::{Coding, Data, Requests, encode_info, publication};
use crate::protocol::dialect::centrifugo::{
    Begun, Deed, Failure, Page, Place, Refusal, Special, Terms, words,
};
use crate::protocol::encoding::Extras;
use crate::protocol::reason::CloseReason;
use crate::protocol::rights::Action;
use crate::protocol::topic::TopicName;
use crate::protocol::ws::Payload;

/// How a subscription is to begin.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start<'a> {
    /// It has seen all up to there.
    pub(super) since: Option<&'a Place>,
    /// It is to fail rather than to begin with a hole.
    pub(super) whole_or_not: bool,
    /// It wants to hear who comes and goes.
    pub(super) joins: bool,
    /// The first message that it has missed is told by the one who asks; the others come
    /// as all do.
    pub(super) first_apart: bool,
}

/// What the first of some commands has waited for.
#[derive(Debug)]
pub(super) enum Waited {
    Nothing,
    /// Room, for as long as it may.
    RoomInVain,
    /// This, on its token.
    Verdict(Verdict),
    /// This page of history.
    Past(Box<Result<Past, HistoryError>>),
}

/// What has become of a command.
enum Done {
    /// This is the answer to it; empty is none.
    Said(Vec<u8>),
    /// It has to wait.
    Waits(Wait),
}

/// When a publisher is told that its message is published.
enum Told {
    Now,
    /// Once the cluster has it.
    Later,
}

/// Why a message is not published.
enum Unsaid {
    Fails(Failure),
    /// There is no room for it yet.
    Lacks(Option<Lack>),
}

/// Why there is no page of history yet.
enum Delayed {
    Fails(Failure),
    Waits(Wait),
}

impl From<Failure> for Unsaid {
    fn from(failure: Failure) -> Self {
        Unsaid::Fails(failure)
    }
}

impl State {
    /// Does what the commands in a message ask for, in their order. The answers go out
    /// together, ahead of all that the commands have begun, but each in a message of its own:
    /// the official JavaScript client would take a push that comes right behind a message with
    /// several answers for one that comes before the last of them.
    ///
    /// A message for which there is no room waits, and so does a token that has to be checked
    /// elsewhere, and what stands behind either.
    pub(super) fn converse(
        &mut self,
        slot: u32,
        text: bool,
        payload: Payload<'_>,
    ) -> Result<(), CloseReason> {
        let message = plain(payload);
        match self.converse_until(slot, &message, Waited::Nothing)? {
            Some((done, wait)) => self.put_aside(slot, text, message[done..].to_vec(), wait),
            None => Ok(()),
        }
    }

    /// Goes on with commands of which the first one has had to wait. True if it still has to.
    pub(super) fn converse_again(
        &mut self,
        slot: u32,
        message: &mut Unpublished,
        waits_on: bool,
    ) -> Result<bool, CloseReason> {
        let waited = match std::mem::replace(&mut message.wait, Wait::Room(None)) {
            Wait::Checked(verdict) => Waited::Verdict(verdict),
            Wait::HasRead(past) => Waited::Past(past),
            Wait::Room(_) | Wait::Known(..) if !waits_on => Waited::RoomInVain,
            Wait::Room(_) | Wait::Known(..) | Wait::Turn | Wait::Check(_) | Wait::Read(_) => {
                Waited::Nothing
            }
        };
        match self.converse_until(slot, &message.payload, waited)? {
            None => Ok(false),
            Some((0, wait)) => {
                message.wait = wait;
                Ok(true)
            }
            // That one is through, and another has to wait now.
            Some((done, wait)) => {
                let rest = message.payload[done..].to_vec();
                self.put_aside(slot, message.text, rest, wait)?;
                Ok(false)
            }
        }
    }

    /// Does what commands ask for, up to one that has to wait: returns how many bytes stand
    /// before that, and what it waits for.
    fn converse_until(
        &mut self,
        slot: u32,
        message: &[u8],
        mut waited: Waited,
    ) -> Result<Option<(usize, Wait)>, CloseReason> {
        let dialect = self.conns.at(slot).dialect;
        let coding = dialect.coding().expect("its dialect has sessions");
        let settings = self.hub.settings();
        let commands_max = settings.commands_per_message_max;
        let answers_bytes_max = settings.answers_bytes_max;
        let mut requests = Requests::of(coding, message);
        let mut answers = Vec::new();
        for number in 0.. {
            let begins = message.len() - requests.left();
            let Some(request) = requests.next() else {
                break;
            };
            let request = match number < commands_max {
                true => request.map_err(|_| CloseReason::BadRequest),
                false => Err(CloseReason::TooManyCommands),
            };
            let talk = self.talks.get_mut(&slot).expect("it has a session");
            let deed = request.and_then(|request| talk.session.handle(coding, request));
            let waited = std::mem::replace(&mut waited, Waited::Nothing);
            match deed.and_then(|deed| self.perform(slot, coding, deed, waited)) {
                Ok(Done::Said(answer)) if answer.is_empty() => {}
                Ok(Done::Said(answer)) => {
                    answers.extend_from_slice(&dialect.frame(&answer));
                    // There is no more memory for those of one message than for those of many.
                    if answers.len() > answers_bytes_max {
                        self.answer(slot, std::mem::take(&mut answers))?;
                    }
                }
                Ok(Done::Waits(wait)) => {
                    self.answer(slot, answers)?;
                    return Ok(Some((begins, wait)));
                }
                Err(reason) => {
                    self.answer(slot, answers)?;
                    return Err(reason);
                }
            }
        }
        self.answer(slot, answers)?;
        Ok(None)
    }

    pub(super) fn terms(&self) -> Terms {
        let settings = self.hub.settings();
        Terms {
            ping: Duration::from_millis(settings.ping_ms()),
            now_s: self.hub.unix_s(),
        }
    }

    /// Does one thing, and returns what is said to that.
    fn perform(
        &mut self,
        slot: u32,
        coding: Coding,
        deed: Deed,
        mut waited: Waited,
    ) -> Result<Done, CloseReason> {
        let in_vain = matches!(waited, Waited::RoomInVain);
        self.in_vain = in_vain;
        let verdict = match deed.token() {
            None => None,
            Some((purpose, token)) => match self.check(slot, purpose, token, &mut waited) {
                Ok(verdict) => Some(verdict),
                Err(wait) => return Ok(Done::Waits(wait)),
            },
        };
        let (id, done) = match deed {
            Deed::Nothing => return Ok(Done::Said(Vec::new())),
            Deed::Say(bytes) => return Ok(Done::Said(bytes)),
            Deed::Connect(hello) => (hello.id, self.welcome(slot, coding, &hello, verdict)),
            Deed::Refresh { id, .. } => (id, self.refresh(slot, coding, id, verdict)),
            Deed::SubRefresh { id, topic, .. } => {
                (id, self.sub_refresh(slot, coding, id, &topic, verdict))
            }
            Deed::Subscribe(wish) => (wish.id, self.fulfil(slot, coding, &wish, verdict)),
            Deed::Unsubscribe { id, topic } => {
                if let Some(topic) = self.hub.find_topic(topic.as_str())
                    && self.unsubscribe(slot, &topic)
                {
                    self.go(slot, &topic);
                    self.note_expiry(slot);
                }
                (id, Ok(words::unsubscribed(coding, id)))
            }
            Deed::Publish { id, topic, data } => {
                let published = match self.publish_to(slot, id, &topic, &data) {
                    Ok(Told::Now) => Ok(words::published(coding, id)),
                    Ok(Told::Later) => Ok(Vec::new()),
                    Err(Unsaid::Lacks(_)) if in_vain => Err(Failure::Full),
                    Err(Unsaid::Lacks(lack)) => {
                        return Ok(Done::Waits(Wait::Room(lack)));
                    }
                    Err(Unsaid::Fails(failure)) => Err(failure),
                };
                (id, published.map_err(Refusal::from))
            }
            Deed::History { id, topic, page } => {
                let past = match self.history(slot, &topic, &page, waited) {
                    Ok(past) => Ok(past),
                    Err(Delayed::Fails(failure)) => Err(failure),
                    Err(Delayed::Waits(wait)) => return Ok(Done::Waits(wait)),
                };
                let said = past.map(|past| {
                    words::history(coding, id, past.epoch, past.offset, &past.publications)
                });
                (id, said.map_err(Refusal::from))
            }
            Deed::Presence { id, topic } => {
                let list = self.members(slot, &topic);
                let said = list.map(|list| words::presence(coding, id, &list));
                (id, said.map_err(Refusal::from))
            }
            Deed::PresenceStats { id, topic } => {
                let numbers = self.occupancy(slot, &topic);
                let said = numbers.map(|Numbers { clients, users }| {
                    words::presence_stats(coding, id, clients, users)
                });
                (id, said.map_err(Refusal::from))
            }
        };
        if let Some((topic, offset)) = self.unknown.take()
            && !in_vain
        {
            return Ok(Done::Waits(Wait::Known(topic, offset)));
        }
        match done {
            Ok(answer) => Ok(Done::Said(answer)),
            Err(Refusal::Fails(failure)) => Ok(Done::Said(words::failed(coding, id, failure))),
            Err(Refusal::Closes(reason)) => Err(reason),
        }
    }

    fn answer(&mut self, slot: u32, answers: Vec<u8>) -> Result<(), CloseReason> {
        if answers.is_empty() {
            return Ok(());
        }
        let bytes_max = self.hub.settings().answers_bytes_max;
        let lane = &mut self.conns.at(slot).attend().lane;
        let waiting = lane.bytes();
        // An answer that waits alone is as long as it is.
        if waiting > 0 && waiting + answers.len() > bytes_max {
            return Err(CloseReason::ControlFlood);
        }
        lane.push_shared(answers.into(), None);
        self.mark(slot);
        Ok(())
    }

    /// Has a session follow a topic, if that can be: the one way in.
    pub(super) fn follow(
        &mut self,
        slot: u32,
        name: &TopicName,
        special: Option<Special>,
        start: Start<'_>,
    ) -> Result<Begun, Failure> {
        let source = special.as_ref().map(|special| special.source);
        if !self.may_follow(slot, name.as_str(), source) {
            self.metrics().note_denial(Action::Subscribe);
            return Err(Failure::Denied);
        }
        let recoverable = self.may_recover(slot, name.as_str(), source);
        let topic = self.hub.topic(name).map_err(|_| Failure::Full)?;
        if self.is_to_wait_for(&topic, start.since.filter(|_| recoverable)) {
            return Err(Failure::Full);
        }
        if self.follows(slot, &topic) {
            return Err(Failure::AlreadySubscribed);
        }
        if self.topics_of(slot) >= self.hub.settings().topics_per_connection_max {
            return Err(Failure::TooManyTopics);
        }
        let since = start.since.filter(|_| recoverable);
        let recovered = since.and_then(|since| self.recover(slot, &topic, since, start));
        let mut begun = match recovered {
            Some(begun) => begun,
            None if start.whole_or_not && start.since.is_some() => {
                return Err(Failure::Unrecoverable);
            }
            None => {
                let next = self.subscribe(slot, topic.clone(), None);
                Begun {
                    epoch: topic.epoch(),
                    offset: next.expect("it did not follow it") - 1,
                    recoverable,
                    was_recovering: false,
                    recovered: false,
                    first: None,
                }
            }
        };
        begun.was_recovering = start.since.is_some();
        if let Some(special) = special {
            let talk = self.talks.get_mut(&slot).expect("it has a session");
            talk.session.note(name.as_str(), special);
            self.note_expiry(slot);
        }
        self.come(slot, &topic, start.joins);
        Ok(begun)
    }

    /// It is not known yet what a topic holds, or the cluster has come to a place in it that
    /// this node has not: noted for the command that is under way.
    pub(super) fn is_to_wait_for(&mut self, topic: &Arc<Topic>, since: Option<&Place>) -> bool {
        if !topic.is_shared() {
            return false;
        }
        let is_unknown = !topic.is_known();
        let place = since.filter(|place| is_unknown || place.is_in(topic.epoch()));
        let offset = place.map_or(0, |place| place.offset);
        // One that never was is of no history.
        let is_ahead = offset > topic.newest() && !self.in_vain;
        if is_unknown || is_ahead {
            self.hub.want(topic);
            // Which epoch a place is of can be seen once the topic is known.
            let offset = if is_unknown { 0 } else { offset };
            self.unknown = Some((topic.clone(), offset));
            return true;
        }
        false
    }

    /// How many topics it follows. One that only waits for the end of a frame to leave it
    /// follows no more.
    fn topics_of(&self, slot: u32) -> usize {
        let conn = self.conns.look_at(slot);
        let is_topic = |id: &SubId| {
            let feed = self.look_at_sub(*id).feed;
            !conn.leaves(*id) && !self.feeds.look_at(feed).format.is_joins()
        };
        let ids = self.subscriptions(slot).into_iter();
        ids.filter(is_topic).count()
    }

    /// Subscribes with all that was missed, if all of that is there.
    fn recover(
        &mut self,
        slot: u32,
        topic: &Arc<Topic>,
        since: &Place,
        start: Start<'_>,
    ) -> Option<Begun> {
        if !since.is_in(topic.epoch()) {
            return None;
        }
        let from = since.offset.saturating_add(1);
        let kept = topic.kept();
        if topic.is_shared() && from < topic.floor(self.hub.retention(topic)) {
            return None;
        }
        if kept.is_some_and(|kept| from < kept.whole_from()) {
            return None;
        }
        // What the store has comes later.
        let is_stored = kept.is_some() && from < topic.held_first();
        let mut first = None;
        let missed = Range {
            from,
            until: u64::MAX,
            reverse: false,
        };
        if start.first_apart && !is_stored {
            topic.visit(missed, self.hub.retention(topic), |message| {
                first = Some(Box::new(publication(message)));
                ControlFlow::Break(())
            });
        }
        let wanted = match &first {
            // In a cluster offsets have gaps.
            Some(first) if first.offset != missed.from && !topic.is_shared() => return None,
            Some(first) => first.offset + 1,
            None => missed.from,
        };
        let begins = self.subscribe(slot, topic.clone(), Some(wanted))?;
        if begins != wanted {
            // What it wants is of another history, or has just been let go of.
            self.unsubscribe(slot, topic);
            return None;
        }
        Some(Begun {
            epoch: topic.epoch(),
            offset: since.offset,
            recoverable: true,
            was_recovering: true,
            recovered: true,
            first,
        })
    }

    /// Publishes to a topic, whether the publisher follows it or not.
    fn publish_to(
        &mut self,
        slot: u32,
        id: u32,
        topic: &TopicName,
        data: &Data,
    ) -> Result<Told, Unsaid> {
        self.allow(slot, Action::Publish, topic)?;
        if data.bytes.len() > self.hub.settings().message_bytes_max {
            return Err(Failure::TooBig.into());
        }
        let topic = self.hub.topic(topic).map_err(|_| Failure::Full)?;
        let talk = self.talks.get(&slot).expect("it has a session");
        let info = encode_info(&talk.info_in(topic.name()));
        let extras = Extras {
            info: &info,
            ..Extras::default()
        };
        if topic.is_shared() {
            let message = (data.text, &data.bytes[..]);
            let proposed = self.propose(slot, &topic, message, Some(extras), Some(id));
            proposed.map_err(|error| match error {
                Unproposed::NoRoom => Unsaid::Lacks(None),
                Unproposed::TooBig => Failure::TooBig.into(),
                Unproposed::NoLink => Failure::Full.into(),
            })?;
            let talk = self.talks.get_mut(&slot).expect("it has a session");
            talk.published_to = Some(topic);
            return Ok(Told::Later);
        }
        let published = self.seek_room(&topic, |state| {
            state.append(&topic, data.text, Payload::Whole(&data.bytes), Some(extras))
        });
        published.map_err(|error| match error {
            AppendError::LogFull(lack)
            | AppendError::TotalFull(lack)
            | AppendError::NoMemory(lack) => Unsaid::Lacks(Some(lack)),
            AppendError::Payload(_) | AppendError::ExtrasTooBig => Failure::TooBig.into(),
        })?;
        self.published_bytes += data.bytes.len() as u64;
        self.hub.announce(&topic, None);
        let talk = self.talks.get_mut(&slot).expect("it has a session");
        talk.published_to = Some(topic);
        Ok(Told::Now)
    }

    /// A page of history. What the store has of it is read elsewhere.
    fn history(
        &mut self,
        slot: u32,
        topic: &TopicName,
        page: &Page,
        waited: Waited,
    ) -> Result<Past, Delayed> {
        self.allow(slot, Action::History, topic)
            .map_err(Delayed::Fails)?;
        let in_vain = matches!(waited, Waited::RoomInVain);
        let past = match waited {
            Waited::Past(past) => *past,
            _ => self.hub.history(topic, page),
        };
        past.map_err(|error| match error {
            HistoryError::Topics(_) => Delayed::Fails(Failure::Full),
            HistoryError::OtherEpoch => Delayed::Fails(Failure::Unrecoverable),
            HistoryError::Unreadable => Delayed::Fails(Failure::Full),
            HistoryError::Unknown => match self.hub.find_topic(topic.as_str()) {
                Some(topic) if !in_vain => Delayed::Waits(Wait::Known(topic, 0)),
                _ => Delayed::Fails(Failure::Full),
            },
            HistoryError::Stored => {
                self.checks += 1;
                let asker = (self.core, slot, self.checks);
                Delayed::Waits(match self.hub.read_history(asker, topic, page) {
                    Ok(()) => Wait::Read(self.checks),
                    Err(Busy) => Wait::Turn,
                })
            }
        })
    }
}
