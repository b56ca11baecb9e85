//! A topic goes from one process to the next, any number of times.

#![cfg(not(miri))]

use super::*;

pub(super) fn inherited(from: &Arenas) -> Arc<Arenas> {
    let arenas = Arenas::new();
    arenas.inherit(from.files().unwrap()).unwrap();
    arenas
}

/// The topics in another process, in which nobody has changed anything.
fn handed_over(topic: &Topic, arenas: &Arenas) -> (Arc<Topic>, Arc<Arenas>) {
    let bytes = postcard::to_stdvec(&topic.save()).unwrap();
    let saved = postcard::from_bytes(&bytes).unwrap();
    let arenas = inherited(arenas);
    let topic = Topic::restore(&saved, 1, arenas.clone()).unwrap();
    (Arc::new(topic), arenas)
}

#[test]
fn saved_and_restored_any_number_of_times_it_is_all_there() {
    for seed in 0..20 {
        let mut random = Rng::with_seed(seed);
        let (mut topic, mut arenas) = topic();
        let mut all: Vec<(u64, Vec<u8>)> = Vec::new();
        for _ in 0..random.usize(1..5) {
            let (_, interest) = topic.attach(SMALL).unwrap();
            for _ in 0..random.u32(..200) {
                let payload = random_payload(&mut random);
                let info = vec![1; random.usize(..600)];
                let extras = Extras {
                    info: &info,
                    ..Extras::default()
                };
                let next = topic.summary(&RETAIN_ALL).offset + 1;
                let draft = Draft {
                    offset: Some(next + random.u64(..2)),
                    extras: random.bool().then_some(extras),
                    ..draft(0)
                };
                let offset = publish_as(&topic, draft, &payload, &RETAIN_ALL)
                    .unwrap()
                    .offset;
                all.push((offset, frame_of(&payload)));
            }
            let cursor = match random.choice(&all) {
                Some((offset, _)) => *offset,
                None => 1,
            };
            let (_, position, _) = window(&topic, cursor, &RETAIN_ALL);
            let small = topic.start(SMALL, None, &RETAIN_ALL).unwrap().position;
            let held = arenas.held_bytes();
            let (new, new_arenas) = handed_over(&topic, &arenas);
            assert_eq!(new_arenas.held_bytes(), held);
            assert_eq!(new.save(), topic.save());
            // The old process goes, without a word to the files.
            drop((interest, topic, arenas));
            new_arenas.own();
            (topic, arenas) = (new, new_arenas);
            assert_eq!(topic.epoch(), 7);
            let resumed = topic.resume(Format::Raw, position).unwrap();
            let rest = all.iter().filter(|(offset, _)| *offset >= cursor);
            let rest: Vec<u8> = rest.flat_map(|(_, frame)| frame.clone()).collect();
            assert!(read(&mut Window::new(resumed.segments), position) == rest);
            assert_eq!(topic.attach(SMALL).unwrap().0, SMALL);
            assert!(topic.resume(SMALL, small).is_some());
            assert!(topic.resume(Format::Raw, 1 << 40).is_none());
            arenas.tidy();
        }
        drop(topic);
        assert_eq!(arenas.held_bytes(), 0);
    }
}

#[test]
fn what_only_a_reader_holds_is_saved_by_its_links_to_the_tail() {
    let retention = Retention {
        messages_max: 1,
        ..RETAIN_ALL
    };
    let (topic, arenas) = topic();
    let (mut slow, position, _) = window(&topic, 1, &retention);
    // It has not looked since, so it knows none of the segments between.
    let mut all = Vec::new();
    for number in 0..3000u32 {
        let payload = number.to_le_bytes().repeat(256);
        publish(&topic, &payload, &retention);
        all.extend(frame_of(&payload));
    }
    let (new, new_arenas) = handed_over(&topic, &arenas);
    let resumed = new.resume(Format::Raw, position).unwrap();
    assert!(read(&mut Window::new(resumed.segments), position) == all);
    assert!(read(&mut slow, position) == all);
    // Nobody holds it there any more: it goes as history does.
    new_arenas.own();
    publish(&new, b"next", &retention);
    assert!(new_arenas.held_bytes() < 3 << 20);
}

#[test]
fn a_failed_successor_has_changed_nothing() {
    let (topic, arenas) = topic();
    let mut all = Vec::new();
    for number in 0..100u8 {
        publish(&topic, &[number; 10_000], &RETAIN_ALL);
        all.extend(frame_of(&[number; 10_000]));
    }
    let (new, new_arenas) = handed_over(&topic, &arenas);
    let none = Retention {
        messages_max: 0,
        ..RETAIN_ALL
    };
    assert!(new.expire(1, &none));
    publish(&new, &[0; 100_000], &none);
    new_arenas.tidy();
    drop((new, new_arenas));
    arenas.own();
    let (mut window, position, _) = window(&topic, 1, &RETAIN_ALL);
    assert!(read(&mut window, position) == all);
}

#[test]
fn what_is_damaged_is_refused() {
    let (topic, arenas) = topic();
    let (_, _interest) = topic.attach(SMALL).unwrap();
    let extras = Extras {
        event: Some("e"),
        ..Extras::default()
    };
    for number in 0..200 {
        let draft = Draft {
            extras: (number % 7 == 0).then_some(extras),
            now_ms: number,
            ..draft(0)
        };
        publish_as(&topic, draft, &[1; 300], &RETAIN_ALL).unwrap();
    }
    let bytes = postcard::to_stdvec(&topic.save()).unwrap();
    let mut random = Rng::with_seed(1);
    let (mut refused, mut taken) = (0, 0);
    for _ in 0..3000 {
        let mut bytes = bytes.clone();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(..bytes.len());
            bytes[at] = random.u8(..);
        }
        let Ok(saved) = postcard::from_bytes::<SavedTopic>(&bytes) else {
            continue;
        };
        let inherited = super::saved::inherited(&arenas);
        match Topic::restore(&saved, 1, inherited.clone()) {
            None => refused += 1,
            // It differs in what nobody can check, but all of it can be read.
            Some(topic) => {
                taken += 1;
                let raw = topic.start(Format::Raw, Some(0), &RETAIN_ALL).unwrap();
                read(&mut Window::new(raw.segments), raw.position);
                topic.expire(1, &RETAIN_ALL);
                topic.shed(0);
            }
        }
        assert_eq!(inherited.held_bytes(), 0, "all is given back");
    }
    assert!(
        refused > 100 && taken > 0,
        "{refused} refused, {taken} taken"
    );
}

#[test]
fn a_file_that_is_no_arena_is_refused() {
    let file = tempfile::tempfile().unwrap();
    file.set_len(4096).unwrap();
    let arenas = Arenas::new();
    let refused = arenas.inherit(vec![file.into()]).unwrap_err();
    assert_eq!(refused, "a file of the log's memory can be cut short");
    arenas.inherit(Vec::new()).unwrap();
    let topic = Topic::new("t".into(), 7, 1, arenas.clone());
    publish(&topic, b"x", &RETAIN_ALL);
    assert!(arenas.inherit(Vec::new()).is_err(), "it is too late");
}
