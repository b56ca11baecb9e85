//! Clients that come, and that follow other topics than at first.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use fanfare::config::Deflate;
use fanfare::core::Arrival;
use fanfare::protocol::http::{HeadLimits, Request, Upgrade, negotiate, parse};
use fanfare::protocol::ws::deflate::Policy;

use crate::client::{Agreed, Client, FIRST_PORT, Fate, Follow, Nature};
use crate::kernel::chance;
use crate::ring::Handle;
use crate::world::World;

impl World {
    /// Somebody comes from there, if there is room for it.
    pub(crate) fn admits(&self, peer: SocketAddr) -> bool {
        let admitted = self.hub.admission().admit(peer.ip(), self.hub.settings());
        admitted.is_ok()
    }

    pub(crate) fn connect(&mut self) {
        if self.comes_by_door() {
            return self.connect_by_door();
        }
        let living = self.clients.iter().filter(|client| !client.over).count();
        let full = living >= self.plan.clients_max || self.clients.len() >= self.plan.connects_max;
        if full || self.cores.iter().any(|core| core.reactor.is_frozen()) {
            return;
        }
        let core = self.rng.usize(..self.cores.len());
        let name = format!("topic-{}", self.rng.usize(..self.plan.topics));
        let Some(truth) = self.truth(&name) else {
            return;
        };
        let id = self.clients.len() as u32 + 1;
        let port = FIRST_PORT + id as u16;
        let peer = format!("10.0.0.{}:{port}", id % 4)
            .parse()
            .expect("an address");
        if !self.admits(peer) {
            return;
        }
        let (echo, chat) = (self.rng.u8(..) < 70, self.rng.u8(..) < 60);
        let next = self.truths[truth].next();
        let since = (self.rng.u8(..) < 90).then(|| self.rng.u64(..next + 3));
        let mut head = format!("GET /{name}?echo={echo}");
        if let Some(since) = since {
            head += &format!("&since={since}");
        }
        head += " HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        if chat {
            head += "Sec-WebSocket-Protocol: superchat, chat\r\n";
        }
        head += match self.rng.u8(..) {
            0..=120 => "",
            121..=180 => "Sec-WebSocket-Extensions: permessage-deflate\r\n",
            181..=210 => {
                "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=9\r\n"
            }
            211..=230 => {
                "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=8, \
                 permessage-deflate; server_max_window_bits=11; client_no_context_takeover\r\n"
            }
            _ => "Sec-WebSocket-Extensions: permessage-deflate; what=3, x-unknown\r\n",
        };
        head += "\r\n";
        let (request, _) = parse(head.as_bytes(), HeadLimits::default())
            .expect("a head")
            .expect("whole");
        let upgrade = negotiate(&request, self.hub.origins(), self.policy());
        let upgrade = upgrade.expect("a good one");
        let name = upgrade.topic.as_ref().expect("the path names one");
        let topic = self.hub.topic(name).expect("it is there");
        let retained = topic.summary(self.hub.retention(&topic)).first_offset;
        let first = first_offset(since, retained, next);
        let socket = self.draw_socket();
        let nature = self.draw_nature();
        let home = Follow::new(truth, first);
        let mut client = Client::new(id, core, peer, socket, home, (echo, chat), nature);
        client.deflate = agreed(&upgrade);
        let mut rest = Vec::new();
        if self.rng.bool() {
            client.act(&mut self.rng, self.plan.settings.message_bytes_max);
            let len = self.rng.usize(..=client.outbox.len());
            rest.extend(client.outbox.drain(..len));
            // What comes with the head is measured by no mark.
            client.new_marks.clear();
            let socket = &mut self.kernel.borrow_mut().sockets[socket];
            socket.delivered = rest.len() as u64;
            let now_ms = self.now_ms.load(Ordering::Relaxed);
            socket.deliveries.push((socket.delivered, now_ms));
        }
        self.say(|| format!("{} connects to {name} from {first}", client.name()));
        self.clients.push(client);
        let arrival = Arrival {
            peer,
            kept_alive: self.is_kept_alive(),
            upgrade,
            topic: Some(topic),
            rest,
            tls: self.kernel.borrow_mut().secure(socket),
        };
        let adopted = self.cores[core].reactor.adopt(&Handle(socket), arrival);
        self.hub.admission().shake(peer.ip());
        match adopted {
            Ok(()) => {
                self.outcome.connections += 1;
                self.cores[core].awake = true;
            }
            Err(_) => {
                self.hub.admission().leave(peer.ip());
                let client = self.clients.last_mut().expect("just pushed");
                (client.over, client.fate) = (true, Fate::Reset);
            }
        }
        self.look();
    }

    /// A connection whose buffers are as chance has it.
    pub(crate) fn draw_socket(&mut self) -> usize {
        let sizes = [64, 1000, 20_000];
        let (inbound, outbound) = (self.rng.usize(..3), self.rng.usize(..3));
        let mut kernel = self.kernel.borrow_mut();
        kernel.connect(sizes[inbound], sizes[outbound])
    }

    pub(crate) fn draw_nature(&mut self) -> Nature {
        Nature {
            rogue: chance(&mut self.rng, self.plan.rogues),
            sluggard: chance(&mut self.rng, self.plan.sluggards),
            rude: self.rng.u8(..) < 50,
            read_max: [3, 200, 50_000][self.rng.usize(..3)],
            write_max: [3, 200, 50_000][self.rng.usize(..3)],
        }
    }

    /// What is agreed on compression with a client that asks so.
    pub(crate) fn agree(&self, request: &Request<'_>) -> Option<Agreed> {
        let upgrade = negotiate(request, self.hub.origins(), self.policy());
        agreed(&upgrade.expect("a good one"))
    }

    /// A client follows another topic, or one no more.
    pub(crate) fn change_topics(&mut self) {
        if self.cores.iter().any(|core| core.reactor.is_frozen()) || self.clients.is_empty() {
            return;
        }
        let index = self.rng.usize(..self.clients.len());
        let client = &self.clients[index];
        let place = self.kernel.borrow().place(client.socket);
        let Some((side, slot)) = place else { return };
        let core = self.cores.iter().position(|core| core.side == side);
        let core = core.expect("its side is a core's");
        if !self.cores[core].reactor.is_open(slot) {
            return;
        }
        for _ in 0..self.rng.usize(1..=8) {
            if self.rng.u8(..) < 90 {
                self.leave(index, core, slot);
            } else {
                self.follow(index, core, slot);
            }
        }
        self.cores[core].awake = true;
    }

    fn follow(&mut self, index: usize, core: usize, slot: u32) {
        let name = format!("topic-{}", self.rng.usize(..self.plan.topics));
        let Some(truth) = self.truth(&name) else {
            return;
        };
        // What is being sent may come short: then nobody could tell what is of which.
        let accepted = self.kernel.borrow().sockets[self.clients[index].socket].accepted;
        let mut follows = self.clients[index].follows.iter();
        if follows.any(|f| f.truth == truth && f.left_at.is_some_and(|limit| limit > accepted)) {
            return;
        }
        let topic = self.hub.find_topic(&name).expect("just seen");
        let (next, retained) = {
            let summary = topic.summary(self.hub.retention(&topic));
            (self.truths[truth].next(), summary.first_offset)
        };
        let since = (self.rng.u8(..) < 90).then(|| self.rng.u64(..next + 3));
        let known = self.clients[index].following().any(|f| f.truth == truth);
        let first = self.cores[core].reactor.subscribe(slot, topic, since);
        let client = &mut self.clients[index];
        if known {
            assert_eq!(first, None, "{} follows that", client.name());
            return;
        }
        let wanted = first_offset(since, retained, next);
        assert_eq!(first, Some(wanted), "{} since {since:?}", client.name());
        client.follows.push(Follow::new(truth, wanted));
        let client = &self.clients[index];
        self.say(|| format!("{} follows {name} from {wanted}", client.name()));
    }

    fn leave(&mut self, index: usize, core: usize, slot: u32) {
        let client = &self.clients[index];
        let further: Vec<usize> = (1..client.follows.len())
            .filter(|at| client.follows[*at].left_at.is_none())
            .collect();
        if further.is_empty() {
            return;
        }
        let at = further[self.rng.usize(..further.len())];
        let truth = client.follows[at].truth;
        let (topic, _) = self.truths[truth].watch.as_ref().expect("it is followed");
        let left = self.cores[core].reactor.unsubscribe(slot, topic);
        assert!(
            left,
            "{} follows {}",
            client.name(),
            self.truths[truth].name
        );
        let limit = self.kernel.borrow().under_way(client.socket);
        let client = &mut self.clients[index];
        client.follows[at].left_at = Some(limit);
        client
            .left
            .push((client.follows[at], self.truths[truth].next() - 1));
        let client = &self.clients[index];
        self.say(|| format!("{} leaves topic {truth}", client.name()));
    }

    fn policy(&self) -> Option<Policy> {
        let spoken = self.plan.settings.deflate;
        (spoken != Deflate::Off).then_some(Policy {
            client_takeover: spoken == Deflate::Takeover,
        })
    }
}

fn agreed(upgrade: &Upgrade) -> Option<Agreed> {
    upgrade.deflate.map(|agreed| Agreed {
        answer: agreed.answer(),
        bits: agreed.server_window_bits,
        takeover: agreed.client_takeover,
        compressor: None,
    })
}

/// The first message that a subscriber gets of a topic.
pub(crate) fn first_offset(since: Option<u64>, retained: u64, next: u64) -> u64 {
    match since {
        None => next,
        // Of another history, or of none: all that there is.
        Some(since) if since > next => retained,
        Some(since) => since.max(retained),
    }
}
