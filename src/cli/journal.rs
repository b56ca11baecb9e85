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

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

const SOCKET: &str = "/run/systemd/journal/socket";
/// Field names of ours begin so; the journal has its own beside them.
const PREFIX: &str = "FANFARE_";

/// Sends each event to the journal. One that the journal does not take is lost.
#[derive(Debug)]
pub(super) struct Journal(UnixDatagram);

impl Journal {
    /// # Errors
    /// There is no journal on this machine, or no way to it.
    pub(super) fn connect() -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(SOCKET)?;
        Ok(Journal(socket))
    }
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

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut entry = Entry::default();
        event.record(&mut entry);
        let metadata = event.metadata();
        let bytes = entry.encode(*metadata.level(), metadata.target());
        // Who logs must not fail for it, and there is nobody else to tell.
        let _ = self.0.send(&bytes);
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

    #[test]
    fn an_event_is_an_entry_with_its_fields_and_a_message_that_has_them_too() {
        let (ours, journal) = UnixDatagram::pair().unwrap();
        let subscriber = tracing_subscriber::registry().with(Journal(ours));
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
