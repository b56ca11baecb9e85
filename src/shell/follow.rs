//! One topic's subscription: a WebSocket, and another one behind it where it breaks off, so that
//! each message comes once and in order, or somebody is told that it does not.

use std::io::Write;
use std::time::{Duration, Instant};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::client_async_with_config;
use tokio_tungstenite::tungstenite::Error as SocketError;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Response;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};

use super::end::End;
use super::frames::{Counted, PING_AFTER, Socket, next_frame};
use super::heard::{Gap, Heard, Hello, read};
use super::since::Since;
use crate::client::{Reach, Retry, Secret, Server};

/// From the first byte of the request to the answer.
const HANDSHAKE_TIME: Duration = Duration::from_secs(15);
/// How long a goodbye may take.
const GOODBYE_TIME: Duration = Duration::from_millis(500);

/// What is the same for all topics.
pub(super) struct Ways {
    pub(super) reach: Reach,
    pub(super) token: Option<Secret>,
    pub(super) json: bool,
    /// Nobody wants to know of reconnects.
    pub(super) quiet: bool,
}

/// A topic that is followed.
pub(super) struct Follower<'a> {
    pub(super) ways: &'a Ways,
    pub(super) server: Server,
    pub(super) topic: String,
    pub(super) retry: Retry,
    /// The first message that is wanted next.
    pub(super) since: Option<Since>,
    /// Somebody has said where to begin, so that nothing else will do.
    pub(super) is_place_asked_for: bool,
    pub(super) lines: mpsc::Sender<Vec<u8>>,
    pub(super) stop: watch::Receiver<bool>,
}

/// Why a connection could not be had, or is no more.
enum Break {
    /// It may pass; how long the server asks to wait.
    Passing(String, Option<Duration>),
    /// Another attempt would end in the same way.
    Final(String),
    /// A file that the command line names is wrong.
    Usage(String),
    /// What was missed is not for this client, but what comes is.
    NoHistory,
    /// Nobody wants more of it.
    Left,
}

impl Follower<'_> {
    /// Follows the topic until that ends for good.
    pub(super) async fn follow(mut self) -> End {
        let mut stop = self.stop.clone();
        loop {
            let connected = tokio::select! {
                connected = self.connect() => connected,
                _ = stop.wait_for(|stop| *stop) => return End::Done,
            };
            let broken = match connected {
                Ok(socket) => self.listen(socket, &mut stop).await,
                Err(broken) => broken,
            };
            let (sentence, asked) = match broken {
                Break::Left => return End::Done,
                Break::Final(sentence) => return End::Refused(self.told(&sentence)),
                Break::Usage(sentence) => return End::Usage(sentence),
                Break::NoHistory => {
                    self.since = None;
                    self.say("what comes until it is heard again is missing: its history may not be read");
                    continue;
                }
                Break::Passing(sentence, asked) => (sentence, asked),
            };
            let Some(wait) = self.retry.failed(Instant::now(), asked) else {
                return End::Unreachable(self.told(&sentence));
            };
            let seconds = wait.as_secs_f64();
            self.say(&format!("{sentence}; trying again in {seconds:.1} s"));
            tokio::select! {
                () = sleep(wait) => {}
                _ = stop.wait_for(|stop| *stop) => return End::Done,
            }
        }
    }

    async fn connect(&self) -> Result<Socket, Break> {
        let connected = self.ways.reach.connect(&self.server).await;
        let passing = |error: &dyn std::fmt::Display| Break::Passing(error.to_string(), None);
        let stream = connected.map_err(|error| passing(&error))?;
        let mut request = self
            .target()
            .into_client_request()
            .map_err(|error| Break::Final(format!("the request cannot be made: {error}")))?;
        if let Some(secret) = &self.ways.token {
            let token = secret.read().map_err(Break::Usage)?;
            let value = format!("Bearer {token}").parse();
            let value = value.expect("a secret is one word of ASCII");
            request.headers_mut().insert("Authorization", value);
        }
        // As long as the server lets messages be.
        let settings = WebSocketConfig::default()
            .max_message_size(None)
            .max_frame_size(None);
        let shaken = client_async_with_config(request, Counted::new(stream), Some(settings));
        match timeout(HANDSHAKE_TIME, shaken).await {
            Ok(Ok((socket, _))) => Ok(socket),
            Ok(Err(SocketError::Http(response))) => Err(self.refused(&response)),
            Ok(Err(error)) => Err(passing(&error)),
            Err(_) => Err(Break::Passing("the handshake takes too long".into(), None)),
        }
    }

    /// A topic's name stands in the query, which no proxy changes.
    fn target(&self) -> String {
        let topic = utf8_percent_encode(&self.topic, NON_ALPHANUMERIC);
        let mut target = format!(
            "ws://{}/?topic={topic}&hello=true&offsets=true",
            self.server.authority()
        );
        if let Some(Since { offset, epoch }) = &self.since {
            target += &format!("&since={offset}");
            if let Some(epoch) = epoch {
                target += &format!("&epoch={epoch}");
            }
        }
        target
    }

    fn refused(&self, response: &Response) -> Break {
        let status = response.status();
        let body = response.body().as_deref().unwrap_or_default();
        let text = String::from_utf8_lossy(body).trim().to_owned();
        let sentence = match text.is_empty() {
            true => status.to_string(),
            false => format!("{text} ({})", status.as_u16()),
        };
        let asked = response.headers().get("retry-after");
        let asked = asked.and_then(|value| value.to_str().ok()?.parse().ok());
        let is_for_history = self.since.is_some() && !self.is_place_asked_for;
        match status.as_u16() {
            408 | 429 | 500.. => Break::Passing(sentence, asked.map(Duration::from_secs)),
            // Of who bears a token it is the token itself that is refused.
            401 if is_for_history && self.ways.token.is_none() => Break::NoHistory,
            403 if is_for_history => Break::NoHistory,
            _ => Break::Final(sentence),
        }
    }

    async fn listen(&mut self, mut socket: Socket, stop: &mut watch::Receiver<bool>) -> Break {
        let mut epoch = String::new();
        loop {
            let next = tokio::select! {
                next = next_frame(&mut socket, PING_AFTER) => next,
                _ = stop.wait_for(|stop| *stop) => {
                    // Whether it is heard changes nothing.
                    let _ = timeout(GOODBYE_TIME, socket.close(None)).await;
                    return Break::Left;
                }
            };
            let text = match next {
                Ok(Frame::Text(text)) => text,
                Ok(Frame::Close(frame)) => return closed(frame.as_ref()),
                Ok(Frame::Binary(_)) => return foreign(),
                Ok(_) => continue,
                Err(sentence) => return Break::Passing(sentence, None),
            };
            match read(&text) {
                Some(Heard::Hello(hello)) => {
                    self.note_hello(&hello);
                    self.retry.succeeded();
                    epoch = hello.epoch;
                }
                Some(_) if epoch.is_empty() => return foreign(),
                Some(Heard::Gap(gap)) => {
                    self.tell_gap(&gap);
                    self.go_on(&epoch, gap.to + 1);
                }
                Some(Heard::Message(message)) => {
                    let line = match self.ways.json {
                        true => message.json_line(&self.topic, &epoch),
                        false => message.plain_line(),
                    };
                    let next = message.offset + 1;
                    tokio::select! {
                        sent = self.lines.send(line) => if sent.is_err() {
                            return Break::Left;
                        },
                        _ = stop.wait_for(|stop| *stop) => return Break::Left,
                    }
                    self.go_on(&epoch, next);
                }
                None => return foreign(),
            }
        }
    }

    fn go_on(&mut self, epoch: &str, offset: u64) {
        self.is_place_asked_for = false;
        match &mut self.since {
            Some(Since {
                offset: known,
                epoch: Some(of),
            }) if of == epoch => *known = offset,
            since => {
                *since = Some(Since {
                    offset,
                    epoch: Some(epoch.to_owned()),
                });
            }
        }
    }

    /// Notes where the subscription begins, and tells what is missing before it.
    fn note_hello(&mut self, hello: &Hello) {
        match (&self.since, hello.resume.as_deref()) {
            (Some(Since { offset, .. }), Some("expired")) => self.tell_gap(&Gap {
                from: *offset,
                to: hello.next.saturating_sub(1),
                missed: None,
            }),
            (Some(_), Some("unknown")) => {
                let Hello { epoch, next, .. } = hello;
                self.note(&format!(
                    "what was to come next is unknown here: this history is {epoch}, from {next} on"
                ));
            }
            _ => {}
        }
        self.go_on(&hello.epoch, hello.next);
    }

    fn tell_gap(&self, Gap { from, to, missed }: &Gap) {
        let missed = missed.map_or(String::new(), |missed| format!(" ({missed} messages)"));
        self.note(&format!(
            "gap: what had the offsets from {from} to {to} is missing{missed}"
        ));
    }

    /// What matters to all.
    fn note(&self, sentence: &str) {
        // Whether it can be told decides nothing.
        let _ = writeln!(std::io::stderr(), "fanfare: {}", self.told(sentence));
    }

    /// What matters to those who want to know.
    fn say(&self, sentence: &str) {
        if !self.ways.quiet {
            self.note(sentence);
        }
    }

    fn told(&self, sentence: &str) -> String {
        format!("{} at {}: {sentence}", self.topic, self.server)
    }
}

fn passing(sentence: &str) -> Break {
    Break::Passing(sentence.into(), None)
}

fn foreign() -> Break {
    Break::Final("this is no Fanfare, or one of another age: its words are not understood".into())
}

/// What a close frame means for who is subscribed.
fn closed(frame: Option<&CloseFrame>) -> Break {
    let Some(frame) = frame else {
        return passing("the server has closed the connection");
    };
    let (code, reason) = (u16::from(frame.code), frame.reason.as_str());
    let sentence = match reason.is_empty() {
        true => format!("the server has closed the connection ({code})"),
        false => format!("{reason} ({code})"),
    };
    match code {
        // Whoever has been sent away is not to come back; others learn from the answer to
        // their next request whether they may.
        1008 if reason == "force disconnect" => Break::Final(sentence),
        1002 | 1003 | 1007 | 1009 | 1010 => Break::Final(sentence),
        _ => Break::Passing(sentence, retry_in(reason)),
    }
}

/// When a server that stops would be asked again: "…, retry in 1200 ms".
fn retry_in(reason: &str) -> Option<Duration> {
    let (_, rest) = reason.split_once("retry in ")?;
    let ms = rest.strip_suffix(" ms")?.parse().ok()?;
    Some(Duration::from_millis(ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(code: u16, reason: &'static str) -> Break {
        closed(Some(&CloseFrame {
            code: code.into(),
            reason: reason.into(),
        }))
    }

    #[test]
    fn who_is_sent_away_stays_away_and_others_come_back() {
        for (code, reason) in [(1008, "force disconnect"), (1002, "bad"), (1009, "too big")] {
            assert!(matches!(close(code, reason), Break::Final(_)), "{reason}");
        }
        for (code, reason) in [
            (1000, ""),
            (1008, "idle: nothing heard for too long"),
            (1008, "token expired: come back with another one"),
            (1013, "lag: too far behind the topic"),
        ] {
            assert!(
                matches!(close(code, reason), Break::Passing(_, None)),
                "{reason}"
            );
        }
        assert!(matches!(closed(None), Break::Passing(_, None)));
    }

    #[test]
    fn a_server_that_stops_says_when_to_come_back() {
        let Break::Passing(_, Some(wait)) = close(1001, "the server is stopping, retry in 1200 ms")
        else {
            panic!("it may pass");
        };
        assert_eq!(wait, Duration::from_millis(1200));
    }
}
