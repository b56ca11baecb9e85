use super::*;
use std::collections::HashMap;

fn lane(count: u64) -> Lane<()> {
    let mut lane = Lane::new();
    for ticket in 0..count {
        lane.push(ticket, (), 1000);
    }
    lane
}

/// `m0` for message 0 sent, `p0` for its probe.
fn sent(lane: &mut Lane<()>) -> String {
    let mut words = Vec::new();
    while let Some(sending) = lane.poll_send() {
        words.push(match sending {
            Sending::Message { ticket, .. } => format!("m{ticket}"),
            Sending::Probe { ticket, .. } => format!("p{ticket}"),
        });
    }
    words.join(" ")
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
        it.push(10 + ticket, (), 1000);
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
    it.push(1, (), 1000);
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

/// A stream that loses messages and answers, as one does whose leader changes.
#[test]
fn whatever_is_lost_a_lane_is_stored_in_its_order_and_once() {
    for seed in 0..3000 {
        fastrand::seed(seed);
        let mut it: Lane<()> = Lane::new();
        let mut stream: Vec<u64> = Vec::new();
        let mut under_way: VecDeque<(u64, bool)> = VecDeque::new();
        let mut ended: HashMap<u64, Outcome> = HashMap::new();
        let (mut next, mut now_ms) = (0, 0);
        for turn in 0..400 {
            now_ms += 1;
            let is_calm = turn > 300;
            if !is_calm && fastrand::bool() {
                it.push(next, (), now_ms + 150);
                next += 1;
            }
            while let Some(sending) = it.poll_send() {
                under_way.push_back(match sending {
                    Sending::Message { ticket, .. } => (ticket, false),
                    Sending::Probe { ticket, .. } => (ticket, true),
                });
            }
            let mut outcomes = Vec::new();
            if !is_calm && fastrand::u8(..30) == 0 {
                // What was under way is lost from some point on, or on both sides of it.
                for (ticket, is_probe) in under_way.drain(..) {
                    let arrives = fastrand::bool() && !is_probe;
                    if arrives && !stream.contains(&ticket) {
                        stream.push(ticket);
                    }
                }
                it.handle_disconnect();
            }
            if let Some((ticket, is_probe)) = under_way.pop_front() {
                let offset = |stream: &Vec<u64>| {
                    stream
                        .iter()
                        .position(|n| *n == ticket)
                        .map(|n| n as u64 + 1)
                };
                let is_lost = !is_calm && fastrand::u8(..10) == 0;
                let known = offset(&stream);
                let verdict = if is_lost {
                    if fastrand::bool() && !is_probe && known.is_none() {
                        stream.push(ticket);
                    }
                    Verdict::Silence
                } else if is_probe && known.is_none() {
                    Verdict::Absent
                } else {
                    if known.is_none() {
                        stream.push(ticket);
                    }
                    Verdict::Stored {
                        offset: offset(&stream).expect("it is there"),
                        is_duplicate: known.is_some(),
                    }
                };
                it.handle_verdict(ticket, verdict, &mut outcomes, &mut Vec::new());
            }
            it.handle_timeout(now_ms, &mut outcomes, &mut Vec::new());
            for outcome in outcomes {
                let (Outcome::Stored { ticket, .. } | Outcome::Failed { ticket, .. }) = outcome;
                assert!(ended.insert(ticket, outcome).is_none(), "seed {seed}");
            }
        }
        assert!(stream.is_sorted(), "seed {seed}: {stream:?}");
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
