//! Traces: which messages and opening handshakes are traced, and what is known of those that
//! are until the exporter takes them.
//!
//! While there is no exporter, to ask is all that it costs. A message that is published is
//! followed to its subscribers' sockets as one is whose publisher waits for that
//! (`deliveries`). Only so many are followed at a time, and only so many wait for the
//! exporter: what is beyond is counted, and nobody waits for anything.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::mpsc::{Permit, Receiver, Sender, channel};

use super::deliveries::Delivery;
use super::{Hub, lock};
use crate::log::{Committed, Topic};
use crate::protocol::trace_context::Parent;

/// Messages that are followed for their traces at a time.
const UNDER_WAY_MAX: usize = 64;
/// Their subscribers, as the cores keep a list of those of each: beyond it no other message is
/// followed. One alone may have more.
const SUBSCRIBERS_MAX: u64 = 1 << 20;
/// What has ended, or is to be followed, and waits for the exporter.
const QUEUE_MAX: usize = 1024;

/// All that the hub knows of traces.
#[derive(Debug, Default)]
pub struct Traces {
    exporter: OnceLock<Sender<Traced>>,
    under_way: AtomicUsize,
    /// Of all that are under way.
    subscribers: AtomicU64,
    /// Those of messages that are proposed to the cluster, by their tickets.
    proposed: Mutex<VecDeque<(u64, Proposed)>>,
    pub figures: TraceFigures,
}

/// The trace of a message, and the protocol that this came by.
type Proposed = (Begun, &'static str);

/// Counts since the start. What is traced is a message or a handshake.
#[derive(Debug, Default)]
pub struct TraceFigures {
    pub sampled: AtomicU64,
    /// The collector has taken them.
    pub exported: AtomicU64,
    /// Requests to the collector that failed.
    pub failures: AtomicU64,
    /// As many were being followed as may be.
    pub dropped_busy: AtomicU64,
    /// As many waited for the exporter, or for the collector, as may.
    pub dropped_full: AtomicU64,
    /// The collector has refused them.
    pub dropped_refused: AtomicU64,
}

/// A trace that begins here, or goes on here.
#[derive(Debug, Clone, Copy)]
pub struct Begun {
    pub trace: u128,
    /// The span of whoever has asked for it.
    pub parent: Option<u64>,
    at: Instant,
    unix_ns: u64,
}

/// What the exporter is to tell of.
#[derive(Debug)]
pub enum Traced {
    Message(TracedMessage),
    Handshake(TracedHandshake),
}

/// A message that is in its topic's log.
#[derive(Debug)]
pub struct TracedMessage {
    pub begun: Begun,
    /// The protocol that it came by.
    pub via: &'static str,
    pub bytes: u64,
    pub offset: u64,
    pub delivery: Arc<Delivery>,
    _seat: Seat,
}

/// A connection that has been answered.
#[derive(Debug)]
pub struct TracedHandshake {
    pub begun: Begun,
    pub ended: Instant,
    pub core: usize,
    /// It came and was answered in the ring.
    pub in_ring: bool,
    pub tls: bool,
    pub outcome: HandshakeOutcome,
}

/// What has become of a connection's first request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandshakeOutcome {
    /// It was answered as what has this name.
    Answered(&'static str),
    /// It was refused for the reason that has this name.
    Refused(&'static str),
}

/// A message that is being followed.
#[derive(Debug)]
struct Seat {
    traces: Arc<Traces>,
    subscribers: u64,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Seat {
            traces,
            subscribers,
        } = self;
        traces
            .subscribers
            .fetch_sub(*subscribers, Ordering::Relaxed);
        traces.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Hub {
    pub fn traces(&self) -> &Traces {
        &self.traces
    }

    /// What is about to be done is traced, or it is not. Where it is asked for in the course of
    /// somebody's trace, that decides.
    #[inline]
    pub fn begin_trace(&self, parent: Option<Parent>) -> Option<Begun> {
        match self.traces.exporter.get() {
            None => None,
            Some(_) => self.draw(parent),
        }
    }

    #[cold]
    fn draw(&self, parent: Option<Parent>) -> Option<Begun> {
        let is_sampled = match parent {
            Some(parent) => parent.is_sampled,
            None => {
                let ratio = self.settings().trace_sample_ratio;
                ratio.admits(fastrand::u64(..))
            }
        };
        is_sampled.then(|| Begun::now(parent))
    }

    /// A message that was begun so has just been published, and is not announced yet.
    pub fn trace_message(
        &self,
        begun: Begun,
        via: &'static str,
        (topic, bytes): (&Arc<Topic>, usize),
        message: &Committed,
    ) {
        let figures = &self.traces.figures;
        figures.sampled.fetch_add(1, Ordering::Relaxed);
        let subscribers = topic.subscribers(|_| true);
        let Some(seat) = self.traces.take_seat(subscribers) else {
            figures.dropped_busy.fetch_add(1, Ordering::Relaxed);
            return;
        };
        // Before the cores follow it: nobody would tell them to let go of it.
        let Some(room) = self.traces.room() else {
            return;
        };
        room.send(Traced::Message(TracedMessage {
            begun,
            via,
            bytes: bytes as u64,
            offset: message.offset,
            delivery: self.follow_published(topic, message),
            _seat: seat,
        }));
    }

    /// A connection has been answered that was begun so.
    pub fn trace_handshake(&self, handshake: TracedHandshake) {
        self.traces.figures.sampled.fetch_add(1, Ordering::Relaxed);
        if let Some(room) = self.traces.room() {
            room.send(Traced::Handshake(handshake));
        }
    }
}

impl Traces {
    /// From now on there is an exporter, which takes what is traced.
    pub fn begin_to_export(&self) -> Receiver<Traced> {
        let (exporter, traced) = channel(QUEUE_MAX);
        let is_first = self.exporter.set(exporter).is_ok();
        assert!(is_first, "there is one exporter");
        traced
    }

    /// Messages that are followed.
    pub fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }

    /// Keeps the trace of a message until that comes back from the cluster. It need not: then
    /// those that follow push it out.
    pub(super) fn note_proposed(&self, ticket: u64, trace: Proposed) {
        let mut proposed = lock(&self.proposed);
        if proposed.len() == UNDER_WAY_MAX {
            proposed.pop_front();
        }
        proposed.push_back((ticket, trace));
    }

    /// The message has come back that was proposed under this number.
    pub(super) fn take_proposed(&self, ticket: u64) -> Option<Proposed> {
        self.exporter.get()?;
        let mut proposed = lock(&self.proposed);
        let at = proposed.iter().position(|(known, _)| *known == ticket)?;
        proposed.remove(at).map(|(_, trace)| trace)
    }

    fn take_seat(self: &Arc<Self>, subscribers: u64) -> Option<Seat> {
        let one_more = |count: usize| (count < UNDER_WAY_MAX).then_some(count + 1);
        let taken = self
            .under_way
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        let before = taken.ok()?;
        let all = self.subscribers.fetch_add(subscribers, Ordering::Relaxed) + subscribers;
        // Dropped, it gives back what it has taken.
        let seat = Seat {
            traces: self.clone(),
            subscribers,
        };
        (all <= SUBSCRIBERS_MAX || before == 0).then_some(seat)
    }

    /// Room for one trace on its way to the exporter; that there is none is counted.
    fn room(&self) -> Option<Permit<'_, Traced>> {
        let exporter = self.exporter.get().expect("it was begun for one");
        let room = exporter.try_reserve().ok();
        if room.is_none() {
            self.figures.dropped_full.fetch_add(1, Ordering::Relaxed);
        }
        room
    }
}

impl Begun {
    fn now(parent: Option<Parent>) -> Begun {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let unix_ns = unix.map_or(0, |unix| unix.as_nanos() as u64);
        Begun {
            trace: parent.map_or_else(|| fastrand::u128(1..), |parent| parent.trace),
            parent: parent.map(|parent| parent.span),
            at: Instant::now(),
            unix_ns,
        }
    }

    /// The same, so much earlier: it had to wait.
    #[must_use]
    pub fn earlier(self, by: Duration) -> Begun {
        Begun {
            at: self.at.checked_sub(by).unwrap_or(self.at),
            unix_ns: self.unix_ns.saturating_sub(by.as_nanos() as u64),
            ..self
        }
    }

    /// When it began, in nanoseconds since 1970.
    pub fn began_ns(&self) -> u64 {
        self.unix_ns
    }

    /// A later moment, in nanoseconds since 1970.
    pub fn unix_ns(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.at);
        self.unix_ns + since.as_nanos() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;
    use crate::hub::mailbox::Task;
    use crate::protocol::encoding::Format;
    use crate::protocol::topic::TopicName;
    use crate::protocol::ws::Opcode;

    fn hub(ratio: &str) -> Arc<Hub> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("trace_sample_ratio = {ratio}\n")).unwrap();
        let settings = crate::config::check_file(file.path()).unwrap();
        Hub::new(Settings {
            cores: 1,
            ..settings
        })
        .unwrap()
    }

    const PARENT: Parent = Parent {
        trace: 7,
        span: 8,
        is_sampled: true,
    };

    #[test]
    fn without_an_exporter_nothing_is_traced_and_with_one_as_much_as_is_to_be() {
        let hub = hub("1");
        assert!(hub.begin_trace(Some(PARENT)).is_none());
        let _traced = hub.traces().begin_to_export();
        let own = hub.begin_trace(None).unwrap();
        assert_eq!(own.parent, None);
        let none = self::hub("0");
        let _traced = none.traces().begin_to_export();
        assert!(none.begin_trace(None).is_none());
    }

    #[test]
    fn a_parent_decides() {
        for ratio in ["0", "1"] {
            let hub = hub(ratio);
            let _traced = hub.traces().begin_to_export();
            let begun = hub.begin_trace(Some(PARENT)).unwrap();
            assert_eq!((begun.trace, begun.parent), (7, Some(8)));
            let is_sampled = false;
            let unsampled = Parent {
                is_sampled,
                ..PARENT
            };
            assert!(hub.begin_trace(Some(unsampled)).is_none());
        }
    }

    #[test]
    fn what_waited_began_earlier_and_times_follow_one_clock() {
        let begun = Begun::now(None);
        let earlier = begun.earlier(Duration::from_millis(3));
        assert_eq!(begun.began_ns() - earlier.began_ns(), 3_000_000);
        let at = begun.at + Duration::from_micros(5);
        assert_eq!(begun.unix_ns(at) - begun.began_ns(), 5_000);
        assert_eq!(earlier.unix_ns(at), begun.unix_ns(at));
        // A moment before counts as the beginning.
        assert_eq!(begun.unix_ns(earlier.at), begun.began_ns());
    }

    #[test]
    fn so_many_are_followed_and_no_more_and_large_topics_count_for_more() {
        let traces = Arc::new(Traces::default());
        let seats: Vec<_> = (0..UNDER_WAY_MAX).map(|_| traces.take_seat(1)).collect();
        assert!(seats.iter().all(Option::is_some) && traces.take_seat(1).is_none());
        drop(seats);
        assert_eq!(traces.under_way(), 0);
        let large = traces.take_seat(SUBSCRIBERS_MAX + 1);
        assert!(large.is_some() && traces.take_seat(1).is_none());
        drop(large);
        let half = traces.take_seat(SUBSCRIBERS_MAX / 2);
        assert!(half.is_some() && traces.take_seat(SUBSCRIBERS_MAX / 2).is_some());
        assert!(traces.take_seat(SUBSCRIBERS_MAX / 2 + 1).is_none());
        drop(half);
        let left = (
            traces.under_way(),
            traces.subscribers.load(Ordering::Relaxed),
        );
        assert_eq!(left, (0, 0));
    }

    #[test]
    fn what_is_proposed_keeps_its_trace_until_it_comes_back_or_too_many_follow() {
        let hub = hub("1");
        let _traced = hub.traces().begin_to_export();
        let traces = hub.traces();
        for ticket in 0..=UNDER_WAY_MAX as u64 {
            let begun = hub.begin_trace(None).unwrap();
            traces.note_proposed(ticket, (begun, "raw"));
        }
        assert!(traces.take_proposed(0).is_none());
        assert!(traces.take_proposed(1).is_some() && traces.take_proposed(1).is_none());
    }

    fn fill(hub: &Hub) {
        for _ in 0..QUEUE_MAX {
            hub.trace_handshake(TracedHandshake {
                begun: hub.begin_trace(None).unwrap(),
                ended: Instant::now(),
                core: 0,
                in_ring: true,
                tls: false,
                outcome: HandshakeOutcome::Answered("websocket"),
            });
        }
    }

    #[test]
    fn what_the_exporter_has_no_room_for_is_counted_and_followed_by_no_core() {
        let hub = hub("1");
        let mut traced = hub.traces().begin_to_export();
        let name = TopicName::new("t").unwrap();
        let topic = hub.topic(&name).unwrap();
        let (_, interest) = topic.attach(Format::Raw).unwrap();
        interest[0].join(0);
        let followed = || {
            let begun = hub.begin_trace(None);
            hub.publish_from(&name, Opcode::Text, b"x", None, None, begun)
                .unwrap();
            let orders = hub.mailboxes()[0].take_orders();
            let follow = |order: &&Task| matches!(order, Task::Follow(_));
            orders.iter().filter(follow).count()
        };
        fill(&hub);
        assert_eq!(followed(), 0);
        let figures = &hub.traces().figures;
        let count = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        assert_eq!(count(&figures.sampled), QUEUE_MAX as u64 + 1);
        assert_eq!(count(&figures.dropped_full), 1);
        assert_eq!(hub.traces().under_way(), 0);
        assert!(traced.try_recv().is_ok());
        assert_eq!(followed(), 1);
    }
}
