//! The reading side of a log: the segments that one core's subscribers of a
//! topic still need, and the positions in them.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use super::segment::Segment;

/// A run of a log's bytes that lies in one piece of memory.
#[derive(Debug, Clone)]
pub struct Slice<'a> {
    /// The published bytes of one segment; keeps it alive.
    pub bytes: &'a Rc<Bytes>,
    /// Where the run begins in them.
    pub from: u32,
    /// How long it is.
    pub len: u32,
}

impl Slice<'_> {
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.from as usize..(self.from + self.len) as usize]
    }
}

struct Pane {
    segment: Arc<Segment>,
    /// What was published when last looked; shared by all sends from here, so
    /// that a send costs no atomic operation on the segment.
    seen: Rc<Bytes>,
}

impl Pane {
    fn new(segment: Arc<Segment>) -> Self {
        let mut pane = Pane {
            segment,
            seen: NOTHING.with(Rc::clone),
        };
        pane.look();
        pane
    }

    /// Takes note of what has been published since.
    #[inline]
    fn look(&mut self) {
        if self.segment.published().len() > self.seen.len() {
            self.seen = Rc::new(Bytes::from_owner(Owner(self.segment.clone())));
        }
    }

    fn end(&self) -> u64 {
        self.segment.start() + self.seen.len() as u64
    }
}

thread_local! {
    /// What is seen of a segment without messages: most topics have none yet.
    static NOTHING: Rc<Bytes> = Rc::default();
}

struct Owner(Arc<Segment>);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        self.0.published()
    }
}

/// A core's reading window on one log: consecutive segments, oldest first.
pub struct Window {
    panes: VecDeque<Pane>,
}

impl Window {
    /// A window on consecutive segments, of which the last is the log's tail
    /// or leads to it.
    pub fn new(segments: Vec<Arc<Segment>>) -> Self {
        assert!(!segments.is_empty());
        Window {
            panes: segments.into_iter().map(Pane::new).collect(),
        }
    }

    /// Follows the log to its present end and returns that position.
    #[inline]
    pub fn advance(&mut self) -> u64 {
        loop {
            let last = self.panes.back_mut().expect("a window has a pane");
            // Sealed first, length second: what is sealed grows no more.
            let (_, sealed) = last.segment.end();
            last.look();
            if !sealed {
                return last.end();
            }
            let next = last.segment.next().expect("linked before sealed").clone();
            self.panes.push_back(Pane::new(next));
        }
    }

    /// The end as of the last [`Window::advance`].
    #[inline]
    pub fn end(&self) -> u64 {
        self.panes.back().expect("a window has a pane").end()
    }

    /// Position of the oldest byte that can be read.
    pub fn start(&self) -> u64 {
        self.panes[0].segment.start()
    }

    /// Makes the window reach back to `segments`, which are consecutive and
    /// overlap it or end where it starts.
    pub fn reach_back(&mut self, segments: Vec<Arc<Segment>>) {
        let first = self.panes[0].segment.clone();
        let is_older = |s: &Arc<Segment>| s.start() < first.start() && !Arc::ptr_eq(s, &first);
        for segment in segments.into_iter().rev().filter(is_older) {
            self.panes.push_front(Pane::new(segment));
        }
    }

    /// Gives up all segments that end at or before `position`.
    pub fn release(&mut self, position: u64) {
        while self.panes.len() > 1 && self.panes[0].end() <= position {
            self.panes.pop_front();
        }
    }

    /// How many segments are held.
    pub fn segments(&self) -> usize {
        self.panes.len()
    }

    /// Bytes of memory that who stands at `position` keeps from being used
    /// again: the segment that is written to is there anyway.
    pub fn pinned_bytes(&self, position: u64) -> u64 {
        let held = self.panes.iter().rev().skip(1);
        let held = held.take_while(|pane| pane.end() > position);
        held.map(|pane| pane.segment.capacity() as u64).sum()
    }

    /// The longest run from `position` towards `end` that lies in one segment.
    #[inline]
    pub fn slice(&self, position: u64, end: u64) -> Slice<'_> {
        let pane = self.pane(position);
        let from = position - pane.segment.start();
        let len = end.min(pane.end()) - position;
        Slice {
            bytes: &pane.seen,
            from: from as u32,
            len: len as u32,
        }
    }

    #[inline]
    fn pane(&self, position: u64) -> &Pane {
        let last = self.panes.back().expect("a window has a pane");
        if position >= last.segment.start() {
            return last;
        }
        let after = self
            .panes
            .partition_point(|p| p.segment.start() <= position);
        assert!(after > 0, "a cursor lies inside its window");
        &self.panes[after - 1]
    }

    /// The first boundary between messages at or after `position`, and the
    /// offset that is wanted next there.
    pub fn boundary(&self, position: u64) -> (u64, u64) {
        let segment = &self.pane(position).segment;
        let slots = segment.slots();
        let at = (position - segment.start()) as u32;
        let ended = slots.ended_by(at);
        let mut boundary = slots.start_of(ended);
        if boundary < at && ended < slots.count() {
            boundary = slots.get(ended).end;
        }
        let boundary = segment.start() + u64::from(boundary);
        // Where the segment ends, messages of no bytes may begin the next one.
        let segment = &self.pane(boundary).segment;
        let slots = segment.slots();
        let ended = slots.ended_by((boundary - segment.start()) as u32);
        (boundary, slots.next_offset(ended))
    }

    /// Position of the newest message as of the last [`Window::advance`], or the end if it
    /// holds none.
    pub fn newest(&self) -> u64 {
        let end = self.end();
        let newest = self.panes.iter().rev().find_map(|pane| {
            let start = pane.segment.start();
            let slots = pane.segment.slots();
            let last = slots.ended_by((pane.end() - start) as u32).checked_sub(1)?;
            Some(start + u64::from(slots.start_of(last)))
        });
        newest.unwrap_or(end)
    }

    /// How many messages of the view end at or before `position`, from some
    /// number on: only the difference of two answers says something.
    pub fn messages_before(&self, position: u64) -> u64 {
        let segment = &self.pane(position).segment;
        let at = (position - segment.start()) as u32;
        segment.base().before + u64::from(segment.slots().ended_by(at))
    }
}
