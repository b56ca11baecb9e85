//! HTTP request heads, whole and in pieces, and all that is read from them.

use fanfare::protocol::http::{HeadReader, Origins, Reject, is_upgrade, negotiate, parse};
use fanfare::protocol::ws::deflate::Policy;

use super::{pieces, split};

/// Bytes 0 to 3 cut the rest, which is what a peer sends.
pub fn head(data: &[u8]) {
    let (cuts, bytes) = split(data, 4);
    let head_bytes_max = 600;
    let whole = look(parse(bytes, head_bytes_max), bytes);
    let mut reader = HeadReader::default();
    let mut had = 0;
    let mut outcome = None;
    for piece in pieces(bytes, cuts) {
        had += piece.len();
        let so_far = look(reader.parse(&bytes[..had], head_bytes_max), &bytes[..had]);
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
    assert!(len <= bytes.len());
    assert!(bytes[..len].ends_with(b"\n"));
    assert!(request.path().starts_with('/'));
    let policy = Policy {
        client_takeover: true,
    };
    let upgrade = negotiate(&request, &Origins::same_host(), Some(policy));
    let facts = format!(
        "{} {} {:?} {} {} {upgrade:?}",
        request.is_head(),
        request.path(),
        request.query(),
        request.host(),
        is_upgrade(&request),
    );
    Ok(Some((facts, len)))
}
