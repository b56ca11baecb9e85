//! Servers that die in turn while nodes publish, reconnect and hear.

use std::collections::{HashMap, HashSet};

use fanfare::keeper::nats::{Event, Failure};

use crate::cluster::replicated;
use crate::node::Node;
use crate::server::{Server, three};

const TOPICS: u64 = 8;
/// Messages of each node in each third of a round.
const STEP: u64 = 200;

fn name(topic: u64) -> String {
    format!("room/{topic}")
}

/// Proposes some messages of a node, to all topics in turn.
fn propose_some(nodes: &[Node; 2], next: &mut u64) {
    for _ in 0..STEP {
        for (n, node) in nodes.iter().enumerate() {
            let words = format!("{n}:{next}");
            node.propose(*next, &name(*next % TOPICS), words);
        }
        *next += 1;
    }
}

/// How each of these proposals of a node ended: its offset, or that it may or may not be stored.
fn ends(node: &mut Node, tickets: std::ops::Range<u64>) -> HashMap<u64, Result<u64, Failure>> {
    let mut ends = HashMap::new();
    while (ends.len() as u64) < tickets.end - tickets.start {
        let (ticket, end) = node.wait("an end", |event| match event {
            Event::Stored { ticket, offset, .. } => Some((*ticket, Ok(*offset))),
            Event::Failed { ticket, why } => Some((*ticket, Err(why.clone()))),
            _ => None,
        });
        assert!(ends.insert(ticket, end).is_none(), "{ticket} ended twice");
    }
    ends
}

/// Offsets with their words.
type Messages = Vec<(u64, String)>;
type Gaps = Vec<(u64, u64)>;

/// What a node hears of a topic up to the last message.
fn heard(node: &mut Node, topic: &str) -> (Messages, Gaps) {
    let (mut messages, mut gaps) = (Vec::new(), Vec::new());
    loop {
        match node.next(topic) {
            Err(gap) => gaps.push(gap),
            Ok(committed) => {
                let words = String::from_utf8_lossy(&committed.message.payload).into_owned();
                if words == "the end" {
                    return (messages, gaps);
                }
                messages.push((committed.offset, words));
            }
        }
    }
}

fn rounds(servers: &mut [Server; 3], count: usize) {
    let mut nodes = [0, 1].map(|_| Node::back(replicated(servers)));
    for node in &mut nodes {
        for topic in 0..TOPICS {
            node.follow(&name(topic), None);
        }
    }
    let mut ended = [HashMap::new(), HashMap::new()];
    let mut next = 0;
    for round in 0..count {
        let first = next;
        propose_some(&nodes, &mut next);
        servers[round % 3].kill();
        propose_some(&nodes, &mut next);
        servers[round % 3].run();
        nodes[round % 2].link.reconnect();
        propose_some(&nodes, &mut next);
        for (n, node) in nodes.iter_mut().enumerate() {
            ended[n].extend(ends(node, first..next));
        }
    }
    for topic in 0..TOPICS {
        nodes[0].propose(next + topic, &name(topic), "the end");
        nodes[0].stored(next + topic);
    }
    for topic in 0..TOPICS {
        let told = nodes.each_mut().map(|node| heard(node, &name(topic)));
        for (n, (messages, gaps)) in told.iter().enumerate() {
            let in_gap = |offset: u64| {
                gaps.iter()
                    .any(|(from, to)| (*from..=*to).contains(&offset))
            };
            assert!(messages.is_sorted_by(|a, b| a.0 < b.0), "node {n}");
            let words: HashSet<&str> = messages.iter().map(|(_, words)| words.as_str()).collect();
            assert_eq!(words.len(), messages.len(), "something was stored twice");
            let known: HashMap<u64, &str> = messages
                .iter()
                .map(|(offset, words)| (*offset, words.as_str()))
                .collect();
            for (from, ends) in ended.iter().enumerate() {
                let prefix = format!("{from}:");
                let of = messages
                    .iter()
                    .filter_map(|(_, words)| words.strip_prefix(&prefix));
                let tickets: Vec<u64> = of.map(|ticket| ticket.parse().unwrap()).collect();
                assert!(tickets.is_sorted(), "node {from}'s order: {tickets:?}");
                for (ticket, end) in ends.iter().filter(|(ticket, _)| **ticket % TOPICS == topic) {
                    let words = format!("{from}:{ticket}");
                    match end {
                        Ok(offset) if in_gap(*offset) => {}
                        Ok(offset) => assert_eq!(known.get(offset), Some(&words.as_str())),
                        Err(Failure::Unknown) => {}
                        Err(why) => assert!(!tickets.contains(ticket), "{ticket}: {why}"),
                    }
                }
            }
        }
        let [(one, gaps), (two, others)] = told;
        if gaps.is_empty() && others.is_empty() {
            assert_eq!(one, two);
        }
    }
}

#[test]
fn servers_that_die_in_turn_cost_no_acknowledged_message_and_no_order() {
    // More of them by hand: FANFARE_NATS_ROUNDS=30 cargo test --test nats chaos
    let count = std::env::var("FANFARE_NATS_ROUNDS").ok();
    let count = count.map_or(3, |count| count.parse().expect("a number"));
    rounds(&mut three(), count);
}
