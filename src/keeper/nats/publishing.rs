//! Proposals on their way to the stream: lanes and their answers. The rules are `proposing`'s.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_nats::Message;
use bytes::Bytes;

use super::event::{Event, Failure, Proposal, Ticket, Topic, cost};
use super::headers::{self, Id};
use super::proposing::{Lane, Outcome, Proof, Sending, Verdict, Why};
use super::state::{Ask, EndedOwn, LaneState, Outgoing, Own, State};
use super::wire::{self, Ack};

/// Messages that may be under way to the stream at once, of all lanes.
const UNDER_WAY_MAX: usize = 4096;
/// How long after its acknowledgement a message is awaited from the stream, where its topic is
/// not followed; and how often it is looked whether it is still to come, where it is.
const OWN_MS_MAX: u64 = 10_000;
/// So many are awaited. A connection may hear what it has published itself beyond.
const OWN_MAX: usize = 64 << 10;
/// A message is heard sooner than this after it was stored; later it is fetched.
pub(super) const HEARD_MS_MAX: u64 = 200;
/// A rollup that no stream of ours allows, of a kind that there is not: what is published
/// with it is answered as a duplicate, or refused, and stored in no case. Conditions such as
/// `Nats-Expected-Last-Msg-Id` would do the same on one server; on three, nats-server 2.15
/// takes a condition that does not hold for a write error and stops the stream.
const PROBE: (&str, &str) = ("Nats-Rollup", "fanfare-probe");
const FULL_WORDS: &str = "full";
const TOO_LARGE_WORDS: &str = "too large";

impl State {
    pub(super) fn propose(&mut self, proposal: Proposal) {
        let Proposal {
            ticket,
            topic,
            message,
            publisher,
            idempotency,
            id,
        } = proposal;
        let bytes = cost(&message);
        let id = match (&idempotency, id) {
            (Some((name, key)), _) => headers::id_of(&topic, name, key),
            (None, Some(id)) => id,
            (None, None) => fastrand::u128(..),
        };
        let outgoing = Outgoing { message, id, bytes };
        let deadline_ms = self.now_ms() + self.settings.propose_ms_max;
        let at = self.lane((topic, publisher));
        let own = Own {
            ticket,
            lane: at,
            is_heard: false,
            is_ended: false,
        };
        self.own.insert(id, own);
        let asks = idempotency.is_some();
        self.lanes[at]
            .lane
            .push(ticket, outgoing, deadline_ms, asks);
        self.wake(at);
    }

    fn lane(&mut self, key: (Topic, u64)) -> usize {
        if let Some(at) = self.lane_of.get(&key) {
            return *at;
        }
        let at = self.lanes.insert(LaneState {
            key: key.clone(),
            lane: Lane::new(),
            subject: self.subjects.stored(&key.0).into(),
            is_ready: false,
        });
        self.lane_of.insert(key, at);
        at
    }

    /// The lane may have something to send.
    fn wake(&mut self, at: usize) {
        if !std::mem::replace(&mut self.lanes[at].is_ready, true) {
            self.ready_lanes.push_back(at);
        }
    }

    /// Lanes take turns, one message each.
    pub(super) fn pump_publishing(&mut self) {
        let by_ms = self.now_ms() + self.settings.answer_ms_max;
        while self.publishes_under_way < UNDER_WAY_MAX
            && let Some(at) = self.ready_lanes.pop_front()
        {
            // A lane that ended may still stand there.
            let Some(state) = self.lanes.get_mut(at) else {
                continue;
            };
            state.is_ready = false;
            let followed = self.topics.get(&state.key.0);
            let proof = match followed.is_some_and(|followed| followed.chain.is_sure()) {
                true => Proof::Heard { by_ms },
                false => Proof::Answer,
            };
            let Some(sending) = state.lane.poll_send(proof) else {
                continue;
            };
            self.publishes_under_way += 1;
            let subject = Arc::clone(&state.subject);
            let (ticket, headers, payload, is_probe) = match sending {
                Sending::Message {
                    ticket,
                    message,
                    attempt,
                    asks,
                } => {
                    self.shared.counters.sent.one();
                    self.shared.counters.retries.add(u64::from(attempt > 1));
                    let Outgoing { message, id, .. } = message;
                    let topic = &state.key.0;
                    // What is heard in the usual course is known by its id.
                    let is_usual = attempt == 1 && proof != Proof::Answer;
                    let origin = message.origin.filter(|_| !is_usual);
                    let headers = headers::write(message, origin, topic, *id, &self.signer);
                    let payload = message.payload.clone();
                    if !asks {
                        self.publish(&subject, None, Some(headers), payload);
                        self.wake(at);
                        continue;
                    }
                    (ticket, headers, payload, false)
                }
                Sending::Probe { ticket, message } => {
                    self.shared.counters.retries.one();
                    let mut headers = async_nats::HeaderMap::new();
                    headers.insert(headers::MSG_ID, headers::spell_id(message.id));
                    headers.insert(PROBE.0, PROBE.1);
                    (ticket, headers, Bytes::new(), true)
                }
            };
            self.wake(at);
            let ask = Ask::Publish {
                lane: at,
                ticket,
                is_probe,
            };
            self.ask(&subject, Some(headers), payload, ask);
        }
    }

    pub(super) fn handle_ack(
        &mut self,
        at: usize,
        ticket: Ticket,
        is_probe: bool,
        message: &Message,
    ) {
        let verdict = match wire::response::<Ack>(message) {
            Ok(ack) => Verdict::Stored {
                offset: ack.seq,
                is_duplicate: ack.duplicate,
            },
            Err(error) if is_probe => match error.err_code {
                wire::NO_ROLLUP => Verdict::Absent,
                _ => Verdict::Silence,
            },
            Err(error) if wire::FULL.contains(&error.err_code) => {
                Verdict::Refused(FULL_WORDS.into())
            }
            Err(error) if error.err_code == wire::TOO_LARGE => {
                Verdict::Refused(TOO_LARGE_WORDS.into())
            }
            // What is wrong with the request itself stays wrong.
            Err(error) if wire::FOR_GOOD.contains(&error.err_code) => {
                Verdict::Refused(error.description)
            }
            Err(_) => Verdict::Silence,
        };
        self.decide(at, ticket, verdict);
    }

    /// No answer came to a message that was sent.
    pub(super) fn handle_no_ack(&mut self, at: usize, ticket: Ticket) {
        self.decide(at, ticket, Verdict::Silence);
    }

    fn decide(&mut self, at: usize, ticket: Ticket, verdict: Verdict) {
        if !self.lanes.contains(at) {
            return;
        }
        let is_silent = verdict == Verdict::Silence;
        self.with_lane(at, |lane, outcomes, ended| {
            lane.handle_verdict(ticket, verdict, outcomes, ended);
        });
        // What got no answer is asked about at the next tick, not at once and for ever.
        if !is_silent && self.lanes.contains(at) {
            self.wake(at);
        }
    }

    /// Does something with a lane, and tells what ended with it.
    fn with_lane(
        &mut self,
        at: usize,
        act: impl FnOnce(&mut Lane<Outgoing>, &mut Vec<Outcome>, &mut Vec<Outgoing>),
    ) {
        let lane = &mut self.lanes[at].lane;
        let (outcomes, ended) = &mut self.ended;
        self.publishes_under_way -= lane.under_way();
        act(lane, outcomes, ended);
        self.publishes_under_way += lane.under_way();
        self.end(at);
    }

    /// Answers to what is under way will not come.
    pub(super) fn disconnect_lanes(&mut self) {
        self.publishes_under_way = 0;
        for (_, state) in &mut self.lanes {
            state.lane.handle_disconnect();
        }
    }

    pub(super) fn tick_publishing(&mut self, now_ms: u64) {
        let all: Vec<usize> = self.lanes.iter().map(|(at, _)| at).collect();
        for at in all {
            self.with_lane(at, |lane, outcomes, ended| {
                lane.handle_timeout(now_ms, outcomes, ended);
            });
            if self.lanes.contains(at) {
                self.wake(at);
            }
        }
        while let Some(ended) = self.ended_own.front()
            && ended.due_ms <= now_ms
        {
            let mut ended = self.ended_own.pop_front().expect("it is there");
            let followed = self.topics.get(&ended.topic);
            if followed.is_some_and(|followed| followed.chain.last() < ended.offset) {
                // It is still to come.
                ended.due_ms = now_ms + OWN_MS_MAX;
                self.ended_own.push_back(ended);
            } else {
                self.own.remove(&ended.id);
            }
        }
    }

    /// Tells how those proposals of a lane ended that did.
    fn end(&mut self, at: usize) {
        let topic = self.lanes[at].key.0.clone();
        let (mut outcomes, mut ended) = std::mem::take(&mut self.ended);
        assert_eq!(outcomes.len(), ended.len());
        for (outcome, outgoing) in outcomes.drain(..).zip(ended.drain(..)) {
            self.shared
                .proposed
                .fetch_sub(outgoing.bytes, Ordering::Relaxed);
            // Where it may still be heard, and before what.
            let place = match outcome {
                Outcome::Stored {
                    ticket,
                    offset,
                    is_duplicate,
                } => {
                    self.tell_stored(&topic, ticket, offset, is_duplicate);
                    Some(offset).filter(|_| !is_duplicate)
                }
                Outcome::Failed { ticket, why } => {
                    let place = (why == Why::Unknown).then_some(0);
                    let why = failure(why);
                    self.counters().failure(&why);
                    self.tell(Event::Failed { ticket, why });
                    place
                }
            };
            // A connection's is awaited even while its topic is not followed for want of room.
            let is_awaited = outgoing.message.origin.is_some() || self.topics.contains_key(&topic);
            self.end_own(&topic, outgoing.id, place.filter(|_| is_awaited));
        }
        self.ended = (outcomes, ended);
        if self.lanes[at].lane.is_empty() {
            let state = self.lanes.remove(at);
            self.lane_of.remove(&state.key);
        }
    }

    fn tell_stored(&mut self, topic: &Topic, ticket: Ticket, offset: u64, duplicate: bool) {
        let counters = self.counters();
        counters.stored.one();
        counters.duplicates.add(u64::from(duplicate));
        let number = usize::from(self.subjects.stream(topic));
        let stream = &mut self.streams[number];
        stream.last = stream.last.max(offset);
        let epoch = stream.epoch.unwrap_or_default();
        // An acknowledgement proves the topic's end as far as this.
        if self
            .topics
            .get(topic)
            .is_some_and(|followed| followed.chain.last() < offset)
        {
            let due_ms = self.now_ms() + HEARD_MS_MAX;
            self.expected.push_back((due_ms, topic.clone(), offset));
        }
        self.tell(Event::Stored {
            ticket,
            offset,
            epoch,
            duplicate,
        });
    }

    /// A proposal ended; its message may still come from the stream, at this offset if that is
    /// known.
    fn end_own(&mut self, topic: &Topic, id: Id, place: Option<u64>) {
        let Some(own) = self.own.get_mut(&id) else {
            return;
        };
        own.is_ended = true;
        let Some(offset) = place.filter(|_| !own.is_heard) else {
            self.own.remove(&id);
            return;
        };
        self.ended_own.push_back(EndedOwn {
            due_ms: self.now_ms() + OWN_MS_MAX,
            topic: topic.clone(),
            offset,
            id,
        });
        if self.ended_own.len() > OWN_MAX
            && let Some(ended) = self.ended_own.pop_front()
        {
            self.own.remove(&ended.id);
        }
    }

    /// The ticket of the proposal that a message with this id is, and the lane that still waits
    /// to hear of it.
    pub(super) fn take_own(&mut self, id: Option<Id>) -> Option<(Ticket, Option<usize>)> {
        let id = id?;
        let own = self.own.get_mut(&id)?;
        let (ticket, lane) = (own.ticket, own.lane);
        own.is_heard = true;
        if own.is_ended {
            self.own.remove(&id);
            return Some((ticket, None));
        }
        Some((ticket, Some(lane)))
    }

    /// A proposal of this lane has come back from the stream.
    pub(super) fn handle_own(&mut self, at: usize, ticket: Ticket, offset: u64) {
        let is_duplicate = false;
        let verdict = Verdict::Stored {
            offset,
            is_duplicate,
        };
        self.decide(at, ticket, verdict);
    }
}

fn failure(why: Why) -> Failure {
    match why {
        Why::NotSent => Failure::Away,
        Why::Unknown => Failure::Unknown,
        Why::Overtaken => Failure::Overtaken,
        Why::Refused(words) if words == FULL_WORDS => Failure::Full,
        Why::Refused(words) if words == TOO_LARGE_WORDS => Failure::TooLarge,
        Why::Refused(words) => Failure::Refused(words),
    }
}

#[cfg(test)]
mod tests;
