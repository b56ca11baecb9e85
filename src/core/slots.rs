//! The slab of connection records. Its memory is reserved at once and touched
//! only as connections come, so that it never moves nor grows by copying.

use super::conn::Conn;

pub(super) struct Slots {
    records: Vec<Option<Conn>>,
    /// Emptied slots, used again before new ones.
    free: Vec<u32>,
    capacity: usize,
}

impl Slots {
    pub(super) fn new(capacity: u32) -> Self {
        Slots {
            records: Vec::with_capacity(capacity as usize),
            free: Vec::new(),
            capacity: capacity as usize,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.records.len() - self.free.len()
    }

    /// Slots that have ever held a connection.
    pub(super) fn slots(&self) -> usize {
        self.records.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.len() == self.capacity
    }

    /// Puts a connection into a slot; gives it back if there is none.
    pub(super) fn insert(&mut self, conn: Conn) -> Option<u32> {
        if let Some(slot) = self.free.pop() {
            self.records[slot as usize] = Some(conn);
            return Some(slot);
        }
        if self.records.len() == self.capacity {
            return None;
        }
        self.records.push(Some(conn));
        Some(self.records.len() as u32 - 1)
    }

    pub(super) fn remove(&mut self, slot: u32) -> Conn {
        let conn = self.records[slot as usize].take();
        self.free.push(slot);
        conn.expect("a slot is emptied once")
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Conn> {
        self.records.get(slot as usize)?.as_ref()
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
