//! Handing requests to the kernel, and what to do when it takes none.

use std::io;
use std::time::Duration;

use io_uring::{EnterFlags, IoUring};

/// How long a core rests when the kernel has taken nothing twice running: it is
/// out of memory, and asking faster would only keep it so.
const REST: Duration = Duration::from_millis(1);

/// Further calls that bring what the first has left.
const CALLS_MAX: usize = 16;

/// What the kernel has done with the requests that were queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Handed {
    Over,
    /// Some are still queued: the kernel lacks memory for them, or room for
    /// their answers. Taking completions is the cure for both.
    Refused,
}

/// Hands all queued requests to the kernel, and has it deliver what is due if
/// `flags` say so, even where it takes no request.
pub(super) fn hand_over(ring: &mut IoUring, flags: EnterFlags) -> io::Result<Handed> {
    loop {
        let requests = ring.submission().len();
        match enter(ring, requests, flags) {
            Ok(taken) if taken >= requests => return Ok(Handed::Over),
            // It stops at the first that it has no memory for.
            Ok(taken) if taken > 0 => {}
            Err(error) if !is_passing(&error) => return Err(error),
            Ok(_) | Err(_) => break,
        }
    }
    // A call that takes no request delivers nothing either.
    match enter(ring, 0, flags) {
        Err(error) if !is_passing(&error) => Err(error),
        Ok(_) | Err(_) => Ok(Handed::Refused),
    }
}

/// Has the kernel deliver what it has left of what is due, up to a bound. From Linux 6.13 on a call
/// works off 20 pieces (`IO_LOCAL_TW_DEFAULT_MAX`) and keeps the others in their order: a message
/// would wait for as many rounds as there are newcomers before it.
pub(super) fn work_off(ring: &mut IoUring) -> io::Result<()> {
    for _ in 0..CALLS_MAX {
        if !ring.submission().taskrun() {
            break;
        }
        match enter(ring, 0, EnterFlags::GETEVENTS) {
            Err(error) if !is_passing(&error) => return Err(error),
            // Completions have to be taken first.
            Err(_) => break,
            Ok(_) => {}
        }
    }
    Ok(())
}

fn enter(ring: &mut IoUring, requests: usize, flags: EnterFlags) -> io::Result<usize> {
    loop {
        // SAFETY: no argument is passed along; the entries are valid as of
        // the ring's `push`.
        let entered = unsafe {
            ring.submitter()
                .enter::<libc::sigset_t>(requests as u32, 0, flags.bits(), None)
        };
        match entered {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            entered => return entered,
        }
    }
}

/// io_uring_enter(2): EAGAIN and ENOMEM are a want of memory, EBUSY is a full
/// completion queue.
fn is_passing(error: &io::Error) -> bool {
    let passing = [libc::EAGAIN, libc::ENOMEM, libc::EBUSY];
    error
        .raw_os_error()
        .is_some_and(|code| passing.contains(&code))
}

/// How often the kernel lacked memory, and whether a rest is due.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    count: u64,
    /// There was one since the last look.
    fresh: bool,
    /// Looks running that found one.
    running: u32,
}

impl Refusals {
    pub(super) fn note(&mut self) {
        self.count += 1;
        self.fresh = true;
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Whether a rest is due before the kernel is asked again. The first
    /// refusal is answered by taking completions alone.
    fn is_rest_due(&mut self) -> bool {
        self.running = match std::mem::take(&mut self.fresh) {
            true => self.running.saturating_add(1),
            false => 0,
        };
        self.running > 1
    }

    /// Sleeps if that is due. The thread has nothing else to do: all that a
    /// core does goes through the kernel that has no memory for it.
    pub(super) fn rest(&mut self) {
        if self.is_rest_due() {
            std::thread::sleep(REST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_is_due_from_the_second_refusal_running() {
        let mut refusals = Refusals::default();
        assert!(!refusals.is_rest_due());
        refusals.note();
        assert!(!refusals.is_rest_due(), "completions are the first cure");
        refusals.note();
        assert!(refusals.is_rest_due());
        refusals.note();
        refusals.note();
        assert!(refusals.is_rest_due());
        assert!(!refusals.is_rest_due(), "the kernel has memory again");
        assert_eq!(refusals.count(), 4);
    }

    #[test]
    fn a_want_of_memory_passes_and_a_bad_ring_does_not() {
        for code in [libc::EAGAIN, libc::ENOMEM, libc::EBUSY] {
            assert!(is_passing(&io::Error::from_raw_os_error(code)));
        }
        for code in [libc::EBADF, libc::EINVAL, libc::EBADR] {
            assert!(!is_passing(&io::Error::from_raw_os_error(code)));
        }
    }
}
