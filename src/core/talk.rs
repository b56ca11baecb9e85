//! What a core knows of a client whose dialect has sessions. Kept by the reactor, and
//! used where sessions begin and end (`sessions`) and commands are done (`conversing`).

use std::cell::OnceCell;
use std::sync::Arc;

use crate::log::Topic;
use crate::protocol::centrifugo::ClientInfo;
use crate::protocol::dialect::pusher::Own;
use crate::protocol::dialect::session::Session;

pub(super) struct Talk {
    pub(super) session: Session,
    /// What sessions of apps have besides.
    pub(super) own: Option<Box<Own>>,
    /// Who it is, for others. Nobody asks that of most who only listen.
    info: OnceCell<Arc<ClientInfo>>,
    /// Where it published last.
    pub(super) published_to: Option<Arc<Topic>>,
    /// When it came, by the core's patience.
    pub(super) came_ms: u64,
}

impl Talk {
    pub(super) fn new(session: Session, own: Option<Box<Own>>, came_ms: u64) -> Talk {
        Talk {
            session,
            own,
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
        match self.session.special(topic) {
            Some(special) if special.info.is_some() || special.user.is_some() => {
                let mut info = ClientInfo::clone(self.info());
                if let Some(user) = &special.user {
                    info.user = user.to_string();
                }
                if let Some(in_topic) = &special.info {
                    info.chan_info = in_topic.as_bytes().to_vec();
                }
                Arc::new(info)
            }
            _ => self.info().clone(),
        }
    }
}
