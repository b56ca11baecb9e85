//! What the kernel has, for people who look for a fault.

use super::Kernel;

impl Kernel {
    /// What a socket's server side is waiting for, for people.
    pub fn describe(&self, socket: usize) -> String {
        let s = &self.sockets[socket];
        let place = s.place.map(|(core, slot)| {
            let r = &self.sides[core].slots[slot as usize];
            format!(
                "core {core} slot {slot} receiving {} polling {} sending {:?} shutting {} closing {}",
                r.receiving, r.polling, r.sending, r.shutting, r.closing
            )
        });
        format!(
            "in {} out {} of {} client_fin {} server_fin {} closed {} reset {}; {}",
            s.inbound.len(),
            s.outbound.len(),
            s.outbound_max,
            s.client_fin,
            s.server_fin,
            s.server_closed,
            s.reset,
            place.unwrap_or_default()
        )
    }

    /// What is on a core's slots, for people.
    pub fn describe_core(&self, core: usize) -> String {
        let sockets = self.sides[core].slots.iter().filter_map(|slot| slot.socket);
        let texts = sockets.map(|socket| format!("\n  socket {socket}: {}", self.describe(socket)));
        let (pending, held) = (
            &self.sides[core].pending.len(),
            &self.sides[core].held.len(),
        );
        let texts: String = texts.collect();
        format!("{pending} pending, {held} held{texts}")
    }
}
