//! Clients that come in through the rings: their heads come in pieces, some ask for something
//! that is not done there, and some are about to be accepted when the daemon hands over or stops.

use std::net::SocketAddr;

use fanfare::core::{DoorPlan, HandedOn};
use fanfare::protocol::http::{HeadLimits, parse};
use fastrand::Rng;

use crate::client::{ByDoor, Client, FIRST_PORT, Follow};
use crate::end::LOOK_MS;
use crate::kernel::LISTENERS;
use crate::ring::Handle;
use crate::world::{CoreRun, World};

/// Plain descriptors that the acceptor of a world may have at a time.
const ROOMS: [usize; 3] = [1, 3, 1000];
/// Slots beside those of connections. Every listener has one for somebody to come into.
pub(crate) const SPARE: u32 = 8;

/// How clients come in this world.
pub(crate) struct Doors {
    rng: Rng,
    /// Some come through the rings.
    are_open: bool,
    /// Plain descriptors of a core's acceptor.
    room: usize,
}

impl Doors {
    pub(crate) fn new(mut rng: Rng) -> Self {
        let are_open = rng.u8(..) < 128;
        let room = ROOMS[rng.usize(..ROOMS.len())];
        Doors {
            rng,
            are_open,
            room,
        }
    }
}

impl World {
    /// Every core is to accept from listeners of its own, and all of them from the last one.
    pub(crate) fn add_doors(&mut self) {
        let count = self.cores.len();
        for (number, core) in self.cores.iter_mut().enumerate() {
            for listener in listeners(number, count) {
                let plan = DoorPlan {
                    shared: listener == LISTENERS - 1,
                    api: false,
                };
                let added = core
                    .reactor
                    .add_door(listener as u32, &Handle(listener), plan);
                added.expect("there are descriptors");
            }
        }
    }

    pub(crate) fn open_doors(&mut self) {
        let count = self.cores.len();
        for (number, core) in self.cores.iter_mut().enumerate() {
            core.reactor.note_guests(0, self.doors.room);
            for listener in listeners(number, count) {
                core.reactor.open_door(listener as u32);
            }
            core.awake = true;
        }
    }

    /// Whether the next client comes through a ring.
    pub(crate) fn comes_by_door(&mut self) -> bool {
        self.doors.are_open && self.doors.rng.bool()
    }

    pub(crate) fn connect_by_door(&mut self) {
        let living = self.clients.iter().filter(|client| !client.over).count();
        let full = living >= self.plan.clients_max || self.clients.len() >= self.plan.connects_max;
        if full {
            return;
        }
        let rng = &mut self.doors.rng;
        let name = format!("topic-{}", rng.usize(..self.plan.topics));
        let is_page = rng.u8(..) < 20;
        let (echo, chat) = (rng.u8(..) < 70, rng.u8(..) < 60);
        let offers = !is_page && rng.u8(..) < 80;
        // Nearly always in few pieces, or it would take for ever.
        let listener = rng.usize(..LISTENERS);
        let Some(truth) = self.truth(&name) else {
            return;
        };
        let id = self.clients.len() as u32 + 1;
        let port = FIRST_PORT + id as u16;
        let peer: SocketAddr = format!("10.0.0.{}:{port}", id % 4)
            .parse()
            .expect("an address");
        let mut head = format!("GET /{name}?echo={echo} HTTP/1.1\r\nHost: here\r\n");
        if !is_page {
            head += "Upgrade: websocket\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        }
        if chat {
            head += "Sec-WebSocket-Protocol: superchat, chat\r\n";
        }
        if offers {
            head += "Sec-WebSocket-Extensions: permessage-deflate\r\n";
        }
        head += "\r\n";
        let nature = self.draw_nature();
        let socket = self.draw_socket();
        let home = Follow::new(truth, self.truths[truth].next());
        let mut client = Client::new(id, 0, peer, socket, home, (echo, chat), nature);
        client.deflate = offers.then(|| self.agreed(&head)).flatten();
        client.outbox.extend(head.as_bytes());
        client.queued = head.len() as u64;
        let early = !offers && !is_page;
        client.by_door = Some(ByDoor {
            head: head.into_bytes(),
            is_page,
            is_early: early,
        });
        self.say(|| format!("{} comes to listener {listener}", client.name()));
        self.clients.push(client);
        self.kernel.borrow_mut().wait_in(listener, socket, peer);
    }

    /// What is agreed on compression with a client whose head this is.
    fn agreed(&self, head: &str) -> Option<crate::client::Agreed> {
        let (request, _) = parse(head.as_bytes(), HeadLimits::default())
            .expect("a head")
            .expect("whole");
        self.agree(&request)
    }

    /// After a turn: clients that have come in are on that core, and those that were handed on
    /// have all that they have sent with them.
    pub(crate) fn look_at_doors(&mut self, core: usize) {
        let side = self.cores[core].side;
        for client in &mut self.clients {
            if client.by_door.is_some()
                && !client.over
                && self.kernel.borrow().place(client.socket).map(|(of, _)| of) == Some(side)
            {
                client.core = core;
            }
        }
        let handed_on = self.cores[core].reactor.handed_on();
        let room = self.doors.room;
        assert!(handed_on.len() <= room, "there are no such descriptors");
        // Whoever is let go of may be what somebody has waited for.
        self.cores[core].awake |= !handed_on.is_empty();
        handed_on.iter().for_each(|guest| self.dismiss(guest));
        self.cores[core].reactor.note_guests(0, room);
    }

    /// The acceptor of this world answers nobody.
    fn dismiss(&mut self, handed_on: &HandedOn<Handle>) {
        let HandedOn {
            socket: Handle(socket),
            peer,
            counted,
            begun,
            ..
        } = handed_on;
        let client = self.clients.iter().find(|client| client.socket == *socket);
        let client = client.expect("nobody else comes so");
        assert_eq!(client.peer, *peer);
        let by_door = client.by_door.as_ref().expect("it has come so");
        let (head, len) = (&by_door.head, begun.len().min(by_door.head.len()));
        assert_eq!(begun[..len], head[..len], "what it has sent is handed on");
        let mut kernel = self.kernel.borrow_mut();
        let socket = &mut kernel.sockets[*socket];
        assert_eq!(begun.len() as u64, socket.delivered, "all of it");
        socket.let_go();
        if *counted {
            self.hub.admission().give_up(peer.ip());
        }
        drop(kernel);
        self.outcome.handed_on += 1;
        let client = self.clients.iter().find(|client| client.peer == *peer);
        self.say(|| format!("{} is handed on", client.expect("just seen").name()));
    }

    /// A core looks at its doors again by itself, where it has left one alone, and at those who
    /// could not have descriptors.
    pub(crate) fn wait_for_doors(&mut self) {
        for _ in 0..100 {
            let rests = |run: &CoreRun| run.reactor.pauses_at_a_door();
            let lacks = |run: &CoreRun| run.reactor.is_short_of_descriptors();
            if !self.cores.iter().any(|run| rests(run) || lacks(run)) {
                return;
            }
            self.advance(LOOK_MS);
            for core in 0..self.cores.len() {
                match lacks(&self.cores[core]) {
                    true => self.tick(core),
                    false => self.turn(core),
                }
            }
            self.run_dry();
        }
    }

    /// Everything has been said: who still waits never comes in.
    pub(crate) fn check_doors(&mut self) {
        for core in &mut self.cores {
            core.reactor.close_doors();
            core.awake = true;
        }
        self.run_dry();
        for core in &self.cores {
            assert!(
                core.reactor.has_no_newcomers(),
                "somebody is left at a door"
            );
        }
    }
}

/// Those of a core.
fn listeners(core: usize, cores: usize) -> impl Iterator<Item = usize> {
    let own = (0..LISTENERS - 1).filter(move |listener| listener % cores == core);
    own.chain([LISTENERS - 1])
}
