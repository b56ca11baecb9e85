//! `fanfare subscribe`: all topics of one command, until it has enough.

use std::io;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{interval, timeout};

use super::end::End;
use super::follow::{Follower, Ways};
use super::output::{self, Written};
use super::since::Since;
use crate::client::{Patience, Reach, Retry, Secret, Server, Tls};

/// What is still to be written is given so long when a signal has come.
const LAST_LINES: Duration = Duration::from_secs(1);
/// How often it is looked whether anybody reads.
const LOOK: Duration = Duration::from_secs(1);

/// What is to be heard.
#[derive(Debug)]
pub struct Subscribe {
    pub topics: Vec<Wanted>,
    /// Where all of them begin; else with what comes.
    pub since: Option<Since>,
    /// It ends after so many messages.
    pub count: Option<u64>,
    /// Lines of JSON rather than what was published.
    pub json: bool,
    pub quiet: bool,
    pub token: Option<Secret>,
    pub tls: Tls,
    pub patience: Patience,
}

/// A topic, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub server: Server,
    pub topic: String,
}

/// Writes what is heard to standard output, a line for each message.
pub fn subscribe(wish: Subscribe) -> End {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => {
            let end = runtime.block_on(run(wish));
            // A thread may still wait for an address to be found.
            runtime.shutdown_background();
            end
        }
        Err(error) => End::Broken(format!("cannot start: {error}")),
    }
}

async fn run(wish: Subscribe) -> End {
    let is_over_tls = wish.topics.iter().any(|wanted| wanted.server.is_over_tls());
    let reach = match Reach::new(&wish.tls, is_over_tls) {
        Ok(reach) => reach,
        Err(error) => return End::Usage(error.to_string()),
    };
    let signals = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    );
    let (Ok(mut interrupt), Ok(mut terminate)) = signals else {
        return End::Broken("cannot wait for signals".into());
    };
    let (lines, mut written) = match output::start(io::stdout(), wish.count) {
        Ok(started) => started,
        Err(error) => return End::Broken(format!("cannot start a thread: {error}")),
    };
    let (stop, stopping) = watch::channel(false);
    let ways = Ways {
        reach,
        token: wish.token,
        json: wish.json,
        quiet: wish.quiet,
    };
    let mut followers: FuturesUnordered<_> = wish
        .topics
        .into_iter()
        .map(|Wanted { server, topic }| {
            let follower = Follower {
                ways: &ways,
                server,
                topic,
                retry: Retry::new(wish.patience),
                since: wish.since.clone(),
                is_place_asked_for: wish.since.is_some(),
                lines: lines.clone(),
                stop: stopping.clone(),
            };
            follower.follow()
        })
        .collect();
    drop(lines);
    let mut look = interval(LOOK);
    let end = loop {
        tokio::select! {
            written = &mut written => {
                stop.send_replace(true);
                while followers.next().await.is_some() {}
                return end_of(written.ok());
            }
            Some(end) = followers.next() => break end,
            _ = interrupt.recv() => break End::Done,
            _ = terminate.recv() => break End::Done,
            _ = look.tick() => if output::is_closed(io::stdout()) {
                break End::Done;
            },
        }
    };
    stop.send_replace(true);
    while followers.next().await.is_some() {}
    drop(followers);
    // What has been heard is written, if somebody reads it.
    match timeout(LAST_LINES, written).await {
        Ok(Ok(Written::Failed(error))) => end_of(Some(Written::Failed(error))),
        _ => end,
    }
}

fn end_of(written: Option<Written>) -> End {
    match written {
        Some(Written::All | Written::Closed) => End::Done,
        Some(Written::Failed(error)) => {
            End::Broken(format!("cannot write to standard output: {error}"))
        }
        None => End::Broken("the thread of standard output has failed".into()),
    }
}
