//! Three servers that keep each message three times.

use async_nats::HeaderMap;
use fanfare::keeper::nats::{Event, Failure, Settings};
use serde_json::Value;

use crate::node::{Node, settings};
use crate::server::{Program, Server, three};

pub(crate) fn replicated(servers: &[Server; 3]) -> Settings {
    let mut settings = settings(&servers.each_ref());
    settings.replicas = 3;
    settings.propose_ms_max = 30_000;
    settings
}

/// The number of the server that leads the stream.
fn leader(servers: &[Server; 3]) -> usize {
    let info = Program::new(&servers[0]).api("STREAM.INFO.FANFARE", Value::Null);
    let name = info["cluster"]["leader"]
        .as_str()
        .expect("it has one")
        .to_owned();
    name[1..].parse().expect("n and a number")
}

/// Proposes and hears messages while `disturb` does what it does, and judges them.
fn undisturbed(servers: &mut [Server; 3], disturb: impl FnOnce(&mut [Server; 3])) -> [Node; 2] {
    const COUNT: u64 = 3000;
    let mut two = [0, 1].map(|_| Node::back(replicated(servers)));
    let epochs = two.each_mut().map(|node| node.follow("t", None).2);
    assert_eq!(epochs[0], epochs[1]);
    let (mut disturb, mut early) = (Some(disturb), None);
    for ticket in 0..COUNT {
        two[0].propose(ticket, "t", ticket.to_string());
        if ticket == COUNT / 2 {
            early = Some((two[0].stored(COUNT / 4).0, COUNT / 4));
            disturb.take().expect("once")(servers);
        }
    }
    // Each one ended, in an order that the stream keeps.
    let mut stored = vec![];
    for ticket in 0..COUNT {
        let end = match early.filter(|(_, it)| *it == ticket) {
            Some((offset, _)) => Ok(offset),
            None => two[0].wait(&format!("the end of {ticket}"), |event| match event {
                Event::Stored {
                    ticket: it, offset, ..
                } if *it == ticket => Some(Ok(*offset)),
                Event::Failed { ticket: it, why } if *it == ticket => Some(Err(why.clone())),
                _ => None,
            }),
        };
        match end {
            Ok(offset) => stored.push((offset, ticket.to_string())),
            // Overtaken by one that the new leader had; never stored late.
            Err(why) => assert_eq!(why, Failure::Overtaken),
        }
    }
    assert!(stored.is_sorted_by_key(|(offset, _)| *offset));
    for node in &mut two {
        for (offset, words) in &stored {
            let heard = node.next("t").expect("no gap");
            assert_eq!(
                (heard.offset, &heard.message.payload[..]),
                (*offset, words.as_bytes())
            );
        }
    }
    two
}

#[test]
fn a_killed_leader_costs_no_message_and_no_order() {
    let mut servers = three();
    undisturbed(&mut servers, |servers| {
        let leader = leader(servers);
        servers[leader].kill();
    });
}

#[test]
fn a_follower_that_stops_and_goes_on_is_no_event() {
    let mut servers = three();
    undisturbed(&mut servers, |servers| {
        let leader = leader(servers);
        let follower = (leader + 1) % 3;
        servers[follower].signal("STOP");
        // Stored by the two others.
        let program = Program::new(&servers[leader]);
        for n in 0..200 {
            let ack = program.publish("fanfare.in.other", HeaderMap::new(), b"meanwhile");
            assert!(ack["error"].is_null(), "{n}: {ack}");
        }
        servers[follower].signal("CONT");
    });
}
