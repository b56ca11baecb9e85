//! What sessions' clients ask for command by command, and how the core does it. What a
//! command means and how it is answered, the dialect knows; who a session is, and which
//! tokens it comes with, is looked at in `welcoming`.

use std::time::Duration;

use super::conn::{Unpublished, Wait};
use super::publishing::plain;
use super::reactor::State;
use crate::hub::{Busy, HistoryError, Numbers, Past, Unproposed, Verdict};
use crate::log::{AppendError, Lack};
use crate::protocol::centrifugo::{Coding, Data, Requests, encode_info};
use crate::protocol::dialect::Dialect;
use crate::protocol::dialect::centrifugo::{Deed, Failure, Page, Refusal, Terms, words};
use crate::protocol::encoding::Extras;
use crate::protocol::reason::CloseReason;
use crate::protocol::rights::Action;
use crate::protocol::topic::TopicName;
use crate::protocol::ws::Payload;

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
        if self.conns.at(slot).dialect == Dialect::Pusher {
            return self.heed(slot, text, payload);
        }
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
        if self.conns.at(slot).dialect == Dialect::Pusher {
            return self.heed_again(slot, message, waits_on);
        }
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
            let talk = self.talks.get_mut(slot).expect("it has a session");
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
        let talk = self.talks.get(slot).expect("it has a session");
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
            let talk = self.talks.get_mut(slot).expect("it has a session");
            talk.published_to = Some(topic);
            return Ok(Told::Later);
        }
        let trace = self.hub.begin_trace(None);
        let published = self.seek_room(&topic, |state| {
            state.append(&topic, data.text, Payload::Whole(&data.bytes), Some(extras))
        });
        let committed = published.map_err(|error| match error {
            AppendError::LogFull(lack)
            | AppendError::TotalFull(lack)
            | AppendError::NoMemory(lack) => Unsaid::Lacks(Some(lack)),
            AppendError::Payload(_) | AppendError::ExtrasTooBig => Failure::TooBig.into(),
        })?;
        if let Some(begun) = trace {
            self.trace(begun, slot, (&topic, data.bytes.len()), &committed);
        }
        self.published_bytes += data.bytes.len() as u64;
        self.hub.announce(&topic, None);
        let talk = self.talks.get_mut(slot).expect("it has a session");
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
