//! The links of one core's connections over TLS, by slot.

use std::ops::Range;
use std::rc::Rc;

use bytes::Bytes;

use super::link::{Link, Sent};
use super::scratch::Scratch;
use crate::protocol::tls::Session;

/// Ciphertext of one core that waits to be handed to the kernel: it stays in the processor's
/// cache, and memory for it is bounded.
const BATCH_BYTES_MAX: usize = 256 << 10;

/// Links that lie together: one by one they would each have the allocator's header, and lie between what
/// handshakes leave behind. They do not move, as keys would be left where they were.
const CHUNK: usize = 64;
type Chunk = [Option<Link>; CHUNK];
/// A place that no link has.
const NOWHERE: u32 = u32::MAX;

/// The links of one core, by slot.
#[derive(Default)]
pub(super) struct Links {
    /// Where each slot's is in `chunks`.
    places: Vec<u32>,
    chunks: Vec<Box<Chunk>>,
    free: Vec<u32>,
    /// Ciphertext that has been made since the ring was last entered.
    sealed_bytes: usize,
    scratch: Scratch,
}

impl Links {
    pub(super) fn insert(&mut self, slot: u32, session: Session) {
        let Session { send, receive } = session;
        self.put(slot, Link::new(send, Some(receive)));
    }

    /// The connection in a slot has this link from now on.
    pub(super) fn put(&mut self, slot: u32, link: Link) {
        let slot = slot as usize;
        if self.places.len() <= slot {
            self.places.resize(slot + 1, NOWHERE);
        }
        let place = self.free.pop().unwrap_or_else(|| {
            let next = (self.chunks.len() * CHUNK) as u32;
            self.chunks.push(Box::new([const { None }; CHUNK]));
            self.free.extend((next + 1..next + CHUNK as u32).rev());
            next
        });
        self.places[slot] = place;
        *place_mut(&mut self.chunks, place) = Some(link);
    }

    pub(super) fn remove(&mut self, slot: u32) {
        let place = self.places.get_mut(slot as usize);
        let place = place.map_or(NOWHERE, |place| std::mem::replace(place, NOWHERE));
        if place != NOWHERE {
            *place_mut(&mut self.chunks, place) = None;
            self.free.push(place);
        }
    }

    /// The link of a connection that has TLS.
    #[inline]
    pub(super) fn at(&mut self, slot: u32) -> &mut Link {
        link_at(&mut self.chunks, self.places[slot as usize])
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Link> {
        let place = *self.places.get(slot as usize)? as usize;
        self.chunks.get(place / CHUNK)?[place % CHUNK].as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Link> {
        let place = *self.places.get(slot as usize)? as usize;
        self.chunks.get_mut(place / CHUNK)?[place % CHUNK].as_mut()
    }

    /// So much waits to be handed to the kernel that nothing more is to be sealed before.
    #[inline]
    pub(super) fn are_full(&self) -> bool {
        self.sealed_bytes >= BATCH_BYTES_MAX
    }

    /// The ring has been entered.
    #[inline]
    pub(super) fn handed_over(&mut self) {
        self.sealed_bytes = 0;
    }

    /// See [`Link::send_owed`].
    pub(super) fn send_owed(&mut self, slot: u32) -> Rc<Bytes> {
        let bytes = self.at(slot).send_owed();
        self.sealed_bytes += bytes.len();
        bytes
    }

    /// See [`Link::seal_run`].
    pub(super) fn seal_run(
        &mut self,
        slot: u32,
        run: Range<u64>,
        copy: impl FnMut(u64, u64, &mut Vec<u8>),
    ) -> Rc<Bytes> {
        let link = link_at(&mut self.chunks, self.places[slot as usize]);
        let bytes = link.seal_run(&mut self.scratch, run, copy);
        self.sealed_bytes += bytes.len();
        bytes
    }

    /// See [`Link::seal_gathered`].
    pub(super) fn seal_gathered(&mut self, slot: u32, content: &[u8]) -> Rc<Bytes> {
        let link = link_at(&mut self.chunks, self.places[slot as usize]);
        let bytes = link.seal_gathered(&mut self.scratch, content);
        self.sealed_bytes += bytes.len();
        bytes
    }

    /// See [`Link::settle_sent`].
    pub(super) fn settle_sent(&mut self, slot: u32, taken: u32) -> Sent {
        let (sent, bytes) = self.at(slot).settle_sent(taken);
        self.scratch.give_back(bytes);
        sent
    }
}

fn place_mut(chunks: &mut [Box<Chunk>], place: u32) -> &mut Option<Link> {
    &mut chunks[place as usize / CHUNK][place as usize % CHUNK]
}

#[inline]
fn link_at(chunks: &mut [Box<Chunk>], place: u32) -> &mut Link {
    place_mut(chunks, place)
        .as_mut()
        .expect("the connection has TLS")
}
