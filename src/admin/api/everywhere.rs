//! Calls of the server API that are about all nodes of a cluster: the others are asked to do
//! the same, and what they answer is added up.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Answer, Error, Hub, Outcome, node, sessions, topic, wait_for};
use crate::protocol::centrifugo::api::{Node, Revoke, Sessions, Terms};

/// What another node is asked. It may be of another version: of fields that it does not know it
/// takes no notice, and what it does not know at all it answers with [`Reply::Unknown`]. A field
/// that is added later has a default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Question {
    Subscribe {
        of: Sessions,
        channel: String,
        terms: Terms,
    },
    Unsubscribe {
        of: Sessions,
        channel: String,
    },
    Disconnect {
        of: Sessions,
        code: u32,
        reason: String,
        whitelist: Vec<String>,
        revoke: Revoke,
    },
    /// The connections of a user of the app with a key are closed.
    Terminate {
        app: String,
        user: String,
    },
    Refresh {
        of: Sessions,
        expired: bool,
        expire_at: u64,
        info: String,
    },
    Channels {
        pattern: String,
    },
    /// The topics with subscribers whose names begin so.
    Occupied {
        prefix: String,
    },
    /// How many subscribers topics have.
    Subscribers {
        topics: Vec<String>,
    },
    Info,
}

/// What it answers. What this version does not know of that is as if it did not know the question.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Reply {
    Done,
    /// With the number of the error.
    Failed(u32),
    Channels(Vec<(String, u64)>),
    Info(Node),
    /// It does not know what it was asked.
    Unknown,
}

/// The topics with subscribers whose names begin so, and how many those are.
pub(in crate::admin) async fn occupied(
    hub: &Arc<Hub>,
    prefix: String,
) -> Result<Vec<(Arc<str>, u64)>, Error> {
    match perform(hub, Question::Occupied { prefix }).await? {
        Answer::Channels(channels) => Ok(channels),
        _ => Err(Error::INTERNAL),
    }
}

/// How many subscribers topics have, those with none left out.
pub(in crate::admin) async fn subscribers(
    hub: &Arc<Hub>,
    topics: Vec<String>,
) -> Result<Vec<(Arc<str>, u64)>, Error> {
    match perform(hub, Question::Subscribers { topics }).await? {
        Answer::Channels(channels) => Ok(channels),
        _ => Err(Error::INTERNAL),
    }
}

/// Closes the connections of a user of the app with a key.
pub(in crate::admin) async fn terminate(
    hub: &Arc<Hub>,
    app: &str,
    user: String,
) -> Result<(), Error> {
    let app = app.to_owned();
    perform(hub, Question::Terminate { app, user })
        .await
        .map(drop)
}

/// Does it here, and has all other nodes do it.
pub(super) async fn perform(hub: &Arc<Hub>, question: Question) -> Outcome {
    if !hub.cluster().is_linked() {
        return perform_here(hub, question).await;
    }
    let bytes = serde_json::to_vec(&question).expect("text and numbers are JSON");
    let (here, others) = tokio::join!(perform_here(hub, question), hub.ask_nodes(bytes));
    if others.missing > 0 {
        let missing = others.missing;
        tracing::warn!(missing, "a call of the server API did not reach all nodes");
    }
    let replies = others.answers.iter().map(|bytes| read_reply(bytes));
    let sum = replies.fold(here, add);
    match sum {
        // What is only told is told as far as it is known.
        Ok(sum @ (Answer::Channels(_) | Answer::Info(_))) => Ok(sum),
        Ok(_) if others.missing > 0 => Err(Error::INTERNAL),
        sum => sum,
    }
}

fn read_reply(bytes: &[u8]) -> Reply {
    let reply = serde_json::from_slice(bytes).unwrap_or(Reply::Unknown);
    if reply == Reply::Unknown {
        tracing::warn!("a node of another version does not know a call of the server API");
    }
    reply
}

/// Answers another node. `None` is a question of a kind that is not known here.
pub(super) async fn answer(hub: &Arc<Hub>, question: Option<&[u8]>) -> Vec<u8> {
    let question = question.map(serde_json::from_slice);
    let reply = match question {
        Some(Ok(question)) => reply(perform_here(hub, question).await),
        Some(Err(error)) => {
            tracing::warn!(%error, "another node asks what is not known here");
            Reply::Unknown
        }
        None => Reply::Unknown,
    };
    serde_json::to_vec(&reply).expect("text and numbers are JSON")
}

fn reply(outcome: Outcome) -> Reply {
    match outcome {
        Ok(Answer::Channels(channels)) => {
            let channels = channels.into_iter();
            Reply::Channels(channels.map(|(name, n)| (name.to_string(), n)).collect())
        }
        Ok(Answer::Info(mut nodes)) => match nodes.pop() {
            Some(node) => Reply::Info(node),
            None => Reply::Failed(Error::INTERNAL.code),
        },
        Ok(_) => Reply::Done,
        Err(error) => Reply::Failed(error.code),
    }
}

async fn perform_here(hub: &Arc<Hub>, question: Question) -> Outcome {
    match question {
        Question::Subscribe { of, channel, terms } => {
            let topic = topic(&channel)?;
            wait_for(hub, &topic).await;
            sessions::subscribe(hub, &of, &topic, terms).await
        }
        Question::Unsubscribe { of, channel } => {
            sessions::unsubscribe(hub, &of, &topic(&channel)?).await
        }
        Question::Disconnect {
            of,
            code,
            reason,
            whitelist,
            revoke,
        } => {
            let farewell = sessions::farewell(code, reason)?;
            sessions::disconnect(hub, &of, farewell, &whitelist, revoke).await
        }
        Question::Terminate { app, user } => sessions::terminate(hub, app, user).await,
        Question::Refresh {
            of,
            expired,
            expire_at,
            info,
        } => sessions::refresh(hub, &of, expired, expire_at, &info).await,
        Question::Channels { pattern } => super::channels(hub, &pattern),
        Question::Occupied { prefix } => Ok(occupied_here(hub, &prefix)),
        Question::Subscribers { topics } => {
            let topics = topics.iter().filter_map(|name| topic(name).ok());
            let known = topics.filter_map(|topic| hub.known_topic(&topic));
            let followed = known.filter(|(_, summary)| summary.subscribers > 0);
            let counted =
                followed.map(|(topic, summary)| (topic.name().clone(), summary.subscribers));
            Ok(Answer::Channels(counted.collect()))
        }
        Question::Info => Ok(Answer::Info(vec![node::node(hub)])),
    }
}

fn occupied_here(hub: &Hub, prefix: &str) -> Answer {
    let topics = hub.topics(prefix, "", usize::MAX).into_iter();
    let followed = topics.filter(|(_, summary)| summary.subscribers > 0);
    let counted = followed.map(|(topic, summary)| (topic.name().clone(), summary.subscribers));
    Answer::Channels(counted.collect())
}

/// Adds what another node says.
fn add(sum: Outcome, reply: Reply) -> Outcome {
    match (sum?, reply) {
        (Answer::Channels(channels), Reply::Channels(more)) => {
            let mut all: BTreeMap<Arc<str>, u64> = channels.into_iter().collect();
            for (name, count) in more {
                *all.entry(name.into()).or_default() += count;
            }
            Ok(Answer::Channels(all.into_iter().collect()))
        }
        (Answer::Info(mut nodes), Reply::Info(node)) => {
            nodes.push(node);
            Ok(Answer::Info(nodes))
        }
        // What is only told is told as far as it is known.
        (sum @ (Answer::Channels(_) | Answer::Info(_)), Reply::Unknown) => Ok(sum),
        (_, Reply::Unknown) => Err(Error::INTERNAL),
        (_, Reply::Failed(code)) => Err(match code {
            code if code == Error::LIMIT_EXCEEDED.code => Error::LIMIT_EXCEEDED,
            code if code == Error::PERMISSION_DENIED.code => Error::PERMISSION_DENIED,
            code if code == Error::NOT_AVAILABLE.code => Error::NOT_AVAILABLE,
            _ => Error::INTERNAL,
        }),
        (sum, _) => Ok(sum),
    }
}

#[cfg(test)]
mod tests;
