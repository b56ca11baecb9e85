//! What backends order to be done with the sessions of a user, on whichever cores they are.
//! Each core carries an order out and lets go of it; who has given it waits for that.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::Hub;
use crate::protocol::centrifugo::Data;
use crate::protocol::dialect::centrifugo::{Failure, Place};
use crate::protocol::dialect::session::Special;
use crate::protocol::topic::TopicName;

/// Orders that wait for one core. Beyond, it is too busy for more.
pub(super) const ORDERS_MAX: usize = 1024;

/// Something to be done with connections.
#[derive(Debug)]
pub struct Order {
    pub whom: Whom,
    pub act: Act,
}

/// The connections that an order is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Whom {
    /// Those of this user; the empty one is who has no name. `None` is any, where `id` says
    /// which.
    pub user: Option<Box<str>>,
    /// Of those the clients of the app with this key alone: names of users are an app's own.
    pub app: Option<Box<str>>,
    /// Of those the session with this number alone.
    pub client: Option<u128>,
    /// Of those the ones with this `jti` in their token.
    pub id: Option<Box<str>>,
    /// Of those the ones whose token was issued before this time, in seconds since 1970.
    pub not_before_s: Option<u64>,
    /// Without these sessions.
    pub spared: Vec<u128>,
}

/// What is done with each of them. All but the last are for sessions.
#[derive(Debug)]
pub enum Act {
    Subscribe {
        topic: TopicName,
        special: Special,
        data: Option<Data>,
        since: Option<Place>,
    },
    Unsubscribe {
        topic: TopicName,
    },
    /// It expires at this time, in seconds since 1970, or never, and its user is shown so.
    Refresh {
        expires_s: Option<u64>,
        info: Option<Box<str>>,
    },
    /// It has expired.
    Expire,
    /// It is closed, with a code and words.
    Disconnect {
        farewell: Option<(u16, Box<str>)>,
    },
}

/// An order for one core. Dropped it is carried out, or never will be.
#[derive(Debug)]
pub struct Ordered {
    pub order: Arc<Order>,
    pub failures: UnboundedSender<Failure>,
}

/// Why an order is not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    #[error("a newer daemon is taking over")]
    HandingOver,
    #[error("a core is too busy")]
    Busy,
}

impl Hub {
    /// Has all cores carry an order out. What is returned ends when they have, and tells
    /// what could not be done.
    ///
    /// # Errors
    /// See [`OrderError`].
    pub fn order(&self, order: Order) -> Result<UnboundedReceiver<Failure>, OrderError> {
        if self.frozen.load(Ordering::Acquire) {
            return Err(OrderError::HandingOver);
        }
        let busy = |mailbox: &super::Mailbox| mailbox.orders_len() >= ORDERS_MAX;
        if self.cores.iter().any(busy) {
            return Err(OrderError::Busy);
        }
        let order = Arc::new(order);
        let (failures, receiver) = unbounded_channel();
        for mailbox in &self.cores {
            mailbox.order(Ordered {
                order: order.clone(),
                failures: failures.clone(),
            });
        }
        Ok(receiver)
    }
}
