//! The side that hands over.

use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Child, Command as Process};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::channel::{Channel, Message};
use super::rest::{carry_on, come_to_rest, memory_file, plain_sockets, write_down};
use super::secrets::Secrets;
use super::sockets::Public;
use super::state::VERSION;
use crate::core::{Remote, SavedCore};
use crate::hub::Hub;
use crate::ring::passing::FILES_MAX;

/// The environment variable that tells a successor where its channel is.
pub(super) const VARIABLE: &str = "FANFARE_HANDOVER";
/// Behind the number in [`VARIABLE`]: be nobody's child before anything else.
pub(super) const DETACH: &str = " detach";

/// How long a successor may take until it could serve.
const START_TIME: Duration = Duration::from_secs(15);
/// How long a successor may take to have everything.
const TAKE_TIME: Duration = Duration::from_secs(15);
/// How long the kernel may take to end a successor that has failed.
const END_TIME: Duration = Duration::from_secs(5);

/// What a daemon needs to hand over.
pub struct Predecessor {
    pub hub: Arc<Hub>,
    pub cores: Vec<Remote>,
    pub listeners: Public,
    /// The sockets beside the public ones.
    pub admin: Vec<OwnedFd>,
    /// The program and its arguments, as they were when this one started.
    pub program: Vec<std::ffi::OsString>,
}

/// Who may call a handover off.
pub struct Consent<'a> {
    /// Asked while this process waits for the successor.
    pub called_off: &'a dyn Fn() -> bool,
    /// Asked once between `done` and `go`, with the successor's process id. From a
    /// yes on everything is the successor's.
    pub let_go: &'a dyn Fn(Pid) -> Result<(), String>,
}

/// Starts a successor and hands everything to it. On success this process owns
/// nothing any more and is to end without a word to anybody.
///
/// # Errors
/// A sentence on what went wrong; then everything goes on here.
pub fn hand_over(from: &Predecessor, consent: &Consent<'_>) -> Result<Pid, String> {
    let (channel, theirs) = Channel::pair().map_err(|error| error.to_string())?;
    let child = start(from, theirs)?;
    let successor = meet(&channel, child, consent)?;
    let outcome = converse(from, &channel, successor, consent);
    if let Err(sentence) = outcome {
        // In this order. The end of the channel tells a successor that this process
        // is gone and all is its own; and while it lives, this one must not go on.
        // What it says itself is the better reason.
        let sentence = end(successor, &channel).unwrap_or(sentence);
        drop(channel);
        carry_on(&from.hub, &from.cores);
        return Err(sentence);
    }
    Ok(successor)
}

fn start(from: &Predecessor, theirs: OwnedFd) -> Result<Child, String> {
    let (program, arguments) = from.program.split_first().ok_or("the program is unknown")?;
    fcntl(&theirs, FcntlArg::F_SETFD(FdFlag::empty())).map_err(|error| error.to_string())?;
    Process::new(program)
        .args(arguments)
        .env(VARIABLE, format!("{}{DETACH}", theirs.as_raw_fd()))
        // They were for this process.
        .env_remove("LISTEN_FDS")
        .env_remove("LISTEN_PID")
        .env_remove("WATCHDOG_PID")
        .spawn()
        .map_err(|error| format!("cannot start {}: {error}", program.display()))
}

/// The process id of the successor, which `child` has started and left behind.
fn meet(channel: &Channel, mut child: Child, consent: &Consent<'_>) -> Result<Pid, String> {
    let answer = channel.receive_unless(START_TIME, consent.called_off);
    // It has done its part, or never will.
    let _ = child.kill();
    let status = child.wait().map_err(|error| error.to_string())?;
    match answer? {
        Some((Message::Here(pid), _)) => Ok(Pid::from_raw(pid)),
        Some((Message::Failed(sentence), _)) => Err(format!("the successor says: {sentence}")),
        Some((message, _)) => Err(format!("the successor said {message:?} at first")),
        None => Err(format!("the successor has ended, {status}")),
    }
}

/// Nothing is left for a successor to do that has failed. Returns when it has ended:
/// it is nobody's child here, but the channel ends with it, as it alone has the
/// other end. Returns why it failed, if it has said so.
fn end(successor: Pid, channel: &Channel) -> Option<String> {
    match kill(successor, Signal::SIGKILL) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(error) => tracing::error!(%successor, %error, "cannot end the successor"),
    }
    let deadline = Instant::now() + END_TIME;
    let mut said = None;
    // What it said before, and that it broke off, comes first.
    loop {
        match channel.receive(END_TIME) {
            Ok(None) => return said,
            Ok(Some((Message::Failed(sentence), _))) => {
                said = Some(format!("the successor says: {sentence}"));
            }
            Ok(Some(_)) | Err(_) => {}
        }
        if Instant::now() >= deadline {
            tracing::error!(%successor, "the successor does not end though it was killed");
            return said;
        }
    }
}

fn converse(
    from: &Predecessor,
    channel: &Channel,
    successor: Pid,
    consent: &Consent<'_>,
) -> Result<(), String> {
    let expect = |wanted, time| expect(channel, wanted, time, consent);
    send_listeners(from, channel)?;
    expect(&Message::Ready, START_TIME)?;
    let hub = &from.hub;
    let silent_since = Instant::now();
    let mut cores = come_to_rest(hub, &from.cores)?;
    let secrets = Secrets::of(hub, &mut cores);
    let (state, logs) = write_down(hub, &cores)?;
    for part in logs.chunks(FILES_MAX) {
        channel.send(&Message::Logs(part.len() as u32), part)?;
    }
    channel.send(&Message::State, &[memory_file(&state)?])?;
    send_sockets(&from.cores, channel, &cores)?;
    // Overwritten at the end of this at the latest, however it ends.
    let secrets = secrets.write()?;
    channel.send(&Message::Secrets, &[secrets.share()?])?;
    expect(&Message::Done, TAKE_TIME)?;
    (consent.let_go)(successor)?;
    channel.send(&Message::Go, &[])?;
    tracing::info!(
        connections = cores.iter().map(|core| core.conns.len()).sum::<usize>(),
        silent_ms = silent_since.elapsed().as_millis() as u64,
        %successor,
        "handed over"
    );
    Ok(())
}

fn send_listeners(from: &Predecessor, channel: &Channel) -> Result<(), String> {
    let Public { plain, tls } = &from.listeners;
    let hello = Message::Hello {
        version: VERSION,
        listeners: plain.files.len() as u32,
        activated: plain.activated,
    };
    let then = Message::Tls {
        listeners: tls.files.len() as u32,
        activated: tls.activated,
    };
    for (message, sockets) in [(hello, plain), (then, tls)] {
        channel.send(&message, &[])?;
        for part in sockets.files.chunks(FILES_MAX) {
            channel.send(&Message::Sockets(part.len() as u32), part)?;
        }
    }
    channel.send(&Message::Admin, &from.admin)
}

fn expect(
    channel: &Channel,
    wanted: &Message,
    time: Duration,
    consent: &Consent<'_>,
) -> Result<(), String> {
    match channel.receive_unless(time, consent.called_off)? {
        Some((message, _)) if message == *wanted => Ok(()),
        Some((Message::Failed(sentence), _)) => Err(format!("the successor says: {sentence}")),
        Some((message, _)) => Err(format!("the successor said {message:?}, not {wanted:?}")),
        None => Err("the successor has ended".to_owned()),
    }
}

fn send_sockets(cores: &[Remote], channel: &Channel, saved: &[SavedCore]) -> Result<(), String> {
    for (core, saved) in cores.iter().zip(saved) {
        for part in saved.conns.chunks(FILES_MAX) {
            let slots: Vec<u32> = part.iter().map(|(slot, _)| *slot).collect();
            let files = plain_sockets(core, &slots)?;
            channel.send(&Message::Sockets(files.len() as u32), &files)?;
        }
    }
    Ok(())
}
