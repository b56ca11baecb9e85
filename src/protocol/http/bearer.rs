//! Where a request bears a token: `Authorization: Bearer`, `?token=`, the subprotocol pair
//! `bearer, TOKEN` that browsers can send, or a cookie.
//!
//! Browsers send cookies of their own accord, whoever wrote the page, so one counts only for
//! a page whose origin the settings name or which is from the host itself. For a stream of
//! events from their own host, pages do not send `Origin`: then `Sec-Fetch-Site` tells.

use percent_encoding::percent_decode_str;

use super::head::Request;
use super::origin::Origins;
use super::reject::Reject;

/// The subprotocol that is offered before a token, and answered alone.
pub const BEARER: &str = "bearer";

/// The cookie that bears a token for a Mercure hub, where the settings name none.
const MERCURE_COOKIE: &str = "mercureAuthorization";

/// A token, and where it stood.
#[derive(Debug)]
pub struct Borne {
    pub token: Vec<u8>,
    /// Many a client has one of these for others: it is no fault where no token is known.
    pub by_header: bool,
}

/// The token that a request bears; `cookie` is the name of the cookie that may bear one.
///
/// # Errors
/// There is more than one.
pub fn token(
    request: &Request<'_>,
    origins: &Origins,
    cookie: Option<&str>,
) -> Result<Option<Borne>, Reject> {
    let mut found = None;
    let mut note = |token: Vec<u8>, by_header: bool| match found.replace(Borne { token, by_header })
    {
        None => Ok(()),
        Some(_) => Err(Reject::TokenTwice),
    };
    for pair in request.query().unwrap_or_default().split('&') {
        if let ("token", value) = pair.split_once('=').unwrap_or((pair, "")) {
            note(percent_decode_str(value).collect(), false)?;
        }
    }
    for value in request.values("authorization") {
        if let Some((scheme, token)) = value.split_at_checked(BEARER.len() + 1)
            && scheme[BEARER.len()] == b' '
            && scheme[..BEARER.len()].eq_ignore_ascii_case(BEARER.as_bytes())
        {
            note(token.trim_ascii().to_vec(), true)?;
        }
    }
    if let Some(token) = offered(request) {
        note(token.as_bytes().to_vec(), false)?;
    }
    if found.is_some() {
        return Ok(found);
    }
    let Some(name) = cookie.filter(|_| is_of_a_listed_page(request, origins)) else {
        return Ok(None);
    };
    let token = in_cookies(request.values("cookie"), name)?;
    Ok(token.map(|token| Borne {
        token: token.to_vec(),
        by_header: true,
    }))
}

/// The token that a request to a Mercure hub bears: in the header, else in `?authorization=`,
/// else in the cookie that the protocol names. Where it is in one of them, what is in the next
/// does not count.
///
/// # Errors
/// There is more than one in the same place.
pub fn mercure_token(
    request: &Request<'_>,
    origins: &Origins,
    cookie: Option<&str>,
) -> Result<Option<Borne>, Reject> {
    let in_header = request.values("authorization").next().is_some();
    match in_mercure_query(request.query().unwrap_or_default())? {
        Some(token) if !in_header => Ok(Some(Borne {
            token,
            by_header: false,
        })),
        _ => token(request, origins, Some(mercure_cookie(cookie))),
    }
}

/// The cookie that may bear a token for a Mercure hub; `setting` is the one that the settings
/// name.
pub fn mercure_cookie(setting: Option<&str>) -> &str {
    setting.unwrap_or(MERCURE_COOKIE)
}

/// The token in the query of a request to a Mercure hub.
///
/// # Errors
/// There is more than one.
pub fn in_mercure_query(query: &str) -> Result<Option<Vec<u8>>, Reject> {
    let mut values = query.split('&').filter_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == "authorization").then(|| percent_decode_str(value).collect())
    });
    match (values.next(), values.next()) {
        (token, None) => Ok(token),
        _ => Err(Reject::TokenTwice),
    }
}

/// The token in the cookie `name`, out of the `Cookie` headers of a request.
///
/// # Errors
/// There is more than one.
pub fn in_cookies<'a>(
    headers: impl Iterator<Item = &'a [u8]>,
    name: &str,
) -> Result<Option<&'a [u8]>, Reject> {
    let mut values = headers
        .flat_map(|value| value.split(|byte| *byte == b';'))
        .filter_map(|pair| {
            pair.trim_ascii()
                .strip_prefix(name.as_bytes())?
                .strip_prefix(b"=")
        });
    match (values.next(), values.next()) {
        (token, None) => Ok(token),
        // One of them may be from a page of a neighbour.
        _ => Err(Reject::TokenTwice),
    }
}

/// What stands behind `bearer`, where that is the first subprotocol that is offered.
pub(super) fn offered<'a>(request: &Request<'a>) -> Option<&'a str> {
    let mut offered = request.elements("sec-websocket-protocol");
    match offered.next() {
        Some(BEARER) => offered.next(),
        _ => None,
    }
}

fn is_of_a_listed_page(request: &Request<'_>, origins: &Origins) -> bool {
    let site = request.single("sec-fetch-site").unwrap_or_default();
    let origin = request.single("origin");
    origin.is_ok_and(|origin| cookies_count(origin, site, request.host(), origins))
}

/// Whether a cookie may bear the token of a request to `host`, by its fields `Origin` and
/// `Sec-Fetch-Site`: whether it is of a page that may ask in its reader's name.
pub fn cookies_count(
    origin: Option<&[u8]>,
    site: Option<&[u8]>,
    host: &str,
    origins: &Origins,
) -> bool {
    match origin {
        Some(origin) => origins.name(origin, host),
        None => site == Some(b"same-origin"),
    }
}
