//! The links of one core's connections over TLS, by slot.

mod chunks;

use std::ops::Range;
use std::rc::Rc;

use bytes::Bytes;

use self::chunks::Chunks;
use super::link::{Begun, Link, SavedLink, Sent};
use super::scratch::Scratch;
use crate::protocol::tls::Session;

/// Ciphertext of one core that waits to be handed to the kernel: it stays in the processor's
/// cache, and memory for it is bounded.
const BATCH_BYTES_MAX: usize = 256 << 10;
/// A place that no link has.
const NOWHERE: u32 = u32::MAX;

/// The links of one core, by slot.
#[derive(Default)]
pub(super) struct Links {
    /// Where each slot's is in `chunks`.
    places: Vec<u32>,
    /// Not one by one, as they would lie between what handshakes leave behind. They do not move, as keys
    /// would be left where they were.
    chunks: Chunks<Link>,
    /// What all of them keep.
    kept_bytes: usize,
    /// Ciphertext that has been made since the ring was last entered.
    sealed_bytes: usize,
    scratch: Scratch,
}

impl Links {
    pub(super) fn insert(&mut self, slot: u32, session: Session) {
        let Session {
            unsent,
            send,
            receive,
        } = session;
        self.put(slot, Link::new(send, Some(receive), unsent));
    }

    /// The connection in a slot has this link from now on.
    pub(super) fn put(&mut self, slot: u32, link: Link) {
        let slot = slot as usize;
        if self.places.len() <= slot {
            self.places.resize(slot + 1, NOWHERE);
        }
        self.kept_bytes += link.kept_bytes();
        self.places[slot] = self.chunks.put(link);
    }

    pub(super) fn remove(&mut self, slot: u32) {
        let Some(link) = self.get(slot) else {
            return;
        };
        self.kept_bytes -= link.kept_bytes();
        let place = std::mem::replace(&mut self.places[slot as usize], NOWHERE);
        self.chunks.remove(place);
    }

    /// The link of a connection that has TLS.
    #[inline]
    pub(super) fn at(&mut self, slot: u32) -> &mut Link {
        link_at(&mut self.chunks, self.places[slot as usize])
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Link> {
        self.chunks.get(*self.places.get(slot as usize)?)
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Link> {
        self.chunks.get_mut(*self.places.get(slot as usize)?)
    }

    /// Memory of ciphertext that connections keep, whose sockets have not taken it.
    pub(super) fn kept_bytes(&self) -> usize {
        self.kept_bytes
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
        let bytes = self.change(slot, Link::send_owed);
        self.sealed_bytes += bytes.len();
        bytes
    }

    /// See [`Link::follow_kept`]. False if nothing is kept, and where there is no TLS.
    pub(super) fn follow_kept(&mut self, slot: u32, content: &[u8]) -> bool {
        let keeps = self.get(slot).is_some_and(|link| link.kept_bytes() > 0);
        if keeps {
            self.change(slot, |link| link.follow_kept(content));
        }
        keeps
    }

    /// See [`Link::settle_begun`].
    pub(super) fn settle_begun(
        &mut self,
        slot: u32,
        begun: Begun,
        copy: impl FnOnce(u64, u64, &mut Vec<u8>),
    ) {
        self.change(slot, |link| link.settle_begun(begun, copy));
    }

    /// See [`Link::save`].
    pub(super) fn save(&mut self, slot: u32) -> SavedLink {
        self.change(slot, Link::save)
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
        let (sent, bytes) = self.change(slot, |link| link.settle_sent(taken));
        self.scratch.give_back(bytes);
        sent
    }

    /// Does something with a link that keeps more after it, or less.
    fn change<T>(&mut self, slot: u32, act: impl FnOnce(&mut Link) -> T) -> T {
        let link = link_at(&mut self.chunks, self.places[slot as usize]);
        let before = link.kept_bytes();
        let outcome = act(link);
        self.kept_bytes = self.kept_bytes + link.kept_bytes() - before;
        outcome
    }
}

#[inline]
fn link_at(chunks: &mut Chunks<Link>, place: u32) -> &mut Link {
    chunks.get_mut(place).expect("the connection has TLS")
}
