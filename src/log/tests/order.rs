//! One order, exact look-ups, exact retention.

use std::thread;

use super::super::budget::Budget;
use super::super::slots::Base;
use super::*;

#[test]
fn any_position_and_offset_are_found_as_in_a_plain_list() {
    for seed in 0..rounds(12).into() {
        let mut random = Rng::with_seed(seed);
        let (topic, _) = topic();
        // Where each message begins; its offset is its index and one.
        let (mut starts, mut all) = (vec![0], Vec::new());
        for _ in 0..random.u32(1..rounds(400).max(2)) {
            let payload = random_payload(&mut random);
            let published = publish(&topic, &payload, &RETAIN_ALL);
            assert_eq!(published.offset, starts.len() as u64);
            assert_eq!(published.raw.start, all.len() as u64);
            all.extend(frame_of(&payload));
            assert_eq!(published.raw.end, all.len() as u64);
            starts.push(all.len() as u64);
        }
        let (mut window, _, _) = window(&topic, 1, &RETAIN_ALL);
        assert!(read(&mut window, 0) == all);
        for _ in 0..rounds(200) {
            let offset = random.usize(1..=starts.len());
            let start = topic.start(Format::Raw, Some(offset as u64), &RETAIN_ALL);
            let start = start.unwrap();
            assert_eq!(start.position, starts[offset - 1]);
            assert_eq!(start.offset, offset as u64);
            let mut reader = Window::new(start.segments);
            assert!(read(&mut reader, start.position) == all[start.position as usize..]);

            let near = random.choice(&starts).unwrap();
            let position = (near + random.u64(..3))
                .saturating_sub(1)
                .min(all.len() as u64);
            let next = starts.partition_point(|start| *start < position);
            assert_eq!(window.boundary(position), (starts[next], next as u64 + 1));
            let whole = starts[1..].partition_point(|end| *end <= position);
            assert_eq!(window.messages_before(position), whole as u64);
            let resumed = topic.resume(Format::Raw, position).unwrap();
            assert!(read(&mut Window::new(resumed.segments), position) == all[position as usize..]);
        }
    }
}

#[test]
fn offsets_may_skip_and_messages_are_counted_all_the_same() {
    for seed in 0..rounds(20).into() {
        let mut random = Rng::with_seed(seed);
        let (topic, _) = topic();
        // Offset and start of each message.
        let mut messages = vec![];
        for _ in 0..rounds(200).max(20) {
            let next = messages.last().map_or(1, |(offset, _)| offset + 1);
            // More than a slot can say, now and then.
            let skip = *random.choice(&[0, 0, 0, 1, 7, 1 << 33]).unwrap();
            let payload = random_payload(&mut random);
            let draft = Draft {
                offset: Some(next + skip),
                ..draft(0)
            };
            let published = publish_as(&topic, draft, &payload, &RETAIN_ALL).unwrap();
            assert_eq!(published.offset, next + skip);
            messages.push((next + skip, published.raw.start));
        }
        let head = publish(&topic, b"", &RETAIN_ALL).raw.start;
        let (mut window, position, _) = window(&topic, 1, &RETAIN_ALL);
        assert_eq!(position, 0);
        window.advance();
        for (number, (offset, position)) in messages.iter().enumerate() {
            assert_eq!(window.messages_before(*position), number as u64);
            for wanted in [offset.saturating_sub(1), *offset] {
                let known = messages.partition_point(|(offset, _)| *offset < wanted);
                let start = topic.start(Format::Raw, Some(wanted), &RETAIN_ALL);
                assert_eq!(start.unwrap().position, messages[known].1);
            }
            let (boundary, next) = window.boundary(*position);
            assert_eq!(boundary, *position);
            assert!(next <= *offset && (number == 0 || next > messages[number - 1].0));
        }
        assert_eq!(window.boundary(head).1, messages.last().unwrap().0 + 1);
        let retention = Retention {
            messages_max: 11,
            ..RETAIN_ALL
        };
        let first = topic.summary(&retention).first_offset;
        assert_eq!(first, messages[messages.len() - 10].0);
    }
}

#[test]
fn exactly_the_newest_messages_and_bytes_are_retained() {
    for seed in 0..rounds(30).into() {
        let mut random = Rng::with_seed(seed);
        let retention = Retention {
            messages_max: random.u64(..60),
            bytes_max: random.u64(..20_000),
            ..RETAIN_ALL
        };
        let (topic, arenas) = topic();
        let mut ends: Vec<u64> = vec![0];
        let mut largest = 0;
        for _ in 0..rounds(300) {
            let payload = random_payload(&mut random);
            largest = largest.max(payload.len());
            ends.push(publish(&topic, &payload, &retention).raw.end);
            let (newest, head) = (ends.len() as u64 - 1, ends[ends.len() - 1]);
            let by_messages = (newest + 1).saturating_sub(retention.messages_max).max(1);
            let by_bytes = ends
                .iter()
                .take_while(|end| **end + retention.bytes_max < head);
            let first = by_messages.max(by_bytes.count() as u64 + 1);
            assert_eq!(topic.summary(&retention).first_offset, first);
            let since = random.u64(..newest + 3);
            let start = topic.start(Format::Raw, Some(since), &retention).unwrap();
            let wanted = if since > newest + 1 {
                first
            } else {
                since.max(first)
            };
            assert_eq!(start.offset, wanted);
            assert_eq!(start.position, ends[start.offset as usize - 1]);
        }
        // Beyond what is retained, there are two segments at the most.
        let most = retention.bytes_max + 2 * (SEGMENT_BYTES_MAX + largest + 4096) as u64;
        assert!(arenas.held_bytes() <= most);
    }
}

#[test]
fn messages_go_exactly_when_they_are_too_old() {
    let retention = Retention {
        age_ms_max: 10_000,
        ..RETAIN_ALL
    };
    let (topic, arenas) = topic();
    let end_ms = if cfg!(miri) { 10_300 } else { 50_000 };
    let step_ms = if cfg!(miri) { 300 } else { 10 };
    for now_ms in (0..end_ms).step_by(step_ms) {
        publish_at(&topic, &[1; 100], now_ms, &retention).unwrap();
        assert!(!topic.expire(now_ms, &retention));
        // Message n came at `step_ms` * (n - 1).
        let first = topic.summary(&retention).first_offset;
        let oldest = now_ms.saturating_sub(10_000).div_ceil(step_ms as u64);
        assert_eq!(first, oldest + 1);
    }
    let last_ms = (end_ms - 1) / step_ms as u64 * step_ms as u64;
    assert!(!topic.expire(last_ms + 10_000, &retention));
    assert!(
        topic.expire(last_ms + 10_001, &retention),
        "nothing is left"
    );
    assert_eq!(arenas.held_bytes(), 0);
    // Offsets go on where they were.
    let next = last_ms / step_ms as u64 + 2;
    assert_eq!(topic.summary(&retention).first_offset, next);
    assert_eq!(publish(&topic, b"on", &retention).offset, next);
    let (mut window, position, _) = window(&topic, 0, &retention);
    assert_eq!(read(&mut window, position), frame_of(b"on"));
}

#[test]
fn a_clock_that_is_set_back_does_not_set_messages_back() {
    let (topic, _) = topic();
    assert_eq!(
        publish_at(&topic, b"a", 5_000, &RETAIN_ALL)
            .unwrap()
            .time_ms,
        5_000
    );
    assert_eq!(
        publish_at(&topic, b"b", 1_000, &RETAIN_ALL)
            .unwrap()
            .time_ms,
        5_000
    );
    // Longer than a slot can say.
    let late = 5_000 + (1 << 40);
    assert_eq!(
        publish_at(&topic, b"c", late, &RETAIN_ALL).unwrap().time_ms,
        late
    );
    let retention = Retention {
        age_ms_max: 10,
        ..RETAIN_ALL
    };
    assert!(!topic.expire(late + 10, &retention));
    assert_eq!(topic.summary(&retention).first_offset, 3);
}

#[test]
fn what_the_payload_writer_refuses_leaves_nothing_behind() {
    let mut random = Rng::with_seed(1);
    let (topic, _) = topic();
    let _reader = topic.attach(SMALL).unwrap();
    let (mut window, _, _) = window(&topic, 1, &RETAIN_ALL);
    let mut all = Vec::new();
    for _ in 0..rounds(300) {
        let refused = random_payload(&mut random);
        let outcome = topic.publish(&draft(refused.len()), &RETAIN_ALL, &mut Plain, |room| {
            room.fill(0xff);
            Err("no")
        });
        assert_eq!(outcome, Err(AppendError::Payload("no")));
        assert!(read(&mut window, 0) == all);
        let payload = random_payload(&mut random);
        publish(&topic, &payload, &RETAIN_ALL);
        all.extend(frame_of(&payload));
    }
    assert!(read(&mut window, 0) == all);
    assert_eq!(
        window.messages_before(all.len() as u64),
        u64::from(rounds(300))
    );
}

#[test]
fn a_window_holds_what_it_needs_and_can_reach_back() {
    let (topic, _) = topic();
    for n in 0..2000u32 {
        publish(&topic, &n.to_be_bytes().repeat(100), &RETAIN_ALL);
    }
    let (mut late, position, offset) = window(&topic, 1900, &RETAIN_ALL);
    assert_eq!(offset, 1900);
    let tail = read(&mut late, position);
    late.release(late.end());
    assert_eq!(late.segments(), 1);
    let early = topic.start(Format::Raw, Some(10), &RETAIN_ALL).unwrap();
    late.reach_back(early.segments);
    let all = read(&mut late, early.position);
    assert!(all.ends_with(&tail));
    assert_eq!(late.messages_before(late.end()), 2000);
    assert_eq!(late.boundary(early.position).1, 10);
    assert!(late.pinned_bytes(early.position) > late.pinned_bytes(position));
    assert_eq!(late.pinned_bytes(late.end()), 0);
    let segments = late.segments();
    late.release(position);
    assert!(late.segments() < segments && late.start() <= position);
    assert!(read(&mut late, position) == tail);
}

#[test]
fn a_chain_of_very_many_segments_is_dropped_without_recursion() {
    let budget = Budget::new(Arenas::new());
    let base = Base {
        start: 0,
        before: 0,
        first_offset: 1,
        time_ms: 0,
    };
    let first = Arc::new(Segment::mark(base, budget.clone()));
    let mut last = first.clone();
    for _ in 0..rounds(300_000) {
        let next = Arc::new(Segment::mark(base, budget.clone()));
        last.link(next.clone());
        last = next;
    }
    drop(last);
    assert_eq!(Arc::strong_count(&budget), 2 + rounds(300_000) as usize);
    drop(first);
    assert_eq!(Arc::strong_count(&budget), 1);
}

#[test]
fn readers_on_other_threads_see_whole_messages_in_one_order() {
    const EACH: u32 = rounds(3000);
    let (topic, _) = topic();
    let read_all = || {
        let (mut window, mut position, _) = window(&topic, 1, &RETAIN_ALL);
        let mut order = Vec::new();
        while order.len() < 3 * EACH as usize {
            let bytes = read(&mut window, position);
            position += bytes.len() as u64;
            window.release(position);
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let len = frame::server_frame_len(rest).unwrap();
                let (message, after) = rest.split_at(len);
                let payload = &message[frame::header_len(message.len() - 4)..];
                let words = payload[payload.len() % 5..].chunks_exact(5);
                let first = words.clone().next().unwrap();
                assert!(words.clone().all(|word| word == first), "torn");
                order.push(<[u8; 5]>::try_from(first).unwrap());
                rest = after;
            }
            assert_eq!(window.messages_before(position), order.len() as u64);
        }
        order
    };
    let orders = thread::scope(|scope| {
        let readers: Vec<_> = (0..3).map(|_| scope.spawn(read_all)).collect();
        for writer in 0..3u8 {
            let topic = &topic;
            scope.spawn(move || {
                for n in 0..EACH {
                    let word = [&[writer][..], &n.to_be_bytes()].concat();
                    publish(topic, &word.repeat(1 + n as usize % 20), &RETAIN_ALL);
                }
            });
        }
        readers
            .into_iter()
            .map(|reader| reader.join().unwrap())
            .collect::<Vec<_>>()
    });
    assert!(orders.iter().all(|order| *order == orders[0]));
    for writer in 0..3 {
        let own = orders[0].iter().filter(|word| word[0] == writer);
        let numbers = own.map(|word| u32::from_be_bytes(*word.last_chunk().unwrap()));
        assert!(numbers.eq(0..EACH));
    }
}
