//! Who has come in through the ring, or may at any moment, and has not been answered: what is
//! known of each, and no more. `doors` lets them in and out, `greeting` reads what they want.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

use foldhash::fast::FixedState;

use super::rounds::Rounds;
use super::traced::Traced;
use crate::protocol::http::HeadReader;
use crate::ring::Errno;

/// Connections that are accepted at a time from a listener that other cores accept from as
/// well: each of them is this core's, however much it has to do.
const SHARED_ACCEPTS_MAX: usize = 8;

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
    /// None is asked for before that time, by the core's clock.
    pub(super) rests_until_ms: u64,
}

impl Doorway {
    /// How many accepts may be under way, where a round has `goal` newcomers at most. A core that
    /// `leads` takes one at a time, with a pause between.
    pub(super) fn accepts_max(&self, goal: usize, leads: bool, now_ms: u64) -> usize {
        if !self.is_open || now_ms < self.rests_until_ms {
            return 0;
        }
        match (self.plan.shared, leads) {
            (false, _) => goal,
            (true, false) => goal.min(SHARED_ACCEPTS_MAX),
            (true, true) => 1,
        }
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
