//! The certificates that the daemon shows, and those of its clients that it believes: what the
//! settings say of them, and their files.
//!
//! What is served of them is in `hub::tls`. Called by `load`, which names a file that is not
//! right, and by `service` at the start, with each reload, and when a file has changed.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, RootCertStore};
use serde::Deserialize;

use super::check::Conflict;
use super::fault::{ConfigError, Fault};
use super::kind::Kind;
use super::value::{Given, Value, tables};
use super::{Settings, Switch};
use crate::protocol::certificate::Certificate;

/// A longer file is none of certificates; the authorities of a whole system have some 300 KiB.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// A certificate whose time is over so soon is told of.
const SOON_S: i64 = 7 * 24 * 60 * 60;
const DAY_S: i64 = 24 * 60 * 60;

/// A certificate with those that vouch for it, and its key.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsCertificate {
    pub chain_file: PathBuf,
    pub key_file: PathBuf,
}

impl Value for Vec<TlsCertificate> {
    fn read(given: &Given, kind: &Kind) -> Result<Self, String> {
        tables(given, kind)
    }
}

/// What the files hold, all of it right.
#[derive(Debug)]
pub struct Certificates {
    /// In the order of the settings: the first is for those who ask for none of the others.
    pub all: Vec<Shown>,
    /// Who vouches for clients, where they have to show certificates.
    pub clients: Option<Clients>,
}

/// A certificate of the daemon's own.
#[derive(Debug)]
pub struct Shown {
    pub key: Arc<CertifiedKey>,
    /// What it says of itself.
    pub leaf: Certificate,
    pub chain_file: PathBuf,
    key_file: PathBuf,
    /// Others than its owner and its group can read the key.
    is_open: bool,
}

/// Authorities that sign certificates of clients.
#[derive(Debug)]
pub struct Clients {
    pub authorities: Arc<RootCertStore>,
    /// Their certificates, by which another set of them is known.
    pub der: Vec<u8>,
}

impl Settings {
    /// TLS is spoken somewhere.
    pub fn speaks_tls(&self) -> bool {
        !self.listen_tls.is_empty() || self.admin_tls == Switch::On
    }

    /// All files that TLS is served with.
    pub fn tls_files(&self) -> impl Iterator<Item = &Path> {
        let own = self.tls_certificates.iter();
        own.flat_map(|own| [&*own.chain_file, &*own.key_file])
            .chain(self.tls_client_ca.as_deref())
    }

    /// Reads them.
    ///
    /// # Errors
    /// A sentence for each file that is not right.
    pub fn certificates(&self) -> Result<Certificates, ConfigError> {
        let own = self.own_certificates();
        match (own, self.client_authorities()) {
            (Ok(all), Ok(clients)) => Ok(Certificates { all, clients }),
            (own, clients) => {
                let faults = [own.err(), clients.err()].into_iter().flatten();
                Err(ConfigError(
                    faults.flat_map(|ConfigError(faults)| faults).collect(),
                ))
            }
        }
    }

    pub(super) fn own_certificates(&self) -> Result<Vec<Shown>, ConfigError> {
        let (mut shown, mut faults) = (Vec::new(), Vec::new());
        for own in &self.tls_certificates {
            match own.load() {
                Ok(one) => shown.push(one),
                Err(fault) => faults.push(fault),
            }
        }
        match faults.is_empty() {
            true => Ok(shown),
            false => Err(ConfigError(faults)),
        }
    }

    pub(super) fn client_authorities(&self) -> Result<Option<Clients>, ConfigError> {
        let path = self.tls_client_ca.as_deref();
        let read = path.map(|path| authorities(path).map_err(|fault| ConfigError(vec![fault])));
        read.transpose()
    }

    /// Settings of TLS that do not fit together.
    pub(super) fn tls_conflicts(&self) -> Vec<Conflict> {
        let mut found = Vec::new();
        let mut require = |holds: bool, keys: &[&'static str], sentence: &str| {
            if !holds {
                found.push(Conflict {
                    keys: keys.to_vec(),
                    sentence: sentence.to_owned(),
                });
            }
        };
        let has_certificate = !self.tls_certificates.is_empty();
        require(
            has_certificate || self.listen_tls.is_empty(),
            &["listen_tls", "tls_certificates"],
            "listen_tls needs a certificate: a table [[tls_certificates]] with chain_file and key_file",
        );
        require(
            has_certificate || self.admin_tls == Switch::Off,
            &["admin_tls", "tls_certificates"],
            "admin_tls needs a certificate: a table [[tls_certificates]] with chain_file and key_file",
        );
        let mut chains: Vec<&Path> = self
            .tls_certificates
            .iter()
            .map(|own| &*own.chain_file)
            .collect();
        chains.sort_unstable();
        require(
            chains.windows(2).all(|two| two[0] != two[1]),
            &["tls_certificates"],
            "tls_certificates names the same chain_file twice",
        );
        require(
            !(self.listen.is_empty() && self.listen_tls.is_empty()),
            &["listen", "listen_tls"],
            "listen and listen_tls are both off: nobody could connect",
        );
        found
    }
}

impl Certificates {
    /// A sentence for each thing about them that should be mended, at that time in seconds
    /// since 1970.
    pub fn notes(&self, now_s: u64) -> Vec<String> {
        let now_s = now_s as i64;
        let mut notes = Vec::new();
        for shown in &self.all {
            let (chain, key) = (shown.chain_file.display(), shown.key_file.display());
            match shown.leaf.until_s - now_s {
                left if left < 0 => notes.push(format!("the certificate in {chain} has expired")),
                left if left < SOON_S => notes.push(format!(
                    "the certificate in {chain} expires in less than {} days",
                    left / DAY_S + 1
                )),
                _ => {}
            }
            if shown.is_open {
                notes.push(format!(
                    "the key in {key} can be read by everybody on this machine: chmod o= {key}"
                ));
            }
        }
        notes
    }
}

impl TlsCertificate {
    fn load(&self) -> Result<Shown, Fault> {
        let fault = |path: &Path, problem: String| Fault::Tls {
            path: path.into(),
            problem,
        };
        let (chain_file, key_file) = (&self.chain_file, &self.key_file);
        let chain = certificates(chain_file)?;
        let leaf = Certificate::read(&chain[0])
            .map_err(|error| fault(chain_file, format!("holds no usable certificate: {error}")))?;
        let (bytes, is_open) = read(key_file)?;
        let key = PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| {
            let is_locked = find(&bytes, b"ENCRYPTED");
            let problem = match is_locked {
                true => "holds an encrypted key: store it without a passphrase",
                false => "holds no private key (PEM)",
            };
            fault(key_file, problem.into())
        })?;
        let provider = rustls::crypto::ring::default_provider();
        let key = CertifiedKey::from_der(chain, key, &provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => fault(
                key_file,
                format!(
                    "holds a key that does not belong to the first certificate in {}",
                    chain_file.display()
                ),
            ),
            error => fault(key_file, format!("cannot be used: {error}")),
        })?;
        Ok(Shown {
            key: Arc::new(key),
            leaf,
            chain_file: chain_file.clone(),
            key_file: key_file.clone(),
            is_open,
        })
    }
}

/// All certificates in a file, one at least.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let (bytes, _) = read(path)?;
    let all: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&bytes).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        _ => Err(Fault::Tls {
            path: path.into(),
            problem: "holds no certificate (PEM)".into(),
        }),
    }
}

fn authorities(path: &Path) -> Result<Clients, Fault> {
    let mut authorities = RootCertStore::empty();
    let mut der = Vec::new();
    for certificate in certificates(path)? {
        der.extend_from_slice(&certificate);
        authorities.add(certificate).map_err(|error| Fault::Tls {
            path: path.into(),
            problem: format!("holds a certificate that cannot be used: {error}"),
        })?;
    }
    Ok(Clients {
        authorities: Arc::new(authorities),
        der,
    })
}

/// A file, and whether everybody may read it.
fn read(path: &Path) -> Result<(Vec<u8>, bool), Fault> {
    let read = || -> io::Result<(Vec<u8>, bool)> {
        let file = File::open(path)?;
        let mode = file.metadata()?.permissions().mode();
        let mut bytes = Vec::new();
        let read = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if read as u64 > FILE_BYTES_MAX {
            return Err(io::Error::other("it is too long for certificates"));
        }
        Ok((bytes, mode & 0o007 != 0))
    };
    read().map_err(|cause| Fault::Unreadable {
        path: path.into(),
        cause,
    })
}

fn find(bytes: &[u8], words: &[u8]) -> bool {
    bytes.windows(words.len()).any(|window| window == words)
}

/// By which a changed file is known: the same path may lead to another file, as tools that
/// renew certificates change links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    modified: Option<std::time::SystemTime>,
    len: u64,
    id: (u64, u64),
}

impl Stamp {
    /// That of the file at `path`; `None` if it cannot be seen.
    pub fn of(path: &Path) -> Option<Stamp> {
        use std::os::unix::fs::MetadataExt;
        let found = fs::metadata(path).ok()?;
        Some(Stamp {
            modified: found.modified().ok(),
            len: found.len(),
            id: (found.dev(), found.ino()),
        })
    }
}

#[cfg(test)]
mod tests;
