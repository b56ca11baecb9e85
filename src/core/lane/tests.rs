use super::*;

fn sub(slot: u32, position: u64) -> After {
    After {
        sub: SubId::first(slot),
        position,
    }
}

fn text(lane: &Lane, len: usize) -> String {
    let mut bytes = Vec::new();
    lane.copy(len, &mut bytes);
    String::from_utf8(bytes).unwrap()
}

#[test]
fn what_waits_for_nothing_overtakes_what_waits() {
    let mut lane = Lane::default();
    lane.push_after(b"late ", Some(sub(1, 10))).unwrap();
    lane.push(b"now ").unwrap();
    lane.push_shared(Bytes::from_static(b"shared"), None);
    let ready = lane.release(|_| false);
    assert_eq!(text(&lane, ready), "now shared");
    lane.consume(2, true);
    let rest = lane.release(|_| false);
    assert_eq!(text(&lane, rest), "w shared");
    lane.consume(rest, false);
    assert_eq!(lane.release(|_| false), 0);
    let late = lane.release(|_| true);
    assert_eq!(text(&lane, late), "late ");
    assert_eq!(lane.awaited(SubId::first(1)), Some(10));
    lane.consume(5, false);
    assert!(lane.is_empty() && lane.own_bytes() == 0);
}

#[test]
fn an_entry_that_is_begun_goes_on_whatever_it_waited_for() {
    let mut lane = Lane::default();
    lane.push_after(b"abc", Some(sub(1, 10))).unwrap();
    assert_eq!(lane.release(|after| after.position <= 10), 3);
    lane.consume(1, true);
    assert_eq!(lane.release(|_| false), 2);
    assert_eq!(text(&lane, 2), "bc");
}

#[test]
fn long_bytes_that_others_hold_too_go_alone_and_nothing_comes_in_between() {
    let mut lane = Lane::default();
    lane.push(b"own ").unwrap();
    lane.push_shared(Bytes::from_static(b"short "), None);
    let list = Bytes::from("x".repeat(LONG_BYTES + 5));
    lane.push_shared(list.clone(), None);
    lane.push(b" own").unwrap();
    let mut gone = String::new();
    let mut portions = Vec::new();
    while !lane.is_empty() {
        let ready = lane.release(|_| true);
        let portion = lane.portion(ready, 6);
        let long = lane.long().is_some();
        portions.push((portion, long));
        // Of the list the socket takes only a part at first.
        let sent = if gone.len() == 10 { 5 } else { portion };
        gone += &text(&lane, sent);
        lane.consume(sent, false);
        assert_eq!(lane.is_begun(), sent < portion);
    }
    let (all, rest) = (LONG_BYTES + 5, LONG_BYTES);
    assert_eq!(
        portions,
        [(10, false), (all, true), (rest, true), (4, false)]
    );
    assert_eq!(
        gone,
        format!("own short {} own", str::from_utf8(&list).unwrap())
    );
}

#[test]
fn of_history_that_is_left_while_it_is_on_its_way_only_a_begun_message_goes_on() {
    let part = Arc::new(Part::sample(&[(1, 0), (2, 3), (3, 6), (4, 9)], 12));
    let sub = SubId::first(1);
    for (sent, rest) in [(0, ""), (2, "c"), (3, ""), (4, "ef"), (6, "")] {
        let mut lane = Lane::default();
        let (history, bytes) = (part.clone(), Bytes::from_static(b"abcdefghijkl"));
        let (part, end) = (history, 12);
        lane.push_history(bytes, History { sub, part, end });
        // All but the last message is on its way.
        lane.drop_history(sub, 6);
        assert_eq!(lane.unsent_history(sub), None);
        lane.consume(sent, sent < 6);
        lane.settle_left();
        lane.push(b"!").unwrap();
        let ready = lane.release(|_| true);
        assert_eq!(text(&lane, ready), format!("{rest}!"), "{sent}");
        assert_eq!(lane.is_begun(), !rest.is_empty());
    }
}

#[test]
fn a_lane_is_bounded_but_for_last_words_and_shared_bytes() {
    let mut lane = Lane::default();
    lane.push(&vec![0; LANE_BYTES_MAX]).unwrap();
    assert_eq!(lane.push(b"x"), Err(Full));
    lane.push_last(b"bye".to_vec());
    lane.push_shared(Bytes::from_static(&[1; 1000]), None);
    assert_eq!(lane.own_bytes(), LANE_BYTES_MAX + 3);
}

#[test]
fn nothing_waits_for_a_subscription_that_is_gone() {
    let mut lane = Lane::default();
    lane.push_after(b"x", Some(sub(1, 10))).unwrap();
    lane.forget(SubId::first(1));
    assert_eq!(lane.release(|_| false), 1);
}
