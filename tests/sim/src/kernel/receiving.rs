//! What comes in by a socket, and when a core is told of it.

use std::sync::atomic::Ordering;

use fanfare::ring::{Completion, Event};

use super::Kernel;
use crate::secure::Tls;

impl Kernel {
    /// Puts the answer to a satisfied poll among what is ready.
    pub(crate) fn answer_poll(&mut self, core: usize, slot: u32) {
        let side = &mut self.sides[core];
        let record = &mut side.slots[slot as usize];
        let Some(socket) = record.socket else { return };
        if record.polling && self.sockets[socket].writable() {
            record.polling = false;
            let event = Event::Writable;
            side.ready.push(Completion { slot, event });
        }
    }

    /// Moves received bytes into `buffer` and notes what that answers.
    pub(crate) fn receive(&mut self, core: usize, slot: u32, buffer: &mut [u8]) -> usize {
        let record = &mut self.sides[core].slots[slot as usize];
        let socket = &mut self.sockets[record.socket.expect("it is receiving")];
        let len = match &mut socket.tls {
            None => {
                let len = self.rng.usize(1..=buffer.len().min(socket.inbound.len()));
                for (to, from) in buffer.iter_mut().zip(socket.inbound.drain(..len)) {
                    *to = from;
                }
                socket.delivered += len as u64;
                len
            }
            Some(tls) => {
                tls.seal(&mut socket.inbound);
                let (len, content) = tls.deliver(buffer);
                socket.delivered += content as u64;
                if content == 0 {
                    record.untold.push_back(socket.delivered);
                    return len;
                }
                len
            }
        };
        let now_ms = self.now_ms.load(Ordering::Relaxed);
        let silent_ms = now_ms - socket.delivered_ms;
        socket.silent_ms_max = socket.silent_ms_max.max(silent_ms);
        socket.delivered_ms = now_ms;
        socket.deliveries.push((socket.delivered, now_ms));
        record.untold.push_back(socket.delivered);
        len
    }

    /// Moves what the core is told next to the end of `into`. What is beyond its queue waits.
    pub(crate) fn tell(&mut self, core: usize, into: &mut Vec<Completion>) {
        let start = into.len();
        let ready = &mut self.sides[core].ready;
        let told = ready.len().min(self.faults.completions_max);
        into.extend(ready.drain(..told));
        for told in &into[start..] {
            if matches!(told.event, Event::Received { .. }) {
                self.note_told(core, told.slot);
            }
        }
    }

    /// From here on the core can answer what it has received, and not before.
    fn note_told(&mut self, core: usize, slot: u32) {
        let record = &mut self.sides[core].slots[slot as usize];
        let (Some(socket), Some(delivered)) = (record.socket, record.untold.pop_front()) else {
            // The slot has been closed meanwhile.
            return;
        };
        let socket = &mut self.sockets[socket];
        let sending = u64::from(record.sending.unwrap_or(0));
        let begun = socket.tls.as_ref().map_or(0, Tls::begun);
        let sent = socket.accepted + sending + begun;
        for (end, limit) in &mut socket.marks {
            if *end <= delivered && limit.is_none() {
                *limit = Some(sent);
            }
        }
    }
}
