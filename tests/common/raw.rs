//! Bytes on a plain TCP connection, as right or wrong as a test wants them.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

/// A connection whose every byte is the test's own.
pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
    received: Vec<u8>,
}

/// An answer over HTTP.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The value of a header that is there once at most.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(known, _)| known == name);
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} is there once");
        value
    }
}

impl Raw {
    pub(crate) fn new(stream: TcpStream) -> Raw {
        Raw {
            stream,
            received: Vec::new(),
        }
    }

    /// A right request for a WebSocket on `path`, with further header lines,
    /// each with its line end.
    pub(crate) fn request(path: &str, lines: &str) -> String {
        format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{lines}\r\n"
        )
    }

    pub(crate) fn shake_hands(&mut self, path: &str) {
        self.send(Raw::request(path, "").as_bytes());
        self.expect_upgrade();
    }

    /// Reads the 101. Its accept value is the one in RFC 6455 section 1.3.
    pub(crate) fn expect_upgrade(&mut self) {
        let answer = self.read_head();
        assert_eq!(answer.status, 101, "{answer:?}");
        let accept = answer.header("Sec-WebSocket-Accept");
        assert_eq!(accept, Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("it can be sent");
    }

    /// Reads the head of an answer.
    pub(crate) fn read_head(&mut self) -> Answer {
        loop {
            if let Some((answer, len)) = parse(&self.received) {
                self.received.drain(..len);
                return answer;
            }
            assert!(self.receive(), "the answer ends early");
        }
    }

    /// Reads a whole answer, up to the end of the connection.
    pub(crate) fn read_answer(&mut self) -> Answer {
        let mut answer = self.read_head();
        while self.receive() {}
        answer.body = std::mem::take(&mut self.received);
        let len = answer.header("Content-Length").map(str::to_owned);
        assert_eq!(len, Some(answer.body.len().to_string()));
        answer
    }

    /// The next frame: its first byte and its payload. `None` at the end.
    pub(crate) fn read_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let Some((header, len)) = frame_len(&self.received)
                && self.received.len() >= header + len
            {
                let mut frame: Vec<u8> = self.received.drain(..header + len).collect();
                return Some((frame[0], frame.split_off(header)));
            }
            if !self.receive() {
                return None;
            }
        }
    }

    /// Reads the close frame, and returns its code and reason. It must be the
    /// next frame.
    pub(crate) fn expect_close(&mut self) -> (u16, String) {
        let (first, payload) = self.read_frame().expect("a close frame comes");
        assert_eq!(first, 0x88, "{payload:?}");
        let (code, reason) = payload.split_first_chunk().expect("it has a code");
        let reason = String::from_utf8(reason.to_vec()).expect("its reason is UTF-8");
        (u16::from_be_bytes(*code), reason)
    }

    /// Waits for the end of the connection; nothing may come before.
    pub(crate) fn expect_end(&mut self) {
        assert_eq!(self.read_frame(), None);
        assert_eq!(self.received, b"");
    }

    /// The connection, and what has come that nobody has read.
    #[allow(dead_code, reason = "not all tests read streams")]
    pub(crate) fn into_parts(self) -> (TcpStream, Vec<u8>) {
        (self.stream, self.received)
    }

    /// Cuts the connection with a reset, whatever is under way.
    pub(crate) fn reset(self) {
        let socket = socket2::SockRef::from(&self.stream);
        socket
            .set_linger(Some(std::time::Duration::ZERO))
            .expect("it is set");
    }

    /// False at the end of the connection.
    fn receive(&mut self) -> bool {
        let mut bytes = [0; 4096];
        match self.stream.read(&mut bytes) {
            Ok(0) => false,
            Ok(len) => {
                self.received.extend_from_slice(&bytes[..len]);
                true
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!("cannot receive: {error}"),
        }
    }
}

/// A client's frame: its first byte as given, its length in the shortest form.
pub(crate) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let key = [0x1d, 0xc3, 0x00, 0x7a];
    let mut frame = vec![first];
    match payload.len() {
        len @ ..126 => frame.push(0x80 | len as u8),
        len @ ..0x1_0000 => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&key);
    frame.extend(
        payload
            .iter()
            .zip(key.iter().cycle())
            .map(|(byte, key)| byte ^ key),
    );
    frame
}

/// Lengths of a server frame's header and payload.
fn frame_len(bytes: &[u8]) -> Option<(usize, usize)> {
    let second = *bytes.get(1)?;
    assert!(second & 0x80 == 0, "a server does not mask");
    Some(match second {
        126 => (
            4,
            u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?).into(),
        ),
        127 => (
            10,
            u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?) as usize,
        ),
        len => (2, len.into()),
    })
}

fn parse(bytes: &[u8]) -> Option<(Answer, usize)> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(len) = response.parse(bytes).expect("it is HTTP") else {
        return None;
    };
    let text = |value: &[u8]| String::from_utf8(value.to_vec()).expect("a header is text");
    let headers = response.headers.iter();
    let answer = Answer {
        status: response.code.expect("a status"),
        headers: headers
            .map(|h| (h.name.to_owned(), text(h.value)))
            .collect(),
        body: Vec::new(),
    };
    Some((answer, len))
}
