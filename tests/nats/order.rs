//! What is proposed is stored and heard on all nodes, in one order.

use std::collections::HashMap;

use async_nats::HeaderMap;
use bytes::Bytes;
use fanfare::keeper::nats::{Kind, Message, Origin, Settings, Subjects};

use crate::node::{Node, proposal, settings, text};
use crate::server::{Program, Server};

const TOPICS: [&str; 4] = ["a", "room/1", "täglich *.>", "x"];

fn in_order_on_all_nodes(settings: &Settings) {
    let mut nodes = [0, 1].map(|_| Node::back(settings.clone()));
    for node in &mut nodes {
        for name in TOPICS {
            node.follow(name, None);
        }
    }
    const EACH: u64 = 500;
    let word = |node: usize, ticket: u64| format!("{node}:{ticket}");
    for ticket in 0..EACH {
        for (n, node) in nodes.iter().enumerate() {
            for name in TOPICS {
                let ticket = ticket << 8 | u64::from(name.as_bytes()[0]);
                node.propose(ticket, name, word(n, ticket));
            }
        }
    }
    let mut heard: Vec<HashMap<&str, Vec<(u64, String)>>> = Vec::new();
    for (n, node) in nodes.iter_mut().enumerate() {
        let mut of_node = HashMap::new();
        for name in TOPICS {
            let mut all: Vec<(u64, String)> = Vec::new();
            for _ in 0..2 * EACH {
                let committed = node.next(name).expect("no gap");
                let last = all.last().map_or(committed.previous, |(offset, _)| *offset);
                assert_eq!(committed.previous, last);
                assert!(committed.offset > last && committed.time_ms > 0);
                let words = String::from_utf8_lossy(&committed.message.payload).into_owned();
                let (from, ticket) = words.split_once(':').expect("as it was sent");
                let own = (from == n.to_string()).then(|| ticket.parse().expect("a number"));
                assert_eq!(committed.ticket, own, "the ticket is the publisher's own");
                if let Some(ticket) = own {
                    assert_eq!(node.stored(ticket), (committed.offset, false));
                }
                all.push((committed.offset, words));
            }
            for from in 0..2 {
                let prefix = format!("{from}:");
                let of = all.iter().filter(|(_, words)| words.starts_with(&prefix));
                let tickets: Vec<u64> = of.map(|(_, words)| words[2..].parse().unwrap()).collect();
                assert!(
                    tickets.is_sorted(),
                    "a publisher's messages keep their order"
                );
            }
            of_node.insert(name, all);
        }
        heard.push(of_node);
    }
    assert_eq!(heard[0], heard[1]);
    let counts = nodes[0].link.counts();
    assert_eq!(
        (counts.gaps, counts.failed_unknown, counts.forged),
        (0, 0, 0)
    );
    assert_eq!(nodes[0].link.room(), settings.proposed_bytes_max);
}

#[test]
fn what_is_proposed_comes_back_in_one_order_on_all_nodes() {
    let server = Server::start();
    in_order_on_all_nodes(&settings(&[&server]));
}

#[test]
fn several_streams_share_the_topics() {
    let server = Server::start();
    let mut four = settings(&[&server]);
    (four.streams, four.limits.bytes) = (4, 16 << 20);
    in_order_on_all_nodes(&four);
}

#[test]
fn every_part_of_a_message_arrives_with_the_others() {
    let server = Server::start();
    let mut at_home = settings(&[&server]);
    at_home.homes = vec![16];
    let mut hearing = Node::back(at_home);
    hearing.follow("t", None);
    // Another node need not know whose it is.
    let mut other = Node::back(settings(&[&server]));
    other.follow("t", None);
    // Proposed before there is a connection, and signed with the stream's key all the same.
    let speaking = Node::start(settings(&[&server]));
    let message = Message {
        kind: Kind::Binary,
        payload: Bytes::from_static(b"plain text, sent as binary"),
        event: Some("new = event".into()),
        info: Some(Bytes::from_static(b"{\"user\":\"anna\"}")),
        tags: vec![("colour".into(), "dark red".into())],
        origin: Some(Origin {
            node: 16,
            connection: 17,
        }),
    };
    let mut whole = proposal(1, "t", "");
    whole.message = message.clone();
    speaking.link.propose(whole).expect("there is room");
    assert_eq!(hearing.next("t").expect("no gap").message, message);
    let heard = other.next("t").expect("no gap").message;
    assert_eq!(heard.origin, None);
    assert_eq!(heard.info, message.info);
}

#[test]
fn a_plain_publish_of_a_program_is_a_message_too() {
    let server = Server::start();
    let mut node = Node::back(settings(&[&server]));
    node.follow("news/today", None);
    let program = Program::new(&server);
    let subject = Subjects::new("fanfare", 1).stored("news/today");
    assert_eq!(subject, "fanfare.in.news/today");
    let ack = program.publish(&subject, HeaderMap::new(), "é".as_bytes());
    let heard = node.next("news/today").expect("no gap");
    assert_eq!(
        (heard.message, heard.offset),
        (text("é"), ack["seq"].as_u64().unwrap())
    );
    program.publish(&subject, HeaderMap::new(), b"\xff\0");
    assert_eq!(
        node.next("news/today").expect("no gap").message.kind,
        Kind::Binary
    );

    // Whatever a program says of origin and user is left out.
    let mut headers = HeaderMap::new();
    headers.insert("Fanfare-Event", "sale");
    headers.insert("Fanfare-Origin", "1-2");
    headers.insert("Fanfare-Info", "e30=");
    headers.insert("Fanfare-Sign", "e30=");
    // And of where the message stands, here and in the history.
    for name in ["Nats-Sequence", "Nats-Last-Sequence", "Nats-Num-Pending"] {
        headers.insert(name, "777");
    }
    headers.insert("Nats-Time-Stamp", "2020-01-01T00:00:00Z");
    program.publish(&subject, headers, b"x");
    let heard = node.next("news/today").expect("no gap");
    assert_eq!(heard.offset, 3);
    let message = heard.message;
    assert_eq!((message.origin, message.info), (None, None));
    assert_eq!(message.event.as_deref(), Some("sale"));
    assert_eq!(node.link.counts().forged, 1);
    let mut late = Node::back(settings(&[&server]));
    late.follow("news/today", Some(1));
    for offset in 2..=3 {
        assert_eq!(late.next("news/today").expect("no gap").offset, offset);
    }
}

#[test]
fn a_retry_through_any_node_is_stored_once() {
    let server = Server::start();
    let mut two = [0, 1].map(|_| Node::back(settings(&[&server])));
    two[0].follow("t", None);
    let keyed = |ticket: u64, key: &str| {
        let mut proposal = proposal(ticket, "t", format!("{key} by {ticket}"));
        proposal.idempotency = Some(("anna".into(), key.into()));
        proposal
    };
    two[0].link.propose(keyed(1, "k")).expect("there is room");
    let (offset, duplicate) = two[0].stored(1);
    assert!(!duplicate);
    two[0].link.propose(keyed(2, "k")).expect("there is room");
    assert_eq!(two[0].stored(2), (offset, true));
    two[1].link.propose(keyed(3, "k")).expect("there is room");
    assert_eq!(two[1].stored(3), (offset, true));
    two[1]
        .link
        .propose(keyed(4, "another"))
        .expect("there is room");
    assert!(!two[1].stored(4).1);
    // The same with an id of the caller's own.
    for (ticket, node) in [(5, 0), (6, 1)] {
        let mut proposal = proposal(ticket, "t", "by id");
        proposal.id = Some(17);
        two[node].link.propose(proposal).expect("there is room");
        assert_eq!(two[node].stored(ticket).1, ticket == 6);
    }
    assert_eq!(two[0].words("t"), "k by 1");
    assert_eq!(two[0].words("t"), "another by 4");
    assert_eq!(two[0].words("t"), "by id");
}

#[test]
fn a_topic_that_is_no_longer_followed_is_silent() {
    let server = Server::start();
    let mut node = Node::back(settings(&[&server]));
    node.follow("a", None);
    node.follow("b", None);
    node.link.unfollow("a".into());
    node.propose(1, "a", "unheard");
    node.propose(2, "b", "heard");
    let (offset, _) = node.stored(1);
    assert_eq!(node.words("b"), "heard");
    assert!(!node.has(|event| format!("{event:?}").contains("unheard")));
    // Followed again, from where it was left.
    node.follow("a", Some(offset - 1));
    assert_eq!(node.words("a"), "unheard");
}
