//! Clients that publish over HTTP, as fast as they are answered: single messages that do not
//! wait for each other's answers, or batches of lines.
//!
//! It needs no fleet: each client has two threads of its own, of which one writes and the other
//! reads and checks every answer.

mod wire;

use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use self::wire::{Place, Way, Wire};
use crate::Error;
use crate::args::PostArgs;
use crate::server::Watched;

/// Single requests that are written in one go.
const WRITE_REQUESTS: u64 = 64;

/// How long the next answer is awaited that is still due.
const DRAIN: Duration = Duration::from_secs(5);
/// What Fanfare allows for `within_ms`.
const STORED_MS_MAX: u64 = 30_000;

/// Carries the scenario out. True if every message was taken.
pub fn run(args: &PostArgs) -> Result<bool, Error> {
    let failed = |action: &'static str| {
        move |error: std::io::Error| Error::File {
            action,
            path: args.url.clone(),
            reason: error.to_string(),
        }
    };
    let place = Place::new(args).map_err(Error::Arguments)?;
    let watched = args.pid.and_then(Watched::new);
    let piece = Piece::new(args);
    let before = watched.as_ref().map(Watched::usage);
    let began = Instant::now();
    let done: Vec<Done> = thread::scope(|scope| {
        let clients = 0..args.clients;
        let clients = clients.map(|_| scope.spawn(|| client(&place.way(), &piece, args, began)));
        let clients: Vec<_> = clients.collect();
        let ended = clients.into_iter().map(|client| client.join());
        ended
            .map(|done| done.expect("a client does not panic"))
            .collect()
    });
    let (mut sent, mut answered) = (0, 0);
    for one in done {
        one.outcome.map_err(failed("talk to"))?;
        sent += one.sent;
        answered += one.answered;
    }
    if args.until_stored {
        all_stored(&place.way(), args).map_err(failed("have all stored by"))?;
    }
    let took = began.elapsed();
    let messages = answered * piece.messages_of_each;
    let rate = messages as f64 / took.as_secs_f64();
    println!(
        "{messages} messages in {:.2} s: {rate:.0} a second",
        took.as_secs_f64()
    );
    if let (Some(watched), Some(before)) = (&watched, before) {
        let cpu_ns = watched.usage().cpu_ns_since(&before);
        let us = cpu_ns as f64 / messages.max(1) as f64 / 1e3;
        println!("server's processor time: {us:.2} µs a message");
    }
    if answered < sent {
        println!(
            "FAILED: {} of {sent} requests were not answered",
            sent - answered
        );
    }
    Ok(answered == sent && answered > 0)
}

/// What has become of the requests of a client, or of a connection of its.
struct Done {
    sent: u64,
    answered: u64,
    outcome: std::io::Result<()>,
    /// The server has said with an answer that it would read no more requests: those behind
    /// are to be sent again.
    is_to_connect_again: bool,
}

/// Asks until the time is over, over as many connections as the server wants for it.
fn client(way: &Way<'_>, piece: &Piece, args: &PostArgs, began: Instant) -> Done {
    let (mut sent, mut answered) = (0, 0);
    loop {
        let done = match way.connect() {
            Ok(wire) => ask(&wire, piece, args, began),
            Err(error) => Done {
                sent: 0,
                answered: 0,
                outcome: Err(error),
                is_to_connect_again: false,
            },
        };
        (sent, answered) = (sent + done.sent, answered + done.answered);
        if !done.is_to_connect_again || began.elapsed() >= args.duration {
            return Done {
                sent,
                answered,
                ..done
            };
        }
    }
}

/// Asks over one connection, and awaits the answers.
fn ask(wire: &Wire, piece: &Piece, args: &PostArgs, began: Instant) -> Done {
    let (tell, told) = mpsc::channel();
    let (mut sent, mut answered) = (0, 0);
    let (outcome, is_to_connect_again) = thread::scope(|scope| {
        let reader = BufReader::with_capacity(1 << 16, wire.answers());
        let reading = scope.spawn(move || read_answers(reader, piece, &tell));
        let written = loop {
            let left = args.duration.saturating_sub(began.elapsed());
            if left.is_zero() {
                break Ok(());
            }
            answered += told.try_iter().sum::<u64>();
            if sent - answered >= args.window {
                match told.recv_timeout(left) {
                    Ok(more) => answered += more,
                    Err(RecvTimeoutError::Timeout) => {}
                    // The reader has ended, and says why.
                    Err(RecvTimeoutError::Disconnected) => break Ok(()),
                }
                continue;
            }
            let written = wire.write_all(&piece.bytes);
            sent += piece.requests;
            match written {
                Ok(()) => {}
                // The server reads no further: what it has not read is not answered.
                Err(error) if error.kind() == ErrorKind::WouldBlock => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        // What has been asked is still answered.
        let patience = DRAIN + Duration::from_millis(u64::from(args.stored) * STORED_MS_MAX);
        while answered < sent
            && let Ok(more) = told.recv_timeout(patience)
        {
            answered += more;
        }
        // A server that has ended the connection before has left nothing to shut down; what it
        // said last is with the reader.
        let ended = match wire.shutdown() {
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(()),
            ended => ended,
        };
        let read = reading.join().expect("the reader does not panic");
        answered += told.try_iter().sum::<u64>();
        match read {
            Ok(true) => {
                // Nothing became of the requests behind the last answer.
                sent = answered;
                (Ok(()), true)
            }
            // An answer says more than that the connection did not take the next request.
            read => (read.and(written).and(ended), false),
        }
    });
    Done {
        sent,
        answered,
        outcome,
        is_to_connect_again,
    }
}

/// Publishes one message more, and waits until it is stored: so is then all that came before it.
fn all_stored(way: &Way<'_>, args: &PostArgs) -> std::io::Result<()> {
    let one = PostArgs {
        lines: None,
        stored: true,
        ..args.clone()
    };
    let piece = Piece::new(&one);
    let wire = way.connect()?;
    wire.write_all(&piece.one)?;
    let (tell, told) = mpsc::channel();
    let reader = BufReader::new(wire.answers());
    thread::scope(|scope| {
        let reading = scope.spawn(move || read_answers(reader, &piece, &tell));
        let answer = told.recv_timeout(DRAIN + Duration::from_millis(STORED_MS_MAX));
        // The reader is not to wait for another one.
        let _ = wire.shutdown();
        let read = reading.join().expect("the reader does not panic");
        match answer {
            Ok(_) => Ok(()),
            Err(_) => read.and(Err(ErrorKind::TimedOut.into())),
        }
    })
}

/// What is written in one go.
struct Piece {
    one: Vec<u8>,
    bytes: Vec<u8>,
    requests: u64,
    messages_of_each: u64,
    stored: bool,
}

impl Piece {
    fn new(args: &PostArgs) -> Piece {
        let text = "x".repeat(args.size as usize);
        let topic = &args.topic;
        let headers: String = args
            .header
            .iter()
            .map(|line| format!("{line}\r\n"))
            .collect();
        let ack = match args.stored {
            true => format!("?ack=stored&within_ms={STORED_MS_MAX}"),
            false => String::new(),
        };
        let request = |path: &str, kind: &str, body: &str| {
            let len = body.len();
            format!(
                "POST {path}{ack} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Type: {kind}\r\n\
                 Content-Length: {len}\r\n\r\n{body}"
            )
        };
        let one = match args.lines {
            None => request(&format!("/topics/{topic}/messages"), "text/plain", &text),
            Some(lines) => {
                let line = format!("{{\"topic\":\"{topic}\",\"text\":\"{text}\"}}\n");
                request(
                    "/messages",
                    "application/x-ndjson",
                    &line.repeat(lines as usize),
                )
            }
        };
        let requests = match args.lines {
            None => WRITE_REQUESTS.min(args.window),
            Some(_) => 1,
        };
        Piece {
            bytes: one.repeat(requests as usize).into(),
            one: one.into(),
            requests,
            messages_of_each: args.lines.unwrap_or(1),
            stored: args.stored,
        }
    }

    /// Whether an answer says of all of the request's messages that they were taken, and are
    /// stored if that was asked.
    fn is_answered_by(&self, body: &[u8]) -> bool {
        let lines = body
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty());
        let taken = lines.filter(|line| {
            !line.starts_with(b"{\"error\"") && (!self.stored || says(line, b"\"stored\":true"))
        });
        taken.count() as u64 == self.messages_of_each
    }
}

fn says(line: &[u8], words: &[u8]) -> bool {
    line.windows(words.len()).any(|there| there == words)
}

/// Reads answers to the end, and sees that each says that all messages were taken.
/// Tells how many there were each time before it waits for more. True if the last one says that
/// the server reads no more requests.
fn read_answers(
    mut reader: BufReader<impl Read>,
    piece: &Piece,
    tell: &Sender<u64>,
) -> std::io::Result<bool> {
    let (mut line, mut body) = (Vec::new(), Vec::new());
    let mut answered = 0;
    loop {
        let (mut length, mut is_last) = (0, false);
        let mut first = true;
        loop {
            line.clear();
            if reader.read_until(b'\n', &mut line)? == 0 {
                return match first {
                    // It is told by what is missing.
                    true => Ok(false),
                    false => Err(ErrorKind::UnexpectedEof.into()),
                };
            }
            if first && !line.starts_with(b"HTTP/1.1 200 ") {
                return Err(refused(&line));
            }
            first = false;
            if line == b"\r\n" {
                break;
            }
            is_last |= line.eq_ignore_ascii_case(b"connection: close\r\n");
            if line.len() > 16 && line[..16].eq_ignore_ascii_case(b"content-length: ") {
                let number = std::str::from_utf8(&line[16..]).unwrap_or_default().trim();
                length = number.parse().map_err(|_| refused(&line))?;
            }
        }
        body.resize(length, 0);
        reader.read_exact(&mut body)?;
        if !piece.is_answered_by(&body) {
            return Err(refused(&body));
        }
        answered += 1;
        if is_last || reader.buffer().is_empty() {
            // Nobody listens any more once the time is over.
            let _ = tell.send(std::mem::take(&mut answered));
        }
        if is_last {
            return Ok(true);
        }
    }
}

fn refused(answer: &[u8]) -> std::io::Error {
    let shown = String::from_utf8_lossy(&answer[..answer.len().min(200)]).into_owned();
    std::io::Error::other(format!("a message was not taken: {}", shown.trim_end()))
}

#[cfg(test)]
mod tests;
