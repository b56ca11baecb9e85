//! What a core knows of a client whose dialect has sessions. Kept by the reactor, and
//! used where sessions begin and end (`sessions`) and commands are done (`conversing`).

use std::cell::OnceCell;
use std::sync::Arc;

use crate::log::Topic;
use crate::protocol::centrifugo::ClientInfo;
use crate::protocol::dialect::pusher::Own;
use crate::protocol::dialect::session::Session;

/// What is known of all of them, by their connections' slots. Each has a piece of its own, as
/// connections of other dialects have slots as well.
#[derive(Default)]
pub(super) struct Talks(Vec<Option<Box<Talk>>>);

pub(super) struct Talk {
    pub(super) session: Session,
    /// What sessions of apps have besides.
    pub(super) own: Option<Own>,
    /// Who it is, for others. Nobody asks that of most who only listen.
    info: OnceCell<Arc<ClientInfo>>,
    /// Where it published last.
    pub(super) published_to: Option<Arc<Topic>>,
    /// When it came, by the core's patience.
    pub(super) came_ms: u64,
}

const _: () = assert!(size_of::<Talk>() <= 88, "an idle session stays small");

impl Talks {
    pub(super) fn has(&self, slot: u32) -> bool {
        self.get(slot).is_some()
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Talk> {
        self.0.get(slot as usize)?.as_deref()
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Talk> {
        self.0.get_mut(slot as usize)?.as_deref_mut()
    }

    /// That of a connection which is known to have one.
    pub(super) fn at(&self, slot: u32) -> &Talk {
        self.get(slot).expect("it has a session")
    }

    pub(super) fn insert(&mut self, slot: u32, talk: Talk) {
        let slot = slot as usize;
        if self.0.len() <= slot {
            self.0.resize_with(slot + 1, || None);
        }
        self.0[slot] = Some(Box::new(talk));
    }

    pub(super) fn remove(&mut self, slot: u32) -> Option<Talk> {
        self.0.get_mut(slot as usize)?.take().map(|talk| *talk)
    }
}

impl Talk {
    pub(super) fn new(session: Session, own: Option<Own>, came_ms: u64) -> Talk {
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
