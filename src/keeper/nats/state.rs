//! What the link's thread holds, and the few things that all of it does: telling an event,
//! asking a server.
//!
//! The rest is in `streams`, `publishing`, `following`, `fetching`, `history` and `calls`,
//! each with its part of [`State`]'s methods; `engine` calls them, and `session` calls it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use async_nats::message::OutboundMessage;
use bytes::Bytes;
use foldhash::{HashMap, HashMapExt as _};
use slab::Slab;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::chain::{Chain, Source, Weighed};
use super::counts::Counters;
use super::event::{Committed, Event, Fault, Ticket, Topic};
use super::headers::{Id, Message, Signer};
use super::nodes::{Answer, Nodes};
use super::proposing::{Lane, Outcome};
use super::requests::Requests;
use super::searching::Search;
use super::settings::Settings;
use super::subject::Subjects;
use super::tail::Tails;
use super::wish::Wish;

/// How events are told.
pub(super) type Told = Box<dyn FnMut(&mut Vec<Event>) + Send>;

/// What the link's thread has in common with its caller.
pub(super) struct Shared {
    pub(super) proposed: Arc<AtomicUsize>,
    pub(super) counters: Arc<Counters>,
    pub(super) incarnation: u64,
}

/// What is handed to the task that writes to the connection, in its order. It waits while
/// there is no connection, so that the link's thread need not.
pub(super) enum Out {
    Publish(OutboundMessage),
    Subscribe(String, Subscribed),
    Unsubscribe(Subscribed),
}

/// What a subscription is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Subscribed {
    Answers,
    Bucket(u32),
    /// What nodes tell all, and what they tell this one.
    ToAll,
    ToMe,
    /// The subject that nobody but the server should publish on.
    Forbidden,
}

/// A question under way, with what its answer needs.
pub(super) enum Ask {
    Info {
        stream: u16,
        seen: u64,
    },
    Create {
        stream: u16,
    },
    Update {
        stream: u16,
    },
    Publish {
        lane: usize,
        ticket: Ticket,
        is_probe: bool,
    },
    Tail(Topic, Tail),
    Fetch(Topic, Fetch),
    History(Box<Past>),
    Call {
        ticket: Ticket,
        answers: Vec<Answer>,
        missing: std::collections::HashMap<u64, String>,
    },
}

/// A question for a topic's end.
pub(super) struct Tail {
    pub(super) generation: u32,
    /// Only whether something is behind this offset is asked.
    pub(super) behind: Option<u64>,
    /// The stream's last offset when it was asked.
    pub(super) stream_last: u64,
    pub(super) is_regular: bool,
}

/// A question for missing messages.
pub(super) struct Fetch {
    pub(super) generation: u32,
    pub(super) from: u64,
    pub(super) of: Source,
    pub(super) found: Vec<(super::chain::Place, Carried)>,
    /// Some of the page's messages were lost on the way here.
    pub(super) is_broken: bool,
}

/// A question for history.
pub(super) struct Past {
    pub(super) topic: Topic,
    pub(super) ticket: Ticket,
    /// Of the history that it asks of, once it has been asked.
    pub(super) epoch: Option<u64>,
    pub(super) wish: Wish,
    /// What is to be found before the page is asked for.
    pub(super) search: Option<Search>,
    /// When it is given up, NATS being away or not.
    pub(super) deadline_ms: u64,
    pub(super) found: Vec<Committed>,
    pub(super) is_broken: bool,
    pub(super) attempts: u32,
}

/// A question that got no answer, or one that says nothing, and is put again a little later.
pub(super) enum Delayed {
    Tail(Topic, u32),
    Fetch(Topic, u32),
    History(Box<Past>),
}

/// A message on its way through a chain.
#[derive(Debug)]
pub(super) struct Carried {
    pub(super) message: Message,
    pub(super) id: Option<Id>,
}

impl Weighed for Carried {
    fn bytes(&self) -> usize {
        super::event::cost(&self.message)
    }
}

/// A topic that is followed.
pub(super) struct Followed {
    pub(super) name: Topic,
    pub(super) chain: Chain<Carried>,
    pub(super) since: Option<u64>,
    /// Another one after each beginning, so that late answers are known as such.
    pub(super) generation: u32,
}

/// One of the streams, as far as it is known.
#[derive(Default)]
pub(super) struct Stream {
    /// Its state was seen since the connection was made, and it will do.
    pub(super) is_ready: bool,
    pub(super) is_asked: bool,
    pub(super) check_ms: u64,
    /// Questions for its state that were not answered, in a row.
    pub(super) silences: u32,
    pub(super) epoch: Option<u64>,
    pub(super) created: String,
    pub(super) leader: String,
    pub(super) first: u64,
    /// The greatest offset that was seen of it.
    pub(super) last: u64,
    /// Its end seems to be lost; a second look confirms it.
    pub(super) suspicion: Suspicion,
    pub(super) fault: Option<Fault>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Suspicion {
    #[default]
    None,
    /// Its last offset is below one that was seen, since this time.
    Short(u64),
    /// A message came later than one with a greater offset.
    Certain,
}

/// A proposal in its lane.
pub(super) struct Outgoing {
    /// Signed when it is sent: the key is the stream's.
    pub(super) message: Message,
    pub(super) id: Id,
    pub(super) bytes: usize,
}

pub(super) struct LaneState {
    pub(super) key: (Topic, u64),
    pub(super) lane: Lane<Outgoing>,
    pub(super) subject: Arc<str>,
    pub(super) is_ready: bool,
}

/// A proposal that has not come back yet.
pub(super) struct Own {
    pub(super) ticket: Ticket,
    pub(super) lane: usize,
    pub(super) is_heard: bool,
    pub(super) is_ended: bool,
}

pub(super) struct State {
    pub(super) settings: Settings,
    pub(super) subjects: Subjects,
    pub(super) shared: Shared,
    told: Told,
    /// What is told when this turn ends.
    events: Vec<Event>,
    pub(super) out: UnboundedSender<Out>,
    started: Instant,
    pub(super) inbox: String,
    pub(super) requests: Requests<Ask>,

    pub(super) is_connected: bool,
    pub(super) max_payload: usize,
    /// Whether [`Event::Back`] was told last.
    pub(super) is_back: bool,
    /// The last reason that was told.
    pub(super) told_fault: Option<Fault>,
    pub(super) connection_fault: Option<Fault>,
    pub(super) streams: Vec<Stream>,
    /// How many servers keep each message, as the streams say.
    pub(super) replicas: u64,
    /// Messages were dropped since topics were last doubted for it, and when they may be again.
    pub(super) has_dropped: bool,
    pub(super) doubt_ms: u64,
    pub(super) signer: Signer,
    pub(super) forbidden: Option<String>,

    pub(super) topics: HashMap<Topic, Followed>,
    pub(super) buckets: HashMap<u32, usize>,
    pub(super) generation: u32,
    pub(super) tails: Tails<(Topic, u32)>,
    pub(super) tails_under_way: usize,
    /// Offsets that should have been heard at these times.
    pub(super) expected: VecDeque<(u64, Topic, u64)>,
    pub(super) fetches: VecDeque<(Topic, Fetch)>,
    pub(super) fetches_under_way: usize,
    pub(super) pasts: VecDeque<Box<Past>>,
    pub(super) pasts_under_way: usize,
    /// With the time when each is put again. All wait equally long.
    pub(super) delayed: VecDeque<(u64, Delayed)>,

    pub(super) lanes: Slab<LaneState>,
    pub(super) lane_of: HashMap<(Topic, u64), usize>,
    pub(super) ready_lanes: VecDeque<usize>,
    pub(super) publishes_under_way: usize,
    /// How the proposals of one lane ended, and their messages; empty in between.
    pub(super) ended: (Vec<Outcome>, Vec<Outgoing>),
    pub(super) own: HashMap<Id, Own>,
    pub(super) forgotten_own: VecDeque<(u64, Id)>,
    /// What each connection subscribes to.
    pub(super) subscribed: HashMap<Subscribed, String>,

    pub(super) nodes: Nodes,
    pub(super) hello_ms: u64,
}

impl State {
    pub(super) fn new(settings: Settings, shared: Shared, told: Told) -> Self {
        // Each connection brings its own.
        let (out, _) = unbounded_channel();
        let subjects = Subjects::new(&settings.prefix, settings.streams);
        let tails = Tails::new(settings.tail_check_ms, settings.tail_checks_per_s_max, 0);
        let secret = settings.secret.as_ref().map(|secret| secret.0.clone());
        // Replaced by what the first stream's metadata says where no secret is set.
        let secret = secret.unwrap_or_else(|| fastrand::u128(..).to_be_bytes().to_vec());
        let mut streams = Vec::new();
        streams.resize_with(usize::from(settings.streams), Stream::default);
        State {
            subjects,
            told,
            events: Vec::new(),
            out,
            started: Instant::now(),
            inbox: format!("_INBOX.{:032x}", fastrand::u128(..)),
            requests: Requests::new(),
            is_connected: false,
            max_payload: 0,
            is_back: false,
            told_fault: None,
            connection_fault: Some(Fault::Disconnected),
            streams,
            replicas: 1,
            has_dropped: false,
            doubt_ms: 0,
            signer: Signer::new(&secret, &settings.homes),
            forbidden: None,
            topics: HashMap::new(),
            buckets: HashMap::new(),
            generation: 0,
            tails,
            tails_under_way: 0,
            expected: VecDeque::new(),
            fetches: VecDeque::new(),
            fetches_under_way: 0,
            pasts: VecDeque::new(),
            pasts_under_way: 0,
            delayed: VecDeque::new(),
            lanes: Slab::new(),
            lane_of: HashMap::new(),
            ready_lanes: VecDeque::new(),
            publishes_under_way: 0,
            ended: Default::default(),
            own: HashMap::new(),
            forgotten_own: VecDeque::new(),
            subscribed: HashMap::new(),
            nodes: Nodes::default(),
            hello_ms: 0,
            settings,
            shared,
        }
    }

    pub(super) fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.shared.counters)
    }

    /// Milliseconds since the link was started.
    pub(super) fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(super) fn tell(&mut self, event: Event) {
        self.events.push(event);
    }

    /// Tells what there is to tell, all at once.
    pub(super) fn end_turn(&mut self) {
        if !self.events.is_empty() {
            (self.told)(&mut self.events);
            self.events.clear();
        }
    }

    /// Hands something to the connection.
    pub(super) fn send(&mut self, out: Out) {
        // The writing task ends with this thread.
        let _ = self.out.send(out);
    }

    pub(super) fn publish(
        &mut self,
        subject: &str,
        reply: Option<String>,
        headers: Option<HeaderMap>,
        payload: Bytes,
    ) {
        self.send(Out::Publish(OutboundMessage {
            subject: subject.into(),
            reply: reply.map(Into::into),
            payload,
            headers,
        }));
    }

    pub(super) fn subscribe(&mut self, subject: String, what: Subscribed) {
        if self.subscribed.insert(what, subject.clone()).is_none() {
            self.send(Out::Subscribe(subject, what));
        }
    }

    pub(super) fn unsubscribe(&mut self, what: Subscribed) {
        if self.subscribed.remove(&what).is_some() {
            self.send(Out::Unsubscribe(what));
        }
    }

    /// Puts a question. Its answer comes to the inbox.
    pub(super) fn ask(
        &mut self,
        subject: &str,
        headers: Option<HeaderMap>,
        payload: Bytes,
        ask: Ask,
    ) {
        let deadline_ms = self.now_ms() + self.settings.answer_ms_max;
        let number = self.requests.insert(ask, deadline_ms);
        let reply = format!("{}.{number}", self.inbox);
        self.publish(subject, Some(reply), headers, payload);
    }

    /// Puts a question to the JetStream API: `verb` such as `STREAM.INFO` about a stream.
    pub(super) fn ask_api(&mut self, verb: &str, stream: u16, body: &serde_json::Value, ask: Ask) {
        let subject = format!("$JS.API.{verb}.{}", self.settings.stream_name(stream));
        let payload = match body {
            serde_json::Value::Null => Bytes::new(),
            body => body.to_string().into(),
        };
        self.ask(&subject, None, payload, ask);
    }

    pub(super) fn delay(&mut self, delayed: Delayed) {
        let due_ms = self.now_ms() + DELAY_MS;
        self.delayed.push_back((due_ms, delayed));
    }

    /// Who is to be asked for what any replica may be late with.
    pub(super) fn surest(&self) -> Source {
        match self.replicas {
            1 => Source::Any,
            _ => Source::Leader,
        }
    }
}

/// How long a question waits before it is put again.
const DELAY_MS: u64 = 100;
/// How often the link looks at what is due.
pub(super) const TICK: Duration = Duration::from_millis(20);
