//! The outgoing half of a connection: what it is to be sent next. Nothing is sent
//! here and no cursor moves, so the same list is named again after a send that
//! took nothing.

use super::conn::{Conn, Flags, Phase, Piece};
use super::feeds::Feeds;
use super::lane::After;
use super::subs::{SubId, Subs, Subscription};

/// Pieces are copied together up to about this many bytes; a run that alone has
/// as many is sent straight from its log.
pub(super) const GATHER_BYTES: u64 = 64 << 10;

/// What comes next for a connection.
#[derive(Debug)]
pub(super) enum Transmit {
    /// Nothing for now.
    Nothing,
    /// One run of one log.
    Run { id: SubId, to: u64 },
    /// Several pieces, to be copied together.
    Pieces(Vec<Piece>),
    /// All that was owed has been sent: the close frame may follow.
    Drained,
}

/// Where a connection stands in the feeds of its core.
pub(super) struct Stand<'a> {
    pub(super) slot: u32,
    pub(super) conn: &'a mut Conn,
    pub(super) feeds: &'a Feeds,
    pub(super) subs: &'a mut Subs,
}

#[derive(Default)]
struct Gather {
    pieces: Vec<Piece>,
    bytes: u64,
}

impl Gather {
    fn is_full(&self) -> bool {
        self.bytes >= GATHER_BYTES
    }

    /// Nothing is to follow in this go.
    fn fill(&mut self) {
        self.bytes = self.bytes.max(GATHER_BYTES);
    }

    fn run(&mut self, id: SubId, from: u64, to: u64) {
        if to == from {
            return;
        }
        self.bytes += to - from;
        if let Some(Piece::Run {
            id: last, to: end, ..
        }) = self.pieces.last_mut()
            && (*last, *end) == (id, from)
        {
            *end = to;
            return;
        }
        self.pieces.push(Piece::Run { id, from, to });
    }

    fn into_transmit(self) -> Transmit {
        match self.pieces[..] {
            [] => Transmit::Nothing,
            [Piece::Run { id, to, .. }] => Transmit::Run { id, to },
            _ => Transmit::Pieces(self.pieces),
        }
    }
}

impl Stand<'_> {
    /// What is to be sent next.
    pub(super) fn poll_transmit(&mut self) -> Transmit {
        let mut list = Gather::default();
        if self.conn.phase == Phase::Closing {
            self.add_lane(&mut list);
            return list.into_transmit();
        }
        self.step_over_own();
        // Frames for this peer alone go between frames of the log, so the one
        // that is begun comes first.
        if self.conn.flags.any(Flags::MID_FRAME) {
            let id = self.conn.current(self.slot);
            let Subscription { cursor, feed, .. } = *self.sub(id);
            let (boundary, _) = self.feeds.look_at(feed).window.boundary(cursor);
            list.run(id, cursor, boundary);
            if list.pieces.is_empty() {
                self.conn.flags.clear(Flags::MID_FRAME);
            }
        }
        if !list.is_full() {
            self.add_lane(&mut list);
        }
        if self.conn.flags.any(Flags::MANY) {
            self.add_ready(&mut list);
        } else {
            self.add_runs(&mut list, SubId::first(self.slot), u64::MAX);
        }
        if list.pieces.is_empty() && self.is_drained() {
            return Transmit::Drained;
        }
        list.into_transmit()
    }

    /// What may go of the lane: entries wait for positions that lie ahead.
    fn add_lane(&mut self, list: &mut Gather) {
        if self.conn.lane_is_empty() {
            return;
        }
        let first = self.conn.sub;
        let subs = &*self.subs;
        let passed = |after: After| {
            let sub = match after.sub.slot() {
                Some(_) => &first,
                None => subs.get(after.sub),
            };
            let planned = list.pieces.iter().find_map(|piece| match piece {
                Piece::Run { id, to, .. } if *id == after.sub => Some(*to),
                _ => None,
            });
            planned.unwrap_or(sub.cursor) >= after.position
        };
        let lane = &mut self.conn.extra().lane;
        let ready = lane.release(passed);
        if ready > 0 && lane.long().is_some() && !list.pieces.is_empty() {
            // It goes alone, as soon as the frame that is begun has gone.
            return list.fill();
        }
        let len = lane.portion(ready, GATHER_BYTES as usize);
        if len > 0 {
            list.bytes += len as u64;
            list.pieces.push(Piece::Lane(len as u32));
        }
        if len < ready {
            // The rest comes before all of the logs.
            list.fill();
        }
    }

    /// The runs of one subscription, up to `bytes_max` and a message more, over
    /// its own messages. True if it may have more.
    fn add_runs(&self, list: &mut Gather, id: SubId, bytes_max: u64) -> bool {
        let sub = self.sub(id);
        if !sub.is_seated() {
            return false;
        }
        let window = &self.feeds.look_at(sub.feed).window;
        let mut end = self.limit(id);
        let extra = self.conn.extra.as_deref();
        if extra.is_some_and(|extra| extra.leaving.contains(&id) || extra.reaching.contains(&id)) {
            return false;
        }
        if let Some(awaited) = extra.and_then(|extra| extra.lane.awaited(id)) {
            end = end.min(awaited.max(sub.cursor));
        }
        if bytes_max < end.saturating_sub(sub.cursor) {
            end = end.min(window.boundary(sub.cursor + bytes_max).0);
        }
        let mut at = match list.pieces.first() {
            Some(Piece::Run { id: begun, to, .. }) if *begun == id => *to,
            _ => sub.cursor,
        };
        while at < end {
            let (from, own) = match extra {
                Some(extra) => extra.over_own(id, at),
                None => (at, u64::MAX),
            };
            let to = own.min(end);
            if from >= to {
                return false;
            }
            if !list.pieces.is_empty() && list.bytes + (to - from) > GATHER_BYTES {
                // It goes alone, straight from the log.
                return true;
            }
            list.run(id, from, to);
            if list.is_full() {
                return true;
            }
            at = to;
        }
        false
    }

    /// Runs of those in the ready-ring, each in its turn.
    fn add_ready(&mut self, list: &mut Gather) {
        let many = |conn: &mut Conn| conn.extra().many.take().expect("it follows many");
        let mut taken = many(self.conn);
        for _ in 0..taken.ready.len() {
            if list.is_full() {
                break;
            }
            let id = taken.ready.pop_front().expect("counted");
            let before = list.bytes;
            let more = self.add_runs(list, id, GATHER_BYTES);
            if more && list.bytes == before && before > 0 {
                // It did not fit behind the others: the first one next time.
                taken.ready.push_front(id);
                break;
            }
            if self.is_behind(id) {
                // It is looked at again once this has been sent, as that may
                // come less far than it is meant to.
                taken.ready.push_back(id);
            } else {
                self.unready(id);
            }
        }
        self.conn.extra().many = Some(taken);
    }

    /// Up to where a subscription may be sent its log by now. What is owed at a goodbye waits for
    /// no pace.
    fn limit(&self, id: SubId) -> u64 {
        let feed = self.feeds.look_at(self.sub(id).feed);
        match self.conn.drain() {
            Some(drain) => feed.window.end().min(drain.until(id)),
            None => feed.end(),
        }
    }

    /// There is more in its log that it may be sent.
    fn is_behind(&self, id: SubId) -> bool {
        let sub = self.sub(id);
        sub.is_seated() && sub.cursor < self.limit(id)
    }

    fn unready(&mut self, id: SubId) {
        match id.slot() {
            Some(_) => self.conn.flags.clear(Flags::READY),
            None => self.subs.unready(id),
        }
    }

    /// Lets every cursor that stands before an own message step over it.
    fn step_over_own(&mut self) {
        let Some(extra) = self.conn.extra.as_deref_mut() else {
            return;
        };
        let (first, subs) = (&mut self.conn.sub, &mut *self.subs);
        extra.own.retain(|(id, own)| {
            let sub = match id.slot() {
                Some(_) => &mut *first,
                None => subs.get_mut(*id),
            };
            if own.start > sub.cursor || extra.reaching.contains(id) {
                return true;
            }
            sub.cursor = sub.cursor.max(own.end);
            false
        });
    }

    /// Everything that a draining connection is owed has been sent.
    fn is_drained(&self) -> bool {
        let Some(drain) = self.conn.drain() else {
            return false;
        };
        let extra = self.conn.extra.as_deref();
        if extra.is_some_and(|extra| !extra.reaching.is_empty()) {
            return false;
        }
        let mut owed = drain.until.iter();
        owed.all(|(id, until)| {
            let sub = self.sub(*id);
            !sub.is_seated() || sub.cursor >= *until
        })
    }

    fn sub(&self, id: SubId) -> &Subscription {
        match id.slot() {
            Some(_) => &self.conn.sub,
            None => self.subs.get(id),
        }
    }
}
