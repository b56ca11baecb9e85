//! What is wrong is named: streams that will not do, limits, settings.

use fanfare::keeper::nats::{Failure, Fault, Limits, StreamFault};
use serde_json::{Value, json};

use crate::node::{Node, proposal, settings};
use crate::server::{Program, Server};

/// The configuration of the stream that a node made.
fn config(program: &Program) -> Value {
    program.api("STREAM.INFO.FANFARE", Value::Null)["config"].clone()
}

#[test]
fn the_stream_is_made_with_the_limits_of_the_settings() {
    let server = Server::start();
    let mut limited = settings(&[&server]);
    limited.limits = Limits {
        topic_messages: 123,
        bytes: 1 << 20,
        age_ms: 600_000,
    };
    Node::back(limited);
    let config = config(&Program::new(&server));
    assert_eq!(config["max_msgs_per_subject"], 123);
    assert_eq!(config["max_bytes"], 1 << 20);
    assert_eq!(config["max_age"], 600_000_000_000_u64);
    assert_eq!(config["discard"], "new");
    assert_eq!(config["duplicate_window"], 300_000_000_000_u64);
}

#[test]
fn a_full_stream_refuses_what_is_proposed() {
    let server = Server::start();
    let mut small = settings(&[&server]);
    small.limits.bytes = 64 << 10;
    let mut node = Node::back(small);
    for ticket in 0..100 {
        node.propose(ticket, &format!("t{ticket}"), vec![b'x'; 1000]);
    }
    node.stored(0);
    assert_eq!(node.failed(99), Failure::Full);
    assert!(node.link.counts().failed_full > 0);
}

#[test]
fn what_is_too_large_or_too_much_is_refused_at_once() {
    let server = Server::start();
    let mut small = settings(&[&server]);
    (small.message_bytes_max, small.proposed_bytes_max) = (1000, 4000);
    let mut node = Node::start(small);
    let propose = |node: &Node, ticket, bytes| {
        let words = vec![b'x'; bytes];
        node.link.propose(proposal(ticket, "t", words)).err()
    };
    assert_eq!(propose(&node, 1, 1001), Some(Failure::TooLarge));
    assert_eq!(propose(&node, 2, 1000), None);
    // A proposal counts until it is stored.
    let mut ticket = 3;
    while propose(&node, ticket, 1000).is_none() {
        ticket += 1;
    }
    assert_eq!(propose(&node, ticket, 1000), Some(Failure::NoRoom));
    for ticket in 2..ticket {
        node.stored(ticket);
    }
    assert_eq!(node.link.room(), 4000);
    assert_eq!(propose(&node, 100, 1000), None);
    node.stored(100);
}

#[test]
fn an_existing_stream_is_used_and_gets_an_epoch() {
    let server = Server::start();
    let program = Program::new(&server);
    drop(Node::back(settings(&[&server])));
    let mut config = config(&program);
    program.api("STREAM.DELETE.FANFARE", Value::Null);
    config["metadata"] = json!({ "team": "blue" });
    config["max_age"] = json!(0);
    program.api("STREAM.CREATE.FANFARE", config);
    let mut node = Node::back(settings(&[&server]));
    let (.., epoch) = node.follow("t", None);
    let config = self::config(&program);
    assert_eq!(config["metadata"]["team"], "blue");
    assert_eq!(config["metadata"]["fanfare-epoch"], format!("{epoch:016x}"));
    // Another node, and this one started again, find the same.
    assert_eq!(Node::back(settings(&[&server])).follow("t", None).2, epoch);
}

#[test]
fn a_stream_that_will_not_do_is_refused_by_name() {
    let server = Server::start();
    let program = Program::new(&server);
    drop(Node::back(settings(&[&server])));
    let good = config(&program);
    let refused = |path: &str, value: Value| {
        program.api("STREAM.DELETE.FANFARE", Value::Null);
        let mut config = good.clone();
        *config.pointer_mut(path).expect("it is there") = value;
        let made = program.api("STREAM.CREATE.FANFARE", config);
        assert!(made["error"].is_null(), "{made}");
        let mut node = Node::start(settings(&[&server]));
        loop {
            match node.wait_away() {
                Fault::Stream(fault) => return fault,
                Fault::Disconnected => {}
                other => panic!("{other}"),
            }
        }
    };
    let fault = refused("/republish", Value::Null);
    assert!(matches!(fault, StreamFault::Republish { .. }), "{fault}");
    let fault = refused("/allow_direct", json!(false));
    assert!(matches!(fault, StreamFault::Direct { .. }), "{fault}");
    let fault = refused("/duplicate_window", json!(120_000_000_000_u64));
    assert!(matches!(fault, StreamFault::Duplicates { .. }), "{fault}");
    let fault = refused("/metadata/fanfare-streams", json!("4"));
    assert!(matches!(fault, StreamFault::Streams { .. }), "{fault}");
}

#[test]
fn a_rule_that_asks_for_more_than_the_stream_keeps_is_refused() {
    let server = Server::start();
    let mut wanting = settings(&[&server]);
    wanting.limits.topic_messages = 100;
    drop(Node::back(wanting.clone()));
    wanting.wanted.topic_messages = 101;
    let mut node = Node::start(wanting);
    let fault = loop {
        match node.wait_away() {
            Fault::Disconnected => {}
            other => break other.to_string(),
        }
    };
    assert!(fault.contains("100 messages of a topic"), "{fault}");
}

#[test]
fn a_server_whose_max_payload_is_too_small_is_named() {
    let server = Server::with("max_payload: 32KB");
    let mut node = Node::start(settings(&[&server]));
    let fault = loop {
        match node.wait_away() {
            Fault::Disconnected => {}
            other => break other,
        }
    };
    let wrong = Fault::Stream(StreamFault::Payload {
        found: 32 << 10,
        wanted: (64 << 10) + (16 << 10),
    });
    assert_eq!(fault, wrong);
}

#[test]
fn a_server_without_jetstream_is_named_and_mended() {
    let mut server = Server::with("");
    let conf = server.folder.path().join("conf");
    let whole = std::fs::read_to_string(&conf).expect("it is there");
    server.kill();
    let without = whole.lines().filter(|line| !line.starts_with("jetstream"));
    std::fs::write(&conf, without.collect::<Vec<_>>().join("\n")).expect("a file");
    server.run();
    let mut node = Node::start(settings(&[&server]));
    loop {
        match node.wait_away() {
            Fault::Disconnected => {}
            Fault::JetStream(_) => break,
            other => panic!("{other}"),
        }
    }
    server.kill();
    std::fs::write(&conf, whole).expect("a file");
    server.run();
    node.wait_back();
}
