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
    list: BTreeMap<u128, Member>,
    /// How many connections each user has.
    users: HashMap<String, u32>,
    /// The list as it is given out, until somebody comes or goes.
    snapshot: Option<Arc<[ClientInfo]>>,
}

#[derive(Debug, PartialEq, Eq)]
struct Member {
    info: Arc<ClientInfo>,
    /// The node of the cluster that it is at; `None` is this one.
    node: Option<u64>,
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
        members.add(client, Member { info, node: None });
    }

    /// A client follows a topic no more, if it did: returns whether it did.
    pub fn leave(&self, topic: &str, client: u128) -> bool {
        self.take(topic, client, None).is_some()
    }

    /// A client follows a topic at another node. Returns whether it is new.
    pub(super) fn join_guest(
        &self,
        topic: &Arc<str>,
        client: u128,
        info: Arc<ClientInfo>,
        node: u64,
    ) -> bool {
        let mut topics = self.lock();
        let members = topics.entry(topic.clone()).or_default();
        let known = members.list.get(&client);
        let is_new = known.is_none();
        // One that is here is here, whatever others have known before.
        if known.is_none_or(|member| member.node.is_some()) {
            let node = Some(node);
            members.add(client, Member { info, node });
        }
        is_new
    }

    /// A client follows a topic no more at another node. Returns who it was, if it did.
    pub(super) fn leave_guest(
        &self,
        topic: &str,
        client: u128,
        node: u64,
    ) -> Option<Arc<ClientInfo>> {
        self.take(topic, client, Some(node))
    }

    /// Forgets who is at a node, and returns them with their topics.
    pub(super) fn take_guests(&self, node: u64) -> Vec<(Arc<str>, Arc<ClientInfo>)> {
        let mut taken = Vec::new();
        let mut topics = self.lock();
        topics.retain(|topic, members| {
            let guests = members.list.iter();
            let guests = guests.filter(|(_, member)| member.node == Some(node));
            let guests: Vec<u128> = guests.map(|(client, _)| *client).collect();
            for client in guests {
                let member = members.remove(client).expect("it is listed");
                taken.push((topic.clone(), member.info));
            }
            !members.list.is_empty()
        });
        taken
    }

    /// Those who follow a topic here.
    pub(super) fn own(&self, topic: &str) -> Vec<(u128, Arc<ClientInfo>)> {
        let topics = self.lock();
        let list = topics.get(topic).into_iter().flat_map(|of| &of.list);
        list.filter(|(_, member)| member.node.is_none())
            .map(|(client, member)| (*client, member.info.clone()))
            .collect()
    }

    fn take(&self, topic: &str, client: u128, node: Option<u64>) -> Option<Arc<ClientInfo>> {
        let mut topics = self.lock();
        let members = topics.get_mut(topic)?;
        members.list.get(&client).filter(|of| of.node == node)?;
        let member = members.remove(client);
        if members.list.is_empty() {
            topics.remove(topic);
        }
        member.map(|member| member.info)
    }

    /// All who follow a topic.
    pub fn list(&self, topic: &str) -> Arc<[ClientInfo]> {
        let mut topics = self.lock();
        let Some(members) = topics.get_mut(topic) else {
            return Arc::default();
        };
        let members_of = members.list.values();
        let all = || members_of.map(|of| (*of.info).clone()).collect();
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
    fn add(&mut self, client: u128, member: Member) {
        if self.list.get(&client) == Some(&member) {
            return;
        }
        self.remove(client);
        *self.users.entry(member.info.user.clone()).or_default() += 1;
        self.list.insert(client, member);
        self.snapshot = None;
    }

    fn remove(&mut self, client: u128) -> Option<Member> {
        let member = self.list.remove(&client)?;
        self.snapshot = None;
        if let Some(count) = self.users.get_mut(&member.info.user) {
            *count -= 1;
            if *count == 0 {
                self.users.remove(&member.info.user);
            }
        }
        Some(member)
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
