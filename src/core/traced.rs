//! The trace of a connection's handshake, from when it comes to its answer. Whether it is traced
//! the hub decides, and tells the exporter.

use std::sync::Arc;
use std::time::Instant;

use crate::hub::{Begun, HandshakeOutcome, Hub, TracedHandshake};

/// The trace of one connection's handshake: empty unless that is traced. It is told of once.
#[derive(Default)]
pub(super) struct Traced(Option<Box<Open>>);

struct Open {
    hub: Arc<Hub>,
    core: usize,
    tls: bool,
    begun: Begun,
}

impl Traced {
    /// A connection has come, which is to speak TLS or not.
    pub(super) fn begin(hub: &Arc<Hub>, core: usize, tls: bool) -> Self {
        let open = |begun| {
            Box::new(Open {
                hub: hub.clone(),
                core,
                tls,
                begun,
            })
        };
        Traced(hub.begin_trace(None).map(open))
    }

    /// It is about to be answered, or has been, as what is called so.
    pub(super) fn answered(self, name: &'static str) {
        self.end(HandshakeOutcome::Answered(name), false);
    }

    /// The same where that was done in the ring.
    pub(super) fn answered_in_ring(self, name: &'static str) {
        self.end(HandshakeOutcome::Answered(name), true);
    }

    /// It is about to be refused for the reason that is called so.
    pub(super) fn refused(self, reason: &'static str) {
        self.end(HandshakeOutcome::Refused(reason), false);
    }

    fn end(self, outcome: HandshakeOutcome, in_ring: bool) {
        let Some(open) = self.0 else {
            return;
        };
        open.hub.trace_handshake(TracedHandshake {
            begun: open.begun,
            ended: Instant::now(),
            core: open.core,
            in_ring,
            tls: open.tls,
            outcome,
        });
    }
}
