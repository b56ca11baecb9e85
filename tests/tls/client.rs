//! A rustls client over memory, and the session that its handshake leads to.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;

use fanfare::protocol::tls::{HEADER_BYTES, Logged, Session};
use rustls::crypto::ring::{cipher_suite, default_provider};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection,
    SupportedCipherSuite, version,
};

/// Every suite of both versions that a certificate with an elliptic key has.
pub(crate) const SUITES: [SupportedCipherSuite; 6] = [
    cipher_suite::TLS13_AES_128_GCM_SHA256,
    cipher_suite::TLS13_AES_256_GCM_SHA384,
    cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
];

/// A certificate that signs itself, and its key.
pub(crate) struct Identity {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    pub(crate) fn new() -> Identity {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]);
        let made = made.expect("a certificate is made");
        let key = made.signing_key.serialize_der();
        Identity {
            certificate: made.cert.der().clone(),
            key: PrivateKeyDer::Pkcs8(key.into()),
        }
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        let added = roots.add(self.certificate.clone());
        added.expect("the certificate is one");
        roots
    }
}

/// Both sides' settings, with one suite.
pub(crate) struct Sides {
    pub(crate) server: ServerConfig,
    pub(crate) client: ClientConfig,
}

impl Sides {
    pub(crate) fn new(suite: SupportedCipherSuite) -> Sides {
        Sides::with(suite, false)
    }

    /// The server wants a certificate of the client too.
    pub(crate) fn with_client_certificate(suite: SupportedCipherSuite) -> Sides {
        Sides::with(suite, true)
    }

    fn with(suite: SupportedCipherSuite, client_shows_one: bool) -> Sides {
        let mut provider = default_provider();
        provider.cipher_suites = vec![suite];
        let provider = Arc::new(provider);
        let versions = [match suite {
            SupportedCipherSuite::Tls13(_) => &version::TLS13,
            SupportedCipherSuite::Tls12(_) => &version::TLS12,
        }];
        let (identity, visitor) = (Identity::new(), Identity::new());
        let chain = vec![identity.certificate.clone()];
        let server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&versions)
            .expect("the suite is of the version");
        let client = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&versions)
            .expect("the suite is of the version")
            .with_root_certificates(identity.roots());
        let (server, client) = if client_shows_one {
            let roots = Arc::new(visitor.roots());
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            let verifier = verifier.build().expect("it has a root");
            let client =
                client.with_client_auth_cert(vec![visitor.certificate.clone()], visitor.key);
            let client = client.expect("the key is the certificate's");
            (server.with_client_cert_verifier(verifier), client)
        } else {
            (server.with_no_client_auth(), client.with_no_client_auth())
        };
        let server = server.with_single_cert(chain, identity.key);
        let mut server = server.expect("the key is the certificate's");
        server.enable_secret_extraction = true;
        Sides { server, client }
    }

    /// The server gives tickets that it keeps nothing for.
    pub(crate) fn with_tickets(mut self) -> Sides {
        let ticketer = rustls::crypto::ring::Ticketer::new();
        self.server.ticketer = ticketer.expect("there is randomness");
        self
    }

    /// A handshake of both, with a log of its secrets.
    pub(crate) fn handshake(&self) -> (Client, ServerConnection, Arc<Logged>) {
        let logged = Arc::new(Logged::new());
        let mut config = self.server.clone();
        config.key_log = logged.clone();
        let mut server = ServerConnection::new(Arc::new(config)).expect("a server");
        let name = ServerName::try_from("localhost").expect("a name");
        let client = ClientConnection::new(Arc::new(self.client.clone()), name);
        let mut client = Client(client.expect("a client"));
        while client.0.is_handshaking() || server.is_handshaking() {
            let sent = client.sent();
            for record in records(&sent) {
                assert!(server.is_handshaking(), "nothing comes behind it");
                give(&mut server, record);
            }
            client.hear(&flush(&mut server));
        }
        (client, server, logged)
    }

    pub(crate) fn connect(&self) -> (Client, Session) {
        let (client, server, logged) = self.handshake();
        let session = Session::extract(server, &logged);
        (client, session.expect("the handshake is over"))
    }
}

/// rustls' client after its handshake.
pub(crate) struct Client(pub(crate) ClientConnection);

impl Client {
    /// The records of `content`.
    pub(crate) fn say(&mut self, content: &[u8]) -> Vec<u8> {
        let mut sent = Vec::new();
        // It takes so much at a time.
        for piece in content.chunks(30_000) {
            self.0.writer().write_all(piece).expect("it takes data");
            sent.extend(self.sent());
        }
        sent
    }

    /// What it has to send.
    pub(crate) fn sent(&mut self) -> Vec<u8> {
        let mut sent = Vec::new();
        while self.0.wants_write() {
            self.0.write_tls(&mut sent).expect("memory takes all");
        }
        sent
    }

    /// What `records` say to it.
    pub(crate) fn hear(&mut self, records: &[u8]) -> Vec<u8> {
        let heard = self.try_hear(records);
        heard.expect("rustls reads what we send")
    }

    pub(crate) fn try_hear(&mut self, mut records: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let mut heard = Vec::new();
        while !records.is_empty() {
            self.0.read_tls(&mut records).expect("it takes records");
            let state = self.0.process_new_packets()?;
            let mut content = vec![0; state.plaintext_bytes_to_read()];
            let read = self.0.reader().read_exact(&mut content);
            read.expect("it has so much");
            heard.extend(content);
        }
        Ok(heard)
    }

    /// Whether our close_notify has come.
    pub(crate) fn is_closed(&mut self) -> bool {
        match self.0.reader().read(&mut [0]) {
            Ok(0) => true,
            Ok(_) => panic!("all was read"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                false
            }
        }
    }
}

pub(crate) fn give(server: &mut ServerConnection, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        server.read_tls(&mut bytes).expect("it takes records");
        server.process_new_packets().expect("the client is honest");
    }
}

pub(crate) fn flush(server: &mut ServerConnection) -> Vec<u8> {
    let mut sent = Vec::new();
    while server.wants_write() {
        server.write_tls(&mut sent).expect("memory takes all");
    }
    sent
}

/// The records that `bytes` are.
pub(crate) fn records(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let len = usize::from(bytes[3]) << 8 | usize::from(bytes[4]);
        let record;
        (record, bytes) = bytes.split_at(HEADER_BYTES + len);
        records.push(record);
    }
    records
}
