//! The way to a daemon: a connection over TCP or a Unix socket, with TLS where its address says so.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::place::Server;

/// From the search for the address to the end of the TLS handshake.
const REACH_TIME: Duration = Duration::from_secs(10);

/// A connection, whatever it goes over.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Whom to trust.
#[derive(Debug, Clone, Default)]
pub struct Tls {
    /// Certificates of authorities (PEM) beside those of the machine.
    pub ca: Option<PathBuf>,
    /// Any certificate will do.
    pub insecure: bool,
}

/// Why nobody can be trusted.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read {}: {error}", path.display())]
    Read { path: PathBuf, error: String },
    #[error("{} holds no certificate (PEM)", .0.display())]
    None(PathBuf),
    #[error("this machine has no certificates of authorities: name some with --ca")]
    NoAuthorities,
}

/// Why there is no way. All may pass but the last.
#[derive(Debug, thiserror::Error)]
pub enum ReachError {
    #[error("its address is not found: {0}")]
    Lookup(io::Error),
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    #[error("it does not answer within {} s", REACH_TIME.as_secs())]
    Silent,
    #[error("TLS: {0}")]
    Tls(io::Error),
    #[error("TLS: {0:?} is no name that a certificate can bear")]
    Name(String),
}

/// Connects to daemons.
#[derive(Clone)]
pub struct Reach {
    tls: Option<Arc<ClientConfig>>,
}

impl Reach {
    /// For servers of which some may speak TLS.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn new(tls: &Tls, is_needed: bool) -> Result<Reach, TlsError> {
        let tls = is_needed.then(|| config(tls)).transpose()?;
        Ok(Reach { tls })
    }

    /// Connects.
    ///
    /// # Errors
    /// See [`ReachError`].
    pub async fn connect(&self, server: &Server) -> Result<Box<dyn Stream>, ReachError> {
        let connected = timeout(REACH_TIME, self.reach(server)).await;
        connected.unwrap_or(Err(ReachError::Silent))
    }

    async fn reach(&self, server: &Server) -> Result<Box<dyn Stream>, ReachError> {
        let (host, port, tls) = match server {
            Server::Unix(path) => {
                let stream = UnixStream::connect(path).await;
                return Ok(Box::new(stream.map_err(ReachError::Connect)?));
            }
            Server::Tcp { host, port, tls } => (host, *port, *tls),
        };
        let found = tokio::net::lookup_host((host.as_str(), port)).await;
        let mut refused = None;
        let mut reached = None;
        for address in found.map_err(ReachError::Lookup)? {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    reached = Some(stream);
                    break;
                }
                Err(error) => refused = Some(error),
            }
        }
        let Some(stream) = reached else {
            let none = || io::Error::new(io::ErrorKind::NotFound, "the name has no address");
            return Err(ReachError::Connect(refused.unwrap_or_else(none)));
        };
        // Small requests wait for nobody's acknowledgement.
        stream.set_nodelay(true).map_err(ReachError::Connect)?;
        if !tls {
            return Ok(Box::new(stream));
        }
        let config = self.tls.clone().expect("it was said that some speak TLS");
        let name = ServerName::try_from(host.clone());
        let name = name.map_err(|_| ReachError::Name(host.clone()))?;
        let sealed = TlsConnector::from(config).connect(name, stream).await;
        Ok(Box::new(sealed.map_err(ReachError::Tls)?))
    }
}

fn config(tls: &Tls) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("the provider has what they need");
    if tls.insecure {
        let anybody = Arc::new(Anybody(provider));
        let config = builder
            .dangerous()
            .with_custom_certificate_verifier(anybody);
        return Ok(Arc::new(config.with_no_client_auth()));
    }
    let mut roots = RootCertStore::empty();
    // What cannot be read among those of the machine is as if it were not there.
    let native = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(native.certs);
    if let Some(path) = &tls.ca {
        for certificate in certificates(path)? {
            let added = roots.add(certificate);
            added.map_err(|error| TlsError::Read {
                path: path.clone(),
                error: error.to_string(),
            })?;
        }
    }
    if roots.is_empty() {
        return Err(TlsError::NoAuthorities);
    }
    Ok(Arc::new(
        builder.with_root_certificates(roots).with_no_client_auth(),
    ))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unreadable = |error: String| TlsError::Read {
        path: path.to_owned(),
        error,
    };
    let bytes = fs::read(path).map_err(|error| unreadable(error.to_string()))?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        Ok(_) => Err(TlsError::None(path.to_owned())),
        Err(error) => Err(unreadable(error.to_string())),
    }
}

/// Takes any certificate, as `--insecure` asks for; whoever shows it has its key at least.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
