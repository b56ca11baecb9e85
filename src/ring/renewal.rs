//! Requests that wait for long, made anew now and then, for kernels before 6.13.
//!
//! There a file that is taken out of a ring's table is let go of only once all
//! requests have ended that began before it was taken out, whatever file they
//! are about. A receive waits for as long as its peer is silent, so one idle
//! connection would keep the sockets of all that come and go after it. Called off
//! and asked for again, a receive is younger than those.

use super::Errno;
use super::token::Kind;

/// Each waiting request is made anew once in so many calls of [`Renewal::next`],
/// which come four times a second: a closed socket is kept for a minute or two.
const ROUNDS: usize = 240;

/// What a slot waits for, and which of it is being called off to be asked again.
#[derive(Clone, Copy, Default)]
struct Waiting {
    receives: bool,
    awaits: bool,
    renews_receive: bool,
    renews_await: bool,
}

impl Waiting {
    fn of(&mut self, kind: Kind) -> (&mut bool, &mut bool) {
        match kind {
            Kind::Receive => (&mut self.receives, &mut self.renews_receive),
            Kind::Writable => (&mut self.awaits, &mut self.renews_await),
            _ => unreachable!("nothing else waits"),
        }
    }
}

/// What waits, by slot.
pub(super) struct Renewal {
    slots: Vec<Waiting>,
    /// Where the next call begins.
    from: usize,
}

impl Renewal {
    pub(super) fn new(slots: u32) -> Self {
        Renewal {
            // Reserved, and touched only as slots are used.
            slots: Vec::with_capacity(slots as usize),
            from: 0,
        }
    }

    /// It is asked for, by whoever wants its answer.
    pub(super) fn asked(&mut self, kind: Kind, slot: u32) {
        if self.slots.len() <= slot as usize {
            self.slots.resize(slot as usize + 1, Waiting::default());
        }
        let (waits, renews) = self.slots[slot as usize].of(kind);
        (*waits, *renews) = (true, false);
    }

    /// It is called off by whoever asked for it, who is to be told.
    pub(super) fn called_off(&mut self, kind: Kind, slot: u32) {
        // In a slot where nothing was ever asked for there is nothing to call off.
        if let Some(waiting) = self.slots.get_mut(slot as usize) {
            *waiting.of(kind).1 = false;
        }
    }

    /// It has ended. True if that is the end which [`Renewal::next`] has brought
    /// about: nobody is to be told, and it is to be asked for again.
    pub(super) fn ended(&mut self, kind: Kind, slot: u32, result: Result<u32, Errno>) -> bool {
        let (waits, renews) = self.slots[slot as usize].of(kind);
        let renewed = std::mem::take(renews) && result == Err(Errno::ECANCELED);
        *waits = renewed;
        renewed
    }

    /// What is to be called off now, so that it is asked for again.
    pub(super) fn next(&mut self) -> Vec<(Kind, u32)> {
        let end = self
            .slots
            .len()
            .min(self.from + self.slots.len().div_ceil(ROUNDS));
        let mut due = Vec::new();
        for slot in self.from..end {
            for kind in [Kind::Receive, Kind::Writable] {
                let (waits, renews) = self.slots[slot].of(kind);
                if *waits && !*renews {
                    *renews = true;
                    due.push((kind, slot as u32));
                }
            }
        }
        self.from = if end == self.slots.len() { 0 } else { end };
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CANCELED: Result<u32, Errno> = Err(Errno::ECANCELED);

    #[test]
    fn every_slot_has_its_turn() {
        let mut renewal = Renewal::new(1000);
        for slot in 0..1000 {
            renewal.asked(Kind::Receive, slot);
        }
        let due: Vec<_> = (0..ROUNDS).flat_map(|_| renewal.next()).collect();
        assert_eq!(due.len(), 1000);
        assert!(renewal.next().is_empty(), "they are being called off");
        for slot in 0..1000 {
            assert!(renewal.ended(Kind::Receive, slot, CANCELED));
        }
        assert_eq!((0..ROUNDS).flat_map(|_| renewal.next()).count(), 1000);
    }

    #[test]
    fn an_end_of_its_own_is_told() {
        let mut renewal = Renewal::new(1);
        renewal.asked(Kind::Receive, 0);
        assert_eq!(renewal.next(), [(Kind::Receive, 0)]);
        assert!(!renewal.ended(Kind::Receive, 0, Ok(0)));
        assert!(renewal.next().is_empty(), "it waits no more");
    }

    #[test]
    fn who_calls_off_what_is_being_renewed_is_told() {
        let mut renewal = Renewal::new(1);
        renewal.asked(Kind::Writable, 0);
        assert_eq!(renewal.next(), [(Kind::Writable, 0)]);
        renewal.called_off(Kind::Writable, 0);
        assert!(!renewal.ended(Kind::Writable, 0, CANCELED));
    }
}
