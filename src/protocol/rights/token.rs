//! JSON Web Tokens (RFC 7519): from the bytes of one to the rights that it gives.
//!
//! Only what a key of ours has signed is read beyond the header, and of the header only
//! `alg`, `kid` and `crit`: `jku`, `jwk`, `x5u` and `x5c` would let the token choose its key.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::keys::{Keys, hash};
use super::material::Algorithm;
use super::pattern::Pattern;
use super::{Channel, Patterns, Rights};
use crate::protocol::topic::TopicName;

/// A token that is longer is refused unread.
pub const TOKEN_BYTES_MAX: usize = 64 << 10;
/// Clocks of issuers differ from ours by this at most.
pub const LEEWAY_S: u64 = 5;
/// To check one that is longer takes as long as a slow signature.
const TOKEN_BYTES_QUICK: usize = 4 << 10;
/// Patterns in a list, and topics in `channels` and `subs`.
const LIST_MAX: usize = 1024;

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TokenFault {
    #[error("tokens are not used here: the setting token_keys names no key")]
    NoKeys,
    #[error("the token has more than {TOKEN_BYTES_MAX} bytes")]
    TooLong,
    #[error("the token is no JWT: three parts in base64url, the first two of them JSON")]
    Form,
    #[error("the token is signed with an algorithm that no key here is for")]
    Algorithm,
    #[error("the token names a key (kid) that is not known here for its algorithm")]
    Key,
    #[error("the token's signature is wrong")]
    Signature,
    #[error("the token's claims cannot be read: one is missing, or of another type")]
    Claims,
    #[error("the token is for a subscription, not for a connection, or the other way round")]
    Purpose,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not yet valid")]
    NotYet,
    #[error("the token is for another audience")]
    Audience,
    #[error("the token is from another issuer")]
    Issuer,
    #[error("the token has been revoked")]
    Revoked,
    #[error("the token is for another user, channel or client")]
    Mismatch,
}

impl TokenFault {
    pub const ALL: [TokenFault; 14] = [
        TokenFault::NoKeys,
        TokenFault::TooLong,
        TokenFault::Form,
        TokenFault::Algorithm,
        TokenFault::Key,
        TokenFault::Signature,
        TokenFault::Claims,
        TokenFault::Purpose,
        TokenFault::Expired,
        TokenFault::NotYet,
        TokenFault::Audience,
        TokenFault::Issuer,
        TokenFault::Revoked,
        TokenFault::Mismatch,
    ];

    /// The label in metrics and log.
    pub const fn name(self) -> &'static str {
        match self {
            TokenFault::NoKeys => "token_no_keys",
            TokenFault::TooLong => "token_bytes",
            TokenFault::Form => "token_form",
            TokenFault::Algorithm => "token_algorithm",
            TokenFault::Key => "token_key",
            TokenFault::Signature => "token_signature",
            TokenFault::Claims => "token_claims",
            TokenFault::Purpose => "token_purpose",
            TokenFault::Expired => "token_expired",
            TokenFault::NotYet => "token_not_yet",
            TokenFault::Audience => "token_audience",
            TokenFault::Issuer => "token_issuer",
            TokenFault::Revoked => "token_revoked",
            TokenFault::Mismatch => "token_mismatch",
        }
    }
}

/// What a token is to be for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Connection,
    Subscription,
}

/// What a subscription token allows: one topic, for one user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscription {
    pub user: Box<str>,
    pub channel: Box<str>,
    /// The connection that it is for, where it names one.
    pub client: Option<Box<str>>,
    /// `info`, or what `b64info` holds: JSON.
    pub info: Option<Box<str>>,
    /// `jti`
    pub id: Option<Box<str>>,
    /// `iat`, in seconds since 1970; 0 where it does not say so.
    pub issued_s: u64,
    /// When the subscription ends, in seconds since 1970: `expire_at` if that is there (0
    /// there is never), else `exp`.
    pub expires_s: Option<u64>,
    /// `exp`, likewise. The token is of no use from [`LEEWAY_S`] later on.
    pub ends_s: Option<u64>,
}

impl Subscription {
    /// The token is of no use any more at `now_s`.
    pub fn has_ended(&self, now_s: u64) -> bool {
        let ends_s = self.ends_s.map(|at| at.saturating_add(LEEWAY_S));
        ends_s.is_some_and(|ends_s| now_s >= ends_s)
    }
}

/// A connection token that is in order, and what to remember it by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    pub hash: [u8; 32],
    pub rights: Rights,
}

/// Whether `text` has the form of a token, as one would tell it from another secret.
pub fn looks_like_a_token(text: &[u8]) -> bool {
    text.starts_with(b"eyJ") && text.iter().filter(|byte| **byte == b'.').count() == 2
}

#[derive(Deserialize)]
struct Header<'a> {
    #[serde(borrow)]
    alg: Cow<'a, str>,
    #[serde(borrow, default)]
    kid: Option<Cow<'a, str>>,
    /// What must be understood beyond RFC 7515, and is not here.
    #[serde(default)]
    crit: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Claims<'a> {
    #[serde(default)]
    sub: Option<Box<str>>,
    #[serde(default, deserialize_with = "seconds")]
    exp: Option<u64>,
    #[serde(default, deserialize_with = "seconds")]
    nbf: Option<u64>,
    #[serde(default, deserialize_with = "seconds")]
    iat: Option<u64>,
    #[serde(default)]
    jti: Option<Box<str>>,
    #[serde(default)]
    aud: Audience,
    #[serde(default)]
    iss: Option<String>,
    #[serde(borrow, default)]
    info: Option<&'a RawValue>,
    #[serde(default)]
    b64info: Option<String>,
    #[serde(borrow, default)]
    meta: Option<&'a RawValue>,
    #[serde(default)]
    channels: Option<Vec<Box<str>>>,
    #[serde(borrow, default)]
    subs: Option<BTreeMap<Box<str>, &'a RawValue>>,
    #[serde(default)]
    subscribe: Option<Vec<Pattern>>,
    #[serde(default)]
    publish: Option<Vec<Pattern>>,
    #[serde(default)]
    presence: Option<Vec<Pattern>>,
    #[serde(default)]
    history: Option<Vec<Pattern>>,
    #[serde(default)]
    mercure: Option<Mercure>,
    #[serde(default)]
    channel: Option<Box<str>>,
    #[serde(default)]
    client: Option<Box<str>>,
    #[serde(default, deserialize_with = "seconds")]
    expire_at: Option<u64>,
}

/// What Mercure's tokens say: the topics that may be heard and published to. A selector that is
/// no exact topic, nor the star for all of them, gives nothing.
#[derive(Default, Deserialize)]
struct Mercure {
    #[serde(default)]
    subscribe: Vec<Box<str>>,
    #[serde(default)]
    publish: Vec<Box<str>>,
}

/// Adds to a list of patterns what selectors name.
fn add_selected(selectors: &[Box<str>], patterns: &mut Option<Vec<Pattern>>) {
    let selected = selectors.iter().filter_map(|selector| match &**selector {
        "*" => Some(Pattern::all()),
        exact if exact.contains(['*', '{', '}']) => None,
        exact => Pattern::new(exact).ok(),
    });
    patterns.get_or_insert_default().extend(selected);
}

/// One of `subs`.
#[derive(Deserialize)]
struct Sub<'a> {
    #[serde(borrow, default)]
    info: Option<&'a RawValue>,
    #[serde(default)]
    b64info: Option<String>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(default)]
    b64data: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(untagged)]
enum Audience {
    #[default]
    Nobody,
    One(String),
    Many(Vec<String>),
}

impl Audience {
    fn has_any_of(&self, wanted: &[String]) -> bool {
        match self {
            Audience::Nobody => false,
            Audience::One(one) => wanted.contains(one),
            Audience::Many(many) => many.iter().any(|one| wanted.contains(one)),
        }
    }
}

/// A NumericDate (RFC 7519 section 2): seconds since 1970, maybe with a fraction.
fn seconds<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    let number = Option::<f64>::deserialize(from)?;
    // What lies before 1970 has passed, what lies far ahead never comes: the cast keeps to it.
    Ok(number.map(|number| number as u64))
}

impl Keys {
    /// Checks a connection token.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn check(&self, token: &[u8], now_s: u64) -> Result<Accepted, TokenFault> {
        let payload = self.payload(token)?;
        let claims = self.claims(&payload, now_s)?;
        if claims.channel.is_some() {
            return Err(TokenFault::Purpose);
        }
        let rights = rights(claims).ok_or(TokenFault::Claims)?;
        Ok(Accepted {
            hash: hash(token),
            rights,
        })
    }

    /// Checks a subscription token. That its user is the connection's is for the caller to see.
    ///
    /// # Errors
    /// As [`Keys::check`].
    pub fn check_subscription(&self, token: &[u8], now_s: u64) -> Result<Subscription, TokenFault> {
        let payload = self.payload(token)?;
        let claims = self.claims(&payload, now_s)?;
        let info = json(claims.info, claims.b64info.as_deref()).ok_or(TokenFault::Claims)?;
        let channel = claims.channel.ok_or(TokenFault::Purpose)?;
        Ok(Subscription {
            user: claims.sub.unwrap_or_default(),
            channel,
            client: claims.client.filter(|client| !client.is_empty()),
            info,
            id: claims.jti,
            issued_s: claims.iat.unwrap_or_default(),
            expires_s: match claims.expire_at {
                Some(0) => None,
                at => at.or(claims.exp),
            },
            ends_s: claims.exp,
        })
    }

    /// What a token that has been checked is remembered by; none has as many bytes as one
    /// without that.
    pub fn hash(token: &[u8]) -> Option<[u8; 32]> {
        (token.len() <= TOKEN_BYTES_MAX).then(|| hash(token))
    }

    /// Whether a token's check takes tens of microseconds or more, rather than a few: it is
    /// long, or its signature is one with a public key.
    pub fn is_costly(&self, token: &[u8]) -> bool {
        if token.len() > TOKEN_BYTES_QUICK {
            return token.len() <= TOKEN_BYTES_MAX;
        }
        if self.are_all_secret() {
            return false;
        }
        let head = token.split(|byte| *byte == b'.').next().unwrap_or_default();
        let Ok(head) = URL_SAFE_NO_PAD.decode(head) else {
            return false;
        };
        let algorithm = object(&head).and_then(|head: Header<'_>| Algorithm::from_name(&head.alg));
        algorithm.is_some_and(|algorithm| !algorithm.is_hmac())
    }

    /// What a key of ours has signed.
    fn payload(&self, token: &[u8]) -> Result<Vec<u8>, TokenFault> {
        if self.is_empty() {
            return Err(TokenFault::NoKeys);
        }
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenFault::TooLong);
        }
        let mut parts = token.split(|byte| *byte == b'.');
        let (Some(head), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenFault::Form);
        };
        let decode = |part: &[u8]| URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenFault::Form);
        let bytes = decode(head)?;
        let header: Header<'_> = object(&bytes).ok_or(TokenFault::Form)?;
        if header.crit.is_some() {
            return Err(TokenFault::Form);
        }
        let (signature, signed) = (decode(signature)?, &token[..head.len() + 1 + payload.len()]);
        let algorithm = Algorithm::from_name(&header.alg).ok_or(TokenFault::Algorithm)?;
        if !self.has_algorithm(algorithm) {
            return Err(TokenFault::Algorithm);
        }
        let mut keys = self.candidates(algorithm, header.kid.as_deref()).peekable();
        if keys.peek().is_none() {
            return Err(TokenFault::Key);
        }
        if !keys.any(|key| key.verifies(signed, &signature)) {
            return Err(TokenFault::Signature);
        }
        decode(payload)
    }

    /// The claims of a token that is valid now, here.
    fn claims<'a>(&self, payload: &'a [u8], now_s: u64) -> Result<Claims<'a>, TokenFault> {
        let claims: Claims<'a> = object(payload).ok_or(TokenFault::Claims)?;
        if claims
            .exp
            .is_some_and(|exp| now_s >= exp.saturating_add(LEEWAY_S))
        {
            return Err(TokenFault::Expired);
        }
        if claims
            .nbf
            .is_some_and(|nbf| now_s.saturating_add(LEEWAY_S) < nbf)
        {
            return Err(TokenFault::NotYet);
        }
        if !self.audience.is_empty() && !claims.aud.has_any_of(&self.audience) {
            return Err(TokenFault::Audience);
        }
        let issuer = claims.iss.as_ref();
        if !self.issuer.is_empty() && !issuer.is_some_and(|iss| self.issuer.contains(iss)) {
            return Err(TokenFault::Issuer);
        }
        Ok(claims)
    }
}

/// Reads a JSON object. Serde would take a list of the values as well, and bytes that are no
/// text in what it skips.
fn object<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    let text = simdutf8::basic::from_utf8(bytes).ok()?;
    let is_object = text.trim_ascii_start().starts_with('{');
    serde_json::from_str(text).ok().filter(|_| is_object)
}

fn rights(claims: Claims<'_>) -> Option<Rights> {
    let info = json(claims.info, claims.b64info.as_deref())?;
    let channels = channels(claims.channels, claims.subs)?;
    let mut patterns = Patterns {
        subscribe: claims.subscribe,
        publish: claims.publish,
        presence: claims.presence,
        history: claims.history,
    };
    if let Some(mercure) = claims.mercure {
        add_selected(&mercure.subscribe, &mut patterns.subscribe);
        add_selected(&mercure.publish, &mut patterns.publish);
    }
    let lists = [
        &patterns.subscribe,
        &patterns.publish,
        &patterns.presence,
        &patterns.history,
    ];
    let is_short = |list: &Option<Vec<_>>| list.as_ref().is_none_or(|list| list.len() <= LIST_MAX);
    let sound = lists.into_iter().all(is_short);
    sound.then(|| Rights {
        user: claims.sub.unwrap_or_default(),
        info,
        meta: claims.meta.map(|meta| meta.get().into()),
        id: claims.jti,
        issued_s: claims.iat.unwrap_or_default(),
        expires_s: claims.exp,
        expire_at_s: claims.expire_at,
        channels,
        patterns,
    })
}

/// The topics that a connection is subscribed to, each once. `None` if one cannot be.
fn channels(
    names: Option<Vec<Box<str>>>,
    subs: Option<BTreeMap<Box<str>, &RawValue>>,
) -> Option<Vec<Channel>> {
    let mut channels = BTreeMap::new();
    for name in names.into_iter().flatten() {
        channels.insert(name, (None, None));
    }
    for (name, sub) in subs.into_iter().flatten() {
        let sub: Sub<'_> = object(sub.get().as_bytes())?;
        let info = json(sub.info, sub.b64info.as_deref())?;
        let data = json(sub.data, sub.b64data.as_deref())?;
        channels.insert(name, (info, data));
    }
    let sound =
        channels.len() <= LIST_MAX && channels.keys().all(|name| TopicName::new(name).is_ok());
    let channel = |(name, (info, data))| Channel { name, info, data };
    sound.then(|| channels.into_iter().map(channel).collect())
}

/// The JSON that a claim has, or what its form in base64 holds if that is JSON. `None` where
/// it is not.
#[allow(clippy::option_option, reason = "the outer one is a fault")]
fn json(plain: Option<&RawValue>, b64: Option<&str>) -> Option<Option<Box<str>>> {
    if let Some(json) = plain {
        return Some((json.get() != "null").then(|| json.get().into()));
    }
    let Some(b64) = b64.filter(|b64| !b64.is_empty()) else {
        return Some(None);
    };
    let bytes = STANDARD.decode(b64).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    serde_json::from_str::<IgnoredAny>(&text).ok()?;
    Some(Some(text.into()))
}

#[cfg(test)]
mod tests;
