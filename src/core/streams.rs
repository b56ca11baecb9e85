//! What a core knows of streams of many topics. Kept by the reactor, and used in `streaming`.

use std::collections::HashMap;

use super::subs::SubId;
use crate::protocol::event_stream::Place;

/// Streams of many topics.
#[derive(Default)]
pub(super) struct Streams {
    pub(super) all: HashMap<u32, Together>,
    /// Those that have been sent something since they were told where they are.
    pub(super) moved: Vec<u32>,
}

/// What such a stream's ids name.
pub(super) struct Together {
    /// In the order of the request.
    pub(super) order: Vec<Stands>,
    /// The sum of the offsets that its client knows.
    pub(super) told: u64,
    pub(super) has_moved: bool,
}

/// Where a client is with one of its topics.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stands {
    /// Where the subscription is.
    With(SubId),
    /// There, for good: the stream is about to end.
    At(Place),
}

impl Streams {
    /// Something has been sent on a stream.
    pub(super) fn note_sent(&mut self, slot: u32) {
        if let Some(stream) = self.all.get_mut(&slot)
            && !stream.has_moved
        {
            stream.has_moved = true;
            self.moved.push(slot);
        }
    }

    /// A stream leaves one of its topics, with which its client is there.
    pub(super) fn note_left(&mut self, slot: u32, left: SubId, place: Place) {
        let order = self.all.get_mut(&slot).map(|stream| &mut stream.order);
        for stands in order.into_iter().flatten() {
            if matches!(stands, Stands::With(id) if *id == left) {
                *stands = Stands::At(place);
            }
        }
    }

    /// A connection has ended.
    pub(super) fn forget(&mut self, slot: u32) {
        if self.all.remove(&slot).is_some() {
            self.moved.retain(|moved| *moved != slot);
        }
    }
}
