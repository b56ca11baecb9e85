//! Views come with their readers, and reach back to what the raw one holds.

use super::*;

/// What a reader of a view gets from offset `first` on, where each message is
/// its number.
fn all_written(format: Format, first: u64, last: u64) -> Vec<u8> {
    let message = |offset: u64| numbered(offset);
    (first..=last)
        .flat_map(|offset| {
            let payload = message(offset);
            written(
                format,
                &Message {
                    topic: "t",
                    epoch: 7,
                    offset,
                    time_ms: 0,
                    text: false,
                    payload: &payload,
                    extras: None,
                },
            )
        })
        .collect()
}

/// Every fifth is nothing in other formats.
fn numbered(offset: u64) -> Vec<u8> {
    let first = if offset.is_multiple_of(5) { 0 } else { 1 };
    [
        &[first][..],
        &offset.to_le_bytes().repeat(1 + offset as usize % 90),
    ]
    .concat()
}

fn publish_numbered(topic: &Topic, count: u64, retention: &Retention) -> u64 {
    for _ in 0..count {
        let next = topic.summary(retention).offset + 1;
        publish(topic, &numbered(next), retention);
    }
    topic.summary(retention).offset
}

#[test]
fn a_view_begins_with_its_first_reader_and_goes_a_little_after_the_last() {
    let (topic, _) = topic();
    publish_numbered(&topic, 3, &RETAIN_ALL);
    assert!(topic.formats().is_empty());
    let (format, interest) = topic.attach(SMALL).unwrap();
    assert_eq!(format, SMALL);
    assert!(topic.formats().contains(SMALL));
    let start = topic.start(SMALL, None, &RETAIN_ALL).unwrap();
    assert_eq!(start.offset, 4);
    let published = publish(&topic, &numbered(4), &RETAIN_ALL);
    let range = published.range(SMALL).unwrap();
    assert_eq!(range.start, start.position);
    assert_eq!(published.range(LARGE), None);
    let mut window = Window::new(start.segments);
    assert_eq!(read(&mut window, start.position), all_written(SMALL, 4, 4));
    topic.expire(100_000, &RETAIN_ALL);
    drop((interest, window));
    topic.expire(200_000, &RETAIN_ALL);
    assert!(topic.formats().contains(SMALL), "readers come back");
    topic.expire(209_999, &RETAIN_ALL);
    let (_, interest) = topic.attach(SMALL).unwrap();
    topic.expire(300_000, &RETAIN_ALL);
    drop(interest);
    topic.expire(400_000, &RETAIN_ALL);
    topic.expire(410_000, &RETAIN_ALL);
    assert!(topic.formats().is_empty());
}

#[test]
fn beyond_what_a_topic_has_views_for_a_reader_gets_one_it_understands() {
    let (topic, _) = topic();
    let of = |bits| {
        topic
            .attach(Format::Deflated(encoding::Plain::Raw, bits))
            .unwrap()
    };
    let (first, second) = (of(15), of(11));
    assert_eq!(first.0, Format::Deflated(encoding::Plain::Raw, 15));
    assert_eq!(second.0, Format::Deflated(encoding::Plain::Raw, 11));
    assert_eq!(of(13).0, Format::Deflated(encoding::Plain::Raw, 11));
    assert_eq!(of(9).0, Format::Raw, "no window is small enough");
    assert_eq!(topic.attach(Format::Raw).unwrap().0, Format::Raw);
}

#[test]
fn only_views_with_readers_are_told_of_growth() {
    let (topic, _) = topic();
    assert_eq!(topic.interests().count(), 0);
    let (_, raw) = topic.attach(Format::Raw).unwrap();
    let (_, small) = topic.attach(SMALL).unwrap();
    assert_eq!(topic.interests().count(), 2);
    raw[0].join(4);
    small[0].join(9);
    small[0].join(9);
    assert_eq!(topic.subscribers(|_| true), 3);
    assert_eq!(topic.subscribers(|format| format == SMALL), 2);
    let told: Vec<_> = topic.interests().filter_map(|i| i[0].tell()).collect();
    assert_eq!(told, [4, 9]);
    assert_eq!(topic.interests().filter_map(|i| i[0].tell()).count(), 0);
    raw[0].pass(0);
    publish(&topic, &[1; 100], &RETAIN_ALL);
    assert_eq!(topic.backlog().unread_bytes, 102, "the other has just come");
    raw[0].pass(102);
    assert_eq!(topic.backlog().unread_bytes, 0);
    raw[0].leave();
    assert_eq!(topic.subscribers(|_| true), 2);
}

#[test]
fn a_reader_that_resumes_gets_its_own_format_from_its_offset_on() {
    for seed in 0..rounds(20).into() {
        let mut random = Rng::with_seed(seed);
        let (topic, arenas) = topic();
        publish_numbered(&topic, random.u64(1..rounds(800).into()), &RETAIN_ALL);
        let (_, interest) = topic.attach(SMALL).unwrap();
        // Somebody who came for what is new, and follows meanwhile.
        let live = topic.start(SMALL, None, &RETAIN_ALL).unwrap();
        let first = live.offset;
        let mut follower = Window::new(live.segments);
        publish_numbered(&topic, random.u64(..20), &RETAIN_ALL);
        let since = random.u64(1..=first);
        let start = match topic.start(SMALL, Some(since), &RETAIN_ALL) {
            Ok(start) => start,
            Err(_) => {
                let more = random.u64(..3);
                reach(&topic, SMALL, since, &RETAIN_ALL, || {
                    publish_numbered(&topic, more, &RETAIN_ALL);
                })
            }
        };
        assert_eq!(start.offset, since);
        let newest = publish_numbered(&topic, random.u64(..20), &RETAIN_ALL);
        let mut window = Window::new(start.segments);
        let bytes = read(&mut window, start.position);
        assert!(bytes == all_written(SMALL, since, newest), "{seed}");
        assert_eq!(
            window.messages_before(window.end()) - window.messages_before(start.position),
            // Those that are nothing at the very start count as behind it.
            newest + 1 - since - u64::from(since.is_multiple_of(5))
        );
        let followed = read(&mut follower, live.position);
        assert!(followed == all_written(SMALL, first, newest));
        // Others need not reach back again.
        assert_eq!(
            topic.start(SMALL, Some(since), &RETAIN_ALL).unwrap().offset,
            since
        );
        drop((window, follower, interest, topic));
        assert_eq!(arenas.held_bytes(), 0);
    }
}

#[test]
fn one_run_at_a_time_and_one_that_is_dropped_leaves_nothing() {
    let (topic, arenas) = topic();
    publish_numbered(&topic, 300, &RETAIN_ALL);
    let _reader = topic.attach(SMALL).unwrap();
    let before = arenas.held_bytes();
    let raw = topic.start_held(Format::Raw, 1);
    let mut run = topic.reach(SMALL, &raw).unwrap();
    assert!(topic.reach(SMALL, &raw).is_none());
    assert!(matches!(
        run.step(&mut Plain, 5000, &RETAIN_ALL.bounds),
        Reached::NotYet
    ));
    assert!(arenas.held_bytes() > before);
    drop(run);
    assert_eq!(arenas.held_bytes(), before);
    assert_eq!(reach(&topic, SMALL, 1, &RETAIN_ALL, || ()).offset, 1);
}

#[test]
fn what_readers_still_hold_is_taken_back_and_not_written_again() {
    let retention = Retention {
        bounds: Bounds {
            log_bytes_max: 4 << 20,
            log_bytes_total_max: u64::MAX,
        },
        ..RETAIN_ALL
    };
    let (topic, _) = topic();
    publish_numbered(&topic, 50, &retention);
    let (_, interest) = topic.attach(SMALL).unwrap();
    let live = topic.start(SMALL, None, &retention).unwrap();
    let mut slow = Window::new(live.segments);
    // The view gives up what the slow reader holds, to make room.
    let newest = publish_numbered(&topic, 9000, &retention);
    let summary = topic.summary(&retention);
    assert!(summary.first_offset > 1);
    let since = summary.first_offset;
    let start = match topic.start(SMALL, Some(since), &retention) {
        Ok(start) => start,
        Err(_) => reach(&topic, SMALL, since, &retention, || ()),
    };
    // Both read the same core's window, so their positions must agree.
    let mut window = Window::new(start.segments);
    let got = read(&mut window, start.position);
    assert!(got == all_written(SMALL, start.offset, newest));
    let held = read(&mut slow, live.position);
    assert!(held == all_written(SMALL, 51, newest));
    assert_eq!(slow.end(), window.end());
    drop(interest);
}

#[test]
fn a_run_that_finds_no_room_begins_later_and_says_so() {
    let retention = Retention {
        bounds: Bounds {
            log_bytes_max: 512 << 10,
            log_bytes_total_max: u64::MAX,
        },
        ..RETAIN_ALL
    };
    let (topic, arenas) = topic();
    let newest = publish_numbered(&topic, 2000, &retention);
    let floor = topic.summary(&retention).first_offset;
    let (_, _interest) = topic.attach(SMALL).unwrap();
    let start = reach(&topic, SMALL, floor, &retention, || ());
    assert!(start.offset > floor);
    assert!(arenas.held_bytes() <= 512 << 10);
    assert_eq!(
        topic.summary(&retention).first_offset,
        floor,
        "raw keeps its own"
    );
    let mut window = Window::new(start.segments);
    assert!(read(&mut window, start.position) == all_written(SMALL, start.offset, newest));
    drop(window);
    let end = topic.start_held(Format::Raw, newest + 1).position;
    // Places are the same in both.
    let live = topic.start(SMALL, None, &retention).unwrap();
    assert_eq!(topic.translate(SMALL, live.position, Format::Raw), end);
    publish_numbered(&topic, 7, &retention);
    let position = |format| {
        topic
            .start(format, Some(newest + 4), &retention)
            .unwrap()
            .position
    };
    let (at, there) = (position(SMALL), position(Format::Raw));
    assert_eq!(topic.translate(SMALL, at, Format::Raw), there);
}
