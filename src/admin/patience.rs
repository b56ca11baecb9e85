//! A publisher over HTTP waits where a socket's would be read from no further: while cores
//! are far behind, and while there is no room in a log. It does so for
//! `publish_wait_ms_max` in one request, and is refused then.

use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout};

use super::posted::Posted;
use crate::hub::{Begun, Draft, Hub, OVER_HTTP, Origin, PostRefusal, PublishError, Waits};
use crate::protocol::encoding::Extras;
use crate::protocol::topic::TopicName;
use crate::protocol::trace_context::{Parent, TRACEPARENT};
use crate::protocol::ws::Opcode;

/// The first time between two looks; each further one is twice as long,
pub(super) const LOOK_MIN: Duration = Duration::from_millis(1);
/// up to this.
const LOOK_MAX: Duration = Duration::from_millis(50);

/// The patience of one request.
pub(super) struct Patience {
    hub: Arc<Hub>,
    /// Changes when something has been stored.
    stored: watch::Receiver<u64>,
    /// Set with the first wait.
    end: Option<Instant>,
    /// By which number its messages keep their order in a cluster.
    publisher: u64,
    /// The span that it was made in.
    parent: Option<Parent>,
}

/// A message that is to be published.
pub(super) struct Message<'a> {
    pub(super) topic: &'a TopicName,
    pub(super) opcode: Opcode,
    pub(super) payload: &'a [u8],
    pub(super) extras: Option<Extras<'a>>,
    /// Whose it is, and how they have named it, for a cluster to know it again.
    pub(super) key: Option<(String, String)>,
    /// It is awaited where it lies in the log.
    pub(super) hear: bool,
    /// The connection that is not to hear it.
    pub(super) origin: Option<Origin>,
}

impl Patience {
    pub(super) fn new(hub: Arc<Hub>) -> Self {
        let stored = hub.keeping().watch_synced();
        let publisher = hub.cluster().number();
        Patience {
            hub,
            stored,
            end: None,
            publisher,
            parent: None,
        }
    }

    /// The same for the request with these headers, whose messages belong to the trace that it
    /// names.
    pub(super) fn of(hub: Arc<Hub>, headers: &HeaderMap) -> Self {
        let mut parents = headers.get_all(TRACEPARENT).iter();
        // Of several nobody could tell which one counts.
        let parent = match (parents.next(), parents.next()) {
            (Some(parent), None) => Parent::parse(parent.as_bytes()),
            _ => None,
        };
        Patience {
            parent,
            ..Patience::new(hub)
        }
    }

    /// Publishes a message, once it can be.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub(super) async fn publish(&mut self, message: Message<'_>) -> Result<Posted, PublishError> {
        let trace = self.hub.begin_trace(self.parent);
        let first = self.post(&message, trace);
        let Err(mut error) = first else {
            return first;
        };
        if !error.passes() {
            return Err(error);
        }
        self.hub.posts().note_wait();
        let mut look = LOOK_MIN;
        loop {
            if !self.wait(&mut look).await {
                self.hub.posts().note_refusal(PostRefusal::Room);
                return Err(error);
            }
            // As a socket that was paused, it goes on when they are well behind no more.
            if error != PublishError::LogFull && self.hub.has_to_wait(message.topic, 2) {
                continue;
            }
            match self.post(&message, trace) {
                Err(another) if another.passes() => error = another,
                outcome => return outcome,
            }
        }
    }

    fn post(&self, message: &Message<'_>, trace: Option<Begun>) -> Result<Posted, PublishError> {
        let topic = self.hub.topic(message.topic)?;
        if !topic.is_shared() {
            let Message {
                opcode,
                payload,
                extras,
                origin,
                ..
            } = *message;
            let hub = &self.hub;
            let published = hub.publish_from(message.topic, opcode, payload, extras, origin, trace);
            return published.map(|(committed, epoch)| Posted::Published(committed, epoch));
        }
        let mut extras = Vec::new();
        message.extras.inspect(|of| of.encode(&mut extras));
        let draft = Draft {
            text: message.opcode == Opcode::Text,
            payload: message.payload.to_vec().into(),
            extras,
            publisher: self.publisher,
            key: message.key.clone(),
            origin: message.origin,
            trace: trace.map(|begun| (begun, OVER_HTTP)),
        };
        let (told, outcome) = oneshot::channel();
        let hears = message.hear && topic.is_known();
        let (hear, heard) = match hears.then(oneshot::channel) {
            Some((hear, heard)) => (Some(hear), Some(heard)),
            None => (None, None),
        };
        self.hub
            .post_shared(&topic, draft, Waits::Outside(told, hear))?;
        Ok(Posted::Proposed { outcome, heard })
    }

    /// Waits until another look, which comes later the next time; false once the request has
    /// waited for long enough.
    pub(super) async fn wait(&mut self, look: &mut Duration) -> bool {
        let now = Instant::now();
        let wait_max = Duration::from_millis(self.hub.settings().publish_wait_ms_max);
        let end = *self.end.get_or_insert(now + wait_max);
        if now >= end || self.hub.is_stopping() || self.hub.has_parted() {
            return false;
        }
        // What is stored may make room, and be so before the next look.
        let _ = timeout((*look).min(end - now), self.stored.changed()).await;
        *look = LOOK_MAX.min(2 * *look);
        true
    }
}
