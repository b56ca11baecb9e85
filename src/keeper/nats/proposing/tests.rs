use super::*;
use std::collections::HashMap;

fn lane(count: u64) -> Lane<()> {
    let mut lane = Lane::new();
    for ticket in 0..count {
        lane.push(ticket, (), 1000, false);
    }
    lane
}

/// `m0` for message 0 sent, `n0` where it asks for no answer, `p0` for its probe.
fn sent_by(lane: &mut Lane<()>, proof: Proof) -> String {
    let mut words = Vec::new();
    while let Some(sending) = lane.poll_send(proof) {
        words.push(match sending {
            Sending::Message { ticket, asks, .. } => match asks {
                true => format!("m{ticket}"),
                false => format!("n{ticket}"),
            },
            Sending::Probe { ticket, .. } => format!("p{ticket}"),
        });
    }
    words.join(" ")
}

fn sent(lane: &mut Lane<()>) -> String {
    sent_by(lane, Proof::Answer)
}

fn stored(offset: u64) -> Verdict {
    let is_duplicate = false;
    Verdict::Stored {
        offset,
        is_duplicate,
    }
}

fn tell(lane: &mut Lane<()>, ticket: u64, verdict: Verdict) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    let mut ended = Vec::new();
    lane.handle_verdict(ticket, verdict, &mut outcomes, &mut ended);
    assert_eq!(ended.len(), outcomes.len());
    outcomes
}

fn failed(ticket: u64, why: Why) -> Outcome {
    Outcome::Failed { ticket, why }
}

#[test]
fn a_lane_sends_without_waiting_up_to_its_window() {
    let mut it = lane(LANE_WINDOW as u64 + 5);
    assert_eq!(sent(&mut it).split(' ').count(), LANE_WINDOW);
    tell(&mut it, 0, stored(1));
    assert_eq!(sent(&mut it), format!("m{LANE_WINDOW}"));
}

#[test]
fn what_was_not_stored_is_sent_again_in_order() {
    let mut it = lane(3);
    assert_eq!(sent(&mut it), "m0 m1 m2");
    for ticket in 0..3 {
        tell(&mut it, ticket, Verdict::Silence);
        it.push(10 + ticket, (), 1000, false);
    }
    assert_eq!(sent(&mut it), "p0 p1 p2");
    assert_eq!(
        tell(&mut it, 0, stored(7)),
        [Outcome::Stored {
            ticket: 0,
            offset: 7,
            is_duplicate: false
        }]
    );
    tell(&mut it, 2, Verdict::Absent);
    assert_eq!(sent(&mut it), "");
    tell(&mut it, 1, Verdict::Absent);
    assert_eq!(sent(&mut it), "m1 m2 m10 m11 m12");
}

#[test]
fn nothing_is_probed_while_answers_may_come() {
    let mut it = lane(2);
    sent(&mut it);
    tell(&mut it, 0, Verdict::Silence);
    assert_eq!(sent(&mut it), "");
    tell(&mut it, 1, Verdict::Silence);
    assert_eq!(sent(&mut it), "p0 p1");
    tell(&mut it, 0, Verdict::Silence);
    assert_eq!(sent(&mut it), "p0");
}

#[test]
fn an_overtaken_message_fails_and_is_never_stored_late() {
    let mut it = lane(3);
    sent(&mut it);
    tell(&mut it, 0, Verdict::Silence);
    tell(&mut it, 1, stored(5));
    tell(&mut it, 2, Verdict::Silence);
    assert_eq!(sent(&mut it), "p0 p2");
    tell(&mut it, 2, Verdict::Absent);
    let outcomes = tell(&mut it, 0, Verdict::Absent);
    assert_eq!(outcomes, [failed(0, Why::Overtaken)]);
    assert_eq!(sent(&mut it), "m2");
}

#[test]
fn a_refused_message_lets_the_next_ones_go() {
    let mut it = lane(2);
    sent(&mut it);
    let why = Why::Refused("full".into());
    let outcomes = tell(&mut it, 0, Verdict::Refused("full".into()));
    assert_eq!(outcomes, [failed(0, why)]);
    assert_eq!(tell(&mut it, 1, stored(1)).len(), 1);
    assert!(it.is_empty());
}

#[test]
fn a_time_limit_tells_whether_the_message_may_have_been_stored() {
    let mut it = lane(1);
    sent(&mut it);
    it.handle_disconnect();
    it.push(1, (), 1000, false);
    let mut outcomes = Vec::new();
    it.handle_timeout(999, &mut outcomes, &mut Vec::new());
    assert_eq!(outcomes, []);
    it.handle_timeout(1000, &mut outcomes, &mut Vec::new());
    assert_eq!(outcomes, [failed(0, Why::Unknown), failed(1, Why::NotSent)]);
    assert!(it.is_empty());
}

#[test]
fn only_a_first_copy_can_be_a_duplicate_of_another_one() {
    let mut it = lane(2);
    sent(&mut it);
    let known = Verdict::Stored {
        offset: 3,
        is_duplicate: true,
    };
    let is_duplicate = |outcomes: Vec<Outcome>| matches!(outcomes[..], [Outcome::Stored { is_duplicate, .. }] if is_duplicate);
    assert!(is_duplicate(tell(&mut it, 0, known.clone())));
    tell(&mut it, 1, Verdict::Silence);
    sent(&mut it);
    assert!(!is_duplicate(tell(&mut it, 1, known)));
}

#[test]
fn what_is_heard_needs_no_answer_but_the_last_of_what_goes_together() {
    let heard = Proof::Heard { by_ms: 500 };
    let mut it = lane(2);
    it.push(2, (), 1000, true);
    it.push(3, (), 1000, false);
    it.push(4, (), 1000, false);
    assert_eq!(sent_by(&mut it, heard), "n0 n1 m2 n3 m4");
    assert_eq!(it.under_way(), 5);
    for ticket in 0..5 {
        assert_eq!(tell(&mut it, ticket, stored(ticket + 1)).len(), 1);
    }
    assert_eq!((it.under_way(), it.is_empty()), (0, true));
    // The answer to one that was heard before it.
    assert_eq!(tell(&mut it, 4, stored(5)), []);
    let mut it = lane(2 * UNASKED_MAX as u64);
    let words = sent_by(&mut it, heard);
    assert_eq!(words.matches('m').count(), 2);
    assert!(words.contains(&format!(" m{UNASKED_MAX} ")));
}

#[test]
fn what_is_not_heard_in_time_is_asked_about() {
    let mut it = lane(3);
    assert_eq!(sent_by(&mut it, Proof::Heard { by_ms: 500 }), "n0 n1 m2");
    assert_eq!(tell(&mut it, 0, stored(1)).len(), 1);
    it.handle_timeout(499, &mut Vec::new(), &mut Vec::new());
    assert_eq!(sent(&mut it), "");
    it.handle_timeout(500, &mut Vec::new(), &mut Vec::new());
    // One that asked is still to be answered.
    assert_eq!(sent(&mut it), "");
    tell(&mut it, 2, Verdict::Silence);
    assert_eq!(sent(&mut it), "p1 p2");
    tell(&mut it, 1, Verdict::Absent);
    tell(&mut it, 2, Verdict::Absent);
    assert_eq!(sent_by(&mut it, Proof::Heard { by_ms: 900 }), "m1 m2");
}

#[test]
fn a_refusal_casts_doubt_on_those_before_it_that_did_not_ask() {
    let mut it = lane(3);
    sent_by(&mut it, Proof::Heard { by_ms: 500 });
    tell(&mut it, 2, Verdict::Refused("full".into()));
    assert_eq!(sent(&mut it), "p0 p1");
}

/// A stream that loses messages and answers, as one does whose leader changes.
#[test]
fn whatever_is_lost_a_lane_is_stored_in_its_order_and_once() {
    for seed in 0..6000 {
        fastrand::seed(seed);
        let hears = fastrand::bool();
        let mut it: Lane<()> = Lane::new();
        let mut stream = Stream::default();
        let mut under_way: VecDeque<(u64, Way)> = VecDeque::new();
        let mut ended: HashMap<u64, Outcome> = HashMap::new();
        let (mut next, mut now_ms) = (0, 0);
        for turn in 0..400 {
            now_ms += 1;
            let is_calm = turn > 300;
            for _ in 0..fastrand::usize(..3) {
                if !is_calm {
                    it.push(next, (), now_ms + 150, fastrand::u8(..10) == 0);
                    next += 1;
                }
            }
            let by_ms = now_ms + 20;
            let proof = match hears && fastrand::u8(..10) > 0 {
                true => Proof::Heard { by_ms },
                false => Proof::Answer,
            };
            while let Some(sending) = it.poll_send(proof) {
                under_way.push_back(match sending {
                    Sending::Message { ticket, asks, .. } => match asks {
                        true => (ticket, Way::Asks),
                        false => (ticket, Way::Hears),
                    },
                    Sending::Probe { ticket, .. } => (ticket, Way::Probes),
                });
            }
            assert!(it.under_way() <= LANE_WINDOW);
            let mut outcomes = Vec::new();
            if !is_calm && fastrand::u8(..30) == 0 {
                // What was under way is lost from some point on, or on both sides of it.
                for (ticket, way) in under_way.drain(..) {
                    if fastrand::bool() && way != Way::Probes {
                        stream.store(ticket, false);
                    }
                }
                it.handle_disconnect();
                assert_eq!(it.under_way(), 0);
            }
            for _ in 0..2 {
                if let Some((ticket, way)) = under_way.pop_front()
                    && let Some(verdict) = stream.take(ticket, way, is_calm)
                {
                    it.handle_verdict(ticket, verdict, &mut outcomes, &mut Vec::new());
                }
                if let Some((ticket, offset)) = stream.heard.pop_front() {
                    let verdict = stored(offset);
                    it.handle_verdict(ticket, verdict, &mut outcomes, &mut Vec::new());
                }
            }
            it.handle_timeout(now_ms, &mut outcomes, &mut Vec::new());
            for outcome in outcomes {
                let (Outcome::Stored { ticket, .. } | Outcome::Failed { ticket, .. }) = outcome;
                assert!(ended.insert(ticket, outcome).is_none(), "seed {seed}");
            }
        }
        let stream = stream.messages;
        assert!(stream.is_sorted(), "seed {seed}: {stream:?}");
        assert_eq!(it.under_way(), 0, "seed {seed}");
        for ticket in 0..next {
            match ended.get(&ticket) {
                Some(Outcome::Stored { offset, .. }) => {
                    assert_eq!(stream[*offset as usize - 1], ticket, "seed {seed}");
                }
                Some(Outcome::Failed { why, .. }) if *why != Why::Unknown => {
                    assert!(!stream.contains(&ticket), "seed {seed}: {ticket} {why:?}");
                }
                Some(_) => {}
                None => panic!("seed {seed}: {ticket} never ended"),
            }
        }
    }
}

/// How a message goes to the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Asks,
    Hears,
    Probes,
}

#[derive(Default)]
struct Stream {
    messages: Vec<u64>,
    /// What was stored, on its way back.
    heard: VecDeque<(u64, u64)>,
}

impl Stream {
    fn offset(&self, ticket: u64) -> Option<u64> {
        let at = self.messages.iter().position(|known| *known == ticket);
        at.map(|at| at as u64 + 1)
    }

    fn store(&mut self, ticket: u64, is_heard: bool) -> u64 {
        if let Some(offset) = self.offset(ticket) {
            return offset;
        }
        self.messages.push(ticket);
        let offset = self.messages.len() as u64;
        if is_heard {
            self.heard.push_back((ticket, offset));
        }
        offset
    }

    /// One arrives. Returns what is answered, or that no answer comes.
    fn take(&mut self, ticket: u64, way: Way, is_calm: bool) -> Option<Verdict> {
        let (is_lost, is_refused) = match is_calm {
            true => (false, false),
            false => (fastrand::u8(..10) == 0, fastrand::u8(..20) == 0),
        };
        let known = self.offset(ticket);
        if way == Way::Probes {
            return Some(match known {
                _ if is_lost => Verdict::Silence,
                None => Verdict::Absent,
                Some(offset) => Verdict::Stored {
                    offset,
                    is_duplicate: true,
                },
            });
        }
        let asks = way == Way::Asks;
        if is_lost || (is_refused && known.is_none()) {
            if is_lost && fastrand::bool() {
                self.store(ticket, fastrand::bool());
            }
            let words = || Verdict::Refused("full".into());
            let verdict = if is_lost { Verdict::Silence } else { words() };
            return asks.then_some(verdict);
        }
        let verdict = Verdict::Stored {
            offset: self.store(ticket, is_calm || fastrand::u8(..10) > 0),
            is_duplicate: known.is_some(),
        };
        asks.then_some(verdict)
    }
}
