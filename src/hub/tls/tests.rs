//! Which certificate a client is shown, by a client of rustls.

use std::io::Write;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::*;
use crate::config::TlsCertificate;

struct Made {
    folder: tempfile::TempDir,
    trusted: RootCertStore,
    settings: Settings,
}

impl Made {
    fn new() -> Made {
        Made {
            folder: tempfile::tempdir().unwrap(),
            trusted: RootCertStore::empty(),
            settings: Settings::default(),
        }
    }

    /// One more certificate; returns it.
    fn add(
        &mut self,
        names: &[&str],
        kind: &'static rcgen::SignatureAlgorithm,
    ) -> CertificateDer<'static> {
        let key = rcgen::KeyPair::generate_for(kind).unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let certificate = rcgen::CertificateParams::new(names).unwrap();
        let certificate = certificate.self_signed(&key).unwrap();
        let number = self.settings.tls_certificates.len();
        let write = |name: &str, text: String| {
            let path = self.folder.path().join(format!("{number}.{name}"));
            std::fs::File::create(&path)
                .unwrap()
                .write_all(text.as_bytes())
                .unwrap();
            path
        };
        self.settings.tls_certificates.push(TlsCertificate {
            chain_file: write("chain", certificate.pem()),
            key_file: write("key", key.serialize_pem()),
        });
        self.trusted.add(certificate.der().clone()).unwrap();
        certificate.der().clone()
    }

    fn tls(&self) -> Tls {
        let tls = Tls::default();
        let certificates = self.settings.certificates().unwrap();
        tls.serve(&self.settings, certificates, 1_900_000_000)
            .unwrap();
        tls
    }

    fn client(&self) -> ClientConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.trusted.clone())
            .with_no_client_auth()
    }
}

/// Shakes hands in memory; returns the client's side.
fn shake(tls: &Tls, client: ClientConfig, host: &str) -> Result<ClientConnection, Error> {
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name)?;
    let (mut server, _) = tls.served().unwrap().begin()?;
    let mut wire = Vec::new();
    while client.is_handshaking() || server.is_handshaking() {
        client.write_tls(&mut wire).unwrap();
        let mut bytes = &wire[..];
        while !bytes.is_empty() {
            server.read_tls(&mut bytes).unwrap();
            server.process_new_packets()?;
        }
        wire.clear();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut bytes = &wire[..];
        while !bytes.is_empty() {
            client.read_tls(&mut bytes).unwrap();
            client.process_new_packets()?;
        }
        wire.clear();
    }
    Ok(client)
}

fn shown(tls: &Tls, client: ClientConfig, host: &str) -> CertificateDer<'static> {
    let client = shake(tls, client, host).unwrap();
    client.peer_certificates().unwrap()[0].clone().into_owned()
}

#[test]
fn a_client_is_shown_the_certificate_for_the_name_that_it_asks_for() {
    let mut made = Made::new();
    let a = made.add(&["a.example", "127.0.0.1"], &rcgen::PKCS_ECDSA_P256_SHA256);
    let b = made.add(&["*.b.example"], &rcgen::PKCS_ECDSA_P384_SHA384);
    let tls = made.tls();
    assert_eq!(shown(&tls, made.client(), "a.example"), a);
    assert_eq!(shown(&tls, made.client(), "x.b.example"), b);
    // Who asks for an address says no name.
    assert_eq!(shown(&tls, made.client(), "127.0.0.1"), a);
}

#[test]
fn a_client_is_shown_the_certificate_whose_signature_it_understands() {
    let mut made = Made::new();
    let curve = made.add(&["a.example"], &rcgen::PKCS_ED25519);
    let other = made.add(&["a.example"], &rcgen::PKCS_ECDSA_P256_SHA256);
    let tls = made.tls();
    assert_eq!(shown(&tls, made.client(), "a.example"), curve);
    let mut provider = rustls::crypto::ring::default_provider();
    let mapping = provider.signature_verification_algorithms.mapping;
    let known = mapping
        .iter()
        .filter(|(scheme, _)| *scheme != rustls::SignatureScheme::ED25519);
    provider.signature_verification_algorithms.mapping = Vec::leak(known.copied().collect());
    let client = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(made.trusted.clone())
        .with_no_client_auth();
    assert_eq!(shown(&tls, client, "a.example"), other);
}

#[test]
fn a_client_that_offers_other_protocols_only_is_told_so() {
    let mut made = Made::new();
    made.add(&["a.example"], &rcgen::PKCS_ECDSA_P256_SHA256);
    let tls = made.tls();
    let offering = |protocols: &[&[u8]]| {
        let mut client = made.client();
        client.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        shake(&tls, client, "a.example")
    };
    let both = offering(&[b"h2", HTTP_1_1]).unwrap();
    assert_eq!(both.alpn_protocol(), Some(HTTP_1_1));
    let error = offering(&[b"h2"]).unwrap_err();
    assert_eq!(TlsFailure::from(&error), TlsFailure::Protocol);
}

#[test]
fn an_old_version_is_refused_where_the_settings_say_so() {
    let mut made = Made::new();
    made.add(&["a.example"], &rcgen::PKCS_ECDSA_P256_SHA256);
    made.settings.tls_version_min = TlsVersion::Tls13;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS12])
        .unwrap()
        .with_root_certificates(made.trusted.clone())
        .with_no_client_auth();
    let error = shake(&made.tls(), client, "a.example").unwrap_err();
    assert_eq!(TlsFailure::from(&error), TlsFailure::Version);
}
