//! Tokens: their form, and what signed ones say, each claim by itself.

use std::collections::BTreeMap;

use fanfare::protocol::rights::{
    Accepted, Algorithm, Channel, Keys, LEEWAY_S, Pattern, Patterns, Rights, Subscription,
    TokenFault,
};
use fanfare::protocol::topic::TopicName;
use ring::hmac;
use serde_json::value::RawValue;

use super::base64::{as_url_safe, standard, url_safe};
use super::members::Members;
use super::split;

const SECRET: &[u8] = b"a secret that is as long as such should be";
/// The key has this name.
const KEY_ID: &str = "k";
const NOW_S: u64 = 1_800_000_000;

/// Byte 0 says how the rest is meant: as a token, or as header and claims, with a byte 0
/// between, that are signed. And whether tokens must be for somebody and from somebody.
pub fn token(data: &[u8]) {
    let (steering, rest) = split(data, 1);
    let steering = steering.first().copied().unwrap_or(0);
    let listed = |name: &str| match steering & 2 {
        0 => Vec::new(),
        _ => vec![name.to_owned(), "another".to_owned()],
    };
    let (audience, issuer) = (listed("here"), listed("us"));
    let mut keys = Keys::new(audience.clone(), issuer.clone());
    let jwk = format!(
        r#"{{"kty":"oct","alg":"HS256","kid":"{KEY_ID}","k":"{}"}}"#,
        as_url_safe(SECRET)
    );
    keys.add(jwk.as_bytes(), None).expect("it is a good key");
    let token = match steering & 1 {
        0 => rest.to_vec(),
        _ => signed(rest),
    };
    let judged = read(&token, &audience, &issuer);
    let accepted = keys.check(&token, NOW_S).map(|Accepted { hash, rights }| {
        assert_eq!(Some(hash), Keys::hash(&token));
        rights
    });
    assert_eq!(
        accepted,
        judged.as_ref().map_err(|f| *f).and_then(Claims::rights)
    );
    let allowed = keys.check_subscription(&token, NOW_S);
    assert_eq!(
        allowed,
        judged
            .as_ref()
            .map_err(|f| *f)
            .and_then(Claims::subscription)
    );
}

fn signed(parts: &[u8]) -> Vec<u8> {
    let at = parts.iter().position(|byte| *byte == 0);
    let (header, claims) = parts.split_at(at.unwrap_or(parts.len()));
    let claims = claims.get(1..).unwrap_or_default();
    let signed = format!("{}.{}", as_url_safe(header), as_url_safe(claims));
    let signature = as_url_safe(&signature(signed.as_bytes()));
    format!("{signed}.{signature}").into_bytes()
}

fn signature(signed: &[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
    hmac::sign(&key, signed).as_ref().to_vec()
}

/// RFC 7515 section 5.2, then RFC 7519 section 7.2.
fn read(token: &[u8], audience: &[String], issuer: &[String]) -> Result<Claims, TokenFault> {
    let parts: Vec<&[u8]> = token.split(|byte| *byte == b'.').collect();
    let [head, payload, tag] = parts[..] else {
        return Err(TokenFault::Form);
    };
    let (algorithm, id) = url_safe(head)
        .and_then(|head| header(&head))
        .ok_or(TokenFault::Form)?;
    let tag = url_safe(tag).ok_or(TokenFault::Form)?;
    if algorithm != Algorithm::Hs256.name() {
        return Err(TokenFault::Algorithm);
    }
    if id.is_some_and(|id| id != KEY_ID) {
        return Err(TokenFault::Key);
    }
    if signature(&token[..head.len() + 1 + payload.len()]) != tag {
        return Err(TokenFault::Signature);
    }
    let payload = url_safe(payload).ok_or(TokenFault::Form)?;
    let claims = Claims::read(&payload).ok_or(TokenFault::Claims)?;
    if claims
        .exp
        .is_some_and(|exp| exp.saturating_add(LEEWAY_S) <= NOW_S)
    {
        return Err(TokenFault::Expired);
    }
    if claims.nbf.is_some_and(|nbf| nbf > NOW_S + LEEWAY_S) {
        return Err(TokenFault::NotYet);
    }
    if !audience.is_empty() && !claims.aud.iter().any(|one| audience.contains(one)) {
        return Err(TokenFault::Audience);
    }
    let known = |iss: &String| issuer.contains(iss);
    if !issuer.is_empty() && !claims.iss.as_ref().is_some_and(known) {
        return Err(TokenFault::Issuer);
    }
    Ok(claims)
}

/// Its algorithm and the name of its key.
fn header(bytes: &[u8]) -> Option<(String, Option<String>)> {
    let object = Object::read(bytes)?;
    let critical = object.json("crit")?;
    let (algorithm, id) = (object.text("alg")?, object.text("kid")?);
    critical.is_none().then_some((algorithm?, id))
}

/// What the claims say. Outer `None`s are faults where two stand.
struct Claims {
    sub: String,
    exp: Option<u64>,
    nbf: Option<u64>,
    iat: u64,
    jti: Option<String>,
    aud: Vec<String>,
    iss: Option<String>,
    info: Option<Option<String>>,
    meta: Option<String>,
    channels: Option<Vec<Channel>>,
    patterns: Patterns,
    channel: Option<String>,
    client: Option<String>,
    expire_at: Option<u64>,
}

impl Claims {
    fn read(bytes: &[u8]) -> Option<Claims> {
        let object = Object::read(bytes)?;
        let patterns = |name| {
            let Some(texts) = object.texts(name)? else {
                return Some(None);
            };
            let patterns = texts.iter().map(|text| Pattern::new(text).ok());
            patterns.collect::<Option<_>>().map(Some)
        };
        let aud = match object.json("aud")? {
            None => Vec::new(),
            Some(text) if text.starts_with('"') => vec![serde_json::from_str(text).ok()?],
            Some(list) => serde_json::from_str(list).ok()?,
        };
        let subs = object.json("subs")?.map(Members::read);
        let subs = match subs {
            None => Vec::new(),
            Some(members) => members?.0,
        };
        Some(Claims {
            sub: object.text("sub")?.unwrap_or_default(),
            exp: object.seconds("exp")?,
            nbf: object.seconds("nbf")?,
            iat: object.seconds("iat")?.unwrap_or(0),
            jti: object.text("jti")?,
            aud,
            iss: object.text("iss")?,
            info: value(object.json("info")?, object.text("b64info")?),
            meta: object.json("meta")?.map(str::to_owned),
            channels: channels(object.texts("channels")?.unwrap_or_default(), subs),
            patterns: Patterns {
                subscribe: patterns("subscribe")?,
                publish: patterns("publish")?,
                presence: patterns("presence")?,
                history: patterns("history")?,
            },
            channel: object.text("channel")?,
            client: object.text("client")?,
            expire_at: object.seconds("expire_at")?,
        })
    }

    fn rights(&self) -> Result<Rights, TokenFault> {
        if self.channel.is_some() {
            return Err(TokenFault::Purpose);
        }
        let info = self.info.as_ref().ok_or(TokenFault::Claims)?;
        let channels = self.channels.as_ref().ok_or(TokenFault::Claims)?;
        Ok(Rights {
            user: self.sub.as_str().into(),
            info: info.as_deref().map(Into::into),
            meta: self.meta.as_deref().map(Into::into),
            id: self.jti.as_deref().map(Into::into),
            issued_s: self.iat,
            expires_s: self.exp,
            expire_at_s: self.expire_at,
            channels: channels.clone(),
            patterns: self.patterns.clone(),
        })
    }

    fn subscription(&self) -> Result<Subscription, TokenFault> {
        let info = self.info.as_ref().ok_or(TokenFault::Claims)?;
        let channel = self.channel.as_deref().ok_or(TokenFault::Purpose)?;
        let client = self.client.as_deref().filter(|client| !client.is_empty());
        Ok(Subscription {
            user: self.sub.as_str().into(),
            channel: channel.into(),
            client: client.map(Into::into),
            info: info.as_deref().map(Into::into),
            id: self.jti.as_deref().map(Into::into),
            issued_s: self.iat,
            expires_s: match self.expire_at {
                None => self.exp,
                Some(0) => None,
                Some(at) => Some(at),
            },
            ends_s: self.exp,
        })
    }
}

/// One of `subs`: what it shows of the subscriber, and tells it.
struct Sub {
    info: Option<Option<String>>,
    data: Option<Option<String>>,
}

impl Sub {
    fn read(json: &str) -> Option<Sub> {
        let object = Object::read(json.as_bytes())?;
        Some(Sub {
            info: value(object.json("info")?, object.text("b64info")?),
            data: value(object.json("data")?, object.text("b64data")?),
        })
    }
}

fn channels(names: Vec<String>, subs: Vec<(String, &str)>) -> Option<Vec<Channel>> {
    let mut by_name = BTreeMap::new();
    for name in names {
        by_name.insert(name, (None, None));
    }
    // Of those that stand twice the last one counts.
    let subs: BTreeMap<String, &str> = subs.into_iter().collect();
    for (name, sub) in subs {
        let sub = Sub::read(sub)?;
        by_name.insert(name, (sub.info?, sub.data?));
    }
    let channel = |(name, (info, data)): (String, (Option<String>, Option<String>))| {
        TopicName::new(&name).ok()?;
        Some(Channel {
            name: name.into(),
            info: info.map(Into::into),
            data: data.map(Into::into),
        })
    };
    by_name.into_iter().map(channel).collect()
}

/// JSON that stands there as it is, or else in base64.
fn value(plain: Option<&str>, base64: Option<String>) -> Option<Option<String>> {
    match (plain, base64.as_deref()) {
        (Some(plain), _) => Some(Some(plain.to_owned())),
        (None, None | Some("")) => Some(None),
        (None, Some(base64)) => {
            let text = String::from_utf8(standard(base64.as_bytes())?).ok()?;
            serde_json::from_str::<&RawValue>(&text).ok()?;
            Some(Some(text))
        }
    }
}

/// A JSON object of which no member that is asked for may stand there twice (RFC 7519
/// section 4). `null` is as good as absent.
struct Object<'a>(Members<'a>);

impl<'a> Object<'a> {
    fn read(bytes: &'a [u8]) -> Option<Object<'a>> {
        let text = std::str::from_utf8(bytes).ok()?;
        Members::read(text).map(Object)
    }

    fn json(&self, name: &str) -> Option<Option<&'a str>> {
        let Members(all) = &self.0;
        let mut named = all.iter().filter(|(known, _)| known == name);
        let first = named.next().map(|(_, value)| *value);
        let alone = named.next().is_none();
        alone.then_some(first.filter(|value| *value != "null"))
    }

    fn read_as<T: serde::de::DeserializeOwned>(&self, name: &str) -> Option<Option<T>> {
        match self.json(name)? {
            None => Some(None),
            Some(json) => serde_json::from_str(json).ok().map(Some),
        }
    }

    fn text(&self, name: &str) -> Option<Option<String>> {
        self.read_as(name)
    }

    fn texts(&self, name: &str) -> Option<Option<Vec<String>>> {
        self.read_as(name)
    }

    /// A number of seconds, of which fractions do not count.
    fn seconds(&self, name: &str) -> Option<Option<u64>> {
        let seconds: Option<f64> = self.read_as(name)?;
        Some(seconds.map(|seconds| seconds as u64))
    }
}
