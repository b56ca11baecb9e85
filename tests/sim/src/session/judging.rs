//! What a session checks of all that it reads: answers come in the order of its commands and
//! before what they announce, publications without a hole or with one that was told, and what
//! it is not told to hear does not come.

use std::collections::BTreeMap;

use fanfare::config::Switch;
use fanfare::hub::Hub;
use fanfare::protocol::centrifugo::Coding;
use fastrand::Rng;

use super::wire::{Answer, Ask, Heard, Publication, Since, Subscribed, Told, message};
use super::{Asked, Session};
use crate::client::{Fate, View};
use crate::codec::ServerFrame;
use crate::inflate::inflate;
use crate::socket::Socket;
use crate::targets::base64;
use crate::truth::{By, Message, Truth};

/// From this code on a client subscribes again by itself.
const INSUFFICIENT_STATE: u32 = 2500;

/// What a session is told of the world around it, to judge what it reads.
pub(crate) struct Around<'a> {
    pub(crate) view: View<'a>,
    pub(crate) hub: &'a Hub,
    pub(crate) step: usize,
    pub(crate) handovers: u64,
    /// For each truth, how often somebody may have come to it, or gone.
    pub(crate) comings: Vec<u64>,
}

/// What sessions have come to, all in all.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) recovered: u64,
    pub(crate) not_recovered: u64,
    /// Subscriptions that the server has ended.
    pub(crate) ended: u64,
    pub(crate) joins: u64,
    pub(crate) publications: u64,
    pub(crate) answers: u64,
}

impl Counts {
    /// All of them in one number, which grows with each.
    pub(crate) fn facts(&self) -> u64 {
        self.recovered
            + self.not_recovered
            + self.ended
            + self.joins
            + self.publications
            + self.answers
    }
}

/// The pushes that have been read, by topic, offset and coding: all read the same.
#[derive(Debug, Default)]
pub(crate) struct Pushes {
    pub(super) read: BTreeMap<(usize, u64, bool), Vec<u8>>,
    pub(crate) counts: Counts,
}

impl Session {
    pub(super) fn check_greeting(&mut self, head: &[u8]) {
        let head = std::str::from_utf8(head).expect("a head is text");
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let protobuf = head.contains("\r\nSec-WebSocket-Protocol: centrifuge-protobuf\r\n");
        assert_eq!(protobuf, self.coding == Coding::Protobuf, "{head}");
        let lines = || head.split("\r\n");
        let answer = lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Extensions: "));
        assert_eq!(answer, self.deflate.as_ref().map(|(answer, _)| &answer[..]));
        self.greeted = true;
    }

    pub(super) fn check_frame(
        &mut self,
        rng: &mut Rng,
        frame: ServerFrame<'_>,
        socket: &Socket,
        around: &Around<'_>,
        pushes: &mut Pushes,
    ) {
        if frame.opcode == 8 {
            return self.check_close(rng, frame.payload, socket, around);
        }
        let wanted = match self.coding {
            Coding::Json => 1,
            Coding::Protobuf => 2,
        };
        assert_eq!(frame.opcode, wanted, "{} hears {frame:?}", self.name());
        let inflated;
        let bytes = match (frame.deflated, &self.deflate) {
            (false, _) => frame.payload,
            (true, None) => panic!("{} agreed to no compression", self.name()),
            (true, Some((_, bits))) => {
                inflated = inflate(frame.payload, *bits);
                &inflated
            }
        };
        match message(self.coding, bytes) {
            Heard::Ping => {
                assert!(
                    self.client.is_some(),
                    "{} is not known, and is asked",
                    self.name()
                );
                self.pings += 1;
                self.was_pinged = true;
            }
            Heard::Reply(id, answer) => {
                pushes.counts.answers += 1;
                let is_refused = matches!(answer, Answer::Error(_));
                let asked = self.answered(id, around.view.shared, is_refused);
                self.check_answer(asked, answer, around, pushes);
            }
            Heard::Push(channel, told) => {
                let topic = self.names.iter().position(|name| *name == channel);
                let topic = topic.unwrap_or_else(|| panic!("{} hears {channel}", self.name()));
                assert!(
                    self.topics[topic].next.is_some(),
                    "{} hears {told:?} of topic {channel}, which it does not follow",
                    self.name()
                );
                self.check_push(topic, told, bytes, socket, around, pushes);
            }
        }
    }

    /// The command that is answered: the first one, but for what a cluster has to decide on.
    /// That keeps its order on each topic, unless it comes to nothing.
    fn answered(&mut self, id: u32, is_shared: bool, is_refused: bool) -> Asked {
        let name = self.name();
        let at = self.asked.iter().position(|asked| asked.id == id);
        let at = at.unwrap_or_else(|| panic!("{name}: an answer to nothing, {id}"));
        let posted_to = |asked: &Asked| match asked.ask {
            Ask::Publish { topic, .. } => Some(topic),
            _ => None,
        };
        let to = posted_to(&self.asked[at]);
        let in_order = |before: &Asked| match posted_to(before) {
            Some(topic) => is_shared && (is_refused || to != Some(topic)),
            None => false,
        };
        let mut before = self.asked.range(..at);
        if let Some(before) = before.find(|before| !in_order(before)) {
            let (first, ask) = (before.id, &before.ask);
            let answered = &self.asked[at].ask;
            panic!("{name}: {first} ({ask:?}) is to be answered before {id} ({answered:?})");
        }
        self.asked.remove(at).expect("it is there")
    }

    fn check_push(
        &mut self,
        at: usize,
        told: Told,
        bytes: &[u8],
        socket: &Socket,
        around: &Around<'_>,
        pushes: &mut Pushes,
    ) {
        let name = self.name();
        let coding = self.coding;
        let topic = &mut self.topics[at];
        let truth = &around.view.truths[topic.truth];
        match told {
            Told::Publication(publication) => {
                pushes.counts.publications += 1;
                let next = topic.next.expect("it follows it");
                assert_eq!(publication.offset, next, "{name}: one after the other");
                check_publication(&name, coding, truth, &publication);
                if let Some(By::Session { id, n }) = truth.message(next).map(|m| m.by)
                    && id == self.id
                {
                    let accepted = self.posts[n as usize].accepted;
                    // A cluster may hand on what it has stored before it says so.
                    let is_early = around.view.shared && accepted.is_none();
                    assert!(
                        accepted == Some(true) || is_early,
                        "{name}: the answer comes first, not {accepted:?} to {n}"
                    );
                    assert_eq!(
                        publication.client, self.client,
                        "{name}: it is told as itself"
                    );
                }
                let topic = &mut self.topics[at];
                topic.next = Some(next + 1);
                topic.known = Some((next, epoch_text(truth)));
                let key = (topic.truth, next, coding == Coding::Protobuf);
                let known = pushes.read.entry(key).or_insert_with(|| bytes.to_vec());
                assert!(known == bytes, "{name} hears other bytes than others");
            }
            Told::Join(client) => {
                pushes.counts.joins += 1;
                let joins = topic.joins.as_mut();
                let joins = joins.unwrap_or_else(|| panic!("{name} has not asked who comes"));
                let before = joins.insert(client.clone(), true);
                assert_ne!(before, Some(true), "{name}: {client} comes twice");
            }
            Told::Leave(client) => {
                let joins = topic.joins.as_mut();
                let joins = joins.unwrap_or_else(|| panic!("{name} has not asked who goes"));
                let before = joins.insert(client.clone(), false);
                assert_ne!(before, Some(false), "{name}: {client} goes twice");
                // Whoever is closed for a fault is told all that was said before its end.
                let is_there = self.fate == Fate::Open && Some(client) == self.client;
                assert!(!is_there, "{name}: it is still there");
            }
            Told::Unsubscribe(code) => {
                pushes.counts.ended += 1;
                assert_eq!(code, INSUFFICIENT_STATE, "{name}");
                assert!(
                    self.is_behind_in(&self.topics[at], socket, around, pushes),
                    "{name} is told of a gap but is not behind"
                );
                let topic = &mut self.topics[at];
                (topic.next, topic.joins) = (None, None);
            }
        }
    }

    fn check_answer(
        &mut self,
        asked: Asked,
        answer: Answer,
        around: &Around<'_>,
        pushes: &mut Pushes,
    ) {
        let name = self.name();
        let context = format!("{name}: {:?} is answered with {answer:?}", asked.ask);
        let listed = around.view.settings.presence == Switch::On;
        match (&asked.ask, answer) {
            (Ask::Connect, Answer::Connected { client, pong }) => {
                assert!(
                    pong && self.client.is_none() && client.len() == 36,
                    "{context}"
                );
                self.client = Some(client);
            }
            (Ask::Subscribe { topic, .. }, Answer::Subscribed(begun)) => {
                self.check_begun(*topic, &asked, &begun, &context, around, pushes);
            }
            (Ask::Subscribe { topic, .. }, Answer::Error(105)) => {
                assert!(self.topics[*topic].next.is_some(), "{context}");
            }
            (Ask::Subscribe { topic, .. }, Answer::Error(106)) => {
                let max = around.view.settings.topics_per_connection_max;
                assert!(self.topics[*topic].next.is_none(), "{context}");
                assert!(self.followed().count() >= max, "{context}");
            }
            (
                Ask::Subscribe {
                    topic,
                    since,
                    whole,
                    ..
                },
                Answer::Error(112),
            ) => {
                assert!(*whole && since.is_some(), "{context}");
                assert!(self.topics[*topic].next.is_none(), "{context}");
                let must = self.must_recover(*topic, &asked, around);
                assert!(!must, "{context}, though all is there");
                pushes.counts.not_recovered += 1;
            }
            // What it has had may not have come to this node yet.
            (Ask::Subscribe { topic, since, .. }, Answer::Error(100)) => {
                let is_ahead = since.as_ref().is_some_and(|since| since.0 > asked.newest);
                assert!(
                    around.view.shared && is_ahead,
                    "{context}, {}",
                    asked.newest
                );
                assert!(self.topics[*topic].next.is_none(), "{context}");
            }
            (Ask::Unsubscribe { topic }, Answer::Unsubscribed) => {
                let topic = &mut self.topics[*topic];
                (topic.next, topic.joins) = (None, None);
            }
            (Ask::Publish { n, .. }, Answer::Published) => {
                self.posts[*n].accepted = Some(true);
                // What a cluster has stored may be heard later.
                assert!(self.posts[*n].published || around.view.shared, "{context}");
            }
            (Ask::Publish { n, .. }, Answer::Error(100)) => {
                self.posts[*n].accepted = Some(false);
                let may_be = around.view.tight || around.view.refusing;
                assert!(may_be && !self.posts[*n].published, "{context}");
            }
            (Ask::Presence { topic }, Answer::Presence(clients)) => {
                let follows = self.topics[*topic].next.is_some();
                let me = self.client.clone().unwrap_or_default();
                assert!(listed, "{context}");
                assert_eq!(clients.contains(&me), follows, "{context}");
                let mut once = clients.clone();
                once.sort_unstable();
                once.dedup();
                assert_eq!(once.len(), clients.len(), "{context}");
            }
            (Ask::Presence { .. }, Answer::Error(108)) => assert!(!listed, "{context}"),
            (Ask::PresenceStats { topic }, Answer::PresenceStats(clients)) => {
                let follows = self.topics[*topic].next.is_some();
                assert!(clients >= u64::from(follows), "{context}");
            }
            (
                Ask::History {
                    topic,
                    limit,
                    since,
                    reverse,
                },
                Answer::History {
                    publications,
                    epoch,
                    offset,
                },
            ) => {
                let truth = &around.view.truths[self.topics[*topic].truth];
                let newest = truth.next() - 1;
                assert_eq!(epoch, epoch_text(truth), "{context}");
                assert!((asked.newest..=newest).contains(&offset), "{context}");
                assert!(is_of(since.as_ref(), truth), "{context}");
                if let Ok(limit) = usize::try_from(*limit) {
                    assert!(publications.len() <= limit, "{context}");
                }
                check_page(&context, since.as_ref(), *reverse, offset, &publications);
                for publication in &publications {
                    check_publication(&name, self.coding, truth, publication);
                }
            }
            (Ask::History { topic, since, .. }, Answer::Error(112)) => {
                let truth = &around.view.truths[self.topics[*topic].truth];
                assert!(!is_of(since.as_ref(), truth), "{context}");
            }
            // The store could not be read.
            (Ask::History { .. }, Answer::Error(100)) if around.view.stored => {}
            (Ask::Rpc, Answer::Error(108)) => {}
            _ => panic!("{context}"),
        }
    }

    fn check_begun(
        &mut self,
        at: usize,
        asked: &Asked,
        begun: &Subscribed,
        context: &str,
        around: &Around<'_>,
        pushes: &mut Pushes,
    ) {
        let Ask::Subscribe {
            since,
            whole,
            joins,
            ..
        } = &asked.ask
        else {
            unreachable!("it has begun a subscription");
        };
        let truth = &around.view.truths[self.topics[at].truth];
        let newest = truth.next() - 1;
        assert!(
            self.topics[at].next.is_none(),
            "{context}, but it follows that"
        );
        let max = around.view.settings.topics_per_connection_max;
        assert!(
            self.followed().count() < max,
            "{context}, beyond its number"
        );
        assert_eq!(begun.epoch, epoch_text(truth), "{context}");
        assert!(begun.positioned && begun.recoverable, "{context}");
        assert_eq!(begun.was_recovering, since.is_some(), "{context}");
        let must = self.must_recover(at, asked, around);
        let mut next = begun.offset + 1;
        if begun.recovered {
            pushes.counts.recovered += 1;
            let since = since.as_ref().expect("only who asks recovers");
            assert!(is_of(Some(since), truth) && since.0 <= newest, "{context}");
            assert_eq!(begun.offset, since.0, "{context}");
            assert!(begun.publications.len() <= 1, "{context}");
            assert!(
                !begun.publications.is_empty() || since.0 >= asked.newest || around.view.stored,
                "{context}: the first one comes inside"
            );
            for publication in &begun.publications {
                assert_eq!(publication.offset, next, "{context}");
                check_publication(context, self.coding, truth, publication);
                next += 1;
            }
        } else {
            pushes.counts.not_recovered += u64::from(since.is_some());
            assert!(!must && begun.publications.is_empty(), "{context}");
            assert!(since.is_none() || !*whole, "{context}");
            assert!((asked.newest..=newest).contains(&begun.offset), "{context}");
        }
        let hears_joins = *joins && around.view.settings.presence == Switch::On;
        let topic = &mut self.topics[at];
        topic.known = Some((next - 1, begun.epoch.clone()));
        topic.next = Some(next);
        topic.joins = hears_joins.then(BTreeMap::new);
        topic.began = around.step;
    }

    /// All that it has missed of a topic was there when its command was done, as it still is.
    fn must_recover(&self, at: usize, asked: &Asked, around: &Around<'_>) -> bool {
        let Ask::Subscribe {
            since: Some(since), ..
        } = &asked.ask
        else {
            return false;
        };
        let truth = &around.view.truths[self.topics[at].truth];
        let Some((topic, _)) = &truth.watch else {
            return false;
        };
        let retained = topic.summary(around.hub.retention(topic)).first_offset;
        // Another daemon may keep more of a history, as its clock tells another time.
        let same = asked.handovers == around.handovers;
        is_of(Some(since), truth) && since.0 <= asked.newest && retained <= since.0 + 1 && same
    }
}

/// How an epoch is written.
pub(super) fn epoch_text(truth: &Truth) -> String {
    format!("{:016x}", truth.epoch)
}

/// A place is one in this history. Who knows no epoch is believed.
fn is_of(since: Option<&Since>, truth: &Truth) -> bool {
    since.is_none_or(|(_, epoch)| epoch.is_empty() || *epoch == epoch_text(truth))
}

/// Publications of a page follow each other, from where it was asked for.
fn check_page(
    context: &str,
    since: Option<&Since>,
    reverse: bool,
    newest: u64,
    page: &[Publication],
) {
    let offsets: Vec<u64> = page.iter().map(|publication| publication.offset).collect();
    let steps = offsets.windows(2);
    for pair in steps {
        let (older, newer) = if reverse {
            (pair[1], pair[0])
        } else {
            (pair[0], pair[1])
        };
        assert_eq!(older + 1, newer, "{context}");
    }
    let Some(first) = offsets.first() else {
        return;
    };
    match (since, reverse) {
        (Some(since), false) => assert!(*first > since.0, "{context}"),
        (Some(since), true) => assert_eq!(*first, newest.min(since.0 - 1), "{context}"),
        (None, true) => assert_eq!(*first, newest, "{context}"),
        (None, false) => {}
    }
}

/// A publication is the message of its offset, as its coding shows it.
fn check_publication(name: &str, coding: Coding, truth: &Truth, publication: &Publication) {
    let message = truth.message(publication.offset);
    let message = message.unwrap_or_else(|| panic!("{name} hears what never was"));
    let data = as_read(coding, message);
    assert!(
        publication.data == data,
        "{name} hears {} for {} of topic {}",
        publication.data.escape_ascii(),
        data.escape_ascii(),
        truth.name
    );
}

fn as_read(coding: Coding, message: &Message) -> Vec<u8> {
    let text = std::str::from_utf8(&message.payload).ok();
    let text = text.filter(|_| message.opcode == 1);
    let is_json = |text: &&str| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    match (text.filter(is_json), text, coding) {
        (Some(json), _, Coding::Json) => json.replace(['\r', '\n'], "").trim().into(),
        (None, Some(text), _) => crate::targets::members::quoted(text).into(),
        (None, None, Coding::Json) => {
            format!("\"{}\"", base64::as_standard(&message.payload)).into()
        }
        (Some(_), _, Coding::Protobuf) | (None, None, Coding::Protobuf) => message.payload.clone(),
    }
}
