//! How much memory logs hold, and who gives up what when it is short.

use super::*;

fn bounded(log_bytes_max: u64, log_bytes_total_max: u64) -> Retention {
    Retention {
        bounds: Bounds {
            log_bytes_max,
            log_bytes_total_max,
        },
        ..RETAIN_ALL
    }
}

#[test]
fn a_topic_without_messages_holds_no_memory() {
    let (topic, arenas) = topic();
    let raw = topic.attach(Format::Raw).unwrap();
    let small = topic.attach(SMALL).unwrap();
    let start = topic.start(SMALL, None, &RETAIN_ALL).unwrap();
    let mut window = Window::new(start.segments);
    assert_eq!(arenas.held_bytes(), 0);
    publish(&topic, b"abc", &RETAIN_ALL);
    assert_eq!(arenas.held_bytes(), 2 * SEGMENT_BYTES_MIN as u64);
    assert_eq!(read(&mut window, start.position).len(), 18);
    // Quiet again, it holds what a reader has not read, and then nothing.
    let none = Retention {
        messages_max: 0,
        ..RETAIN_ALL
    };
    assert!(topic.expire(1, &none));
    assert_eq!(arenas.held_bytes(), SEGMENT_BYTES_MIN as u64);
    window.advance();
    window.release(window.end());
    assert_eq!(arenas.held_bytes(), 0);
    publish(&topic, b"de", &RETAIN_ALL);
    let position = window.end();
    assert_eq!(read(&mut window, position).len(), 18);
    drop((raw, small));
}

#[test]
fn a_log_is_full_only_as_long_as_a_reader_holds_it() {
    let retention = Retention {
        messages_max: 1,
        ..bounded(64 << 10, u64::MAX)
    };
    let (topic, arenas) = topic();
    let (mut window, _, _) = window(&topic, 1, &retention);
    let mut published = 0;
    let outcome = loop {
        match publish_at(&topic, &[1; 1000], 0, &retention) {
            Ok(_) => published += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(outcome, AppendError::LogFull(_)), "{outcome}");
    assert!(published > 50, "{published} of 1004 bytes in 64 KiB");
    assert!(arenas.held_bytes() <= 64 << 10);
    // All that was published is there, and nothing else.
    let all = frame_of(&[1; 1000]).repeat(published);
    assert!(read(&mut window, 0) == all);
    window.release(window.end());
    let next = publish(&topic, b"again", &retention).offset;
    assert_eq!(next, published as u64 + 1);
    assert_eq!(read(&mut window, all.len() as u64), frame_of(b"again"));
}

#[test]
fn a_log_without_readers_is_never_full_however_small() {
    let mut random = Rng::with_seed(3);
    for log_bytes_max in [64 << 10, 100_000, 300_000, 1 << 20, 3 << 20] {
        let retention = Retention {
            bytes_max: log_bytes_max,
            ..bounded(log_bytes_max, u64::MAX)
        };
        let (topic, arenas) = topic();
        for _ in 0..rounds(2000) {
            let len = random.usize(..log_bytes_max as usize / 4);
            publish(&topic, &vec![0; len], &retention);
            assert!(arenas.held_bytes() <= log_bytes_max);
        }
    }
}

#[test]
fn room_is_made_over_all_views_and_only_as_much_as_it_takes() {
    // What a deflating reader needs that comes late is in the other view.
    let retention = Retention {
        bytes_max: 256 << 10,
        ..bounded(256 << 10, u64::MAX)
    };
    let (topic, arenas) = topic();
    for _ in 0..210 {
        publish(&topic, &[1; 1000], &retention);
    }
    let _reader = topic.attach(LARGE).unwrap();
    for _ in 0..600 {
        publish(&topic, &[1; 1000], &retention);
        let held = arenas.held_bytes();
        assert!(held <= 256 << 10);
        // Segments are of 32 KiB: one is given up for one that is needed.
        assert!(held >= 128 << 10, "{held} bytes are left of the history");
    }
    let summary = topic.summary(&retention);
    let raw = summary.offset - summary.first_offset;
    assert!(
        raw >= 100,
        "the raw history is given up last, {raw} are left"
    );
    let other = topic.start(LARGE, Some(summary.first_offset), &retention);
    let Err(OutOfReach::Raw(raw)) = other else {
        panic!("the other one goes first");
    };
    assert_eq!(raw.offset, summary.first_offset);
}

#[test]
fn two_stalled_readers_of_different_views_fill_the_log_together() {
    let retention = Retention {
        messages_max: 10,
        ..bounded(1 << 20, u64::MAX)
    };
    let (topic, _) = topic();
    let views = [Format::Raw, LARGE];
    let mut windows = views.map(|format| {
        let (_, interest) = topic.attach(format).unwrap();
        let start = topic.start(format, None, &retention).unwrap();
        (interest, Window::new(start.segments), start.position)
    });
    let mut published = 0;
    while publish_at(&topic, &[1; 1000], 0, &retention).is_ok() {
        published += 1;
    }
    assert!(published > 500, "{published}");
    // What each keeps is told, so that somebody can be cut off.
    let pinned = windows.each_mut().map(|(_, window, position)| {
        window.advance();
        window.pinned_bytes(*position)
    });
    assert!(pinned[0] > pinned[1] && pinned[1] > 200 << 10, "{pinned:?}");
    let (_, raw, _) = &mut windows[0];
    raw.release(raw.end());
    for _ in 0..100 {
        publish(&topic, &[1; 1000], &retention);
    }
}

#[test]
fn all_logs_together_are_bounded_and_one_that_goes_makes_room() {
    let retention = bounded(64 << 10, 64 << 10);
    let (first, arenas) = topic();
    publish(&first, &[0; 40_000], &retention);
    let second = Topic::new("u".into(), 8, 1, arenas.clone());
    let outcome = publish_at(&second, &[0; 30_000], 0, &retention);
    assert!(matches!(outcome, Err(AppendError::TotalFull(_))));
    publish(&second, b"small", &retention);
    drop(first);
    publish(&second, &[0; 30_000], &retention);
    drop(second);
    assert_eq!(arenas.held_bytes(), 0);
}

#[test]
fn a_topic_sheds_history_down_to_a_share() {
    let (topic, arenas) = topic();
    for _ in 0..2000 {
        publish(&topic, &[1; 1000], &RETAIN_ALL);
    }
    let before = arenas.held_bytes();
    assert!(topic.shed(1200 << 10));
    let after = arenas.held_bytes();
    assert!(after <= 1200 << 10 && after + (1 << 20) < before);
    assert!(topic.summary(&RETAIN_ALL).first_offset > 1);
    assert!(topic.shed(0));
    assert_eq!(arenas.held_bytes(), 0);
    assert!(!topic.shed(0), "there is nothing left");
    assert_eq!(topic.summary(&RETAIN_ALL).first_offset, 2001);
    // What a reader holds is not to be had.
    let (_window, _, _) = window(&topic, 0, &RETAIN_ALL);
    publish(&topic, b"x", &RETAIN_ALL);
    assert!(!topic.shed(0));
}

#[test]
fn rare_parts_are_counted_and_roll_the_segment_when_their_piece_is_full() {
    let (topic, arenas) = topic();
    let mut held = 0;
    for number in 0..rounds(400) {
        let info = vec![number as u8; number as usize * 7 % 3000];
        let extras = Extras {
            event: Some("e"),
            info: &info,
            ..Extras::default()
        };
        let draft = Draft {
            extras: (number % 3 > 0).then_some(extras),
            ..draft(0)
        };
        publish_as(&topic, draft, &[1; 10], &RETAIN_ALL).unwrap();
        held += if number % 3 > 0 {
            extras.encoded_len()
        } else {
            0
        };
    }
    assert!(arenas.held_bytes() > held as u64);
    let long = vec![0; 70_000];
    let extras = Extras {
        info: &long,
        ..Extras::default()
    };
    let draft = Draft {
        extras: Some(extras),
        ..draft(0)
    };
    let outcome = publish_as(&topic, draft, b"", &RETAIN_ALL);
    assert_eq!(outcome, Err(AppendError::ExtrasTooBig));
    // They are what another view is written from.
    let _reader = topic.attach(SMALL).unwrap();
    let start = reach(&topic, SMALL, 1, &RETAIN_ALL, || ());
    let mut window = Window::new(start.segments);
    let bytes = read(&mut window, start.position);
    for (number, bytes) in (0..rounds(400)).zip(bytes.chunks_exact(22)) {
        let info = vec![number as u8; number as usize * 7 % 3000];
        let extras = Extras {
            event: Some("e"),
            info: &info,
            ..Extras::default()
        };
        let wanted = if number % 3 > 0 {
            extras.encoded_len()
        } else {
            0
        };
        assert_eq!(bytes[14..22], (wanted as u64).to_le_bytes());
    }
}

/// Counts what it is asked for.
struct Counted(u32);

impl Encoding for Counted {
    fn header(&self, text: bool, len: usize, out: &mut [u8; HEADER_BYTES_MAX]) -> usize {
        Plain.header(text, len, out)
    }

    fn bound(&mut self, format: Format, message: &Message<'_>) -> usize {
        Plain.bound(format, message)
    }

    fn write(&mut self, format: Format, message: &Message<'_>, out: &mut [u8]) -> usize {
        self.0 += 1;
        Plain.write(format, message, out)
    }
}

#[test]
fn room_for_a_message_is_found_before_it_is_encoded_again() {
    let retention = Retention {
        messages_max: 1,
        ..bounded(256 << 10, u64::MAX)
    };
    for stalled in [Format::Raw, LARGE] {
        let (topic, _) = topic();
        let _other = topic.attach(LARGE).unwrap();
        let (_, _interest) = topic.attach(stalled).unwrap();
        let start = topic.start(stalled, None, &retention).unwrap();
        let mut window = Window::new(start.segments);
        let mut encoder = Counted(0);
        let publish = |encoder: &mut Counted| {
            topic.publish(&draft(3000), &retention, encoder, |room| {
                room.fill(1);
                Ok::<_, Infallible>(())
            })
        };
        let lack = loop {
            match publish(&mut encoder) {
                Ok(_) => {}
                Err(AppendError::LogFull(lack)) => break lack,
                Err(error) => panic!("{error}"),
            }
        };
        let encoded = encoder.0;
        for _ in 0..100 {
            let reserved = topic.reserve::<Infallible>(&lack, &retention.bounds);
            assert_eq!(reserved, Err(AppendError::LogFull(lack)));
        }
        window.advance();
        window.release(window.end());
        // Each look may find that a further view lacks room, and only so often.
        assert_eq!(
            topic.reserve::<Infallible>(&lack, &retention.bounds),
            Ok(())
        );
        publish(&mut encoder).unwrap();
        assert_eq!(encoder.0, encoded + 1);
    }
}
