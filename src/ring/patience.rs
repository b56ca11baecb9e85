//! Waiting for locked memory that is about to come back.
//!
//! A worker of the kernel gives back the memory of a closed ring a moment after
//! its process has ended. A daemon that is started in that moment must not fail.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

const STEP: Duration = Duration::from_millis(10);

/// How much longer this process waits, for all its rings together.
static PATIENCE: Patience = Patience::new(Duration::from_millis(500));

/// Makes a ring, and tries again for a while where the kernel says ENOMEM.
pub fn patiently<T>(make: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    PATIENCE.make(make)
}

struct Patience(Mutex<Duration>);

impl Patience {
    const fn new(left: Duration) -> Patience {
        Patience(Mutex::new(left))
    }

    fn make<T>(&self, mut make: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        loop {
            match make() {
                Err(error) if error.raw_os_error() == Some(libc::ENOMEM) && self.spend() => {
                    thread::sleep(STEP);
                }
                made => return made,
            }
        }
    }

    /// Whether there was patience left for one more step.
    fn spend(&self) -> bool {
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let rest = left.checked_sub(STEP);
        *left = rest.unwrap_or_default();
        rest.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuses(code: i32, times: usize) -> impl FnMut() -> io::Result<usize> {
        let mut tries = 0;
        move || {
            tries += 1;
            match tries > times {
                true => Ok(tries),
                false => Err(io::Error::from_raw_os_error(code)),
            }
        }
    }

    #[test]
    fn memory_that_comes_back_is_waited_for() {
        let patience = Patience::new(3 * STEP);
        assert_eq!(patience.make(refuses(libc::ENOMEM, 2)).unwrap(), 3);
        // One step is left for all that follow.
        let error = patience.make(refuses(libc::ENOMEM, 2)).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOMEM));
        assert_eq!(patience.make(refuses(libc::ENOMEM, 0)).unwrap(), 1);
    }

    #[test]
    fn nothing_else_is_waited_for() {
        let patience = Patience::new(3 * STEP);
        let error = patience.make(refuses(libc::EPERM, 1)).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EPERM));
        assert!(patience.make(refuses(libc::ENOMEM, 3)).is_ok());
    }
}
