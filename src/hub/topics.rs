//! The topics there are: made when first named, forgotten when nobody has needed them for a
//! while, and who gives up history when memory is short.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};

use super::Hub;
use super::quiet::{self, Quiet};
use crate::log::{SavedTopic, Summary, Topic};
use crate::protocol::topic::TopicName;

/// What a message's own segment has beyond the message, at most.
const SEGMENT_OVERHEAD: usize = 8 << 10;

/// The number of topics has reached `topics_max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there are as many topics as this server keeps")]
pub struct TopicsFull;

impl Hub {
    /// The topic of that name, made if there is none. Where there are `topics_max` already,
    /// the one goes that nobody reads and that was quiet longest.
    ///
    /// # Errors
    /// When all of them are in use.
    pub fn topic(&self, name: &TopicName) -> Result<Arc<Topic>, TopicsFull> {
        let mut topics = self.lock_topics();
        if let Some(known) = topics.get(name.as_str()) {
            return Ok(known.clone());
        }
        while topics.len() >= self.settings().topics_max {
            let Some(evicted) = self.lock_quiet().evict(&mut topics, self.now_ms()) else {
                return Err(TopicsFull);
            };
            self.unfollow(&evicted);
        }
        let (name, cores, arenas) = (name.as_arc(), self.cores.len(), self.arenas.clone());
        let topic = match self.is_to_be_shared(name) {
            true => Topic::shared(name.clone(), cores, arenas),
            false => Topic::new(name.clone(), fastrand::u64(1..), cores, arenas),
        };
        let topic = Arc::new(topic);
        self.give_policy(&topic);
        topic.note_use(self.now_ms());
        topics.insert(name.clone(), topic.clone());
        Ok(topic)
    }

    /// Topics that had to go for others, with their history.
    pub fn evictions(&self) -> u64 {
        self.lock_quiet().evicted
    }

    /// How many topics nobody read that kept no message, when they were last looked at.
    pub fn idle_topics(&self) -> usize {
        self.idle_topics.load(Ordering::Relaxed)
    }

    /// How many topics there are.
    pub fn topics_len(&self) -> usize {
        self.lock_topics().len()
    }

    /// The topic of that name and its state, if there is one.
    pub fn known_topic(&self, name: &TopicName) -> Option<(Arc<Topic>, Summary)> {
        let topic = self.lock_topics().get(name.as_str())?.clone();
        let summary = self.summary(&topic);
        Some((topic, summary))
    }

    /// The first `count` topics, by the bytes of their names, that begin with
    /// `prefix` and come behind `after`.
    pub fn topics(&self, prefix: &str, after: &str, count: usize) -> Vec<(Arc<Topic>, Summary)> {
        let wanted =
            |topic: &&Arc<Topic>| topic.name().starts_with(prefix) && topic.name().as_ref() > after;
        let mut topics: Vec<_> = self
            .lock_topics()
            .values()
            .filter(wanted)
            .cloned()
            .collect();
        topics.sort_unstable_by(|a, b| a.name().cmp(b.name()));
        topics.truncate(count);
        topics
            .into_iter()
            .map(|topic| {
                let summary = self.summary(&topic);
                (topic, summary)
            })
            .collect()
    }

    /// The state of a topic.
    pub fn summary(&self, topic: &Topic) -> Summary {
        topic.summary(self.retention(topic))
    }

    /// All topics.
    pub fn all_topics(&self) -> Vec<Arc<Topic>> {
        self.lock_topics().values().cloned().collect()
    }

    /// The topic of that name, if there is one.
    pub fn find_topic(&self, name: &str) -> Option<Arc<Topic>> {
        self.lock_topics().get(name).cloned()
    }

    /// Takes up a topic where another process left it.
    ///
    /// # Errors
    /// When what was saved makes no sense.
    pub fn restore_topic(&self, saved: &SavedTopic) -> Result<(), String> {
        let (cores, arenas) = (self.cores.len(), self.arenas.clone());
        let topic = Topic::restore(saved, cores, arenas)
            .ok_or_else(|| format!("the log of topic {:?} is damaged", saved.name))?;
        let topic = Arc::new(topic);
        self.give_policy(&topic);
        topic.note_use(self.now_ms());
        self.lock_topics().insert(topic.name().clone(), topic);
        Ok(())
    }

    /// Lets go of history that is too old, and of topics that nobody needs. One that keeps no
    /// message, and that nobody reads, is still known for as long as it would have kept one: who
    /// comes back until then finds epoch and offset as they were, and so has missed nothing.
    pub fn expire(&self) {
        let now_ms = self.now_ms();
        let unix_ms = self.unix_ms(now_ms);
        let mut idle = 0;
        let mut topics = self.lock_topics();
        topics.retain(|_, topic| {
            let retention = self.retention(topic);
            let empty = topic.expire(unix_ms, retention);
            if quiet::is_unused(topic) && self.is_to_be_let_go(topic) {
                self.unfollow(topic);
                return false;
            }
            if topic.is_shared() {
                if !quiet::is_unused(topic) {
                    topic.note_use(now_ms);
                }
                return true;
            }
            if !empty || !quiet::is_unused(topic) {
                topic.note_use(now_ms);
                return true;
            }
            let is_known = now_ms.saturating_sub(topic.used_ms()) < retention.age_ms_max;
            idle += usize::from(is_known);
            if !is_known && topic.kept().is_some() {
                // The store need not know it any longer either.
                self.keeping().post(topic.name());
            }
            is_known
        });
        drop(topics);
        self.idle_topics.store(idle, Ordering::Relaxed);
        self.expire_companions(unix_ms);
        self.drop_rosters(now_ms);
        // Better now than when somebody waits for it.
        if self.log_bytes() > self.log_bytes_wanted() {
            self.make_room();
        }
        self.arenas.tidy();
    }

    /// Gives up history where all logs together have reached their limit: that of
    /// the topics which hold most, down to an even share, until an eighth of the
    /// limit is free, and room for the longest message, or there is no history left. False if nothing has come of
    /// it: then readers that lag hold all there is.
    pub fn make_room(&self) -> bool {
        let mut sheds = self.sheds.lock().expect("nothing panics inside the lock");
        if self.log_bytes() <= self.log_bytes_wanted() {
            // Somebody else has just done it.
            return true;
        }
        *sheds += 1;
        let before = self.log_bytes();
        let topics = self.all_topics();
        let mut held: Vec<u64> = topics.iter().map(|topic| topic.log_bytes()).collect();
        held.sort_unstable();
        let mut share = even_share(&held, self.log_bytes_wanted());
        // A topic may keep more than its share for its readers; then the others
        // have to give more.
        while self.log_bytes() > self.log_bytes_wanted() {
            let any = topics.iter().fold(false, |any, t| t.shed(share) | any);
            if share == 0 && !any {
                break;
            }
            share /= 2;
        }
        if self.log_bytes() > self.log_bytes_wanted() {
            // What cores still hold of logs that are empty now they let go of
            // when they look.
            topics.iter().for_each(|topic| self.announce(topic, None));
        }
        self.log_bytes() < before
    }

    fn log_bytes_wanted(&self) -> u64 {
        let settings = self.settings();
        let max = settings.log_bytes_total_max;
        // What it is made for has to fit, however long.
        let room = (max / 8).max(settings.message_bytes_max + SEGMENT_OVERHEAD);
        max.saturating_sub(room) as u64
    }

    /// How often history was given up early to make room.
    pub fn sheds(&self) -> u64 {
        *self.sheds.lock().expect("nothing panics inside the lock")
    }

    fn lock_quiet(&self) -> MutexGuard<'_, Quiet> {
        self.quiet.lock().expect("nothing panics inside the lock")
    }

    pub(super) fn lock_topics(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<Topic>>> {
        self.topics.lock().expect("nothing panics inside the lock")
    }
}

/// The most that each may hold so that all together hold at most `wanted`; `held`
/// is what they hold now, the least first.
fn even_share(held: &[u64], wanted: u64) -> u64 {
    let mut left = wanted;
    for (number, bytes) in held.iter().enumerate() {
        let share = left / (held.len() - number) as u64;
        if *bytes > share {
            return share;
        }
        left -= bytes;
    }
    u64::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_who_hold_more_than_an_even_share_have_to_give() {
        assert_eq!(even_share(&[1, 2, 30, 40], 43), 20);
        assert_eq!(even_share(&[1, 2, 30, 40], 73), u64::MAX);
        assert_eq!(even_share(&[10, 10], 10), 5);
        assert_eq!(even_share(&[], 10), u64::MAX);
        let held = [1, 2, 30, 40];
        let share = even_share(&held, 53);
        let left: u64 = held.iter().map(|bytes| share.min(*bytes)).sum();
        assert!((50..=53).contains(&left));
    }
}
