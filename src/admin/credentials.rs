//! Which secret a request bears: the key of the server API, or a token.
//!
//! Called by `guard`, which knows what each opens.

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderName};

pub(super) const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// What a request bears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Credential<'a> {
    /// `X-API-Key: KEY`, or `Authorization: apikey KEY`.
    Key(&'a [u8]),
    /// `Authorization: Bearer TOKEN` (RFC 6750 section 2.1): the admin's, or a user's.
    Bearer(&'a [u8]),
}

/// More than one: nobody could tell which of them counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Several;

impl Credential<'_> {
    /// The one that a request bears. Other schemes of `Authorization` are none of ours.
    pub(super) fn of(headers: &HeaderMap) -> Result<Option<Credential<'_>>, Several> {
        let keys = headers.get_all(API_KEY).iter();
        let keys = keys.map(|value| Credential::Key(value.as_bytes()));
        let others = headers.get_all(AUTHORIZATION).iter().filter_map(|value| {
            let value = value.as_bytes();
            let key = scheme("apikey", value).map(Credential::Key);
            key.or_else(|| scheme("Bearer", value).map(Credential::Bearer))
        });
        let mut all = keys.chain(others);
        match (all.next(), all.next()) {
            (first, None) => Ok(first),
            _ => Err(Several),
        }
    }
}

/// What stands behind the scheme of that name (RFC 9110 section 11.4).
fn scheme<'a>(name: &str, value: &'a [u8]) -> Option<&'a [u8]> {
    let (given, rest) = value.split_at_checked(name.len())?;
    let rest = rest.strip_prefix(b" ")?;
    given
        .eq_ignore_ascii_case(name.as_bytes())
        .then(|| rest.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(fields: &[(&'static str, &str)]) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        match Credential::of(&headers) {
            Ok(None) => "none".into(),
            Ok(Some(Credential::Key(key))) => format!("key {}", key.escape_ascii()),
            Ok(Some(Credential::Bearer(token))) => format!("token {}", token.escape_ascii()),
            Err(Several) => "several".into(),
        }
    }

    #[test]
    fn a_request_bears_one_key_or_one_token() {
        let (key, other) = (("x-api-key", "k"), ("authorization", "Basic k"));
        assert_eq!(found(&[]), "none");
        assert_eq!(found(&[key]), "key k");
        assert_eq!(found(&[key, other]), "key k");
        assert_eq!(found(&[("authorization", "ApiKey  k ")]), "key k");
        assert_eq!(found(&[("authorization", "bearer t")]), "token t");
        for none in ["apikeyk", "Bearer", "Bearert", "k"] {
            assert_eq!(found(&[("authorization", none)]), "none", "{none}");
        }
        for second in [
            key,
            ("x-api-key", "another"),
            ("authorization", "apikey k"),
            ("authorization", "Bearer t"),
        ] {
            assert_eq!(found(&[key, second]), "several", "{second:?}");
        }
    }
}
