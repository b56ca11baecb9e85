//! What the server API orders to be done with clients' sessions, and asks about them.

use std::time::Duration;

use tokio::time::timeout;

use crate::hub::{Act, Hub, Numbers, Order, Whom};
use crate::protocol::centrifugo::Error;
use crate::protocol::centrifugo::api::{Answer, Outcome, Revoke, Sessions, Terms};
use crate::protocol::dialect::centrifugo::Place;
use crate::protocol::dialect::session::{Source, Special, client_number};
use crate::protocol::rights::{Revocation, Whose};
use crate::protocol::topic::TopicName;
use crate::protocol::ws::close::REASON_BYTES_MAX;

/// How long the cores may take to carry an order out. No setting: they take milliseconds, and a
/// core that does not turn is the watchdog's matter.
const ORDER_TIME: Duration = Duration::from_secs(10);

/// Codes that a close frame may have which is not WebSocket's own (RFC 6455 section 7.4.2).
const CODES: std::ops::RangeInclusive<u32> = 3000..=4999;

/// Has sessions follow a topic.
pub(super) async fn subscribe(
    hub: &Hub,
    of: &Sessions,
    topic: &TopicName,
    terms: Terms,
) -> Outcome {
    let act = Act::Subscribe {
        topic: topic.clone(),
        special: Special {
            source: Source::Api,
            user: None,
            expires_s: some(terms.expire_at),
            info: text(&terms.info),
        },
        data: Some(terms.data).filter(|data| !data.is_empty()),
        since: terms
            .recover_since
            .map(|(offset, epoch)| Place { offset, epoch }),
    };
    order(hub, whom(of), act).await?;
    Ok(Answer::Subscribed)
}

/// Has sessions follow a topic no more.
pub(super) async fn unsubscribe(hub: &Hub, of: &Sessions, topic: &TopicName) -> Outcome {
    let topic = topic.clone();
    order(hub, whom(of), Act::Unsubscribe { topic }).await?;
    Ok(Answer::Unsubscribed)
}

/// With what a connection is closed, where the call says so.
pub(super) fn farewell(code: u32, reason: String) -> Result<Option<(u16, Box<str>)>, Error> {
    if code == 0 && reason.is_empty() {
        return Ok(None);
    }
    if !CODES.contains(&code) || reason.len() > REASON_BYTES_MAX {
        return Err(Error::BAD_REQUEST);
    }
    Ok(Some((code as u16, reason.into())))
}

/// Closes connections, and revokes the tokens that the call names.
pub(super) async fn disconnect(
    hub: &Hub,
    of: &Sessions,
    farewell: Option<(u16, Box<str>)>,
    whitelist: &[String],
    revoke: Revoke,
) -> Outcome {
    let until_s = some(revoke.expire_at);
    let (id, not_before_s) = (text(&revoke.jti), some(revoke.not_before));
    // First of all, so that none of them comes back meanwhile.
    if let Some(id) = &id {
        let whose = Whose::Id(id.clone());
        add(hub, &Revocation { whose, until_s })?;
    } else if let Some(not_before_s) = not_before_s {
        let user = of.user.as_str().into();
        let whose = Whose::User { user, not_before_s };
        add(hub, &Revocation { whose, until_s })?;
    }
    let whom = whom(of).map(|whom| Whom {
        // A token's name says enough.
        user: whom.user.filter(|user| id.is_none() || !user.is_empty()),
        spared: whitelist
            .iter()
            .filter_map(|text| client_number(text))
            .collect(),
        id,
        not_before_s,
        ..whom
    });
    order(hub, whom, Act::Disconnect { farewell }).await?;
    Ok(Answer::Disconnected)
}

/// With what those are closed that their app ends: no client comes back by itself.
const TERMINATED: (u16, &str) = (4009, "disconnected by the app");

/// Closes the connections of an app's user.
pub(super) async fn terminate(hub: &Hub, app: String, user: String) -> Outcome {
    let whom = Whom {
        user: Some(user.into()),
        app: Some(app.into()),
        ..Whom::default()
    };
    let (code, reason) = TERMINATED;
    let farewell = Some((code, reason.into()));
    order(hub, Some(whom), Act::Disconnect { farewell }).await?;
    Ok(Answer::Disconnected)
}

/// Has sessions expire at another time, or now.
pub(super) async fn refresh(
    hub: &Hub,
    of: &Sessions,
    expired: bool,
    expire_at: u64,
    info: &str,
) -> Outcome {
    let expires_s = some(expire_at);
    let act = match expired || expires_s.is_some_and(|at| at <= hub.unix_s()) {
        true => Act::Expire,
        false => Act::Refresh {
            expires_s,
            info: text(info),
        },
    };
    order(hub, whom(of), act).await?;
    Ok(Answer::Refreshed)
}

/// Who follows a topic.
pub(super) fn presence(hub: &Hub, topic: &TopicName) -> Outcome {
    let members = hub.members(topic).ok_or(Error::NOT_AVAILABLE)?;
    Ok(Answer::Presence(members))
}

/// How many follow a topic.
pub(super) fn presence_stats(hub: &Hub, topic: &TopicName) -> Outcome {
    let Numbers { clients, users } = hub.occupancy(topic);
    Ok(Answer::PresenceStats {
        num_clients: clients as u64,
        num_users: users as u64,
    })
}

/// Whom a call is about; `None` where there can be nobody: a name that no session has, or
/// one of a kind of sessions that are none of ours.
fn whom(of: &Sessions) -> Option<Whom> {
    let client = match of.client.as_str() {
        "" => None,
        client => Some(client_number(client)?),
    };
    of.session.is_empty().then(|| Whom {
        user: Some(of.user.as_str().into()),
        client,
        ..Whom::default()
    })
}

/// Has all cores carry it out, and waits for that.
async fn order(hub: &Hub, whom: Option<Whom>, act: Act) -> Result<(), Error> {
    let Some(whom) = whom else {
        return Ok(());
    };
    let order = hub.order(Order { whom, act });
    let mut failures = order.map_err(|error| {
        tracing::warn!(%error, "an order of the server API is not carried out");
        Error::INTERNAL
    })?;
    let mut worst = Ok(());
    let all = async {
        while let Some(failure) = failures.recv().await {
            worst = worst.and(Err(Error::from(failure)));
        }
    };
    if timeout(ORDER_TIME, all).await.is_err() {
        tracing::warn!("an order of the server API takes too long");
        return Err(Error::INTERNAL);
    }
    worst
}

fn add(hub: &Hub, revocation: &Revocation) -> Result<(), Error> {
    hub.revoke(revocation).map_err(|error| {
        tracing::warn!(%error, "a token is not revoked");
        Error::LIMIT_EXCEEDED
    })
}

/// 0 stands for none.
fn some(number: u64) -> Option<u64> {
    (number > 0).then_some(number)
}

/// The empty text stands for none.
fn text(text: &str) -> Option<Box<str>> {
    (!text.is_empty()).then(|| text.into())
}
