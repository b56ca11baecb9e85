//! The way to the address of a server that is told something: a connection that is kept for the
//! next request, made anew where there is none.
//!
//! The server at the other end is not trusted to be well: what it may take of time and memory
//! is bounded, and nobody is followed elsewhere. Whether it has taken what it was told is said
//! by the status alone.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Request, Response, StatusCode, body::Incoming};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::protocol::http::ServerUrl;

/// From the search for the server's address to the end of the TLS handshake.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// From then on to the status.
const ANSWER_TIME: Duration = Duration::from_secs(10);
/// The rest of the answer is read for as long, so that the connection can be used again.
const REST_TIME: Duration = Duration::from_millis(500);
const REST_BYTES_MAX: usize = 64 << 10;
/// The head of an answer.
const HEAD_BYTES_MAX: usize = 16 << 10;
const HEADERS_MAX: usize = 64;
/// A connection that was not used for longer is not used again.
const IDLE_TIME: Duration = Duration::from_secs(30);

/// The certificates of authorities that this machine trusts, read when they are needed first.
#[derive(Clone, Default)]
pub(super) struct Tls(Arc<OnceLock<Arc<ClientConfig>>>);

/// Why a request has failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("its server is not found: {0}")]
    Lookup(io::Error),
    #[error("its server is not on this machine, as an http:// address has to be")]
    Elsewhere,
    #[error("it cannot be connected to: {0}")]
    Connect(io::Error),
    #[error("TLS: {0}")]
    Tls(io::Error),
    #[error("this machine has no certificates of authorities")]
    NoAuthorities,
    #[error("it does not answer as HTTP does: {0}")]
    Http(#[from] hyper::Error),
    #[error("the request cannot be written: {0}")]
    Request(#[from] hyper::http::Error),
    #[error("it has not answered within {} s", CONNECT_TIME.as_secs() + ANSWER_TIME.as_secs())]
    Silent,
    #[error("the request has broken off: {0}")]
    Broken(#[from] JoinError),
    #[error("it redirects ({0}), which is not followed")]
    Redirect(StatusCode),
    #[error("it answers {0}")]
    Status(StatusCode),
}

/// What a server is told in one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Letter {
    pub(super) media_type: &'static str,
    /// Further headers.
    pub(super) headers: Vec<(Box<str>, Box<str>)>,
    pub(super) body: Bytes,
}

/// The way to one address.
pub(super) struct Client {
    url: ServerUrl,
    tls: Tls,
    idle: Option<Connection>,
}

struct Connection {
    requests: SendRequest<Full<Bytes>>,
    used: Instant,
    task: JoinHandle<()>,
}

/// The connection ends, whatever is still under way on it.
impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Client {
    pub(super) fn new(url: ServerUrl) -> Client {
        Client {
            url,
            tls: Tls::default(),
            idle: None,
        }
    }

    /// Who vouches for servers that it connects to from now on.
    pub(super) fn trust(&mut self, tls: &Tls) {
        self.tls = tls.clone();
    }

    /// Makes a request of a letter.
    ///
    /// # Errors
    /// It has not been taken, as far as is known.
    pub(super) async fn post(&mut self, letter: &Letter) -> Result<(), Failure> {
        let idle = self.idle.take();
        let usable =
            |known: &Connection| known.used.elapsed() < IDLE_TIME && !known.requests.is_closed();
        if let Some(known) = idle.filter(usable) {
            match self.post_over(known, letter).await {
                // It may have been closed at the other end meanwhile.
                Err(Failure::Http(_)) => {}
                posted => return posted,
            }
        }
        let connected = timeout(CONNECT_TIME, self.connect()).await;
        let connection = connected.map_err(|_| Failure::Silent)??;
        self.post_over(connection, letter).await
    }

    async fn post_over(
        &mut self,
        mut connection: Connection,
        letter: &Letter,
    ) -> Result<(), Failure> {
        let mut request = Request::post(self.url.target())
            .header(HOST, self.url.authority())
            .header(CONTENT_TYPE, letter.media_type)
            .header(USER_AGENT, concat!("fanfare/", env!("CARGO_PKG_VERSION")));
        for (name, value) in &letter.headers {
            request = request.header(&**name, &**value);
        }
        let request = request.body(Full::new(letter.body.clone()))?;
        let answer = async {
            connection.requests.ready().await?;
            connection.requests.send_request(request).await
        };
        let answer = timeout(ANSWER_TIME, answer).await;
        let answer = answer.map_err(|_| Failure::Silent)??;
        let status = answer.status();
        if let Ok(true) = timeout(REST_TIME, is_read(answer)).await {
            connection.used = Instant::now();
            self.idle = Some(connection);
        }
        match status {
            status if status.is_success() => Ok(()),
            status if status.is_redirection() => Err(Failure::Redirect(status)),
            status => Err(Failure::Status(status)),
        }
    }

    async fn connect(&self) -> Result<Connection, Failure> {
        let stream = self.reach().await?;
        // It is one letter at a time.
        let _ = stream.set_nodelay(true);
        if !self.url.is_secure() {
            return shake_hands(TokioIo::new(stream)).await;
        }
        let name = ServerName::try_from(self.url.host().to_owned());
        let name = name.map_err(|error| Failure::Tls(io::Error::other(error)))?;
        let connector = TlsConnector::from(self.tls.config()?);
        let stream = connector.connect(name, stream).await;
        shake_hands(TokioIo::new(stream.map_err(Failure::Tls)?)).await
    }

    /// A connection to the first address of the server that takes it.
    async fn reach(&self) -> Result<TcpStream, Failure> {
        let server = (self.url.host(), self.url.port());
        let found = tokio::net::lookup_host(server).await;
        let may_be = |address: &SocketAddr| self.url.may_be_at(address.ip());
        let mut error = None;
        for address in found.map_err(Failure::Lookup)?.filter(may_be) {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(refused) => error = Some(refused),
            }
        }
        Err(error.map_or(Failure::Elsewhere, Failure::Connect))
    }
}

async fn shake_hands<T>(stream: TokioIo<T>) -> Result<Connection, Failure>
where
    TokioIo<T>: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let mut settings = http1::Builder::new();
    settings
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX);
    let (requests, connection) = settings.handshake(stream).await?;
    let task = tokio::spawn(async move {
        // Who waits for an answer is told of it.
        let _ = connection.await;
    });
    Ok(Connection {
        requests,
        used: Instant::now(),
        task,
    })
}

/// Reads the rest of an answer; false if it is too long.
async fn is_read(answer: Response<Incoming>) -> bool {
    let mut body = answer.into_body();
    let mut len = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return false;
        };
        len += frame.data_ref().map_or(0, Bytes::len);
        if len > REST_BYTES_MAX {
            return false;
        }
    }
    true
}

impl Tls {
    fn config(&self) -> Result<Arc<ClientConfig>, Failure> {
        if let Some(known) = self.0.get() {
            return Ok(known.clone());
        }
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(%error, "certificates of authorities cannot be read");
        }
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            return Err(Failure::NoAuthorities);
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has what they need")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(self.0.get_or_init(|| Arc::new(config)).clone())
    }
}
