//! Addresses that go without compression for a while.
//!
//! A client that compresses in another way than it agreed to is closed with 1007, comes back,
//! and would be closed again with its next message. So who comes from its address meanwhile
//! is offered no compression, which is right for every client and costs only bytes.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::admission::site;

/// Long enough for a page that comes back to stay, short enough for who has the address next.
const FOR_MS: u64 = 10 * 60 * 1000;
/// Beyond so many addresses, further ones are not remembered.
const ADDRESSES_MAX: usize = 4096;

/// The addresses, and until when.
#[derive(Debug, Default)]
pub struct Uncompressed {
    until_ms: Mutex<HashMap<IpAddr, u64>>,
    /// How many there are, so that nearly all handshakes need no lock.
    count: AtomicUsize,
}

impl Uncompressed {
    /// A client at `ip` has sent what does not inflate.
    pub fn note(&self, ip: IpAddr, now_ms: u64) {
        let mut until_ms = self
            .until_ms
            .lock()
            .expect("nothing panics inside the lock");
        if until_ms.len() >= ADDRESSES_MAX {
            until_ms.retain(|_, until| *until > now_ms);
        }
        if until_ms.len() < ADDRESSES_MAX {
            until_ms.insert(site(ip), now_ms + FOR_MS);
        }
        self.count.store(until_ms.len(), Ordering::Relaxed);
    }

    /// Whether a client at `ip` is to go without.
    pub fn holds(&self, ip: IpAddr, now_ms: u64) -> bool {
        if self.count.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let mut until_ms = self
            .until_ms
            .lock()
            .expect("nothing panics inside the lock");
        let site = site(ip);
        let held = until_ms.get(&site).is_some_and(|until| *until > now_ms);
        if !held {
            until_ms.remove(&site);
            self.count.store(until_ms.len(), Ordering::Relaxed);
        }
        held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_goes_without_for_a_while_and_others_do_not() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let addresses = Uncompressed::default();
        assert!(!addresses.holds(ip("192.0.2.1"), 0));
        addresses.note(ip("192.0.2.1"), 5);
        assert!(addresses.holds(ip("192.0.2.1"), 6));
        assert!(addresses.holds(ip("::ffff:192.0.2.1"), FOR_MS + 4));
        assert!(!addresses.holds(ip("192.0.2.2"), 6));
        assert!(!addresses.holds(ip("192.0.2.1"), FOR_MS + 5));
        assert_eq!(addresses.count.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn the_memory_of_addresses_is_bounded() {
        let addresses = Uncompressed::default();
        for n in 0..2 * ADDRESSES_MAX as u32 {
            addresses.note(IpAddr::V4(n.into()), 5);
        }
        let known = |n: u32, now_ms| addresses.holds(IpAddr::V4(n.into()), now_ms);
        assert!(known(0, 6) && !known(ADDRESSES_MAX as u32, 6));
        addresses.note(IpAddr::V4(u32::MAX.into()), FOR_MS + 5);
        assert!(known(u32::MAX, FOR_MS + 6));
        assert_eq!(addresses.count.load(Ordering::Relaxed), 1);
    }
}
