//! Who is there: of each topic the clients of sessions that follow it, exact over all
//! cores. Cores tell of each who comes and goes; who asks is given a list that is made
//! once for each change.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Hub;
use crate::protocol::centrifugo::ClientInfo;
use crate::protocol::encoding::Format;
use crate::protocol::topic::TopicName;

/// The members of all topics.
#[derive(Debug, Default)]
pub struct Presence(Mutex<HashMap<Arc<str>, Members>>);

/// The members of one topic, by the numbers of their connections.
#[derive(Debug, Default)]
struct Members {
    list: BTreeMap<u128, Arc<ClientInfo>>,
    /// How many connections each user has.
    users: HashMap<String, u32>,
    /// The list as it is given out, until somebody comes or goes.
    snapshot: Option<Arc<[ClientInfo]>>,
}

/// How many there are.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Numbers {
    pub clients: usize,
    pub users: usize,
}

impl Presence {
    /// A client follows a topic.
    pub fn join(&self, topic: &Arc<str>, client: u128, info: Arc<ClientInfo>) {
        let mut topics = self.lock();
        let members = topics.entry(topic.clone()).or_default();
        if members.list.get(&client) == Some(&info) {
            return;
        }
        members.remove(client);
        *members.users.entry(info.user.clone()).or_default() += 1;
        members.list.insert(client, info);
        members.snapshot = None;
    }

    /// A client follows a topic no more, if it did.
    pub fn leave(&self, topic: &str, client: u128) {
        let mut topics = self.lock();
        let Some(members) = topics.get_mut(topic) else {
            return;
        };
        members.remove(client);
        if members.list.is_empty() {
            topics.remove(topic);
        }
    }

    /// All who follow a topic.
    pub fn list(&self, topic: &str) -> Arc<[ClientInfo]> {
        let mut topics = self.lock();
        let Some(members) = topics.get_mut(topic) else {
            return Arc::default();
        };
        let all = || members.list.values().map(|info| (**info).clone()).collect();
        members.snapshot.get_or_insert_with(all).clone()
    }

    /// How many follow a topic.
    pub fn numbers(&self, topic: &str) -> Numbers {
        let topics = self.lock();
        topics
            .get(topic)
            .map_or_else(Numbers::default, |members| Numbers {
                clients: members.list.len(),
                users: members.users.len(),
            })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Members>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hub {
    /// The clients of sessions that follow a topic; `None` where it is not known who they are.
    pub fn members(&self, topic: &TopicName) -> Option<Arc<[ClientInfo]>> {
        let name = topic.as_str();
        let listed = self.policy_named(name).presence_list;
        listed.then(|| self.presence.list(name))
    }

    /// How many there are. Of users only those that are listed are known.
    pub fn occupancy(&self, topic: &TopicName) -> Numbers {
        let name = topic.as_str();
        if self.policy_named(name).presence_list {
            return self.presence.numbers(name);
        }
        let topic = self.find_topic(name);
        let clients = topic.map_or(0, |topic| topic.subscribers(Format::is_push));
        Numbers {
            clients: usize::try_from(clients).unwrap_or(usize::MAX),
            users: 0,
        }
    }
}

impl Members {
    fn remove(&mut self, client: u128) {
        let Some(info) = self.list.remove(&client) else {
            return;
        };
        self.snapshot = None;
        if let Some(count) = self.users.get_mut(&info.user) {
            *count -= 1;
            if *count == 0 {
                self.users.remove(&info.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(user: &str, client: u128) -> Arc<ClientInfo> {
        Arc::new(ClientInfo {
            user: user.to_owned(),
            client: client.to_string(),
            ..ClientInfo::default()
        })
    }

    #[test]
    fn who_comes_and_goes_is_counted_once_and_listed() {
        let presence = Presence::default();
        let topic: Arc<str> = "t".into();
        let numbers = |clients, users| Numbers { clients, users };
        for (client, user) in [(3, "ann"), (1, "bob"), (2, "ann"), (2, "ann")] {
            presence.join(&topic, client, info(user, client));
        }
        assert_eq!(presence.numbers("t"), numbers(3, 2));
        let names = |list: &[ClientInfo]| -> Vec<String> {
            list.iter().map(|info| info.client.clone()).collect()
        };
        let list = presence.list("t");
        assert_eq!(names(&list), ["1", "2", "3"]);
        // As long as nothing changes it is the same list.
        assert!(Arc::ptr_eq(&list, &presence.list("t")));
        presence.leave("t", 2);
        presence.leave("t", 2);
        assert_eq!(presence.numbers("t"), numbers(2, 2));
        presence.leave("t", 3);
        assert_eq!(names(&presence.list("t")), ["1"]);
        assert_eq!(presence.numbers("t"), numbers(1, 1));
        presence.leave("t", 1);
        assert_eq!(presence.numbers("t"), numbers(0, 0));
        assert!(presence.list("t").is_empty() && presence.lock().is_empty());
    }
}
