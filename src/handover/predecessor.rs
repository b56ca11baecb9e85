//! The side that hands over.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Child, Command as Process};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::channel::{Channel, Message};
use super::state::{State, VERSION};
use crate::core::{Command, SavedCore};
use crate::hub::Hub;
use crate::log::{SavedTopic, Segment, Topic, ViewKind};
use crate::ring::passing::FILES_MAX;

/// The environment variable that tells a successor where its channel is.
pub(super) const VARIABLE: &str = "FANFARE_HANDOVER";

/// How long a successor may take until it could serve.
const START_TIME: Duration = Duration::from_secs(15);
/// How long handshakes that are under way may take to end.
const HANDSHAKES_TIME: Duration = Duration::from_millis(250);
/// How long connections may take to come to rest.
const FREEZE_TIME: Duration = Duration::from_secs(2);
/// How long a successor may take to have everything.
const TAKE_TIME: Duration = Duration::from_secs(15);

/// What a daemon needs to hand over.
pub struct Predecessor {
    pub hub: Arc<Hub>,
    pub addresses: Vec<SocketAddr>,
    pub listeners: Vec<OwnedFd>,
    /// The admin listener's socket, if there is one.
    pub admin: Option<OwnedFd>,
    /// The program and its arguments, as they were when this one started.
    pub program: Vec<std::ffi::OsString>,
    /// Called between `done` and `go`, with the successor's process id.
    pub before_go: Box<dyn Fn(u32) + Send + Sync>,
}

/// Starts a successor and hands everything to it. On success this process owns
/// nothing any more and is to end without a word to anybody.
///
/// # Errors
/// A sentence on what went wrong; then everything goes on here.
pub fn hand_over(from: &Predecessor) -> Result<(), String> {
    let (channel, theirs) = Channel::pair().map_err(|error| error.to_string())?;
    let mut child = start(from, theirs)?;
    let outcome = converse(from, &channel, child.id());
    if let Err(sentence) = outcome {
        drop(channel);
        end(&mut child);
        from.hub.set_frozen(false);
        for mailbox in from.hub.mailboxes() {
            mailbox.command(Command::Thaw);
        }
        return Err(sentence);
    }
    Ok(())
}

fn start(from: &Predecessor, theirs: OwnedFd) -> Result<Child, String> {
    let (program, arguments) = from.program.split_first().ok_or("the program is unknown")?;
    fcntl(&theirs, FcntlArg::F_SETFD(FdFlag::empty())).map_err(|error| error.to_string())?;
    Process::new(program)
        .args(arguments)
        .env(VARIABLE, theirs.as_raw_fd().to_string())
        // They were for this process.
        .env_remove("LISTEN_FDS")
        .env_remove("LISTEN_PID")
        .env_remove("WATCHDOG_PID")
        .spawn()
        .map_err(|error| format!("cannot start {}: {error}", program.display()))
}

fn end(child: &mut Child) {
    // It may have ended by itself, which is just as well.
    let _ = child.kill();
    if let Ok(status) = child.wait() {
        tracing::info!(%status, "the successor has ended");
    }
}

fn converse(from: &Predecessor, channel: &Channel, successor: u32) -> Result<(), String> {
    send_listeners(from, channel)?;
    expect(channel, &Message::Ready, START_TIME)?;
    let hub = &from.hub;
    let began = Instant::now();
    for mailbox in hub.mailboxes() {
        mailbox.command(Command::StopAccepting);
    }
    while hub.admission().handshakes() > 0 && began.elapsed() < HANDSHAKES_TIME {
        std::thread::sleep(Duration::from_millis(2));
    }
    let silent_since = Instant::now();
    hub.set_frozen(true);
    let cores = freeze(hub)?;
    send_state(hub, channel, &cores)?;
    send_sockets(hub, channel, &cores)?;
    expect(channel, &Message::Done, TAKE_TIME)?;
    (from.before_go)(successor);
    channel.send(&Message::Go, &[])?;
    tracing::info!(
        connections = cores.iter().map(|core| core.conns.len()).sum::<usize>(),
        silent_ms = silent_since.elapsed().as_millis() as u64,
        successor,
        "handed over"
    );
    Ok(())
}

fn send_listeners(from: &Predecessor, channel: &Channel) -> Result<(), String> {
    let hello = Message::Hello {
        version: VERSION,
        addresses: from.addresses.clone(),
        listeners: from.listeners.len() as u32,
    };
    channel.send(&hello, &[])?;
    for part in from.listeners.chunks(FILES_MAX) {
        channel.send(&Message::Sockets(part.len() as u32), part)?;
    }
    channel.send(&Message::Admin, from.admin.as_slice())
}

fn expect(channel: &Channel, wanted: &Message, time: Duration) -> Result<(), String> {
    match channel.receive(time)? {
        Some((message, _)) if message == *wanted => Ok(()),
        Some((Message::Failed(sentence), _)) => Err(format!("the successor says: {sentence}")),
        Some((message, _)) => Err(format!("the successor said {message:?}, not {wanted:?}")),
        None => Err("the successor has ended".to_owned()),
    }
}

fn freeze(hub: &Hub) -> Result<Vec<SavedCore>, String> {
    let replies: Vec<_> = hub
        .mailboxes()
        .iter()
        .map(|mailbox| {
            let (reply, receiver) = mpsc::channel();
            mailbox.command(Command::Freeze(reply));
            receiver
        })
        .collect();
    let still = replies.iter().map(|reply| reply.recv_timeout(FREEZE_TIME));
    let still: Result<Vec<_>, _> = still.collect();
    still.map_err(|_| "a core did not come to rest".to_owned())
}

fn send_state(hub: &Hub, channel: &Channel, cores: &[SavedCore]) -> Result<(), String> {
    let state = State {
        topics: save_topics(hub, cores),
        conns: cores
            .iter()
            .flat_map(|core| core.conns.iter().map(|(_, conn)| conn.clone()))
            .collect(),
    };
    let flags = MFdFlags::MFD_CLOEXEC;
    let file = memfd_create(c"fanfare-state", flags).map_err(|error| error.to_string())?;
    let mut file = File::from(file);
    let written = file.write_all(&state.encode());
    written.map_err(|error| format!("cannot write the state down: {error}"))?;
    channel.send(&Message::State, &[file.into()])
}

/// What readers hold of a topic's views.
type Held = Vec<(ViewKind, Arc<Segment>)>;

fn save_topics(hub: &Hub, cores: &[SavedCore]) -> Vec<SavedTopic> {
    let mut held: HashMap<u64, (Arc<Topic>, Held)> = HashMap::new();
    for topic in hub.all_topics() {
        held.insert(topic.epoch(), (topic, Vec::new()));
    }
    for (topic, kind, segment) in cores.iter().flat_map(|core| &core.held) {
        let entry = held
            .entry(topic.epoch())
            .or_insert_with(|| (topic.clone(), Vec::new()));
        entry.1.push((*kind, segment.clone()));
    }
    let now_ms = hub.now_ms();
    let save = |(topic, held): &(Arc<Topic>, Held)| topic.save(now_ms, held);
    held.values().map(save).collect()
}

fn send_sockets(hub: &Hub, channel: &Channel, cores: &[SavedCore]) -> Result<(), String> {
    for (mailbox, saved) in hub.mailboxes().iter().zip(cores) {
        for part in saved.conns.chunks(FILES_MAX) {
            let slots: Vec<u32> = part.iter().map(|(slot, _)| *slot).collect();
            let (reply, receiver) = mpsc::channel();
            mailbox.command(Command::Install(slots.clone(), reply));
            let made = receiver.recv_timeout(FREEZE_TIME);
            let made = made.map_err(|_| "a core does not hand out its sockets")?;
            let mut by_slot: HashMap<u32, _> = made.into_iter().collect();
            let mut files = Vec::with_capacity(slots.len());
            for slot in &slots {
                let file = by_slot.remove(slot).ok_or("a socket is missing")?;
                files.push(file.map_err(|error| format!("cannot hand out a socket: {error}"))?);
            }
            channel.send(&Message::Sockets(files.len() as u32), &files)?;
        }
    }
    Ok(())
}
