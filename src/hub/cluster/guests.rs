//! Who is there on other nodes of the cluster, and what they are asked.

use std::sync::Arc;
use std::time::{Duration, Instant};

use prost::Message as _;
use tokio::sync::oneshot;

use super::{Hub, lock};
use crate::config::Joins;
use crate::log::Topic;
use crate::protocol::centrifugo::ClientInfo;

/// How long the clients of a node that has gone are shown: another process may go on with them.
const GONE_TIME: Duration = Duration::from_secs(3);

/// What the other nodes answered.
#[derive(Debug, Default)]
pub struct Answers {
    pub answers: Vec<Vec<u8>>,
    /// Nodes that did not answer.
    pub missing: usize,
}

/// A node that has gone.
#[derive(Debug)]
pub(super) struct Gone {
    node: u64,
    since: Instant,
}

impl Hub {
    /// A client of a session follows a topic here.
    pub fn appear(&self, topic: &Topic, client: u128, info: Arc<ClientInfo>) {
        let policy = self.policy(topic);
        // Others tell from their own lists who has come to them.
        let is_told = topic.is_shared() && policy.joins != Joins::Nobody;
        if !policy.presence_list && !is_told {
            return self.disappear(topic, client);
        }
        if topic.is_shared()
            && let Some(link) = self.cluster.link()
        {
            link.present(topic.name(), client, Some(info.encode_to_vec()));
        }
        self.presence.join(topic.name(), client, info);
    }

    /// It follows it no more.
    pub fn disappear(&self, topic: &Topic, client: u128) {
        let was_there = self.presence.leave(topic.name(), client);
        if was_there
            && topic.is_shared()
            && let Some(link) = self.cluster.link()
        {
            link.present(topic.name(), client, None);
        }
    }

    /// Tells the other nodes who is here, as they do not know it yet.
    pub(super) fn present_all(&self) {
        let Some(link) = self.cluster.link() else {
            return;
        };
        for topic in self.all_topics() {
            if topic.is_shared() {
                for (client, info) in self.presence.own(topic.name()) {
                    link.present(topic.name(), client, Some(info.encode_to_vec()));
                }
            }
        }
    }

    /// A client follows a topic at another node, or does so no more.
    pub fn note_guest(&self, node: u64, topic: &str, client: u128, info: Option<&[u8]>) {
        let name: Arc<str> = topic.into();
        let (info, has_come) = match info {
            Some(bytes) => {
                let Ok(info) = ClientInfo::decode(bytes) else {
                    tracing::warn!(topic, "another node says of a client what makes no sense");
                    return;
                };
                let info = Arc::new(info);
                if !self.presence.join_guest(&name, client, info.clone(), node) {
                    return;
                }
                (info, true)
            }
            None => match self.presence.leave_guest(topic, client, node) {
                Some(info) => (info, false),
                None => return,
            },
        };
        self.tell_membership(topic, has_come, &info);
    }

    /// A node has gone.
    pub fn note_node_gone(&self, node: u64) {
        let since = Instant::now();
        lock(&self.cluster.gone).push(Gone { node, since });
    }

    /// Forgets who was at nodes that have gone, and whom no other has taken up.
    pub fn forget_guests(&self) {
        let mut gone = lock(&self.cluster.gone);
        let due: Vec<_> = gone
            .extract_if(.., |gone| gone.since.elapsed() >= GONE_TIME)
            .collect();
        drop(gone);
        for Gone { node, .. } in due {
            for (topic, info) in self.presence.take_guests(node) {
                self.tell_membership(&topic, false, &info);
            }
        }
    }

    /// Asks all other nodes. Without a cluster there are none.
    pub async fn ask_nodes(&self, question: Vec<u8>) -> Answers {
        let Some(link) = self.cluster.link() else {
            return Answers::default();
        };
        let (told, answers) = oneshot::channel();
        link.ask(question, told);
        let nobody = Answers {
            missing: 1,
            ..Answers::default()
        };
        answers.await.unwrap_or(nobody)
    }
}
