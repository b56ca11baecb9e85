//! How many of the process's plain descriptors connections may hold. One does from
//! when the acceptor has it until it is a WebSocket, which lives in the ring's own table,
//! or has been refused. The rest is for the admin listeners, a handover and files, so
//! that silent peers cannot keep the operator out.

use nix::sys::resource::{Resource, getrlimit};

/// Rings, eventfds, epoll and timers of a core, with its handles on the listeners.
const OF_CORE: u64 = 24;
/// 64 connections on each of a few admin listeners, two messages of a handover with
/// its sockets in both hands, and what libraries open.
const OF_REST: u64 = 1000;

/// Connections that may hold a descriptor at a time, on all cores together.
pub fn guests_max(cores: usize) -> usize {
    let files = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft);
    of_limit(files, cores as u64) as usize
}

fn of_limit(files: u64, cores: u64) -> u64 {
    let rest = files.saturating_sub(OF_CORE * cores);
    // Where there are few, the others have to do with half of them.
    rest.saturating_sub(OF_REST).max(rest / 2).max(cores)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn something_is_always_left_for_others() {
        assert_eq!(of_limit(1 << 20, 4), (1 << 20) - 96 - 1000);
        assert_eq!(of_limit(1024, 2), 488);
        assert_eq!(of_limit(256, 2), 104);
        assert_eq!(of_limit(20, 2), 2);
    }
}
