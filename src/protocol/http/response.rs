//! Whole answers, ready to be sent: the refusals, the page, health. Each ends its
//! connection. Also how the head of a stream is written.
//!
//! The answer 101, which does not, is made in `upgrade`. Called by the acceptor.

use std::borrow::Cow;
use std::fmt::Write;

use bytes::Bytes;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;

use super::reject::Reject;

/// What an answer depends on beside what it says.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// The request was HEAD: the answer is that to GET without its body.
    pub head_only: bool,
    /// The time for `Date`, in seconds since 1970.
    pub now_s: u64,
}

/// Something that is there to be read.
#[derive(Clone, Debug)]
pub struct Document {
    pub content_type: &'static str,
    pub body: Cow<'static, [u8]>,
    /// With its quotes (RFC 9110 section 8.8.3). It changes when the body does.
    pub etag: Option<&'static str>,
    /// Further headers.
    pub headers: Vec<(&'static str, Cow<'static, str>)>,
}

/// The answer to a refused request: status, the headers that its status asks for, and the
/// cause as text, with `fields` beside. `retry_after_s` goes into every 503.
pub fn response(
    reject: Reject,
    fields: &[(&str, String)],
    retry_after_s: u32,
    terms: Terms,
) -> Bytes {
    let status = reject.status();
    let body = format!("{reject}\n");
    let mut head = start(status, terms);
    head.field("Content-Type", "text/plain; charset=utf-8");
    head.field("Content-Length", body.len());
    head.field("Cache-Control", "no-store");
    match status {
        // RFC 6750 section 3: who brought none is not told of an error.
        401 => head.field(
            "WWW-Authenticate",
            match reject {
                Reject::Token(_) => "Bearer error=\"invalid_token\"",
                _ => "Bearer",
            },
        ),
        405 => head.field("Allow", ALLOWED),
        // RFC 9110 section 15.5.22 wants Upgrade, RFC 6455 section 4.4 the version.
        426 => {
            head.field("Upgrade", "websocket");
            head.field("Sec-WebSocket-Version", 13);
        }
        503 => head.field("Retry-After", retry_after_s),
        _ => {}
    }
    for (name, value) in fields {
        head.field(name, value);
    }
    // RFC 9110 section 7.8: who sends Upgrade names it in Connection.
    head.end(if status == 426 {
        "close, Upgrade"
    } else {
        "close"
    });
    head.finish(body.as_bytes(), terms)
}

/// The answer to OPTIONS: what may be asked here. Load balancers take it for a sign of life.
pub fn options_response(terms: Terms) -> Bytes {
    let mut head = start(200, terms);
    head.field("Allow", ALLOWED);
    head.field("Content-Length", 0);
    head.end("close");
    head.finish(b"", terms)
}

/// The head of an answer whose body ends with the connection, or has the length that `fields`
/// say.
pub fn stream_head(fields: &[(&str, String)], terms: Terms) -> Vec<u8> {
    let mut head = start(200, terms);
    for (name, value) in fields {
        head.field(name, value);
    }
    head.end("close");
    head.0.into_bytes()
}

/// What asks a browser to come over TLS alone for so long (RFC 6797 section 6.1).
pub fn strict_transport(max_age_s: u64) -> String {
    format!("max-age={max_age_s}")
}

/// Puts that into the head of an answer that goes out over TLS, where `max_age_s` is not 0.
pub fn demand_tls(answer: &mut Vec<u8>, max_age_s: u64) {
    let line_end = answer.windows(2).position(|pair| pair == b"\r\n");
    if let Some(at) = line_end.filter(|_| max_age_s > 0) {
        let field = strict_transport(max_age_s);
        let line = format!("Strict-Transport-Security: {field}\r\n");
        answer.splice(at + 2..at + 2, line.into_bytes());
    }
}

impl Document {
    /// The 200 with its body, or 304 if the client has the body already, as its
    /// `If-None-Match` shows.
    pub fn response<'v>(
        &self,
        if_none_match: impl Iterator<Item = &'v [u8]>,
        terms: Terms,
    ) -> Bytes {
        let known = self.etag.is_some_and(|etag| is_known(etag, if_none_match));
        let mut head = start(if known { 304 } else { 200 }, terms);
        if !known {
            head.field("Content-Type", self.content_type);
            head.field("Content-Length", self.body.len());
        }
        if let Some(etag) = self.etag {
            head.field("ETag", etag);
        }
        for (name, value) in &self.headers {
            head.field(name, value);
        }
        head.end("close");
        let body: &[u8] = if known { b"" } else { &self.body };
        head.finish(body, terms)
    }
}

/// Whether a client has the body of that tag already, as its `If-None-Match` shows (RFC 9110
/// section 13.1.2: a weak comparison).
pub fn is_known<'v>(etag: &str, if_none_match: impl Iterator<Item = &'v [u8]>) -> bool {
    let mut values = if_none_match.filter_map(|value| str::from_utf8(value).ok());
    values.any(|value| {
        let mut tags = value.split(',').map(str::trim);
        tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
    })
}

const ALLOWED: &str = "GET, HEAD, OPTIONS";

/// The head of an answer, as it is written.
struct Head(String);

fn start(status: u16, terms: Terms) -> Head {
    let mut head = Head(format!("HTTP/1.1 {status} {}\r\n", reason(status)));
    // RFC 9110 section 6.6.1: who has a clock says when.
    if let Some(date) = date(terms.now_s) {
        head.field("Date", date);
    }
    head
}

fn date(now_s: u64) -> Option<String> {
    let time = Timestamp::from_second(now_s.try_into().ok()?).ok()?;
    DateTimePrinter::new()
        .timestamp_to_rfc9110_string(&time)
        .ok()
}

impl Head {
    fn field(&mut self, name: &str, value: impl ToString) {
        let value = value.to_string();
        debug_assert!(!name.contains(['\r', '\n', ':']) && !value.contains(['\r', '\n']));
        write!(self.0, "{name}: {value}\r\n").expect("a string takes all");
    }

    fn end(&mut self, connection: &str) {
        self.field("Connection", connection);
        self.0.push_str("\r\n");
    }

    fn finish(self, body: &[u8], terms: Terms) -> Bytes {
        let mut bytes = self.0.into_bytes();
        if !terms.head_only {
            bytes.extend_from_slice(body);
        }
        Bytes::from(bytes)
    }
}

/// The reason phrase of a status that is used here (RFC 9110 section 15).
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        426 => "Upgrade Required",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => unreachable!("no answer has the status {status}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// The example of RFC 9110 section 5.6.7.
    const TERMS: Terms = Terms {
        head_only: false,
        now_s: 784_111_777,
    };
    const HEAD_ONLY: Terms = Terms {
        head_only: true,
        ..TERMS
    };

    /// Status line, headers and body, as an independent parser sees them.
    fn read(bytes: &[u8]) -> (u16, Vec<(String, String)>, String) {
        let mut headers = [httparse::EMPTY_HEADER; 16];
        let mut response = httparse::Response::new(&mut headers);
        let len = response.parse(bytes).unwrap().unwrap();
        let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
        let headers = response.headers.iter();
        let headers = headers
            .map(|h| (h.name.to_owned(), text(h.value)))
            .collect();
        (response.code.unwrap(), headers, text(&bytes[len..]))
    }

    fn value<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
        let mut found = headers.iter().filter(|(n, _)| n == name);
        let value = found.next().map(|(_, v)| v.as_str());
        assert!(found.next().is_none(), "{name} is there once");
        value
    }

    #[test]
    fn each_reject_is_a_whole_answer_that_says_why_and_closes() {
        let mut names = HashSet::new();
        for reject in Reject::ALL {
            assert!(names.insert(reject.name()), "{}", reject.name());
            let (status, headers, body) = read(&response(reject, &[], 7, TERMS));
            assert_eq!(status, reject.status());
            assert_eq!(body, format!("{reject}\n"));
            let len = body.len().to_string();
            assert_eq!(
                value(&headers, "Date"),
                Some("Sun, 06 Nov 1994 08:49:37 GMT")
            );
            let (_, same_headers, no_body) = read(&response(reject, &[], 7, HEAD_ONLY));
            assert_eq!((same_headers, &no_body[..]), (headers.clone(), ""));
            assert_eq!(value(&headers, "Content-Length"), Some(&len[..]));
            assert!(value(&headers, "Connection").unwrap().starts_with("close"));
            assert_eq!(
                value(&headers, "Retry-After"),
                (status == 503).then_some("7")
            );
            assert_eq!(
                value(&headers, "Sec-WebSocket-Version"),
                (status == 426).then_some("13")
            );
            assert_eq!(
                value(&headers, "Upgrade"),
                (status == 426).then_some("websocket")
            );
            assert_eq!(
                value(&headers, "Allow"),
                (status == 405).then_some("GET, HEAD, OPTIONS")
            );
        }
    }

    fn page() -> Document {
        Document {
            content_type: "text/html",
            body: b"<p>".into(),
            etag: Some("\"1\""),
            headers: vec![("Content-Security-Policy", "default-src 'none'".into())],
        }
    }

    #[test]
    fn a_page_is_answered_with_its_headers_and_for_head_without_its_body() {
        let none = std::iter::empty::<&[u8]>;
        let (status, headers, body) = read(&page().response(none(), TERMS));
        assert_eq!((status, &body[..]), (200, "<p>"));
        assert_eq!(value(&headers, "Content-Length"), Some("3"));
        assert_eq!(value(&headers, "Content-Type"), Some("text/html"));
        assert_eq!(value(&headers, "ETag"), Some("\"1\""));
        assert_eq!(
            value(&headers, "Date"),
            Some("Sun, 06 Nov 1994 08:49:37 GMT")
        );
        assert_eq!(
            value(&headers, "Content-Security-Policy"),
            Some("default-src 'none'")
        );
        let (status, same_headers, body) = read(&page().response(none(), HEAD_ONLY));
        assert_eq!((status, same_headers, &body[..]), (200, headers, ""));
    }

    #[test]
    fn who_has_the_body_already_is_told_so_and_gets_no_other() {
        let ask = |values: &[&str]| {
            let values = values.iter().map(|value| value.as_bytes());
            read(&page().response(values, TERMS))
        };
        for known in [
            &["\"1\""][..],
            &["\"x\", W/\"1\""],
            &["*"],
            &["\"x\"", "\"1\""],
        ] {
            let (status, headers, body) = ask(known);
            assert_eq!((status, &body[..]), (304, ""), "{known:?}");
            assert_eq!(value(&headers, "ETag"), Some("\"1\""));
            assert_eq!(value(&headers, "Content-Length"), None);
            assert!(value(&headers, "Content-Security-Policy").is_some());
        }
        for unknown in [&["\"2\""][..], &["1"], &[""], &[]] {
            assert_eq!(ask(unknown).0, 200, "{unknown:?}");
        }
    }

    #[test]
    fn over_tls_browsers_are_asked_to_come_so_again() {
        let plain = options_response(TERMS);
        let mut answer = plain.to_vec();
        demand_tls(&mut answer, 0);
        assert_eq!(answer, plain);
        demand_tls(&mut answer, 63_072_000);
        let (status, headers, body) = read(&answer);
        assert_eq!((status, &body[..]), (200, ""));
        let value = value(&headers, "Strict-Transport-Security");
        assert_eq!(value, Some("max-age=63072000"));
    }

    #[test]
    fn options_tell_what_may_be_asked() {
        let (status, headers, body) = read(&options_response(TERMS));
        assert_eq!((status, &body[..]), (200, ""));
        assert_eq!(value(&headers, "Allow"), Some("GET, HEAD, OPTIONS"));
        assert_eq!(value(&headers, "Content-Length"), Some("0"));
    }
}
