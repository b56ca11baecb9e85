//! Asks the daemon for what is wanted, again and again, on a thread of its own.

use std::io;
use std::os::fd::AsFd;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::AUTHORIZATION;
use hyper::{Request, StatusCode};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::model::Overview;
use super::state::Wanted;
use crate::client::{Http, Reach, Secret, Server, Tls};
use crate::shell::End;

/// Older figures are not shown without a word.
const ANSWER_TIME: Duration = Duration::from_secs(5);
/// How often it is looked whether somebody is still there.
const LOOK: Duration = Duration::from_millis(500);
/// How long who draws has to end of its own accord.
const PARTING: Duration = Duration::from_millis(500);

/// What is to be watched.
#[derive(Debug)]
pub struct Top {
    /// An admin listener.
    pub server: Server,
    pub token: Option<Secret>,
    pub tls: Tls,
    pub interval: Duration,
}

/// What has come of a question.
#[derive(Debug)]
pub(super) enum Update {
    Seen(Box<Overview>),
    Failed(End),
    /// A signal has come, or the terminal is gone.
    Quit,
}

/// Asks, for as long as somebody takes the answers.
pub(super) struct Asker {
    wanted: Arc<Mutex<Wanted>>,
    changed: Arc<Notify>,
}

impl Asker {
    /// # Errors
    /// What was asked for makes no sense, or there is no thread to be had.
    pub(super) fn start(top: Top, updates: Sender<Update>) -> Result<Asker, End> {
        let reach = Reach::new(&top.tls, top.server.is_over_tls());
        let reach = reach.map_err(|error| End::Usage(error.to_string()))?;
        let broken = |error| End::Broken(format!("cannot start: {error}"));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(broken)?;
        let asker = Asker {
            wanted: Arc::default(),
            changed: Arc::default(),
        };
        let asking = Asking {
            http: Http::new(reach, top.server),
            token: top.token,
            interval: top.interval,
            wanted: asker.wanted.clone(),
            changed: asker.changed.clone(),
        };
        let run = move || runtime.block_on(asking.run(&updates));
        thread::Builder::new()
            .name("asking".into())
            .spawn(run)
            .map_err(broken)?;
        Ok(asker)
    }

    /// Something else is wanted from now on, and at once.
    pub(super) fn want(&self, wanted: Wanted) {
        *lock(&self.wanted) = wanted;
        self.changed.notify_one();
    }
}

/// Waits until nobody is at the terminal any more.
async fn gone() {
    while !is_gone() {
        sleep(LOOK).await;
    }
}

fn is_gone() -> bool {
    let stdin = io::stdin();
    let mut fds = [PollFd::new(stdin.as_fd(), PollFlags::empty())];
    // It fails where a signal comes in between: it is looked again.
    poll(&mut fds, PollTimeout::ZERO).is_ok() && fds[0].any().unwrap_or(false)
}

fn lock(wanted: &Mutex<Wanted>) -> MutexGuard<'_, Wanted> {
    wanted.lock().expect("nothing panics inside the lock")
}

struct Asking {
    http: Http,
    token: Option<Secret>,
    interval: Duration,
    wanted: Arc<Mutex<Wanted>>,
    changed: Arc<Notify>,
}

impl Asking {
    async fn run(mut self, updates: &Sender<Update>) {
        let signals = (
            signal(SignalKind::terminate()),
            signal(SignalKind::hangup()),
        );
        let (Ok(mut terminate), Ok(mut hangup)) = signals else {
            let end = End::Broken("cannot wait for signals".into());
            let _ = updates.send(Update::Failed(end));
            return;
        };
        let mut gone = std::pin::pin!(gone());
        loop {
            let wanted = lock(&self.wanted).clone();
            let asked = async {
                let update = match self.ask(&wanted, ANSWER_TIME).await {
                    Ok(overview) => Update::Seen(overview),
                    Err(end) => Update::Failed(end),
                };
                let nobody_looks = updates.send(update).is_err();
                // Too long for a key's answer, or the time has come.
                let _ = timeout(self.interval, self.changed.notified()).await;
                nobody_looks
            };
            let is_over = tokio::select! {
                is_over = asked => is_over,
                () = &mut gone => true,
                _ = terminate.recv() => true,
                _ = hangup.recv() => true,
            };
            if is_over {
                // Who draws ends then, if it does not look at a terminal that is gone: crossterm
                // reads the end of one without end.
                let _ = updates.send(Update::Quit);
                sleep(PARTING).await;
                std::process::exit(0);
            }
        }
    }

    async fn ask(&mut self, wanted: &Wanted, within: Duration) -> Result<Box<Overview>, End> {
        let Wanted { by, filter, topics } = wanted;
        let filter = utf8_percent_encode(filter, NON_ALPHANUMERIC);
        let by = by.name();
        let target = format!("/overview?topics={topics}&connections=32&by={by}&filter={filter}");
        let mut request = Request::get(target);
        if let Some(secret) = &self.token {
            let token = secret.read().map_err(End::Usage)?;
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Full::new(Bytes::new()));
        let request = request.expect("its parts are ASCII");
        let place = self.http.server().to_string();
        let answer = timeout(within, self.http.ask(request)).await;
        let answer = answer.map_err(|_| {
            let seconds = within.as_secs();
            End::Unreachable(format!("{place}: it does not answer within {seconds} s"))
        })?;
        let answer = answer.map_err(|error| End::Unreachable(format!("{place}: {error}")))?;
        if answer.status != StatusCode::OK {
            return Err(End::Refused(format!("{place}: {}", answer.sentence())));
        }
        let overview = serde_json::from_slice(&answer.body);
        overview.map_err(|error| {
            let sentence = "its overview is not understood, it is of another version";
            End::Refused(format!("{place}: {sentence}: {error}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_daemon_that_hangs_does_not_answer() {
        // The kernel takes the connection, and nobody else does.
        let hung = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", hung.local_addr().unwrap());
        let mut asking = Asking {
            http: Http::new(
                Reach::new(&Tls::default(), false).unwrap(),
                Server::parse(&url).unwrap(),
            ),
            token: None,
            interval: Duration::from_secs(1),
            wanted: Arc::default(),
            changed: Arc::default(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let wanted = Wanted::default();
        let asked = asking.ask(&wanted, Duration::from_millis(20));
        let end = runtime.block_on(asked).unwrap_err();
        assert!(end.sentence().unwrap().contains("does not answer"));
    }
}
