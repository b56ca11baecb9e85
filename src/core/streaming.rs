//! Streams of events: how they begin, and how a client that is sent many topics as one stream
//! learns where it is. All else is done with them as with any connection.

use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use super::closing::How;
use super::conn::{Flags, Phase};
use super::entering;
use super::feeds::Since;
use super::reactor::{Reactor, State};
use super::streams::{Stands, Together};
use super::subs::SubId;
use super::time::share_of;
use crate::log::Topic;
use crate::protocol::dialect::Gap;
use crate::protocol::event_stream::{EventStream, Place, Shape, Wanted, head, write_ids};
use crate::protocol::http::{Begins, Reject, Resume, Terms, demand_tls};
use crate::protocol::reason::CloseReason;
use crate::protocol::tls::Session;
use crate::ring::Ring;

/// A connection whose request for a stream of events has been read and found right.
pub struct StreamArrival {
    pub peer: SocketAddr,
    /// The kernel sees whether it lives.
    pub kept_alive: bool,
    pub stream: Box<EventStream>,
    /// Those that it wants, in their order.
    pub topics: Vec<Arc<Topic>>,
    /// How many bytes came behind the head.
    pub rest: usize,
    /// Its keys, if it has TLS.
    pub tls: Option<Box<Session>>,
}

impl<R: Ring> Reactor<R> {
    /// Takes over a connection that asks for a stream: subscribes it, and sends the head and
    /// what it is owed in the next turn. The caller may close its descriptor.
    ///
    /// # Errors
    /// The refusal to answer with.
    pub fn adopt_stream(
        &mut self,
        socket: &impl AsRawFd,
        arrival: StreamArrival,
    ) -> Result<(), Reject> {
        self.state.look_at_clock();
        if self.state.conns.is_full() {
            return Err(Reject::ConnectionsMax);
        }
        let StreamArrival {
            peer,
            kept_alive,
            stream,
            topics,
            rest,
            tls,
        } = arrival;
        let known = entering::Known::of_stream(&stream, kept_alive);
        let slot = self.state.seat(peer, known);
        self.attach_or_remove(slot, socket)?;
        let over_tls = tls.is_some();
        self.state.link(slot, tls);
        self.state.enter_stream(slot, topics, &stream, over_tls);
        self.state.overhear(slot, rest);
        Ok(())
    }
}

impl State {
    pub(super) fn enter_stream(
        &mut self,
        slot: u32,
        topics: Vec<Arc<Topic>>,
        stream: &EventStream,
        over_tls: bool,
    ) {
        let (mut begun, mut order) = (Vec::new(), Vec::new());
        for (topic, wanted) in topics.into_iter().zip(&stream.wanted) {
            let epoch = topic.epoch();
            let since = wanted.since(epoch);
            let next = match order.is_empty() {
                true => {
                    let since = since.map_or(Since::Now, Since::Offset);
                    self.subscribe_first(slot, topic.clone(), since)
                }
                false => {
                    let next = self.subscribe(slot, topic.clone(), since);
                    next.expect("each topic is named once")
                }
            };
            let id = self.find(slot, &topic);
            order.push(id.expect("just subscribed"));
            begun.push((
                topic,
                Begins {
                    epoch,
                    next,
                    newest: 0,
                },
            ));
        }
        self.enlist(slot);
        let terms = Terms {
            head_only: false,
            now_s: self.hub.unix_s(),
        };
        let all: Vec<Begins> = begun.iter().map(|(_, begins)| *begins).collect();
        let mut answer = head(stream, &all, terms);
        if over_tls {
            demand_tls(&mut answer, self.hub.settings().hsts_max_age_s);
        }
        let comes_back_ms = self.comes_back_ms(slot);
        answer.extend_from_slice(format!("retry: {comes_back_ms}\n").as_bytes());
        // Who is cut off before the first message comes back to it all the same.
        let places = begun.iter().map(|(_, begins)| Place {
            epoch: begins.epoch,
            offset: begins.next - 1,
        });
        write_ids(places.clone(), &mut answer);
        answer.push(b'\n');
        let told = sum(places);
        self.push_answer(slot, answer);
        for ((id, (topic, begins)), wanted) in order.iter().zip(&begun).zip(&stream.wanted) {
            self.tell_missed_before(*id, topic, begins, wanted);
        }
        if stream.shape != Shape::One {
            let order = order.into_iter().map(Stands::With).collect();
            let has_moved = false;
            let stream = Together {
                order,
                told,
                has_moved,
            };
            self.streams.all.insert(slot, stream);
        }
        let metrics = self.metrics();
        metrics.handshakes.add(1);
        metrics.connections.set(self.conns.len() as u64);
        self.watch(slot);
        self.mark(slot);
    }

    /// Tells a client that comes back of what it does not get, as it cannot read heads.
    fn tell_missed_before(&mut self, id: SubId, topic: &Topic, begins: &Begins, wanted: &Wanted) {
        let Begins { epoch, next, .. } = *begins;
        let slot = self.subs.owner(id);
        let dialect = self.conns.at(slot).dialect;
        let notice = match begins.became(wanted.since, wanted.epoch) {
            None => return,
            // All that there is it has.
            Some(_) if wanted.since == Some(0) => return,
            Some(Resume::Exact) => {
                if topic.is_shared()
                    && let Some(since) = wanted.since(epoch)
                {
                    self.tell_known_gaps(id, topic, since);
                }
                return;
            }
            Some(Resume::Expired) => {
                let from = wanted.since.unwrap_or_default().max(1);
                let gap = Gap {
                    epoch,
                    from,
                    to: next - 1,
                    missed: None,
                };
                dialect.gap(topic.name(), &gap)
            }
            Some(Resume::Unknown) => dialect.lost(topic.name(), epoch, next),
        };
        self.conns.at(slot).attend().lane.push_last(notice);
    }

    /// When a client is to come back whose stream breaks off: around the time that the
    /// settings name, as all of them may break off at once.
    fn comes_back_ms(&self, slot: u32) -> u64 {
        let cores = self.hub.mailboxes().len() as u64;
        let number = u64::from(slot) * cores + self.core as u64;
        let about_ms = self.hub.settings().retry_after_s * 1000;
        about_ms / 2 + share_of(about_ms, number)
    }

    /// A peer has sent something behind its request, which nobody reads.
    pub(super) fn overhear(&mut self, slot: u32, len: usize) {
        let bytes_max = self.hub.settings().inbound_bytes_per_s_max;
        let now_ms = self.now_ms;
        let conn = self.conns.at(slot);
        conn.rate.look_at_clock(now_ms);
        if !conn.rate.admit_bytes(len, bytes_max) {
            self.close(slot, CloseReason::Rate, How::NextBoundary);
        }
    }

    /// A stream of many topics that has come from another process goes on, with its
    /// topics in this order.
    pub(super) fn go_on_together(&mut self, slot: u32, order: Vec<Stands>) {
        // Its client is told anew.
        let (told, has_moved) = (0, true);
        let stream = Together {
            order,
            told,
            has_moved,
        };
        self.streams.all.insert(slot, stream);
        self.streams.moved.push(slot);
    }

    /// In which order the ids of a stream name its topics; none of one that has one alone.
    pub(super) fn together(&self, slot: u32) -> &[Stands] {
        let stream = self.streams.all.get(&slot);
        stream.map_or(&[], |stream| &stream.order)
    }

    /// Tells clients of streams with many topics where they are, if that is another place than
    /// they know. To be called with every tick, so that ids are few beside messages.
    pub(super) fn tell_places(&mut self) {
        for slot in std::mem::take(&mut self.streams.moved) {
            let Some(conn) = self.conns.get_mut(slot) else {
                continue;
            };
            let takes = !conn.flags.any(Flags::AWAITING);
            match conn.phase {
                Phase::Open if takes => {
                    if let Some(id) = self.moved_to(slot) {
                        let lane = &mut self.conns.at(slot).attend().lane;
                        lane.push_last(id);
                        self.mark(slot);
                    }
                }
                // What it does not take now it would not take then.
                Phase::Open => {
                    self.streams.moved.push(slot);
                    continue;
                }
                // It is told with its last event.
                _ => {}
            }
            if let Some(stream) = self.streams.all.get_mut(&slot) {
                stream.has_moved = false;
            }
        }
    }

    /// An event that names where a client is, if it does not know.
    fn moved_to(&mut self, slot: u32) -> Option<Vec<u8>> {
        let places = self.places(slot);
        let now = sum(places.iter().copied());
        let told = &mut self.streams.all.get_mut(&slot)?.told;
        if std::mem::replace(told, now) == now {
            return None;
        }
        let mut id = Vec::new();
        write_ids(places.into_iter(), &mut id);
        id.push(b'\n');
        Some(id)
    }

    /// The field that names where a client of many topics is whose stream ends.
    pub(super) fn last_id(&mut self, slot: u32) -> Vec<u8> {
        let mut id = Vec::new();
        if self.streams.all.contains_key(&slot) {
            write_ids(self.places(slot).into_iter(), &mut id);
        }
        id
    }

    /// Up to where a client has been sent each of its topics.
    fn places(&mut self, slot: u32) -> Vec<Place> {
        let order = self.together(slot).to_vec();
        for stands in &order {
            if let Stands::With(id) = stands {
                let sub = *self.look_at_sub(*id);
                let window = &mut self.feeds.at(sub.feed).window;
                // Who has just come may stand ahead of what this core has seen of the log.
                if sub.cursor > window.end() {
                    window.advance();
                }
            }
        }
        self.look_at_marks();
        let place = |stands: &Stands| match stands {
            Stands::With(id) => self.place(*id),
            Stands::At(place) => *place,
        };
        order.iter().map(place).collect()
    }

    /// Up to where the messages of a subscription have been sent, counting the event that is
    /// begun: nothing is sent ahead of its rest.
    pub(super) fn place(&self, id: SubId) -> Place {
        let sub = self.look_at_sub(id);
        let feed = self.feeds.look_at(sub.feed);
        let next = match self.reaches_for(id) {
            Some(next) => next,
            None => feed.window.boundary(self.reached(id)).1,
        };
        Place {
            epoch: feed.topic.epoch(),
            offset: next.saturating_sub(1),
        }
    }
}

/// Changes when one of the offsets does, as none goes back.
fn sum(places: impl Iterator<Item = Place>) -> u64 {
    places.fold(0, |sum, place| sum.wrapping_add(place.offset))
}
