//! Sessions from their beginning to their end: who they are, which topics they follow and
//! when that expires. What they ask for is done in `conversing`.

use std::sync::Arc;

use super::closing::How;
use super::conn::{Flags, Phase};
use super::reactor::State;
use super::talk::Talk;
use crate::hub::Origin;
use crate::log::Topic;
use crate::protocol::dialect::centrifugo::{Ending, words};
use crate::protocol::dialect::pusher::Own;
use crate::protocol::dialect::session::{Client, Session, Source};
use crate::protocol::reason::CloseReason;
use crate::protocol::rights::TokenFault;
use crate::protocol::ws::Opcode;

impl State {
    /// Whose connection it is; `None` of those that have not said so.
    pub(super) fn user_of(&self, slot: u32) -> Option<&str> {
        if let Some(talk) = self.talks.get(slot)
            && talk.session.is_connected()
        {
            return Some(talk.session.user());
        }
        let rights = self.conns.look_at(slot).rights()?;
        Some(&rights.user)
    }

    /// A connection has a user from now on, if it has one.
    pub(super) fn enlist(&mut self, slot: u32) {
        let Some(user) = self.user_of(slot).map(Arc::<str>::from) else {
            return;
        };
        if self.users.insert(&user, slot) {
            self.hub.users().enter(&user);
        }
    }

    /// A connection ends, or is about to be another user's.
    pub(super) fn delist(&mut self, slot: u32) {
        let Some(user) = self.user_of(slot).map(Arc::<str>::from) else {
            return;
        };
        if self.users.remove(&user, slot) {
            self.hub.users().leave(&user);
        }
    }
}

impl State {
    /// A session begins with a connection whose dialect has one; `key` is that of its app.
    pub(super) fn begin_session(&mut self, slot: u32, key: Option<Arc<str>>) {
        if let Some(key) = key {
            let number = self.hub.cluster().number();
            let Origin { node, connection } = self.hub.cluster().origin(number);
            let mut session = Session::new(Client::Socket { node, connection });
            // It says who it is channel by channel, or when it signs in.
            session.connect(None);
            self.resume_session(slot, session, Some(Own::new(key)));
        } else if self.conns.at(slot).dialect.has_sessions() {
            let session = Session::new(Client::uuid(fastrand::u128(..)));
            self.resume_session(slot, session, None);
        }
    }

    /// A session goes on that may have begun in another process.
    pub(super) fn resume_session(&mut self, slot: u32, session: Session, own: Option<Own>) {
        if let Client::Socket { node, connection } = session.client() {
            self.origins.insert(Origin { node, connection }, slot);
        }
        let talk = Talk::new(session, own, self.patience_ms);
        if !talk.session.is_connected() {
            self.strangers.push_back((slot, talk.came_ms));
        }
        self.talks.insert(slot, talk);
        self.note_expiry(slot);
    }

    /// A session ends with its connection.
    pub(super) fn end_session(&mut self, slot: u32) {
        self.delist(slot);
        if !self.talks.has(slot) {
            return;
        }
        self.go_from_all(slot);
        let talk = self.talks.remove(slot).expect("it was there");
        if let Client::Socket { node, connection } = talk.session.client() {
            self.origins.remove(&Origin { node, connection });
        }
        if let Some(own) = talk.own {
            self.hub.app_connections().leave(&own.key);
        }
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
            if self.talks.get(slot).is_some_and(is_stranger) {
                self.close(slot, CloseReason::Stale, How::NextBoundary);
            }
        }
    }

    /// Asks a silent peer whether it lives.
    pub(super) fn ask(&mut self, slot: u32) {
        let is_stranger = |talk: &Talk| !talk.session.is_connected();
        if self.talks.get(slot).is_some_and(is_stranger) {
            // It could not answer before it has said who it is, and has its time for that.
            return;
        }
        let conn = self.conns.at(slot);
        if conn.phase != Phase::Open {
            // Another of its timers has just ended it.
            return;
        }
        if conn.dialect.is_event_stream() {
            return self.show_life(slot);
        }
        conn.pings = conn.pings.saturating_add(1);
        let pushed = match conn.dialect.ping() {
            None => self.push_control(slot, Opcode::Ping, &[]),
            Some(ping) => {
                let pushed = conn.attend().lane.push(&ping);
                self.mark(slot);
                pushed.map_err(|_| CloseReason::ControlFlood)
            }
        };
        if let Some(talk) = self.talks.get_mut(slot) {
            talk.session.ping();
        }
        self.metrics().pings.add(1);
        if let Err(reason) = pushed {
            self.close(slot, reason, How::NextBoundary);
        }
    }

    /// Shows a peer that says nothing, and those on the way to it, that its stream lives.
    fn show_life(&mut self, slot: u32) {
        let now_ms = self.patience_ms as u32;
        let conn = self.conns.at(slot);
        // It is never silent for too long.
        conn.heard_ms = now_ms;
        // What waits for it shows as much.
        if conn.lane_is_empty()
            && let Some(beat) = conn.dialect.ping()
        {
            conn.attend().lane.push_last(beat);
            self.metrics().pings.add(1);
            self.mark(slot);
        }
    }

    /// The topic whose cores a publisher must not be too far ahead of.
    pub(super) fn heeded_topic(&self, slot: u32) -> Option<&Arc<Topic>> {
        let conn = self.conns.look_at(slot);
        if conn.dialect.has_sessions() {
            return self.talks.get(slot)?.published_to.as_ref();
        }
        Some(&self.feeds.look_at(conn.sub.feed).topic)
    }

    /// What is known of a session's user has changed: others are shown that.
    pub(super) fn show_anew(&mut self, slot: u32) {
        let Some(talk) = self.talks.get_mut(slot) else {
            return;
        };
        if !talk.look_at_info() {
            return;
        }
        for topic in self.followed(slot) {
            self.appear(slot, &topic);
        }
    }

    /// Who has begun a session's subscription, where that is not just its client.
    pub(super) fn source(&self, slot: u32, topic: &str) -> Option<Source> {
        let special = self.talks.get(slot)?.session.special(topic);
        special.map(|special| special.source)
    }

    pub(super) fn is_begun_by_server(&self, slot: u32, topic: &str) -> bool {
        self.source(slot, topic).is_some_and(Source::is_server)
    }

    /// Ends a session's subscription that its client has not ended, and tells it so. False
    /// if there is none.
    pub(super) fn end_subscription(
        &mut self,
        slot: u32,
        topic: &Arc<Topic>,
        ending: Ending,
    ) -> bool {
        if !self.unsubscribe(slot, topic) {
            return false;
        }
        self.go(slot, topic);
        match self.conns.at(slot).dialect.coding() {
            Some(coding) => self.push(slot, &words::ended(coding, topic.name(), ending)),
            None => self.tell_channel_ended(slot, topic, ending),
        }
        true
    }

    /// Tells a session's client something that it has not asked for.
    pub(super) fn push(&mut self, slot: u32, message: &[u8]) {
        let conn = self.conns.at(slot);
        let frame = conn.dialect.frame(message);
        let pushed = conn.attend().lane.push(&frame);
        self.mark(slot);
        if pushed.is_err() {
            self.close(slot, CloseReason::ControlFlood, How::NextBoundary);
        }
    }

    /// Something of a session expires at another time than before.
    pub(super) fn note_expiry(&mut self, slot: u32) {
        let expires = |talk: &Talk| talk.session.expires();
        let expires = self.talks.get(slot).is_some_and(expires);
        let flags = &mut self.conns.at(slot).flags;
        match expires {
            true => {
                flags.set(Flags::EXPIRES);
                self.watch(slot);
            }
            false => flags.clear(Flags::EXPIRES),
        }
    }

    /// Ends what has expired of a session, once its client has had its time to refresh that.
    pub(super) fn end_expired(&mut self, slot: u32) {
        let unix_ms = self.hub.unix_ms(self.now_ms);
        let before_s = unix_ms.saturating_sub(self.hub.settings().refresh_ms_max) / 1000;
        let Some(talk) = self.talks.get(slot) else {
            return;
        };
        if self.conns.look_at(slot).phase != Phase::Open {
            return;
        }
        if talk.session.has_expired(before_s) {
            let reason = CloseReason::Token(TokenFault::Expired);
            return self.close(slot, reason, How::NextBoundary);
        }
        for (name, source) in talk.session.expired_subs(before_s) {
            if source.is_server() {
                // Its client does not ask for it again, so it has to come back as a whole.
                let reason = CloseReason::SubscriptionExpired;
                return self.close(slot, reason, How::NextBoundary);
            }
            if let Some(topic) = self.hub.find_topic(&name) {
                self.end_subscription(slot, &topic, Ending::Expired);
            }
        }
        self.note_expiry(slot);
    }
}
