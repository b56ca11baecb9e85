//! What sessions come with: the token that says who they are, the subscriptions that the
//! server begins by it, tokens for single topics, and others in their place later on.

use super::beginning::Start;
use super::conn::Wait;
use super::conversing::Waited;
use super::reactor::State;
use crate::hub::{Busy, Verdict};
use crate::protocol::centrifugo::{Coding, Data, SubscribeResult};
use crate::protocol::dialect::centrifugo::{
    Failure, Hello, Refusal, Wish, refuse_connect, refuse_refresh, words,
};
use crate::protocol::dialect::session::{Source, Special};
use crate::protocol::reason::CloseReason;
use crate::protocol::rights::{Channel, Purpose, Rights};
use crate::protocol::topic::TopicName;

/// Tokens that a core checks itself in one turn. A check that is quick takes 5 µs or so.
const TURN_CHECKS_MAX: u32 = 32;

impl State {
    /// A turn begins: it may check tokens again.
    pub(super) fn begin_checks(&mut self) {
        self.checks_left = TURN_CHECKS_MAX;
        let newcomers = &mut self.newcomers;
        newcomers.knocking.extend(newcomers.later.drain(..));
    }

    /// What is said of a token that a command comes with.
    ///
    /// # Errors
    /// The command has to wait for that.
    pub(super) fn check(
        &mut self,
        slot: u32,
        purpose: Purpose,
        token: &str,
        waited: &mut Waited,
    ) -> Result<Verdict, Wait> {
        let token = token.as_bytes();
        match std::mem::replace(waited, Waited::Nothing) {
            Waited::Verdict(verdict) => return Ok(self.hub.confirm(verdict)),
            other => *waited = other,
        }
        if let Some(verdict) = self.hub.recall(purpose, token) {
            return Ok(verdict);
        }
        if self.checks_left > 0
            && let Some(verdict) = self.hub.check_if_quick(purpose, token)
        {
            self.checks_left -= 1;
            return Ok(verdict);
        }
        self.checks += 1;
        let asked = (purpose, token);
        let number = self.checks;
        match self.hub.check_for_core(self.core, slot, number, asked) {
            Ok(()) => {
                self.metrics().checks_aside.add(1);
                Err(Wait::Check(number))
            }
            Err(Busy) => {
                self.metrics().checks_postponed.add(1);
                Err(Wait::Turn)
            }
        }
    }

    /// A session's client introduces itself.
    pub(super) fn welcome(
        &mut self,
        slot: u32,
        coding: Coding,
        hello: &Hello,
        verdict: Option<Verdict>,
    ) -> Result<Vec<u8>, Refusal> {
        if self.is_to_wait_for_some(slot, hello, verdict.as_ref()) {
            return Err(Failure::Full.into());
        }
        if let Some(verdict) = verdict {
            // It may have come with another one already.
            let rights = verdict.rights().map_err(refuse_connect)?;
            self.delist(slot);
            self.conns.at(slot).extra().rights = Some(rights);
        }
        let rights = self.conns.at(slot).rights().cloned();
        let topics_max = self.hub.settings().topics_per_connection_max;
        if rights
            .as_ref()
            .is_some_and(|rights| rights.channels.len() > topics_max)
        {
            return Err(Refusal::Closes(CloseReason::TooManyTopics));
        }
        let talk = self.talks.get_mut(slot).expect("it has a session");
        talk.session.connect(rights.as_deref());
        talk.look_at_info();
        self.enlist(slot);
        let mut subs = Vec::new();
        for channel in rights.iter().flat_map(|rights| &rights.channels) {
            if let Some(result) = self.begin_for(slot, channel, hello)? {
                subs.push((channel.name.to_string(), result));
            }
        }
        self.note_expiry(slot);
        let session = &self.talks.at(slot).session;
        Ok(words::connected(
            coding,
            hello.id,
            session,
            &self.terms(),
            &subs,
        ))
    }

    /// It is not known yet what one of the topics holds that a connection token asks for.
    fn is_to_wait_for_some(&mut self, slot: u32, hello: &Hello, verdict: Option<&Verdict>) -> bool {
        if !self.hub.cluster().is_linked() {
            return false;
        }
        let rights = match verdict {
            Some(Verdict::Connection(rights)) => rights.as_ref().ok().cloned(),
            Some(Verdict::Subscription(_)) => None,
            None => self.conns.at(slot).rights().cloned(),
        };
        let channels = rights.iter().flat_map(|rights| &rights.channels);
        let names: Vec<_> = channels
            .filter_map(|of| TopicName::new(&of.name).ok())
            .collect();
        names.into_iter().any(|name| {
            let may = self.may_follow(slot, name.as_str(), Some(Source::ConnectionToken));
            let topic = self.hub.topic(&name).ok().filter(|_| may);
            let since = hello.place(name.as_str());
            topic.is_some_and(|topic| self.is_to_wait_for(&topic, since.as_ref()))
        })
    }

    /// Begins a subscription that a connection token asks for, unless a rule is against it.
    fn begin_for(
        &mut self,
        slot: u32,
        channel: &Channel,
        hello: &Hello,
    ) -> Result<Option<SubscribeResult>, Refusal> {
        let Ok(name) = TopicName::new(&channel.name) else {
            return Ok(None);
        };
        let special = Special {
            source: Source::ConnectionToken,
            user: None,
            expires_s: None,
            info: channel.info.clone(),
        };
        let place = hello.place(&channel.name);
        let start = Start {
            since: place.as_ref(),
            whole_or_not: false,
            joins: false,
            first_apart: true,
        };
        let begun = match self.follow(slot, &name, Some(special), start) {
            Ok(begun) => begun,
            // Without it the client would wait for what never comes.
            Err(Failure::Full) => return Err(Refusal::Closes(CloseReason::TopicsFull)),
            Err(_) => return Ok(None),
        };
        let data = channel.data.as_ref().map(|data| Data {
            text: true,
            bytes: data.as_bytes().to_vec(),
        });
        Ok(Some(words::begun(begun, None, data, self.hub.unix_s())))
    }

    /// A session's client comes with another connection token.
    pub(super) fn refresh(
        &mut self,
        slot: u32,
        coding: Coding,
        id: u32,
        verdict: Option<Verdict>,
    ) -> Result<Vec<u8>, Refusal> {
        let verdict = verdict.ok_or(Failure::TokenMissing)?;
        let rights = verdict.rights().map_err(refuse_refresh)?;
        let talk = self.talks.get_mut(slot).expect("it has a session");
        talk.session.refresh(&rights)?;
        let expires_s = talk.session.expires_s();
        self.conns.at(slot).extra().rights = Some(rights.clone());
        if self.token_topics_have_changed(slot, &rights) {
            // When it comes back it has those of this token.
            return Err(Refusal::Closes(CloseReason::InsufficientState));
        }
        self.show_anew(slot);
        self.note_expiry(slot);
        self.look_at_rights_of(slot);
        let now_s = self.hub.unix_s();
        Ok(words::refreshed(coding, id, expires_s, now_s))
    }

    /// A token subscribes to other topics than the one before did.
    fn token_topics_have_changed(&self, slot: u32, rights: &Rights) -> bool {
        let session = &self.talks.at(slot).session;
        let mut before = session.token_topics();
        let is_gone = |topic: &str| rights.channel(topic).is_none();
        let is_new = |channel: &Channel| {
            let topic = self.hub.find_topic(&channel.name);
            let follows = topic.is_some_and(|topic| self.follows(slot, &topic));
            !follows && self.may_follow(slot, &channel.name, Some(Source::ConnectionToken))
        };
        before.any(is_gone) || rights.channels.iter().any(is_new)
    }

    /// Subscribes a session as its client wishes, if that can be.
    pub(super) fn fulfil(
        &mut self,
        slot: u32,
        coding: Coding,
        wish: &Wish,
        verdict: Option<Verdict>,
    ) -> Result<Vec<u8>, Refusal> {
        let now_s = self.hub.unix_s();
        let special = match verdict {
            None => None,
            Some(verdict) => {
                let session = &self.talks.at(slot).session;
                Some(session.judge(verdict.subscription(), &wish.topic, now_s)?)
            }
        };
        let expires_s = special.as_ref().and_then(|special| special.expires_s);
        let start = Start {
            since: wish.recover.as_ref(),
            whole_or_not: wish.whole_or_not,
            joins: wish.joins,
            first_apart: true,
        };
        let begun = self.follow(slot, &wish.topic, special, start)?;
        let result = words::begun(begun, expires_s, None, now_s);
        Ok(words::subscribed(coding, wish.id, &result))
    }

    /// A session's client comes with another token for a topic that it follows.
    pub(super) fn sub_refresh(
        &mut self,
        slot: u32,
        coding: Coding,
        id: u32,
        name: &TopicName,
        verdict: Option<Verdict>,
    ) -> Result<Vec<u8>, Refusal> {
        let topic = self.hub.find_topic(name.as_str());
        let topic = topic.filter(|topic| self.follows(slot, topic));
        let topic = topic.ok_or(Failure::NotSubscribed)?;
        if self.is_begun_by_server(slot, name.as_str()) {
            return Err(Refusal::Closes(CloseReason::BadRequest));
        }
        let verdict = verdict.ok_or(Failure::TokenMissing)?;
        let now_s = self.hub.unix_s();
        let checked = verdict.subscription();
        let talk = self.talks.get_mut(slot).expect("it has a session");
        let special = talk.session.judge_refresh(checked, name, now_s)?;
        let expires_s = special.expires_s;
        talk.session.note(name.as_str(), special);
        self.note_expiry(slot);
        self.appear(slot, &topic);
        Ok(words::sub_refreshed(coding, id, expires_s, now_s))
    }
}
