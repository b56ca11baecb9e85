//! The keys that tokens are checked with, each bound to its algorithms.

use std::fmt;

use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use ring::{digest, hmac};

use super::{jwk, pem};

/// Keys in all. Beyond, somebody has named the wrong file.
const KEYS_MAX: usize = 64;
/// What RFC 7518 section 3.2 asks of a secret for HS256.
const SECRET_BYTES_WEAK: usize = 32;

/// How a token is signed (RFC 7518 section 3.1, RFC 8037).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    Hs256,
    Hs384,
    Hs512,
    Rs256,
    Ps256,
    Es256,
    Es384,
    EdDsa,
}

impl Algorithm {
    pub const ALL: [Algorithm; 8] = [
        Algorithm::Hs256,
        Algorithm::Hs384,
        Algorithm::Hs512,
        Algorithm::Rs256,
        Algorithm::Ps256,
        Algorithm::Es256,
        Algorithm::Es384,
        Algorithm::EdDsa,
    ];

    /// As in `alg`.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Hs256 => "HS256",
            Algorithm::Hs384 => "HS384",
            Algorithm::Hs512 => "HS512",
            Algorithm::Rs256 => "RS256",
            Algorithm::Ps256 => "PS256",
            Algorithm::Es256 => "ES256",
            Algorithm::Es384 => "ES384",
            Algorithm::EdDsa => "EdDSA",
        }
    }

    /// The algorithm of that name; case counts.
    pub fn from_name(name: &str) -> Option<Self> {
        Algorithm::ALL.into_iter().find(|alg| alg.name() == name)
    }

    pub(super) fn is_hmac(self) -> bool {
        matches!(self, Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512)
    }
}

/// What a signature is checked against.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Material {
    Secret(Box<[u8]>),
    /// Modulus and exponent, without zeros in front.
    Rsa(Box<[u8]>, Box<[u8]>),
    /// An uncompressed point of P-256.
    P256(Box<[u8]>),
    /// The same of P-384.
    P384(Box<[u8]>),
    Ed25519(Box<[u8]>),
}

impl Material {
    /// The algorithms that it fits; where nothing else is said a key is for the first one.
    pub(super) fn algorithms(&self) -> &'static [Algorithm] {
        match self {
            Material::Secret(_) => &[Algorithm::Hs256, Algorithm::Hs384, Algorithm::Hs512],
            Material::Rsa(..) => &[Algorithm::Rs256, Algorithm::Ps256],
            Material::P256(_) => &[Algorithm::Es256],
            Material::P384(_) => &[Algorithm::Es384],
            Material::Ed25519(_) => &[Algorithm::EdDsa],
        }
    }
}

/// One key, for one algorithm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) id: Option<Box<str>>,
    pub(super) algorithm: Algorithm,
    pub(super) material: Material,
}

/// A key in a log would be one that everybody has.
impl fmt::Debug for Material {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "a key for {}", self.algorithms()[0].name())
    }
}

/// What is wrong with a key file: the end of a sentence that names it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("is empty")]
    Empty,
    #[error(
        "holds a private key, and a server that only checks must not have it: write the public \
         one to another file, as with openssl pkey -pubout"
    )]
    Private,
    #[error(
        "holds a certificate: write its public key to another file, as with \
         openssl x509 -pubkey -noout"
    )]
    Certificate,
    #[error("is PEM of a kind that is not known here: a PUBLIC KEY is wanted")]
    PemKind,
    #[error("is damaged: it cannot be read as {0}")]
    Damaged(&'static str),
    #[error("holds a key of a kind that is not known here, or none that is for signatures")]
    Kind,
    #[error("holds an RSA key of {bits} bits: 2048 to 8192 are accepted")]
    RsaBits { bits: usize },
    #[error("holds a key that is not for {0}")]
    Algorithm(&'static str),
    #[error(
        "holds a secret, for which the algorithm must be said: write HS256: (or HS384:, HS512:) \
         before its path"
    )]
    NeedsAlgorithm,
    #[error("would make more than {KEYS_MAX} keys")]
    TooMany,
}

/// The keys in force, and whom their tokens must be for and from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    keys: Vec<Key>,
    /// One of these must be in `aud`; with none it is not looked at.
    pub(super) audience: Vec<String>,
    /// One of these must be `iss`; the same.
    pub(super) issuer: Vec<String>,
}

impl Keys {
    /// No keys yet. Tokens must be for one of the `audience` and from one of the `issuer`,
    /// where these name any.
    pub fn new(audience: Vec<String>, issuer: Vec<String>) -> Self {
        Keys {
            keys: Vec::new(),
            audience,
            issuer,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Adds the keys of a file: PEM, a JWK, a set of them, or else a secret.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn add(&mut self, file: &[u8], algorithm: Option<Algorithm>) -> Result<(), KeyError> {
        let text = file.trim_ascii();
        if text.is_empty() {
            return Err(KeyError::Empty);
        }
        let read = if pem::is_pem(text) {
            vec![(None, None, pem::read(text)?)]
        } else if jwk::is_jwk(text) {
            jwk::read(text)?
        } else {
            let algorithm = algorithm.ok_or(KeyError::NeedsAlgorithm)?;
            if !algorithm.is_hmac() {
                return Err(KeyError::Damaged("PEM or JWK"));
            }
            // Editors end a line.
            let secret = file.strip_suffix(b"\n").unwrap_or(file);
            let secret = secret.strip_suffix(b"\r").unwrap_or(secret);
            vec![(None, None, Material::Secret(secret.into()))]
        };
        for (id, own, material) in read {
            let bound = match (algorithm, own) {
                (Some(wanted), Some(own)) if wanted != own => {
                    return Err(KeyError::Algorithm(wanted.name()));
                }
                (Some(wanted), _) => wanted,
                (None, Some(own)) => own,
                (None, None) if matches!(material, Material::Secret(_)) => {
                    return Err(KeyError::NeedsAlgorithm);
                }
                (None, None) => material.algorithms()[0],
            };
            if !material.algorithms().contains(&bound) {
                return Err(KeyError::Algorithm(bound.name()));
            }
            if self.keys.len() == KEYS_MAX {
                return Err(KeyError::TooMany);
            }
            self.keys.push(Key {
                id,
                algorithm: bound,
                material,
            });
        }
        Ok(())
    }

    /// There is a secret that is shorter than its algorithm asks for.
    pub fn are_weak(&self) -> bool {
        let weak = |key: &Key| matches!(&key.material, Material::Secret(secret) if secret.len() < SECRET_BYTES_WEAK);
        self.keys.iter().any(weak)
    }

    /// The keys that a token may have been signed with: those of its `kid`, or where none is
    /// called so, those without a name.
    pub(super) fn candidates(
        &self,
        algorithm: Algorithm,
        id: Option<&str>,
    ) -> impl Iterator<Item = &Key> {
        let named = |key: &Key| id.is_some() && key.id.as_deref() == id;
        let by_name = self.keys.iter().any(named);
        self.keys.iter().filter(move |key| {
            let fits = match (by_name, id) {
                (true, _) => key.id.as_deref() == id,
                (false, Some(_)) => key.id.is_none(),
                (false, None) => true,
            };
            fits && key.algorithm == algorithm
        })
    }

    pub(super) fn has_algorithm(&self, algorithm: Algorithm) -> bool {
        self.keys.iter().any(|key| key.algorithm == algorithm)
    }
}

impl Key {
    /// Whether `signature` is one of `message` by this key.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let with = |algorithm: &'static dyn signature::VerificationAlgorithm, key: &[u8]| {
            let key = UnparsedPublicKey::new(algorithm, key);
            key.verify(message, signature).is_ok()
        };
        let with_secret = |algorithm: hmac::Algorithm, secret: &[u8]| {
            let key = hmac::Key::new(algorithm, secret);
            hmac::verify(&key, message, signature).is_ok()
        };
        let with_rsa = |parameters: &'static signature::RsaParameters, n: &[u8], e: &[u8]| {
            let key = RsaPublicKeyComponents { n, e };
            key.verify(parameters, message, signature).is_ok()
        };
        use Algorithm::*;
        match (self.algorithm, &self.material) {
            (Hs256, Material::Secret(secret)) => with_secret(hmac::HMAC_SHA256, secret),
            (Hs384, Material::Secret(secret)) => with_secret(hmac::HMAC_SHA384, secret),
            (Hs512, Material::Secret(secret)) => with_secret(hmac::HMAC_SHA512, secret),
            (Rs256, Material::Rsa(n, e)) => with_rsa(&signature::RSA_PKCS1_2048_8192_SHA256, n, e),
            (Ps256, Material::Rsa(n, e)) => with_rsa(&signature::RSA_PSS_2048_8192_SHA256, n, e),
            (Es256, Material::P256(point)) => with(&signature::ECDSA_P256_SHA256_FIXED, point),
            (Es384, Material::P384(point)) => with(&signature::ECDSA_P384_SHA384_FIXED, point),
            (EdDsa, Material::Ed25519(key)) => with(&signature::ED25519, key),
            _ => unreachable!("a key is bound to an algorithm that it fits"),
        }
    }
}

/// What a token is remembered by.
pub(super) fn hash(token: &[u8]) -> [u8; 32] {
    let hash = digest::digest(&digest::SHA256, token);
    hash.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// The RSA key of that modulus and exponent.
pub(super) fn rsa(n: &[u8], e: &[u8]) -> Result<Material, KeyError> {
    let plain = |number: &[u8]| -> Box<[u8]> {
        let zeros = number.iter().take_while(|byte| **byte == 0).count();
        number[zeros..].into()
    };
    let (n, e) = (plain(n), plain(e));
    let bits = n
        .first()
        .map_or(0, |first| 8 * n.len() - first.leading_zeros() as usize);
    if !(2048..=8192).contains(&bits) {
        return Err(KeyError::RsaBits { bits });
    }
    if e.is_empty() {
        return Err(KeyError::Damaged("an RSA key"));
    }
    Ok(Material::Rsa(n, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(file: &[u8], algorithm: Option<Algorithm>) -> Result<Keys, KeyError> {
        let mut keys = Keys::default();
        keys.add(file, algorithm).map(|()| keys)
    }

    #[test]
    fn a_secret_is_bound_to_the_algorithm_that_is_said() {
        let keys = added(b"secret\r\n", Some(Algorithm::Hs384)).unwrap();
        assert_eq!(keys.candidates(Algorithm::Hs384, None).count(), 1);
        assert_eq!(keys.candidates(Algorithm::Hs256, None).count(), 0);
        assert_eq!(
            keys.keys[0].material,
            Material::Secret(b"secret".as_slice().into())
        );
        assert!(keys.are_weak() && !format!("{keys:?}").contains("secret"));
        assert_eq!(added(b"secret", None), Err(KeyError::NeedsAlgorithm));
        assert_eq!(added(b" \n", Some(Algorithm::Hs256)), Err(KeyError::Empty));
        let told = added(b"secret", Some(Algorithm::Rs256)).unwrap_err();
        assert_eq!(told, KeyError::Damaged("PEM or JWK"));
    }

    #[test]
    fn keys_of_a_name_are_asked_alone() {
        let mut keys = Keys::default();
        let set = r#"{"keys":[
            {"kty":"oct","alg":"HS256","kid":"old","k":"b2xkb2xkb2xkb2xkb2xkb2xkb2xkb2xkb2xk"},
            {"kty":"oct","alg":"HS256","kid":"new","k":"bmV3bmV3bmV3bmV3bmV3bmV3bmV3bmV3bmV3"},
            {"kty":"oct","alg":"HS256","use":"enc","k":"bmV3bmV3"},
            {"kty":"of the future","kid":"x"}]}"#;
        keys.add(set.as_bytes(), None).unwrap();
        keys.add(b"plain", Some(Algorithm::Hs256)).unwrap();
        let count = |id| keys.candidates(Algorithm::Hs256, id).count();
        assert_eq!(count(Some("old")), 1);
        assert_eq!(count(Some("other")), 1);
        assert_eq!(count(None), 3);
    }
}
