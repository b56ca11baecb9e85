//! Whole answers, ready to be sent; each ends its connection.

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
