//! What clients of apps ask for, and how the core does it. What an event means and how it is
//! answered, the dialect knows.

use std::collections::HashSet;
use std::sync::Arc;

use super::closing::How;
use super::conn::{Phase, Unpublished, Wait};
use super::joiners::Joiner;
use super::lane::LANE_BYTES_MAX;
use super::publishing::{check_text, plain};
use super::reactor::State;
use crate::hub::{Happening, Unproposed};
use crate::log::{AppendError, Lack, Topic};
use crate::protocol::centrifugo::encode_info;
use crate::protocol::dialect::centrifugo::Ending;
use crate::protocol::dialect::pusher::{self, Deed, Refusal, Unsent, Wish};
use crate::protocol::dialect::session::{Source, Special};
use crate::protocol::encoding::{Extras, Format};
use crate::protocol::pusher::{Access, App, ChannelKind, channel_of, read, words};
use crate::protocol::reason::CloseReason;
use crate::protocol::rights::Action;
use crate::protocol::ws::Payload;

/// The longest silence that a client is told to bear before it asks whether the server lives.
const ACTIVITY_S_MAX: u64 = 120;

/// How often a roster is asked for in one go, where what comes behind it is gone.
const ADMISSIONS_MAX: u32 = 4;

/// How soon those who wait are looked at again.
const JOINERS_MS: u64 = 10;

/// So long one may wait at least: those of a channel always wait for one another for a moment.
const JOIN_WAIT_MS_MIN: u64 = 1000;

/// Why an event is not published.
enum Unheard {
    Fails(Unsent),
    Lacks(Option<Lack>),
}

/// What comes of one who has come to a channel.
#[derive(PartialEq, Eq)]
enum Admission {
    /// It is in, or will not be let in.
    Done,
    /// Others may come with it, or there is no room.
    Waits,
    /// It has not read what it was told in other channels.
    ReadsFirst,
}

impl State {
    /// Counts a connection of the app with a key.
    ///
    /// # Errors
    /// Why it is to go.
    pub(super) fn admit_to_app(&self, key: &str) -> Result<Arc<App>, CloseReason> {
        let app = self.hub.settings().app_by_key(key);
        let app = app.ok_or(CloseReason::AppUnknown)?;
        let connections = self.hub.app_connections().enter(key);
        if app.connections_max > 0 && connections as usize > app.connections_max {
            self.hub.app_connections().leave(key);
            return Err(CloseReason::AppConnections);
        }
        Ok(app.clone())
    }

    /// The first words to a client.
    pub(super) fn greet(&mut self, slot: u32) {
        let session = &self.talks.at(slot).session;
        let id = pusher::socket_id(session).expect("it was given one");
        let activity_s = self.hub.settings().idle_ms_max / 1000;
        let activity_s = activity_s.clamp(1, ACTIVITY_S_MAX);
        self.push(slot, &words::connection_established(id, activity_s));
    }

    /// The last words to a client that is not let in: it heeds the code of the close, and shows
    /// the event to its user.
    pub(super) fn turn_away(&mut self, slot: u32, reason: CloseReason) {
        let code = self.conns.at(slot).dialect.code(reason);
        self.push(slot, &words::error(Some(code), &reason.phrase()));
        self.close(slot, reason, How::NextBoundary);
    }

    /// Does what a client's message asks for. An event for which there is no room waits.
    pub(super) fn heed(
        &mut self,
        slot: u32,
        text: bool,
        payload: Payload<'_>,
    ) -> Result<(), CloseReason> {
        let message = plain(payload);
        check_text(text, &message).map_err(CloseReason::Fault)?;
        match self.heed_once(slot, &message, Look::First)? {
            Some(wait) => self.put_aside(slot, text, message, wait),
            None => Ok(()),
        }
    }

    /// Does what a message asks for that has had to wait. True if it still has to.
    pub(super) fn heed_again(
        &mut self,
        slot: u32,
        message: &mut Unpublished,
        waits_on: bool,
    ) -> Result<bool, CloseReason> {
        let look = if waits_on { Look::Again } else { Look::Last };
        match self.heed_once(slot, &message.payload, look)? {
            Some(wait) => {
                message.wait = wait;
                Ok(true)
            }
            None => Ok(false),
        }
    }

    fn heed_once(
        &mut self,
        slot: u32,
        message: &[u8],
        look: Look,
    ) -> Result<Option<Wait>, CloseReason> {
        let in_vain = look == Look::Last;
        let Ok(incoming) = read(message) else {
            let error = "this is no event: a JSON object with a name in event, and its data";
            self.push(slot, &words::error(None, error));
            return Ok(None);
        };
        let hub = self.hub.clone();
        let talk = self.talks.get_mut(slot).expect("it has a session");
        let own = talk.own.as_mut().expect("it has an app");
        let app = hub.settings().app_by_key(&own.key);
        // The settings had it when it came.
        let app = app.ok_or(CloseReason::AppUnknown)?;
        let id = pusher::socket_id(&talk.session).expect("it was given one");
        let counts = (look == Look::First).then_some(self.now_ms);
        match own.handle(app, id, incoming, counts) {
            Deed::Nothing => {}
            Deed::Say(message) => self.push(slot, &message),
            Deed::Unsubscribe(topic) => {
                if let Some(topic) = self.hub.find_topic(topic.as_str()) {
                    self.leave_channel(slot, &topic);
                }
            }
            Deed::SignIn { user, user_data } => {
                self.delist(slot);
                let talk = self.talks.get_mut(slot).expect("it has a session");
                talk.session.sign_in(&user);
                self.show_anew(slot);
                self.enlist(slot);
                self.push(slot, &words::signin_success(&user_data));
            }
            Deed::Subscribe(wish) => {
                let members_max = app.presence_members_max;
                return Ok(self.enter_channel(slot, &wish, members_max, in_vain));
            }
            Deed::Publish { topic, event, data } => {
                let topic = self.hub.find_topic(topic.as_str());
                let sent = match topic {
                    Some(topic) => self.send_event(slot, &topic, &event, &data),
                    None => Err(Unheard::Fails(Unsent::NotSubscribed)),
                };
                match sent {
                    Ok(()) => {}
                    Err(Unheard::Fails(unsent)) => self.push(slot, &unsent.words()),
                    Err(Unheard::Lacks(_)) if in_vain => self.push(slot, &Unsent::Full.words()),
                    Err(Unheard::Lacks(lack)) => return Ok(Some(Wait::Room(lack))),
                }
            }
        }
        Ok(None)
    }

    /// Lets a client into a channel, or tells it why not. It may have to wait until it is known
    /// what the channel holds.
    fn enter_channel(
        &mut self,
        slot: u32,
        wish: &Wish,
        members_max: usize,
        in_vain: bool,
    ) -> Option<Wait> {
        let name = wish.topic.as_str();
        let channel = channel_of(name);
        let source = wish.kind.is_guarded().then_some(Source::Token);
        let refuse = |state: &mut State, refusal: Refusal| {
            state.push(slot, &refusal.words(channel));
            None
        };
        if !self.may_follow(slot, name, source) {
            self.metrics().note_denial(Action::Subscribe);
            return refuse(self, Refusal::Denied);
        }
        let Ok(topic) = self.hub.topic(&wish.topic) else {
            return refuse(self, Refusal::Full);
        };
        let waits = self.joiners.topics_of(slot).any(|of| of.id() == topic.id());
        if waits || self.follows(slot, &topic) {
            let message = match wish.kind.access {
                // Who signs in may have it begun twice.
                Access::User => words::subscription_succeeded(channel),
                _ => words::error(None, "the connection is subscribed to this channel already"),
            };
            self.push(slot, &message);
            return None;
        }
        let followed = self.followed(slot).len() + self.joiners.topics_of(slot).count();
        if followed >= self.hub.settings().topics_per_connection_max {
            return refuse(self, Refusal::TooManyTopics);
        }
        if self.is_to_wait_for(&topic, None) {
            let wait = self.unknown.take();
            return match wait.filter(|_| !in_vain) {
                Some((topic, offset)) => Some(Wait::Known(topic, offset)),
                None => refuse(self, Refusal::Full),
            };
        }
        if let Some(source) = source {
            let member = wish.member.as_ref();
            let special = Special {
                source,
                user: member.map(|member| member.id.as_str().into()),
                expires_s: None,
                info: member.and_then(|member| Some(member.info.as_deref()?.into())),
            };
            let talk = self.talks.get_mut(slot).expect("it has a session");
            talk.session.note(name, special);
        }
        let is_cache = wish.kind.is_cache;
        if wish.member.is_some() {
            let Ok(change) = self.come_in_within(slot, &topic, members_max) else {
                self.forget(slot, &topic);
                return refuse(self, Refusal::TooManyMembers);
            };
            self.join(slot, topic, change.unwrap_or(0), is_cache);
        } else {
            self.push(slot, &words::subscription_succeeded(channel));
            self.hear_channel(slot, &topic, is_cache);
            self.come_in(slot, &topic);
        }
        None
    }

    /// A member has come to a channel, and the others have been told: it is told who is there
    /// as soon as that may be.
    fn join(&mut self, slot: u32, topic: Arc<Topic>, change: u64, is_cache: bool) {
        let joiner = Joiner {
            companion: self.hub.companion(topic.name()),
            topic,
            change,
            is_cache,
            since_ms: self.patience_ms,
        };
        // Frozen, it would be lost.
        if self.admit(slot, &joiner, self.frozen) != Admission::Done {
            if !self.joiners.wait() {
                self.joiners.due_ms = self.now_ms + JOINERS_MS;
            }
            self.joiners.insert(slot, joiner);
        }
    }

    /// Lets those in who have come to channels, if it is time; all of them with `now`.
    pub(super) fn admit_joiners(&mut self, now: bool) {
        if !self.joiners.wait() || !(now || self.now_ms >= self.joiners.due_ms) {
            return;
        }
        self.joiners.due_ms = self.now_ms + JOINERS_MS;
        // Those of one channel wait together.
        let mut closed = HashSet::new();
        let wait_ms_max = self
            .hub
            .settings()
            .publish_wait_ms_max
            .max(JOIN_WAIT_MS_MIN);
        for (slot, id) in self.joiners.all() {
            let waits_for_room = closed.contains(&id);
            let Some(mut joiner) = self.joiners.take(slot, id) else {
                continue;
            };
            let admission = match waits_for_room {
                true => Admission::Waits,
                false => self.admit(slot, &joiner, now),
            };
            match admission {
                Admission::Done => continue,
                Admission::ReadsFirst => joiner.since_ms = self.patience_ms,
                Admission::Waits => {
                    closed.insert(id);
                }
            }
            if self.patience_ms >= joiner.since_ms + wait_ms_max {
                self.turn_back(slot, &joiner.topic, Refusal::Full);
            } else {
                self.joiners.insert(slot, joiner);
            }
        }
    }

    /// Who has come to a channel is not let in.
    fn turn_back(&mut self, slot: u32, topic: &Topic, refusal: Refusal) {
        self.go(slot, topic);
        self.push(slot, &refusal.words(channel_of(topic.name())));
    }

    /// Tells a member who is in the channel, from where on it hears who comes and goes.
    fn admit(&mut self, slot: u32, joiner: &Joiner, now: bool) -> Admission {
        let Joiner {
            topic,
            companion,
            change,
            is_cache,
            ..
        } = joiner;
        let conn = self.conns.look_at(slot);
        if conn.phase != Phase::Open {
            return Admission::Done;
        }
        let extra = conn.extra.as_deref();
        if !now && extra.is_some_and(|extra| extra.lane.shared_bytes() > LANE_BYTES_MAX) {
            return Admission::ReadsFirst;
        }
        // Rules may have changed while it waited.
        let source = self.source(slot, topic.name());
        if !self.may_follow(slot, topic.name(), source) {
            self.metrics().note_denial(Action::Subscribe);
            self.turn_back(slot, topic, Refusal::Denied);
            return Admission::Done;
        }
        let mut change = *change;
        for _ in 0..ADMISSIONS_MAX {
            let Some(roster) = self.hub.roster(topic, change, now) else {
                return Admission::Waits;
            };
            let since = roster.newest + 1;
            let (format, companion) = (Format::JoinsPusher, companion.clone());
            let begins = self.subscribe_to(slot, companion.clone(), format, Some(since));
            if begins == Some(since) {
                let lane = &mut self.conns.at(slot).attend().lane;
                lane.push_shared(roster.frame.clone(), None);
                self.mark(slot);
                self.hear_channel(slot, topic, *is_cache);
                return Admission::Done;
            }
            // What comes behind the roster has just been let go of: another one is due.
            self.unsubscribe(slot, &companion);
            change = roster.change + 1;
        }
        Admission::Waits
    }

    /// Subscribes a client that has been told so; of a cache channel it gets the newest message.
    fn hear_channel(&mut self, slot: u32, topic: &Arc<Topic>, is_cache: bool) {
        let newest = topic.newest();
        let begins = self.subscribe(slot, topic.clone(), None);
        let has_missed = begins.is_none_or(|begins| newest == 0 || begins > newest);
        if is_cache && has_missed {
            self.push(slot, &words::cache_miss(channel_of(topic.name())));
            self.hub.note_cache_miss(topic);
        }
    }

    fn leave_channel(&mut self, slot: u32, topic: &Arc<Topic>) {
        if self.joiners.remove(slot, topic) || self.unsubscribe(slot, topic) {
            self.go(slot, topic);
        }
    }

    /// Tells a client that a subscription of it has ended that it has not ended itself.
    pub(super) fn tell_channel_ended(&mut self, slot: u32, topic: &Topic, ending: Ending) {
        let refusal = match ending {
            Ending::Denied => Refusal::Denied,
            Ending::Asked | Ending::Expired | Ending::InsufficientState => Refusal::Ended,
        };
        self.push(slot, &refusal.words(channel_of(topic.name())));
    }

    /// Publishes what a client sends to the others in a channel.
    fn send_event(
        &mut self,
        slot: u32,
        topic: &Arc<Topic>,
        event: &str,
        data: &[u8],
    ) -> Result<(), Unheard> {
        let Some(id) = self.find(slot, topic) else {
            return Err(Unheard::Fails(Unsent::NotSubscribed));
        };
        if self.hub.rules().forbid(Action::Publish, topic.name()) {
            self.metrics().note_denial(Action::Publish);
            return Err(Unheard::Fails(Unsent::Denied));
        }
        let talk = self.talks.get(slot).expect("it has a session");
        let info = encode_info(&talk.info_in(topic.name()));
        let extras = Extras {
            event: Some(event),
            info: &info,
            ..Extras::default()
        };
        if topic.is_shared() {
            let proposed = self.propose(slot, topic, (true, data), Some(extras), None);
            proposed.map_err(|error| match error {
                Unproposed::NoRoom => Unheard::Lacks(None),
                Unproposed::TooBig => Unheard::Fails(Unsent::TooBig),
                Unproposed::NoLink => Unheard::Fails(Unsent::Full),
            })?;
        } else {
            let trace = self.hub.begin_trace(None);
            let published = self.seek_room(topic, |state| {
                state.append(topic, true, Payload::Whole(data), Some(extras))
            });
            let committed = published.map_err(|error| match error {
                AppendError::LogFull(lack)
                | AppendError::TotalFull(lack)
                | AppendError::NoMemory(lack) => Unheard::Lacks(Some(lack)),
                AppendError::Payload(_) | AppendError::ExtrasTooBig => {
                    Unheard::Fails(Unsent::TooBig)
                }
            })?;
            if let Some(begun) = trace {
                self.trace(begun, slot, (topic, data.len()), &committed);
            }
            self.step_over(slot, id, &committed);
            self.published_bytes += data.len() as u64;
            self.hub.announce(topic, None);
        }
        let talk = self.talks.get_mut(slot).expect("it has a session");
        talk.published_to = Some(topic.clone());
        let talk = &*talk;
        self.hub.note_client_event(topic, || {
            let info = talk.info_in(topic.name());
            let is_presence = ChannelKind::of(channel_of(topic.name())).access == Access::Presence;
            Happening::ClientEvent {
                topic: topic.name().clone(),
                event: event.into(),
                data: data.into(),
                socket_id: pusher::socket_id(&talk.session),
                user: is_presence.then(|| info.user.as_str().into()),
            }
        });
        Ok(())
    }
}

/// Which look at a message this is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    First,
    Again,
    /// It has waited for as long as it may.
    Last,
}
