//! A handover through the service manager, which keeps files for a service
//! between its end and its next start (systemd's FDSTORE).

use std::cell::Cell;
use std::collections::HashMap;
use std::env;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::{OwnedFd, RawFd};

use socket2::SockRef;

use super::rest::{carry_on, come_to_rest_with, in_order, memory_file, plain_sockets, write_down};
use super::seats::Seats;
use super::secrets::{SecretFile, Secrets};
use super::sockets::{Public, Sockets};
use super::state::{State, Topics};
use crate::core::Remote;
use crate::hub::{Hub, Lost};
use crate::ring::passing::{self, FILES_MAX};

/// The names under which files are kept.
const STATE: &str = "fanfare-state";
const CONNECTION: &str = "fanfare-conn";
const LISTENER: &str = "fanfare-listener";
const TLS_LISTENER: &str = "fanfare-tls-listener";
const ADMIN: &str = "fanfare-admin";
const LOG: &str = "fanfare-log";
const SECRETS: &str = "fanfare-secrets";

/// All names that are ours.
pub const NAMES: [&str; 7] = [
    STATE,
    CONNECTION,
    LISTENER,
    TLS_LISTENER,
    ADMIN,
    LOG,
    SECRETS,
];

/// What sockets of socket units are called on which TLS is to be spoken.
const TLS_NAME: &str = "tls";

/// The first descriptor that a service manager passes (sd_listen_fds(3)).
const FIRST_FD: RawFd = 3;

/// Has somebody keep files under a name.
pub type Keep<'a> = dyn Fn(&str, &[OwnedFd]) -> Result<(), String> + 'a;

/// What the service manager passed at the start.
#[derive(Default)]
pub struct Passed {
    /// Sockets of its own socket units.
    pub sockets: Vec<OwnedFd>,
    /// Those of them on which TLS is spoken.
    pub tls: Vec<OwnedFd>,
    /// What a predecessor of this process had it keep.
    pub stored: Option<Stored>,
}

/// A daemon that ended in the expectation of being started again.
pub struct Stored {
    pub listeners: Public,
    /// The sockets beside the public ones.
    pub admin: Vec<OwnedFd>,
    state: State,
    sockets: HashMap<u64, OwnedFd>,
    /// The memory of the logs.
    logs: Vec<OwnedFd>,
    /// The keys of connections over TLS: not read before they are used.
    secrets: Option<OwnedFd>,
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
        let name = names.next();
        match NAMES.into_iter().find(|ours| name == Some(*ours)) {
            Some(ours) => kept.entry(ours).or_default().push(file),
            None if name == Some(TLS_NAME) => passed.tls.push(file),
            None => passed.sockets.push(file),
        }
    }
    let mut take = |name: &str| kept.remove(name).unwrap_or_default();
    let state = take(STATE).into_iter().next();
    passed.stored = state.map(|state| Stored::new(state, &mut take));
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
    /// Of the file with the state, and of those that were kept under other names.
    fn new(state: OwnedFd, take: &mut dyn FnMut(&str) -> Vec<OwnedFd>) -> Stored {
        let with_cookie = |file: OwnedFd| Some((SockRef::from(&file).cookie().ok()?, file));
        let sockets = take(CONNECTION).into_iter().filter_map(with_cookie);
        let kept = |files| Sockets {
            files,
            activated: false,
        };
        Stored {
            // Better to serve new connections than none.
            state: read(state).unwrap_or_else(|error| {
                tracing::error!("all topics and connections are lost: {error}");
                State::default()
            }),
            sockets: sockets.collect(),
            listeners: Public {
                plain: kept(take(LISTENER)),
                tls: kept(take(TLS_LISTENER)),
            },
            admin: take(ADMIN),
            logs: take(LOG),
            secrets: take(SECRETS).into_iter().next(),
        }
    }

    /// Builds the topics and gives the cores their connections. Returns how many there
    /// are. What cannot be taken over is told, counted and let go: nobody else
    /// could go on with it, and it is no reason to lose the rest.
    ///
    /// # Errors
    /// A sentence, when a core is at its end.
    pub fn take_over(mut self, hub: &Hub, mut seats: Seats) -> Result<usize, String> {
        let logs = std::mem::take(&mut self.logs);
        let inherited = in_order(logs, &self.state).and_then(|logs| hub.arenas().inherit(logs));
        if let Err(error) = inherited {
            tracing::error!("all topics and connections are lost: {error}");
            self.state = State::default();
        }
        hub.restore_revocations(&self.state.revocations);
        hub.restore_receipts(std::mem::take(&mut self.state.receipts));
        hub.hooks().restore(std::mem::take(&mut self.state.hooks));
        let mut lost = Lost::Topic.note(hub);
        for topic in &self.state.topics {
            if let Err(sentence) = hub.restore_topic(topic) {
                lost(&sentence);
            }
        }
        for companion in &self.state.companions {
            if let Err(sentence) = hub.restore_companion(companion) {
                lost(&sentence);
            }
        }
        let topics = Topics::of_all(hub);
        let mut lost = Lost::Connection.note(hub);
        let mut sockets = self.sockets;
        let (mut given, mut gone) = (0, Vec::new());
        let secrets = read_secrets(self.secrets);
        hub.tls().tickets().restore(secrets.tickets, hub.unix_s());
        let mut links = secrets.links.into_iter();
        for conn in self.state.conns {
            let link = conn.has_tls().then(|| links.next()).flatten();
            // A peer may have gone meanwhile, and its socket with it.
            let Some(socket) = sockets.remove(&conn.cookie) else {
                gone.extend(conn.client().map(|client| (topics.of(&conn), client)));
                continue;
            };
            match seats.give(&topics, (conn, link), socket) {
                Ok(()) => given += 1,
                Err(sentence) => lost(&sentence),
            }
        }
        for _ in sockets {
            lost("nothing is known of it");
        }
        let refused = seats.settle()?;
        for sentence in &refused {
            lost(sentence);
        }
        // Those who are there stand where they stood, and hear it.
        for (topics, client) in &gone {
            for topic in topics.iter().flatten() {
                hub.tell_gone(topic, client);
            }
        }
        // The process that had kept them is gone.
        hub.arenas().own();
        Ok(given - refused.len())
    }
}

/// The keys, or none: each connection with TLS is then lost, and said to be.
fn read_secrets(file: Option<OwnedFd>) -> Secrets {
    let secrets = file.map_or_else(|| Ok(Secrets::default()), Secrets::take);
    secrets.unwrap_or_else(|error| {
        tracing::error!("all connections with TLS are lost: {error}");
        Secrets::default()
    })
}

impl Lost {
    /// Tells and counts what is lost, each with its reason. The log has a few of them
    /// and the metrics all.
    fn note(self, hub: &Hub) -> impl FnMut(&str) {
        const TOLD_MAX: u32 = 10;
        let mut told = 0;
        move |sentence| {
            hub.losses().add(self, 1);
            told += 1;
            if told <= TOLD_MAX {
                tracing::error!("cannot take a {} over: {sentence}", self.name());
            }
        }
    }
}

/// Has `keep` keep everything, name by name, and `settle` wait until so many files are
/// kept. Connections beyond `room` are told to come back first. On success this
/// process owns nothing any more and is to end without a word to anybody.
///
/// # Errors
/// A sentence on what went wrong; then everything goes on here.
pub fn put_away(
    hub: &Hub,
    cores: &[Remote],
    room: usize,
    listeners: &Public,
    admin: &[OwnedFd],
    keep: &Keep<'_>,
    settle: &dyn Fn(usize) -> Result<(), String>,
) -> Result<usize, String> {
    let kept = Cell::new(0);
    let count_kept = |name: &str, files: &[OwnedFd]| {
        keep(name, files)?;
        kept.set(kept.get() + files.len());
        Ok(())
    };
    let put = put_all_away(hub, cores, room, listeners, admin, &count_kept);
    let outcome = put.and_then(|(count, secrets)| {
        settle(kept.get())?;
        secrets.leave();
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
    room: usize,
    listeners: &Public,
    admin: &[OwnedFd],
    keep: &Keep<'_>,
) -> Result<(usize, SecretFile), String> {
    let mut saved = come_to_rest_with(hub, cores, room)?;
    let secrets = Secrets::of(hub, &mut saved);
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
    for (name, sockets) in [(LISTENER, &listeners.plain), (TLS_LISTENER, &listeners.tls)] {
        for part in sockets.own().chunks(FILES_MAX) {
            keep(name, part)?;
        }
    }
    for part in admin.chunks(FILES_MAX) {
        keep(ADMIN, part)?;
    }
    let (state, logs) = write_down(hub, &saved)?;
    for part in logs.chunks(FILES_MAX) {
        keep(LOG, part)?;
    }
    keep(STATE, &[memory_file(&state)?])?;
    let secrets = secrets.write()?;
    keep(SECRETS, &[secrets.share()?])?;
    Ok((count, secrets))
}

#[cfg(test)]
mod tests;
