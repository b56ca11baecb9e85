//! `fanfare publish`: standard input line by line, or one message.

use std::io;
use std::sync::Arc;
use std::thread;

use tokio::signal::unix::{SignalKind, signal};

use super::batch::{Input, Lines, Numbered};
use super::end::End;
use super::line::{of_json, of_plain};
use super::post::{LINES_MAX, Poster};
use crate::client::{Http, Patience, Reach, Retry, Secret, Server, Tls};

/// What is to be published.
#[derive(Debug)]
pub struct Publish {
    pub server: Server,
    pub topic: String,
    /// Else each line of standard input is one.
    pub message: Option<String>,
    /// Lines are JSON, and say what they are.
    pub json: bool,
    pub quiet: bool,
    pub token: Option<Secret>,
    /// The key of the server API.
    pub key: Option<Secret>,
    pub tls: Tls,
    pub patience: Patience,
}

/// Publishes in order. Once it returns [`End::Done`], the server has taken all of it.
pub fn publish(wish: Publish) -> End {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => {
            let end = runtime.block_on(run(wish));
            // A thread may still wait for an address to be found, or for standard input.
            runtime.shutdown_background();
            end
        }
        Err(error) => End::Broken(format!("cannot start: {error}")),
    }
}

async fn run(wish: Publish) -> End {
    let reach = match Reach::new(&wish.tls, wish.server.is_over_tls()) {
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
    let retry = Retry::new(wish.patience);
    let http = Http::new(reach, wish.server);
    let mut poster = Poster::new(http, (wish.token, wish.key), retry, wish.quiet);
    let lines = Arc::new(Lines::default());
    let read = {
        let lines = lines.clone();
        let message = wish.message;
        move || match message {
            // It may have line breaks.
            Some(message) => lines.read_one(message.into_bytes()),
            None => lines.read(io::stdin().lock()),
        }
    };
    if let Err(error) = thread::Builder::new().name("input".into()).spawn(read) {
        return End::Broken(format!("cannot start a thread: {error}"));
    }
    let posted = tokio::select! {
        posted = post(&mut poster, &lines, &wish.topic, wish.json) => posted,
        _ = interrupt.recv() => Err(interrupted()),
        _ = terminate.recv() => Err(interrupted()),
    };
    lines.leave();
    match posted {
        Err(end) => end,
        Ok(()) if poster.refused + poster.unknown > 0 => {
            let (refused, published) = (poster.refused, poster.published);
            let mut sentence = format!("{refused} lines were refused, {published} are published");
            if poster.unknown > 0 {
                sentence += &format!(", of {} it is not known", poster.unknown);
            }
            End::Refused(sentence)
        }
        Ok(()) => End::Done,
    }
}

/// Not all has been published, so this is no good end.
fn interrupted() -> End {
    End::Broken("a signal has come before all was published".into())
}

async fn post(poster: &mut Poster, lines: &Lines, topic: &str, json: bool) -> Result<(), End> {
    loop {
        let inputs = lines.take(LINES_MAX).await;
        if inputs.is_empty() {
            return Ok(());
        }
        let mut failed = None;
        for input in inputs {
            match input {
                Input::Line(Numbered { number, bytes }) => {
                    let line = match json {
                        true => of_json(topic, &bytes),
                        false => Ok(of_plain(topic, &bytes)),
                    };
                    match line {
                        Ok(bytes) => poster.push(Numbered { number, bytes }),
                        Err(sentence) => poster.refuse(number, &sentence),
                    }
                }
                Input::TooLong(number) => poster.refuse(number, "the line is too long"),
                Input::Failed(error) => failed = Some(error),
            }
        }
        poster.post().await?;
        if let Some(error) = failed {
            return Err(End::Broken(format!("cannot read standard input: {error}")));
        }
    }
}
