//! What a reader that comes late gets.

use fanfare::keeper::nats::{Committed, Event, Page};

use crate::node::{Node, settings, topic};
use crate::server::Server;

fn page(node: &mut Node, name: &str, since: u64, limit: usize) -> (Vec<Committed>, bool) {
    node.link.history(topic(name), since, limit, since);
    node.wait("History", |event| match event {
        Event::History {
            ticket,
            page: Page::Found { messages, more },
        } if *ticket == since => Some((messages.clone(), *more)),
        _ => None,
    })
}

fn words(messages: &[Committed]) -> Vec<String> {
    let payloads = messages.iter().map(|it| &it.message.payload);
    payloads
        .map(|it| String::from_utf8_lossy(it).into_owned())
        .collect()
}

#[test]
fn history_comes_in_pages() {
    let server = Server::start();
    let mut node = Node::back(settings(&[&server]));
    for ticket in 0..250 {
        node.propose(ticket, "t", format!("{ticket}"));
        node.propose(1000 + ticket, "other", "x");
    }
    let offsets: Vec<u64> = (0..250).map(|ticket| node.stored(ticket).0).collect();
    let (mut since, mut all, mut pages) = (0, Vec::new(), 0);
    loop {
        let (messages, more) = page(&mut node, "t", since, 100);
        all.extend(words(&messages));
        pages += 1;
        since = messages.last().map_or(since, |last| last.offset);
        if !more {
            break;
        }
    }
    assert_eq!(all, (0..250).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!((pages, since), (3, offsets[249]));
    let (messages, more) = page(&mut node, "t", offsets[248], 100);
    assert_eq!((words(&messages), more), (vec!["249".to_owned()], false));
    let (messages, more) = page(&mut node, "nothing here", 0, 100);
    assert!(messages.is_empty() && !more);
}

#[test]
fn a_reader_resumes_on_another_node_with_nothing_lost_or_doubled() {
    let server = Server::start();
    let mut one = Node::back(settings(&[&server]));
    let (.., epoch) = one.follow("t", None);
    for ticket in 0..300 {
        one.propose(ticket, "t", format!("{ticket}"));
    }
    let offsets: Vec<u64> = (0..300).map(|ticket| one.stored(ticket).0).collect();
    let mut two = Node::back(settings(&[&server]));
    assert_eq!(
        two.follow("t", Some(offsets[9])),
        (offsets[9], offsets[299], epoch)
    );
    for ticket in 300..400 {
        one.propose(ticket, "t", format!("{ticket}"));
    }
    for n in 10..400 {
        assert_eq!(two.words("t"), n.to_string());
    }
}

#[test]
fn what_a_topic_no_longer_keeps_is_told_as_a_gap() {
    let server = Server::start();
    let mut few = settings(&[&server]);
    few.limits.topic_messages = 10;
    let mut node = Node::back(few);
    for ticket in 0..50 {
        node.propose(ticket, "t", format!("{ticket}"));
    }
    let offsets: Vec<u64> = (0..50).map(|ticket| node.stored(ticket).0).collect();
    node.follow("t", Some(offsets[4]));
    assert_eq!(
        node.next("t").err(),
        Some((offsets[4] + 1, offsets[40] - 1))
    );
    assert_eq!(node.words("t"), "40");
    // From one that is still there, nothing is missing.
    let mut other = Node::back(settings(&[&server]));
    other.follow("t", Some(offsets[45]));
    assert_eq!(other.words("t"), "46");
}

#[test]
fn many_topics_are_followed_with_few_subscriptions() {
    let server = Server::start();
    let mut node = Node::back(settings(&[&server]));
    let names: Vec<String> = (0..3000).map(|n| format!("room/{n}")).collect();
    for name in &names {
        node.link.follow(topic(name), None);
    }
    for name in &names {
        node.following(name);
    }
    for (ticket, name) in names.iter().enumerate() {
        node.propose(ticket as u64, name, name.clone());
    }
    for name in &names {
        assert_eq!(node.words(name), *name);
    }
}
