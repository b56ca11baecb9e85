//! The log as a whole, against a plain list of messages.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use fastrand::Rng;

use super::segment::{Budget, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
use super::*;
use crate::protocol::ws::Opcode;
use crate::protocol::ws::frame;

const RETAIN_ALL: Retention = Retention {
    messages_max: u64::MAX,
    bytes_max: u64::MAX,
    age_ms_max: u64::MAX,
    bounds: Bounds {
        log_bytes_max: u64::MAX,
        log_bytes_total_max: u64::MAX,
    },
};

/// Under Miri, which is hundreds of times slower, a few rounds will do.
const fn rounds(count: u32) -> u32 {
    if cfg!(miri) {
        count.div_ceil(100)
    } else {
        count
    }
}

fn topic() -> (Topic, Arc<AtomicU64>) {
    let total = Arc::new(AtomicU64::new(0));
    (Topic::new("t".into(), 7, 1, total.clone()), total)
}

fn publish_at(
    topic: &Topic,
    payload: &[u8],
    now_ms: u64,
    retention: &Retention,
) -> Result<Published, AppendError<Infallible>> {
    topic.publish(
        Opcode::Binary,
        payload.len(),
        now_ms,
        retention,
        None,
        |room| {
            room.copy_from_slice(payload);
            Ok(())
        },
    )
}

fn publish(topic: &Topic, payload: &[u8], retention: &Retention) -> Published {
    publish_at(topic, payload, 0, retention).unwrap()
}

/// The frame of a message, as everyone is to read it.
fn frame_of(payload: &[u8]) -> Vec<u8> {
    let mut header = [0; 10];
    let len = frame::encode(&mut header, Opcode::Binary, false, payload.len());
    [&header[..len], payload].concat()
}

fn window(topic: &Topic, since: u64, retention: &Retention) -> (Window, u64, u64) {
    let start = topic.start(ViewKind::Raw, Some(since), retention);
    (Window::new(start.segments), start.position, start.offset)
}

/// All bytes from `position` to the present end.
fn read(window: &mut Window, mut position: u64) -> Vec<u8> {
    let end = window.advance();
    let mut bytes = Vec::new();
    while position < end {
        let run = window.slice(position, end);
        assert!(run.len > 0, "a run leads on");
        bytes.extend_from_slice(run.as_bytes());
        position += u64::from(run.len);
    }
    bytes
}

/// Lengths that lie around everything that matters.
fn random_payload(random: &mut Rng) -> Vec<u8> {
    let len = match random.u8(..8) {
        0 => random.usize(..4),
        1 => random.usize(120..130),
        2 => random.usize(4090..4100),
        3 => random.usize(SEGMENT_BYTES_MIN - 20..SEGMENT_BYTES_MIN + 20),
        4 if random.u8(..20) == 0 => random.usize(SEGMENT_BYTES_MAX - 20..SEGMENT_BYTES_MAX + 99),
        4 => random.usize(65_530..65_545),
        _ => random.usize(..300),
    };
    vec![random.u8(..); len]
}

#[test]
fn any_position_and_offset_are_found_as_in_a_plain_list() {
    for seed in 0..rounds(12).into() {
        let mut random = Rng::with_seed(seed);
        let (topic, _) = topic();
        // Where each message begins; its offset is its index and one.
        let (mut starts, mut all) = (vec![0], Vec::new());
        for _ in 0..random.u32(1..rounds(400)) {
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
        for _ in 0..200 {
            let offset = random.usize(1..=starts.len());
            let start = topic.start(ViewKind::Raw, Some(offset as u64), &RETAIN_ALL);
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
        }
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
        let (topic, total) = topic();
        let mut ends: Vec<u64> = vec![0];
        let mut largest = 0;
        for _ in 0..300 {
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
            let start = topic.start(ViewKind::Raw, Some(since), &retention);
            let wanted = if since > newest + 1 {
                first
            } else {
                since.max(first)
            };
            assert_eq!(start.offset, wanted);
            assert_eq!(start.position, ends[start.offset as usize - 1]);
        }
        // Beyond what is retained, there are two segments at the most.
        let held = total.load(Ordering::Relaxed);
        assert!(held <= retention.bytes_max + 2 * (SEGMENT_BYTES_MAX + largest) as u64);
    }
}

#[test]
fn messages_go_by_age_within_a_hundredth_of_it() {
    let retention = Retention {
        age_ms_max: 10_000,
        ..RETAIN_ALL
    };
    let (topic, total) = topic();
    for now_ms in (0..50_000).step_by(10) {
        publish_at(&topic, &[0; 100], now_ms, &retention).unwrap();
        assert!(!topic.expire(now_ms, &retention));
        // Message n came at 10 * (n - 1).
        let first = topic.summary(&retention).first_offset;
        let age_ms = now_ms - 10 * (first - 1);
        assert!(age_ms <= 10_200, "{age_ms}");
        assert!(first == 1 || age_ms >= 9_900, "{age_ms}");
    }
    assert!(total.load(Ordering::Relaxed) > SEGMENT_BYTES_MIN as u64);
    assert!(!topic.expire(59_000, &retention));
    assert!(topic.expire(60_100, &retention), "nothing is left");
    assert_eq!(total.load(Ordering::Relaxed), SEGMENT_BYTES_MIN as u64);
    // Offsets go on where they were.
    assert_eq!(topic.summary(&retention).first_offset, 5001);
    assert_eq!(publish(&topic, b"on", &retention).offset, 5001);
    let (mut window, position, _) = window(&topic, 0, &retention);
    assert_eq!(read(&mut window, position), frame_of(b"on"));
}

#[test]
fn what_the_payload_writer_refuses_leaves_nothing_behind() {
    let mut random = Rng::with_seed(1);
    let (topic, _) = topic();
    let (mut window, _, _) = window(&topic, 1, &RETAIN_ALL);
    let mut all = Vec::new();
    for _ in 0..300 {
        let refused = random_payload(&mut random);
        let outcome = topic.publish(Opcode::Text, refused.len(), 0, &RETAIN_ALL, None, |room| {
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
    assert_eq!(window.messages_before(all.len() as u64), 300);
}

#[test]
fn a_log_is_full_only_as_long_as_a_reader_holds_it() {
    let retention = Retention {
        messages_max: 1,
        bounds: Bounds {
            log_bytes_max: 64 << 10,
            log_bytes_total_max: u64::MAX,
        },
        ..RETAIN_ALL
    };
    let (topic, total) = topic();
    let (mut window, _, _) = window(&topic, 1, &retention);
    let mut published = 0;
    let outcome = loop {
        match publish_at(&topic, &[1; 1000], 0, &retention) {
            Ok(_) => published += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(outcome, AppendError::LogFull);
    assert!(published > 40, "{published} of 1004 bytes in 64 KiB");
    assert!(total.load(Ordering::Relaxed) <= 64 << 10);
    // All that was published is there, and nothing else.
    let all = frame_of(&[1; 1000]).repeat(published);
    assert!(read(&mut window, 0) == all);
    window.release(window.end());
    assert_eq!(
        publish(&topic, b"again", &retention).offset,
        published as u64 + 1
    );
    assert_eq!(read(&mut window, all.len() as u64), frame_of(b"again"));
}

#[test]
fn a_log_without_readers_is_never_full_however_small() {
    let mut random = Rng::with_seed(3);
    for log_bytes_max in [64 << 10, 100_000, 300_000, 1 << 20, 3 << 20] {
        let retention = Retention {
            bytes_max: log_bytes_max,
            bounds: Bounds {
                log_bytes_max,
                log_bytes_total_max: u64::MAX,
            },
            ..RETAIN_ALL
        };
        let (topic, total) = topic();
        for _ in 0..rounds(2000) {
            let len = random.usize(..log_bytes_max as usize / 4);
            publish(&topic, &vec![0; len], &retention);
            assert!(total.load(Ordering::Relaxed) <= log_bytes_max);
        }
    }
}

#[test]
fn all_logs_together_are_bounded_and_one_that_goes_makes_room() {
    let retention = Retention {
        bounds: Bounds {
            log_bytes_max: 64 << 10,
            log_bytes_total_max: 64 << 10,
        },
        ..RETAIN_ALL
    };
    let (first, total) = topic();
    publish(&first, &[0; 40_000], &retention);
    let second = Topic::new("u".into(), 8, 1, total.clone());
    let outcome = publish_at(&second, &[0; 30_000], 0, &retention);
    assert_eq!(outcome, Err(AppendError::TotalFull));
    publish(&second, b"small", &retention);
    drop(first);
    publish(&second, &[0; 30_000], &retention);
    drop(second);
    assert_eq!(total.load(Ordering::Relaxed), 0);
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
    let early = topic.start(ViewKind::Raw, Some(10), &RETAIN_ALL);
    late.reach_back(early.segments);
    let all = read(&mut late, early.position);
    assert!(all.ends_with(&tail));
    assert_eq!(late.messages_before(late.end()), 2000);
    assert_eq!(late.boundary(early.position).1, 10);
    let segments = late.segments();
    late.release(position);
    assert!(late.segments() < segments && late.start() <= position);
    assert!(read(&mut late, position) == tail);
}

#[test]
fn a_chain_of_very_many_segments_is_dropped_without_recursion() {
    let total = Arc::new(AtomicU64::new(0));
    let budget = Budget::new(total.clone());
    let first = Segment::new(0, 1, 1, budget.clone());
    let mut last = first.clone();
    for start in 0..rounds(300_000).into() {
        let next = Segment::new(start, 1, 1, budget.clone());
        last.link(next.clone());
        last = next;
    }
    drop(last);
    assert_eq!(
        total.load(Ordering::Relaxed),
        u64::from(rounds(300_000)) + 1
    );
    drop(first);
    assert_eq!(total.load(Ordering::Relaxed), 0);
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
