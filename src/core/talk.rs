//! What a core knows of a client whose dialect has sessions. Kept by the reactor, and
//! used where sessions begin and end (`sessions`) and commands are done (`conversing`).

use std::cell::OnceCell;
use std::sync::Arc;

use crate::log::Topic;
use crate::protocol::centrifugo::ClientInfo;
use crate::protocol::dialect::centrifugo::Session;

pub(super) struct Talk {
    pub(super) session: Session,
    /// Who it is, for others. Nobody asks that of most who only listen.
    info: OnceCell<Arc<ClientInfo>>,
    /// Where it published last.
    pub(super) published_to: Option<Arc<Topic>>,
    /// When it came, by the core's patience.
    pub(super) came_ms: u64,
}

impl Talk {
    pub(super) fn new(session: Session, came_ms: u64) -> Talk {
        Talk {
            session,
            info: OnceCell::new(),
            published_to: None,
            came_ms,
        }
    }

    /// The session's client may have another user, or be shown otherwise. Returns whether it
    /// is to somebody who has seen it as it was.
    pub(super) fn look_at_info(&mut self) -> bool {
        let before = self.info.take();
        before.is_some_and(|before| before != *self.info())
    }

    fn info(&self) -> &Arc<ClientInfo> {
        self.info.get_or_init(|| Arc::new(self.session.info()))
    }

    /// Who it is for those who follow a topic.
    pub(super) fn info_in(&self, topic: &str) -> Arc<ClientInfo> {
        let special = self.session.special(topic);
        match special.and_then(|special| special.info.as_ref()) {
            None => self.info().clone(),
            Some(info) => Arc::new(ClientInfo {
                chan_info: info.as_bytes().to_vec(),
                ..ClientInfo::clone(self.info())
            }),
        }
    }
}
