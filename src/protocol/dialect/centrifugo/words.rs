//! What a session's client is told, in its coding.

use super::deed::{Begun, Failure};
use super::{Session, Terms, epoch_text};
use crate::protocol::centrifugo::{
    ClientInfo, Coding, ConnectResult, Data, Publication, Push, Reply, SubscribeResult, write_push,
    write_reply,
};

/// Why a subscription ends that its client has not ended: code and reason. From 2500 on it
/// subscribes again by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The server API has asked for it.
    Asked,
    /// The rules have changed.
    Denied,
    /// It has missed messages, and may recover them.
    InsufficientState,
    /// Its time is up, and no other token has come.
    Expired,
}

impl Ending {
    fn code(self) -> (u32, &'static str) {
        match self {
            Ending::Asked => (2000, "server unsubscribe"),
            Ending::Denied => (2000, "permission denied"),
            Ending::InsufficientState => (2500, "insufficient state"),
            Ending::Expired => (2501, "subscription expired"),
        }
    }
}

/// The reply to a `connect`, with the subscriptions that the server has begun.
pub fn connected(
    coding: Coding,
    id: u32,
    session: &Session,
    terms: &Terms,
    subs: &[(String, SubscribeResult)],
) -> Vec<u8> {
    let (expires, ttl) = expiry(session.expires_s(), terms.now_s);
    let result = &ConnectResult {
        client: &session.client().to_string(),
        version: concat!("fanfare ", env!("CARGO_PKG_VERSION")),
        ping_s: u32::try_from(terms.ping.as_secs().max(1)).unwrap_or(u32::MAX),
        pong: true,
        expires,
        ttl,
        subs,
        ..ConnectResult::default()
    };
    say(coding, id, &Reply::Connect(result))
}

/// The reply to a `refresh`.
pub fn refreshed(coding: Coding, id: u32, expires_s: Option<u64>, now_s: u64) -> Vec<u8> {
    let (expires, ttl) = expiry(expires_s, now_s);
    let reply = Reply::Refresh {
        client: "",
        version: "",
        expires,
        ttl,
    };
    say(coding, id, &reply)
}

/// The reply to a `sub_refresh`.
pub fn sub_refreshed(coding: Coding, id: u32, expires_s: Option<u64>, now_s: u64) -> Vec<u8> {
    let (expires, ttl) = expiry(expires_s, now_s);
    say(coding, id, &Reply::SubRefresh { expires, ttl })
}

/// A subscription that has begun, as replies tell of it. It expires at `expires_s`, and has
/// `data` for the client.
pub fn begun(
    begun: Begun,
    expires_s: Option<u64>,
    data: Option<Data>,
    now_s: u64,
) -> SubscribeResult {
    let (expires, ttl) = expiry(expires_s, now_s);
    SubscribeResult {
        recoverable: begun.recoverable,
        positioned: true,
        epoch: epoch_text(begun.epoch),
        offset: begun.offset,
        was_recovering: begun.was_recovering,
        recovered: begun.recovered,
        expires,
        ttl,
        publications: begun.first.map(|first| *first).into_iter().collect(),
        data,
    }
}

/// The reply to a `subscribe` that has succeeded.
pub fn subscribed(coding: Coding, id: u32, result: &SubscribeResult) -> Vec<u8> {
    say(coding, id, &Reply::Subscribe(result))
}

/// The reply to an unsubscribe, whether there was a subscription or not.
pub fn unsubscribed(coding: Coding, id: u32) -> Vec<u8> {
    say(coding, id, &Reply::Unsubscribe)
}

/// The reply to a publish.
pub fn published(coding: Coding, id: u32) -> Vec<u8> {
    say(coding, id, &Reply::Publish)
}

/// The reply to who asks for a page of history.
pub fn history(
    coding: Coding,
    id: u32,
    epoch: u64,
    offset: u64,
    publications: &[Publication],
) -> Vec<u8> {
    let epoch = &epoch_text(epoch);
    let reply = Reply::History {
        publications,
        offset,
        epoch,
    };
    say(coding, id, &reply)
}

/// The reply to who asks who follows a topic.
pub fn presence(coding: Coding, id: u32, list: &[ClientInfo]) -> Vec<u8> {
    say(coding, id, &Reply::Presence(list))
}

/// The reply to who asks how many follow a topic.
pub fn presence_stats(coding: Coding, id: u32, clients: usize, users: usize) -> Vec<u8> {
    let reply = Reply::PresenceStats {
        num_clients: u32::try_from(clients).unwrap_or(u32::MAX),
        num_users: u32::try_from(users).unwrap_or(u32::MAX),
    };
    say(coding, id, &reply)
}

/// The reply where something is not done.
pub fn failed(coding: Coding, id: u32, failure: Failure) -> Vec<u8> {
    say(coding, id, &Reply::Error(failure.into()))
}

/// Tells that a subscription has ended.
pub fn ended(coding: Coding, topic: &str, ending: Ending) -> Vec<u8> {
    let (code, reason) = ending.code();
    let push = Push::Unsubscribe {
        channel: topic,
        code,
        reason,
    };
    push_of(coding, &push)
}

/// Tells that the server has begun a subscription.
pub fn begun_by_server(coding: Coding, topic: &str, result: &SubscribeResult) -> Vec<u8> {
    let push = Push::Subscribe {
        channel: topic,
        recoverable: result.recoverable,
        positioned: result.positioned,
        epoch: &result.epoch,
        offset: result.offset,
        data: result.data.as_ref(),
    };
    push_of(coding, &push)
}

/// Tells that the connection expires at another time now.
pub fn refreshed_by_server(coding: Coding, expires_s: Option<u64>, now_s: u64) -> Vec<u8> {
    let (expires, ttl) = expiry(expires_s, now_s);
    push_of(coding, &Push::Refresh { expires, ttl })
}

pub(super) fn say(coding: Coding, id: u32, reply: &Reply<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_reply(coding, id, reply, &mut bytes);
    bytes
}

fn push_of(coding: Coding, push: &Push<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_push(coding, push, &mut bytes);
    bytes
}

/// Whether something expires, and in how many seconds. Clients take 0 for unknown, so it is
/// 1 at least.
fn expiry(expires_s: Option<u64>, now_s: u64) -> (bool, u32) {
    let Some(expires_s) = expires_s else {
        return (false, 0);
    };
    let left_s = expires_s.saturating_sub(now_s).clamp(1, TTL_S_MAX);
    (true, left_s as u32)
}

/// Clients' timers do not take much more than that.
const TTL_S_MAX: u64 = 365 * 24 * 3600;
