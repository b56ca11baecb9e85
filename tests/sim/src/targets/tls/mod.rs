//! The records of TLS after a handshake: what goes out, and whatever may come.

mod model;
mod open;
mod seal;

pub use open::tls_open;
pub use seal::tls_seal;

use fanfare::protocol::tls::{Event, Fault, Incoming};

/// What a peer's bytes have told.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    Data(Vec<u8>),
    KeyUpdate { requested: bool },
    Close,
    Refused,
    Fault(Fault),
}

/// The longest record that TLS 1.3 allows, header and all.
const RECORD_BYTES_MAX: usize = 5 + 16_384 + 256;

/// All that `pieces` tell.
fn read(incoming: &mut Incoming, pieces: &[&[u8]]) -> Vec<Told> {
    let mut told = Vec::new();
    for piece in pieces {
        let mut piece = piece.to_vec();
        let mut rest = &mut piece[..];
        loop {
            let event = match incoming.next(&mut rest) {
                Ok(Some(event)) => event,
                Ok(None) => break,
                Err(fault) => {
                    told.push(Told::Fault(fault));
                    assert!(incoming.has_ended(), "a fault ends it");
                    continue;
                }
            };
            told.push(match event {
                Event::Data(data) => {
                    assert!(!data.is_empty(), "data is never empty");
                    Told::Data(data.to_vec())
                }
                Event::KeyUpdate { requested } => Told::KeyUpdate { requested },
                Event::CloseNotify => Told::Close,
                Event::Refused(_) => Told::Refused,
            });
        }
        assert!(rest.is_empty(), "all bytes are used");
        let held = incoming.buffered_bytes();
        assert!(held <= RECORD_BYTES_MAX, "{held} bytes are held");
        if incoming.has_ended() {
            assert_eq!(held, 0, "nothing is held at the end");
        }
    }
    told
}
