//! Bringing a running daemon to rest, and writing it down.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::fstat;

use super::state::State;
use crate::core::{Command, Frames, Remote, SavedConn, SavedCore};
use crate::hub::Hub;

/// How long handshakes that are under way may take to end.
const HANDSHAKES_TIME: Duration = Duration::from_millis(250);
/// How long connections may take to come to rest.
const FREEZE_TIME: Duration = Duration::from_secs(2);
/// How long a cluster may take to decide on what is proposed. Then the next process proposes
/// it again.
const PROPOSALS_TIME: Duration = Duration::from_secs(1);
/// How long the store may take to be closed.
const STORE_TIME: Duration = Duration::from_secs(5);

/// Stops accepting, lets handshakes end and freezes all connections. From then
/// on clients hear nothing, until somebody thaws.
pub(super) fn come_to_rest(hub: &Hub, cores: &[Remote]) -> Result<Vec<SavedCore>, String> {
    stop_accepting(cores);
    freeze(hub, cores)
}

/// The same with `room` connections at most: the others are told to come back first.
pub(super) fn come_to_rest_with(
    hub: &Hub,
    cores: &[Remote],
    room: usize,
) -> Result<Vec<SavedCore>, String> {
    stop_accepting(cores);
    shed(hub, cores, room)?;
    freeze(hub, cores)
}

fn stop_accepting(cores: &[Remote]) {
    let answered = ask(cores, Command::StopAccepting);
    let end = Instant::now() + HANDSHAKES_TIME;
    for reply in answered {
        // Who takes longer is left behind.
        let _ = reply.recv_timeout(end.saturating_duration_since(Instant::now()));
    }
}

/// Says goodbye to as many connections as there are beyond `room`, each core to its
/// share of them.
fn shed(hub: &Hub, cores: &[Remote], room: usize) -> Result<(), String> {
    let held: Vec<usize> = hub
        .mailboxes()
        .iter()
        .map(|core| core.metrics.connections.get() as usize)
        .collect();
    let all: usize = held.iter().sum();
    if all <= room {
        return Ok(());
    }
    hub.set_leaving(all - room);
    let tell = |(core, held): (&Remote, &usize)| {
        let (reply, receiver) = mpsc::channel();
        // Rounded down, so that all shares together are within the room.
        let keep = (*held as u128 * room as u128 / all as u128) as usize;
        core.send(Command::Shed(keep, reply));
        receiver
    };
    let replies: Vec<_> = cores.iter().zip(&held).map(tell).collect();
    let drain = Duration::from_millis(hub.settings().drain_ms_max);
    let end = Instant::now() + drain + FREEZE_TIME;
    for reply in replies {
        reply
            .recv_timeout(end.saturating_duration_since(Instant::now()))
            .map_err(|_| "a core did not part from those who do not fit")?;
    }
    Ok(())
}

fn freeze(hub: &Hub, cores: &[Remote]) -> Result<Vec<SavedCore>, String> {
    // Requests that are under way end meanwhile, nearly always; the others are made again.
    hub.hooks().hold(true);
    hub.hold_proposals(PROPOSALS_TIME);
    hub.set_frozen(true);
    hub.rest_cluster();
    let replies = ask(cores, Command::Freeze);
    let still = replies.iter().map(|reply| reply.recv_timeout(FREEZE_TIME));
    let still: Result<Vec<_>, _> = still.collect();
    let still = still.map_err(|_| "a core did not come to rest")?;
    // Nothing is published any more: all of it can be in the store.
    match hub.keeping().rest(STORE_TIME) {
        true => Ok(still),
        false => Err("the store did not come to rest".to_owned()),
    }
}

/// Asks all cores the same.
fn ask<T>(cores: &[Remote], command: fn(mpsc::Sender<T>) -> Command) -> Vec<mpsc::Receiver<T>> {
    let ask = |core: &Remote| {
        let (reply, receiver) = mpsc::channel();
        core.send(command(reply));
        receiver
    };
    cores.iter().map(ask).collect()
}

/// Goes on as if nothing had been.
pub(super) fn carry_on(hub: &Hub, cores: &[Remote]) {
    hub.arenas().own();
    hub.set_frozen(false);
    hub.resume_cluster();
    hub.keeping().resume();
    hub.hooks().hold(false);
    for core in cores {
        core.send(Command::Thaw);
    }
}

/// Plain descriptors of the sockets in these slots of a core, in their order.
pub(super) fn plain_sockets(core: &Remote, slots: &[u32]) -> Result<Vec<OwnedFd>, String> {
    let (reply, receiver) = mpsc::channel();
    core.send(Command::Install(slots.to_vec(), reply));
    let made = receiver.recv_timeout(FREEZE_TIME);
    let made = made.map_err(|_| "a core does not hand out its sockets")?;
    let mut by_slot: HashMap<u32, _> = made.into_iter().collect();
    let mut files = Vec::with_capacity(slots.len());
    for slot in slots {
        let file = by_slot.remove(slot).ok_or("a socket is missing")?;
        files.push(file.map_err(|error| format!("cannot hand out a socket: {error}"))?);
    }
    Ok(files)
}

/// The state of frozen cores, its connections in the order of `cores`, and the
/// files with the memory of the logs.
///
/// # Errors
/// A sentence, when there are no more descriptors.
pub fn write_down(hub: &Hub, cores: &[SavedCore]) -> Result<(State, Vec<OwnedFd>), String> {
    let logs = hub.arenas().files()?;
    let (topics, companions) = (hub.all_topics(), hub.all_companions());
    let conns = cores.iter().flat_map(|core| &core.conns);
    let mut frames = Frames::default();
    let gather = |(_, conn): &(u32, SavedConn)| {
        let mut conn = conn.clone();
        frames.gather(&mut conn);
        conn
    };
    let conns = conns.map(gather).collect();
    let state = State {
        logs: logs.iter().map(inode).collect::<Result<_, _>>()?,
        revocations: hub.revocations(),
        receipts: hub.save_receipts(),
        topics: topics.iter().map(|topic| topic.save()).collect(),
        companions: companions.iter().map(|topic| topic.save()).collect(),
        frames: frames.into_all(),
        conns,
        hooks: hub.hooks().save(),
    };
    Ok((state, logs))
}

/// Puts the logs' files that were passed, in any order, in that of the state.
pub(super) fn in_order(mut files: Vec<OwnedFd>, state: &State) -> Result<Vec<OwnedFd>, String> {
    let mut ordered = Vec::with_capacity(state.logs.len());
    for wanted in &state.logs {
        let is_wanted = |file: &OwnedFd| inode(file).is_ok_and(|inode| inode == *wanted);
        let at = files.iter().position(is_wanted);
        let at = at.ok_or("a file of the logs is missing")?;
        ordered.push(files.swap_remove(at));
    }
    Ok(ordered)
}

/// What distinguishes files that live in memory alone.
fn inode(file: &OwnedFd) -> Result<u64, String> {
    let stat = fstat(file).map_err(|error| format!("cannot look at a file: {error}"))?;
    Ok(stat.st_ino)
}

/// The state in a file that lives in memory alone.
pub(super) fn memory_file(state: &State) -> Result<OwnedFd, String> {
    let flags = MFdFlags::MFD_CLOEXEC;
    let file = memfd_create(c"fanfare-state", flags).map_err(|error| error.to_string())?;
    let mut file = File::from(file);
    let written = file.write_all(&state.encode());
    written.map_err(|error| format!("cannot write the state down: {error}"))?;
    Ok(file.into())
}
