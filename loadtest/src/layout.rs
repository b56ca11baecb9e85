//! How many threads and source addresses a run needs.
//!
//! A connection is a slot of a ring's file table, and a table may be as large as
//! the process's descriptor limit. Each ring has its own table, so that more
//! threads hold more connections than the process has descriptors. A pair of
//! addresses has one connection per port, so that more than the port range
//! holds needs more source addresses; on loopback there are plenty.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use thiserror::Error;

/// Connections per ring: each may have a receive and a send complete at once.
const SLOTS_MAX: usize = 16_384;
/// Share of the port range that a source address can give; the rest is left to
/// others on the machine.
const PORTS_MOST_PERCENT: usize = 90;
/// Share up to which the kernel finds a free port fast: it looks at every second
/// one first, and long before all are taken a connect takes milliseconds.
const PORTS_FAST_PERCENT: usize = 40;

/// 127.0.1.0: the addresses after it are used where one has too few ports.
const LOOPBACK_SOURCES: u32 = 0x7f00_0100;

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub descriptors: usize,
    pub ports: usize,
    pub processors: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The first members, so many, have the first threads to themselves.
    apart: usize,
    apart_threads: usize,
    other_threads: usize,
    /// Empty: the kernel chooses.
    pub sources: Vec<IpAddr>,
}

#[derive(Debug, Error, PartialEq, Eq)]
pub enum LayoutError {
    #[error(
        "{connections} connections to {target} need {needed} source addresses ({per_source} \
         ports each): name local addresses with --source, or widen net.ipv4.ip_local_port_range"
    )]
    Sources {
        connections: usize,
        target: SocketAddr,
        needed: usize,
        per_source: usize,
    },
}

impl Limits {
    /// Raises the descriptor limit as far as it goes and reads the rest.
    pub fn of_this_machine() -> Limits {
        let mut descriptors = 1024;
        if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
            // Without the raise the soft limit counts, which the next line reads.
            let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
        }
        if let Ok((soft, _)) = getrlimit(Resource::RLIMIT_NOFILE) {
            descriptors = soft as usize;
        }
        let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
        let mut bounds = range
            .iter()
            .flat_map(|text| text.split_whitespace())
            .map_while(|word| word.parse::<usize>().ok());
        let ports = match (bounds.next(), bounds.next()) {
            (Some(low), Some(high)) if high > low => high - low + 1,
            _ => 28_232,
        };
        Limits {
            descriptors,
            ports,
            processors: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }
}

impl Layout {
    /// `threads`: as asked for, by default half of the processors, since the
    /// server wants the others; more if that many connections need more rings.
    /// `apart`: so many of the connections have threads of their own.
    pub fn new(
        connections: usize,
        apart: usize,
        target: SocketAddr,
        threads: Option<usize>,
        sources: &[IpAddr],
        limits: Limits,
    ) -> Result<Layout, LayoutError> {
        let slots = limits.descriptors.clamp(1, SLOTS_MAX);
        let wanted = threads.unwrap_or(limits.processors / 2).max(1);
        let apart_threads = apart.div_ceil(slots);
        let other_threads = wanted.max((connections - apart).div_ceil(slots));
        let share = |percent: usize| (limits.ports * percent / 100).max(1);
        let (fast, most) = (share(PORTS_FAST_PERCENT), share(PORTS_MOST_PERCENT));
        let needed = connections.div_ceil(most);
        let sources = match target.ip() {
            _ if !sources.is_empty() && needed <= sources.len() => sources.to_vec(),
            IpAddr::V4(ip) if ip.is_loopback() && sources.is_empty() && connections > fast => {
                let nth = |n: usize| Ipv4Addr::from_bits(LOOPBACK_SOURCES + n as u32);
                let wanted = connections.div_ceil(fast);
                (1..=wanted).map(|n| IpAddr::V4(nth(n))).collect()
            }
            _ if needed <= 1 => Vec::new(),
            _ => {
                return Err(LayoutError::Sources {
                    connections,
                    target,
                    needed,
                    per_source: most,
                });
            }
        };
        Ok(Layout {
            apart,
            apart_threads,
            other_threads,
            sources,
        })
    }

    /// The first threads, which those have for themselves that are apart.
    pub fn apart_threads(&self) -> usize {
        self.apart_threads
    }

    pub fn threads(&self) -> usize {
        self.apart_threads + self.other_threads
    }

    /// The thread of the `connection`-th connection: they are dealt out like
    /// cards, so that publishers and topics spread.
    pub fn thread(&self, connection: usize) -> u16 {
        let thread = match connection.checked_sub(self.apart) {
            None => connection % self.apart_threads,
            Some(other) => self.apart_threads + other % self.other_threads,
        };
        u16::try_from(thread).expect("a thread holds thousands of connections")
    }

    /// The source address of the `connection`-th connection.
    pub fn source(&self, connection: usize) -> Option<IpAddr> {
        let count = self.sources.len();
        (count > 0).then(|| self.sources[connection % count])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        descriptors: 20_000,
        ports: 28_232,
        processors: 2,
    };

    fn lay_out(connections: usize, target: &str) -> Result<Layout, LayoutError> {
        Layout::new(connections, 0, target.parse().unwrap(), None, &[], LIMITS)
    }

    #[test]
    fn a_small_run_needs_one_thread_and_no_addresses() {
        let layout = lay_out(10_000, "127.0.0.1:80").unwrap();
        assert_eq!((layout.threads(), layout.source(9_999)), (1, None));
    }

    #[test]
    fn beyond_the_tables_come_threads_and_beyond_the_ports_come_addresses() {
        let layout = lay_out(100_000, "127.0.0.1:80").unwrap();
        assert_eq!(layout.threads(), 7);
        assert_eq!(layout.sources.len(), 9);
        assert_eq!(layout.source(0), Some("127.0.1.1".parse().unwrap()));
        assert_eq!(layout.source(99_998), Some("127.0.1.9".parse().unwrap()));
    }

    #[test]
    fn who_lives_apart_shares_a_thread_with_nobody_else() {
        let target = "127.0.0.1:80".parse().unwrap();
        let layout = Layout::new(40_101, 101, target, None, &[], LIMITS).unwrap();
        assert_eq!(layout.threads(), 1 + 3);
        assert!((0..101).all(|connection| layout.thread(connection) == 0));
        assert!((101..40_101).all(|connection| (1..4).contains(&layout.thread(connection))));
    }

    #[test]
    fn another_machine_needs_addresses_from_the_user_and_the_error_says_so() {
        let error = lay_out(30_000, "192.0.2.1:80").unwrap_err();
        assert!(error.to_string().contains("--source"), "{error}");
        let own = ["192.0.2.7".parse().unwrap(), "192.0.2.8".parse().unwrap()];
        let target = "192.0.2.1:80".parse().unwrap();
        let layout = Layout::new(30_000, 0, target, None, &own, LIMITS).unwrap();
        assert_eq!(layout.source(29_999), Some(own[1]));
    }

    #[test]
    fn a_small_descriptor_limit_only_means_more_threads() {
        let limits = Limits {
            descriptors: 1024,
            ..LIMITS
        };
        let target = "127.0.0.1:80".parse().unwrap();
        let layout = Layout::new(10_000, 0, target, Some(2), &[], limits).unwrap();
        assert_eq!(layout.threads(), 10);
    }
}
