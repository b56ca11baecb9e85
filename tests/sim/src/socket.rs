//! A simulated TCP connection: two bounded queues of bytes, and what has happened to it.

use std::collections::VecDeque;

use fanfare::protocol::tls::PLAIN_BYTES_MAX;

use crate::plan::LATE_MS_MAX;
use crate::secure::Tls;

/// One TCP connection.
#[derive(Debug, Default)]
pub struct Socket {
    /// From the client, not yet received.
    pub inbound: VecDeque<u8>,
    pub inbound_max: usize,
    /// To the client, not yet read by it.
    pub outbound: VecDeque<u8>,
    pub outbound_max: usize,
    /// The client will send no more.
    pub client_fin: bool,
    /// The server will send no more.
    pub server_fin: bool,
    /// The server has let go of it.
    pub server_closed: bool,
    /// Dead for both sides.
    pub reset: bool,
    /// Chance killed it, neither side did.
    pub died: bool,
    /// Bytes that the server has received, sent, and the client has read.
    pub delivered: u64,
    pub accepted: u64,
    pub taken: u64,
    /// When bytes were last delivered.
    pub delivered_ms: u64,
    /// How many bytes had been delivered, and when, each time some were.
    pub deliveries: Vec<(u64, u64)>,
    /// The longest time between two deliveries.
    pub silent_ms_max: u64,
    /// When bytes were last accepted from the server, and the longest time
    /// between that happening twice.
    pub accepted_ms: u64,
    pub stalled_ms_max: u64,
    /// Where in what the client sends its pings end; the second is what the
    /// server had sent or was sending when it was told of that byte.
    pub marks: VecDeque<(u64, Option<u64>)>,
    /// The client's end of TLS, if it has that: the queues hold what is plain.
    pub(crate) tls: Option<Tls>,
    /// It has a plain descriptor, whoever has that.
    pub(crate) plain: bool,
    /// Where its server side is.
    pub(crate) place: Option<(usize, u32)>,
}

impl Socket {
    /// The client writes at most `max` bytes of its outbox, and if it half-closes then, its
    /// end behind the last. True if anything has happened.
    pub(crate) fn write(
        &mut self,
        outbox: &mut VecDeque<u8>,
        max: usize,
        half_closes: bool,
    ) -> bool {
        let room = self.inbound_max - self.inbound.len().min(self.inbound_max);
        let len = max.min(room).min(outbox.len());
        self.inbound.extend(outbox.drain(..len));
        let fin = outbox.is_empty() && half_closes;
        self.client_fin |= fin;
        len > 0 || fin
    }

    pub fn readable(&self) -> bool {
        self.has_inbound() || self.client_fin || self.reset
    }

    /// So much of a log the server may have sent, and not counted as sent: what a record holds
    /// that is sealed again counts once all of it has gone.
    pub(crate) fn uncounted_bytes(&self) -> u64 {
        self.tls.as_ref().map_or(0, |_| PLAIN_BYTES_MAX as u64)
    }

    /// A record may have come in part for as long as a message may take.
    pub(crate) fn lacks_rest(&self, now_ms: u64, message_ms_max: u64) -> bool {
        let silent_ms = self.silent_ms_max.max(now_ms - self.delivered_ms);
        self.tls.is_some() && silent_ms + LATE_MS_MAX >= message_ms_max
    }

    /// It may be told to come back, as it cannot have new keys.
    pub(crate) fn uses_up_keys(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.may_be_told)
    }

    /// There is something to be received.
    pub(crate) fn has_inbound(&self) -> bool {
        !self.inbound.is_empty() || (self.tls.as_ref()).is_some_and(|tls| !tls.inbound.is_empty())
    }

    /// The server closes its last descriptor.
    pub(crate) fn let_go(&mut self) {
        // Closing with unread bytes resets (RFC 9293 section 3.10.7.1).
        self.reset |= self.has_inbound();
        (self.server_fin, self.server_closed) = (true, true);
        self.place = None;
    }

    pub(crate) fn writable(&self) -> bool {
        self.reset || self.server_fin || self.outbound.len() < self.outbound_max
    }
}
