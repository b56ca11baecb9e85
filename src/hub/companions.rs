//! Companions: beside a topic whose subscribers are told who comes and goes, a log of its own
//! for that, under the topic's name. It keeps little and not for long, and goes when nobody holds it.
//! Users see their topics alone: companions count in no limit or list of
//! those.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Hub;
use super::codec::Codec;
use super::quiet::is_unused;
use crate::config::Joins;
use crate::log::{AppendError, Draft, SavedTopic, Topic};
use crate::protocol::centrifugo::{ClientInfo, Membership, membership};

/// All companions, by the names of their topics.
#[derive(Default)]
pub(super) struct Companions(Mutex<HashMap<Arc<str>, Arc<Topic>>>);

impl Companions {
    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<Topic>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hub {
    /// The companion of the topic with this name, made if there is none.
    pub fn companion(&self, name: &Arc<str>) -> Arc<Topic> {
        let mut companions = self.companions.lock();
        if let Some(known) = companions.get(name) {
            return known.clone();
        }
        let (cores, arenas) = (self.cores.len(), self.arenas.clone());
        let companion = Arc::new(Topic::new(name.clone(), fastrand::u64(1..), cores, arenas));
        self.give_companions_policy(&companion);
        companions.insert(name.clone(), companion.clone());
        companion
    }

    /// The companion of a topic, if somebody hears it.
    pub fn find_companion(&self, name: &str) -> Option<Arc<Topic>> {
        self.companions.lock().get(name).cloned()
    }

    /// All companions.
    pub fn all_companions(&self) -> Vec<Arc<Topic>> {
        self.companions.lock().values().cloned().collect()
    }

    /// Takes up a companion where another process left it.
    ///
    /// # Errors
    /// When what was saved makes no sense.
    pub fn restore_companion(&self, saved: &SavedTopic) -> Result<(), String> {
        let (cores, arenas) = (self.cores.len(), self.arenas.clone());
        let companion = Topic::restore(saved, cores, arenas)
            .ok_or_else(|| format!("the log of who is in topic {:?} is damaged", saved.name))?;
        self.give_companions_policy(&companion);
        let name = companion.name().clone();
        self.companions.lock().insert(name, Arc::new(companion));
        Ok(())
    }

    /// Tells those who hear of it, from outside the cores, that a client has gone that
    /// followed a topic.
    pub fn tell_gone(&self, topic: &Topic, info: &ClientInfo) {
        self.presence.look(topic.name(), &info.user, |is_last| {
            self.note_member(topic, false, is_last, || info.user.as_str().into());
            self.tell_membership(topic.name(), Membership::leaves(is_last), info);
        });
    }

    /// The same, or that one has come.
    pub(super) fn tell_membership(&self, topic: &str, what: Membership, info: &ClientInfo) {
        let Some(companion) = self.find_companion(topic) else {
            return;
        };
        if self.policy_named(topic).joins == Joins::Nobody {
            return;
        }
        let payload = membership(what, info);
        let draft = Draft {
            text: false,
            len: payload.len(),
            now_ms: self.unix_ms(self.now_ms()),
            offset: None,
            extras: None,
        };
        let mut codec = Codec::default();
        let mut encoder = codec.plain();
        let told = companion.publish(&draft, self.retention(&companion), &mut encoder, |room| {
            room.copy_from_slice(&payload);
            Ok::<_, Infallible>(())
        });
        match told {
            Ok(_) => self.announce(&companion, None),
            Err(AppendError::Payload(never)) => match never {},
            Err(error) => {
                tracing::warn!(%error, "nobody is told who has come or gone");
                self.lose_join(&companion);
            }
        }
    }

    /// There was no room in a companion to say who has come or gone.
    pub fn lose_join(&self, companion: &Arc<Topic>) {
        for mailbox in self.mailboxes() {
            mailbox.miss_join(companion.clone());
        }
    }

    /// Lets go of companions that nobody hears any more, and of what the others have told.
    pub(super) fn expire_companions(&self, now_ms: u64) {
        self.companions.lock().retain(|_, companion| {
            companion.expire(now_ms, self.retention(companion));
            !is_unused(companion)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Settings, Switch};
    use crate::protocol::encoding::Format;
    use crate::protocol::topic::TopicName;

    #[test]
    fn a_companion_is_there_while_it_is_heard_and_counts_nowhere() {
        let settings = Settings {
            presence: Switch::On,
            ..Settings::default()
        };
        let hub = Hub::new(settings).unwrap();
        let name: Arc<str> = "room".into();
        let topic = hub.topic(&TopicName::new("room").unwrap()).unwrap();
        // Nobody hears it.
        hub.tell_gone(&topic, &ClientInfo::default());
        let companion = hub.companion(&name);
        assert!(Arc::ptr_eq(&companion, &hub.companion(&name)));
        let heard = companion.attach(Format::JoinsJson);
        hub.tell_gone(&topic, &ClientInfo::default());
        assert_eq!(companion.newest(), 1);
        hub.expire();
        // Kept for a moment, for those who have just been told who is there.
        assert_eq!(companion.summary(hub.retention(&companion)).first_offset, 1);
        assert_eq!(hub.topics_len(), 1);
        assert!(Arc::ptr_eq(&topic, &hub.find_topic(&name).unwrap()));
        drop((companion, heard));
        hub.expire();
        assert!(hub.find_companion(&name).is_none());
    }
}
