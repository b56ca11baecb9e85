//! What the thread does: takes what is traced, follows messages, and has the collector told.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use tokio::sync::Notify;
use tokio::sync::mpsc::Receiver;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep};

use super::outbox::Outbox;
use super::spans;
use crate::config::Header;
use crate::hub::{Hub, Traced, TracedMessage};
use crate::keeper::client::{Client, Failure, Letter};
use crate::protocol::http::ServerUrl;
use crate::protocol::otlp::{Attribute, Span};

/// At the end what waits is tried for so long.
const STOP_TIME: Duration = Duration::from_secs(2);
/// The longest rest.
const REST_MS: u64 = 60_000;

pub(super) struct Work {
    hub: Arc<Hub>,
    stopping: Arc<Notify>,
    url: ServerUrl,
    headers: Vec<Header>,
    traced: Receiver<Traced>,
    following: JoinSet<Vec<Span>>,
    outbox: Outbox,
    /// `None` while a request is under way.
    client: Option<Client>,
    requests: JoinSet<(Client, Result<(), Failure>)>,
    /// It has been said that the collector does not take what it is told.
    is_said: bool,
}

impl Work {
    pub(super) fn new(
        hub: Arc<Hub>,
        stopping: Arc<Notify>,
        url: ServerUrl,
        headers: Vec<Header>,
        resource: Vec<Attribute>,
    ) -> Work {
        Work {
            stopping,
            client: Some(Client::new(url.clone())),
            url,
            headers,
            traced: hub.traces().begin_to_export(),
            following: JoinSet::new(),
            outbox: Outbox::new(resource),
            requests: JoinSet::new(),
            is_said: false,
            hub,
        }
    }

    pub(super) async fn run(mut self) {
        let mut end = None;
        loop {
            if let Some(end) = end {
                self.outbox.hurry();
                if self.is_done() || Instant::now() >= end {
                    return;
                }
            }
            self.send();
            let rest = self.rest();
            tokio::select! {
                Some(traced) = self.traced.recv() => self.take(traced),
                Some(followed) = self.following.join_next() => self.note_followed(followed),
                Some(done) = self.requests.join_next() => self.note_done(done),
                () = self.stopping.notified() => end = Some(Instant::now() + STOP_TIME),
                () = sleep(end.map_or(rest, |end| rest.min(end - Instant::now()))) => {}
            }
        }
    }

    /// All has been told, or the collector is away. Messages that are still followed at the
    /// end are not told of.
    fn is_done(&self) -> bool {
        let is_told = self.traced.is_empty() && self.outbox.is_done();
        is_told || self.outbox.is_failing()
    }

    fn take(&mut self, traced: Traced) {
        match traced {
            Traced::Message(message) => {
                self.following.spawn(follow(self.hub.clone(), message));
            }
            Traced::Handshake(handshake) => self.push(vec![spans::of_handshake(&handshake)]),
        }
    }

    fn note_followed(&mut self, followed: Result<Vec<Span>, JoinError>) {
        match followed {
            Ok(spans) => self.push(spans),
            Err(error) => tracing::error!(%error, "a traced message could not be followed"),
        }
    }

    fn push(&mut self, trace: Vec<Span>) {
        if !self.outbox.push(trace, self.hub.now_ms()) {
            let figures = &self.hub.traces().figures;
            figures.dropped_full.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Makes the request that is due, if one is.
    fn send(&mut self) {
        let Some(body) = self.outbox.next(self.hub.now_ms()) else {
            return;
        };
        let letter = self.letter(body);
        let client = self.client.take();
        let mut client = client.unwrap_or_else(|| Client::new(self.url.clone()));
        self.requests.spawn(async move {
            let posted = client.post(&letter).await;
            (client, posted)
        });
    }

    fn letter(&self, body: Bytes) -> Letter {
        Letter {
            media_type: "application/x-protobuf",
            headers: self.headers.clone(),
            body,
        }
    }

    fn note_done(&mut self, done: Result<(Client, Result<(), Failure>), JoinError>) {
        let posted = match done {
            Ok((client, posted)) => {
                self.client = Some(client);
                posted
            }
            Err(error) => Err(error.into()),
        };
        let (now_ms, figures) = (self.hub.now_ms(), &self.hub.traces().figures);
        let why = match posted {
            Ok(()) => {
                let traces = self.outbox.note_taken(now_ms) as u64;
                figures.exported.fetch_add(traces, Ordering::Relaxed);
                if std::mem::take(&mut self.is_said) {
                    tracing::info!(url = %self.url, "the collector takes traces again");
                }
                return;
            }
            Err(why) => why,
        };
        figures.failures.fetch_add(1, Ordering::Relaxed);
        if passes(&why) {
            self.outbox.note_failed(now_ms, fastrand::u64(..));
        } else {
            let traces = self.outbox.note_refused(now_ms) as u64;
            figures.dropped_refused.fetch_add(traces, Ordering::Relaxed);
        }
        if !std::mem::replace(&mut self.is_said, true) {
            tracing::warn!(url = %self.url, "the collector does not take traces: {why}");
        }
    }

    fn rest(&self) -> Duration {
        let now_ms = self.hub.now_ms();
        let next_ms = self.outbox.next_ms();
        let rest_ms = next_ms.map_or(REST_MS, |next_ms| next_ms.saturating_sub(now_ms));
        Duration::from_millis(rest_ms.min(REST_MS))
    }
}

/// Follows a message until all have had it written, or for as long as may be.
async fn follow(hub: Arc<Hub>, message: TracedMessage) -> Vec<Span> {
    let within = Duration::from_millis(hub.settings().trace_ms_max);
    message.delivery.finished(within).await;
    message.delivery.end(&hub);
    spans::of_message(&message, std::time::Instant::now())
}

/// The same request may be taken later (OTLP 1, "Retryable Response Codes").
fn passes(why: &Failure) -> bool {
    match why {
        Failure::Status(status) => matches!(
            *status,
            StatusCode::TOO_MANY_REQUESTS
                | StatusCode::BAD_GATEWAY
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT
        ),
        Failure::Redirect(_) | Failure::Request(_) => false,
        _ => true,
    }
}
