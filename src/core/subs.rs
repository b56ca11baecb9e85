//! Subscriptions: where connections stand in the topics they follow.
//!
//! A connection's first subscription lies in its record, so that following one
//! topic costs nothing besides. Further ones lie in a slab of the core, in a list
//! that begins at their owner. Feeds know both by their [`SubId`].

/// A subscription's name on its core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct SubId(u32);

/// Set for those in the slab; the others are named by their connection's slot.
const FURTHER: u32 = 1 << 31;

impl SubId {
    /// The one in the record of the connection in `slot`.
    #[inline]
    pub(super) fn first(slot: u32) -> Self {
        debug_assert!(slot < FURTHER);
        SubId(slot)
    }

    /// The slot of the connection whose record holds it, if one does.
    #[inline]
    pub(super) fn slot(self) -> Option<u32> {
        (self.0 & FURTHER == 0).then_some(self.0)
    }

    fn further(index: u32) -> Self {
        assert!(index < FURTHER);
        SubId(index | FURTHER)
    }

    fn index(self) -> usize {
        (self.0 & !FURTHER) as usize
    }
}

/// Where one subscriber stands in one feed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subscription {
    /// Position in the feed's log of the next byte it gets.
    pub(super) cursor: u64,
    /// The feed, by the core's own number.
    pub(super) feed: u32,
    /// Its seat among the feed's subscribers.
    pub(super) place: u32,
}

/// The seat of what is no subscription at present.
const NO_PLACE: u32 = u32::MAX;

impl Subscription {
    pub(super) const NONE: Subscription = Subscription {
        cursor: 0,
        feed: 0,
        place: NO_PLACE,
    };

    #[inline]
    pub(super) fn is_seated(&self) -> bool {
        self.place != NO_PLACE
    }
}

/// A subscription beyond the first of its connection.
#[derive(Debug)]
pub(super) struct Further {
    pub(super) sub: Subscription,
    /// The slot of its connection, and [`READY`].
    owner: u32,
    /// The next one of the same connection, or of those that are free.
    next: u32,
}

const _: () = assert!(size_of::<Subscription>() == 16 && size_of::<Further>() == 24);

/// In `owner`: it stands in its connection's ready-ring.
const READY: u32 = 1 << 31;
/// The end of a list.
const END: u32 = u32::MAX;

/// All further subscriptions of a core.
#[derive(Debug)]
pub(super) struct Subs {
    entries: Vec<Further>,
    free: u32,
}

/// A connection's further subscriptions: the head of their list.
#[derive(Debug)]
pub(super) struct List(u32);

impl Default for List {
    fn default() -> Self {
        List(END)
    }
}

impl Subs {
    pub(super) fn new() -> Self {
        Subs {
            entries: Vec::new(),
            free: END,
        }
    }

    /// Adds a subscription, without a seat yet, to the list of `owner`.
    pub(super) fn add(&mut self, list: &mut List, owner: u32) -> SubId {
        let entry = Further {
            sub: Subscription::NONE,
            owner,
            next: list.0,
        };
        let index = if self.free == END {
            self.entries.push(entry);
            self.entries.len() as u32 - 1
        } else {
            let index = self.free;
            self.free = self.entries[index as usize].next;
            self.entries[index as usize] = entry;
            index
        };
        list.0 = index;
        SubId::further(index)
    }

    /// Takes a subscription, which has given up its seat, from its list.
    pub(super) fn remove(&mut self, list: &mut List, id: SubId) {
        let index = id.index();
        assert!(!self.entries[index].sub.is_seated());
        let after = self.entries[index].next;
        if list.0 as usize == index {
            list.0 = after;
        } else {
            let mut at = list.0 as usize;
            while self.entries[at].next as usize != index {
                at = self.entries[at].next as usize;
            }
            self.entries[at].next = after;
        }
        self.entries[index].next = self.free;
        self.free = index as u32;
    }

    /// Those in a list, the newest first.
    pub(super) fn iter(&self, list: &List) -> impl Iterator<Item = SubId> {
        let exists = |index: u32| (index != END).then_some(index);
        std::iter::successors(exists(list.0), move |index| {
            exists(self.entries[*index as usize].next)
        })
        .map(SubId::further)
    }

    pub(super) fn get(&self, id: SubId) -> &Subscription {
        &self.entries[id.index()].sub
    }

    pub(super) fn get_mut(&mut self, id: SubId) -> &mut Subscription {
        &mut self.entries[id.index()].sub
    }

    /// The slot of its connection.
    pub(super) fn owner(&self, id: SubId) -> u32 {
        match id.slot() {
            Some(slot) => slot,
            None => self.entries[id.index()].owner & !READY,
        }
    }

    /// Notes that it stands in the ready-ring; false if it did already.
    pub(super) fn make_ready(&mut self, id: SubId) -> bool {
        let owner = &mut self.entries[id.index()].owner;
        let before = *owner;
        *owner |= READY;
        before & READY == 0
    }

    /// Notes that it stands in the ready-ring no more.
    pub(super) fn unready(&mut self, id: SubId) {
        self.entries[id.index()].owner &= !READY;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_holds_what_was_added_and_not_removed() {
        let mut subs = Subs::new();
        let (mut mine, mut theirs) = (List::default(), List::default());
        let a: Vec<SubId> = (0..4).map(|_| subs.add(&mut mine, 7)).collect();
        let b = subs.add(&mut theirs, 8);
        subs.remove(&mut mine, a[1]);
        subs.remove(&mut mine, a[3]);
        assert_eq!(subs.iter(&mine).collect::<Vec<_>>(), [a[2], a[0]]);
        subs.remove(&mut mine, a[0]);
        // Freed ones are used again.
        let c = subs.add(&mut mine, 7);
        assert_eq!(c, a[0]);
        assert_eq!(subs.iter(&mine).collect::<Vec<_>>(), [c, a[2]]);
        assert_eq!(subs.iter(&theirs).collect::<Vec<_>>(), [b]);
        assert_eq!((subs.owner(c), subs.owner(b)), (7, 8));
    }

    #[test]
    fn it_becomes_ready_once() {
        let mut subs = Subs::new();
        let id = subs.add(&mut List::default(), 3);
        assert!(subs.make_ready(id));
        assert!(!subs.make_ready(id));
        assert_eq!(subs.owner(id), 3);
        subs.unready(id);
        assert!(subs.make_ready(id));
    }
}
