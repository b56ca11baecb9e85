//! The process's table of descriptors, before there are threads that share it.

use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// As many as may shake hands at a time on a large machine; a place is eight bytes of the kernel's.
const PLACES_MAX: u64 = 1 << 16;

/// Connections need entries in file tables that are bounded like descriptors.
pub(super) fn prepare() {
    match raise() {
        Ok(limit) => widen(limit.min(PLACES_MAX)),
        Err(error) => tracing::warn!(%error, "cannot raise the limit of open files"),
    }
}

fn raise() -> nix::Result<u64> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(hard)
}

/// Has the kernel make the table as large as it may become. Where threads share it, each time
/// that it doubles whoever needs the next descriptor sleeps until all processors have seen that
/// (`expand_files` in Linux's fs/file.c): 10 ms and more, for all topics of a core that accepts.
fn widen(places: u64) {
    let last = places.saturating_sub(1) as i32;
    if let Err(error) = rustix::io::fcntl_dupfd_cloexec(io::stderr(), last) {
        tracing::debug!(%error, "the table of descriptors grows when it has to");
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_table_has_its_places_before_they_are_needed() {
        widen(1000);
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("FDSize:"));
        let size: u64 = line.unwrap()["FDSize:".len()..].trim().parse().unwrap();
        assert!(size >= 1000, "{size}");
    }
}
