//! What a peer's records mean, told from their contents alone.

use fanfare::protocol::tls::Fault;

use super::Told;
use crate::tls::Kind;
use crate::tls::content::{ALERT, CHANGE_CIPHER_SPEC, DATA, HANDSHAKE};

/// The receiving side after a handshake.
pub(super) struct Model {
    kind: Kind,
    /// Of the handshake message that has come in part.
    message: Vec<u8>,
    empty_records: u32,
    key_updates: u32,
    warnings: u32,
    hellos: u32,
}

impl Model {
    pub(super) fn new(kind: Kind) -> Model {
        Model {
            kind,
            message: Vec::new(),
            empty_records: 0,
            key_updates: 0,
            warnings: 0,
            hellos: 0,
        }
    }

    /// A record that opens. `padding` is that of TLS 1.3.
    pub(super) fn record(&mut self, kind: u8, content: &[u8], padding: usize) -> Option<Told> {
        self.tell(kind, content, padding)
            .unwrap_or_else(|fault| Some(Told::Fault(fault)))
    }

    fn tell(&mut self, kind: u8, content: &[u8], padding: usize) -> Result<Option<Told>, Fault> {
        // In TLS 1.2 type and length are seen before the record is opened.
        if !self.kind.is_13 {
            type_fault(kind)?;
        }
        let padding = if self.kind.is_13 { padding } else { 0 };
        if content.len() + padding > 16_384 {
            return Err(Fault::TooLong);
        }
        if !(CHANGE_CIPHER_SPEC..=DATA).contains(&kind) {
            return Err(Fault::ContentType);
        }
        if !self.message.is_empty() && kind != HANDSHAKE {
            return Err(Fault::Interleaved);
        }
        type_fault(kind)?;
        match kind {
            DATA if content.is_empty() => {
                self.empty_records += 1;
                (self.empty_records <= 32)
                    .then_some(None)
                    .ok_or(Fault::EmptyFlood)
            }
            DATA => {
                self.empty_records = 0;
                self.key_updates = 0;
                Ok(Some(Told::Data(content.to_vec())))
            }
            _ if content.is_empty() => Err(Fault::Empty),
            ALERT => self.alert(content),
            _ => {
                self.message.extend(content);
                if self.kind.is_13 {
                    self.key_update()
                } else {
                    self.client_hello()
                }
            }
        }
    }

    fn alert(&mut self, content: &[u8]) -> Result<Option<Told>, Fault> {
        match (self.kind.is_13, content) {
            (_, [1 | 2, 0]) => return Ok(Some(Told::Close)),
            // A warning: user_canceled, and in TLS 1.2 whatever says that it is one.
            (true, [1 | 2, 90]) | (false, [1, _]) => self.warnings += 1,
            (_, [1 | 2, _]) => return Err(Fault::PeerAlert),
            (_, [_, _]) => return Err(Fault::Illegal),
            _ => return Err(Fault::Decode),
        }
        if self.warnings > 4 {
            return Err(Fault::AlertFlood);
        }
        Ok(None)
    }

    fn key_update(&mut self) -> Result<Option<Told>, Fault> {
        let requested = match self.message[..] {
            [24] | [24, _] | [24, _, _] | [24, 0, 0, 1] => return Ok(None),
            [24, 0, 0, 1, request @ 0..=1] => request == 1,
            [24, 0, 0, 1, _] => return Err(Fault::Illegal),
            [24, 0, 0, 1, ..] => return Err(Fault::KeyChange),
            [24, ..] => return Err(Fault::Decode),
            _ => return Err(Fault::Handshake),
        };
        self.message.clear();
        self.key_updates += 1;
        if self.key_updates > 32 {
            return Err(Fault::KeyUpdateFlood);
        }
        Ok(Some(Told::KeyUpdate { requested }))
    }

    fn client_hello(&mut self) -> Result<Option<Told>, Fault> {
        let [kind, head @ ..] = &self.message[..] else {
            return Ok(None);
        };
        if *kind != 1 {
            return Err(Fault::Handshake);
        }
        let [a, b, c, body @ ..] = head else {
            return Ok(None);
        };
        let len = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
        if len > 16_384 {
            return Err(Fault::Handshake);
        }
        match body.get(len..) {
            None => return Ok(None),
            Some([]) => {}
            Some([1, ..]) => return Err(Fault::Renegotiation),
            Some(_) => return Err(Fault::Handshake),
        }
        self.message.clear();
        self.hellos += 1;
        if self.hellos > 1 {
            return Err(Fault::Renegotiation);
        }
        Ok(Some(Told::Refused))
    }
}

/// What may not come at all.
fn type_fault(kind: u8) -> Result<(), Fault> {
    match kind {
        CHANGE_CIPHER_SPEC => Err(Fault::ChangeCipherSpec),
        ALERT | HANDSHAKE | DATA => Ok(()),
        _ => Err(Fault::ContentType),
    }
}
