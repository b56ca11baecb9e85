//! The side that takes over.

use std::convert::Infallible;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use super::channel::{Channel, Message};
use super::predecessor::{DETACH, VARIABLE};
use super::rest::in_order;
use super::seats::Seats;
use super::secrets::Secrets;
use super::sockets::{Public, Sockets};
use super::state::{State, Topics, VERSION};
use crate::hub::Hub;
use crate::ring::passing;

/// How long the predecessor may take for any one step.
const STEP_TIME: Duration = Duration::from_secs(20);

/// A daemon that has been started to take over from another.
pub struct Successor {
    channel: Channel,
    pub listeners: Public,
    /// The sockets beside the public ones.
    pub admin: Vec<OwnedFd>,
}

/// The predecessor, if this process was started by one.
///
/// # Errors
/// A sentence on what is wrong with what it said.
pub fn inherit() -> Result<Option<Successor>, String> {
    let Some(value) = std::env::var_os(VARIABLE) else {
        return Ok(None);
    };
    let value = value.to_str().unwrap_or_default();
    if let Some(number) = value.strip_suffix(DETACH) {
        detach(number)?;
    }
    let number = value.parse().ok();
    let number = number.ok_or_else(|| format!("{VARIABLE} is not the number of a descriptor"))?;
    let socket = passing::inherited(number).map_err(|error| format!("{VARIABLE}: {error}"))?;
    let mut successor = Successor {
        channel: Channel::new(socket),
        listeners: Public::default(),
        admin: Vec::new(),
    };
    successor.meet()?;
    Ok(Some(successor))
}

/// Starts this program again and ends. The new process then belongs to the
/// service manager, as a service's main process must: of a process that is
/// another one's child the manager neither sees the end, nor does it wait for
/// it when stopping, but kills it at once.
fn detach(number: &str) -> Result<Infallible, String> {
    let again = || {
        let mut arguments = std::env::args_os();
        let mut program = Command::new(std::env::current_exe()?);
        if let Some(called) = arguments.next() {
            // By the name that the next successor, too, is to be looked up by.
            program.arg0(called);
        }
        program.args(arguments).env(VARIABLE, number).spawn()
    };
    again().map_err(|error| format!("cannot start this program again: {error}"))?;
    std::process::exit(0)
}

impl Successor {
    fn meet(&mut self) -> Result<(), String> {
        let pid = std::process::id() as i32;
        self.channel.send(&Message::Here(pid), &[])?;
        let (hello, _) = self.next(|message| matches!(message, Message::Hello { .. }))?;
        let Message::Hello {
            version,
            listeners,
            activated,
        } = hello
        else {
            unreachable!("nothing else was let through")
        };
        if version != VERSION {
            let sentence = format!(
                "the running fanfare hands over state of version {version}, this one \
                 understands {VERSION}"
            );
            self.fail(&sentence);
            return Err(sentence);
        }
        self.listeners.plain = Sockets {
            files: self.sockets(listeners)?,
            activated,
        };
        let (tls, _) = self.next(|message| matches!(message, Message::Tls { .. }))?;
        let Message::Tls {
            listeners,
            activated,
        } = tls
        else {
            unreachable!("nothing else was let through")
        };
        self.listeners.tls = Sockets {
            files: self.sockets(listeners)?,
            activated,
        };
        let (_, admin) = self.next(|message| *message == Message::Admin)?;
        self.admin = admin;
        Ok(())
    }

    /// So many listening sockets.
    fn sockets(&self, wanted: u32) -> Result<Vec<OwnedFd>, String> {
        let mut sockets = Vec::new();
        while sockets.len() < wanted as usize {
            let (_, files) = self.next(|message| matches!(message, Message::Sockets(_)))?;
            sockets.extend(files);
        }
        Ok(sockets)
    }

    /// Tells the predecessor that this process will not serve.
    pub fn fail(&self, sentence: &str) {
        // If it cannot be told it is gone, and nobody is left to care.
        let _ = self
            .channel
            .send(&Message::Failed(sentence.to_owned()), &[]);
    }

    /// Takes topics and connections over, all of them or none. Returns when the
    /// predecessor has let go.
    ///
    /// # Errors
    /// A sentence; the predecessor then goes on.
    pub fn take_over(&self, hub: &Hub, mut seats: Seats) -> Result<usize, String> {
        self.channel.send(&Message::Ready, &[])?;
        let (state, logs) = self.receive_state()?;
        hub.arenas().inherit(logs)?;
        hub.restore_revocations(&state.revocations);
        hub.restore_receipts(state.receipts);
        hub.hooks().restore(state.hooks);
        for topic in &state.topics {
            hub.restore_topic(topic)?;
        }
        for companion in &state.companions {
            hub.restore_companion(companion)?;
        }
        let topics = Topics::of_all(hub);
        let count = state.conns.len();
        let mut conns = state.conns.into_iter();
        let mut with_tls = Vec::new();
        while conns.len() > 0 {
            let (_, files) = self.next(|message| matches!(message, Message::Sockets(_)))?;
            for file in files {
                let conn = conns
                    .next()
                    .ok_or("there are more sockets than connections")?;
                match conn.has_tls() {
                    false => seats.give(&topics, (conn, None), file)?,
                    true => with_tls.push((conn, file)),
                }
            }
        }
        let Secrets { links, tickets } = self.receive_secrets()?;
        hub.tls().tickets().restore(tickets, hub.unix_s());
        if links.len() != with_tls.len() {
            return Err("there are not as many keys as connections with TLS".into());
        }
        for ((conn, file), link) in with_tls.into_iter().zip(links) {
            seats.give(&topics, (conn, Some(link)), file)?;
        }
        if let Some(sentence) = seats.settle()?.pop() {
            return Err(sentence);
        }
        self.channel.send(&Message::Done, &[])?;
        match self.channel.receive(STEP_TIME) {
            // A predecessor that goes on kills this process before it closes the
            // channel. So it has died, and nobody else has the connections now.
            Ok(Some((Message::Go, _)) | None) => {
                hub.arenas().own();
                Ok(count)
            }
            Ok(Some((message, _))) => Err(format!("the predecessor said {message:?}")),
            Err(sentence) => Err(sentence),
        }
    }

    /// The state, and the memory of its logs.
    fn receive_state(&self) -> Result<(State, Vec<OwnedFd>), String> {
        let mut logs = Vec::new();
        let is_state = |message: &Message| matches!(message, Message::Logs(_) | Message::State);
        let files = loop {
            match self.next(is_state)? {
                (Message::Logs(_), files) => logs.extend(files),
                (_, files) => break files,
            }
        };
        let file = files.into_iter().next().ok_or("the state is missing")?;
        let mut file = File::from(file);
        let mut bytes = Vec::new();
        let read = file.rewind().and_then(|()| file.read_to_end(&mut bytes));
        read.map_err(|error| format!("cannot read the state: {error}"))?;
        let state = State::decode(&bytes).map_err(|error| error.to_string())?;
        let logs = in_order(logs, &state)?;
        Ok((state, logs))
    }

    fn receive_secrets(&self) -> Result<Secrets, String> {
        let (_, files) = self.next(|message| *message == Message::Secrets)?;
        let file = files.into_iter().next().ok_or("the keys are missing")?;
        Secrets::take(file)
    }

    fn next(&self, wanted: fn(&Message) -> bool) -> Result<(Message, Vec<OwnedFd>), String> {
        match self.channel.receive(STEP_TIME)? {
            Some((message, files)) if wanted(&message) => Ok((message, files)),
            Some((message, _)) => Err(format!("the predecessor said {message:?}")),
            None => Err("the predecessor has ended".to_owned()),
        }
    }
}
