//! Where a core's thread runs.

use std::thread::available_parallelism;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// Pins the calling thread to one of the processors that the process may use, in
/// turn. Without the right to do so it runs where it is put.
///
/// Under a quota (cgroups' `cpu.max`) below those processors it is left to the
/// scheduler: every container of a machine would choose the same few, and wait
/// there while others stand idle. A set of processors for the container alone
/// (`cpuset`) is no quota.
pub(super) fn pin(core: usize) {
    let this_thread = Pid::from_raw(0);
    let Ok(allowed) = sched_getaffinity(this_thread) else {
        return;
    };
    let processors: Vec<usize> = (0..CpuSet::count())
        .filter(|cpu| allowed.is_set(*cpu).unwrap_or(false))
        .collect();
    // The standard library knows the quotas of both kinds of cgroups.
    let worth = available_parallelism().map_or(processors.len(), usize::from);
    let Some(cpu) = processor_of(core, &processors, worth) else {
        return;
    };
    let mut mine = CpuSet::new();
    if mine.set(cpu).is_ok()
        && let Err(error) = sched_setaffinity(this_thread, &mine)
    {
        tracing::warn!(core, cpu, %error, "cannot pin the core to its processor");
    }
}

/// The processor for a core, where `worth` processors' time may be used of those
/// allowed.
fn processor_of(core: usize, allowed: &[usize], worth: usize) -> Option<usize> {
    if worth < allowed.len() {
        return None;
    }
    allowed.get(core % allowed.len().max(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_take_the_allowed_processors_in_turn() {
        let places = (0..5).map(|core| processor_of(core, &[2, 3, 7], 3));
        let places: Vec<_> = places.flatten().collect();
        assert_eq!(places, [2, 3, 7, 2, 3]);
        assert_eq!(processor_of(0, &[], 1), None);
    }

    #[test]
    fn under_a_quota_of_the_machine_no_processor_is_chosen() {
        let machine: Vec<usize> = (0..64).collect();
        assert_eq!(processor_of(0, &machine, 4), None);
        // Four processors of one's own, and no quota or one that is no less.
        assert_eq!(processor_of(1, &[8, 9, 10, 11], 4), Some(9));
    }
}
