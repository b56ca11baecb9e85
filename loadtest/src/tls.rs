//! TLS on the clients' side, by rustls: what a run believes of servers, and one connection's
//! records.
//!
//! Called by `scenario` for the configuration and by `client` for each connection.

use std::fs;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    SupportedCipherSuite,
};

/// How servers are believed, as the command line says.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// The authority's certificate.
    pub ca: Option<PathBuf>,
    /// Whoever it is.
    pub insecure: bool,
    /// Who comes back takes its session up again.
    pub resume: bool,
}

/// What all connections of a run over TLS have in common.
#[derive(Clone, Debug)]
pub struct Tls {
    config: Arc<ClientConfig>,
    resume: bool,
}

impl Tls {
    /// # Errors
    /// A sentence about what is missing, or wrong with the file.
    pub fn new(trust: &Trust) -> Result<Tls, String> {
        let mut provider = rustls::crypto::ring::default_provider();
        // Browsers offer the cipher with the shorter key first, and servers take the first.
        let is_short = |suite: &SupportedCipherSuite| {
            suite
                .suite()
                .as_str()
                .is_some_and(|name| name.contains("AES_128"))
        };
        provider.cipher_suites.sort_by_key(|suite| !is_short(suite));
        let provider = Arc::new(provider);
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let config = match &trust.ca {
            Some(path) => builder.with_root_certificates(roots(path)?),
            None if trust.insecure => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Anybody(provider))),
            None => {
                return Err("TLS needs --ca FILE, with the certificate of the server's \
                            authority (PEM), or --insecure"
                    .into());
            }
        };
        let mut config = config.with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.resumption = Resumption::disabled();
        Ok(Tls {
            config: Arc::new(config),
            resume: trust.resume,
        })
    }

    /// The configuration of one client, which keeps its tickets there.
    pub fn of_client(&self) -> Arc<ClientConfig> {
        if !self.resume {
            return self.config.clone();
        }
        let mut own = (*self.config).clone();
        own.resumption = Resumption::in_memory_sessions(1);
        Arc::new(own)
    }
}

fn roots(path: &PathBuf) -> Result<RootCertStore, String> {
    let refused = |reason: String| format!("--ca {}: {reason}", path.display());
    let bytes = fs::read(path).map_err(|error| refused(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        let certificate = certificate.map_err(|error| refused(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| refused(error.to_string()))?;
    }
    match roots.is_empty() {
        true => Err(refused("it holds no certificate (PEM)".into())),
        false => Ok(roots),
    }
}

/// The name that a certificate must be for, of a host with or without port.
pub fn name_of(host: &str) -> Option<ServerName<'static>> {
    let bare = match host.rsplit_once(':') {
        Some((bare, port)) if !port.ends_with(']') => bare,
        _ => host,
    };
    let bare = bare.trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(bare.to_owned()).ok()
}

/// The records of one connection.
#[derive(Debug)]
pub struct Records {
    conn: ClientConnection,
    /// Of what was sealed, what the kernel has not taken.
    unsent: Vec<u8>,
}

impl Records {
    /// # Errors
    /// Those of rustls, for which there is no occasion.
    pub fn new(config: Arc<ClientConfig>, name: ServerName<'static>) -> Result<Records, Error> {
        let mut conn = ClientConnection::new(config, name)?;
        // What is not sent yet is bounded where it is made.
        conn.set_buffer_limit(None);
        Ok(Records {
            conn,
            unsent: Vec::new(),
        })
    }

    /// Shakes hands over a socket that waits.
    ///
    /// # Errors
    /// Those of the socket, or why the server is not believed.
    pub fn shake(&mut self, socket: &mut (impl Read + Write)) -> io::Result<()> {
        while self.conn.is_handshaking() {
            self.conn.complete_io(socket)?;
        }
        Ok(())
    }

    /// What is to be sent now: rustls' own words, and `plain`, which is taken once hands have
    /// been shaken.
    pub fn seal(&mut self, plain: &mut Vec<u8>) -> Vec<u8> {
        let mut out = std::mem::take(&mut self.unsent);
        if !self.conn.is_handshaking() && !plain.is_empty() {
            let written = self.conn.writer().write_all(plain);
            written.expect("it takes everything");
            plain.clear();
        }
        while self.conn.wants_write() {
            let written = self.conn.write_tls(&mut out);
            written.expect("memory takes everything");
        }
        out
    }

    /// The kernel has not taken these.
    pub fn put_back(&mut self, unsent: Vec<u8>) {
        self.unsent = unsent;
    }

    /// Opens what has come; the content goes behind `plain`.
    ///
    /// # Errors
    /// What the server has done wrong, or why it is not believed.
    pub fn open(&mut self, mut bytes: &[u8], plain: &mut Vec<u8>) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.conn.read_tls(&mut bytes)? == 0 {
                // It has said goodbye.
                return Ok(());
            }
            let state = self.conn.process_new_packets().map_err(io::Error::other)?;
            let had = plain.len();
            plain.resize(had + state.plaintext_bytes_to_read(), 0);
            self.conn.reader().read_exact(&mut plain[had..])?;
        }
        Ok(())
    }
}

/// Believes everybody.
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
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whom_to_believe_must_be_said() {
        let told = Tls::new(&Trust::default()).unwrap_err();
        assert!(
            told.contains("--ca") && told.contains("--insecure"),
            "{told}"
        );
        let gone = Trust {
            ca: Some("/no/such/file".into()),
            ..Trust::default()
        };
        assert!(
            Tls::new(&gone)
                .unwrap_err()
                .starts_with("--ca /no/such/file: ")
        );
        let any = Trust {
            insecure: true,
            ..Trust::default()
        };
        Tls::new(&any).unwrap();
    }

    #[test]
    fn a_certificate_is_for_the_host_without_its_port() {
        for (host, name) in [
            ("a.example:8443", "a.example"),
            ("a.example", "a.example"),
            ("127.0.0.1:1", "127.0.0.1"),
            ("[::1]:1", "::1"),
            ("[::1]", "::1"),
        ] {
            assert_eq!(name_of(host).unwrap().to_str(), name, "{host}");
        }
        assert!(name_of("a b").is_none());
    }
}
