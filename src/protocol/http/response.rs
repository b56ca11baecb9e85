//! Whole answers, ready to be sent: the refusals, the page, health. Each ends its
//! connection.
//!
//! The answer 101, which does not, is made in `upgrade`. Called by the acceptor.

use std::fmt::Write;

use bytes::Bytes;

use super::reject::Reject;

/// The answer to a refused request: status, the headers that its status asks for, and the
/// cause as text. `retry_after_s` goes into every 503.
pub fn response(reject: Reject, retry_after_s: u32) -> Bytes {
    let status = reject.status();
    let extra = match status {
        405 => "Allow: GET, HEAD\r\n".to_owned(),
        // RFC 9110 section 15.5.22 wants Upgrade, RFC 6455 section 4.4 the version.
        426 => "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n".to_owned(),
        503 => format!("Retry-After: {retry_after_s}\r\n"),
        _ => String::new(),
    };
    // RFC 9110 section 7.8: who sends Upgrade names it in Connection.
    let connection = if status == 426 {
        "close, Upgrade"
    } else {
        "close"
    };
    let body = format!("{reject}\n");
    let text = format!(
        "HTTP/1.1 {status} {reason}\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {len}\r\n\
         Cache-Control: no-store\r\n\
         {extra}\
         Connection: {connection}\r\n\
         \r\n\
         {body}",
        reason = reason(status),
        len = body.len(),
    );
    Bytes::from(text)
}

/// A 200 answer with `body`; with `head_only` (HEAD) the same without it. `headers` are
/// names and values to be added.
pub fn get_response(
    content_type: &str,
    body: &[u8],
    headers: &[(&str, &str)],
    head_only: bool,
) -> Bytes {
    let mut head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        debug_assert!(!name.contains(['\r', '\n', ':']) && !value.contains(['\r', '\n']));
        let _ = write!(head, "{name}: {value}\r\n");
    }
    head.push_str("Connection: close\r\n\r\n");
    let mut bytes = head.into_bytes();
    if !head_only {
        bytes.extend_from_slice(body);
    }
    Bytes::from(bytes)
}

/// The reason phrase of a status that [`Reject`] uses (RFC 9110 section 15).
fn reason(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        426 => "Upgrade Required",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => unreachable!("no reject has the status {status}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

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
            let (status, headers, body) = read(&response(reject, 7));
            assert_eq!(status, reject.status());
            assert_eq!(body, format!("{reject}\n"));
            let len = body.len().to_string();
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
                (status == 405).then_some("GET, HEAD")
            );
        }
    }

    #[test]
    fn a_page_is_answered_with_its_headers_and_for_head_without_its_body() {
        let extra = [("Content-Security-Policy", "default-src 'none'")];
        let (status, headers, body) = read(&get_response("text/html", b"<p>", &extra, false));
        assert_eq!((status, &body[..]), (200, "<p>"));
        assert_eq!(value(&headers, "Content-Length"), Some("3"));
        assert_eq!(value(&headers, "Content-Type"), Some("text/html"));
        assert_eq!(
            value(&headers, "Content-Security-Policy"),
            Some("default-src 'none'")
        );
        let (_, headers, body) = read(&get_response("text/html", b"<p>", &extra, true));
        assert_eq!(value(&headers, "Content-Length"), Some("3"));
        assert_eq!(body, "");
    }
}
