//! The query of a request to the HTTP API, which is signed.
//!
//! What is signed is the method, the path, and all of the query but the signature, its keys in
//! lower case and in order, its values as they were before they were escaped. Whether a
//! library escapes a value, and a path, is up to the library; so what came is read unescaped,
//! and a path both ways.

use md5::{Digest, Md5};
use percent_encoding::percent_decode_str;

use super::app::App;
use super::secrets::from_hex;

/// How far the clock of who has signed a request may be from ours.
pub const QUERY_AGE_S_MAX: u64 = 600;
/// More parameters than any request has.
const PARAMETERS_MAX: usize = 32;
const MD5_BYTES: usize = 16;

/// Why a request is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryFault {
    #[error("the query must be percent-encoded UTF-8 of at most {PARAMETERS_MAX} parameters")]
    Form,
    #[error("the query names {0} twice")]
    Twice(&'static str),
    #[error("the query lacks {0}")]
    Lacks(&'static str),
    #[error("auth_version must be 1.0")]
    Version,
    #[error("auth_timestamp must be a number of seconds since 1970")]
    Timestamp,
    #[error(
        "auth_timestamp is more than {QUERY_AGE_S_MAX} seconds from the server's clock, {now_s}"
    )]
    Age { now_s: u64 },
    #[error("auth_key is not the key of this app")]
    Key,
    #[error("auth_signature does not fit this request and the app's secrets")]
    Signature,
    #[error("body_md5 is not the MD5 of the body")]
    Body,
}

/// The query of a signed request, unescaped.
#[derive(Debug)]
pub struct SignedQuery {
    /// Without `auth_signature`, in order of their keys.
    parameters: Vec<(String, String)>,
    signature: String,
}

impl SignedQuery {
    /// Reads what stands behind the `?`.
    ///
    /// # Errors
    /// See [`QueryFault`].
    pub fn read(text: &str) -> Result<Self, QueryFault> {
        let mut parameters = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let key = decoded(key)?.to_ascii_lowercase();
            parameters.push((key, decoded(value)?));
            if parameters.len() > PARAMETERS_MAX {
                return Err(QueryFault::Form);
            }
        }
        // Those with one key stay as they stood.
        parameters.sort_by(|a, b| a.0.cmp(&b.0));
        for key in [
            "auth_key",
            "auth_signature",
            "auth_timestamp",
            "auth_version",
            "body_md5",
        ] {
            if parameters.iter().filter(|(name, _)| name == key).count() > 1 {
                return Err(QueryFault::Twice(key));
            }
        }
        let at = parameters
            .iter()
            .position(|(key, _)| key == "auth_signature");
        let at = at.ok_or(QueryFault::Lacks("auth_signature"))?;
        let (_, signature) = parameters.remove(at);
        Ok(SignedQuery {
            parameters,
            signature,
        })
    }

    /// The first parameter of that name.
    pub fn get(&self, key: &str) -> Option<&str> {
        let mut parameters = self.parameters.iter();
        let found = parameters.find(|(name, _)| name == key);
        found.map(|(_, value)| &**value)
    }

    fn must(&self, key: &'static str) -> Result<&str, QueryFault> {
        self.get(key).ok_or(QueryFault::Lacks(key))
    }

    /// What has been signed.
    fn message(&self, method: &str, path: &str) -> String {
        let pairs = self.parameters.iter();
        let pairs: Vec<_> = pairs.map(|(key, value)| format!("{key}={value}")).collect();
        format!("{method}\n{path}\n{}", pairs.join("&"))
    }

    /// Whether one of the app's secrets has signed a request with this query for `path`, at
    /// about `now_s` seconds since 1970.
    ///
    /// # Errors
    /// See [`QueryFault`].
    pub fn check(&self, app: &App, method: &str, path: &str, now_s: u64) -> Result<(), QueryFault> {
        if self.must("auth_version")? != "1.0" {
            return Err(QueryFault::Version);
        }
        let signed_s = self.must("auth_timestamp")?.parse::<u64>();
        let signed_s = signed_s.map_err(|_| QueryFault::Timestamp)?;
        if self.must("auth_key")? != &*app.key {
            return Err(QueryFault::Key);
        }
        let fits = |path: &str| {
            let message = self.message(method, path);
            app.secrets.verify(message.as_bytes(), &self.signature)
        };
        let unescaped = || percent_decode_str(path).decode_utf8();
        if !fits(path) && !unescaped().is_ok_and(|path| fits(&path)) {
            return Err(QueryFault::Signature);
        }
        // Last, so that nobody learns the server's time who cannot sign.
        match signed_s.abs_diff(now_s) > QUERY_AGE_S_MAX {
            true => Err(QueryFault::Age { now_s }),
            false => Ok(()),
        }
    }

    /// Whether the query is that of a request with this body.
    ///
    /// # Errors
    /// [`QueryFault::Body`], or that there is no digest of a body that is not empty.
    pub fn check_body(&self, body: &[u8]) -> Result<(), QueryFault> {
        let digest = match self.get("body_md5") {
            Some(digest) => digest,
            None if body.is_empty() => return Ok(()),
            None => return Err(QueryFault::Lacks("body_md5")),
        };
        let mut told = [0; MD5_BYTES];
        match from_hex(digest, &mut told) && Md5::digest(body).as_slice() == told {
            true => Ok(()),
            false => Err(QueryFault::Body),
        }
    }
}

/// In a query a plus sign is a space.
fn decoded(text: &str) -> Result<String, QueryFault> {
    let text = text.replace('+', "%20");
    let decoded = percent_decode_str(&text).decode_utf8();
    decoded.map(Into::into).map_err(|_| QueryFault::Form)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::pusher::app::testing::{KEY, app};

    /// The example of the protocol's documentation.
    const PATH: &str = "/apps/3/events";
    const BODY: &str = r#"{"name":"foo","channels":["project-3"],"data":"{\"some\":\"data\"}"}"#;
    const AT_S: u64 = 1_353_088_179;
    const QUERY: &str = "auth_key=278d425bdf160c739803&auth_timestamp=1353088179&auth_version=1.0&\
        body_md5=ec365a775a4cd0599faeb73354201b6f&\
        auth_signature=da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c";

    fn check(query: &str, path: &str, now_s: u64) -> Result<(), QueryFault> {
        SignedQuery::read(query)?.check(&app(), "POST", path, now_s)
    }

    /// A query of `parameters` and what signing them needs, signed.
    fn signed(method: &str, path: &str, parameters: &[(&str, &str)]) -> String {
        let mut all = vec![
            ("auth_key", KEY),
            ("auth_timestamp", "1000"),
            ("auth_version", "1.0"),
        ];
        all.extend(parameters);
        all.sort();
        let pairs: Vec<_> = all
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let message = format!("{method}\n{path}\n{}", pairs.join("&"));
        let signature = app().secrets.sign(message.as_bytes());
        let escaped = |text: &str| {
            text.replace('%', "%25")
                .replace(' ', "+")
                .replace('&', "%26")
        };
        let pairs: Vec<_> = all
            .iter()
            .map(|(key, value)| format!("{key}={}", escaped(value)))
            .collect();
        format!("auth_signature={signature}&{}", pairs.join("&"))
    }

    #[test]
    fn the_documentations_request_is_believed() {
        assert_eq!(check(QUERY, PATH, AT_S), Ok(()));
        let query = SignedQuery::read(QUERY).unwrap();
        assert_eq!(query.check_body(BODY.as_bytes()), Ok(()));
        assert_eq!(query.check_body(b"{}"), Err(QueryFault::Body));
        assert_eq!(query.check_body(b""), Err(QueryFault::Body));
    }

    #[test]
    fn a_request_is_believed_for_ten_minutes_either_way() {
        for now_s in [AT_S - 600, AT_S + 600] {
            assert_eq!(check(QUERY, PATH, now_s), Ok(()));
        }
        for now_s in [0, AT_S - 601, AT_S + 601, u64::MAX] {
            assert_eq!(check(QUERY, PATH, now_s), Err(QueryFault::Age { now_s }));
        }
    }

    #[test]
    fn what_was_signed_is_what_stood_there_before_it_was_escaped() {
        let query = signed(
            "GET",
            "/apps/3/channels",
            &[("filter_by_prefix", "a b&c%"), ("info", "x,y")],
        );
        let read = SignedQuery::read(&query).unwrap();
        assert_eq!(read.check(&app(), "GET", "/apps/3/channels", 1000), Ok(()));
        assert_eq!(read.get("filter_by_prefix"), Some("a b&c%"));
        assert_eq!(read.check_body(b""), Ok(()));
        assert_eq!(read.check_body(b"x"), Err(QueryFault::Lacks("body_md5")));
        // A path may have been signed escaped or not.
        for path in ["/apps/3/users/a%20b/x", "/apps/3/users/a b/x"] {
            let query = SignedQuery::read(&signed("POST", path, &[])).unwrap();
            let came = "/apps/3/users/a%20b/x";
            assert_eq!(query.check(&app(), "POST", came, 1000), Ok(()));
        }
    }

    #[test]
    fn each_fault_is_told() {
        let other = |from: &str, to: &str| check(&QUERY.replace(from, to), PATH, AT_S);
        for (told, fault) in [
            (other("auth_key=278", "auth_key=279"), QueryFault::Key),
            (other("=1353088179", "=1353088180"), QueryFault::Signature),
            (other("=1353088179", "=now"), QueryFault::Timestamp),
            (other("version=1.0", "version=1"), QueryFault::Version),
            (other("=ec365a", "=ec365b"), QueryFault::Signature),
            (
                other("auth_signature", "auth_sign"),
                QueryFault::Lacks("auth_signature"),
            ),
            (
                other("auth_version", "version"),
                QueryFault::Lacks("auth_version"),
            ),
            (
                other("auth_timestamp", "timestamp"),
                QueryFault::Lacks("auth_timestamp"),
            ),
            (other("auth_key", "key"), QueryFault::Lacks("auth_key")),
            (
                other("&auth_v", "&auth_key=a&auth_v"),
                QueryFault::Twice("auth_key"),
            ),
            (
                other("&auth_v", "&Auth_Key=a&auth_v"),
                QueryFault::Twice("auth_key"),
            ),
            (other("&auth_v", "&a=%ff&auth_v"), QueryFault::Form),
            (other("&auth_v", &"&a=b".repeat(40)), QueryFault::Form),
            (other("&auth_v", "&more=1&auth_v"), QueryFault::Signature),
            (check(QUERY, "/apps/4/events", AT_S), QueryFault::Signature),
            (check("", PATH, AT_S), QueryFault::Lacks("auth_signature")),
        ] {
            assert_eq!(told, Err(fault));
        }
        let query = SignedQuery::read(QUERY).unwrap();
        assert_eq!(
            query.check(&app(), "GET", PATH, AT_S),
            Err(QueryFault::Signature)
        );
    }

    #[test]
    fn the_order_of_the_query_does_not_matter() {
        let mut random = fastrand::Rng::with_seed(9);
        let mut pairs: Vec<_> = QUERY.split('&').collect();
        for _ in 0..100 {
            random.shuffle(&mut pairs);
            assert_eq!(check(&pairs.join("&"), PATH, AT_S), Ok(()));
        }
    }
}
