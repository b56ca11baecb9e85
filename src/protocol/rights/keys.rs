//! The keys that tokens are checked with, each bound to its algorithms.

use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use ring::{digest, hmac};

use super::material::{Algorithm, KEYS_MAX, KeyError, Material};
use super::{jwk, pem};

/// What RFC 7518 section 3.2 asks of a secret for HS256.
const SECRET_BYTES_WEAK: usize = 32;

/// One key, for one algorithm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) id: Option<Box<str>>,
    pub(super) algorithm: Algorithm,
    pub(super) material: Material,
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

    /// None of them is a public one.
    pub(super) fn are_all_secret(&self) -> bool {
        self.keys.iter().all(|key| key.algorithm.is_hmac())
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
