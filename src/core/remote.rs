//! How other threads ask something of a running core: the daemon does so when it
//! hands over.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, mpsc};

use super::handover::SavedCore;
use crate::hub::Hub;

/// What the daemon asks of a running core when it hands over.
pub enum Command {
    /// Accept nobody any more, and tell once all who came have been answered.
    StopAccepting(mpsc::Sender<()>),
    /// Come to rest, then write everything down.
    Freeze(mpsc::Sender<SavedCore>),
    /// Hand out plain descriptors of the sockets in these slots.
    Install(Vec<u32>, mpsc::Sender<Vec<Installed>>),
    /// Keep so many connections, say goodbye to the others, and tell when they are gone.
    Shed(usize, mpsc::Sender<()>),
    /// Go on as before.
    Thaw,
    /// End without a word to anybody: the connections live elsewhere.
    Leave,
}

/// A slot, and the plain descriptor of its socket.
pub type Installed = (u32, io::Result<OwnedFd>);

/// A handle to one core, for any thread.
#[derive(Clone)]
pub struct Remote {
    core: usize,
    hub: Arc<Hub>,
    commands: Arc<Mutex<Vec<Command>>>,
}

impl Remote {
    /// A handle to each core of `hub`, to be given to the cores when they start.
    pub fn to_all(hub: &Arc<Hub>) -> Vec<Remote> {
        let to_one = |core| Remote {
            core,
            hub: hub.clone(),
            commands: Arc::default(),
        };
        (0..hub.mailboxes().len()).map(to_one).collect()
    }

    /// Has the core carry out a command.
    pub fn send(&self, command: Command) {
        self.lock().push(command);
        self.hub.mailbox(self.core).wake();
    }

    /// The core takes its commands, in order.
    pub(super) fn take(&self) -> Vec<Command> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Command>> {
        self.commands
            .lock()
            .expect("nothing panics inside the lock")
    }
}
