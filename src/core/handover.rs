//! A reactor's connections on their way to another process, and back in.
//!
//! Frozen, a reactor asks nothing of its ring and waits until the ring owes it
//! nothing. Its connections can then be written down, their sockets handed
//! out, and everything taken up again elsewhere, or here if that fails.

mod frames;
mod restoring;

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use self::frames::Frames;
use self::frames::SavedBytes;
use super::conn::{Conn, Flags, Phase};
use super::lane::After;
use super::link::SavedLink;
use super::reactor::{Reactor, State};
use super::streams::Stands;
use super::subs::SubId;
use crate::hub::{Origin, SavedProposal};
use crate::log::Topic;
use crate::protocol::centrifugo::ClientInfo;
use crate::protocol::dialect::pusher::Own;
use crate::protocol::dialect::session::Session;
use crate::protocol::event_stream::Place;
#[cfg(test)]
use crate::protocol::rights::Channel;
use crate::protocol::rights::Rights;
#[cfg(test)]
use crate::protocol::ws::Reader;
use crate::protocol::ws::SavedReader;
use crate::ring::Ring;

/// One connection, written down.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SavedConn {
    /// SO_COOKIE: tells which socket belongs to it, in any process.
    pub cookie: u64,
    /// The core it was on.
    pub core: u32,
    peer: SocketAddr,
    dialect: u8,
    flags: u32,
    closing: bool,
    /// Reason and code of the close that it is to come to.
    drain: Option<(u16, u16)>,
    /// The words of that close, where they are none that go with the reason.
    farewell: Option<Box<str>>,
    deadline_in_ms: Option<u64>,
    /// What it follows, its first subscription first, if it has a seat.
    subs: Vec<SavedSub>,
    window_bits: u8,
    silent_ms: u32,
    /// How long ago the message began that has come in part.
    begun_ms: u32,
    pings: u8,
    lane: Vec<SavedEntry>,
    /// The first entry begins inside a frame.
    lane_begun: bool,
    /// What it said that waits for room, and what came behind that.
    unpublished: Option<(bool, Vec<u8>)>,
    unread: Vec<u8>,
    reader: SavedReader,
    /// The client's window, if it keeps one.
    window: Option<Vec<u8>>,
    /// What is known of its client, where its dialect has sessions.
    session: Option<Session>,
    /// The same of sessions of apps alone.
    own: Option<Own>,
    /// What its token gives it.
    rights: Option<Rights>,
    /// What it has proposed to the cluster, which has not decided.
    proposed: Vec<SavedProposal>,
    /// By what its messages are known there, if it is not to hear them.
    origin: Option<Origin>,
    /// What the ids of its stream name, in this order, where that has many topics.
    together: Vec<SavedPlace>,
}

/// Where a client of such a stream is with one of its topics.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum SavedPlace {
    /// Where the subscription is which has that place among all of the connection.
    With(u32),
    /// At this offset of the history of that epoch.
    At { epoch: u64, offset: u64 },
}

/// One subscription, written down.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct SavedSub {
    /// See [`Topic::id`].
    topic: u64,
    /// What it reads, see [`Format::index`].
    format: u8,
    /// It lies in the connection's record.
    first: bool,
    cursor: u64,
    /// Its own messages that it must not hear.
    own: Vec<(u64, u64)>,
    /// How far it is to go, where the connection drains.
    until: u64,
    /// Its frame is the one that has been begun.
    current: bool,
    /// It ends with that frame.
    leaving: bool,
    /// It has not begun, and is to begin with this offset.
    since: Option<u64>,
    /// Offsets of its own messages behind that.
    own_stored: Vec<(u64, u64)>,
}

/// One entry of a lane, and what it waits for: one of the subscriptions, and a
/// position.
type SavedEntry = (SavedBytes, Option<(u32, u64)>);

impl SavedConn {
    /// The topics that it follows, see [`Topic::id`].
    pub fn topics(&self) -> impl Iterator<Item = u64> {
        self.subs.iter().map(|sub| sub.topic)
    }

    /// It has TLS: its keys come apart from it.
    pub fn has_tls(&self) -> bool {
        self.flags & Flags::TLS != 0
    }

    /// Who it is, for others, if its dialect has sessions.
    pub fn client(&self) -> Option<ClientInfo> {
        self.session.as_ref().map(Session::info)
    }

    /// One with something in every field.
    #[cfg(test)]
    pub(crate) fn sample() -> SavedConn {
        SavedConn {
            cookie: 1,
            core: 2,
            peer: ([192, 0, 2, 3], 4).into(),
            dialect: 1,
            flags: 5,
            closing: true,
            drain: Some((6, 7)),
            farewell: Some("bye".into()),
            deadline_in_ms: Some(8),
            subs: vec![SavedSub {
                topic: 9,
                format: 10,
                first: true,
                cursor: 11,
                own: vec![(12, 13)],
                until: 14,
                current: true,
                leaving: true,
                since: Some(15),
                own_stored: vec![(29, 30)],
            }],
            window_bits: 16,
            silent_ms: 17,
            begun_ms: 18,
            pings: 19,
            lane: vec![
                (SavedBytes::Here(Bytes::from_static(&[20])), Some((21, 22))),
                (SavedBytes::Of { frame: 0, len: 3 }, None),
            ],
            lane_begun: true,
            unpublished: Some((true, vec![23])),
            unread: vec![24],
            reader: Reader::new().save(),
            window: Some(vec![25]),
            session: Some(Session::sample()),
            own: Some(Own::sample()),
            rights: Some(Rights {
                user: "u".into(),
                expires_s: Some(27),
                channels: vec![Channel {
                    name: "c".into(),
                    info: Some("28".into()),
                    data: None,
                }],
                ..Rights::default()
            }),
            proposed: vec![SavedProposal::sample()],
            origin: Some(Origin {
                node: 35,
                connection: 36,
            }),
            together: vec![
                SavedPlace::With(37),
                SavedPlace::At {
                    epoch: 38,
                    offset: 39,
                },
            ],
        }
    }
}

/// Flags that hold in any process.
const KEPT: u32 = Flags::MID_FRAME
    | Flags::READ_ONLY
    | Flags::ECHO
    | Flags::PRESENT
    | Flags::COPIES
    | Flags::ENDED
    | Flags::PEER_CLOSED
    | Flags::TAKEOVER
    | Flags::TLS
    | Flags::KEPT_ALIVE
    | Flags::IN_RECORD;

/// How often a core is written down anew because the cluster has decided on something.
const SAVES_MAX: u32 = 10_000;

/// All that a frozen core holds, but for the sockets.
pub struct SavedCore {
    /// Slot and connection; without a cookie yet.
    pub conns: Vec<(u32, SavedConn)>,
    /// The links of those that have TLS, in this order.
    pub links: Vec<SavedLink>,
}

impl<R: Ring> Reactor<R> {
    /// Stops asking for anything. Turns still take what comes.
    pub fn freeze(&mut self) {
        self.state.look_at_marks();
        self.state.carry_out_orders();
        self.state.admit_joiners(true);
        self.state.frozen = true;
        self.freeze_newcomers();
        // What has been taken from a socket is this process's to publish.
        self.state.resume_if_room(true);
        let slots: Vec<u32> = self.state.conns.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            let flags = self.state.conns.at(slot).flags;
            if flags.any(Flags::RECEIVING) {
                self.ring.cancel_receive(slot);
            }
            if flags.any(Flags::AWAITING) {
                self.ring.cancel_await(slot);
            }
        }
    }

    /// Nothing is under way any more: the connections can be written down. What
    /// peers have been sent and do not take stays behind with this process: the
    /// kernel has it, and asks no ring for it.
    pub fn is_still(&self) -> bool {
        let mut conns = self.state.conns.iter();
        self.ring.queued() == 0
            && self.state.newcomers.are_still()
            && conns.all(|(_, conn)| !conn.flags.any(Flags::OUTSTANDING))
    }

    /// Goes on as if nothing had been.
    pub fn thaw(&mut self) {
        self.state.frozen = false;
        let slots: Vec<u32> = self.state.conns.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            self.state.mark(slot);
        }
        let numbers: Vec<u32> = self.state.feeds.numbers().collect();
        for number in numbers {
            self.state.grow(number);
        }
        // Nothing woke them meanwhile.
        self.state.hurry_all(None);
    }

    /// Writes down everything. Only when [`Reactor::is_still`].
    pub fn save(&mut self) -> SavedCore {
        assert!(self.state.frozen && self.is_still());
        self.state.save()
    }

    /// Asks for plain descriptors of the sockets in these slots; they are to
    /// be had by [`Reactor::plain`] after the next turns.
    pub fn install(&mut self, slots: &[u32]) {
        for slot in slots {
            self.ring.install(*slot);
        }
    }

    /// The plain descriptors made since the last call.
    pub fn plain(&mut self) -> Vec<(u32, io::Result<R::Plain>)> {
        std::mem::take(&mut self.installed)
    }

    /// Takes up a connection where another process left it, with its link if it has TLS, and the
    /// topics that it follows. Nothing is asked of the socket before [`Reactor::thaw`].
    ///
    /// # Errors
    /// What is wrong with the record, or kept the socket out of the ring. Nothing of it
    /// is left here then.
    pub fn restore(
        &mut self,
        socket: &impl AsRawFd,
        saved: SavedConn,
        link: Option<SavedLink>,
        topics: Vec<Option<Arc<Topic>>>,
    ) -> Result<(), String> {
        self.state.frozen = true;
        let slot = self.state.restore(saved, link, topics)?;
        self.ring.attach(slot, socket).map_err(|error| {
            self.state.shut_down(slot);
            self.state.vacate(slot);
            format!("cannot register a connection: {error}")
        })
    }
}

impl State {
    fn save(&mut self) -> SavedCore {
        let slots: Vec<u32> = self.conns.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            self.settle_record(slot);
        }
        let mut tries = 0;
        loop {
            self.take_settled();
            let mut conns = Vec::new();
            for (slot, conn) in self.conns.iter() {
                if conn.phase != Phase::ShutDown {
                    conns.push((slot, self.save_conn(slot, conn)));
                }
            }
            // What the cluster has decided on meanwhile is under way no more, and not written
            // down as that: word of it is on its way here, and is taken first.
            tries += 1;
            let tickets = self.proposals.keys().copied();
            if self.hub.are_under_way(tickets) || tries == SAVES_MAX {
                let links = self.save_links(&conns);
                return SavedCore { conns, links };
            }
            std::thread::yield_now();
        }
    }

    fn save_links(&mut self, conns: &[(u32, SavedConn)]) -> Vec<SavedLink> {
        let links = conns.iter().filter(|(_, conn)| conn.has_tls());
        let links = links.map(|(slot, _)| self.links.save(*slot));
        links.collect()
    }

    fn save_conn(&self, slot: u32, conn: &Conn) -> SavedConn {
        let extra = conn.extra.as_deref();
        let drain = conn.drain();
        let pause = extra.and_then(|extra| extra.pause.as_deref());
        let unpublished = pause.and_then(|pause| pause.unpublished.as_ref());
        let ids = self.subscriptions(slot);
        let talk = self.talks.get(slot);
        let parts = extra.into_iter().flat_map(|extra| extra.lane.parts());
        let entry = |(bytes, after): (Bytes, Option<After>)| {
            let after = after.and_then(|After { sub, position }| {
                let at = ids.iter().position(|id| *id == sub)?;
                Some((at as u32, position))
            });
            (SavedBytes::Here(bytes), after)
        };
        SavedConn {
            cookie: 0,
            core: self.core as u32,
            peer: conn.peer.address(),
            dialect: conn.dialect.number(),
            flags: conn.flags.only(KEPT),
            closing: conn.phase == Phase::Closing,
            drain: drain.map(|drain| (drain.reason.index() as u16, drain.code)),
            farewell: drain.and_then(|drain| drain.words.clone()),
            deadline_in_ms: extra
                .and_then(|extra| extra.deadline_ms)
                .map(|at| at.saturating_sub(self.patience_ms)),
            lane: parts.map(entry).collect(),
            lane_begun: extra.is_some_and(|extra| extra.lane.is_begun()),
            subs: ids
                .iter()
                .map(|id| self.save_sub(slot, conn, *id))
                .collect(),
            window_bits: conn.window_bits,
            silent_ms: (self.patience_ms as u32).wrapping_sub(conn.heard_ms),
            begun_ms: (self.patience_ms as u32).wrapping_sub(conn.begun_ms),
            pings: conn.pings,
            unpublished: unpublished.map(|message| (message.text, message.payload.clone())),
            unread: pause.map_or_else(Vec::new, |pause| pause.unread.clone()),
            reader: conn.reader.save(),
            window: extra.and_then(|extra| Some(extra.inflater.as_ref()?.window().to_vec())),
            session: talk.map(|talk| talk.session.clone()),
            own: talk.and_then(|talk| talk.own.clone()),
            rights: conn.rights().map(|rights| Rights::clone(rights)),
            proposed: self.save_proposed(slot),
            origin: self.save_origin(slot),
            together: (self.together(slot).iter())
                .filter_map(|stands| save_place(stands, &ids))
                .collect(),
        }
    }

    fn save_sub(&self, slot: u32, conn: &Conn, id: SubId) -> SavedSub {
        let extra = conn.extra.as_deref();
        let sub = self.look_at_sub(id);
        let feed = self.feeds.look_at(sub.feed);
        let own = extra.into_iter().flat_map(|extra| &extra.own);
        let own = own.filter(|(owner, _)| *owner == id);
        SavedSub {
            topic: feed.topic.id(),
            format: feed.format.index(),
            first: id.slot().is_some(),
            cursor: sub.cursor,
            own: own.map(|(_, own)| (own.start, own.end)).collect(),
            until: conn.drain().map_or(0, |drain| drain.until(id)),
            current: conn.current(slot) == id,
            leaving: extra.is_some_and(|extra| extra.leaving.contains(&id)),
            since: self.reaches_for(id),
            own_stored: (self.own_stored(id).iter())
                .map(|own| (own.start, own.end))
                .collect(),
        }
    }
}

fn save_place(stands: &Stands, ids: &[SubId]) -> Option<SavedPlace> {
    match stands {
        Stands::With(id) => {
            let at = ids.iter().position(|known| known == id)?;
            Some(SavedPlace::With(at as u32))
        }
        Stands::At(Place { epoch, offset }) => Some(SavedPlace::At {
            epoch: *epoch,
            offset: *offset,
        }),
    }
}
