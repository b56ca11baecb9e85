//! What a core knows of a client whose dialect has sessions. Kept by the reactor, and
//! used where sessions begin and end (`sessions`) and commands are done (`conversing`).

use std::sync::Arc;

use crate::log::Topic;
use crate::protocol::centrifugo::ClientInfo;
use crate::protocol::dialect::centrifugo::Session;

pub(super) struct Talk {
    pub(super) session: Session,
    /// Who it is, for others.
    pub(super) info: Arc<ClientInfo>,
    /// Where it published last.
    pub(super) published_to: Option<Arc<Topic>>,
    /// When it came, by the core's patience.
    pub(super) came_ms: u64,
}

impl Talk {
    /// The session's client has another user, or that is shown otherwise.
    pub(super) fn look_at_info(&mut self) {
        self.info = Arc::new(self.session.info());
    }

    /// Who it is for those who follow a topic.
    pub(super) fn info_in(&self, topic: &str) -> Arc<ClientInfo> {
        let special = self.session.special(topic);
        match special.and_then(|special| special.info.as_ref()) {
            None => self.info.clone(),
            Some(info) => Arc::new(ClientInfo {
                chan_info: info.as_bytes().to_vec(),
                ..ClientInfo::clone(&self.info)
            }),
        }
    }
}
