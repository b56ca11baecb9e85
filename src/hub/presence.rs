//! Who is there: of each topic the clients of sessions that follow it, exact over all
//! cores. Cores tell of each who comes and goes; who asks is given a list that is made
//! once for each change.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use super::rosters::Roster;
use super::{Hub, lock};
use crate::protocol::centrifugo::ClientInfo;
use crate::protocol::encoding::Format;
use crate::protocol::topic::TopicName;

/// The members of all topics. Each topic's have a lock of their own: who comes to one, or is told
/// who is there, holds up nobody elsewhere.
///
/// Locks are taken in this order: the list of topics (for a moment only), then one topic's members, then
/// companions, logs and mailboxes, as those who hear of a change are told while no other can be.
#[derive(Debug, Default)]
pub struct Presence(RwLock<HashMap<Arc<str>, Arc<Mutex<Members>>>>);

/// The members of one topic, by the numbers of their connections.
#[derive(Debug, Default)]
struct Members {
    list: BTreeMap<u128, Member>,
    /// How many connections each user has.
    users: HashMap<String, u32>,
    /// How often somebody has come or gone.
    changes: u64,
    /// The list as it is given out, until somebody comes or goes.
    snapshot: Option<Arc<[ClientInfo]>>,
    /// As clients of apps get it: the newest that has been written, older than the list may be. It
    /// is let go of once those who came at about the same time have it.
    roster: Option<Arc<Roster>>,
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

/// There are as many users as there may be.
#[derive(Debug, PartialEq, Eq)]
pub struct Crowded;

impl Presence {
    /// A client follows a topic. While nobody else can come or go, `tell` is called with
    /// whether it is its user's first connection there. Returns the number of this change.
    ///
    /// # Errors
    /// When there are as many users as `users_max` says, and it is none of them.
    pub fn join(
        &self,
        topic: &Arc<str>,
        client: u128,
        info: Arc<ClientInfo>,
        users_max: usize,
        tell: impl FnOnce(bool),
    ) -> Result<u64, Crowded> {
        self.with(topic, |members| {
            if members.users.len() >= users_max && !members.users.contains_key(&info.user) {
                return Err(Crowded);
            }
            let is_first = members.add(client, Member { info, node: None });
            tell(is_first);
            Ok(members.changes)
        })
    }

    /// A client follows a topic no more. If it did, `tell` is called in the same way with
    /// whether it was its user's last connection there. Returns whether it did.
    pub fn leave(&self, topic: &str, client: u128, tell: impl FnOnce(bool)) -> bool {
        self.take(topic, client, None, |_, is_last| tell(is_last))
    }

    /// A client follows a topic at another node: `tell` is called in the same way if it is new.
    pub(super) fn join_guest(
        &self,
        topic: &Arc<str>,
        client: u128,
        info: Arc<ClientInfo>,
        node: u64,
        tell: impl FnOnce(bool),
    ) {
        self.with(topic, |members| {
            let known = members.list.get(&client);
            let is_new = known.is_none();
            let mut is_first = false;
            // One that is here is here, whatever others have known before.
            if known.is_none_or(|member| member.node.is_some()) {
                let node = Some(node);
                is_first = members.add(client, Member { info, node });
            }
            if is_new {
                tell(is_first);
            }
        });
    }

    /// A client follows a topic no more at another node: `tell` is called in the same way, with
    /// who it was, if it did.
    pub(super) fn leave_guest(
        &self,
        topic: &str,
        client: u128,
        node: u64,
        tell: impl FnOnce(&ClientInfo, bool),
    ) {
        self.take(topic, client, Some(node), tell);
    }

    /// Forgets who is at a node: `tell` is called in the same way for each of them.
    pub(super) fn take_guests(&self, node: u64, mut tell: impl FnMut(&str, &ClientInfo, bool)) {
        let topics: Vec<Arc<str>> = self.read().keys().cloned().collect();
        for topic in topics {
            self.with_known(&topic, |members| {
                let guests = members.list.iter();
                let guests = guests.filter(|(_, member)| member.node == Some(node));
                let guests: Vec<u128> = guests.map(|(client, _)| *client).collect();
                for client in guests {
                    let (member, is_last) = members.remove(client).expect("it is listed");
                    tell(&topic, &member.info, is_last);
                }
            });
        }
    }

    /// While nobody can come or go, `tell` is called with whether a user has no connection
    /// to a topic.
    pub(super) fn look(&self, topic: &Arc<str>, user: &str, tell: impl FnOnce(bool)) {
        self.with(topic, |members| tell(!members.users.contains_key(user)));
    }

    /// Those who follow a topic here.
    pub(super) fn own(&self, topic: &str) -> Vec<(u128, Arc<ClientInfo>)> {
        let own = self.with_known(topic, |members| {
            let own = members.list.iter();
            own.filter(|(_, member)| member.node.is_none())
                .map(|(client, member)| (*client, member.info.clone()))
                .collect()
        });
        own.unwrap_or_default()
    }

    fn take(
        &self,
        topic: &str,
        client: u128,
        node: Option<u64>,
        tell: impl FnOnce(&ClientInfo, bool),
    ) -> bool {
        let taken = self.with_known(topic, |members| {
            let is_there = |member: &Member| member.node == node;
            if !members.list.get(&client).is_some_and(is_there) {
                return false;
            }
            let (member, is_last) = members.remove(client).expect("it is listed");
            tell(&member.info, is_last);
            true
        });
        taken.unwrap_or(false)
    }

    /// All who follow a topic.
    pub fn list(&self, topic: &str) -> Arc<[ClientInfo]> {
        let list = self.with_known(topic, |members| {
            let members_of = members.list.values();
            let all = || members_of.map(|of| (*of.info).clone()).collect();
            members.snapshot.get_or_insert_with(all).clone()
        });
        list.unwrap_or_default()
    }

    /// Who follows a topic, in a roster that has at least the change with this number. One
    /// that is too old is replaced by what `write` makes while nobody can come or go of the
    /// number of changes and of the members, if it makes one.
    pub(super) fn roster(
        &self,
        topic: &str,
        change: u64,
        write: impl FnOnce(
            Option<&Roster>,
            u64,
            &mut dyn Iterator<Item = &ClientInfo>,
        ) -> Option<Roster>,
    ) -> Option<Arc<Roster>> {
        let roster = self.with_known(topic, |members| {
            let known = members.roster.as_ref();
            if let Some(known) = known.filter(|known| known.change >= change) {
                return Some(known.clone());
            }
            let mut all = members.list.values().map(|member| &*member.info);
            let roster = write(known.map(|known| &**known), members.changes, &mut all)?;
            members.roster = Some(Arc::new(roster));
            members.roster.clone()
        });
        roster.flatten()
    }

    /// Lets go of a topic's roster, if it is still this one.
    pub(super) fn drop_roster(&self, topic: &str, change: u64) {
        self.with_known(topic, |members| {
            members.roster.take_if(|roster| roster.change == change);
        });
    }

    /// A user follows a topic.
    pub fn is_there(&self, topic: &str, user: &str) -> bool {
        let is_there = self.with_known(topic, |members| members.users.contains_key(user));
        is_there.unwrap_or(false)
    }

    /// How many follow a topic.
    pub fn numbers(&self, topic: &str) -> Numbers {
        let numbers = self.with_known(topic, |members| Numbers {
            clients: members.list.len(),
            users: members.users.len(),
        });
        numbers.unwrap_or_default()
    }

    /// Looks at a topic's members, or changes them.
    fn with<T>(&self, topic: &Arc<str>, look: impl FnOnce(&mut Members) -> T) -> T {
        let known = self.read().get(topic).cloned();
        let members = known.unwrap_or_else(|| {
            let mut topics = self.0.write().unwrap_or_else(PoisonError::into_inner);
            topics.entry(topic.clone()).or_default().clone()
        });
        let done = look(&mut lock(&members));
        self.tidy(topic, members);
        done
    }

    /// The same where a topic has any.
    fn with_known<T>(&self, topic: &str, look: impl FnOnce(&mut Members) -> T) -> Option<T> {
        let members = self.read().get(topic).cloned()?;
        let done = look(&mut lock(&members));
        self.tidy(topic, members);
        Some(done)
    }

    /// Forgets a topic that has no members, unless somebody else is just looking at it: who does
    /// so last forgets it.
    fn tidy(&self, topic: &str, members: Arc<Mutex<Members>>) {
        let is_empty = lock(&members).list.is_empty();
        drop(members);
        if is_empty {
            let mut topics = self.0.write().unwrap_or_else(PoisonError::into_inner);
            let known = topics.get_mut(topic).and_then(Arc::get_mut);
            let is_empty = |members: &mut Mutex<Members>| {
                let members = members.get_mut();
                members
                    .unwrap_or_else(PoisonError::into_inner)
                    .list
                    .is_empty()
            };
            if known.is_some_and(is_empty) {
                topics.remove(topic);
            }
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<Arc<str>, Arc<Mutex<Members>>>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
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
    /// Returns whether it is its user's first connection.
    fn add(&mut self, client: u128, member: Member) -> bool {
        if self.list.get(&client) == Some(&member) {
            return false;
        }
        let before = self.remove(client);
        let connections = self.users.entry(member.info.user.clone()).or_default();
        *connections += 1;
        let is_first = *connections == 1 && before.is_none();
        self.list.insert(client, member);
        self.note_change();
        is_first
    }

    /// Returns who it was, and whether it was its user's last connection.
    fn remove(&mut self, client: u128) -> Option<(Member, bool)> {
        let member = self.list.remove(&client)?;
        self.note_change();
        let connections = self.users.get_mut(&member.info.user);
        let connections = connections.expect("each of its connections is counted");
        *connections -= 1;
        let is_last = *connections == 0;
        if is_last {
            self.users.remove(&member.info.user);
        }
        Some((member, is_last))
    }

    fn note_change(&mut self) {
        self.changes += 1;
        self.snapshot = None;
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
            let joined = presence.join(&topic, client, info(user, client), 2, |_| {});
            assert!(joined.is_ok());
        }
        assert_eq!(presence.numbers("t"), numbers(3, 2));
        let third = presence.join(&topic, 4, info("cid", 4), 2, |_| {});
        assert_eq!(third, Err(Crowded));
        let names = |list: &[ClientInfo]| -> Vec<String> {
            list.iter().map(|info| info.client.clone()).collect()
        };
        let list = presence.list("t");
        assert_eq!(names(&list), ["1", "2", "3"]);
        // As long as nothing changes it is the same list.
        assert!(Arc::ptr_eq(&list, &presence.list("t")));
        presence.leave("t", 2, |_| {});
        presence.leave("t", 2, |_| {});
        assert_eq!(presence.numbers("t"), numbers(2, 2));
        presence.leave("t", 3, |_| {});
        assert_eq!(names(&presence.list("t")), ["1"]);
        assert_eq!(presence.numbers("t"), numbers(1, 1));
        presence.leave("t", 1, |_| {});
        assert_eq!(presence.numbers("t"), numbers(0, 0));
        assert!(presence.list("t").is_empty() && presence.read().is_empty());
    }
}
