//! What a receiver makes of bytes, kept for comparison.

use fanfare::protocol::tls::{Alert, Event, Fault, Incoming};
use fanfare_sim::tls::naive::Naive;
use fanfare_sim::tls::{KINDS, Kind};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Data(Vec<u8>),
    KeyUpdate { requested: bool },
    CloseNotify,
    Refused(Alert),
    Fault(Fault),
}

impl Heard {
    pub(crate) fn data(data: &[u8]) -> Heard {
        Heard::Data(data.to_vec())
    }
}

/// All that `bytes`, in one piece, tell.
pub(crate) fn hear(incoming: &mut Incoming, bytes: &[u8]) -> Vec<Heard> {
    let mut bytes = bytes.to_vec();
    let mut rest = &mut bytes[..];
    let mut heard = Vec::new();
    loop {
        heard.push(match incoming.next(&mut rest) {
            Ok(None) => break,
            Ok(Some(Event::Data(data))) => Heard::Data(data.to_vec()),
            Ok(Some(Event::KeyUpdate { requested })) => Heard::KeyUpdate { requested },
            Ok(Some(Event::CloseNotify)) => Heard::CloseNotify,
            Ok(Some(Event::Refused(alert))) => Heard::Refused(alert),
            Err(fault) => Heard::Fault(fault),
        });
    }
    assert!(rest.is_empty(), "all bytes are used");
    heard
}

/// A peer that can send anything, and the receiver of it.
pub(crate) fn pair(kind: Kind) -> (Naive, Incoming) {
    let naive = Naive::new(kind, 5);
    let incoming = Incoming::new(naive.ours_receiving());
    (naive, incoming)
}

/// The same for each version and suite.
pub(crate) fn pairs() -> impl Iterator<Item = (Naive, Incoming)> {
    KINDS.into_iter().map(pair)
}

pub(crate) fn is_13(naive: &Naive) -> bool {
    naive.kind.is_13
}
