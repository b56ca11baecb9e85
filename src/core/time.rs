//! How a core divides time.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// How often a core's connections and its part in stopping are looked at.
pub(super) const TICK: Duration = Duration::from_millis(250);

/// How often room in the log is looked for while a message waits for it, if no reader
/// that kept memory has been cut meanwhile. A look wakes all cores, so it is not taken with every turn.
pub(super) const ROOM_LOOK: Duration = Duration::from_millis(50);

/// How soon who has been sent a message is looked at, where that was put off.
pub(super) const DELIVERY_LOOK: Duration = Duration::from_millis(2);

/// Processor time that this thread has used. Zero where the kernel does not tell.
pub(super) fn thread_cpu_us() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID);
    time.map_or(0, |time| Duration::from(time).as_micros() as u64)
}

/// A part of `whole` that differs as much as can be between neighbouring numbers.
pub(super) fn share_of(whole: u64, number: u64) -> u64 {
    /// 2^64 over the golden ratio: its multiples spread evenly.
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    ((u128::from(number.wrapping_mul(STEP)) * u128::from(whole)) >> 64) as u64
}
