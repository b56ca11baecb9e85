use super::*;

fn say(incarnation: u64, what: What) -> Told {
    let name = format!("n{incarnation}");
    Told {
        incarnation,
        name,
        what,
    }
}

fn value(text: &str) -> Option<Bytes> {
    Some(Bytes::copy_from_slice(text.as_bytes()))
}

/// What `to` knows of node 1 after it is told.
fn tell(to: &mut Nodes, now_ms: u64, what: What) -> (bool, Vec<News>) {
    let mut news = Vec::new();
    let asks = to.handle_told(now_ms, &say(1, what), &mut news);
    (asks, news)
}

fn known(nodes: &Nodes) -> Vec<String> {
    let entries = nodes.peers.get(&1).map(|peer| &peer.entries);
    let spell = |((topic, key), value): (&(String, String), &Bytes)| {
        format!("{topic}/{key}={}", String::from_utf8_lossy(value))
    };
    entries.into_iter().flatten().map(spell).collect()
}

#[test]
fn a_node_that_comes_late_gets_the_whole_and_then_the_changes() {
    let (mut one, mut two) = (Nodes::default(), Nodes::default());
    one.present("t", "a".into(), value("1"));
    one.present("t", "b".into(), value("2"));
    one.poll_changes();
    let (asks, news) = tell(&mut two, 0, one.hello());
    assert!(asks);
    assert_eq!(news.len(), 1);
    for part in one.whole() {
        tell(&mut two, 1, part);
    }
    assert_eq!(known(&two), ["t/a=1", "t/b=2"]);
    one.present("t", "a".into(), None);
    one.present("u", "c".into(), value("3"));
    let (asks, news) = tell(&mut two, 2, one.poll_changes().unwrap());
    assert_eq!((asks, news.len()), (false, 2));
    assert_eq!(known(&two), ["t/b=2", "u/c=3"]);
    assert!(!tell(&mut two, 3, one.hello()).0);
}

#[test]
fn a_lost_change_is_noticed_and_the_whole_mends_it() {
    let (mut one, mut two) = (Nodes::default(), Nodes::default());
    one.present("t", "a".into(), value("1"));
    one.poll_changes();
    tell(&mut two, 0, one.hello());
    one.whole()
        .into_iter()
        .for_each(|part| drop(tell(&mut two, 0, part)));
    one.present("t", "a".into(), None);
    one.poll_changes();
    one.present("t", "b".into(), value("2"));
    let after = one.poll_changes().unwrap();
    assert!(tell(&mut two, 1, after.clone()).0);
    // While the whole is awaited it is not asked for again.
    assert!(!tell(&mut two, 2, one.hello()).0);
    assert!(tell(&mut two, 1 + WHOLE_MS_MAX, one.hello()).0);
    let mut all = Vec::new();
    for part in one.whole() {
        all.extend(tell(&mut two, 3, part).1);
    }
    assert_eq!(all.len(), 2);
    assert_eq!(known(&two), ["t/b=2"]);
    assert!(!tell(&mut two, 4, after).0);
    assert_eq!(known(&two), ["t/b=2"]);
}

#[test]
fn changes_that_cannot_be_told_take_bounded_room_and_the_whole_mends_it() {
    let (mut one, mut two) = (Nodes::default(), Nodes::default());
    tell(&mut two, 0, one.hello());
    one.whole()
        .into_iter()
        .for_each(|part| drop(tell(&mut two, 0, part)));
    // There is no connection for long.
    for number in 0..10 * UNTOLD_MAX {
        let is_there = number % 2 == 0;
        let told = is_there.then(|| Bytes::from(number.to_string()));
        one.present("t", "a".into(), told);
        assert!(one.untold.len() <= UNTOLD_MAX);
    }
    one.present("t", "b".into(), value("last"));
    let mut asks = false;
    while let Some(changes) = one.poll_changes() {
        asks |= tell(&mut two, 1, changes).0;
    }
    assert!(asks, "it notices");
    for part in one.whole() {
        tell(&mut two, 2, part);
    }
    assert_eq!(known(&two), ["t/b=last"]);
    assert!(!tell(&mut two, 3, one.hello()).0);
}

#[test]
fn a_silent_node_is_forgotten_and_so_is_one_that_says_goodbye() {
    let mut two = Nodes::default();
    tell(&mut two, 0, What::Hello { changes: 0 });
    let mut news = Vec::new();
    assert_eq!(two.handle_timeout(SILENCE_MS_MAX - 1, &mut news), 0);
    assert_eq!(two.handle_timeout(SILENCE_MS_MAX, &mut news), 1);
    let name = "n1".to_owned();
    let left = News::Left { node: 1, name };
    assert_eq!(news, std::slice::from_ref(&left));
    tell(&mut two, 0, What::Hello { changes: 0 });
    assert_eq!(tell(&mut two, 1, What::Bye), (false, vec![left]));
}

#[test]
fn a_large_whole_comes_in_parts() {
    let (mut one, mut two) = (Nodes::default(), Nodes::default());
    for n in 0..1200 {
        one.present("t", format!("{n:04}"), value("x"));
    }
    while one.poll_changes().is_some() {}
    tell(&mut two, 0, one.hello());
    let parts = one.whole();
    assert_eq!(parts.len(), 3);
    parts
        .into_iter()
        .for_each(|part| drop(tell(&mut two, 1, part)));
    assert_eq!(known(&two).len(), 1200);
}

#[test]
fn what_a_later_version_tells_is_left_out() {
    let words = r#"{"incarnation":1,"name":"n","what":"hello","changes":3,"colour":"red"}"#;
    let told: Told = serde_json::from_str(words).unwrap();
    assert_eq!(told.what, What::Hello { changes: 3 });
    let words = r#"{"incarnation":1,"what":"sing","song":[1,2]}"#;
    let told: Told = serde_json::from_str(words).unwrap();
    assert_eq!(told.what, What::Unknown);
}

/// The bytes of each kind of message, as nodes of all versions of this format write them. Another
/// version may add kinds, and fields for which it has a default.
#[test]
fn what_nodes_tell_each_other_keeps_its_form() {
    let entries = || {
        let entry = |key: &str, value| Entry {
            topic: "a/b".into(),
            key: key.into(),
            value,
        };
        vec![
            entry("k", Some(Base64(Bytes::from_static(b"\0\xff")))),
            entry("l", None),
        ]
    };
    let spelt =
        r#"[{"topic":"a/b","key":"k","value":"AP8="},{"topic":"a/b","key":"l","value":null}]"#;
    let bytes = || Base64(Bytes::from_static(b"?"));
    let all = [
        (
            What::Hello { changes: 7 },
            r#""what":"hello","changes":7"#.to_owned(),
        ),
        (
            What::Changes {
                first: 6,
                entries: entries(),
            },
            format!(r#""what":"changes","first":6,"entries":{spelt}"#),
        ),
        (What::Ask, r#""what":"ask""#.into()),
        (
            What::Whole {
                changes: 7,
                entries: entries(),
                is_last: true,
            },
            format!(r#""what":"whole","changes":7,"entries":{spelt},"is_last":true"#),
        ),
        (
            What::Call {
                kind: 1,
                bytes: bytes(),
            },
            r#""what":"call","kind":1,"bytes":"Pw==""#.into(),
        ),
        (
            What::Answer { bytes: bytes() },
            r#""what":"answer","bytes":"Pw==""#.into(),
        ),
        (What::Bye, r#""what":"bye""#.into()),
    ];
    for (what, spelt) in all {
        let told = say(u64::MAX, what);
        let name = &told.name;
        let head = format!(r#"{{"incarnation":18446744073709551615,"name":"{name}","#);
        let words = serde_json::to_string(&told).unwrap();
        assert_eq!(words, format!("{head}{spelt}}}"));
        // With what a later version may say as well.
        let later = format!(r#"{head}{spelt},"format":9,"more":{{"x":[1,null]}}}}"#);
        assert_eq!(serde_json::from_str::<Told>(&later).unwrap(), told);
    }
}

#[test]
fn what_is_told_is_read_back() {
    let entries = vec![Entry {
        topic: "t".into(),
        key: "k".into(),
        value: Some(Base64(Bytes::from_static(b"\0\xff"))),
    }];
    let told = say(u64::MAX, What::Changes { first: 1, entries });
    let words = serde_json::to_vec(&told).unwrap();
    assert_eq!(serde_json::from_slice::<Told>(&words).unwrap(), told);
}

/// Whatever is lost on the way, a node knows in the end what the other one told last.
#[test]
fn nodes_agree_in_the_end() {
    for seed in 0..500 {
        fastrand::seed(seed);
        let (mut one, mut two) = (Nodes::default(), Nodes::default());
        for turn in 0..200_u64 {
            let now_ms = turn * 100;
            if turn < 120 && fastrand::bool() {
                let key = fastrand::u8(..5).to_string();
                one.present("t", key, value("x").filter(|_| fastrand::bool()));
            }
            let mut said = Vec::new();
            said.extend(one.poll_changes().filter(|_| fastrand::u8(..4) > 0));
            said.extend(Some(one.hello()).filter(|_| turn % 10 == 0));
            for what in said {
                if tell(&mut two, now_ms, what).0 {
                    let is_lost = turn < 120 && fastrand::bool();
                    let parts = one.whole().into_iter().filter(|_| !is_lost);
                    parts.for_each(|part| drop(tell(&mut two, now_ms, part)));
                }
            }
        }
        assert_eq!(two.peers[&1].entries, one.own, "seed {seed}");
    }
}
