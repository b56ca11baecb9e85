//! What is counted of TLS, by each core and by the thread of the listeners beside the public
//! ones.

use rustls::{HandshakeKind, ProtocolVersion};

use super::failure::TlsFailure;
use crate::hub::counter::Counter;
use crate::protocol::tls::Fault;

/// Kinds of handshakes: the version, and whether a session was taken up again.
pub const TLS_HANDSHAKES: [&str; 4] =
    ["tls13_full", "tls13_resumed", "tls12_full", "tls12_resumed"];

/// One thread's.
#[derive(Debug, Default)]
pub struct TlsCounts {
    /// In the order of [`TLS_HANDSHAKES`].
    pub handshakes: [Counter; TLS_HANDSHAKES.len()],
    /// Handshakes that failed, in the order of [`TlsFailure::ALL`].
    pub failures: [Counter; TlsFailure::ALL.len()],
    /// What peers did wrong afterwards, in the order of [`Fault::ALL`].
    pub faults: [Counter; Fault::ALL.len()],
    /// Peers that ended their direction without having said so.
    pub truncated: Counter,
}

impl TlsCounts {
    /// Counts a handshake that is over, by what rustls says of it.
    pub fn note_handshake(&self, version: Option<ProtocolVersion>, kind: Option<HandshakeKind>) {
        let is_newest = version == Some(ProtocolVersion::TLSv1_3);
        let is_resumed = kind == Some(HandshakeKind::Resumed);
        self.handshakes[2 * usize::from(!is_newest) + usize::from(is_resumed)].add(1);
    }

    pub fn note_failure(&self, failure: TlsFailure) {
        self.failures[failure as usize].add(1);
    }

    /// Counts what a peer did wrong.
    pub fn note_fault(&self, fault: Fault) {
        let place = Fault::ALL.iter().position(|known| *known == fault);
        self.faults[place.expect("ALL names every fault")].add(1);
    }
}
