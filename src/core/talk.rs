//! What a core knows of a client whose dialect has sessions. Kept by the reactor, and
//! used where commands are done (`conversing`).

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
