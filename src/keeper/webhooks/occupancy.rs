//! Which topics are occupied, as far as the servers of apps know, and who is about to be told
//! that somebody has gone.
//!
//! Who goes and comes back within [`REST_MS`] has not been away: nothing is told of it.

use std::collections::HashSet;
use std::sync::Arc;

use super::timers::Timers;

/// So long nobody has been there, or the user has not, before that is told.
pub(super) const REST_MS: u64 = 3000;
/// Users of whom it is not sure that they have gone. Of more it is told at once.
const DEPARTURES_MAX: usize = 64 << 10;

/// The topics that are occupied.
#[derive(Debug, Default)]
pub(super) struct Occupancy {
    occupied: HashSet<Arc<str>>,
    /// Those of them that nobody was in when they were last looked at.
    deserted: Timers<Arc<str>>,
}

impl Occupancy {
    /// A topic was occupied in the process before, as its servers know.
    pub(super) fn take_up(&mut self, topic: Arc<str>) {
        self.occupied.insert(topic);
    }

    /// Those that are occupied, as their servers know.
    pub(super) fn save(&self) -> Vec<String> {
        self.occupied.iter().map(ToString::to_string).collect()
    }

    /// The same.
    pub(super) fn occupied(&self) -> impl Iterator<Item = &Arc<str>> {
        self.occupied.iter()
    }

    /// Somebody is in a topic, or nobody. Returns whether its servers are to be told that it is
    /// occupied.
    pub(super) fn look(&mut self, topic: &Arc<str>, is_occupied: bool, now_ms: u64) -> bool {
        if is_occupied {
            self.deserted.cancel(topic);
            return self.occupied.insert(topic.clone());
        }
        if self.occupied.contains(topic) {
            self.deserted.set(topic, now_ms + REST_MS);
        }
        false
    }

    /// The topics that nobody has been in for a while, unless somebody is there now.
    pub(super) fn take_vacated(
        &mut self,
        now_ms: u64,
        is_occupied: impl Fn(&str) -> bool,
    ) -> Vec<Arc<str>> {
        let mut due = self.deserted.take_due(now_ms);
        due.retain(|topic| !is_occupied(topic) && self.occupied.remove(topic));
        due
    }

    pub(super) fn next_ms(&self) -> Option<u64> {
        self.deserted.next_ms()
    }

    /// Forgets topics that nobody is told of any more. Returns these.
    pub(super) fn retain(&mut self, wanted: impl Fn(&Arc<str>) -> bool) -> Vec<Arc<str>> {
        self.deserted.retain(&wanted);
        let unwanted = self.occupied.extract_if(|topic| !wanted(topic));
        unwanted.collect()
    }
}

/// A user in a topic.
pub(super) type Member = (Arc<str>, Box<str>);

/// Users that have left topics.
#[derive(Debug, Default)]
pub(super) struct Departures(Timers<Member>);

impl Departures {
    /// A user has come. Returns whether that is to be told.
    pub(super) fn come(&mut self, member: &Member) -> bool {
        !self.0.cancel(member)
    }

    /// A user has gone. Returns whether that is to be told at once.
    pub(super) fn go(&mut self, member: &Member, now_ms: u64) -> bool {
        if self.0.len() >= DEPARTURES_MAX {
            return true;
        }
        self.0.set(member, now_ms + REST_MS);
        false
    }

    /// The users that have been away for a while, unless they are there now.
    pub(super) fn take_gone(
        &mut self,
        now_ms: u64,
        is_there: impl Fn(&Member) -> bool,
    ) -> Vec<Member> {
        let mut due = self.0.take_due(now_ms);
        due.retain(|member| !is_there(member));
        due
    }

    /// Those who may come back.
    pub(super) fn save(&self) -> Vec<(String, String)> {
        let members = self.0.keys();
        members
            .map(|(topic, user)| (topic.to_string(), user.to_string()))
            .collect()
    }

    pub(super) fn next_ms(&self) -> Option<u64> {
        self.0.next_ms()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_occupied_once_and_vacated_when_nobody_came_for_a_while() {
        let mut occupancy = Occupancy::default();
        let topic: Arc<str> = "a".into();
        assert!(!occupancy.look(&topic, false, 0));
        assert!(occupancy.look(&topic, true, 1));
        assert!(!occupancy.look(&topic, true, 2));
        assert!(!occupancy.look(&topic, false, 10));
        // Time runs from when the last one left.
        assert!(!occupancy.look(&topic, false, 20));
        assert_eq!(occupancy.next_ms(), Some(10 + REST_MS));
        assert!(occupancy.take_vacated(9 + REST_MS, |_| false).is_empty());
        assert_eq!(
            occupancy.take_vacated(10 + REST_MS, |_| false),
            ["a".into()]
        );
        assert_eq!(occupancy.next_ms(), None);
        assert!(occupancy.save().is_empty());
        assert!(occupancy.look(&topic, true, 5000));
        assert_eq!(occupancy.save(), ["a"]);
    }

    #[test]
    fn who_comes_back_soon_has_not_been_away() {
        let mut occupancy = Occupancy::default();
        let topic: Arc<str> = "a".into();
        occupancy.take_up(topic.clone());
        assert!(!occupancy.look(&topic, false, 0));
        assert!(!occupancy.look(&topic, true, REST_MS - 1));
        assert!(occupancy.take_vacated(REST_MS, |_| false).is_empty());
        occupancy.look(&topic, false, REST_MS);
        // Of this one it has not been told yet.
        assert!(occupancy.take_vacated(2 * REST_MS, |_| true).is_empty());
        assert!(!occupancy.look(&topic, true, 2 * REST_MS));
        let mut departures = Departures::default();
        let member: Member = (topic, "ann".into());
        assert!(departures.come(&member));
        assert!(!departures.go(&member, 0));
        assert!(!departures.come(&member));
        assert!(departures.take_gone(REST_MS, |_| false).is_empty());
        assert!(!departures.go(&member, 10));
        assert_eq!(departures.save(), [("a".to_owned(), "ann".to_owned())]);
        assert_eq!(departures.take_gone(10 + REST_MS, |_| false), [member]);
    }

    #[test]
    fn topics_that_nobody_is_told_of_are_forgotten() {
        let mut occupancy = Occupancy::default();
        for topic in ["a", "b"] {
            occupancy.look(&topic.into(), true, 0);
            occupancy.look(&topic.into(), false, 0);
        }
        assert_eq!(occupancy.retain(|topic| &**topic == "b"), ["a".into()]);
        assert_eq!(occupancy.take_vacated(REST_MS, |_| false), ["b".into()]);
    }

    #[test]
    fn of_too_many_departures_it_is_told_at_once() {
        let mut departures = Departures::default();
        let member = |number: usize| ("a".into(), number.to_string().into());
        for number in 0..DEPARTURES_MAX {
            assert!(!departures.go(&member(number), 0));
        }
        assert!(departures.go(&member(DEPARTURES_MAX), 0));
    }
}
