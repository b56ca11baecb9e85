//! A publisher over HTTP waits where a socket's would be read from no further: while cores
//! are far behind, and while there is no room in a log. It does so for
//! `publish_wait_ms_max` in one request, and is refused then.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::hub::{Hub, PostRefusal, PublishError};
use crate::log::Published;
use crate::protocol::encoding::Extras;
use crate::protocol::topic::TopicName;
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
}

impl Patience {
    pub(super) fn new(hub: Arc<Hub>) -> Self {
        let stored = hub.keeping().watch_synced();
        Patience {
            hub,
            stored,
            end: None,
        }
    }

    /// Publishes a message, once it can be. Returns what has become of it, and its epoch.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub(super) async fn publish(
        &mut self,
        topic: &TopicName,
        opcode: Opcode,
        payload: &[u8],
        extras: Option<Extras<'_>>,
    ) -> Result<(Published, u64), PublishError> {
        let first = self.hub.publish(topic, opcode, payload, extras);
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
            if error != PublishError::LogFull && self.hub.is_ahead(topic, 2) {
                continue;
            }
            match self.hub.publish(topic, opcode, payload, extras) {
                Err(another) if another.passes() => error = another,
                outcome => return outcome,
            }
        }
    }

    /// Waits until another look, which comes later the next time; false once the request has
    /// waited for long enough.
    pub(super) async fn wait(&mut self, look: &mut Duration) -> bool {
        let now = Instant::now();
        let wait_max = Duration::from_millis(self.hub.settings().publish_wait_ms_max);
        let end = *self.end.get_or_insert(now + wait_max);
        if now >= end || self.hub.is_stopping() {
            return false;
        }
        // What is stored may make room, and be so before the next look.
        let _ = timeout((*look).min(end - now), self.stored.changed()).await;
        *look = LOOK_MAX.min(2 * *look);
        true
    }
}
