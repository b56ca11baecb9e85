//! What nodes tell each other over the servers.

use bytes::Bytes;
use fanfare::keeper::nats::{Answer, Event, News};

use crate::node::{Node, settings, topic};
use crate::server::Server;

fn named(server: &Server, name: &str) -> Node {
    let mut settings = settings(&[server]);
    settings.node = name.into();
    Node::back(settings)
}

fn wait_joined(node: &mut Node, wanted: &str) -> u64 {
    node.wait("Joined", |event| match event {
        Event::News(News::Joined { node, name }) if name == wanted => Some(*node),
        _ => None,
    })
}

fn wait_entry(node: &mut Node, wanted: &str) -> (u64, Option<Bytes>) {
    node.wait("Entry", |event| match event {
        Event::News(News::Entry {
            node, key, value, ..
        }) if key == wanted => Some((*node, value.clone())),
        _ => None,
    })
}

#[test]
fn who_is_on_a_topic_is_known_on_all_nodes_and_forgotten_with_its_node() {
    let server = Server::start();
    let one = named(&server, "one");
    let value = Some(Bytes::from_static(b"{}"));
    one.link.present(topic("t"), "anna".into(), value.clone());
    let mut two = named(&server, "two");
    let of_one = wait_joined(&mut two, "one");
    assert_eq!(of_one, one.link.incarnation());
    assert_eq!(wait_entry(&mut two, "anna"), (of_one, value.clone()));
    one.link.present(topic("t"), "ben".into(), value.clone());
    assert_eq!(wait_entry(&mut two, "ben"), (of_one, value));
    one.link.present(topic("t"), "anna".into(), None);
    assert_eq!(wait_entry(&mut two, "anna"), (of_one, None));
    drop(one);
    two.wait("Left", |event| match event {
        Event::News(News::Left { node, name }) if *node == of_one && name == "one" => Some(()),
        _ => None,
    });
}

#[test]
fn a_node_that_vanishes_is_forgotten() {
    let server = Server::start();
    // A node whose thread stops in its tracks says no goodbye.
    let gate = std::sync::Arc::new(std::sync::Mutex::new(()));
    let waits = std::sync::Arc::clone(&gate);
    let mut one = Node::with(settings(&[&server]), move |event| {
        if matches!(event, Event::Called(_)) {
            drop(waits.lock());
        }
    });
    one.wait_back();
    let mut two = named(&server, "two");
    wait_joined(&mut two, "node");
    let closed = gate.lock();
    two.link.call(1, Bytes::new(), 7);
    let missing = two.wait("Answered", |event| match event {
        Event::Answered {
            ticket: 7, missing, ..
        } => Some(missing.clone()),
        _ => None,
    });
    assert_eq!(missing, ["node"]);
    two.wait("Left", |event| {
        matches!(event, Event::News(News::Left { .. })).then_some(())
    });
    assert_eq!(two.link.counts().nodes_lost, 1);
    drop(closed);
    wait_joined(&mut two, "node");
}

#[test]
fn a_call_reaches_every_node_and_collects_their_answers() {
    let server = Server::start();
    let mut asking = named(&server, "asking");
    let mut others = ["one", "two"].map(|name| named(&server, name));
    for name in ["one", "two"] {
        wait_joined(&mut asking, name);
    }
    asking.link.call(3, Bytes::from_static(b"who?"), 5);
    for (node, name) in others.iter_mut().zip(["one", "two"]) {
        let call = node.wait("Called", |event| match event {
            Event::Called(call) => Some(call.clone()),
            _ => None,
        });
        assert_eq!(
            (call.kind, &call.bytes[..], call.from.as_str()),
            (3, &b"who?"[..], "asking")
        );
        node.link.reply(call, name.into());
    }
    let (mut answers, missing) = asking.wait("Answered", |event| match event {
        Event::Answered {
            ticket: 5,
            answers,
            missing,
        } => Some((answers.clone(), missing.clone())),
        _ => None,
    });
    answers.sort_by(|a, b| a.name.cmp(&b.name));
    let wanted = others
        .iter()
        .zip(["one", "two"])
        .map(|(node, name)| Answer {
            node: node.link.incarnation(),
            name: name.into(),
            bytes: name.into(),
        });
    assert_eq!(answers, wanted.collect::<Vec<_>>());
    assert!(missing.is_empty());
}
