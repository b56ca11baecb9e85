//! Who asks the server API on a public listener is handed on to the thread that serves it,
//! with what has been read so far. Called by the acceptor.

use std::io;
use std::net::TcpStream;

use socket2::Socket;

use super::acceptor::Acceptor;
use super::stream::Stream;
use crate::config::Place;
use crate::hub::{Visitor, VisitorSeat};
use crate::protocol::http::hosts::Via;
use crate::ring::passing::duplicate;

impl Acceptor {
    /// The settings have the server API where this socket listens.
    pub(super) fn serves_api(&self, listener: &Socket) -> bool {
        let place = listener.local_addr().ok().and_then(|address| {
            let place = address.as_socket().map(Place::from);
            place.or_else(|| Some(Place::Unix(address.as_pathname()?.into())))
        });
        place.is_some_and(|place| self.hub.settings().serves_api_at(&place))
    }

    /// Gives a connection away, which has come so. Where it cannot have a descriptor of its own, it is
    /// let go.
    pub(super) fn hand_on(&self, stream: &Stream, via: Via, begun: Vec<u8>, seat: VisitorSeat) {
        let own = || -> io::Result<TcpStream> {
            let stream = TcpStream::from(duplicate(stream)?);
            stream.set_nonblocking(true)?;
            Ok(stream)
        };
        match own() {
            Ok(own) => self.hub.send_visitor(Visitor {
                stream: own,
                tls: stream.take_session(),
                begun,
                once: via == Via::Proxy,
                seat,
            }),
            Err(error) => tracing::error!(%error, "cannot hand a connection on to the server API"),
        }
    }
}
