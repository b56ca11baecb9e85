//! Threads for what would hold up a core: whoever asks goes on, and is told of the outcome.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// One helper for so many cores: what they do must not crowd out deliveries.
const CORES_PER_HELPER: usize = 4;

/// Where cores want all processors, helpers get a tenth of one: enough to go on with, and what
/// they do does not wait in front of a delivery.
const NICE: i32 = 10;

type Job = Box<dyn FnOnce() + Send>;

/// They are started when there is something to do for the first time.
pub(super) struct Helpers {
    queue: Arc<Queue>,
    threads: usize,
    started: Mutex<bool>,
}

#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    more: Condvar,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    /// Nobody gives jobs any more.
    over: bool,
}

/// There are so many jobs that one more has to come later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Busy;

impl Helpers {
    pub(super) fn new(cores: usize) -> Helpers {
        Helpers {
            queue: Arc::default(),
            threads: cores.div_ceil(CORES_PER_HELPER),
            started: Mutex::new(false),
        }
    }

    /// Has a helper do something, after all that others have been asked for, unless `max` of
    /// that wait.
    ///
    /// # Errors
    /// See [`Busy`]: then it is not done.
    pub(super) fn run(&self, max: usize, job: impl FnOnce() + Send + 'static) -> Result<(), Busy> {
        if !self.has_started() {
            return Err(Busy);
        }
        let mut waiting = self.queue.lock();
        if waiting.jobs.len() >= max {
            return Err(Busy);
        }
        waiting.jobs.push_back(Box::new(job));
        self.queue.more.notify_one();
        Ok(())
    }

    /// The same of a job that is one of many short ones. Behind it the processor goes to who else
    /// wants it: the kernel would leave it to the helper until its next tick, up to 10 ms, while
    /// topics wait.
    ///
    /// # Errors
    /// See [`Busy`]: then it is not done.
    pub(super) fn step(&self, max: usize, job: impl FnOnce() + Send + 'static) -> Result<(), Busy> {
        self.run(max, || {
            job();
            thread::yield_now();
        })
    }

    /// How many jobs wait.
    pub(super) fn waiting(&self) -> usize {
        self.queue.lock().jobs.len()
    }

    /// Starts them, if that has not been done.
    fn has_started(&self) -> bool {
        let started = self.started.lock();
        let mut started = started.unwrap_or_else(PoisonError::into_inner);
        if !*started {
            let start = |number| {
                let queue = self.queue.clone();
                let thread = thread::Builder::new().name(format!("helper-{number}"));
                thread.spawn(move || queue.work())
            };
            let spawned = (0..self.threads).filter(|number| match start(*number) {
                Ok(_) => true,
                Err(error) => {
                    tracing::error!(%error, "cannot start a thread that helps the cores");
                    false
                }
            });
            *started = spawned.count() > 0;
        }
        *started
    }
}

impl Drop for Helpers {
    fn drop(&mut self) {
        self.queue.lock().over = true;
        self.queue.more.notify_all();
    }
}

impl Queue {
    fn work(&self) {
        // It is the thread's own on Linux: nice(2).
        if let Err(error) = rustix::process::nice(NICE) {
            tracing::warn!(%error, "a thread that helps the cores competes with them");
        }
        while let Some(job) = self.next() {
            // Who has asked for this one is not told; the others are to be.
            if catch_unwind(AssertUnwindSafe(job)).is_err() {
                tracing::error!("a thread that helps the cores has panicked, and goes on");
            }
        }
    }

    fn next(&self) -> Option<Job> {
        let mut waiting = self.lock();
        loop {
            if let Some(job) = waiting.jobs.pop_front() {
                return Some(job);
            }
            if waiting.over {
                return None;
            }
            let woken = self.more.wait(waiting);
            waiting = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn all_that_is_asked_for_is_done_elsewhere() {
        let helpers = Helpers::new(9);
        assert_eq!(helpers.threads, 3);
        let (done, outcome) = channel();
        for number in 0..100 {
            let done = done.clone();
            let tell = move || done.send((number, thread::current().id())).unwrap();
            helpers.run(100, tell).unwrap();
        }
        let mut numbers = Vec::new();
        for (number, thread) in outcome.iter().take(100) {
            assert_ne!(thread, thread::current().id());
            numbers.push(number);
        }
        numbers.sort_unstable();
        assert!(numbers.into_iter().eq(0..100));
    }

    /// The niceness of the thread that asks: the nineteenth field, behind a name that may
    /// hold anything, of proc(5).
    fn niceness() -> i32 {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        fields.split(' ').nth(16).unwrap().parse().unwrap()
    }

    #[test]
    fn helpers_give_way_to_the_cores() {
        let helpers = Helpers::new(1);
        let (done, outcome) = channel();
        helpers
            .run(1, move || done.send(niceness()).unwrap())
            .unwrap();
        // 19 is the most there is.
        assert_eq!(outcome.recv().unwrap(), (niceness() + NICE).min(19));
    }

    #[test]
    fn more_than_the_bound_do_not_wait() {
        let helpers = Helpers::new(1);
        let (go, gate) = channel::<()>();
        let (begun, has_begun) = channel();
        let wait = move || {
            begun.send(()).unwrap();
            let _ = gate.recv();
        };
        helpers.run(3, wait).unwrap();
        has_begun.recv().unwrap();
        for _ in 0..3 {
            helpers.run(3, || {}).unwrap();
        }
        assert_eq!(helpers.run(3, || {}), Err(Busy));
        assert_eq!(helpers.waiting(), 3);
        drop(go);
        let (done, outcome) = channel();
        helpers.run(4, move || done.send(()).unwrap()).unwrap();
        outcome.recv().unwrap();
    }

    #[test]
    fn a_panic_costs_the_others_nothing() {
        let helpers = Helpers::new(1);
        let (done, outcome) = channel();
        helpers.run(2, || panic!("as a test wants it")).unwrap();
        helpers.run(2, move || done.send(()).unwrap()).unwrap();
        outcome.recv().unwrap();
    }
}
