//! Who is there on other nodes of the cluster, and what they are asked.

use std::sync::Arc;
use std::time::{Duration, Instant};

use prost::Message as _;
use tokio::sync::oneshot;

use super::super::presence::Crowded;
use super::{Hub, lock};
use crate::config::Joins;
use crate::log::Topic;
use crate::protocol::centrifugo::{ClientInfo, Membership};

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
    /// There is a list of those who follow a topic.
    pub fn lists(&self, topic: &Topic) -> bool {
        let policy = self.policy(topic);
        // Others tell from their own lists who has come to them.
        policy.presence_list || topic.is_shared() && policy.joins != Joins::Nobody
    }

    /// A client of a session follows a topic here; `info` where the topic [lists](Self::lists) it.
    /// While nobody else can come or go, `tell` is called with whether it is its user's first
    /// connection there. Returns the number of the change where there is a list.
    ///
    /// # Errors
    /// When it would be a user beyond `users_max`.
    pub fn appear(
        &self,
        topic: &Topic,
        client: u128,
        info: Option<Arc<ClientInfo>>,
        users_max: usize,
        tell: impl FnOnce(bool),
    ) -> Result<Option<u64>, Crowded> {
        let Some(info) = info else {
            self.disappear(topic, client, |_| {});
            tell(false);
            return Ok(None);
        };
        let name = topic.name();
        let join = self
            .presence
            .join(name, client, info.clone(), users_max, tell);
        let change = join?;
        if topic.is_shared()
            && let Some(link) = self.cluster.link()
        {
            link.present(name, client, Some(info.encode_to_vec()));
        }
        Ok(Some(change))
    }

    /// It follows it no more. `tell` is called in the same way with whether it was its user's
    /// last connection there.
    pub fn disappear(&self, topic: &Topic, client: u128, tell: impl FnOnce(bool)) {
        let mut tell = Some(tell);
        let listed = |is_last| tell.take().expect("called once")(is_last);
        let was_there = self.presence.leave(topic.name(), client, listed);
        if let Some(tell) = tell {
            tell(false);
        }
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
        let Some(bytes) = info else {
            return self
                .presence
                .leave_guest(topic, client, node, |info, is_last| {
                    self.tell_membership(topic, Membership::leaves(is_last), info);
                });
        };
        let Ok(info) = ClientInfo::decode(bytes) else {
            tracing::warn!(topic, "another node says of a client what makes no sense");
            return;
        };
        let (name, info) = (Arc::<str>::from(topic), Arc::new(info));
        self.presence
            .join_guest(&name, client, info.clone(), node, |is_first| {
                self.tell_membership(topic, Membership::joins(is_first), &info);
            });
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
            self.presence.take_guests(node, |topic, info, is_last| {
                self.tell_membership(topic, Membership::leaves(is_last), info);
            });
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
