//! Certificates made at test time, and clients of TLS of another make than the daemon's records:
//! rustls carries whole connections here.

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned,
    SupportedProtocolVersion,
};
use tempfile::TempDir;

use crate::common::{Daemon, PATIENCE};

pub(crate) const TLS13: &SupportedProtocolVersion = &rustls::version::TLS13;
pub(crate) const TLS12: &SupportedProtocolVersion = &rustls::version::TLS12;
pub(crate) const VERSIONS: [&SupportedProtocolVersion; 2] = [TLS13, TLS12];

/// A connection over TLS.
pub(crate) type Tls = StreamOwned<ClientConnection, TcpStream>;

/// An authority, and a folder with the files of what it has signed.
pub(crate) struct Authority {
    pub(crate) folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
    root_pem: String,
}

impl Authority {
    pub(crate) fn new() -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = params.self_signed(&key).unwrap();
        Authority {
            folder: tempfile::tempdir().unwrap(),
            root: root.der().clone(),
            root_pem: root.pem(),
            issuer: Issuer::new(params, key),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes `NAME.pem` and `NAME.key` for these hosts.
    pub(crate) fn sign(&self, name: &str, hosts: &[&str]) -> CertificateDer<'static> {
        let key = KeyPair::generate().unwrap();
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let params = CertificateParams::new(hosts).unwrap();
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        fs::write(self.path(&format!("{name}.pem")), leaf.pem()).unwrap();
        fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
        leaf.der().clone()
    }

    /// Writes its own certificate.
    pub(crate) fn write_root(&self) -> PathBuf {
        let path = self.path("root.pem");
        fs::write(&path, &self.root_pem).unwrap();
        path
    }

    /// A client's certificate and its key.
    pub(crate) fn sign_client(&self) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["ann.example".into()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        (leaf.der().clone(), key)
    }

    /// What the option `--tls-certificates` takes.
    pub(crate) fn table(&self, name: &str) -> String {
        let file = |end: &str| self.path(&format!("{name}.{end}")).display().to_string();
        format!(
            "chain_file = \"{}\", key_file = \"{}\"",
            file("pem"),
            file("key")
        )
    }

    /// Of a client that believes this authority and speaks these versions.
    pub(crate) fn client_of(&self, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
        let builder = self.builder(versions);
        builder.with_no_client_auth()
    }

    pub(crate) fn client(&self) -> ClientConfig {
        self.client_of(&VERSIONS)
    }

    /// The same with a certificate of the client's own, which `signer` has signed.
    pub(crate) fn client_with(
        &self,
        signer: &Authority,
        versions: &[&'static SupportedProtocolVersion],
    ) -> ClientConfig {
        let (leaf, key) = signer.sign_client();
        let builder = self.builder(versions);
        builder.with_client_auth_cert(vec![leaf], key).unwrap()
    }

    fn builder(
        &self,
        versions: &[&'static SupportedProtocolVersion],
    ) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
    }
}

/// A daemon that speaks TLS with a certificate for `localhost` and 127.0.0.1, and its authority.
pub(crate) fn start(options: &[&str]) -> (Daemon, Authority) {
    let authority = Authority::new();
    authority.sign("own", &["localhost", "127.0.0.1"]);
    let table = authority.table("own");
    let mut all = vec!["--listen-tls", "127.0.0.1:0", "--tls-certificates", &table];
    all.extend_from_slice(options);
    (Daemon::start(&all), authority)
}

/// A TCP connection to where TLS is spoken.
pub(crate) fn dial(daemon: &Daemon) -> TcpStream {
    let stream = TcpStream::connect(daemon.tls_addresses[0]).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Shakes hands with who is called `host`.
pub(crate) fn shake(
    daemon: &Daemon,
    config: impl Into<Arc<ClientConfig>>,
    host: &str,
) -> io::Result<Tls> {
    shake_over(dial(daemon), config, host)
}

pub(crate) fn shake_over(
    mut stream: TcpStream,
    config: impl Into<Arc<ClientConfig>>,
    host: &str,
) -> io::Result<Tls> {
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let mut conn = ClientConnection::new(config.into(), name).map_err(io::Error::other)?;
    while conn.is_handshaking() {
        conn.complete_io(&mut stream)?;
    }
    Ok(StreamOwned::new(conn, stream))
}

/// Whether the session was taken up again; tickets come with the first answer.
pub(crate) fn is_resumed(tls: &Tls) -> bool {
    tls.conn.handshake_kind() == Some(HandshakeKind::Resumed)
}

pub(crate) fn leaf(tls: &Tls) -> CertificateDer<'static> {
    let chain = tls.conn.peer_certificates().expect("it has shown one");
    chain[0].clone().into_owned()
}

/// Asks for something and reads the whole answer, which must end as TLS says.
pub(crate) fn ask(tls: &mut Tls, request: &str) -> String {
    tls.write_all(request.as_bytes()).expect("it can be sent");
    let mut answer = String::new();
    // Without a close_notify this is an error.
    tls.read_to_string(&mut answer).expect("a whole answer");
    answer
}

/// A request for a path, whose connection ends with the answer.
pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
}

/// Writes a file of settings that names these certificates.
pub(crate) fn write_settings(path: &Path, authority: &Authority, names: &[&str]) {
    let table = |name: &&str| {
        let lines = authority.table(name).replace(", ", "\n");
        format!("[[tls_certificates]]\n{lines}\n")
    };
    let tables: String = names.iter().map(table).collect();
    fs::write(path, tables).unwrap();
}
