//! Listening sockets, and how connections come out of them into a ring's table of files.

use std::net::SocketAddr;

use fanfare::ring::{Completion, Errno, Event};

use super::{Kernel, chance};
use crate::side::Slot;

impl Kernel {
    /// Somebody has connected, and waits in a listener. Wakes a core that accepts there.
    pub(crate) fn wait_in(&mut self, listener: usize, socket: usize, address: SocketAddr) {
        self.listeners[listener].push_back((socket, address));
        for side in &mut self.sides {
            let mut slots = side.slots.iter();
            if !side.muted && slots.any(|slot| slot.accepting == Some(listener)) {
                side.signal = true;
                return;
            }
        }
    }

    /// Somebody waits where the slot accepts from.
    pub(super) fn may_come_in(&self, record: &Slot) -> bool {
        let waits = |listener: usize| !self.listeners[listener].is_empty();
        record.accepting.is_some_and(waits)
    }

    /// Somebody comes into the slot, or something goes wrong.
    pub(crate) fn let_in(&mut self, core: usize, slot: u32) {
        let record = &mut self.sides[core].slots[slot as usize];
        let Some(listener) = record.accepting.take() else {
            return;
        };
        let refused = match chance(&mut self.door, self.faults.no_memory) {
            true => Some([Errno::ENOMEM, Errno::ENFILE, Errno::ECONNABORTED][self.door.usize(..3)]),
            false => None,
        };
        let answer = match refused {
            Some(error) => {
                if error == Errno::ECONNABORTED
                    && let Some((socket, _)) = self.listeners[listener].pop_front()
                {
                    self.sockets[socket].reset = true;
                }
                Err(error)
            }
            None => Ok(self.listeners[listener]
                .pop_front()
                .expect("somebody waits")),
        };
        let event = match answer {
            Ok((socket, address)) => {
                self.attach(core, slot, socket);
                let callers = &mut self.sides[core].callers;
                callers.push(Some(address));
                let caller = callers.len() as u32 - 1;
                Event::Accepted {
                    caller,
                    error: None,
                }
            }
            Err(error) => Event::Accepted {
                caller: 0,
                error: Some(error),
            },
        };
        self.sides[core].ready.push(Completion { slot, event });
    }

    pub(super) fn cancel_accept(&mut self, core: usize, slot: u32) {
        let record = &mut self.sides[core].slots[slot as usize];
        let was_accepting = record.accepting.take().is_some();
        let ended = Event::Accepted {
            caller: 0,
            error: Some(Errno::ECANCELED),
        };
        self.cancel(core, slot, was_accepting.then_some(ended));
    }
}
