//! A reader's state on its way to another process: what has been received of a
//! head, a frame and a message.
//!
//! Called by the handover in `core`.

use serde::{Deserialize, Serialize};

use super::{Assembly, Control, Frame, Part, Reader};
use crate::protocol::ws::frame::{CLIENT_HEADER_BYTES_MAX, CONTROL_BYTES_MAX, Opcode};

/// What a [`Reader`] has read of something that is not whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedReader {
    closed: bool,
    part: Option<SavedPart>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SavedPart {
    head: Vec<u8>,
    frame: Option<SavedFrame>,
    control: Vec<u8>,
    message: Option<SavedAssembly>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SavedFrame {
    opcode: u8,
    fin: bool,
    key: [u8; 4],
    left: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SavedAssembly {
    text: bool,
    deflated: bool,
    bytes: Vec<u8>,
    checked: u64,
}

impl Reader {
    /// The state as it stands between two calls of [`Reader::next`].
    pub fn save(&self) -> SavedReader {
        let part = self.part.as_ref();
        let part = part.filter(|part| !part.handed_out && !part.closed);
        SavedReader {
            closed: self.is_closed(),
            part: part.map(|part| SavedPart {
                head: part.head[..usize::from(part.head_len)].to_vec(),
                frame: part.frame.as_ref().map(|frame| SavedFrame {
                    opcode: frame.opcode as u8,
                    fin: frame.fin,
                    key: frame.key,
                    left: frame.left as u64,
                }),
                control: part.control.bytes().to_vec(),
                message: part.message.as_ref().map(|message| SavedAssembly {
                    text: message.text,
                    deflated: message.deflated,
                    bytes: message.bytes.clone(),
                    checked: message.checked as u64,
                }),
            }),
        }
    }

    /// A reader that goes on where the saved one stood; `None` if no reader
    /// can stand so.
    pub fn restore(saved: SavedReader) -> Option<Reader> {
        let part = match saved.part {
            None => None,
            Some(part) => Some(Box::new(restore_part(part)?)),
        };
        let mut reader = Reader { part };
        if saved.closed {
            reader.stop();
        }
        Some(reader)
    }
}

fn restore_part(saved: SavedPart) -> Option<Part> {
    if saved.head.len() > CLIENT_HEADER_BYTES_MAX || saved.control.len() > CONTROL_BYTES_MAX {
        return None;
    }
    let mut part = Part::default();
    part.head[..saved.head.len()].copy_from_slice(&saved.head);
    part.head_len = saved.head.len() as u8;
    let mut control = Control::default();
    control.append(&saved.control, [0; 4]);
    part.control = control;
    if let Some(frame) = saved.frame {
        part.frame = Some(Frame {
            opcode: Opcode::from_bits(frame.opcode).ok()?,
            fin: frame.fin,
            key: frame.key,
            left: usize::try_from(frame.left).ok()?,
        });
    }
    if let Some(message) = saved.message {
        let checked = usize::try_from(message.checked).ok()?;
        if checked > message.bytes.len() {
            return None;
        }
        part.message = Some(Assembly {
            text: message.text,
            deflated: message.deflated,
            bytes: message.bytes,
            checked,
        });
    }
    Some(part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::ws::testing::client_frame;
    use crate::protocol::ws::{Event, Limits};

    #[test]
    fn a_reader_goes_on_in_another_process_at_any_byte() {
        let mut stream = Vec::new();
        stream.extend(client_frame(
            false,
            false,
            Opcode::Text,
            "a part é".as_bytes(),
        ));
        stream.extend(client_frame(true, false, Opcode::Ping, b"ping"));
        stream.extend(client_frame(
            true,
            false,
            Opcode::Continuation,
            &[b'x'; 300],
        ));
        stream.extend(client_frame(
            true,
            false,
            Opcode::Close,
            &1000u16.to_be_bytes(),
        ));
        let limits = Limits {
            message_bytes_max: 1000,
            deflate: false,
        };
        let describe = |event: &Event<'_>| format!("{event:?}");
        let mut want = Vec::new();
        let (mut reader, mut input) = (Reader::new(), &stream[..]);
        while let Some(event) = reader.next(&mut input, &limits).unwrap() {
            want.push(describe(&event));
        }
        assert_eq!(want.len(), 3);
        for cut in 0..=stream.len() {
            let mut got = Vec::new();
            let mut reader = Reader::new();
            for mut piece in [&stream[..cut], &stream[cut..]] {
                while let Some(event) = reader.next(&mut piece, &limits).unwrap() {
                    got.push(describe(&event));
                }
                let bytes = postcard::to_stdvec(&reader.save()).unwrap();
                reader = Reader::restore(postcard::from_bytes(&bytes).unwrap()).unwrap();
            }
            assert_eq!(got, want, "cut at {cut}");
        }
    }

    #[test]
    fn what_no_reader_can_hold_is_refused() {
        let part = SavedPart {
            head: vec![0; 15],
            frame: None,
            control: Vec::new(),
            message: None,
        };
        let refused = |part| {
            let saved = SavedReader {
                closed: false,
                part: Some(part),
            };
            Reader::restore(saved).is_none()
        };
        assert!(refused(part.clone()));
        let head = Vec::new();
        assert!(refused(SavedPart {
            control: vec![0; 126],
            head: head.clone(),
            ..part.clone()
        }));
        let frame = SavedFrame {
            opcode: 3,
            fin: true,
            key: [0; 4],
            left: 1,
        };
        assert!(refused(SavedPart {
            frame: Some(frame),
            head: head.clone(),
            ..part.clone()
        }));
        let message = SavedAssembly {
            text: true,
            deflated: false,
            bytes: vec![1],
            checked: 2,
        };
        assert!(refused(SavedPart {
            message: Some(message),
            head,
            ..part
        }));
    }
}
