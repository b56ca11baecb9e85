//! What has become of a message that was published over HTTP: it is in a log, or the cluster
//! has it and says where.

use std::time::Duration;

use axum::http::StatusCode;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::reply::{Refusal, not_now};
use crate::hub::{Failure, Hub, Outcome};
use crate::log::Committed;

/// A message that is published, or proposed to the cluster.
pub(super) enum Posted {
    /// It is there, in the history with this epoch.
    Published(Committed, u64),
    Proposed {
        outcome: oneshot::Receiver<Outcome>,
        /// Where it lies in the log of this node, if that is wanted.
        heard: Option<oneshot::Receiver<Committed>>,
    },
}

/// Where a message is.
pub(super) struct Landed {
    pub(super) offset: u64,
    pub(super) epoch: u64,
    heard: Heard,
}

enum Heard {
    Here(Committed),
    Awaited(oneshot::Receiver<Committed>),
    Nobody,
}

impl Posted {
    /// Waits until it is where it belongs.
    pub(super) async fn landed(self) -> Result<Landed, Failure> {
        match self {
            Posted::Published(committed, epoch) => Ok(Landed {
                offset: committed.offset,
                epoch,
                heard: Heard::Here(committed),
            }),
            Posted::Proposed { outcome, heard } => {
                let unknown = "the daemon stops: the message may have been stored";
                let outcome = outcome.await;
                let accepted = outcome.map_err(|_| Failure::Unknown(unknown.into()))??;
                let heard = heard.filter(|_| !accepted.duplicate);
                Ok(Landed {
                    offset: accepted.offset,
                    epoch: accepted.epoch,
                    heard: heard.map_or(Heard::Nobody, Heard::Awaited),
                })
            }
        }
    }
}

impl Landed {
    /// Where it lies in the log of this node; `None` if it does not come there in time.
    pub(super) async fn heard(self, within: Duration) -> Option<Committed> {
        match self.heard {
            Heard::Here(committed) => Some(committed),
            Heard::Awaited(heard) => timeout(within, heard).await.ok()?.ok(),
            Heard::Nobody => None,
        }
    }
}

/// The answer to who has published what the cluster did not take.
pub(super) fn refuse(hub: &Hub, failure: &Failure) -> Refusal {
    match failure {
        Failure::TooBig(sentence) => Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, sentence.clone()),
        Failure::NotStored(sentence) => not_now(hub, sentence.clone()),
        // Who is told 503 sends it again without a thought, and it would be there twice.
        Failure::Unknown(sentence) => Refusal::new(StatusCode::GATEWAY_TIMEOUT, sentence.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    #[test]
    fn what_may_have_been_stored_is_told_apart_from_what_was_not() {
        let hub = Hub::new(Settings::default()).unwrap();
        for (failure, status) in [
            (Failure::TooBig("x".into()), 413),
            (Failure::NotStored("x".into()), 503),
            (Failure::Unknown("x".into()), 504),
        ] {
            assert_eq!(refuse(&hub, &failure).status().as_u16(), status);
        }
    }
}
