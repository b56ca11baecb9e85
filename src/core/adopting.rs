//! How the acceptor gives a connection to the reactor, once it is known what its topics hold.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::acceptor::Acceptor;
use super::entering::Arrival;
use super::stream::Stream;
use super::streaming::StreamArrival;
use crate::log::Topic;
use crate::protocol::event_stream::EventStream;
use crate::protocol::http::{Reject, Upgrade};
use crate::protocol::topic::TopicName;

impl Acceptor {
    /// Gives a WebSocket to the reactor, behind what it needs to know of its topic.
    pub(super) async fn adopt(
        &self,
        stream: &Stream,
        peer: SocketAddr,
        upgrade: Upgrade,
        rest: Vec<u8>,
    ) -> Result<(), Reject> {
        if self.hub.is_stopping() {
            return Err(Reject::Draining);
        }
        let topic = match &upgrade.topic {
            Some(name) => Some(self.find_topic(name, |epoch| upgrade.since(epoch)).await?),
            None => None,
        };
        // Without its session it could not be told so any more.
        if self.reactor.borrow().is_full() {
            return Err(Reject::ConnectionsMax);
        }
        let arrival = Arrival {
            peer,
            kept_alive: stream.is_kept_alive(),
            topic,
            upgrade,
            rest,
            tls: stream.take_session(),
        };
        self.reactor.borrow_mut().adopt(stream, arrival)?;
        self.nudge.notify_one();
        Ok(())
    }

    /// The same for a stream of events; `rest` bytes came behind its request.
    pub(super) async fn adopt_stream(
        &self,
        socket: &Stream,
        peer: SocketAddr,
        stream: Box<EventStream>,
        rest: usize,
    ) -> Result<(), Reject> {
        if self.hub.is_stopping() {
            return Err(Reject::Draining);
        }
        let mut topics = Vec::with_capacity(stream.wanted.len());
        for wanted in &stream.wanted {
            let topic = self.find_topic(&wanted.topic, |epoch| wanted.since(epoch));
            topics.push(topic.await?);
        }
        if self.reactor.borrow().is_full() {
            return Err(Reject::ConnectionsMax);
        }
        let arrival = StreamArrival {
            peer,
            kept_alive: socket.is_kept_alive(),
            stream,
            topics,
            rest,
            tls: socket.take_session(),
        };
        self.reactor.borrow_mut().adopt_stream(socket, arrival)?;
        self.nudge.notify_one();
        Ok(())
    }

    /// The topic of that name, once it is known what it holds up to where `since` says that a
    /// client wants to begin, for the epoch that it has.
    async fn find_topic(
        &self,
        name: &TopicName,
        since: impl Fn(u64) -> Option<u64>,
    ) -> Result<Arc<Topic>, Reject> {
        let topic = self.hub.topic(name).map_err(|_| Reject::TopicsMax)?;
        if topic.is_shared() {
            let time = Duration::from_millis(self.hub.settings().handshake_ms_max);
            if !self.hub.known(&topic, time).await {
                return Err(Reject::TopicUnknown);
            }
            // Another node may be a moment ahead of this one.
            if let Some(since) = since(topic.epoch())
                && !self.hub.reached(&topic, since.saturating_sub(1)).await
            {
                return Err(Reject::TopicUnknown);
            }
        }
        Ok(topic)
    }
}
