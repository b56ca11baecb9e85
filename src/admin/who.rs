//! Who asks the server API, as the guard has found out, and what they may publish.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::http::request::Parts;

use super::reply::Refusal;
use crate::hub::{Hub, PostRefusal};
use crate::protocol::rights::{Action, Denied, Rights};
use crate::protocol::topic::TopicName;

/// Who asks.
#[derive(Clone, Debug)]
pub(super) enum Who {
    /// Who bears the key or the admin token, or anybody where there is neither: they may
    /// everything that the listener is for.
    Backend,
    /// A user with a token: may publish what rules and the token allow.
    User(Arc<Rights>),
}

impl Who {
    /// Who asks with that head, which a guard has let through.
    pub(super) fn of(head: &Parts) -> Who {
        let who = head.extensions.get::<Who>();
        who.expect("every request has passed a guard").clone()
    }

    /// What distinguishes them from others who ask.
    pub(super) fn name(&self) -> Option<&str> {
        match self {
            Who::Backend => None,
            Who::User(rights) => Some(&rights.user),
        }
    }

    /// Whether they may publish to a topic.
    pub(super) fn may_publish(&self, hub: &Hub, topic: &TopicName) -> Result<(), Refusal> {
        let Who::User(rights) = self else {
            return Ok(());
        };
        let asked = rights.may(Action::Publish, topic.as_str(), hub.rules());
        asked.map_err(|(Denied::NeedsToken | Denied::Forbidden)| {
            hub.posts().note_refusal(PostRefusal::Denied);
            let sentence = "the token does not allow to publish to this topic";
            Refusal::new(StatusCode::FORBIDDEN, sentence)
        })
    }
}
