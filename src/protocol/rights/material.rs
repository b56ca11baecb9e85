//! What keys are made of, which algorithms they are for, and what may be wrong with a
//! file of them.

use std::fmt;

/// Keys in all. Beyond, somebody has named the wrong file.
pub(super) const KEYS_MAX: usize = 64;

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
