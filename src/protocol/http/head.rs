//! Request heads (RFC 9112 sections 2 to 6): from bytes to a checked head, or to
//! the reason why it is refused.
//!
//! What the request asks for is read in `upgrade`. Called by the acceptor with
//! whatever has arrived so far.

use memchr::memchr_iter;

use super::reject::Reject;

/// How much of a request head is read. Single sign-on brings cookies of more than 8 KiB, and
/// a mesh of proxies more than 64 fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes up to and with the empty line.
    pub bytes_max: usize,
    /// Header fields; browsers send about twenty.
    pub fields_max: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        HeadLimits {
            bytes_max: 32 << 10,
            fields_max: 128,
        }
    }
}

/// The methods that are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Head,
    Options,
    /// For the server API alone.
    Other,
}

/// A request, its `Host` checked. What is no GET, HEAD or OPTIONS without a body
/// [`Request::check_plain`] refuses.
#[derive(Debug)]
pub struct Request<'a> {
    method: Method,
    path: &'a str,
    query: Option<&'a str>,
    http_1_1: bool,
    headers: Vec<httparse::Header<'a>>,
}

/// Waits for the end of a head that comes in pieces, looking at each byte once.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeadReader {
    /// No end of the head begins before this byte.
    searched: usize,
}

impl HeadReader {
    /// As [`parse`], but cheap to call again with the same bytes and more behind them.
    pub fn parse<'a>(
        &mut self,
        bytes: &'a [u8],
        limits: HeadLimits,
    ) -> Result<Option<(Request<'a>, usize)>, Reject> {
        check_start(bytes)?;
        let bytes_max = limits.bytes_max;
        match find_end(bytes, self.searched) {
            Some(end) if end > bytes_max => Err(Reject::HeadBytes { max: bytes_max }),
            Some(end) => parse_whole(&bytes[..end], limits.fields_max).map(Some),
            None if bytes.len() >= bytes_max => Err(Reject::HeadBytes { max: bytes_max }),
            None => {
                self.searched = bytes.len().saturating_sub(3);
                Ok(None)
            }
        }
    }
}

/// Parses the head at the start of `bytes`; returns it with its length in bytes (whatever
/// follows belongs to the next protocol), or `None` while it is not whole.
///
/// # Errors
/// The [`Reject`] to answer with.
pub fn parse(bytes: &[u8], limits: HeadLimits) -> Result<Option<(Request<'_>, usize)>, Reject> {
    HeadReader::default().parse(bytes, limits)
}

/// Whether what has come so far is a HEAD request, be it right or not: an answer to one,
/// and be it a refusal, has no body (RFC 9110 section 9.3.2). `None` while it may become one.
pub fn wants_head_only(bytes: &[u8]) -> Option<bool> {
    const METHOD: &[u8] = b"HEAD ";
    let start = bytes.iter().position(|b| !matches!(b, b'\r' | b'\n'))?;
    let begin = &bytes[start..bytes.len().min(start + METHOD.len())];
    (begin.len() == METHOD.len() || !METHOD.starts_with(begin)).then_some(begin == METHOD)
}

/// Where the head ends, just behind its empty line; the search starts at `from`. Bare line
/// feeds end lines too, and empty lines before the request are skipped (RFC 9112 section 2.2).
pub fn find_end(bytes: &[u8], from: usize) -> Option<usize> {
    let start = bytes.iter().position(|b| !matches!(b, b'\r' | b'\n'))?;
    let at = from.max(start).min(bytes.len());
    memchr_iter(b'\n', &bytes[at..]).find_map(|offset| {
        let next = at + offset + 1;
        match &bytes[next..] {
            [b'\n', ..] => Some(next + 1),
            [b'\r', b'\n', ..] => Some(next + 2),
            _ => None,
        }
    })
}

/// Tells other protocols (TLS, binary noise) by their first bytes, without waiting for the
/// end of a head that will never come.
fn check_start(bytes: &[u8]) -> Result<(), Reject> {
    /// Longer than any registered method.
    const METHOD_BYTES_MAX: usize = 32;
    let start = bytes.iter().position(|b| !matches!(b, b'\r' | b'\n'));
    let Some(start) = start else { return Ok(()) };
    for (i, byte) in bytes[start..].iter().take(METHOD_BYTES_MAX).enumerate() {
        match byte {
            b' ' if i > 0 => return Ok(()),
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => {}
            _ => return Err(Reject::NotHttp),
        }
    }
    if bytes.len() - start >= METHOD_BYTES_MAX {
        return Err(Reject::NotHttp);
    }
    Ok(())
}

/// Parses a head that is whole: `bytes` end with its empty line.
fn parse_whole(bytes: &[u8], fields_max: usize) -> Result<(Request<'_>, usize), Reject> {
    let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
    let mut headers = vec![httparse::EMPTY_HEADER; lines.min(fields_max)];
    let mut raw = httparse::Request::new(&mut headers);
    let len = match raw.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => len,
        // The empty line is there, so nothing that follows could complete it.
        Ok(httparse::Status::Partial) => return Err(Reject::NotHttp),
        Err(httparse::Error::Version) => return Err(Reject::HttpVersion),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(Reject::HeadFields { max: fields_max });
        }
        Err(_) => return Err(Reject::NotHttp),
    };
    let (Some(method), Some(target), Some(minor)) = (raw.method, raw.path, raw.version) else {
        return Err(Reject::NotHttp);
    };
    let fields = raw.headers.len();
    headers.truncate(fields);
    let method = match method {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "OPTIONS" => Method::Options,
        _ => Method::Other,
    };
    let (path, query) = match target {
        // It asks about the server as a whole (RFC 9112 section 3.2.4).
        "*" if method == Method::Options => ("*", None),
        // CONNECT, above all, has a target of another kind.
        _ if method == Method::Other => split_target(target).ok_or(Reject::Method)?,
        _ => split_target(target).ok_or(Reject::Target)?,
    };
    let request = Request {
        method,
        path,
        query,
        http_1_1: minor == 1,
        headers,
    };
    request.check_host()?;
    Ok((request, len))
}

/// Path and query of an origin-form or absolute-form target (RFC 9112 section 3.2).
fn split_target(target: &str) -> Option<(&str, Option<&str>)> {
    // A fragment never leaves the client (RFC 6455 section 3).
    if target.contains('#') {
        return None;
    }
    let target = if target.starts_with('/') {
        target
    } else {
        let (scheme, rest) = target.split_once("://")?;
        let known = ["http", "https", "ws", "wss"];
        if !known.iter().any(|k| scheme.eq_ignore_ascii_case(k)) {
            return None;
        }
        match rest.find(['/', '?']) {
            Some(at) if rest[at..].starts_with('/') => &rest[at..],
            Some(at) => return Some(("/", Some(&rest[at + 1..]))),
            None => "/",
        }
    };
    Some(match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    })
}

impl<'a> Request<'a> {
    pub fn method(&self) -> Method {
        self.method
    }

    /// The answer has no body.
    pub fn is_head(&self) -> bool {
        self.method == Method::Head
    }

    /// HTTP/1.1, else 1.0.
    pub fn is_http_1_1(&self) -> bool {
        self.http_1_1
    }

    /// The path, percent-encoded as it came, with its first slash; `*` of an OPTIONS request.
    pub fn path(&self) -> &'a str {
        self.path
    }

    /// What stands behind the `?`, if there is one.
    pub fn query(&self) -> Option<&'a str> {
        self.query
    }

    /// The values of all fields of that name, in their order, each as it came.
    pub fn values<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'a [u8]> + 's {
        self.headers
            .iter()
            .filter(move |h| h.name.eq_ignore_ascii_case(name))
            .map(|h| h.value.trim_ascii())
    }

    /// The elements of a comma-separated list over all fields of that name (RFC 9110
    /// section 5.6.1); empty ones and ones that are no text are left out.
    pub fn elements<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'a str> + 's {
        self.values(name)
            .filter_map(|value| std::str::from_utf8(value).ok())
            .flat_map(|value| value.split(','))
            .map(|element| element.trim_matches([' ', '\t']))
            .filter(|element| !element.is_empty())
    }

    /// The value of a field that must not be repeated: `Ok(None)` without it.
    ///
    /// # Errors
    /// There is more than one.
    pub fn single(&self, name: &str) -> Result<Option<&'a [u8]>, Repeated> {
        let mut values = self.values(name);
        match (values.next(), values.next()) {
            (value, None) => Ok(value),
            _ => Err(Repeated),
        }
    }

    /// The `Host` field; empty only for HTTP/1.0.
    pub fn host(&self) -> &'a str {
        let host = self.values("host").next();
        host.and_then(|h| std::str::from_utf8(h).ok())
            .unwrap_or_default()
    }

    fn check_host(&self) -> Result<(), Reject> {
        match self.single("host") {
            Ok(Some(host)) if !host.is_empty() && host.is_ascii() => Ok(()),
            Ok(None) if !self.http_1_1 => Ok(()),
            Ok(_) => Err(Reject::MissingHost),
            Err(Repeated) => Err(Reject::DuplicateHost),
        }
    }

    /// It is one of those that are answered outside of the server API.
    ///
    /// # Errors
    /// It has another method, or a body.
    pub fn check_plain(&self) -> Result<(), Reject> {
        if self.method == Method::Other {
            return Err(Reject::Method);
        }
        let announced = self.values("transfer-encoding").next().is_some()
            || self.values("content-length").any(|len| len != b"0");
        if announced {
            return Err(Reject::Body);
        }
        Ok(())
    }
}

/// A field is there more than once that must not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeated;

#[cfg(test)]
mod tests;
