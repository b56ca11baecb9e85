//! What those who arrive may take of a core between two turns of its reactor, so that a storm
//! of them holds up no topic: the runtime polls up to 61 of them before it looks at anything
//! else, and each may cost some 100 µs.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// Beside it, what a turn costs is small.
const BETWEEN_TURNS: Duration = Duration::from_micros(200);
/// What the request costs besides that an arrival makes of the kernel: the runtime submits it
/// later.
const REQUEST: Duration = Duration::from_micros(15);

/// How much arrivals have taken since the last turn, and who waits for the next one.
#[derive(Default)]
pub(super) struct Share {
    taken: Cell<Duration>,
    waiting: RefCell<VecDeque<Waker>>,
}

impl Share {
    /// Does an arrival's work, as long as there is some of the share left; else it waits, and
    /// `wake` asks for a turn.
    pub(super) async fn of<T>(&self, wake: impl Fn(), work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        poll_fn(|cx| {
            if self.is_taken() {
                if self.wait(cx) {
                    wake();
                }
                return Poll::Pending;
            }
            let began = Instant::now();
            let outcome = work.as_mut().poll(cx);
            self.taken.set(self.taken.get() + began.elapsed() + REQUEST);
            self.let_in_next();
            outcome
        })
        .await
    }

    /// The reactor has had its turn. True if somebody has waited for that.
    pub(super) fn renew(&self) -> bool {
        self.taken.set(Duration::ZERO);
        self.let_in_next();
        !self.waiting.borrow().is_empty()
    }

    fn is_taken(&self) -> bool {
        self.taken.get() >= BETWEEN_TURNS
    }

    /// One lets in the next, in the order in which they came. Who was woken by something else
    /// meanwhile is woken once more, which harms nobody.
    fn let_in_next(&self) {
        if self.is_taken() {
            return;
        }
        if let Some(next) = self.waiting.borrow_mut().pop_front() {
            next.wake();
        }
    }

    /// True if nobody has asked for a turn yet.
    fn wait(&self, cx: &Context<'_>) -> bool {
        let mut waiting = self.waiting.borrow_mut();
        waiting.push_back(cx.waker().clone());
        waiting.len() == 1
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    type Work<'a> = std::pin::Pin<Box<dyn Future<Output = ()> + 'a>>;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Wakes {
        fn count(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn who_comes_when_the_share_is_taken_waits_for_the_turn_that_it_asks_for() {
        let (share, turns) = (Share::default(), Cell::new(0));
        let arrive = || -> Work { Box::pin(share.of(|| turns.set(turns.get() + 1), async {})) };
        let wakers: [Arc<Wakes>; 3] = Default::default();
        let poll = |number: usize, work: &mut Work| {
            let waker = Waker::from(wakers[number].clone());
            Future::poll(work.as_mut(), &mut Context::from_waker(&waker)).is_ready()
        };
        assert!(poll(0, &mut arrive()));
        assert!(!share.renew(), "nobody waited");

        share.taken.set(BETWEEN_TURNS);
        let (mut first, mut second) = (arrive(), arrive());
        assert!(!poll(1, &mut first));
        assert!(!poll(2, &mut second));
        assert_eq!(turns.get(), 1, "one turn is asked for, not one by each");

        assert!(share.renew(), "the second is to be let in as well");
        assert_eq!((wakers[1].count(), wakers[2].count()), (1, 0));
        assert!(poll(1, &mut first));
        assert_eq!(wakers[2].count(), 1, "the first lets in the second");
        assert!(poll(2, &mut second));
        assert!(!share.renew());
    }

    #[test]
    fn what_an_arrival_does_is_taken_from_the_share_until_the_next_turn() {
        let share = Share::default();
        let most = BETWEEN_TURNS.as_nanos().div_ceil(REQUEST.as_nanos());
        let mut cx = Context::from_waker(Waker::noop());
        let mut done = 0;
        while pin!(share.of(|| (), async {})).poll(&mut cx).is_ready() {
            done += 1;
        }
        assert!((1..=most).contains(&done), "{done} of {most}");
        share.renew();
        assert!(pin!(share.of(|| (), async {})).poll(&mut cx).is_ready());
    }
}
