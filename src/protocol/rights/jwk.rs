//! Keys as JSON (RFC 7517), one or a set. Nothing in them makes us fetch anything.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::material::{Algorithm, KeyError, Material, rsa};

const DAMAGED: KeyError = KeyError::Damaged("a JWK or a set of them");

/// What is used of a key. Private parts are not looked at.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<Box<str>>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    crv: Option<String>,
    k: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    d: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Jwk>,
}

/// A key with its name and the algorithm that it names.
pub(super) type Read = (Option<Box<str>>, Option<Algorithm>, Material);

pub(super) fn is_jwk(text: &[u8]) -> bool {
    text.starts_with(b"{")
}

/// All keys in `text` that are of use here; of a set the others are left out, as their kind
/// may be one of the future.
pub(super) fn read(text: &[u8]) -> Result<Vec<Read>, KeyError> {
    if let Ok(set) = serde_json::from_slice::<Set>(text) {
        let mut found = Vec::new();
        for jwk in &set.keys {
            match one(jwk) {
                Err(KeyError::Kind) => {}
                read => found.push(read?),
            }
        }
        return match found.is_empty() {
            true => Err(KeyError::Kind),
            false => Ok(found),
        };
    }
    let jwk = serde_json::from_slice(text).map_err(|_| DAMAGED)?;
    Ok(vec![one(&jwk)?])
}

fn one(jwk: &Jwk) -> Result<Read, KeyError> {
    if jwk.usage.as_deref().is_some_and(|usage| usage != "sig") {
        return Err(KeyError::Kind);
    }
    let algorithm = match &jwk.alg {
        Some(name) => Some(Algorithm::from_name(name).ok_or(KeyError::Kind)?),
        None => None,
    };
    if jwk.d.is_some() {
        return Err(KeyError::Private);
    }
    let curve = jwk.crv.as_deref().unwrap_or_default();
    let material = match (jwk.kty.as_str(), curve) {
        ("oct", _) => Material::Secret(bytes(&jwk.k)?.into()),
        ("RSA", _) => rsa(&bytes(&jwk.n)?, &bytes(&jwk.e)?)?,
        ("EC", "P-256") => Material::P256(point(jwk, 32)?),
        ("EC", "P-384") => Material::P384(point(jwk, 48)?),
        ("OKP", "Ed25519") => {
            let key = bytes(&jwk.x)?;
            if key.len() != 32 {
                return Err(DAMAGED);
            }
            Material::Ed25519(key.into())
        }
        _ => return Err(KeyError::Kind),
    };
    Ok((jwk.kid.clone(), algorithm, material))
}

fn bytes(text: &Option<String>) -> Result<Vec<u8>, KeyError> {
    let text = text.as_deref().filter(|text| !text.is_empty());
    URL_SAFE_NO_PAD
        .decode(text.ok_or(DAMAGED)?)
        .map_err(|_| DAMAGED)
}

fn point(jwk: &Jwk, len: usize) -> Result<Box<[u8]>, KeyError> {
    let (x, y) = (bytes(&jwk.x)?, bytes(&jwk.y)?);
    if x.len() != len || y.len() != len {
        return Err(DAMAGED);
    }
    Ok([&[4][..], &x, &y].concat().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_damaged_or_not_for_us_is_told_so() {
        for (text, error) in [
            ("{", DAMAGED),
            ("{}", DAMAGED),
            (r#"{"kty":"oct"}"#, DAMAGED),
            (r#"{"kty":"oct","k":"!"}"#, DAMAGED),
            (r#"{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}"#, DAMAGED),
            (
                r#"{"kty":"EC","crv":"P-521","x":"AA","y":"AA"}"#,
                KeyError::Kind,
            ),
            (r#"{"kty":"oct","k":"AA","alg":"RSA-OAEP"}"#, KeyError::Kind),
            (r#"{"kty":"oct","k":"AA","use":"enc"}"#, KeyError::Kind),
            (
                r#"{"kty":"OKP","crv":"Ed25519","x":"AA","d":"AA"}"#,
                KeyError::Private,
            ),
            (
                r#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#,
                KeyError::RsaBits { bits: 17 },
            ),
            (r#"{"keys":[]}"#, KeyError::Kind),
        ] {
            assert_eq!(read(text.as_bytes()).err(), Some(error), "{text}");
        }
    }
}
