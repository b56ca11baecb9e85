//! Who may connect: counts in total, for each address, and of handshakes.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::config::Settings;

/// Why a connection was turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    Connections,
    Address,
    Handshakes,
}

/// The counts behind the connection limits.
#[derive(Debug)]
pub struct Admission {
    connections_max: usize,
    per_address_max: usize,
    handshakes_max: usize,
    connections: AtomicUsize,
    handshakes: AtomicUsize,
    addresses: Mutex<HashMap<IpAddr, u32>>,
}

impl Admission {
    pub fn new(settings: &Settings) -> Self {
        Admission {
            connections_max: settings.connections_max,
            per_address_max: settings.connections_per_address_max,
            handshakes_max: settings.handshakes_max,
            connections: AtomicUsize::new(0),
            handshakes: AtomicUsize::new(0),
            addresses: Mutex::new(HashMap::new()),
        }
    }

    /// Counts a new connection from `ip`, which is in its handshake.
    ///
    /// # Errors
    /// The limit that it would pass; nothing is counted then.
    pub fn enter(&self, ip: IpAddr) -> Result<(), Refusal> {
        take(&self.connections, self.connections_max).map_err(|()| Refusal::Connections)?;
        if take(&self.handshakes, self.handshakes_max).is_err() {
            self.connections.fetch_sub(1, Ordering::Relaxed);
            return Err(Refusal::Handshakes);
        }
        let mut addresses = self
            .addresses
            .lock()
            .expect("nothing panics inside the lock");
        let count = addresses.entry(site(ip)).or_insert(0);
        if *count as usize >= self.per_address_max {
            drop(addresses);
            self.connections.fetch_sub(1, Ordering::Relaxed);
            self.handshakes.fetch_sub(1, Ordering::Relaxed);
            return Err(Refusal::Address);
        }
        *count += 1;
        Ok(())
    }

    /// Counts a connection that another process has admitted.
    pub fn resume(&self, ip: IpAddr) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        let mut addresses = self
            .addresses
            .lock()
            .expect("nothing panics inside the lock");
        *addresses.entry(site(ip)).or_insert(0) += 1;
    }

    /// The connection's handshake is over, one way or the other.
    pub fn shake(&self) {
        self.handshakes.fetch_sub(1, Ordering::Relaxed);
    }

    /// The connection is gone.
    pub fn leave(&self, ip: IpAddr) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
        let mut addresses = self
            .addresses
            .lock()
            .expect("nothing panics inside the lock");
        let Entry::Occupied(mut count) = addresses.entry(site(ip)) else {
            unreachable!("who leaves has entered")
        };
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
        }
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
fn site(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(connections: usize, address: usize, handshakes: usize) -> Admission {
        Admission::new(&Settings {
            connections_max: connections,
            connections_per_address_max: address,
            handshakes_max: handshakes,
            ..Settings::default()
        })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_limit_refuses_and_counts_nothing() {
        let admission = admission(3, 2, 2);
        let (one, two) = (ip("192.0.2.1"), ip("192.0.2.2"));
        admission.enter(one).unwrap();
        admission.enter(one).unwrap();
        assert_eq!(admission.enter(two), Err(Refusal::Handshakes));
        admission.shake();
        assert_eq!(admission.enter(one), Err(Refusal::Address));
        admission.shake();
        admission.enter(two).unwrap();
        assert_eq!(admission.enter(two), Err(Refusal::Connections));
        assert_eq!((admission.connections(), admission.handshakes()), (3, 1));
        admission.leave(one);
        admission.enter(two).unwrap();
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let admission = admission(9, 1, 9);
        admission.enter(ip("2001:db8::1")).unwrap();
        assert_eq!(admission.enter(ip("2001:db8::2:1")), Err(Refusal::Address));
        admission.enter(ip("2001:db8:0:1::1")).unwrap();
        admission.enter(ip("::ffff:192.0.2.1")).unwrap();
        assert_eq!(admission.enter(ip("192.0.2.1")), Err(Refusal::Address));
    }
}
