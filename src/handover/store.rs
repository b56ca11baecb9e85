//! A handover through the service manager, which keeps files for a service
//! between its end and its next start (systemd's FDSTORE).

use std::collections::HashMap;
use std::env;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::{OwnedFd, RawFd};
use std::sync::mpsc;
use std::time::Duration;

use socket2::SockRef;

use super::rest::{carry_on, come_to_rest, in_order, memory_file, plain_sockets, write_down};
use super::state::{State, Topics};
use crate::core::{Arrived, Remote};
use crate::hub::Hub;
use crate::ring::passing::{self, FILES_MAX};

/// The names under which files are kept.
const STATE: &str = "fanfare-state";
const CONNECTION: &str = "fanfare-conn";
const LISTENER: &str = "fanfare-listener";
const ADMIN: &str = "fanfare-admin";
const LOG: &str = "fanfare-log";

/// All names that are ours.
pub const NAMES: [&str; 5] = [STATE, CONNECTION, LISTENER, ADMIN, LOG];

/// The first descriptor that a service manager passes (sd_listen_fds(3)).
const FIRST_FD: RawFd = 3;
/// How long a core may take to seat its connections.
const STEP_TIME: Duration = Duration::from_secs(20);

/// Has somebody keep files under a name.
pub type Keep<'a> = dyn Fn(&str, &[OwnedFd]) -> Result<(), String> + 'a;

/// What the service manager passed at the start.
#[derive(Default)]
pub struct Passed {
    /// Sockets of its own socket units.
    pub sockets: Vec<OwnedFd>,
    /// What a predecessor of this process had it keep.
    pub stored: Option<Stored>,
}

/// A daemon that ended in the expectation of being started again.
pub struct Stored {
    pub listeners: Vec<OwnedFd>,
    /// The sockets beside the public ones.
    pub admin: Vec<OwnedFd>,
    state: State,
    sockets: HashMap<u64, OwnedFd>,
    /// The memory of the logs.
    logs: Vec<OwnedFd>,
}

/// Takes what was passed. To be called once, early.
///
/// # Errors
/// A sentence, when it is not what the environment says.
pub fn passed() -> Result<Passed, String> {
    let number = |name| env::var(name).ok()?.parse::<u32>().ok();
    let mut passed = Passed::default();
    if number("LISTEN_PID") != Some(std::process::id()) {
        return Ok(passed);
    }
    let count = number("LISTEN_FDS").unwrap_or(0) as RawFd;
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut kept: HashMap<&str, Vec<OwnedFd>> = HashMap::new();
    for fd in FIRST_FD..FIRST_FD + count {
        let file = passing::inherited(fd)
            .map_err(|error| format!("descriptor {fd} was announced but not passed: {error}"))?;
        match NAMES
            .into_iter()
            .find(|ours| names.clone().next() == Some(*ours))
        {
            Some(ours) => kept.entry(ours).or_default().push(file),
            None => passed.sockets.push(file),
        }
        names.next();
    }
    let mut take = |name| kept.remove(name).unwrap_or_default();
    let (states, listeners) = (take(STATE), take(LISTENER));
    let (admin, sockets, logs) = (take(ADMIN), take(CONNECTION), take(LOG));
    if let Some(file) = states.into_iter().next() {
        match read(file) {
            Ok(state) => {
                let with_cookie = |file: OwnedFd| Some((SockRef::from(&file).cookie().ok()?, file));
                passed.stored = Some(Stored {
                    listeners,
                    admin,
                    state,
                    logs,
                    sockets: sockets.into_iter().filter_map(with_cookie).collect(),
                });
            }
            // Better to serve new connections than none.
            Err(error) => tracing::error!("connections are lost: {error}"),
        }
    }
    Ok(passed)
}

fn read(file: OwnedFd) -> Result<State, String> {
    let mut file = File::from(file);
    let mut bytes = Vec::new();
    let read = file.rewind().and_then(|()| file.read_to_end(&mut bytes));
    read.map_err(|error| format!("cannot read the state: {error}"))?;
    State::decode(&bytes).map_err(|error| error.to_string())
}

impl Stored {
    /// Builds the topics and gives each core its connections, once the cores
    /// wait for them behind `cores`. Returns how many there are.
    ///
    /// # Errors
    /// A sentence, when the state makes no sense.
    pub fn take_over(
        self,
        hub: &Hub,
        cores: Vec<mpsc::Sender<Arrived>>,
        seated: &mpsc::Receiver<Result<(), String>>,
    ) -> Result<usize, String> {
        hub.arenas().inherit(in_order(self.logs, &self.state)?)?;
        for topic in &self.state.topics {
            hub.restore_topic(topic)?;
        }
        let topics = Topics::of_all(hub);
        let mut sockets = self.sockets;
        let mut count = 0;
        for conn in self.state.conns {
            // A peer may have gone meanwhile, and its socket with it.
            let Some(socket) = sockets.remove(&conn.cookie) else {
                continue;
            };
            let core = &cores[conn.core as usize % cores.len()];
            let topics = topics.of(&conn);
            let arrived = Arrived {
                conn,
                socket,
                topics,
            };
            core.send(arrived).map_err(|_| "a core has ended")?;
            count += 1;
        }
        let waiting = cores.len();
        drop(cores);
        for _ in 0..waiting {
            let outcome = seated.recv_timeout(STEP_TIME);
            outcome.map_err(|_| "a core does not take its connections")??;
        }
        // The process that had kept them is gone.
        hub.arenas().own();
        Ok(count)
    }
}

/// Has `keep` keep everything, name by name, and `settle` wait until it is
/// kept. On success this process owns
/// nothing any more and is to end without a word to anybody.
///
/// # Errors
/// A sentence on what went wrong; then everything goes on here.
pub fn put_away(
    hub: &Hub,
    cores: &[Remote],
    listeners: &[OwnedFd],
    admin: &[OwnedFd],
    keep: &Keep<'_>,
    settle: &dyn Fn() -> Result<(), String>,
) -> Result<usize, String> {
    let outcome = put_all_away(hub, cores, listeners, admin, keep).and_then(|count| {
        settle()?;
        Ok(count)
    });
    if outcome.is_err() {
        carry_on(hub, cores);
    }
    outcome
}

fn put_all_away(
    hub: &Hub,
    cores: &[Remote],
    listeners: &[OwnedFd],
    admin: &[OwnedFd],
    keep: &Keep<'_>,
) -> Result<usize, String> {
    let mut saved = come_to_rest(hub, cores)?;
    let mut count = 0;
    for (core, saved) in cores.iter().zip(&mut saved) {
        for part in saved.conns.chunks_mut(FILES_MAX) {
            let slots: Vec<u32> = part.iter().map(|(slot, _)| *slot).collect();
            let files = plain_sockets(core, &slots)?;
            for ((_, conn), file) in part.iter_mut().zip(&files) {
                let cookie = SockRef::from(file).cookie();
                conn.cookie = cookie.map_err(|error| format!("a socket has no cookie: {error}"))?;
            }
            keep(CONNECTION, &files)?;
            count += files.len();
        }
    }
    for part in listeners.chunks(FILES_MAX) {
        keep(LISTENER, part)?;
    }
    for part in admin.chunks(FILES_MAX) {
        keep(ADMIN, part)?;
    }
    let (state, logs) = write_down(hub, &saved)?;
    for part in logs.chunks(FILES_MAX) {
        keep(LOG, part)?;
    }
    keep(STATE, &[memory_file(&state)?])?;
    Ok(count)
}
