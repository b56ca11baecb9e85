//! How what is under way gets done, in whatever order.

use std::net::Shutdown;

use fanfare::ring::{Completion, Errno, Event};

use super::{Kernel, chance};
use crate::side::{Pending, Slot};

impl Kernel {
    /// Lets some of what is under way get done: each thing `likely` times in
    /// 256. Wakes the core if something has.
    pub fn progress(&mut self, core: usize, likely: u8) {
        let before = self.sides[core].ready.len();
        let mut at = 0;
        while at < self.sides[core].pending.len() {
            if chance(&mut self.rng, likely) {
                let (slot, done) = self.sides[core].pending.swap_remove(at);
                self.complete(core, slot, done);
            } else {
                at += 1;
            }
        }
        self.release(core, likely);
        let side = &mut self.sides[core];
        // An eventfd is written when something is added, not while it is there.
        side.signal |= !side.muted && side.ready.len() > before;
    }

    fn complete(&mut self, core: usize, slot: u32, done: Pending) {
        let side = &mut self.sides[core];
        let record = &mut side.slots[slot as usize];
        let socket = &mut self.sockets[record.socket.expect("the slot is in use")];
        let event = match done {
            Pending::Sent { result, held } => {
                record.sending = None;
                let event = Event::Sent {
                    result,
                    held: held.is_some(),
                };
                side.held.extend(held);
                event
            }
            Pending::Shutdown(how) => {
                record.shutting -= 1;
                socket.server_fin = true;
                if how == Shutdown::Both {
                    socket.client_fin = true;
                }
                Event::ShutDown
            }
            Pending::Reset => {
                record.shutting -= 1;
                socket.outbound.clear();
                socket.reset = true;
                Event::ShutDown
            }
            Pending::Install => {
                record.installing = false;
                let refused = chance(&mut self.door, self.faults.no_memory);
                let made = match refused {
                    true => Err(Errno::EMFILE),
                    false => Ok(record.socket.expect("the slot is in use")),
                };
                socket.plain |= !refused;
                side.plain.push((slot, made));
                Event::Installed
            }
            Pending::Close => {
                match socket.plain {
                    true => socket.place = None,
                    false => socket.let_go(),
                }
                *record = Slot::default();
                Event::Closed
            }
        };
        side.ready.push(Completion { slot, event });
    }

    fn release(&mut self, core: usize, likely: u8) {
        let side = &mut self.sides[core];
        let mut at = 0;
        while at < side.held.len() {
            let held = &side.held[at];
            let socket = &self.sockets[held.socket];
            let free = held.copied || socket.taken >= held.end || socket.reset;
            if !free || !chance(&mut self.rng, likely) {
                at += 1;
                continue;
            }
            let held = side.held.remove(at);
            assert_eq!(sum(held.run()), held.sum, "bytes under way have changed");
            side.ready.push(Completion {
                slot: held.slot,
                event: Event::Released {
                    copied: held.copied,
                },
            });
        }
    }
}

/// By which bytes that nobody may change are known again.
pub(super) fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}
