//! How a connection comes to a core: it gets its record, follows its first topic and is
//! greeted. Called by the acceptor; who has come in through the ring takes part of the same
//! way, see `greeting`.

use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use super::conn::{Conn, Extra, Flags, Phase};
use super::feeds::Since;
use super::peer::Rate;
use super::reactor::{Reactor, State};
use super::subs::{SubId, Subscription};
use crate::log::Topic;
use crate::protocol::dialect::Dialect;
use crate::protocol::event_stream::EventStream;
use crate::protocol::http::{Begins, Reject, Upgrade, answer, demand_tls};
use crate::protocol::rights::Rights;
use crate::protocol::tls::Session;
use crate::protocol::ws::Reader;
use crate::ring::Ring;

/// A connection whose handshake has been read and found right.
pub struct Arrival {
    pub peer: SocketAddr,
    /// The kernel sees whether it lives.
    pub kept_alive: bool,
    pub upgrade: Upgrade,
    /// What it follows from the beginning.
    pub topic: Option<Arc<Topic>>,
    /// What came behind the head.
    pub rest: Vec<u8>,
    /// Its keys, if it has TLS.
    pub tls: Option<Box<Session>>,
}

impl<R: Ring> Reactor<R> {
    /// Takes over a connection: subscribes it and sends the 101 and what it is
    /// owed in the next turn. The caller may close its descriptor.
    ///
    /// # Errors
    /// The refusal to answer with.
    pub fn adopt(&mut self, socket: &impl AsRawFd, arrival: Arrival) -> Result<(), Reject> {
        self.state.look_at_clock();
        if self.state.conns.is_full() {
            return Err(Reject::ConnectionsMax);
        }
        let Arrival {
            peer,
            kept_alive,
            upgrade,
            topic,
            rest,
            tls,
        } = arrival;
        let slot = self.state.seat(peer, Known::of(&upgrade, kept_alive));
        self.attach_or_remove(slot, socket)?;
        let over_tls = tls.is_some();
        self.state.link(slot, tls);
        self.state.enter(slot, topic, &upgrade, over_tls);
        if !rest.is_empty() {
            self.state.handle_bytes(slot, &rest);
        }
        Ok(())
    }

    /// No further connection can be taken over.
    pub fn is_full(&self) -> bool {
        self.state.conns.is_full()
    }

    /// Has the ring know the socket of a connection that has a seat, which it loses otherwise.
    pub(super) fn attach_or_remove(
        &mut self,
        slot: u32,
        socket: &impl AsRawFd,
    ) -> Result<(), Reject> {
        self.ring.attach(slot, socket).map_err(|error| {
            tracing::error!(%error, "cannot register a connection with the ring");
            self.state.conns.remove(slot);
            Reject::ConnectionsMax
        })
    }
}

/// What is known of a connection when its record is made.
pub(super) struct Known {
    dialect: Dialect,
    flags: u32,
    window_bits: u8,
    rights: Option<Arc<Rights>>,
}

impl Known {
    /// What an opening has agreed on.
    pub(super) fn of(upgrade: &Upgrade, kept_alive: bool) -> Known {
        let mut flags = Known::flags(kept_alive);
        if upgrade.echo || upgrade.dialect.hears_itself() {
            flags |= Flags::ECHO;
        }
        if upgrade.deflate.is_some_and(|agreed| agreed.client_takeover) {
            flags |= Flags::TAKEOVER;
        }
        if upgrade.read_only {
            flags |= Flags::READ_ONLY;
        }
        let deflate = upgrade.deflate;
        Known {
            dialect: upgrade.dialect,
            flags,
            window_bits: deflate.map_or(0, |agreed| agreed.server_window_bits),
            rights: upgrade.rights.clone(),
        }
    }

    fn flags(kept_alive: bool) -> u32 {
        match kept_alive {
            true => Flags::KEPT_ALIVE,
            false => 0,
        }
    }

    /// What holds for a stream of events.
    pub(super) fn of_stream(stream: &EventStream, kept_alive: bool) -> Known {
        Known {
            dialect: Dialect::of_stream(stream.shape),
            flags: Known::flags(kept_alive) | Flags::READ_ONLY | Flags::ECHO,
            window_bits: 0,
            rights: stream.rights.clone(),
        }
    }
}

impl State {
    /// Gives a new connection a slot and a record. There is room for it.
    pub(super) fn seat(&mut self, peer: SocketAddr, known: Known) -> u32 {
        let conn = self.record(peer, known);
        let slot = self.conns.insert(conn);
        slot.expect("the slab was not full")
    }

    /// The record of a new connection.
    pub(super) fn record(&self, peer: SocketAddr, known: Known) -> Conn {
        let mut flags = Flags::default();
        flags.set(known.flags);
        if peer.ip().to_canonical().is_loopback() {
            // There the kernel always copies, but may be long in saying so.
            flags.set(Flags::COPIES);
        }
        Conn {
            sub: Subscription::NONE,
            heard_ms: self.patience_ms as u32,
            begun_ms: 0,
            stalled_ms: 0,
            offered: 0,
            rate: Rate::default(),
            flags,
            unreleased: 0,
            peer: peer.into(),
            phase: Phase::Open,
            dialect: known.dialect,
            pings: 0,
            window_bits: known.window_bits,
            reader: Reader::new(),
            extra: known.rights.map(|rights| {
                Box::new(Extra {
                    rights: Some(rights),
                    ..Extra::default()
                })
            }),
        }
    }

    /// A seated connection has these keys, if it has TLS.
    pub(super) fn link(&mut self, slot: u32, session: Option<Box<Session>>) {
        let Some(session) = session else {
            return;
        };
        let held = session.receive.buffered_bytes();
        self.hub.account_partial(0, held);
        self.conns.at(slot).flags.set(Flags::TLS);
        self.links.insert(slot, *session);
    }

    /// Sends the answer to a newcomer's request, before all else.
    pub(super) fn push_answer(&mut self, slot: u32, answer: Vec<u8>) {
        // Over TLS it goes out with the tickets that have waited for it.
        if !self.links.follow_kept(slot, &answer) {
            self.conns.at(slot).attend().lane.push_last(answer);
        }
    }

    /// Subscribes a seated connection and greets it.
    pub(super) fn enter(
        &mut self,
        slot: u32,
        topic: Option<Arc<Topic>>,
        upgrade: &Upgrade,
        over_tls: bool,
    ) {
        let mut shared = None;
        let begins = topic.map(|topic| {
            let epoch = topic.epoch();
            // Told in a hello alone.
            let newest = if upgrade.hello { topic.newest() } else { 0 };
            let since = upgrade.since(epoch);
            shared = since
                .filter(|_| topic.is_shared())
                .map(|since| (topic.clone(), since));
            let since = since.map_or(Since::Now, Since::Offset);
            Begins {
                epoch,
                next: self.subscribe_first(slot, topic, since),
                newest,
            }
        });
        let app = upgrade.app.clone().map(|key| self.admit_to_app(&key?));
        match &app {
            None => self.begin_session(slot, None),
            Some(Ok(app)) => self.begin_session(slot, Some(app.key.clone())),
            Some(Err(_)) => {}
        }
        self.enlist(slot);
        let mut answer = answer(upgrade, begins.as_ref());
        if over_tls {
            demand_tls(&mut answer, self.hub.settings().hsts_max_age_s);
        }
        if let Some(hello) = begins.and_then(|begins| begins.hello(upgrade)) {
            answer.extend_from_slice(&upgrade.dialect.frame(hello.as_bytes()));
        }
        self.push_answer(slot, answer);
        match app {
            None => {}
            Some(Ok(_)) => self.greet(slot),
            Some(Err(reason)) => self.turn_away(slot, reason),
        }
        if let Some((topic, since)) = shared {
            self.tell_known_gaps(SubId::first(slot), &topic, since);
        }
        let metrics = self.metrics();
        metrics.handshakes.add(1);
        metrics.connections.set(self.conns.len() as u64);
        self.say_entered(slot);
        self.watch(slot);
        self.mark(slot);
    }
}
