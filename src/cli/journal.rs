//! Writes log lines to systemd's journal in its own form: each field of an event is
//! a field of the entry, to be asked for as `journalctl FANFARE_REASON=lag`.
//!
//! The protocol is that of <https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>. Used by
//! `logging` where the settings or the surroundings ask for it.

use std::env;
use std::fmt::{Debug, Write};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::lines::Lines;

const SOCKET: &str = "/run/systemd/journal/socket";
/// Field names of ours begin so; the journal has its own beside them.
const PREFIX: &str = "FANFARE_";

/// How long to wait for a journal that is away before it is looked for again.
const AWAY: Duration = Duration::from_millis(200);

/// The way to the journal, for a thread that has nothing else to do.
pub(super) struct Journal {
    path: PathBuf,
    socket: Option<UnixDatagram>,
}

impl Journal {
    /// # Errors
    /// There is no journal on this machine, or no way to it.
    pub(super) fn connect() -> io::Result<Self> {
        Journal::at(Path::new(SOCKET))
    }

    fn at(path: &Path) -> io::Result<Self> {
        Ok(Journal {
            path: path.into(),
            socket: Some(connected(path)?),
        })
    }

    /// Sends an entry, however long the journal takes, and whatever time it is
    /// away: where it has restarted, its socket may be another one.
    ///
    /// # Errors
    /// The journal does not take this entry.
    pub(super) fn send(&mut self, entry: &[u8]) -> io::Result<()> {
        loop {
            let sent = match self.socket.take() {
                Some(socket) => socket.send(entry).map(|_| socket),
                None => connected(&self.path).and_then(|new| new.send(entry).map(|_| new)),
            };
            match sent {
                Ok(socket) => {
                    self.socket = Some(socket);
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_away(&error) => thread::sleep(AWAY),
                Err(error) => return Err(error),
            }
        }
    }
}

fn connected(path: &Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    Ok(socket)
}

/// Nobody is at the other end at the moment.
fn is_away(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::ConnectionRefused | Kind::ConnectionReset | Kind::NotConnected | Kind::NotFound
    )
}

/// Whether standard error goes to the journal (`JOURNAL_STREAM`,
/// systemd.exec(5)), so that entries there replace lines.
pub(super) fn is_stderr() -> bool {
    let Ok(stream) = env::var("JOURNAL_STREAM") else {
        return false;
    };
    let stderr = fs::metadata("/proc/self/fd/2");
    stderr.is_ok_and(|stderr| stream == format!("{}:{}", stderr.dev(), stderr.ino()))
}

/// Makes each event an entry of the journal.
pub(super) struct Entries(pub(super) Lines);

impl<S: Subscriber> Layer<S> for Entries {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut entry = Entry::default();
        event.record(&mut entry);
        let metadata = event.metadata();
        self.0
            .push(&entry.encode(*metadata.level(), metadata.target()));
    }
}

/// What an event says.
#[derive(Default)]
struct Entry {
    message: String,
    /// In words, to stand behind the message.
    words: String,
    fields: Vec<(String, String)>,
}

impl Visit for Entry {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add(field.name(), format!("{value:?}"));
    }
}

impl Entry {
    fn add(&mut self, name: &str, value: String) {
        if name == "message" {
            self.message = value;
            return;
        }
        write!(self.words, " {name}={value}").expect("a string takes all");
        self.fields
            .push((format!("{PREFIX}{}", name.to_ascii_uppercase()), value));
    }

    fn encode(mut self, level: Level, target: &str) -> Vec<u8> {
        // syslog(3)
        let priority = match level {
            Level::ERROR => "3",
            Level::WARN => "4",
            Level::INFO => "6",
            _ => "7",
        };
        let mut bytes = Vec::with_capacity(256);
        self.message.push_str(&self.words);
        put(&mut bytes, "PRIORITY", priority);
        put(&mut bytes, "SYSLOG_IDENTIFIER", "fanfare");
        put(&mut bytes, "FANFARE_TARGET", target);
        put(&mut bytes, "MESSAGE", &self.message);
        for (name, value) in &self.fields {
            put(&mut bytes, name, value);
        }
        bytes
    }
}

/// A value with line breaks goes by its length.
fn put(bytes: &mut Vec<u8>, name: &str, value: &str) {
    bytes.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        bytes.push(b'\n');
        bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        bytes.push(b'=');
    }
    bytes.extend_from_slice(value.as_bytes());
    bytes.push(b'\n');
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::prelude::*;

    use super::*;

    /// A journal in `folder`, and the way to it.
    fn journal(folder: &Path) -> (UnixDatagram, Journal) {
        let path = folder.join("socket");
        let journal = UnixDatagram::bind(&path).unwrap();
        (journal, Journal::at(&path).unwrap())
    }

    #[test]
    fn a_journal_that_restarts_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let (first, mut way) = journal(folder.path());
        way.send(b"one").unwrap();
        let mut bytes = [0; 16];
        assert_eq!(first.recv(&mut bytes).unwrap(), 3);
        drop(first);
        let path = folder.path().join("socket");
        fs::remove_file(&path).unwrap();
        // Away when it is sent, it gets the entry once it is back.
        let sending = thread::spawn(move || way.send(b"second"));
        thread::sleep(AWAY);
        let second = UnixDatagram::bind(&path).unwrap();
        assert_eq!(second.recv(&mut bytes).unwrap(), 6);
        sending.join().unwrap().unwrap();
    }

    #[test]
    fn an_entry_that_the_journal_cannot_take_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let (_journal, mut way) = journal(folder.path());
        assert!(way.send(&vec![0; 64 << 20]).is_err());
        way.send(b"the next one goes").unwrap();
    }

    #[test]
    fn an_event_is_an_entry_with_its_fields_and_a_message_that_has_them_too() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, mut way) = journal(folder.path());
        let lines = Lines::start(move |entry| way.send(entry)).unwrap();
        let subscriber = tracing_subscriber::registry().with(Entries(lines));
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(core = 3, reason = "a\nb", "closed");
        });
        let mut bytes = [0; 512];
        let len = journal.recv(&mut bytes).unwrap();
        let entry = &bytes[..len];
        let has = |part: &[u8]| entry.windows(part.len()).any(|window| window == part);
        assert!(entry.starts_with(b"PRIORITY=4\nSYSLOG_IDENTIFIER=fanfare\n"));
        assert!(has(b"\nFANFARE_CORE=3\n"));
        assert!(has(b"FANFARE_REASON\n\x03\0\0\0\0\0\0\0a\nb\n"));
        assert!(has(b"closed core=3 reason=a\nb\n"));
    }
}
