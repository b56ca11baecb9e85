//! Channels of apps with many members, or many of them: who joins is told of all of them.

use crate::apps::{Apps, Speaker};
use crate::common::eventually;

/// What each is told of the members of a channel, until it knows of all. Nobody is told twice.
fn hear_of_all(speakers: &mut [Speaker]) {
    let count = speakers.len();
    for (number, speaker) in speakers.iter_mut().enumerate() {
        let (mut all, mut is_in) = (Vec::new(), false);
        while !is_in || all.len() < count {
            let told = speaker.hear();
            if let Some((_, ids)) = told.split_once(r#"\"ids\":["#) {
                let (ids, _) = ids.split_once(']').unwrap();
                let ids = ids.split(',').map(|id| id.replace(['\\', '"'], ""));
                all.extend(ids);
                assert!(!std::mem::replace(&mut is_in, true), "it is let in once");
                continue;
            }
            let (_, user) = told.split_once(r#"\"user_id\":\""#).expect(&told);
            all.push(user.split_once('\\').unwrap().0.to_owned());
        }
        assert!(all.contains(&format!("u{number}")));
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count, "nobody is told twice");
        speaker.is_quiet();
    }
}

fn ask_to_join(speakers: &mut [Speaker], channel: &str) {
    for (number, speaker) in speakers.iter_mut().enumerate() {
        let wish = speaker.wish(channel, Some(&format!("u{number}")));
        speaker.say(&wish);
    }
}

#[test]
fn many_who_join_at_once_are_told_of_everybody_exactly_once_by_few_lists() {
    let apps = Apps::new("presence_members_max = 1000", "cores = 3");
    let mut speakers: Vec<_> = (0..100).map(|_| apps.connect()).collect();
    ask_to_join(&mut speakers, "presence-room");
    hear_of_all(&mut speakers);
    let written = apps.daemon().metric("fanfare_rosters_written_total");
    assert!((1..=60).contains(&written), "{written}");
    drop(speakers);
    eventually("the lists are gone", || {
        apps.daemon().metric("fanfare_rosters_bytes") == 0
    });
}

#[test]
fn who_joins_while_a_daemon_hands_over_is_let_in_by_one_of_the_two() {
    let mut apps = Apps::new("presence_members_max = 1000", "cores = 3");
    let mut speakers: Vec<_> = (0..60).map(|_| apps.connect()).collect();
    for time in 1..=2 {
        let channel = format!("presence-{time}");
        let (early, late) = speakers.split_at_mut(20);
        ask_to_join(early, &channel);
        let late = std::thread::scope(|threads| {
            let asks = threads.spawn(|| {
                for (number, speaker) in late.iter_mut().enumerate() {
                    let wish = speaker.wish(&channel, Some(&format!("u{}", number + 20)));
                    speaker.say(&wish);
                }
                late.len()
            });
            apps.world.daemon.hand_over(time);
            asks.join().unwrap()
        });
        assert_eq!(late, 40);
        hear_of_all(&mut speakers);
    }
}

#[test]
fn lists_that_nobody_waits_for_take_no_room_from_others() {
    let apps = Apps::new("", "rosters_bytes_max = \"64KiB\"");
    let user = "u".repeat(120);
    let mut speakers: Vec<_> = (0..4).map(|_| apps.connect()).collect();
    for round in 0..60 {
        for (number, speaker) in speakers.iter_mut().enumerate() {
            // Each member keeps the channel, and all their lists would take more than there is.
            let alone = speaker.join(&format!("presence-{number}-{round}"), &user);
            assert!(alone.starts_with(r#"{"count":1,"#), "{alone}");
        }
    }
}
