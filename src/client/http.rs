//! Requests to a daemon, one after another over a connection that is kept, made anew where there
//! is none.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{HOST, RETRY_AFTER, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::place::Server;
use super::reach::{Reach, ReachError};

/// Longer than the daemon lets a publisher wait.
const ANSWER_TIME: Duration = Duration::from_secs(90);
/// Of an answer.
const ANSWER_BYTES_MAX: usize = 32 << 20;

/// The way to one daemon.
pub struct Http {
    reach: Reach,
    server: Server,
    connection: Option<Connection>,
}

struct Connection {
    requests: SendRequest<Full<Bytes>>,
    task: JoinHandle<()>,
}

/// It ends, whatever is still under way on it.
impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What was answered.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub body: Bytes,
    /// When the server would be asked again.
    pub retry_after: Option<Duration>,
}

/// Why nothing is known of an answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error("{0}")]
    Reach(#[from] ReachError),
    #[error("the connection broke off: {0}")]
    Broken(#[from] hyper::Error),
    #[error("there is no answer within {} s", ANSWER_TIME.as_secs())]
    Silent,
    #[error(
        "the answer broke off, is longer than {ANSWER_BYTES_MAX} bytes, or takes longer than {} s",
        ANSWER_TIME.as_secs()
    )]
    Body,
}

impl AskError {
    /// The head of an answer has come: the server is there.
    pub fn is_half_answered(&self) -> bool {
        matches!(self, AskError::Body)
    }
}

impl Http {
    pub fn new(reach: Reach, server: Server) -> Self {
        Http {
            reach,
            server,
            connection: None,
        }
    }

    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Makes a request, whose head lacks what is the same in all. Where a connection that was kept
    /// turns out to be closed, it is made once more on another one: so it has to be one that may
    /// come twice.
    ///
    /// # Errors
    /// See [`AskError`]. The request may have been carried out all the same.
    pub async fn ask(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, AskError> {
        let (mut head, body) = request.into_parts();
        let host = self.server.authority().parse();
        head.headers
            .insert(HOST, host.expect("it was read from a URL"));
        let agent = concat!("fanfare/", env!("CARGO_PKG_VERSION"));
        head.headers
            .insert(USER_AGENT, agent.parse().expect("it is ASCII"));
        let request = Request::from_parts(head, body);
        let kept = self.connection.take();
        if let Some(known) = kept.filter(|known| !known.requests.is_closed()) {
            match self.ask_over(known, request.clone()).await {
                Err(AskError::Broken(_)) => {}
                answered => return answered,
            }
        }
        let connection = self.connect().await?;
        self.ask_over(connection, request).await
    }

    async fn ask_over(
        &mut self,
        mut connection: Connection,
        request: Request<Full<Bytes>>,
    ) -> Result<Answer, AskError> {
        let end = Instant::now() + ANSWER_TIME;
        let answer = timeout_at(end, async {
            connection.requests.ready().await?;
            connection.requests.send_request(request).await
        });
        let answer = answer.await.map_err(|_| AskError::Silent)??;
        let (head, body) = answer.into_parts();
        let body = timeout_at(end, Limited::new(body, ANSWER_BYTES_MAX).collect()).await;
        let body = body.ok().and_then(Result::ok).ok_or(AskError::Body)?;
        let retry_after = head.headers.get(RETRY_AFTER);
        let seconds = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
        self.connection = Some(connection);
        Ok(Answer {
            status: head.status,
            body: body.to_bytes(),
            retry_after: seconds.map(Duration::from_secs),
        })
    }

    async fn connect(&self) -> Result<Connection, AskError> {
        let stream = self.reach.connect(&self.server).await?;
        let (requests, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let task = tokio::spawn(async move {
            // Who waits for an answer is told of its end.
            let _ = connection.await;
        });
        Ok(Connection { requests, task })
    }
}

impl Answer {
    /// What a refusal says: the sentence in `{"error":"…"}`, or the text as it is.
    pub fn sentence(&self) -> String {
        #[derive(serde::Deserialize)]
        struct Refusal {
            error: String,
        }
        let told = serde_json::from_slice::<Refusal>(&self.body).map(|refusal| refusal.error);
        let text = told.unwrap_or_else(|_| String::from_utf8_lossy(&self.body).trim().to_owned());
        match text.is_empty() {
            true => self.status.to_string(),
            false => format!("{text} ({})", self.status.as_u16()),
        }
    }
}
