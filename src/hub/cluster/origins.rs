//! Which connection a message of the cluster came from, so that the message is not sent back
//! to that connection, under whichever proposal it is stored.
//!
//! An origin names one connection among all of all nodes, for as long as the connection lasts:
//! the process that it first published in, by a random number, and the connection by a number of
//! that process. Both go over with it in a handover.

use std::sync::{PoisonError, RwLock};

use serde::{Deserialize, Serialize};

use super::Cluster;
use crate::protocol::pusher::SocketId;

/// The connection that a message came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Origin {
    /// The process that the connection first published in.
    pub node: u64,
    pub connection: u64,
}

/// As clients of the Pusher Channels protocol name a connection.
impl From<Origin> for SocketId {
    fn from(Origin { node, connection }: Origin) -> Self {
        SocketId { node, connection }
    }
}

impl From<SocketId> for Origin {
    fn from(SocketId { node, connection }: SocketId) -> Self {
        Origin { node, connection }
    }
}

/// The processes whose connections may be here: this one, and those it has taken over from.
#[derive(Debug)]
pub(super) struct Homes(RwLock<Vec<u64>>);

impl Default for Homes {
    fn default() -> Self {
        Homes(RwLock::new(vec![fastrand::u64(1..)]))
    }
}

impl Cluster {
    /// Names a connection of this process.
    pub fn origin(&self, connection: u64) -> Origin {
        let node = self.homes()[0];
        Origin { node, connection }
    }

    /// A connection has come from another process, and keeps its origin. To be called before
    /// there is a way to the cluster, which is told all of [`Cluster::homes`].
    pub fn take_up_origin(&self, origin: Origin) {
        let homes = self.homes.0.write();
        let mut homes = homes.unwrap_or_else(PoisonError::into_inner);
        if !homes.contains(&origin.node) {
            homes.push(origin.node);
        }
    }

    /// Origins with these as their nodes may be connections of this process; others are not.
    pub fn homes(&self) -> Vec<u64> {
        let homes = self.homes.0.read();
        homes.unwrap_or_else(PoisonError::into_inner).clone()
    }
}
