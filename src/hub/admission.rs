//! Who may connect: counts in total, for each address, and of handshakes.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use crate::config::Settings;
use crate::protocol::http::Reject;

/// Why a connection was turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    Connections,
    Address,
    Handshakes,
    AddressHandshakes,
}

impl From<Refusal> for Reject {
    fn from(refusal: Refusal) -> Reject {
        match refusal {
            Refusal::Connections => Reject::ConnectionsMax,
            Refusal::Address => Reject::AddressConnectionsMax,
            Refusal::Handshakes => Reject::HandshakesMax,
            Refusal::AddressHandshakes => Reject::AddressHandshakesMax,
        }
    }
}

/// The counts behind the connection limits.
#[derive(Debug, Default)]
pub struct Admission {
    /// Handshakes that there are descriptors for, if that is known; those beyond are
    /// told so, for which some are left.
    handshakes_room: Option<usize>,
    connections: AtomicUsize,
    handshakes: AtomicUsize,
    addresses: Mutex<Addresses>,
}

/// By address, which peers choose to some extent.
type Addresses = HashMap<IpAddr, Held, foldhash::quality::RandomState>;

/// What one address has.
#[derive(Debug, Default)]
struct Held {
    /// Those in their handshake included.
    connections: u32,
    handshakes: u32,
}

impl Admission {
    /// Counts where connections in their handshake can have so many descriptors.
    pub fn with_descriptors(descriptors: usize) -> Self {
        Admission {
            handshakes_room: Some((descriptors - descriptors / 4).max(1)),
            ..Admission::default()
        }
    }

    /// Counts a new connection, which is in its handshake. Whose it is may not
    /// be known yet: see [`Admission::name`].
    ///
    /// # Errors
    /// The limit that it would pass; nothing is counted then.
    pub fn enter(&self, settings: &Settings) -> Result<(), Refusal> {
        take(&self.connections, settings.connections_max).map_err(|()| Refusal::Connections)?;
        let room = self.handshakes_room.unwrap_or(usize::MAX);
        if take(&self.handshakes, settings.handshakes_max.min(room)).is_err() {
            self.connections.fetch_sub(1, Ordering::Relaxed);
            return Err(Refusal::Handshakes);
        }
        Ok(())
    }

    /// A connection that has entered is that of `ip`.
    ///
    /// # Errors
    /// The address has as many as it may, or as many in their handshake; it is not counted
    /// there then.
    pub fn name(&self, ip: IpAddr, settings: &Settings) -> Result<(), Refusal> {
        let mut addresses = self.lock();
        let held = addresses.entry(site(ip)).or_default();
        let refusal = if held.connections as usize >= settings.connections_per_address_max {
            Refusal::Address
        } else if held.handshakes as usize >= settings.handshakes_per_address_max {
            Refusal::AddressHandshakes
        } else {
            held.connections += 1;
            held.handshakes += 1;
            return Ok(());
        };
        Err(refusal)
    }

    /// Counts a new connection of which it is known from the beginning whose it is.
    ///
    /// # Errors
    /// The limit that it would pass; nothing is counted then.
    pub fn admit(&self, ip: IpAddr, settings: &Settings) -> Result<(), Refusal> {
        self.enter(settings)?;
        let named = self.name(ip, settings);
        named.inspect_err(|_| self.give_up_unnamed())
    }

    /// Counts a connection that another process has admitted.
    pub fn resume(&self, ip: IpAddr) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.lock().entry(site(ip)).or_default().connections += 1;
    }

    /// A named connection's handshake is over, and it stays.
    pub fn shake(&self, ip: IpAddr) {
        self.handshakes.fetch_sub(1, Ordering::Relaxed);
        self.update(ip, |held| held.handshakes -= 1);
    }

    /// A named connection is gone whose handshake was not over.
    pub fn give_up(&self, ip: IpAddr) {
        self.give_up_unnamed();
        self.update(ip, |held| {
            held.handshakes -= 1;
            held.connections -= 1;
        });
    }

    /// A connection is gone that was never named.
    pub fn give_up_unnamed(&self) {
        self.handshakes.fetch_sub(1, Ordering::Relaxed);
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }

    /// A connection is gone that was through its handshake.
    pub fn leave(&self, ip: IpAddr) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
        self.update(ip, |held| held.connections -= 1);
    }

    fn update(&self, ip: IpAddr, change: impl FnOnce(&mut Held)) {
        let mut addresses = self.lock();
        let Entry::Occupied(mut held) = addresses.entry(site(ip)) else {
            unreachable!("who is named is counted")
        };
        change(held.get_mut());
        if held.get().connections == 0 {
            held.remove();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Addresses> {
        let addresses = self.addresses.lock();
        addresses.expect("nothing panics inside the lock")
    }

    /// Connections there are, those in their handshake included.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Connections in their handshake.
    pub fn handshakes(&self) -> usize {
        self.handshakes.load(Ordering::Relaxed)
    }
}

fn take(count: &AtomicUsize, max: usize) -> Result<(), ()> {
    let more = |n| (n < max).then_some(n + 1);
    let taken = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    taken.map(|_| ()).map_err(|_| ())
}

/// What counts as one address: a whole /64 in IPv6, as that is what one
/// customer is given.
pub(super) fn site(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(connections: usize, address: usize, handshakes: usize) -> Settings {
        Settings {
            connections_max: connections,
            connections_per_address_max: address,
            handshakes_max: handshakes,
            handshakes_per_address_max: handshakes,
            ..Settings::default()
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn handshakes_are_no_more_than_there_are_descriptors_for() {
        let (admission, limits) = (Admission::with_descriptors(4), limits(9, 9, 9));
        for _ in 0..3 {
            assert_eq!(admission.enter(&limits), Ok(()));
        }
        assert_eq!(admission.enter(&limits), Err(Refusal::Handshakes));
    }

    #[test]
    fn each_limit_refuses_and_counts_nothing() {
        let (admission, limits) = (Admission::default(), limits(3, 2, 2));
        let (one, two) = (ip("192.0.2.1"), ip("192.0.2.2"));
        admission.admit(one, &limits).unwrap();
        admission.admit(one, &limits).unwrap();
        assert_eq!(admission.admit(two, &limits), Err(Refusal::Handshakes));
        admission.shake(one);
        assert_eq!(admission.admit(one, &limits), Err(Refusal::Address));
        admission.shake(one);
        admission.admit(two, &limits).unwrap();
        assert_eq!(admission.admit(two, &limits), Err(Refusal::Connections));
        assert_eq!((admission.connections(), admission.handshakes()), (3, 1));
        admission.leave(one);
        admission.admit(two, &limits).unwrap();
    }

    #[test]
    fn one_address_cannot_hold_all_handshakes() {
        let admission = Admission::default();
        let limits = Settings {
            handshakes_per_address_max: 2,
            ..limits(9, 9, 3)
        };
        let (one, two) = (ip("192.0.2.1"), ip("192.0.2.2"));
        admission.admit(one, &limits).unwrap();
        admission.admit(one, &limits).unwrap();
        let refused = admission.admit(one, &limits);
        assert_eq!(refused, Err(Refusal::AddressHandshakes));
        admission.admit(two, &limits).unwrap();
        admission.give_up(two);
        admission.shake(one);
        admission.admit(one, &limits).unwrap();
        assert_eq!((admission.connections(), admission.handshakes()), (3, 2));
    }

    #[test]
    fn who_has_left_is_forgotten() {
        let (admission, limits) = (Admission::default(), limits(9, 9, 9));
        let one = ip("192.0.2.1");
        admission.admit(one, &limits).unwrap();
        admission.admit(one, &limits).unwrap();
        admission.give_up(one);
        admission.shake(one);
        admission.leave(one);
        assert_eq!((admission.connections(), admission.handshakes()), (0, 0));
        assert!(admission.lock().is_empty());
    }

    #[test]
    fn a_lowered_limit_holds_for_who_comes_next() {
        let admission = Admission::default();
        admission.admit(ip("192.0.2.1"), &limits(9, 9, 9)).unwrap();
        let refused = admission.admit(ip("192.0.2.1"), &limits(9, 1, 9));
        assert_eq!(refused, Err(Refusal::Address));
        assert_eq!(admission.connections(), 1);
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let (admission, limits) = (Admission::default(), limits(9, 1, 9));
        admission.admit(ip("2001:db8::1"), &limits).unwrap();
        assert_eq!(
            admission.admit(ip("2001:db8::2:1"), &limits),
            Err(Refusal::Address)
        );
        admission.admit(ip("2001:db8:0:1::1"), &limits).unwrap();
        admission.admit(ip("::ffff:192.0.2.1"), &limits).unwrap();
        assert_eq!(
            admission.admit(ip("192.0.2.1"), &limits),
            Err(Refusal::Address)
        );
    }
}
