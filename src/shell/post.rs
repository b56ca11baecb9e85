//! Posts lines to the server API, a batch at a time, until each is published or refused: in
//! order, none lost and none twice.
//!
//! That is why it is the server API rather than a WebSocket, which tells nothing of what it has
//! taken: each batch has a name of its own (`Idempotency-Key`), by which the server knows it again
//! when no answer came and it is sent once more; and of a batch for which there is no room
//! half-way, the server publishes nothing that lies behind (`in_order`).

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::{Request, StatusCode};
use serde::Deserialize;
use tokio::time::sleep;

use super::batch::Numbered;
use super::end::End;
use crate::client::{Answer, Http, Retry, Secret};

/// Lines and bytes of a batch, below what servers take unless they are told otherwise.
pub(super) const LINES_MAX: usize = 1000;
const BYTES_MAX: usize = 1 << 20;

/// Publishes on one connection.
pub(super) struct Poster {
    http: Http,
    token: Option<Secret>,
    key: Option<Secret>,
    retry: Retry,
    quiet: bool,
    /// Begins the names of its batches.
    name: String,
    batches: u64,
    /// Lines that a batch may have, by what the server has said.
    lines_max: usize,
    /// Lines that are written and not answered yet.
    waiting: VecDeque<Numbered>,
    /// What the shell is to hear of lines that were refused.
    pub(super) refused: u64,
    /// Lines of which it is not known whether they are published.
    pub(super) unknown: u64,
    pub(super) published: u64,
}

/// What the server says of a line.
#[derive(Deserialize)]
struct Told {
    error: Option<String>,
    status: Option<u16>,
}

impl Poster {
    pub(super) fn new(
        http: Http,
        (token, key): (Option<Secret>, Option<Secret>),
        retry: Retry,
        quiet: bool,
    ) -> Self {
        let mut name = String::with_capacity(32);
        write!(name, "{:032x}", fastrand::u128(..)).expect("a string takes all");
        Poster {
            http,
            token,
            key,
            retry,
            quiet,
            name,
            batches: 0,
            lines_max: LINES_MAX,
            waiting: VecDeque::new(),
            refused: 0,
            unknown: 0,
            published: 0,
        }
    }

    /// Puts a line of a batch behind the others.
    pub(super) fn push(&mut self, line: Numbered) {
        self.waiting.push_back(line);
    }

    /// Says that a line is not published.
    pub(super) fn refuse(&mut self, number: u64, sentence: &str) {
        self.refused += 1;
        tell(&format!("line {number} is not published: {sentence}"));
    }

    /// Says that a line may be published, or not.
    fn leave_unknown(&mut self, number: u64, sentence: &str) {
        self.unknown += 1;
        tell(&format!(
            "it is not known whether line {number} is published: {sentence}"
        ));
    }

    /// Publishes all that waits.
    ///
    /// # Errors
    /// Why nothing more can be published.
    pub(super) async fn post(&mut self) -> Result<(), End> {
        while !self.waiting.is_empty() {
            let (count, body) = self.batch();
            self.batches += 1;
            let name = format!("{}-{}", self.name, self.batches);
            let answer = self.ask(&name, &body).await?;
            match answer.status {
                StatusCode::OK => self.go_through(count, &answer).await?,
                // One line alone is too long; of several it may be all together.
                StatusCode::PAYLOAD_TOO_LARGE if count > 1 => self.lines_max = count / 2,
                StatusCode::PAYLOAD_TOO_LARGE => {
                    let line = self.waiting.pop_front().expect("it was in the batch");
                    self.refuse(line.number, &answer.sentence());
                }
                _ => return Err(End::Refused(self.told(&answer.sentence()))),
            }
        }
        Ok(())
    }

    /// As many of the first lines as go into one batch, at least one.
    fn batch(&self) -> (usize, Bytes) {
        let mut body = Vec::new();
        let mut count = 0;
        for line in self.waiting.iter().take(self.lines_max) {
            if count > 0 && body.len() + line.bytes.len() > BYTES_MAX {
                break;
            }
            body.extend_from_slice(&line.bytes);
            count += 1;
        }
        (count, body.into())
    }

    /// Asks until there is an answer that decides something.
    async fn ask(&mut self, name: &str, body: &Bytes) -> Result<Answer, End> {
        loop {
            let mut request = Request::post("/messages?in_order=true")
                .header(CONTENT_TYPE, "application/x-ndjson")
                .header("Idempotency-Key", name);
            // Read anew each time: files are replaced before what is in them expires.
            if let Some(secret) = &self.key {
                request = request.header("X-API-Key", secret.read().map_err(End::Usage)?);
            } else if let Some(secret) = &self.token {
                let token = secret.read().map_err(End::Usage)?;
                request = request.header(AUTHORIZATION, format!("Bearer {token}"));
            }
            let request = request.body(Full::new(body.clone()));
            let request = request.expect("its parts are ASCII");
            let (sentence, asked) = match self.http.ask(request).await {
                Ok(answer) if is_passing(answer.status) => (answer.sentence(), answer.retry_after),
                Ok(answer) => {
                    self.retry.reached();
                    return Ok(answer);
                }
                Err(error) => {
                    if error.is_half_answered() {
                        self.retry.reached();
                    }
                    (error.to_string(), None)
                }
            };
            self.wait(&sentence, asked).await?;
        }
    }

    /// Takes the answers to the first `count` lines. Those for which there was no room wait on.
    async fn go_through(&mut self, count: usize, answer: &Answer) -> Result<(), End> {
        let told: Result<Vec<Told>, _> = answer
            .body
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(serde_json::from_slice)
            .collect();
        let told = told.ok().filter(|told| told.len() == count);
        let Some(told) = told else {
            let sentence = "the answer is not understood: is this the server API of a Fanfare?";
            return Err(End::Refused(self.told(sentence)));
        };
        let mut full = None;
        let mut again = VecDeque::new();
        for Told { error, status } in told {
            let line = self.waiting.pop_front().expect("it was in the batch");
            match (error, status) {
                (None, _) => self.published += 1,
                (Some(sentence), Some(503)) => {
                    full.get_or_insert(sentence);
                    again.push_back(line);
                }
                // Another batch has another name, by which the server would not know it again.
                (Some(sentence), Some(504)) => self.leave_unknown(line.number, &sentence),
                (Some(sentence), _) => self.refuse(line.number, &sentence),
            }
        }
        if again.len() < count {
            self.retry.succeeded();
        }
        again.append(&mut self.waiting);
        self.waiting = again;
        match full {
            Some(sentence) => self.wait(&sentence, None).await,
            None => Ok(()),
        }
    }

    async fn wait(&mut self, sentence: &str, asked: Option<Duration>) -> Result<(), End> {
        let Some(wait) = self.retry.failed(Instant::now(), asked) else {
            return Err(End::Unreachable(self.told(sentence)));
        };
        if !self.quiet {
            let seconds = wait.as_secs_f64();
            tell(&format!(
                "{}; trying again in {seconds:.1} s",
                self.told(sentence)
            ));
        }
        sleep(wait).await;
        Ok(())
    }

    fn told(&self, sentence: &str) -> String {
        format!("{}: {sentence}", self.http.server())
    }
}

/// Another attempt may go better.
fn is_passing(status: StatusCode) -> bool {
    let passing = [
        StatusCode::REQUEST_TIMEOUT,
        // The batch is still being carried out.
        StatusCode::CONFLICT,
        StatusCode::TOO_MANY_REQUESTS,
    ];
    status.is_server_error() || passing.contains(&status)
}

fn tell(sentence: &str) {
    use std::io::Write;
    // Whether it can be told decides nothing.
    let _ = writeln!(std::io::stderr(), "fanfare: {sentence}");
}
