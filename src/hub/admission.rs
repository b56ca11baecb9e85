//! Who may connect: counts in total, for each address, and of handshakes.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::config::Settings;
use crate::protocol::http::Reject;

/// Why a connection was turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    Connections,
    Address,
    Handshakes,
}

impl From<Refusal> for Reject {
    fn from(refusal: Refusal) -> Reject {
        match refusal {
            Refusal::Connections => Reject::ConnectionsMax,
            Refusal::Address => Reject::AddressConnectionsMax,
            Refusal::Handshakes => Reject::HandshakesMax,
        }
    }
}

/// The counts behind the connection limits.
#[derive(Debug, Default)]
pub struct Admission {
    connections: AtomicUsize,
    handshakes: AtomicUsize,
    addresses: Mutex<HashMap<IpAddr, u32>>,
}

impl Admission {
    /// Counts a new connection, which is in its handshake. Whose it is may not
    /// be known yet: see [`Admission::name`].
    ///
    /// # Errors
    /// The limit that it would pass; nothing is counted then.
    pub fn enter(&self, settings: &Settings) -> Result<(), Refusal> {
        take(&self.connections, settings.connections_max).map_err(|()| Refusal::Connections)?;
        if take(&self.handshakes, settings.handshakes_max).is_err() {
            self.connections.fetch_sub(1, Ordering::Relaxed);
            return Err(Refusal::Handshakes);
        }
        Ok(())
    }

    /// A connection that has entered is that of `ip`.
    ///
    /// # Errors
    /// The address has as many as it may; it is not counted there then.
    pub fn name(&self, ip: IpAddr, settings: &Settings) -> Result<(), Refusal> {
        let mut addresses = self
            .addresses
            .lock()
            .expect("nothing panics inside the lock");
        let count = addresses.entry(site(ip)).or_insert(0);
        if *count as usize >= settings.connections_per_address_max {
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

    /// A connection is gone that was never named.
    pub fn leave_unnamed(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }

    /// A named connection is gone.
    pub fn leave(&self, ip: IpAddr) {
        self.leave_unnamed();
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

    fn limits(connections: usize, address: usize, handshakes: usize) -> Settings {
        Settings {
            connections_max: connections,
            connections_per_address_max: address,
            handshakes_max: handshakes,
            ..Settings::default()
        }
    }

    /// As the acceptor does it.
    fn come(admission: &Admission, ip: IpAddr, settings: &Settings) -> Result<(), Refusal> {
        admission.enter(settings)?;
        admission.name(ip, settings).inspect_err(|_| {
            admission.shake();
            admission.leave_unnamed();
        })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_limit_refuses_and_counts_nothing() {
        let (admission, limits) = (Admission::default(), limits(3, 2, 2));
        let (one, two) = (ip("192.0.2.1"), ip("192.0.2.2"));
        come(&admission, one, &limits).unwrap();
        come(&admission, one, &limits).unwrap();
        assert_eq!(come(&admission, two, &limits), Err(Refusal::Handshakes));
        admission.shake();
        assert_eq!(come(&admission, one, &limits), Err(Refusal::Address));
        admission.shake();
        come(&admission, two, &limits).unwrap();
        assert_eq!(come(&admission, two, &limits), Err(Refusal::Connections));
        assert_eq!((admission.connections(), admission.handshakes()), (3, 1));
        admission.leave(one);
        come(&admission, two, &limits).unwrap();
    }

    #[test]
    fn a_lowered_limit_holds_for_who_comes_next() {
        let admission = Admission::default();
        come(&admission, ip("192.0.2.1"), &limits(9, 9, 9)).unwrap();
        let refused = come(&admission, ip("192.0.2.1"), &limits(9, 1, 9));
        assert_eq!(refused, Err(Refusal::Address));
        assert_eq!(admission.connections(), 1);
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let (admission, limits) = (Admission::default(), limits(9, 1, 9));
        come(&admission, ip("2001:db8::1"), &limits).unwrap();
        assert_eq!(
            come(&admission, ip("2001:db8::2:1"), &limits),
            Err(Refusal::Address)
        );
        come(&admission, ip("2001:db8:0:1::1"), &limits).unwrap();
        come(&admission, ip("::ffff:192.0.2.1"), &limits).unwrap();
        assert_eq!(
            come(&admission, ip("192.0.2.1"), &limits),
            Err(Refusal::Address)
        );
    }
}
