//! The slab of connection records. Its memory is reserved at once and touched
//! only as connections come, so that it never moves nor grows by copying.
//!
//! A slot may be taken before its connection is there: who is being accepted, or has not been
//! answered, has a slot in the ring and no record. Some slots are spare for those.

use super::conn::Conn;

pub(super) struct Slots {
    records: Vec<Option<Conn>>,
    /// Emptied slots, used again before new ones.
    free: Vec<u32>,
    /// Slots that hold a connection.
    held: usize,
    /// As many of them as may.
    capacity: usize,
    /// Further slots, for those without a record.
    spare: usize,
}

impl Slots {
    pub(super) fn new(capacity: u32) -> Self {
        Slots {
            records: Vec::with_capacity(capacity as usize),
            free: Vec::new(),
            held: 0,
            capacity: capacity as usize,
            spare: 0,
        }
    }

    /// Gives it so many slots more, for those without a record. To be called first of all.
    pub(super) fn add_spare(&mut self, spare: u32) {
        assert!(self.records.is_empty());
        self.spare = spare as usize;
        self.records.reserve_exact(self.capacity + self.spare);
    }

    /// How many connections there are.
    pub(super) fn len(&self) -> usize {
        self.held
    }

    /// As many connections are there as may be.
    pub(super) fn has_all(&self) -> bool {
        self.held >= self.capacity
    }

    /// No further connection has room.
    pub(super) fn is_full(&self) -> bool {
        self.has_all() || (self.free.is_empty() && self.records.len() == self.places())
    }

    /// How many slots are meant for those without a record.
    pub(super) fn spare(&self) -> usize {
        self.spare
    }

    fn places(&self) -> usize {
        self.capacity + self.spare
    }

    /// Puts a connection into a slot; gives it back if there is none.
    pub(super) fn insert(&mut self, conn: Conn) -> Option<u32> {
        if self.has_all() {
            return None;
        }
        let slot = self.take()?;
        self.fill(slot, conn);
        Some(slot)
    }

    /// Takes a slot for a connection that may come.
    pub(super) fn take(&mut self) -> Option<u32> {
        if let Some(slot) = self.free.pop() {
            return Some(slot);
        }
        if self.records.len() == self.places() {
            return None;
        }
        self.records.push(None);
        Some(self.records.len() as u32 - 1)
    }

    /// The connection has come for which a slot was taken.
    pub(super) fn fill(&mut self, slot: u32, conn: Conn) {
        let before = self.records[slot as usize].replace(conn);
        assert!(before.is_none(), "a slot is filled once");
        self.held += 1;
    }

    /// No connection comes for which a slot was taken.
    pub(super) fn give_back(&mut self, slot: u32) {
        assert!(self.records[slot as usize].is_none(), "nobody has come");
        self.free.push(slot);
    }

    pub(super) fn remove(&mut self, slot: u32) -> Conn {
        let conn = self.records[slot as usize].take();
        self.free.push(slot);
        self.held -= 1;
        conn.expect("a slot is emptied once")
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Conn> {
        self.records.get(slot as usize)?.as_ref()
    }

    #[inline]
    pub(super) fn holds(&self, slot: u32) -> bool {
        let record = self.records.get(slot as usize);
        record.is_some_and(Option::is_some)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Conn> {
        self.records.get_mut(slot as usize)?.as_mut()
    }

    /// The connection in a slot that is known to hold one.
    #[inline]
    pub(super) fn at(&mut self, slot: u32) -> &mut Conn {
        self.records[slot as usize]
            .as_mut()
            .expect("the slot holds a connection")
    }

    #[inline]
    pub(super) fn look_at(&self, slot: u32) -> &Conn {
        self.records[slot as usize]
            .as_ref()
            .expect("the slot holds a connection")
    }

    /// All slots that hold a connection.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Conn)> {
        self.records
            .iter()
            .enumerate()
            .filter_map(|(slot, conn)| Some((slot as u32, conn.as_ref()?)))
    }
}
