//! The doors of a core: connections that are accepted straight into the ring's table of files.
//!
//! A door keeps accepts under way, each into a slot of its own, so that nobody who comes costs a
//! system call, a task or a plain descriptor. Who asks for what only the acceptor does gets a
//! plain descriptor and is handed on with what has been read; so does everybody while the daemon
//! stops. What a request says is read in `greeting`.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use super::arriving::{self, ACCEPT_PAUSE, is_about_the_peer, send_buffer_bytes};
use super::complaints;
use super::leading::{STEP_BACK, leads};
use super::newcomers::{Awaited, DoorPlan, Doorway, HandedOn, Newcomer, Stage};
use super::reactor::{Reactor, State};
use super::traced::Traced;
use crate::config::ProxyHeader;
use crate::protocol::http::HeadReader;
use crate::ring::{Errno, Event, Ring};

impl<R: Ring> Reactor<R> {
    /// There is a door with that number, which is shut. Its listener is always the same.
    ///
    /// # Errors
    /// Those of duplicating a descriptor.
    pub fn add_door(
        &mut self,
        number: u32,
        listener: &impl AsRawFd,
        plan: DoorPlan,
    ) -> io::Result<()> {
        let doors = &mut self.state.newcomers.doors;
        if doors.len() <= number as usize {
            doors.resize_with(number as usize + 1, || None);
        }
        self.ring.listen(number, listener)?;
        let before = doors[number as usize].replace(Doorway {
            plan,
            ..Doorway::default()
        });
        assert!(before.is_none(), "a door has one number");
        Ok(())
    }

    /// From now on connections come in through a door.
    pub fn open_door(&mut self, number: u32) {
        let door = self.state.newcomers.doors[number as usize].as_mut();
        door.expect("it was added").is_open = true;
    }

    /// Nobody more comes in through a door. Who does at this very moment is dealt with as ever.
    pub fn close_door(&mut self, number: u32) {
        let newcomers = &mut self.state.newcomers;
        if let Some(Some(door)) = newcomers.doors.get_mut(number as usize) {
            door.is_open = false;
        }
        for (slot, awaited) in &mut newcomers.awaited {
            if awaited.door == number && !awaited.called_off {
                awaited.called_off = true;
                self.ring.cancel_accept(*slot);
            }
        }
    }

    /// Nobody more comes in through any door.
    pub fn close_doors(&mut self) {
        for number in 0..self.state.newcomers.doors.len() {
            self.close_door(number as u32);
        }
    }

    /// The kernel does not accept at a door: it has to be done without.
    pub fn has_failed_at(&self, number: u32) -> bool {
        let door = self.state.newcomers.doors.get(number as usize);
        door.is_some_and(|door| door.as_ref().is_some_and(|door| door.has_failed))
    }

    /// All accepts are answered, and so are all who have come.
    pub fn has_no_newcomers(&self) -> bool {
        self.state.newcomers.are_none()
    }

    /// The acceptor has to answer so many, and may have so many more.
    pub fn note_guests(&mut self, guests: usize, room: usize) {
        let newcomers = &mut self.state.newcomers;
        newcomers.guests = guests;
        newcomers.room = room.saturating_sub(newcomers.making + self.handed_on.len());
    }

    /// Those who have come through a door since the last call and are the acceptor's.
    pub fn handed_on(&mut self) -> Vec<HandedOn<R::Plain>> {
        std::mem::take(&mut self.handed_on)
    }

    /// Some who leave could not have a plain descriptor: it is tried again with the next tick, which
    /// a simulation has to have come.
    pub fn is_short_of_descriptors(&self) -> bool {
        !self.state.newcomers.refused.is_empty()
    }

    /// Some door is left alone for a moment.
    pub fn pauses_at_a_door(&self) -> bool {
        let doors = self.state.newcomers.doors.iter().flatten();
        let mut open = doors.filter(|door| door.is_open && !self.state.frozen);
        open.any(|door| self.state.now_ms < door.rests_until_ms)
    }

    /// Deals with what the ring tells of a slot that has no connection.
    pub(super) fn handle_newcomer(&mut self, slot: u32, event: Event) {
        match event {
            Event::Accepted { caller, error } => return self.handle_accepted(slot, caller, error),
            // It may be about who had the slot before.
            Event::Cancelled => return,
            _ => {}
        }
        let newcomers = &mut self.state.newcomers;
        let newcomer = newcomers.all.get_mut(&slot);
        let newcomer = newcomer.expect("the ring tells nothing of an empty slot");
        match event {
            Event::Received { buffer, len, armed } => {
                newcomer.receiving = armed;
                newcomers.stirs += usize::from(newcomer.begun.is_empty());
                let bytes = self.ring.buffer(buffer, len);
                newcomer.begun.extend_from_slice(bytes);
                self.ring.give_back(buffer);
                match newcomer.stage {
                    Stage::Asking => newcomers.knock(slot),
                    _ => self.state.wait_to_leave(slot),
                }
            }
            Event::NoBuffers => {
                newcomer.receiving = false;
                match newcomer.stage {
                    Stage::Asking => newcomers.silent.push(slot),
                    _ => self.state.wait_to_leave(slot),
                }
                self.metrics().buffers_exhausted.add(1);
            }
            Event::Ended(error) => {
                newcomer.receiving = false;
                match (newcomer.stage, error) {
                    (Stage::Asking, Some(Errno::ECANCELED)) => newcomers.silent.push(slot),
                    (Stage::Asking, _) if newcomer.knocks => newcomer.ended = Some(error),
                    // It left before it had asked for anything.
                    (Stage::Asking, _) => self.part_with_newcomer(slot),
                    _ => self.state.wait_to_leave(slot),
                }
            }
            Event::Installed => self.take_plain(),
            Event::Closed => {
                newcomers.all.remove(&slot);
                self.state.conns.give_back(slot);
            }
            other => unreachable!("a newcomer is asked nothing that {other:?} answers"),
        }
    }

    fn handle_accepted(&mut self, slot: u32, caller: u32, error: Option<Errno>) {
        let newcomers = &mut self.state.newcomers;
        let awaited = newcomers.awaited.remove(&slot);
        let Awaited { door: number, .. } = awaited.expect("it was asked for");
        let door = newcomers.doors[number as usize].as_mut();
        let door = door.expect("a door stays where it is");
        door.accepts -= 1;
        let Some(error) = error else {
            let address = self.ring.caller(caller);
            if address.is_none() {
                // What TCP has from its listener.
                let bytes = send_buffer_bytes(self.state.hub.settings().unsent_bytes_max);
                self.ring.bound_unsent(slot, bytes);
            }
            let peer = arriving::peer(address);
            return self.state.let_in(slot, number, peer);
        };
        self.state.conns.give_back(slot);
        match error {
            Errno::ECANCELED => {}
            // A socket that does not listen any more, or a kernel that would rather not wait.
            Errno::EINVAL | Errno::EAGAIN | Errno::EOPNOTSUPP | Errno::EBADF => {
                (door.is_open, door.has_failed) = (false, true);
            }
            error if is_about_the_peer(&error.into()) => {}
            error => {
                door.rests_until_ms = self.state.now_ms + ACCEPT_PAUSE.as_millis() as u64;
                complaints::of_accepting(&self.state.hub, &error.into());
            }
        }
    }

    /// Takes the plain descriptors that have been made: a handover has asked for some as well.
    pub(super) fn take_plain(&mut self) {
        for (slot, made) in self.ring.plain() {
            let state = &mut self.state;
            let newcomers = &mut state.newcomers;
            let Some(newcomer) = newcomers.all.get_mut(&slot) else {
                self.installed.push((slot, made));
                continue;
            };
            newcomers.making -= 1;
            match made {
                Ok(socket) => {
                    newcomer.stage = Stage::Gone;
                    self.handed_on.push(HandedOn {
                        socket,
                        peer: newcomer.peer,
                        door: newcomer.door,
                        kept_alive: newcomer.kept_alive,
                        counted: newcomer.counted,
                        spent_ms: state.patience_ms.saturating_sub(newcomer.came_ms),
                        begun: std::mem::take(&mut newcomer.begun),
                        traced: std::mem::take(&mut newcomer.traced),
                    });
                    self.ring.close(slot);
                    state.metrics().ring_handed_on.add(1);
                }
                Err(error) => {
                    // It is tried again with the next tick.
                    newcomer.stage = Stage::Leaving;
                    newcomers.refused.push(slot);
                    complaints::of_accepting(&state.hub, &error);
                }
            }
        }
    }

    /// A newcomer has gone by itself.
    pub(super) fn part_with_newcomer(&mut self, slot: u32) {
        let newcomer = self.state.newcomers.all.get_mut(&slot);
        let newcomer = newcomer.expect("it has come");
        newcomer.stage = Stage::Gone;
        if newcomer.counted {
            let ip = newcomer.peer.ip();
            self.state.hub.admission().give_up(ip);
        }
        self.ring.close(slot);
    }

    /// A newcomer is the acceptor's to answer.
    pub(super) fn hand_on(&mut self, slot: u32) {
        let newcomer = self.state.newcomers.all.get_mut(&slot);
        let newcomer = newcomer.expect("it has come");
        if newcomer.stage != Stage::Asking {
            return;
        }
        newcomer.stage = Stage::Leaving;
        if newcomer.receiving {
            self.ring.cancel_receive(slot);
        } else {
            self.state.newcomers.leaving.push_back(slot);
        }
    }

    /// Asks for plain descriptors for those who leave.
    pub(super) fn see_out(&mut self) {
        let newcomers = &mut self.state.newcomers;
        while newcomers.room > 0
            && let Some(slot) = newcomers.leaving.pop_front()
        {
            newcomers.room -= 1;
            newcomers.making += 1;
            let newcomer = newcomers.all.get_mut(&slot);
            newcomer.expect("it has come").stage = Stage::Installing;
            self.ring.install(slot);
        }
    }

    /// Has the ring receive from those who have said nothing, and accept further ones.
    pub(super) fn wait_at_doors(&mut self) {
        let state = &mut self.state;
        for slot in std::mem::take(&mut state.newcomers.silent) {
            let newcomer = state.newcomers.all.get_mut(&slot);
            if let Some(newcomer) = newcomer.filter(|of| of.stage == Stage::Asking && !of.receiving)
            {
                newcomer.receiving = true;
                self.ring.receive_once(slot);
            }
        }
        if state.newcomers.are_many(state.hub.settings()) {
            return;
        }
        // Where slots are few, no door has all of them.
        let doors = state.newcomers.doors.iter().flatten();
        let doors = doors.filter(|door| door.is_open).count();
        let room = (state.conns.spare() / doors.max(1)).max(1);
        let besides = state.newcomers.all.len() as u64;
        let mut is_pausing = !state.newcomers.leaving.is_empty() && state.newcomers.room == 0;
        for number in 0..state.newcomers.doors.len() {
            let Some(door) = &mut state.newcomers.doors[number] else {
                continue;
            };
            door.sound();
            let most = |leads| door.accepts_max(room, leads, state.now_ms);
            // All cores are asked who leads, and so only where it counts.
            let counts = door.plan.shared && door.accepts < most(false);
            let accepts_max = most(counts && leads(&state.hub, state.core, besides));
            for _ in door.accepts..accepts_max {
                let slot = match is_pausing {
                    true => None,
                    false => state.conns.take(),
                };
                let Some(slot) = slot else {
                    is_pausing = true;
                    break;
                };
                state.newcomers.await_at(number as u32, slot);
                self.ring.accept(slot, number as u32);
            }
            if let Some(door) = &mut state.newcomers.doors[number] {
                door.note_asked();
            }
        }
        if is_pausing && !std::mem::replace(&mut state.newcomers.is_pausing, is_pausing) {
            state.metrics().accept_pauses.add(1);
        }
        state.newcomers.is_pausing = is_pausing;
    }

    /// Looks at those who have waited for long. To be called with every tick.
    pub(super) fn look_at_newcomers(&mut self) {
        let state = &mut self.state;
        if state.newcomers.is_pausing {
            // It is told for as long as it lasts.
            state.metrics().accept_pauses.add(1);
        }
        let refused = std::mem::take(&mut state.newcomers.refused);
        state.newcomers.leaving.extend(refused);
        let (now_ms, ms_max) = (state.patience_ms, state.hub.settings().handshake_ms_max);
        let all_leave = state.hub.is_stopping();
        let has_waited = |newcomer: &Newcomer| newcomer.came_ms + ms_max <= now_ms || all_leave;
        let all = state.newcomers.all.iter();
        let mut due: Vec<u32> = all
            .filter(|(_, newcomer)| newcomer.stage == Stage::Asking && has_waited(newcomer))
            .map(|(slot, _)| *slot)
            .collect();
        // The table has no order of its own that would be the same each time.
        due.sort_unstable();
        for slot in due {
            self.hand_on(slot);
        }
    }

    /// Nothing more is asked of newcomers. Who is not answered by now is left behind.
    pub(super) fn freeze_newcomers(&mut self) {
        self.close_doors();
        for (slot, newcomer) in &self.state.newcomers.all {
            if newcomer.receiving && newcomer.stage == Stage::Asking {
                self.ring.cancel_receive(*slot);
            }
        }
    }
}

impl State {
    /// Somebody has come in.
    fn let_in(&mut self, slot: u32, door: u32, peer: SocketAddr) {
        let kept_alive = self.is_kept_alive_by_kernel();
        let hub = &self.hub;
        let (admission, settings) = (hub.admission(), hub.settings());
        // Before a proxy has said who asks, nobody knows whose it is.
        let is_named = settings.proxy_header_of(peer.ip()) == ProxyHeader::None;
        let is_welcome = is_named && !hub.is_stopping();
        let counted = is_welcome && admission.admit(peer.ip(), settings).is_ok();
        let newcomer = Newcomer {
            peer,
            door,
            kept_alive,
            came_ms: self.patience_ms,
            begun: Vec::new(),
            head: HeadReader::default(),
            // Why it is not let in is for the acceptor to find, and to say.
            stage: match counted {
                true => Stage::Asking,
                false => Stage::Leaving,
            },
            counted,
            receiving: false,
            knocks: false,
            ended: None,
            traced: Traced::begin(hub, self.core, false),
        };
        self.newcomers.stirs += 1;
        self.newcomers.all.insert(slot, newcomer);
        match counted {
            true => self.newcomers.silent.push(slot),
            false => self.newcomers.leaving.push_back(slot),
        }
        let newcomers = &mut self.newcomers;
        let besides = newcomers.all.len() as u64;
        if let Some(door) = &mut newcomers.doors[door as usize]
            && door.plan.shared
            && leads(hub, self.core, besides)
        {
            door.rests_until_ms = self.now_ms + STEP_BACK.as_millis() as u64;
        }
    }

    /// Nothing is under way any more for somebody who leaves, or something still is.
    fn wait_to_leave(&mut self, slot: u32) {
        let newcomer = self.newcomers.all.get(&slot);
        if newcomer.is_some_and(|of| of.stage == Stage::Leaving && !of.receiving) {
            self.newcomers.leaving.push_back(slot);
        }
    }
}
