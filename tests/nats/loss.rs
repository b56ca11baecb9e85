//! Servers that restart, lose what they had, or are not heard in time.

use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use async_nats::HeaderMap;
use fanfare::keeper::nats::{Event, Failure, Fault, Warning};
use serde_json::Value;

use crate::node::{Node, settings};
use crate::server::{PATIENCE, Program, Server};

/// The epoch that a node tells next.
fn epoch(node: &mut Node) -> u64 {
    node.wait("Epoch", |event| match event {
        Event::Epoch { epoch, .. } => Some(*epoch),
        _ => None,
    })
}

#[test]
fn messages_that_the_client_library_drops_are_fetched() {
    let server = Server::start();
    let mut narrow = settings(&[&server]);
    narrow.unread_messages_max = 64;
    let gate = Arc::new(Mutex::new(()));
    let waits = Arc::clone(&gate);
    let mut node = Node::with(narrow, move |event| {
        if matches!(event, Event::Committed(_)) {
            drop(waits.lock());
        }
    });
    node.wait_back();
    node.follow("t", None);
    let program = Program::new(&server);
    program.publish("fanfare.in.t", HeaderMap::new(), b"first");
    assert_eq!(node.words("t"), "first");
    let closed = gate.lock();
    for n in 0..5000 {
        program.publish("fanfare.in.t", HeaderMap::new(), n.to_string().as_bytes());
    }
    drop(closed);
    node.wait_warning(|warning| *warning == Warning::SlowConsumer);
    for n in 0..5000 {
        assert_eq!(node.words("t"), n.to_string());
    }
    let counts = node.link.counts();
    assert!(
        counts.slow_consumers > 0 && counts.fetched > 0,
        "{counts:?}"
    );
    assert_eq!(counts.gaps, 0);
}

#[test]
fn a_restart_of_the_server_loses_nothing_that_was_proposed() {
    let mut server = Server::start();
    let mut node = Node::back(settings(&[&server]));
    node.follow("t", None);
    for ticket in 0..2000 {
        node.propose(ticket, "t", ticket.to_string());
        if ticket == 1000 {
            node.stored(200);
            server.kill();
        }
    }
    assert_eq!(node.wait_away(), Fault::Disconnected);
    server.run();
    node.wait_back();
    let mut offsets = Vec::new();
    for ticket in 0..2000 {
        if ticket != 200 {
            let (offset, _) = node.stored(ticket);
            offsets.push(offset);
        }
        assert_eq!(node.words("t"), ticket.to_string());
    }
    assert!(offsets.is_sorted());
    let counts = node.link.counts();
    assert!(
        counts.disconnects >= 1 && counts.connects >= 2,
        "{counts:?}"
    );
    assert_eq!(counts.gaps, 0);
}

#[test]
fn what_was_missed_while_away_is_delivered_in_order() {
    let server = Server::start();
    let mut node = Node::back(settings(&[&server]));
    node.follow("t", None);
    node.follow("quiet", None);
    let program = Program::new(&server);
    // Of a topic that had no message yet nothing is known to be whole.
    program.publish("fanfare.in.t", HeaderMap::new(), b"first");
    assert_eq!(node.words("t"), "first");
    for n in 0..1000 {
        if n % 100 == 0 {
            node.link.reconnect();
        }
        program.publish("fanfare.in.t", HeaderMap::new(), n.to_string().as_bytes());
    }
    for n in 0..1000 {
        assert_eq!(node.words("t"), n.to_string());
    }
    program.publish("fanfare.in.quiet", HeaderMap::new(), b"first");
    assert_eq!(node.words("quiet"), "first");
}

#[test]
fn a_proposal_waits_for_nats_up_to_a_bound() {
    let mut server = Server::start();
    let mut hasty = settings(&[&server]);
    hasty.propose_ms_max = 500;
    let mut node = Node::back(hasty);
    node.propose(1, "t", "stored");
    node.stored(1);
    server.kill();
    node.wait_away();
    node.propose(2, "t", "too late");
    assert_eq!(node.failed(2), Failure::Away);
    server.run();
    node.wait_back();
    node.propose(3, "t", "in time");
    node.stored(3);
    assert_eq!(node.link.counts().failed_away, 1);
}

#[test]
fn a_purged_stream_keeps_its_epoch_and_tells_the_gap() {
    let server = Server::start();
    let mut node = Node::back(settings(&[&server]));
    let (.., before) = node.follow("t", None);
    for ticket in 0..10 {
        node.propose(ticket, "t", ticket.to_string());
        node.words("t");
    }
    let offsets: Vec<u64> = (0..10).map(|ticket| node.stored(ticket).0).collect();
    let program = Program::new(&server);
    let purged = program.api("STREAM.PURGE.FANFARE", Value::Null);
    assert_eq!(purged["purged"], 10);
    node.propose(10, "t", "after");
    // Who heard everything has missed nothing.
    assert_eq!(node.words("t"), "after");
    // Who comes back has.
    let (last, newest, epoch) = node.follow("t", Some(offsets[3]));
    assert_eq!((last, newest, epoch), (offsets[3], offsets[9] + 1, before));
    assert_eq!(node.next("t").err(), Some((offsets[3] + 1, offsets[9])));
    assert_eq!(node.words("t"), "after");
}

#[test]
fn a_stream_that_is_deleted_and_made_anew_has_another_epoch() {
    let server = Server::start();
    let mut two = [0, 1].map(|_| Node::back(settings(&[&server])));
    let old = two.each_mut().map(|node| {
        node.follow("t", None);
        epoch(node)
    });
    assert_eq!(old[0], old[1]);
    two[0].propose(1, "t", "before");
    two.iter_mut()
        .for_each(|node| assert_eq!(node.words("t"), "before"));
    Program::new(&server).api("STREAM.DELETE.FANFARE", Value::Null);
    let new = two.each_mut().map(|node| {
        let epoch = epoch(node);
        assert_eq!(node.following("t"), (0, 0, epoch));
        epoch
    });
    assert_eq!(new[0], new[1]);
    assert_ne!(new[0], old[0]);
    two[1].propose(2, "t", "after");
    for node in &mut two {
        let heard = node.next("t").expect("no gap");
        assert_eq!((heard.offset, heard.previous), (1, 0));
    }
    assert!(two.iter().all(|node| node.link.counts().epochs == 1));
}

#[test]
fn a_stream_that_has_lost_its_end_has_another_epoch() {
    let mut server = Server::start();
    let mut two = [0, 1].map(|_| Node::back(settings(&[&server])));
    let old = two.each_mut().map(|node| {
        node.follow("t", None);
        epoch(node)
    });
    let fill = |node: &mut Node, tickets: std::ops::Range<u64>| {
        for ticket in tickets.clone() {
            node.propose(ticket, "t", ticket.to_string());
        }
        tickets.map(|ticket| node.stored(ticket).0).last()
    };
    fill(&mut two[0], 0..10);
    server.kill();
    let copy = server.folder.path().join("copy");
    let copied = Command::new("cp")
        .arg("-r")
        .arg(server.store())
        .arg(&copy)
        .status();
    assert!(copied.expect("cp is there").success());
    server.run();
    two.iter_mut().for_each(Node::wait_back);
    fill(&mut two[0], 10..30);
    // The other one has heard of it too.
    (0..30).for_each(|n| assert_eq!(two[1].words("t"), n.to_string()));
    server.kill();
    std::fs::remove_dir_all(server.store()).expect("it is there");
    std::fs::rename(copy, server.store()).expect("it is there");
    server.run();
    // Both may name a new history at once; they agree on one of them in the end.
    let mut new = two.each_mut().map(epoch);
    let end = Instant::now() + PATIENCE;
    while new[0] != new[1] {
        assert!(Instant::now() < end, "they do not agree: {old:?}, {new:?}");
        for (node, known) in two.iter_mut().zip(&mut new) {
            if node.has(|event| matches!(event, Event::Epoch { .. })) {
                *known = epoch(node);
            }
        }
        std::thread::yield_now();
    }
    assert_ne!(new[0], old[0]);
    let mut offset = None;
    for (n, node) in two.iter_mut().enumerate() {
        let (last, newest, _) = node.wait("Following of the new history", |event| match event {
            Event::Following {
                last,
                newest,
                epoch,
                ..
            } if *epoch == new[n] => Some((*last, *newest, *epoch)),
            _ => None,
        });
        assert_eq!(last, newest);
        offset = Some(newest);
    }
    two[0].propose(99, "t", "after");
    assert_eq!(two[0].stored(99).0, offset.unwrap() + 1);
    assert_eq!(two[1].words("t"), "after");
}
