//! History in a cluster: several nodes on one stream, which is cut, purged and made anew.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};

use fastrand::Rng;
use tokio::sync::oneshot;

use super::{Keeper, TOPICS, Time, Truth, lock, play_all, settings};
use crate::config::{Keep, Settings};
use crate::hub::{
    Accepted, Answers, Archive, At, Draft, Heard, Hub, Link, Outcome, PageEnds, Proposal,
    Unproposed, Unreadable, Waits,
};
use crate::protocol::encoding::Message;
use crate::protocol::topic::TopicName;

/// Messages of a page of history.
const PAGE_MESSAGES: usize = 5;

/// What the servers have.
struct Stream {
    epoch: u64,
    /// Of the newest message, whichever topic it is on.
    newest: u64,
    messages: BTreeMap<u64, Stored>,
    ids: HashSet<u128>,
}

#[derive(Clone)]
struct Stored {
    topic: Arc<str>,
    time_ms: u64,
    /// The message before it on its topic, when it was stored.
    previous: u64,
    proposal: Proposal,
}

/// One node's way to it.
struct Way {
    stream: Arc<Mutex<Stream>>,
    inbox: Mutex<Inbox>,
}

#[derive(Default)]
struct Inbox {
    waiting: VecDeque<Proposal>,
    outcomes: VecDeque<(u64, Outcome)>,
    /// What the node follows, and the last message of it that it has heard.
    followed: BTreeMap<Arc<str>, u64>,
    asked: VecDeque<(Arc<str>, Option<u64>)>,
}

impl Stream {
    /// The topic's messages behind an offset.
    fn of<'a>(
        &'a self,
        topic: &'a str,
        since: u64,
    ) -> impl DoubleEndedIterator<Item = (u64, &'a Stored)> {
        let behind = self.messages.range(since.saturating_add(1)..);
        behind
            .filter(move |(_, stored)| *stored.topic == *topic)
            .map(|(offset, stored)| (*offset, stored))
    }

    fn newest_of(&self, topic: &str) -> u64 {
        self.of(topic, 0)
            .next_back()
            .map_or(0, |(offset, _)| offset)
    }
}

impl Link for Way {
    fn propose(&self, proposal: Proposal) -> Result<(), Unproposed> {
        lock(&self.inbox).waiting.push_back(proposal);
        Ok(())
    }

    fn follow(&self, topic: &Arc<str>, since: Option<u64>) {
        let mut inbox = lock(&self.inbox);
        inbox.followed.remove(topic);
        inbox.asked.push_back((topic.clone(), since));
    }

    fn unfollow(&self, topic: &Arc<str>) {
        let mut inbox = lock(&self.inbox);
        inbox.followed.remove(topic);
        inbox.asked.retain(|(asked, _)| asked != topic);
    }

    fn present(&self, _: &Arc<str>, _: u128, _: Option<Vec<u8>>) {}

    fn ask(&self, _: Vec<u8>, told: oneshot::Sender<Answers>) {
        let _ = told.send(Answers::default());
    }
}

impl Archive for Way {
    fn page(
        &self,
        topic: &str,
        epoch: u64,
        at: At,
        show: &mut dyn FnMut(&Message<'_>),
    ) -> Result<Option<PageEnds>, Unreadable> {
        let stream = lock(&self.stream);
        if stream.epoch != epoch {
            return Err(Unreadable::Failed("it has ended".into()));
        }
        let mut page: Vec<(u64, &Stored)> = match at {
            At::Holding(offset) => {
                let behind = stream.of(topic, offset.saturating_sub(1));
                behind.take(PAGE_MESSAGES).collect()
            }
            At::Before(offset) => {
                let before = stream.of(topic, 0).filter(|(at, _)| *at < offset);
                before.rev().take(PAGE_MESSAGES).collect()
            }
        };
        page.sort_unstable_by_key(|(offset, _)| *offset);
        for (offset, stored) in &page {
            show(&Message {
                topic,
                epoch,
                offset: *offset,
                time_ms: stored.time_ms,
                text: stored.proposal.text,
                payload: &stored.proposal.payload,
                extras: None,
            });
        }
        let ends = page.first().zip(page.last());
        Ok(ends.map(|((first, _), (last, _))| (*first, last + 1)))
    }
}

struct Node {
    hub: Arc<Hub>,
    way: Arc<Way>,
}

impl Node {
    fn new(time: &Time, settings: &Settings, stream: &Arc<Mutex<Stream>>) -> Node {
        let hub = time.hub(settings);
        let way = Arc::new(Way {
            stream: stream.clone(),
            inbox: Mutex::default(),
        });
        hub.read_at_once();
        hub.link(way.clone(), way.clone());
        Node { hub, way }
    }

    /// Stores what is proposed here next.
    fn store(&self, truth: &Mutex<Truth>, now_ms: u64) -> bool {
        let Some(proposal) = lock(&self.way.inbox).waiting.pop_front() else {
            return false;
        };
        let mut stream = lock(&self.way.stream);
        stream.newest += 1;
        let (offset, epoch) = (stream.newest, stream.epoch);
        let is_new = stream.ids.insert(proposal.id.expect("it has no key"));
        assert!(is_new, "nothing is proposed twice here");
        let text = String::from_utf8(proposal.payload.to_vec()).expect("text");
        lock(truth).note(&proposal.topic, epoch, offset, text, now_ms);
        let previous = stream.newest_of(&proposal.topic);
        let ticket = proposal.ticket;
        let topic = proposal.topic.clone();
        let stored = Stored {
            topic,
            time_ms: now_ms,
            previous,
            proposal,
        };
        stream.messages.insert(offset, stored);
        let accepted = Accepted {
            offset,
            epoch,
            duplicate: false,
        };
        let mut inbox = lock(&self.way.inbox);
        inbox.outcomes.push_back((ticket, Ok(accepted)));
        true
    }

    /// Hears the next message of a topic, or where a topic stands, or what became of a proposal.
    fn hear(&self, rng: &mut Rng) -> bool {
        if let Some((topic, since)) = { lock(&self.way.inbox).asked.pop_front() } {
            self.begin(&topic, since);
            return true;
        }
        if rng.bool()
            && let Some((ticket, outcome)) = { lock(&self.way.inbox).outcomes.pop_front() }
        {
            self.hub.settle(&mut self.hub.turn(), ticket, outcome);
            return true;
        }
        let stream = lock(&self.way.stream);
        let mut inbox = lock(&self.way.inbox);
        let next = |(topic, last): (&Arc<str>, &u64)| {
            let (offset, stored) = stream.of(topic, *last).next()?;
            Some((offset, *last, stored.clone()))
        };
        let ready: Vec<_> = inbox.followed.iter().filter_map(next).collect();
        let Some((offset, last, stored)) = rng.choice(ready) else {
            let outcome = inbox.outcomes.pop_front();
            drop((stream, inbox));
            return match outcome {
                Some((ticket, outcome)) => {
                    self.hub.settle(&mut self.hub.turn(), ticket, outcome);
                    true
                }
                None => false,
            };
        };
        inbox.followed.insert(stored.topic.clone(), offset);
        drop((stream, inbox));
        if stored.previous > last {
            self.hub.missing(&stored.topic, last + 1, offset - 1);
        }
        self.hub.commit(
            &mut self.hub.turn(),
            &Heard {
                topic: &stored.topic,
                offset,
                time_ms: stored.time_ms,
                text: stored.proposal.text,
                payload: &stored.proposal.payload,
                extras: None,
                ticket: None,
                origin: None,
            },
        );
        true
    }

    /// Says where a topic stands that is followed from now on.
    fn begin(&self, topic: &Arc<str>, since: Option<u64>) {
        let stream = lock(&self.way.stream);
        let newest = stream.newest_of(topic);
        let last = since.unwrap_or(newest);
        lock(&self.way.inbox).followed.insert(topic.clone(), last);
        let kept = self.hub.settings().retain_messages_max;
        let newest_kept = stream.of(topic, 0).rev().take(kept);
        let oldest = newest_kept.last().map_or(newest + 1, |(offset, _)| offset);
        let epoch = stream.epoch;
        drop(stream);
        self.hub.following(topic, last, epoch);
        self.hub.open_topic(topic, oldest);
    }
}

struct Cluster {
    time: Time,
    settings: Settings,
    stream: Arc<Mutex<Stream>>,
    nodes: Vec<Node>,
}

impl Cluster {
    fn any(&self, rng: &mut Rng) -> &Node {
        &self.nodes[rng.usize(..self.nodes.len())]
    }

    /// The history of all topics is another one.
    fn make_anew(&self, keeps_some: bool) {
        let mut stream = lock(&self.stream);
        stream.epoch = fastrand::u64(1..);
        stream.ids.clear();
        stream.messages.clear();
        if !keeps_some {
            stream.newest = 0;
        }
        drop(stream);
        for node in &self.nodes {
            let mut inbox = lock(&node.way.inbox);
            let followed = std::mem::take(&mut inbox.followed);
            let asked = followed.into_keys().map(|topic| (topic, None));
            inbox.asked.extend(asked);
            // What was on its way is asked for once more, and may be stored in the new one.
            inbox.outcomes.clear();
        }
    }
}

impl Keeper for Cluster {
    fn hubs(&self) -> Vec<Arc<Hub>> {
        self.nodes.iter().map(|node| node.hub.clone()).collect()
    }

    fn publish(&mut self, topic: &str, truth: &Mutex<Truth>, rng: &mut Rng) {
        let node = self.any(rng);
        let name = TopicName::new(topic).expect("it is one");
        let topic = node.hub.topic(&name).expect("there is room");
        let draft = Draft {
            text: true,
            payload: lock(truth).words().into_bytes().into(),
            extras: Vec::new(),
            publisher: 1,
            key: None,
            origin: None,
            trace: None,
        };
        let (told, _) = oneshot::channel();
        let proposed = node.hub.propose(&topic, draft, Waits::Outside(told, None));
        proposed.expect("there is room");
        if rng.bool() {
            node.store(truth, self.time.now_ms());
        }
    }

    fn step(&mut self, truth: &Mutex<Truth>, rng: &mut Rng) {
        match rng.u8(..) {
            0..=9 => {
                // Some of a topic is purged.
                let topic = TOPICS[rng.usize(..TOPICS.len())];
                let mut stream = lock(&self.stream);
                let until = rng.u64(..=stream.newest);
                let epoch = stream.epoch;
                stream
                    .messages
                    .retain(|offset, stored| *stored.topic != *topic || *offset > until);
                lock(truth).lose(topic, epoch, ..=until);
            }
            10..=14 => self.make_anew(rng.bool()),
            15..=30 => {
                for topic in self.any(rng).hub.all_topics() {
                    topic.shed(0);
                }
            }
            _ => {
                for _ in 0..rng.usize(..30) {
                    let node = self.any(rng);
                    let _ = match rng.bool() {
                        true => node.store(truth, self.time.now_ms()),
                        false => node.hear(rng),
                    };
                }
            }
        }
    }

    fn restart(&mut self, _: &Mutex<Truth>, rng: &mut Rng) {
        let number = rng.usize(..self.nodes.len());
        self.nodes[number] = Node::new(&self.time, &self.settings, &self.stream);
    }

    fn settle(&mut self, truth: &Mutex<Truth>, rng: &mut Rng) {
        for node in &self.nodes {
            for topic in TOPICS {
                let name = TopicName::new(topic).expect("it is one");
                let topic = node.hub.topic(&name).expect("there is room");
                node.hub.want(&topic);
            }
            while node.store(truth, self.time.now_ms()) {}
        }
        for node in &self.nodes {
            while node.hear(rng) {}
        }
        let newest = TOPICS.map(|topic| lock(&self.stream).newest_of(topic));
        for node in &self.nodes {
            for (name, newest) in TOPICS.iter().zip(newest) {
                let topic = node.hub.find_topic(name);
                let known = topic.filter(|topic| topic.is_known() && newest > 0);
                assert!(known.is_none_or(|topic| topic.newest() == newest));
            }
        }
    }
}

#[test]
fn each_reader_has_a_part_of_one_order_from_whichever_node() {
    play_all(2000, |time, rng| {
        let settings = Settings {
            cluster_nats: vec!["nats://played".into()],
            ..settings(Keep::Cluster, rng)
        };
        let stream = Arc::new(Mutex::new(Stream {
            epoch: fastrand::u64(1..),
            newest: 0,
            messages: BTreeMap::new(),
            ids: HashSet::new(),
        }));
        let nodes = 0..rng.usize(1..4);
        let nodes = nodes.map(|_| Node::new(time, &settings, &stream)).collect();
        Box::new(Cluster {
            time: time.clone(),
            settings,
            stream,
            nodes,
        })
    });
}
