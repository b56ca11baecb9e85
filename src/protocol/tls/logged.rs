//! The traffic secrets of one handshake, which rustls tells a key log.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustls::KeyLog;
use zeroize::Zeroize;

/// A [`KeyLog`] for one handshake: it hears the first traffic secrets of TLS 1.3, from which all
/// later keys are derived, and keeps them until they are taken. Its `ServerConfig` is cloned for
/// it, which is cheap.
#[derive(Default)]
pub struct Logged(Mutex<Heard>);

#[derive(Default)]
pub(super) struct Heard {
    pub(super) client: Secret,
    pub(super) server: Secret,
}

/// Up to 48 bytes, as SHA-384 has them; none while nothing was heard. Zeroized when dropped.
#[derive(Default)]
pub(super) struct Secret {
    bytes: [[u8; 16]; 3],
    len: usize,
}

impl Logged {
    pub fn new() -> Logged {
        Logged::default()
    }

    /// What was heard; nothing of it stays.
    pub(super) fn take(&self) -> Heard {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Heard> {
        // Nobody can panic who holds it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeyLog for Logged {
    fn log(&self, label: &str, _client_random: &[u8], secret: &[u8]) {
        match label {
            CLIENT => self.lock().client.set(secret),
            SERVER => self.lock().server.set(secret),
            _ => {}
        }
    }

    fn will_log(&self, label: &str) -> bool {
        matches!(label, CLIENT | SERVER)
    }
}

/// Labels of the NSS key log format.
const CLIENT: &str = "CLIENT_TRAFFIC_SECRET_0";
const SERVER: &str = "SERVER_TRAFFIC_SECRET_0";

impl Secret {
    fn set(&mut self, secret: &[u8]) {
        let room = self.bytes.as_flattened_mut();
        // A longer one belongs to no suite known here.
        self.len = if secret.len() <= room.len() {
            room[..secret.len()].copy_from_slice(secret);
            secret.len()
        } else {
            0
        };
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes.as_flattened()[..self.len]
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

impl fmt::Debug for Logged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Logged")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_taken_once() {
        let logged = Logged::new();
        logged.log(CLIENT, &[0; 32], &[1; 32]);
        logged.log(SERVER, &[0; 32], &[2; 48]);
        logged.log("EXPORTER_SECRET", &[0; 32], &[3; 32]);
        let heard = logged.take();
        assert_eq!(heard.client.bytes(), [1; 32]);
        assert_eq!(heard.server.bytes(), [2; 48]);
        let left = logged.take();
        assert!(left.client.bytes().is_empty());
        assert!(left.server.bytes().is_empty());
    }

    #[test]
    fn a_secret_longer_than_any_known_is_not_kept() {
        let logged = Logged::new();
        logged.log(CLIENT, &[0; 32], &[1; 49]);
        assert!(logged.take().client.bytes().is_empty());
    }
}
