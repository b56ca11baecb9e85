//! Session tickets (RFC 8446 section 4.6.1, RFC 5077): what a client brings back to take up a
//! session without a signature. The keys are renewed every few hours, erased some hours after
//! that, and go over to the next process.
//!
//! rustls has such keys as well, but does not let go of them.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::pki_types::UnixTime;
use rustls::server::ProducesTickets;
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

/// A key makes tickets for so long.
const MAKES_S: u64 = 6 * 60 * 60;
/// And opens them for so long again: what lies in a ticket is secret until then.
const OPENS_S: u64 = 2 * MAKES_S;
/// Longer than any ticket made here: one holds the client's certificates, which came in a
/// handshake of 64 KiB at most. Trying keys on what is longer would be work for nothing.
const TICKET_BYTES_MAX: usize = 64 << 10;

const NAME_BYTES: usize = 16;
const KEY_BYTES: usize = 32;

/// The keys in force.
#[derive(Default)]
pub struct Tickets(RwLock<Keys>);

/// Makes and opens tickets in the handshakes of one version of what is served. Once clients have to
/// satisfy other authorities it does neither: a handshake that began before has asked for less.
pub(super) struct Ticketer {
    tickets: Arc<Tickets>,
    whose: [u8; 32],
}

#[derive(Default)]
struct Keys {
    /// The newest first; two at most.
    all: Vec<Key>,
    /// Whom tickets are for: those who had to satisfy the same authorities.
    whose: [u8; 32],
}

/// One key. What stands in front of a ticket names it.
#[derive(Clone, Serialize, Deserialize)]
struct Key {
    name: [u8; NAME_BYTES],
    secret: [u8; KEY_BYTES],
    /// Seconds since 1970.
    made_s: u64,
}

/// The keys on their way to another process.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct SavedTickets {
    all: Vec<Key>,
    whose: [u8; 32],
}

impl fmt::Debug for Ticketer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Ticketer")
    }
}

impl fmt::Debug for SavedTickets {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} keys of tickets", self.all.len())
    }
}

impl Tickets {
    /// Tickets are for those who satisfy these authorities from now on; others do not count any
    /// more.
    ///
    /// # Errors
    /// A sentence, where the system has no randomness.
    pub fn belong_to(&self, whose: [u8; 32], now_s: u64) -> Result<(), String> {
        let mut keys = self.write();
        if keys.whose != whose {
            keys.all.clear();
            keys.whose = whose;
        }
        keys.renew(now_s)
    }

    /// Lets go of keys whose time is over, and makes one where one is due.
    pub fn look_after(&self, now_s: u64) {
        // Before TLS is served there are none.
        let is_due = !self.read().all.is_empty() && self.read().is_due(now_s);
        if is_due && let Err(error) = self.write().renew(now_s) {
            tracing::error!("cannot renew the keys of session tickets: {error}");
        }
    }

    /// All keys, for another process.
    pub fn save(&self) -> SavedTickets {
        let keys = self.read();
        SavedTickets {
            all: keys.all.clone(),
            whose: keys.whose,
        }
    }

    /// Goes on with the keys of another process, where clients have to satisfy the same
    /// authorities.
    pub fn restore(&self, saved: SavedTickets, now_s: u64) {
        let mut keys = self.write();
        if saved.whose == keys.whose && !saved.all.is_empty() {
            keys.all = saved.all;
            keys.all.truncate(2);
        }
        drop(keys);
        self.look_after(now_s);
    }

    /// `whose` is whom the ticket is for; `None` if others are by now.
    fn seal(&self, whose: &[u8; 32], plain: &[u8]) -> Option<Vec<u8>> {
        self.of(whose)?.all.first()?.seal(plain)
    }

    fn open(&self, whose: &[u8; 32], ticket: &[u8], now_s: u64) -> Option<Vec<u8>> {
        let keys = self.of(whose)?;
        let mut valid = keys
            .all
            .iter()
            .filter(|key| now_s.saturating_sub(key.made_s) < OPENS_S);
        valid.find_map(|key| key.open(ticket))
    }

    fn of(&self, whose: &[u8; 32]) -> Option<RwLockReadGuard<'_, Keys>> {
        Some(self.read()).filter(|keys| keys.whose == *whose)
    }

    fn read(&self) -> RwLockReadGuard<'_, Keys> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Keys> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keys {
    fn is_due(&self, now_s: u64) -> bool {
        let is_old = |key: &Key, after_s| now_s.saturating_sub(key.made_s) >= after_s;
        self.all.first().is_none_or(|key| is_old(key, MAKES_S))
            || self.all.last().is_some_and(|key| is_old(key, OPENS_S))
    }

    fn renew(&mut self, now_s: u64) -> Result<(), String> {
        self.all
            .retain(|key| now_s.saturating_sub(key.made_s) < OPENS_S);
        if self.is_due(now_s) {
            let key = Key::make(now_s).ok_or("the system has no random numbers")?;
            self.all.insert(0, key);
            self.all.truncate(2);
        }
        Ok(())
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

impl Key {
    fn make(now_s: u64) -> Option<Key> {
        let mut key = Key {
            name: [0; NAME_BYTES],
            secret: [0; KEY_BYTES],
            made_s: now_s,
        };
        let random = SystemRandom::new();
        random.fill(&mut key.name).ok()?;
        random.fill(&mut key.secret).ok()?;
        Some(key)
    }

    fn expand(&self) -> LessSafeKey {
        let key = UnboundKey::new(&CHACHA20_POLY1305, &self.secret);
        LessSafeKey::new(key.expect("a key of its length"))
    }

    /// Name, nonce, what is sealed, tag.
    fn seal(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).ok()?;
        let mut ticket = [&self.name[..], &nonce, plain].concat();
        let sealed = &mut ticket[NAME_BYTES + NONCE_LEN..];
        let nonce = Nonce::assume_unique_for_key(nonce);
        let key = self.expand();
        let tag = key.seal_in_place_separate_tag(nonce, Aad::from(self.name), sealed);
        ticket.extend_from_slice(tag.ok()?.as_ref());
        Some(ticket)
    }

    fn open(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let rest = ticket.strip_prefix(&self.name)?;
        let (nonce, sealed) = rest.split_first_chunk()?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let key = self.expand();
        let len = key
            .open_in_place(nonce, Aad::from(self.name), &mut sealed)
            .ok()?
            .len();
        sealed.truncate(len);
        Some(sealed)
    }
}

impl Ticketer {
    pub(super) fn new(tickets: Arc<Tickets>, whose: [u8; 32]) -> Ticketer {
        Ticketer { tickets, whose }
    }
}

impl ProducesTickets for Ticketer {
    fn enabled(&self) -> bool {
        true
    }

    /// For clients to know when they need not try.
    fn lifetime(&self) -> u32 {
        MAKES_S as u32
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.tickets.seal(&self.whose, plain)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        if ticket.len() > TICKET_BYTES_MAX {
            return None;
        }
        let now_s = UnixTime::now().as_secs();
        self.tickets.open(&self.whose, ticket, now_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANYBODY: [u8; 32] = [0; 32];
    const SOMEBODY: [u8; 32] = [1; 32];

    /// For anybody.
    fn made(now_s: u64) -> Ticketer {
        let tickets = Tickets::default();
        tickets.belong_to(ANYBODY, now_s).unwrap();
        Ticketer::new(Arc::new(tickets), ANYBODY)
    }

    #[test]
    fn a_ticket_is_opened_whole_and_unchanged_only() {
        let tickets = made(UnixTime::now().as_secs());
        let ticket = tickets.encrypt(b"a session").unwrap();
        assert_eq!(tickets.decrypt(&ticket).unwrap(), b"a session");
        for at in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[at] ^= 1;
            assert_eq!(tickets.decrypt(&changed), None, "{at}");
            assert_eq!(tickets.decrypt(&ticket[..at]), None, "{at}");
        }
        assert_eq!(tickets.decrypt(&[7; TICKET_BYTES_MAX + 1]), None);
        // Two of the same are not alike.
        assert_ne!(tickets.encrypt(b"a session").unwrap(), ticket);
    }

    #[test]
    fn keys_are_renewed_and_old_ones_let_go_of() {
        let now_s = UnixTime::now().as_secs();
        let ticketer = made(now_s);
        let tickets = &ticketer.tickets;
        let ticket = ticketer.encrypt(b"x").unwrap();
        tickets.look_after(now_s + MAKES_S - 1);
        assert_eq!(tickets.read().all.len(), 1);
        tickets.look_after(now_s + MAKES_S);
        assert_eq!(tickets.read().all.len(), 2);
        assert!(ticketer.decrypt(&ticket).is_some());
        let newer = ticketer.encrypt(b"y").unwrap();
        tickets.look_after(now_s + OPENS_S);
        assert_eq!(ticketer.decrypt(&ticket), None);
        assert!(ticketer.decrypt(&newer).is_some());
    }

    #[test]
    fn a_key_whose_time_is_over_opens_nothing_though_nobody_looks_after_it() {
        let tickets = made(UnixTime::now().as_secs() - OPENS_S);
        let ticket = tickets.encrypt(b"x").unwrap();
        assert_eq!(tickets.decrypt(&ticket), None);
    }

    #[test]
    fn another_process_goes_on_with_the_keys_for_the_same_clients() {
        let now_s = UnixTime::now().as_secs();
        let first = made(now_s);
        let ticket = first.encrypt(b"x").unwrap();
        let bytes = postcard::to_stdvec(&first.tickets.save()).unwrap();
        let saved: SavedTickets = postcard::from_bytes(&bytes).unwrap();
        let second = made(now_s);
        second.tickets.restore(saved.clone(), now_s);
        assert_eq!(second.decrypt(&ticket).unwrap(), b"x");
        let other = Arc::new(Tickets::default());
        other.belong_to(SOMEBODY, now_s).unwrap();
        other.restore(saved, now_s);
        assert_eq!(Ticketer::new(other, SOMEBODY).decrypt(&ticket), None);
        assert!(!format!("{:?}", first.tickets.save()).contains("secret"));
    }

    #[test]
    fn other_authorities_make_old_tickets_worthless() {
        let now_s = UnixTime::now().as_secs();
        let before = made(now_s);
        let ticket = before.encrypt(b"x").unwrap();
        before.tickets.belong_to(ANYBODY, now_s).unwrap();
        assert!(before.decrypt(&ticket).is_some());
        before.tickets.belong_to(SOMEBODY, now_s).unwrap();
        let after = Ticketer::new(before.tickets.clone(), SOMEBODY);
        assert_eq!(after.decrypt(&ticket), None);
    }

    #[test]
    fn a_handshake_that_began_before_makes_no_ticket_for_other_authorities() {
        let now_s = UnixTime::now().as_secs();
        let before = made(now_s);
        before.tickets.belong_to(SOMEBODY, now_s).unwrap();
        assert_eq!(before.encrypt(b"x"), None);
        let after = Ticketer::new(before.tickets.clone(), SOMEBODY);
        let ticket = after.encrypt(b"x").unwrap();
        assert_eq!(before.decrypt(&ticket), None);
        assert!(after.decrypt(&ticket).is_some());
    }
}
