//! What `fanfare probe` finds out.

use std::io;
use std::os::fd::AsFd;

use nix::sys::eventfd::EventFd;

use super::{descriptors, why_no_core};
use crate::config::Settings;
use crate::core::{Rings, Room};
use crate::ring::{Abilities, Probe};

/// What `fanfare probe` prints: what the kernel offers, and whether the rings of
/// all cores fit into the limits, in the sizes that serving makes them.
///
/// # Errors
/// What is missing, and the cure.
pub fn probe(settings: &Settings) -> Result<String, String> {
    descriptors::prepare();
    let probe = Probe::run().map_err(|missing| missing.to_string())?;
    let cores = settings.cores;
    // As many again for the process that takes over in an upgrade.
    let (made, shortage) = try_rings(settings, 2 * cores, probe.abilities);
    let upgrade = match shortage {
        Some(error) if made < cores => return Err(why_no_core(&error, cores, made)),
        Some(_) => "but not those of a successor in an upgrade: raise the limit of locked memory",
        None => "and those of a successor in an upgrade",
    };
    let rings = match cores {
        1 => "the rings of 1 core".to_owned(),
        cores => format!("the rings of {cores} cores"),
    };
    Ok(format!("{probe}  {rings} can be made, {upgrade}"))
}

/// Makes the rings of `wanted` cores and lets them go. Returns of how many they
/// were, and what kept the next from being made.
fn try_rings(
    settings: &Settings,
    wanted: usize,
    abilities: Abilities,
) -> (usize, Option<io::Error>) {
    let make = || {
        let wake = EventFd::new()?;
        let (buffers, room) = (settings.receive_buffers, Room::of(settings));
        Rings::make(buffers, room, wake.as_fd(), abilities)
    };
    let mut rings = Vec::new();
    while rings.len() < wanted {
        match make() {
            Ok(made) => rings.push(made),
            Err(error) => return (rings.len(), Some(error)),
        }
    }
    (wanted, None)
}
