//! A link under test, with what it told.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use bytes::Bytes;
use fanfare::keeper::nats::{
    Committed, Event, Failure, Link, Message, Proposal, Settings, Topic, Warning,
};

use crate::server::{PATIENCE, Server};

pub(crate) struct Node {
    pub(crate) link: Link,
    events: Receiver<Event>,
    /// What came while something else was awaited.
    kept: Vec<Event>,
}

/// Settings for a small world.
pub(crate) fn settings(servers: &[&Server]) -> Settings {
    let mut settings = Settings::new(servers.iter().map(|server| server.url()).collect());
    settings.limits.bytes = 256 << 20;
    settings.answer_ms_max = 1000;
    settings.tail_check_ms = 500;
    settings
}

pub(crate) fn topic(name: &str) -> Topic {
    Arc::from(name)
}

pub(crate) fn text(text: impl Into<Bytes>) -> Message {
    Message {
        payload: text.into(),
        ..Message::default()
    }
}

pub(crate) fn proposal(ticket: u64, name: &str, words: impl Into<Bytes>) -> Proposal {
    Proposal {
        ticket,
        topic: topic(name),
        message: text(words),
        publisher: 1,
        idempotency: None,
        id: None,
    }
}

impl Node {
    pub(crate) fn start(settings: Settings) -> Self {
        Node::with(settings, |_| {})
    }

    /// A node whose thread runs `first` for each event.
    pub(crate) fn with(settings: Settings, first: impl Fn(&Event) + Send + 'static) -> Self {
        let (told, events) = channel();
        let link = Link::start(settings, move |events| {
            for event in events.drain(..) {
                first(&event);
                let _ = told.send(event);
            }
        });
        Node {
            link: link.expect("it starts"),
            events,
            kept: Vec::new(),
        }
    }

    /// A node that is connected.
    pub(crate) fn back(settings: Settings) -> Self {
        let mut node = Node::start(settings);
        node.wait_back();
        node
    }

    pub(crate) fn wait_back(&mut self) {
        self.wait("Back", |event| matches!(event, Event::Back).then_some(()));
        self.kept
            .retain(|event| !matches!(event, Event::Away { .. }));
    }

    pub(crate) fn wait_away(&mut self) -> fanfare::keeper::nats::Fault {
        self.wait("Away", |event| match event {
            Event::Away { why } => Some(why.clone()),
            _ => None,
        })
    }

    /// The first event that is taken; the others are kept for those who ask later.
    pub(crate) fn wait<T>(&mut self, what: &str, take: impl Fn(&Event) -> Option<T>) -> T {
        for at in 0..self.kept.len() {
            if let Some(taken) = take(&self.kept[at]) {
                self.kept.remove(at);
                return taken;
            }
        }
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let Ok(event) = self.events.recv_timeout(left) else {
                panic!("{what} did not come; there were {:#?}", self.kept);
            };
            match take(&event) {
                Some(taken) => return taken,
                None => self.kept.push(event),
            }
        }
    }

    /// Whether such an event has come.
    pub(crate) fn has(&mut self, is_it: impl Fn(&Event) -> bool) -> bool {
        self.kept.extend(self.events.try_iter());
        self.kept.iter().any(is_it)
    }

    pub(crate) fn propose(&self, ticket: u64, name: &str, words: impl Into<Bytes>) {
        let proposal = proposal(ticket, name, words);
        self.link.propose(proposal).expect("there is room");
    }

    /// The offset that a proposal got, and whether it is an earlier one's.
    pub(crate) fn stored(&mut self, wanted: u64) -> (u64, bool) {
        self.wait(&format!("Stored {wanted}"), |event| match event {
            Event::Stored {
                ticket,
                offset,
                duplicate,
                ..
            } if *ticket == wanted => Some((*offset, *duplicate)),
            _ => None,
        })
    }

    pub(crate) fn failed(&mut self, wanted: u64) -> Failure {
        self.wait(&format!("Failed {wanted}"), |event| match event {
            Event::Failed { ticket, why } if *ticket == wanted => Some(why.clone()),
            _ => None,
        })
    }

    /// Follows a topic. Returns where it begins, its newest offset and its epoch.
    pub(crate) fn follow(&mut self, name: &str, since: Option<u64>) -> (u64, u64, u64) {
        self.link.follow(topic(name), since);
        self.following(name)
    }

    pub(crate) fn following(&mut self, name: &str) -> (u64, u64, u64) {
        self.wait(&format!("Following {name}"), |event| match event {
            Event::Following {
                topic,
                last,
                newest,
                epoch,
            } if **topic == *name => Some((*last, *newest, *epoch)),
            _ => None,
        })
    }

    /// The next message of a topic, or the gap that comes before it as an error.
    pub(crate) fn next(&mut self, name: &str) -> Result<Committed, (u64, u64)> {
        self.wait(&format!("a message of {name}"), |event| match event {
            Event::Committed(committed) if *committed.topic == *name => {
                Some(Ok((**committed).clone()))
            }
            Event::Gap { topic, from, to } if **topic == *name => Some(Err((*from, *to))),
            _ => None,
        })
    }

    /// The text of the next message, which no gap comes before.
    pub(crate) fn words(&mut self, name: &str) -> String {
        let committed = self.next(name).expect("no gap");
        String::from_utf8_lossy(&committed.message.payload).into_owned()
    }

    pub(crate) fn wait_warning(&mut self, is_it: impl Fn(&Warning) -> bool) -> Warning {
        self.wait("a warning", |event| match event {
            Event::Warned(warning) if is_it(warning) => Some(warning.clone()),
            _ => None,
        })
    }
}
