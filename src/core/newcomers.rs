//! Who has come in through the ring, or may at any moment, and has not been answered: what is
//! known of each, and no more. `doors` lets them in and out, `greeting` reads what they want.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

use foldhash::fast::FixedState;

use super::rounds::Rounds;
use super::traced::Traced;
use crate::config::Settings;
use crate::protocol::http::HeadReader;
use crate::ring::Errno;

/// Connections that are accepted at a time. From a listener that other cores accept from as well
/// there are few: each of them is this core's, however much it has to do.
const ACCEPTS_MIN: usize = 128;
const SHARED_ACCEPTS_MIN: usize = 8;
/// As many at a time while the kernel's queue is deep. Who finds no room there tries again only a
/// second later.
const ACCEPTS_MAX: usize = 512;
/// With so many who wait to be answered, further ones are left in the kernel's queue.
const WAITING_MAX: usize = 2048;

/// Somebody who has come in through the ring and is the acceptor's to answer.
pub struct HandedOn<P> {
    pub socket: P,
    pub peer: SocketAddr,
    /// The number of the door that it has come through.
    pub door: u32,
    /// The kernel sees whether it lives.
    pub kept_alive: bool,
    /// It is counted among the connections, and those of its address, as one in its handshake.
    pub counted: bool,
    /// How long ago it came.
    pub spent_ms: u64,
    /// What has been read of it.
    pub begun: Vec<u8>,
    pub(super) traced: Traced,
}

/// What holds for a listener at which the ring may accept.
#[derive(Clone, Copy, Debug, Default)]
pub struct DoorPlan {
    /// Other cores accept from it as well.
    pub shared: bool,
    /// The server API is served there.
    pub api: bool,
}

/// A listener at which the ring may accept.
#[derive(Default)]
pub(super) struct Doorway {
    pub(super) plan: DoorPlan,
    /// It does.
    pub(super) is_open: bool,
    /// The kernel does not accept there for the ring.
    pub(super) has_failed: bool,
    /// Accepts under way.
    pub(super) accepts: usize,
    /// How many there are to be, and how many there were after the last look.
    pub(super) depth: usize,
    pub(super) asked: usize,
    /// None is asked for before that time, by the core's clock.
    pub(super) rests_until_ms: u64,
}

impl Doorway {
    /// Learns from what has been answered since the last look: all of it only where the kernel's
    /// queue is deep.
    pub(super) fn sound(&mut self) {
        let min = match self.plan.shared {
            true => SHARED_ACCEPTS_MIN,
            false => ACCEPTS_MIN,
        };
        let is_deep = self.accepts == 0 && self.asked == self.depth;
        self.depth = match is_deep {
            true => (2 * self.depth).clamp(min, ACCEPTS_MAX),
            false => min,
        };
    }

    /// How many accepts may be under way, where there is room for so many. A core that `leads`
    /// takes one at a time, with a pause between.
    pub(super) fn accepts_max(&self, room: usize, leads: bool, now_ms: u64) -> usize {
        if !self.is_open || now_ms < self.rests_until_ms {
            return 0;
        }
        match leads {
            true => 1,
            false => self.depth.min(room),
        }
    }

    /// All that are to be asked for now have been.
    pub(super) fn note_asked(&mut self) {
        self.asked = self.accepts;
    }
}

/// An accept under way.
pub(super) struct Awaited {
    pub(super) door: u32,
    pub(super) called_off: bool,
}

/// How far a newcomer is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Its request is awaited.
    Asking,
    /// It is the acceptor's, as soon as it can have a plain descriptor.
    Leaving,
    /// That is being made.
    Installing,
    /// Its socket is the acceptor's now, or shut, and the ring empties the slot.
    Gone,
}

/// Somebody who has come in and has not been answered.
pub(super) struct Newcomer {
    pub(super) peer: SocketAddr,
    pub(super) door: u32,
    /// The kernel sees whether it lives.
    pub(super) kept_alive: bool,
    /// When it came, by the core's patience.
    pub(super) came_ms: u64,
    /// What it has sent.
    pub(super) begun: Vec<u8>,
    pub(super) head: HeadReader,
    pub(super) stage: Stage,
    /// It is counted, see [`HandedOn::counted`].
    pub(super) counted: bool,
    /// A receive is under way.
    pub(super) receiving: bool,
    /// It is in the queue of those whose request is to be read.
    pub(super) knocks: bool,
    /// It has sent its last, and how that ended.
    pub(super) ended: Option<Option<Errno>>,
    pub(super) traced: Traced,
}

/// By slot. Slots are no choice of a peer's, and what a core does is to depend on nothing else.
pub(super) type BySlot<T> = HashMap<u32, T, FixedState>;

/// All of one core.
#[derive(Default)]
pub(super) struct Newcomers {
    /// By number; none where the acceptor has a listener to itself.
    pub(super) doors: Vec<Option<Doorway>>,
    /// By the slot that somebody may come into.
    pub(super) awaited: BySlot<Awaited>,
    pub(super) all: BySlot<Newcomer>,
    /// Those whose request is to be read, in turn.
    pub(super) knocking: VecDeque<u32>,
    /// Those whose token may not be checked before the next turn.
    pub(super) later: Vec<u32>,
    /// Those from whom nothing is being received, and something is awaited.
    pub(super) silent: Vec<u32>,
    /// Those who wait for a plain descriptor, in turn.
    pub(super) leaving: VecDeque<u32>,
    /// Those for whom there was none.
    pub(super) refused: Vec<u32>,
    /// Plain descriptors that are being made.
    pub(super) making: usize,
    /// Further ones that may be made.
    pub(super) room: usize,
    /// Connections that the acceptor has to answer.
    pub(super) guests: usize,
    /// Nobody more can be let in for now, which has been counted.
    pub(super) is_pausing: bool,
    pub(super) rounds: Rounds,
    /// How often in this turn somebody has come, or has begun to say what for.
    pub(super) stirs: usize,
}

impl Newcomers {
    /// There is something to be done for some of them.
    pub(super) fn want_something(&self, frozen: bool) -> bool {
        let knock = !self.knocking.is_empty() || !self.later.is_empty();
        let asks = knock || !self.silent.is_empty();
        (asks && !frozen) || (!self.leaving.is_empty() && self.room > 0)
    }

    /// So many wait to be answered that nobody else is let in for now. Each of them counts as one
    /// in its handshake, of which there are not to be too many for that.
    pub(super) fn are_many(&self, settings: &Settings) -> bool {
        let handshakes_max = settings
            .handshakes_max
            .min(settings.handshakes_per_address_max);
        let waiting_max = (handshakes_max / 2 / settings.cores).clamp(1, WAITING_MAX);
        self.knocking.len() + self.later.len() >= waiting_max
    }

    /// Nobody is being accepted, and nobody has come who is not answered or handed on.
    pub(super) fn are_none(&self) -> bool {
        self.awaited.is_empty() && self.all.is_empty()
    }

    /// The ring owes nothing about any of them.
    pub(super) fn are_still(&self) -> bool {
        let is_still = |newcomer: &Newcomer| match newcomer.stage {
            Stage::Asking | Stage::Leaving => !newcomer.receiving,
            Stage::Installing | Stage::Gone => false,
        };
        self.awaited.is_empty() && self.all.values().all(is_still)
    }

    /// The server API is served where somebody has come in.
    pub(super) fn serves_api(&self, door: u32) -> bool {
        let door = self.doors[door as usize].as_ref();
        door.is_some_and(|door| door.plan.api)
    }

    /// An accept at a door is under way, into this slot.
    pub(super) fn await_at(&mut self, number: u32, slot: u32) {
        let door = self.doors[number as usize].as_mut();
        door.expect("it is open").accepts += 1;
        let called_off = false;
        let awaited = Awaited {
            door: number,
            called_off,
        };
        self.awaited.insert(slot, awaited);
    }

    /// The request of somebody is to be read.
    pub(super) fn knock(&mut self, slot: u32) {
        let newcomer = self.all.get_mut(&slot).expect("it has come");
        if !newcomer.knocks {
            newcomer.knocks = true;
            self.knocking.push_back(slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door(shared: bool) -> Doorway {
        Doorway {
            plan: DoorPlan { shared, api: false },
            is_open: true,
            ..Doorway::default()
        }
    }

    /// A look at a door for which so many of the accepts under way have been answered.
    fn look(door: &mut Doorway, answered: usize, leads: bool) -> usize {
        door.accepts -= answered;
        door.sound();
        door.accepts = door.accepts.max(door.accepts_max(1000, leads, 0));
        door.note_asked();
        door.accepts
    }

    #[test]
    fn a_deep_queue_is_emptied_faster_and_faster_up_to_a_bound() {
        let mut door = door(false);
        let mut asked = vec![look(&mut door, 0, false)];
        for _ in 0..4 {
            let all = door.accepts;
            asked.push(look(&mut door, all, false));
        }
        assert_eq!(asked, [128, 256, 512, 512, 512]);
        // The queue is empty: what is under way is enough until fewer are.
        assert_eq!(look(&mut door, 10, false), 502);
        assert_eq!(look(&mut door, 450, false), 128);
    }

    #[test]
    fn of_a_shared_queue_a_core_takes_few_and_one_that_leads_one() {
        let mut door = door(true);
        assert_eq!(look(&mut door, 0, false), 8);
        assert_eq!(look(&mut door, 8, true), 1);
        assert_eq!(look(&mut door, 1, true), 1);
        assert_eq!(
            look(&mut door, 1, false),
            8,
            "it has led, which is no depth"
        );
        assert_eq!(look(&mut door, 8, false), 16);
    }

    #[test]
    fn nobody_is_accepted_at_a_door_that_is_shut_or_rests() {
        let mut shut = door(false);
        shut.is_open = false;
        let mut resting = door(false);
        resting.rests_until_ms = 1;
        for door in [&mut shut, &mut resting] {
            assert_eq!(look(door, 0, false), 0);
            assert_eq!(look(door, 0, false), 0);
        }
    }

    #[test]
    fn who_waits_to_be_answered_leaves_half_of_the_handshakes_to_others() {
        let mut newcomers = Newcomers::default();
        let mut settings = Settings {
            handshakes_max: 4096,
            handshakes_per_address_max: 100,
            cores: 2,
            ..Settings::default()
        };
        newcomers.knocking.extend(0..24);
        assert!(!newcomers.are_many(&settings));
        newcomers.later.push(24);
        assert!(newcomers.are_many(&settings));
        settings.handshakes_per_address_max = 4096;
        assert!(!newcomers.are_many(&settings));
    }
}
