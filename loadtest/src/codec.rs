//! The WebSocket wire as a client sees it (RFC 6455), written for this tool
//! alone: a witness that shared its codec with the server would share its
//! mistakes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// Leading bytes of a message that are kept while it streams by; the rest is
/// only counted and its last bytes kept. No control frame is larger.
pub const HEAD_BYTES_MAX: usize = 125;
/// Bytes of a frame header at most, without a mask.
const HEADER_BYTES_MAX: usize = 10;
/// The constant of RFC 6455, section 1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// What the server did wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Fault {
    #[error("sent a frame with reserved bits set")]
    Reserved,
    #[error("sent a frame with the unknown opcode {0}")]
    Opcode(u8),
    #[error("sent a masked frame, which only clients do")]
    Masked,
    #[error("sent a control frame in pieces or longer than 125 bytes")]
    Control,
    #[error("sent a continuation that continues nothing, or left a message unfinished")]
    Continuation,
    #[error("sent a frame with a length of more than 63 bits")]
    Length,
}

/// One thing that has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// A whole message, possibly of several frames: its leading bytes (at most
    /// [`HEAD_BYTES_MAX`]), its last byte, and its length.
    Message {
        opcode: u8,
        head: &'a [u8],
        last: u8,
        len: u64,
    },
    /// A ping, close or pong and its payload.
    Control { opcode: u8, payload: &'a [u8] },
}

/// Takes the byte stream of one server apart, in pieces of any size, without
/// buffering more than [`HEAD_BYTES_MAX`] bytes.
#[derive(Debug, Clone)]
pub struct Reader {
    header: [u8; HEADER_BYTES_MAX],
    header_len: u8,
    /// Whether the header is complete and payload is being read.
    in_payload: bool,
    /// The frame being read.
    opcode: u8,
    fin: bool,
    left: u64,
    /// The message that its frames add up to; 0 if none is open.
    message_opcode: u8,
    message_len: u64,
    last: u8,
    head: Buffer,
    control: Option<Box<Buffer>>,
}

#[derive(Debug, Clone)]
struct Buffer {
    bytes: [u8; HEAD_BYTES_MAX],
    len: u8,
}

impl Buffer {
    const EMPTY: Buffer = Buffer {
        bytes: [0; HEAD_BYTES_MAX],
        len: 0,
    };

    /// Keeps what fits and lets the rest go.
    fn keep(&mut self, bytes: &[u8]) {
        let at = self.len as usize;
        let taken = bytes.len().min(HEAD_BYTES_MAX - at);
        self.bytes[at..at + taken].copy_from_slice(&bytes[..taken]);
        self.len += taken as u8;
    }

    fn get(&self) -> &[u8] {
        &self.bytes[..self.len as usize]
    }
}

impl Default for Reader {
    fn default() -> Self {
        Reader {
            header: [0; HEADER_BYTES_MAX],
            header_len: 0,
            in_payload: false,
            opcode: 0,
            fin: false,
            left: 0,
            message_opcode: 0,
            message_len: 0,
            last: 0,
            head: Buffer::EMPTY,
            control: None,
        }
    }
}

impl Reader {
    /// Reads on, and hands over what is complete.
    ///
    /// # Errors
    /// The [`Fault`] of the server; nothing after it can be understood.
    pub fn handle_bytes(
        &mut self,
        mut bytes: &[u8],
        on: &mut impl FnMut(Event<'_>),
    ) -> Result<(), Fault> {
        while !bytes.is_empty() {
            if !self.in_payload {
                bytes = match self.whole_message(bytes, on) {
                    Some(rest) => rest,
                    None => self.read_header(bytes)?,
                };
                if !self.in_payload || self.left > 0 {
                    continue;
                }
            }
            let taken = self.left.min(bytes.len() as u64) as usize;
            self.read_payload(&bytes[..taken]);
            bytes = &bytes[taken..];
            if self.left == 0 {
                self.finish_frame(on);
            }
        }
        Ok(())
    }

    /// The short way for what nearly everything is: an unfragmented message
    /// that lies in `bytes` as a whole.
    fn whole_message<'a>(
        &mut self,
        bytes: &'a [u8],
        on: &mut impl FnMut(Event<'_>),
    ) -> Option<&'a [u8]> {
        if self.header_len != 0 || self.message_opcode != 0 {
            return None;
        }
        let (&first, &second) = (bytes.first()?, bytes.get(1)?);
        if first != 0x80 | TEXT && first != 0x80 | BINARY {
            return None;
        }
        let (start, len) = match second {
            0..=125 => (2, second as u64),
            126 => (
                4,
                u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?) as u64,
            ),
            127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)),
            _ => return None,
        };
        let end = usize::try_from(len).ok()?.checked_add(start)?;
        let payload = bytes.get(start..end)?;
        on(Event::Message {
            opcode: first & 0x0f,
            head: &payload[..payload.len().min(HEAD_BYTES_MAX)],
            last: payload.last().copied().unwrap_or(0),
            len,
        });
        Some(&bytes[end..])
    }

    /// Takes header bytes up to the end of the header and returns the rest.
    fn read_header<'a>(&mut self, mut bytes: &'a [u8]) -> Result<&'a [u8], Fault> {
        loop {
            let have = self.header_len as usize;
            let need = match (have, self.header[1]) {
                (0 | 1, _) => 2,
                (_, 126) => 4,
                (_, 127) => 10,
                _ => 2,
            };
            if have == 2 {
                self.check_header()?;
            }
            if have == need {
                break;
            }
            let taken = (need - have).min(bytes.len());
            self.header[have..have + taken].copy_from_slice(&bytes[..taken]);
            self.header_len += taken as u8;
            bytes = &bytes[taken..];
            if have + taken < need {
                return Ok(bytes);
            }
        }
        self.left = match self.header[1] {
            126 => u16::from_be_bytes([self.header[2], self.header[3]]) as u64,
            127 => u64::from_be_bytes(self.header[2..10].try_into().expect("8 bytes")),
            short => short as u64,
        };
        if self.left >> 63 != 0 {
            return Err(Fault::Length);
        }
        self.header_len = 0;
        self.in_payload = true;
        match self.opcode {
            CLOSE | PING | PONG => self.control = Some(Box::new(Buffer::EMPTY)),
            0 => {}
            opcode => {
                self.message_opcode = opcode;
                self.message_len = 0;
                self.head.len = 0;
                self.last = 0;
            }
        }
        Ok(bytes)
    }

    fn check_header(&mut self) -> Result<(), Fault> {
        let [first, second] = [self.header[0], self.header[1]];
        self.fin = first & 0x80 != 0;
        self.opcode = first & 0x0f;
        if first & 0x70 != 0 {
            return Err(Fault::Reserved);
        }
        if second & 0x80 != 0 {
            return Err(Fault::Masked);
        }
        match self.opcode {
            0 if self.message_opcode == 0 => Err(Fault::Continuation),
            TEXT | BINARY if self.message_opcode != 0 => Err(Fault::Continuation),
            0..=BINARY => Ok(()),
            CLOSE..=PONG if !self.fin || second > 125 => Err(Fault::Control),
            CLOSE..=PONG => Ok(()),
            unknown => Err(Fault::Opcode(unknown)),
        }
    }

    fn read_payload(&mut self, bytes: &[u8]) {
        self.left -= bytes.len() as u64;
        if let Some(control) = &mut self.control {
            control.keep(bytes);
        } else if let Some(&last) = bytes.last() {
            self.head.keep(bytes);
            self.last = last;
            self.message_len += bytes.len() as u64;
        }
    }

    fn finish_frame(&mut self, on: &mut impl FnMut(Event<'_>)) {
        self.in_payload = false;
        if let Some(control) = self.control.take() {
            on(Event::Control {
                opcode: self.opcode,
                payload: control.get(),
            });
        } else if self.fin {
            on(Event::Message {
                opcode: self.message_opcode,
                head: self.head.get(),
                last: self.last,
                len: self.message_len,
            });
            self.message_opcode = 0;
        }
    }
}

/// Appends a masked, final frame to `out` (RFC 6455, section 5.2).
pub fn write_frame(out: &mut Vec<u8>, opcode: u8, payload: &[u8], mask: [u8; 4]) {
    out.push(0x80 | opcode);
    match payload.len() {
        len @ 0..=125 => out.push(0x80 | len as u8),
        len @ 126..=0xffff => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&mask);
    let start = out.len();
    out.extend_from_slice(payload);
    for (byte, mask) in out[start..].iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

/// A fresh `Sec-WebSocket-Key`.
pub fn new_key() -> String {
    STANDARD.encode(fastrand::u128(..).to_ne_bytes())
}

/// The `Sec-WebSocket-Accept` that belongs to a key.
pub fn accept_for(key: &str) -> String {
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}

/// The opening handshake's request (RFC 6455, section 4.1).
pub fn upgrade_request(host: &str, target: &str, key: &str) -> Vec<u8> {
    format!(
        "GET {target} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    .into_bytes()
}

/// Why a handshake came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    #[error("the server answered HTTP {0} instead of 101")]
    Status(u16),
    #[error("the server's answer is not HTTP")]
    NotHttp,
    #[error("the server's answer has no Upgrade: websocket and Connection: Upgrade")]
    NoUpgrade,
    #[error("the server's Sec-WebSocket-Accept does not belong to the key it was sent")]
    Accept,
}

/// Checks the server's answer; how long it is, or `None` while it is not all
/// there.
///
/// # Errors
/// The [`Refusal`] it amounts to.
pub fn read_answer(bytes: &[u8], key: &str) -> Result<Option<usize>, Refusal> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut answer = httparse::Response::new(&mut headers);
    let len = match answer.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(Refusal::NotHttp),
    };
    match answer.code {
        Some(101) => {}
        status => return Err(Refusal::Status(status.unwrap_or(0))),
    }
    let header = |name: &str| {
        let found = answer
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name));
        found.map_or("", |header| str::from_utf8(header.value).unwrap_or(""))
    };
    let has = |name: &str, token: &str| {
        let mut tokens = header(name).split(',');
        tokens.any(|found| found.trim().eq_ignore_ascii_case(token))
    };
    if !has("Upgrade", "websocket") || !has("Connection", "upgrade") {
        return Err(Refusal::NoUpgrade);
    }
    if header("Sec-WebSocket-Accept").trim() != accept_for(key) {
        return Err(Refusal::Accept);
    }
    Ok(Some(len))
}
