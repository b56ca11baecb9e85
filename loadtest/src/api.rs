//! How an event is published over the HTTP API of the Pusher Channels protocol: a request whose
//! query is signed with the app's secret, and what its answer says.
//!
//! The tool's own on purpose, as `codec` is. Pure: bytes go in and out. Called by `client` for
//! those who publish so.

use std::io::Write;

use ::ring::hmac;
use md5::{Digest, Md5};
use thiserror::Error;

/// The name of all events: what a server also calls a message that has none.
const EVENT: &str = "message";
const HEADERS_MAX: usize = 64;
const HEAD_BYTES_MAX: usize = 16 << 10;
const BODY_BYTES_MAX: usize = 1 << 20;
/// Of an answer's body in a fault.
const SHOWN_BYTES_MAX: usize = 200;

/// Who publishes.
#[derive(Clone, Debug)]
pub struct App {
    id: String,
    key: String,
    secret: hmac::Key,
}

/// An answer that cannot be read, after which no other can be.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum AnswerFault {
    #[error("the server's answer to an event is no HTTP: {0}")]
    NotHttp(String),
    #[error("the server's answer to an event is too long")]
    TooLong,
    #[error("the server's answer to an event has neither a length nor chunks")]
    NoLength,
}

/// The answer to one request.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// Why the event was not taken.
    pub refusal: Option<String>,
    /// The server takes no more requests on this connection.
    pub is_last: bool,
}

impl App {
    pub fn new(id: &str, key: &str, secret: &[u8]) -> App {
        App {
            id: id.into(),
            key: key.into(),
            secret: hmac::Key::new(hmac::HMAC_SHA256, secret),
        }
    }

    /// A request that publishes `payload`, plain ASCII without quotes and backslashes. `head` has
    /// the lines of its head that do not change, each with its end.
    pub fn publish(&self, head: &str, channel: &str, payload: &[u8], unix_s: u64) -> Vec<u8> {
        let mut body = Vec::with_capacity(payload.len() + channel.len() + 64);
        let begun = write!(
            body,
            "{{\"name\":\"{EVENT}\",\"channels\":[\"{channel}\"],\"data\":\""
        );
        begun.expect("memory takes everything");
        body.extend_from_slice(payload);
        body.extend_from_slice(b"\"}");
        let path = format!("/apps/{}/events", self.id);
        let query = self.query("POST", &path, &body, unix_s);
        let mut request = format!(
            "POST {path}?{query} HTTP/1.1\r\n{head}Content-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        request.append(&mut body);
        request
    }

    /// The query with its signature: parameters in the order of their names, signed together with
    /// the method and the path.
    fn query(&self, method: &str, path: &str, body: &[u8], unix_s: u64) -> String {
        let query = format!(
            "auth_key={}&auth_timestamp={unix_s}&auth_version=1.0&body_md5={}",
            self.key,
            hex(&Md5::digest(body))
        );
        let signed = format!("{method}\n{path}\n{query}");
        let signature = hmac::sign(&self.secret, signed.as_bytes());
        format!("{query}&auth_signature={}", hex(signature.as_ref()))
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits
        .map(|digit| DIGITS[usize::from(digit)] as char)
        .collect()
}

/// Takes an answer off the front of `input`; `None`, and nothing taken, while more of it must come.
pub fn take_answer(input: &mut &[u8]) -> Result<Option<Answer>, AnswerFault> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Response::new(&mut headers);
    let whole = *input;
    let head_bytes = match head.parse(whole) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if whole.len() < HEAD_BYTES_MAX => return Ok(None),
        Ok(httparse::Status::Partial) => return Err(AnswerFault::TooLong),
        Err(error) => return Err(AnswerFault::NotHttp(error.to_string())),
    };
    let find = |name: &str| {
        let mut all = head.headers.iter();
        let found = all.find(|header| header.name.eq_ignore_ascii_case(name))?;
        Some(String::from_utf8_lossy(found.value).trim().to_lowercase())
    };
    let mut rest = &whole[head_bytes..];
    let body = match (find("content-length"), find("transfer-encoding")) {
        (_, Some(coding)) if coding == "chunked" => match take_chunks(&mut rest)? {
            Some(body) => body,
            None => return Ok(None),
        },
        (Some(length), _) => {
            let length: usize = length.parse().map_err(|_| AnswerFault::NoLength)?;
            if length > BODY_BYTES_MAX {
                return Err(AnswerFault::TooLong);
            }
            let Some((body, behind)) = rest.split_at_checked(length) else {
                return Ok(None);
            };
            rest = behind;
            body.to_vec()
        }
        _ => return Err(AnswerFault::NoLength),
    };
    let status = head.code.unwrap_or(0);
    // Servers answer with an object, of which the protocol asks no member.
    let is_taken = status == 200 && body.trim_ascii_start().starts_with(b"{");
    let answer = Answer {
        refusal: (!is_taken).then(|| {
            let shown = &body[..body.len().min(SHOWN_BYTES_MAX)];
            let shown = String::from_utf8_lossy(shown);
            format!("the server did not take an event: {status} {shown}")
        }),
        is_last: find("connection").is_some_and(|value| value == "close"),
    };
    *input = rest;
    Ok(Some(answer))
}

/// A body in chunks (RFC 9112, section 7.1), without what may stand behind the last one.
fn take_chunks(input: &mut &[u8]) -> Result<Option<Vec<u8>>, AnswerFault> {
    let mut body = Vec::new();
    loop {
        let (head_bytes, length) = match httparse::parse_chunk_size(input) {
            Ok(httparse::Status::Complete(found)) => found,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err(AnswerFault::NotHttp("invalid chunk".into())),
        };
        if length > (BODY_BYTES_MAX - body.len()) as u64 {
            return Err(AnswerFault::TooLong);
        }
        let end = head_bytes + length as usize;
        let Some((chunk, behind)) = input.split_at_checked(end + 2) else {
            return Ok(None);
        };
        if !chunk.ends_with(b"\r\n") {
            return Err(AnswerFault::NotHttp("invalid chunk".into()));
        }
        *input = behind;
        if length == 0 {
            return Ok(Some(body));
        }
        body.extend_from_slice(&chunk[head_bytes..end]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app() -> App {
        App::new("3", "278d425bdf160c739803", b"7ad3773142a6692b25b8")
    }

    #[test]
    fn the_signature_is_that_of_the_protocols_own_example() {
        let body = br#"{"name":"foo","channels":["project-3"],"data":"{\"some\":\"data\"}"}"#;
        assert_eq!(
            app().query("POST", "/apps/3/events", body, 1_353_088_179),
            "auth_key=278d425bdf160c739803&auth_timestamp=1353088179&auth_version=1.0&\
             body_md5=ec365a775a4cd0599faeb73354201b6f&auth_signature=\
             da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c"
        );
    }

    #[test]
    fn a_request_names_the_channel_and_has_the_payload_as_a_string() {
        let request = app().publish("Host: h\r\n", "bench-1", b"Fxy", 1_353_088_179);
        let text = String::from_utf8(request).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("POST /apps/3/events?auth_key=278d425bdf160c739803&"));
        assert!(head.contains(" HTTP/1.1\r\nHost: h\r\n"), "{head}");
        assert_eq!(
            body,
            r#"{"name":"message","channels":["bench-1"],"data":"Fxy"}"#
        );
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())));
    }

    #[test]
    fn answers_are_told_apart_wherever_they_are_split() {
        let all = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}\
            HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{\"\r\n9\r\nok\":true}\r\n0\r\n\r\n\
            HTTP/1.1 413 Too Large\r\nconnection: Close\r\ncontent-length: 3\r\n\r\nbig";
        let wanted = [
            (None, false),
            (None, false),
            (
                Some("the server did not take an event: 413 big".to_owned()),
                true,
            ),
        ];
        for step in 1..all.len() {
            let (mut buffer, mut heard) = (Vec::new(), Vec::new());
            for bytes in all.chunks(step) {
                buffer.extend_from_slice(bytes);
                let mut rest = &buffer[..];
                while let Some(answer) = take_answer(&mut rest).unwrap() {
                    heard.push((answer.refusal, answer.is_last));
                }
                buffer = rest.to_vec();
            }
            assert_eq!(heard, wanted, "step {step}");
            assert!(buffer.is_empty());
        }
    }

    #[test]
    fn an_answer_that_is_none_of_http_is_a_fault() {
        let fault = |bytes: &[u8]| take_answer(&mut &*bytes).unwrap_err();
        let is_no_http = |bytes| matches!(fault(bytes), AnswerFault::NotHttp(_));
        assert!(is_no_http(b"{\"no\":\"head\"}"));
        assert!(is_no_http(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxx\r\n"
        ));
        assert!(is_no_http(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n"
        ));
        assert_eq!(fault(b"HTTP/1.1 200 OK\r\n\r\n{}"), AnswerFault::NoLength);
        assert_eq!(
            fault(b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n"),
            AnswerFault::TooLong
        );
    }

    #[test]
    fn what_is_no_object_is_not_taken_for_an_answer_to_an_event() {
        let answer = take_answer(&mut &b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"[..]);
        let refusal = answer.unwrap().unwrap().refusal.unwrap();
        assert!(refusal.contains("200 hello"), "{refusal}");
    }
}
