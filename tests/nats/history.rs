//! What a reader that comes late gets.

use fanfare::keeper::nats::{Committed, Event, Page};

use crate::node::{Node, settings, topic};
use crate::server::Server;

fn page(node: &mut Node, name: &str, since: u64, limit: usize) -> (Vec<Committed>, bool) {
    node.link.history(topic(name), since, limit, since);
    let (messages, more, _) = found(node, since);
    (messages, more)
}

/// A page that was asked for with this ticket, whether there is more, and how much behind it.
fn found(node: &mut Node, wanted: u64) -> (Vec<Committed>, bool, u64) {
    node.wait("History", |event| match event {
        Event::History {
            ticket,
            page:
                Page::Found {
                    messages,
                    more,
                    pending,
                    ..
                },
        } if *ticket == wanted => Some((messages.clone(), *more, *pending)),
        _ => None,
    })
}

fn before(node: &mut Node, name: &str, before: u64, limit: usize) -> (Vec<Committed>, bool, u64) {
    node.link.history_before(topic(name), before, limit, before);
    found(node, before)
}

fn oldest_of_newest(node: &mut Node, name: &str, count: u64) -> u64 {
    node.link.oldest_of_newest(topic(name), count, count);
    let offset = node.wait("Oldest", |event| match event {
        Event::Oldest { ticket, offset } if *ticket == count => Some(*offset),
        _ => None,
    });
    offset.expect("an answer")
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
fn a_page_says_how_much_is_behind_it() {
    let server = Server::start();
    let mut node = Node::back(settings(&[&server]));
    for ticket in 0..10 {
        node.propose(ticket, "t", format!("{ticket}"));
    }
    let offsets: Vec<u64> = (0..10).map(|ticket| node.stored(ticket).0).collect();
    let pending = |node: &mut Node, since, limit| {
        node.link.history(topic("t"), since, limit, since);
        let (messages, more, pending) = found(node, since);
        (messages.len(), more, pending)
    };
    assert_eq!(pending(&mut node, 0, 4), (4, true, 6));
    assert_eq!(pending(&mut node, offsets[0], 1), (1, true, 8));
    assert_eq!(pending(&mut node, offsets[4], 100), (5, false, 0));
    assert_eq!(pending(&mut node, offsets[9], 100), (0, false, 0));
}

#[test]
fn history_backward_comes_in_pages_without_a_hole() {
    let server = Server::start();
    let mut node = Node::back(settings(&[&server]));
    // One topic's messages come in bursts between those of others.
    for ticket in 0..400 {
        node.propose(ticket, "t", format!("{ticket}"));
        if ticket % 50 == 0 {
            (0..100).for_each(|n| node.propose(1000 + 100 * ticket + n, "other", "x"));
        }
    }
    let offsets: Vec<u64> = (0..400).map(|ticket| node.stored(ticket).0).collect();
    for (from, limit) in [(u64::MAX, 37), (offsets[399], 100), (offsets[100] + 1, 1)] {
        let mut at = from;
        let mut all = Vec::new();
        let expected = offsets.iter().filter(|offset| **offset < from).count();
        loop {
            let (messages, more, pending) = before(&mut node, "t", at, limit);
            assert_eq!(pending, (400 - expected + all.len()) as u64);
            assert!(messages.len() <= limit && !messages.is_empty());
            at = messages[0].offset;
            all.splice(0..0, words(&messages));
            if !more {
                break;
            }
        }
        assert_eq!(
            all,
            (0..expected).map(|n| n.to_string()).collect::<Vec<_>>()
        );
    }
    let (messages, more, pending) = before(&mut node, "t", offsets[0], 10);
    assert!(messages.is_empty() && !more && pending == 400);
    let (messages, more, pending) = before(&mut node, "nothing here", 7, 10);
    assert!(messages.is_empty() && !more && pending == 0);
}

#[test]
fn a_page_backward_of_long_messages_has_fewer() {
    let server = Server::start();
    let mut node = Node::back(settings(&[&server]));
    let long = vec![b'x'; 60 << 10];
    for ticket in 0..60 {
        node.propose(ticket, "t", long.clone());
    }
    let offsets: Vec<u64> = (0..60).map(|ticket| node.stored(ticket).0).collect();
    let mut at = u64::MAX;
    let mut all = Vec::new();
    loop {
        let (messages, more, _) = before(&mut node, "t", at, 1000);
        assert!(messages.len() < 20 && !messages.is_empty());
        at = messages[0].offset;
        all.splice(0..0, messages.iter().map(|it| it.offset));
        if !more {
            break;
        }
    }
    assert_eq!(all, offsets);
}

#[test]
fn the_oldest_of_the_newest_messages_is_found() {
    let server = Server::start();
    let mut node = Node::back(settings(&[&server]));
    for ticket in 0..300 {
        node.propose(ticket, "t", "x");
        (0..ticket % 7).for_each(|n| node.propose(1000 + 10 * ticket + n, "other", "x"));
    }
    let offsets: Vec<u64> = (0..300).map(|ticket| node.stored(ticket).0).collect();
    for count in [1, 2, 17, 150, 299, 300] {
        let oldest = oldest_of_newest(&mut node, "t", count);
        assert_eq!(oldest, offsets[300 - count as usize], "{count}");
    }
    assert_eq!(oldest_of_newest(&mut node, "t", 1_000_000), offsets[0]);
    assert_eq!(oldest_of_newest(&mut node, "nothing here", 5), 0);
}

#[test]
fn what_is_stored_is_told_with_the_epoch_of_its_offset() {
    let server = Server::start();
    let mut node = Node::back(settings(&[&server]));
    let (.., followed) = node.follow("t", None);
    node.propose(1, "t", "x");
    let epoch = node.wait("Stored", |event| match event {
        Event::Stored {
            ticket: 1, epoch, ..
        } => Some(*epoch),
        _ => None,
    });
    assert_eq!(epoch, followed);
}

#[test]
fn history_that_is_asked_for_while_nats_is_away_gets_an_answer_in_time() {
    let mut server = Server::start();
    let mut hasty = settings(&[&server]);
    hasty.propose_ms_max = 300;
    let mut node = Node::back(hasty);
    server.kill();
    node.wait_away();
    node.link.history(topic("t"), 0, 10, 1);
    node.link.oldest_of_newest(topic("t"), 10, 2);
    node.wait("no page", |event| match event {
        Event::History {
            ticket: 1,
            page: Page::Failed,
        } => Some(()),
        _ => None,
    });
    node.wait("no place", |event| match event {
        Event::Oldest {
            ticket: 2,
            offset: None,
        } => Some(()),
        _ => None,
    });
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
