//! Who a peer is, and how much it says.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// A peer's address in 18 bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer {
    ip: [u8; 16],
    port: u16,
}

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Self {
        let ip = match address.ip() {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        Peer {
            ip: ip.octets(),
            port: address.port(),
        }
    }
}

impl Peer {
    pub(super) fn address(self) -> SocketAddr {
        SocketAddr::new(Ipv6Addr::from(self.ip).to_canonical(), self.port)
    }
}

/// What came in during the present second, for the rate limit.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rate {
    second: u32,
    messages: u32,
    /// No more than 4 GiB in a second are told apart.
    bytes: u32,
}

impl Rate {
    /// Begins anew with each second.
    #[inline]
    pub(super) fn look_at_clock(&mut self, now_ms: u64) {
        let second = (now_ms / 1000) as u32;
        if second != self.second {
            *self = Rate {
                second,
                ..Rate::default()
            };
        }
    }

    /// Counts one message; false when it is one too many in this second.
    #[inline]
    pub(super) fn admit_message(&mut self, now_ms: u64, messages_max: u64) -> bool {
        self.look_at_clock(now_ms);
        self.messages = self.messages.saturating_add(1);
        messages_max == 0 || u64::from(self.messages) <= messages_max
    }

    /// Counts bytes of the second that was looked at last; false when they are too
    /// many for it.
    #[inline]
    pub(super) fn admit_bytes(&mut self, len: usize, bytes_max: u64) -> bool {
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        self.bytes = self.bytes.saturating_add(len);
        bytes_max == 0 || u64::from(self.bytes) <= bytes_max
    }

    /// Bytes that may still come in this second.
    pub(super) fn bytes_left(&self, bytes_max: u64) -> usize {
        if bytes_max == 0 {
            return usize::MAX;
        }
        let left = bytes_max.saturating_sub(u64::from(self.bytes));
        usize::try_from(left).unwrap_or(usize::MAX)
    }
}
