//! WebSocket frames as a client sees them (RFC 6455, section 5).
//!
//! This codec is the tool's own on purpose: a server must not be judged by its
//! own parser. It does no I/O; bytes go in, pieces of messages come out, and
//! whatever a server may not send is a named [`Fault`].

use thiserror::Error;

/// What a frame carries (RFC 6455, section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

/// A way in which a server broke the protocol.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
pub enum Fault {
    #[error("the server sent a masked frame (RFC 6455 forbids it, section 5.1)")]
    Masked,
    #[error("the server set reserved bits {0:#05b} although no extension was agreed")]
    ReservedBits(u8),
    #[error("the server sent a frame with the unknown opcode {0}")]
    UnknownOpcode(u8),
    #[error("the server sent a control frame of {0} bytes; 125 is the most allowed")]
    LongControl(u64),
    #[error("the server sent a control frame in fragments")]
    FragmentedControl,
    #[error("the server continued a message that it had not begun")]
    LoneContinuation,
    #[error("the server began a message inside another one")]
    Interleaved,
    #[error("the server used more length bytes than {0} bytes of payload need")]
    LongForm(u64),
    #[error("the server announced a frame with the top bit of its length set")]
    LengthOverflow,
}

/// A part of what a server sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Bytes of a text or binary message: `offset` counts from the start of the
    /// message (over all its fragments), `last` is set on the piece that ends it.
    Data {
        offset: u64,
        bytes: &'a [u8],
        last: bool,
    },
    /// A whole close, ping or pong frame.
    Control { opcode: Opcode, payload: Vec<u8> },
}

const HEADER_BYTES_MAX: usize = 10;
const CONTROL_BYTES_MAX: u64 = 125;

/// The state between two reads of one connection.
#[derive(Debug)]
pub struct Decoder {
    header: [u8; HEADER_BYTES_MAX],
    header_bytes: u8,
    opcode: Opcode,
    fin: bool,
    in_payload: bool,
    in_message: bool,
    remaining: u64,
    message_offset: u64,
    control: Vec<u8>,
}

impl Default for Decoder {
    fn default() -> Self {
        Decoder {
            header: [0; HEADER_BYTES_MAX],
            header_bytes: 0,
            opcode: Opcode::Continuation,
            fin: false,
            in_payload: false,
            in_message: false,
            remaining: 0,
            message_offset: 0,
            control: Vec::new(),
        }
    }
}

impl Decoder {
    /// Takes bytes off the front of `input` and returns the next piece, or
    /// `None` once all of it is used up. After a fault the connection is lost.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Piece<'a>>, Fault> {
        loop {
            if !self.in_payload && !self.take_header(input)? {
                return Ok(None);
            }
            let take = self.remaining.min(input.len() as u64) as usize;
            if take == 0 && self.remaining > 0 {
                return Ok(None);
            }
            let (bytes, rest) = input.split_at(take);
            *input = rest;
            self.remaining -= take as u64;
            let ended = self.remaining == 0;
            self.in_payload = !ended;
            if is_control(self.opcode) {
                self.control.extend_from_slice(bytes);
                if ended {
                    let payload = std::mem::take(&mut self.control);
                    return Ok(Some(Piece::Control {
                        opcode: self.opcode,
                        payload,
                    }));
                }
                continue;
            }
            let offset = self.message_offset;
            let last = ended && self.fin;
            self.message_offset = if last { 0 } else { offset + take as u64 };
            self.in_message = !last;
            if bytes.is_empty() && !last {
                continue;
            }
            return Ok(Some(Piece::Data {
                offset,
                bytes,
                last,
            }));
        }
    }

    /// True once a header is complete; until then `input` is used up.
    fn take_header(&mut self, input: &mut &[u8]) -> Result<bool, Fault> {
        loop {
            let have = self.header_bytes as usize;
            let need = if have < 2 {
                2
            } else {
                header_bytes(self.header[1])
            };
            if have == need {
                break;
            }
            let take = (need - have).min(input.len());
            if take == 0 {
                return Ok(false);
            }
            self.header[have..have + take].copy_from_slice(&input[..take]);
            *input = &input[take..];
            self.header_bytes += take as u8;
        }
        self.header_bytes = 0;
        self.begin_frame()?;
        Ok(true)
    }

    fn begin_frame(&mut self) -> Result<(), Fault> {
        let h = &self.header;
        if h[0] & 0x70 != 0 {
            return Err(Fault::ReservedBits((h[0] >> 4) & 7));
        }
        if h[1] & 0x80 != 0 {
            return Err(Fault::Masked);
        }
        let opcode = match h[0] & 0x0f {
            0 => Opcode::Continuation,
            1 => Opcode::Text,
            2 => Opcode::Binary,
            8 => Opcode::Close,
            9 => Opcode::Ping,
            10 => Opcode::Pong,
            other => return Err(Fault::UnknownOpcode(other)),
        };
        let (length, shortest) = match h[1] & 0x7f {
            126 => (u64::from(u16::from_be_bytes([h[2], h[3]])), 126),
            127 => (
                u64::from_be_bytes([h[2], h[3], h[4], h[5], h[6], h[7], h[8], h[9]]),
                65_536,
            ),
            short => (u64::from(short), 0),
        };
        if length >> 63 != 0 {
            return Err(Fault::LengthOverflow);
        }
        if length < shortest {
            return Err(Fault::LongForm(length));
        }
        let fin = h[0] & 0x80 != 0;
        match opcode {
            _ if is_control(opcode) && length > CONTROL_BYTES_MAX => {
                return Err(Fault::LongControl(length));
            }
            _ if is_control(opcode) && !fin => return Err(Fault::FragmentedControl),
            Opcode::Continuation if !self.in_message => return Err(Fault::LoneContinuation),
            Opcode::Text | Opcode::Binary if self.in_message => return Err(Fault::Interleaved),
            _ => {}
        }
        if !is_control(opcode) {
            self.in_message = true;
        }
        // A control frame may sit between fragments: `fin` of the message is
        // always that of the frame being read, so nothing needs saving.
        self.opcode = opcode;
        self.fin = fin;
        self.remaining = length;
        self.in_payload = true;
        Ok(())
    }
}

/// Appends one whole frame, masked with `key` as a client must.
pub fn append_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], key: [u8; 4]) {
    let first = 0x80
        | match opcode {
            Opcode::Continuation => 0,
            Opcode::Text => 1,
            Opcode::Binary => 2,
            Opcode::Close => 8,
            Opcode::Ping => 9,
            Opcode::Pong => 10,
        };
    out.push(first);
    match payload.len() {
        short @ 0..=125 => out.push(0x80 | short as u8),
        medium @ 126..=65_535 => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(medium as u16).to_be_bytes());
        }
        long => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&key);
    let start = out.len();
    out.extend_from_slice(payload);
    let wide = u64::from_ne_bytes([
        key[0], key[1], key[2], key[3], key[0], key[1], key[2], key[3],
    ]);
    let mut words = out[start..].chunks_exact_mut(8);
    for word in &mut words {
        let masked = u64::from_ne_bytes(word.try_into().expect("eight bytes")) ^ wide;
        word.copy_from_slice(&masked.to_ne_bytes());
    }
    for (byte, mask) in words.into_remainder().iter_mut().zip(key.iter().cycle()) {
        *byte ^= mask;
    }
}

/// The close code of a close frame's payload; 1005 when it carries none (RFC 6455, section 7.1.5).
pub fn close_code(payload: &[u8]) -> u16 {
    match payload {
        [high, low, ..] => u16::from_be_bytes([*high, *low]),
        _ => 1005,
    }
}

fn is_control(opcode: Opcode) -> bool {
    matches!(opcode, Opcode::Close | Opcode::Ping | Opcode::Pong)
}

/// Bytes of a server's header, which has no mask, told by its second byte.
fn header_bytes(second: u8) -> usize {
    match second & 0x7f {
        126 => 4,
        127 => 10,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a server would send: the same frame without mask.
    fn server_frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![first];
        match payload.len() {
            short @ 0..=125 => out.push(short as u8),
            medium @ 126..=65_535 => {
                out.push(126);
                out.extend_from_slice(&(medium as u16).to_be_bytes());
            }
            long => {
                out.push(127);
                out.extend_from_slice(&(long as u64).to_be_bytes());
            }
        }
        out.extend_from_slice(payload);
        out
    }

    type Payloads = Vec<Vec<u8>>;

    /// All messages and control frames in `wire`, fed `step` bytes at a time.
    fn decode(wire: &[u8], step: usize) -> Result<(Payloads, Payloads), Fault> {
        let mut decoder = Decoder::default();
        let (mut messages, mut controls, mut current) = (vec![], vec![], vec![]);
        for mut chunk in wire.chunks(step) {
            while let Some(piece) = decoder.next(&mut chunk)? {
                match piece {
                    Piece::Data {
                        offset,
                        bytes,
                        last,
                    } => {
                        assert_eq!(offset, current.len() as u64);
                        current.extend_from_slice(bytes);
                        if last {
                            messages.push(std::mem::take(&mut current));
                        }
                    }
                    Piece::Control { payload, .. } => controls.push(payload),
                }
            }
            assert!(chunk.is_empty(), "bytes were left over");
        }
        Ok((messages, controls))
    }

    #[test]
    fn messages_survive_any_split_of_the_stream() {
        let sizes = [0, 1, 125, 126, 65_535, 65_536, 70_000];
        let bodies: Vec<Vec<u8>> = sizes.iter().map(|n| vec![*n as u8; *n]).collect();
        let mut wire = vec![];
        for body in &bodies {
            wire.extend(server_frame(0x82, body));
        }
        for step in [1, 2, 3, 7, 1000, wire.len()] {
            assert_eq!(decode(&wire, step).unwrap().0, bodies, "step {step}");
        }
    }

    #[test]
    fn fragments_join_and_a_ping_may_sit_between_them() {
        let mut wire = server_frame(0x01, b"hel");
        wire.extend(server_frame(0x89, b"are you there"));
        wire.extend(server_frame(0x00, b""));
        wire.extend(server_frame(0x80, b"lo"));
        for step in 1..wire.len() {
            let (messages, controls) = decode(&wire, step).unwrap();
            assert_eq!(messages, [b"hello".to_vec()]);
            assert_eq!(controls, [b"are you there".to_vec()]);
        }
    }

    #[test]
    fn what_a_server_may_not_send_is_named() {
        let cases: [(&[u8], Fault); 9] = [
            (&[0x82, 0x81, 0, 0, 0, 0, 0], Fault::Masked),
            (&[0xc2, 0x00], Fault::ReservedBits(4)),
            (&[0x83, 0x00], Fault::UnknownOpcode(3)),
            (&[0x89, 126, 0, 126], Fault::LongControl(126)),
            (&[0x09, 0x00], Fault::FragmentedControl),
            (&[0x80, 0x00], Fault::LoneContinuation),
            (&[0x01, 0x01, b'a', 0x81, 0x00], Fault::Interleaved),
            (&[0x82, 126, 0, 125], Fault::LongForm(125)),
            (
                &[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0],
                Fault::LengthOverflow,
            ),
        ];
        for (wire, fault) in cases {
            for step in [1, wire.len()] {
                assert_eq!(decode(wire, step), Err(fault));
            }
        }
    }

    #[test]
    fn a_client_frame_unmasks_to_its_payload() {
        for size in [0, 1, 7, 8, 9, 125, 126, 4096, 65_535, 65_536] {
            let payload: Vec<u8> = (0..size).map(|i| i as u8).collect();
            let key = [0x12, 0x34, 0xfe, 0x01];
            let mut wire = vec![];
            append_frame(&mut wire, Opcode::Text, &payload, key);
            assert_eq!(wire[0], 0x81);
            assert_eq!(wire[1] & 0x80, 0x80, "a client masks");
            let body = wire.len() - size;
            assert_eq!(&wire[body - 4..body], &key);
            let plain: Vec<u8> = (wire[body..].iter().zip(key.iter().cycle()))
                .map(|(byte, mask)| byte ^ mask)
                .collect();
            assert_eq!(plain, payload);
        }
    }

    #[test]
    fn a_close_frame_without_a_code_counts_as_1005() {
        assert_eq!(close_code(&[]), 1005);
        assert_eq!(close_code(&[0x03, 0xf5, b'x']), 1013);
    }
}
