//! HTTP request heads, whole and in pieces, and all that is read from them.

use fanfare::protocol::http::{
    HeadLimits, HeadReader, Method, Origins, Reject, is_upgrade, negotiate, parse,
};
use fanfare::protocol::ws::deflate::Policy;

use super::{pieces, split};

/// Bytes 0 to 3 cut the rest, which is what a peer sends.
pub fn head(data: &[u8]) {
    let (cuts, bytes) = split(data, 4);
    let limits = HeadLimits {
        bytes_max: 600,
        fields_max: 12,
    };
    let whole = look(parse(bytes, limits), bytes);
    let mut reader = HeadReader::default();
    let mut had = 0;
    let mut outcome = None;
    for piece in pieces(bytes, cuts) {
        had += piece.len();
        let so_far = look(reader.parse(&bytes[..had], limits), &bytes[..had]);
        if so_far != Ok(None) {
            outcome = Some(so_far);
            break;
        }
    }
    assert_eq!(outcome.unwrap_or(Ok(None)), whole);
}

type Parsed<'a> = Result<Option<(fanfare::protocol::http::Request<'a>, usize)>, Reject>;

/// What of a request must not depend on how it came, having read all of it.
fn look(parsed: Parsed<'_>, bytes: &[u8]) -> Result<Option<(String, usize)>, Reject> {
    let Some((request, len)) = parsed? else {
        return Ok(None);
    };
    request.check_plain()?;
    assert!(len <= bytes.len());
    assert!(bytes[..len].ends_with(b"\n"));
    let asks_all = request.path() == "*" && request.method() == Method::Options;
    assert!(request.path().starts_with('/') || asks_all);
    check_plainly(&bytes[..len]);
    let policy = Policy {
        client_takeover: true,
    };
    let upgrade = negotiate(&request, &Origins::same_host(), Some(policy));
    if upgrade.is_ok() {
        check_upgrade_plainly(&bytes[..len]);
    }
    let facts = format!(
        "{:?} {} {:?} {} {} {upgrade:?}",
        request.method(),
        request.path(),
        request.query(),
        request.host(),
        is_upgrade(&request),
    );
    Ok(Some((facts, len)))
}

/// The values of all fields of a name, read line by line.
fn values<'a>(head: &'a [u8], name: &str) -> Vec<&'a [u8]> {
    let lines = head.split(|byte| *byte == b'\n');
    let fields = lines.filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let known = line[..colon].eq_ignore_ascii_case(name.as_bytes());
        known.then(|| line[colon + 1..].trim_ascii())
    });
    fields.collect()
}

/// Whether one of a field's comma-separated words is `word`.
fn says(head: &[u8], name: &str, word: &str) -> bool {
    let values = values(head, name);
    let mut words = values.iter().flat_map(|value| value.split(|b| *b == b','));
    words.any(|said| said.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
}

/// What RFC 9112 asks of every request that is answered at all.
fn check_plainly(head: &[u8]) {
    let start = head.trim_ascii_start();
    let methods = [&b"GET "[..], b"HEAD ", b"OPTIONS "];
    assert!(methods.iter().any(|method| start.starts_with(method)));
    let hosts = values(head, "host").len();
    let old = start.split(|byte| *byte == b'\n').next().expect("a line");
    let old = old.trim_ascii().ends_with(b"HTTP/1.0");
    assert!(hosts == 1 || (old && hosts == 0), "{hosts} hosts");
    assert!(
        values(head, "transfer-encoding").is_empty(),
        "it has a body"
    );
    let lengths = values(head, "content-length");
    assert!(lengths.iter().all(|len| *len == b"0"), "it has a body");
}

/// What RFC 6455 section 4.2.1 asks of an opening handshake.
fn check_upgrade_plainly(head: &[u8]) {
    assert!(head.trim_ascii_start().starts_with(b"GET "));
    assert!(says(head, "upgrade", "websocket"));
    assert!(says(head, "connection", "upgrade"));
    assert_eq!(values(head, "sec-websocket-version"), [b"13"]);
    let keys = values(head, "sec-websocket-key");
    assert_eq!(keys.len(), 1, "one key");
    // Sixteen bytes in base64 are 22 characters and two signs that fill up.
    assert!(keys[0].len() == 24 && keys[0].ends_with(b"=="));
    assert!(values(head, "origin").len() <= 1);
}
