//! Opening, closing, and not closing.

use super::*;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn what_was_synced_is_there_after_a_clean_end_and_goes_on_without_a_gap() {
    let mut random = Rng::with_seed(1);
    let room = room();
    let folder = room.path().join("store");
    let mut expected = Vec::new();
    for round in 0..3 {
        let Opened { mut store, topics } = open(&folder);
        let first = 1 + 30 * round;
        if round > 0 {
            assert_eq!(topics.len(), 2);
            let topic = topics.iter().find(|topic| topic.name == "a").unwrap();
            assert_eq!((topic.epoch, topic.next_offset), (EPOCH, first));
            assert_eq!((topic.leapt, topic.floor), (false, 0));
            assert_eq!(topic.time_ms, 1_000_000 + first - 1);
            let quiet = topics.iter().find(|topic| topic.name == "quiet").unwrap();
            assert_eq!((quiet.epoch, quiet.next_offset), (9, 500));
            assert_eq!(quiet.time_ms, 12345);
        }
        for page in 0..3 {
            let messages = said(first + 10 * page, 10, &mut random);
            append(&mut store, "a", &messages);
            expected.extend(messages);
        }
        store.note("quiet", 9, 500, 12345);
        assert!(store.unsynced_bytes() > 0);
        store.sync().unwrap();
        assert_eq!(store.unsynced_bytes(), 0);
        assert_eq!(all(&store.archive(), "a"), expected);
        let stored = store.stored("a").unwrap();
        assert_eq!((stored.oldest, stored.newest), (1, first + 29));
        assert_eq!(stored.messages, first + 29);
        let bytes: usize = expected.iter().map(|said| said.frame.len()).sum();
        assert_eq!(stored.bytes, bytes as u64);
        assert_eq!(store.stored("quiet"), None);
        store.close().unwrap();
    }
    assert_eq!(mode(&folder), 0o700);
    for name in ["owner.lock", "format", "synced", "shelf-0000000001"] {
        assert_eq!(mode(&folder.join(name)), 0o600, "{name}");
    }
    assert_eq!(mode(&folder.join("index")), 0o700);
}

#[test]
fn what_was_not_synced_is_not_read() {
    let mut random = Rng::with_seed(2);
    let room = room();
    let Opened { mut store, .. } = open(room.path());
    let archive = store.archive();
    assert!(archive.page("a", EPOCH, 0).unwrap().is_none());
    append(&mut store, "a", &said(1, 5, &mut random));
    assert!(archive.page("a", EPOCH, 0).unwrap().is_none());
    assert_eq!(store.stored("a").unwrap().messages, 5);
    store.sync().unwrap();
    assert!(archive.page("a", EPOCH, 0).unwrap().is_some());
    assert!(archive.page("a", EPOCH + 1, 0).unwrap().is_none());
    assert!(archive.page("b", EPOCH, 0).unwrap().is_none());
    assert!(archive.page("a", EPOCH, 6).unwrap().is_none());
    assert!(archive.page("a", EPOCH, u64::MAX).unwrap().is_none());
    assert!(archive.page_before("a", EPOCH, 1).unwrap().is_none());
    assert!(archive.page_before("a", EPOCH, 0).unwrap().is_none());
}

#[test]
fn each_unclean_end_leaps_once_more() {
    let mut random = Rng::with_seed(3);
    let room = room();
    let Opened { mut store, topics } = open(room.path());
    assert_eq!(topics, []);
    append(&mut store, "a", &said(1, 5, &mut random));
    store.sync().unwrap();
    append(&mut store, "a", &said(6, 5, &mut random));
    drop(store);
    let Opened { store, topics } = open(room.path());
    assert_eq!(topics[0].next_offset, 6 + LEAP);
    assert!(topics[0].leapt);
    // The store failed again before anything was written.
    drop(store);
    let Opened { mut store, topics } = open(room.path());
    assert_eq!(topics[0].next_offset, 6 + 2 * LEAP);
    assert_eq!(all(&store.archive(), "a").len(), 5);
    assert_eq!(store.stored("a").unwrap().newest, 5);
    append(&mut store, "a", &said(6 + 2 * LEAP, 5, &mut random));
    store.close().unwrap();
    let Opened { store, topics } = open(room.path());
    assert_eq!(topics[0].next_offset, 11 + 2 * LEAP);
    assert!(!topics[0].leapt);
    // Reading steps over the hole, from either side.
    let messages = all(&store.archive(), "a");
    assert_eq!(messages.len(), 10);
    assert_eq!(messages[5].offset, 6 + 2 * LEAP);
    let behind = store.archive().page("a", EPOCH, 6).unwrap().unwrap();
    assert_eq!(behind.first_offset(), 6 + 2 * LEAP);
}

#[test]
fn whose_memory_goes_on_need_not_leap() {
    let mut random = Rng::with_seed(4);
    let room = room();
    let Opened { mut store, .. } = open(room.path());
    append(&mut store, "a", &said(1, 5, &mut random));
    store.note("b", EPOCH, 40, 7);
    store.sync().unwrap();
    let lost = said(6, 5, &mut random);
    append(&mut store, "a", &lost);
    drop(store);
    // The store failed, but the process did not: what was not synced is appended again.
    let Opened { mut store, .. } = open(room.path());
    assert_eq!(store.stored("a").unwrap().newest, 5);
    append(&mut store, "a", &lost);
    store.note("b", EPOCH, 41, 7);
    store.close().unwrap();
    let Opened { store, mut topics } = open(room.path());
    topics.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(topics[0].next_offset, 11);
    assert_eq!(topics[1].next_offset, 41);
    assert_eq!(all(&store.archive(), "a").len(), 10);
}

#[test]
fn offsets_that_are_stored_are_not_stored_again() {
    let mut random = Rng::with_seed(5);
    let room = room();
    let Opened { mut store, .. } = open(room.path());
    append(&mut store, "a", &said(1, 5, &mut random));
    let again = Pieces::of(&said(5, 2, &mut random));
    let refused = store.append("a", EPOCH, &again.page()).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "a page of topic \"a\" begins at offset 5, but offset 5 is stored already"
    );
    // Also when they have been given up.
    store.retain("a", 0, 0, 0);
    assert!(store.append("a", EPOCH, &again.page()).is_err());
    // A note does not go behind what is stored.
    store.note("a", EPOCH, 2, 0);
    store.close().unwrap();
    let Opened { topics, .. } = open(room.path());
    assert_eq!(topics[0].next_offset, 6);
}

#[test]
fn another_epoch_is_another_history() {
    let mut random = Rng::with_seed(6);
    let room = room();
    let Opened { mut store, .. } = open(room.path());
    append(&mut store, "a", &said(1, 5, &mut random));
    store.sync().unwrap();
    let news = said(1, 3, &mut random);
    let pieces = Pieces::of(&news);
    store.append("a", EPOCH + 1, &pieces.page()).unwrap();
    store.sync().unwrap();
    let archive = store.archive();
    assert!(archive.page("a", EPOCH, 0).unwrap().is_none());
    let page = archive.page("a", EPOCH + 1, 0).unwrap().unwrap();
    assert_eq!(messages_of(&page), news);
    store.note("a", EPOCH + 2, 1, 0);
    store.close().unwrap();
    let Opened { store, topics } = open(room.path());
    assert_eq!(topics[0].epoch, EPOCH + 2);
    assert_eq!(store.stored("a"), None);
}

#[test]
fn a_second_owner_is_told_so_until_the_first_is_gone() {
    let room = room();
    let Opened { store, .. } = open(room.path());
    let archive = store.archive();
    let refused = Store::open(room.path()).map(drop).unwrap_err();
    assert!(matches!(refused, OpenError::InUse { .. }), "{refused}");
    drop(store);
    // Readers that outlive the store do not keep it locked.
    assert!(matches!(
        archive.page("a", EPOCH, 0),
        Err(ReadError::Closed)
    ));
    let Opened { store, .. } = open(room.path());
    store.close().unwrap();
    open(room.path());
}

#[test]
fn a_folder_that_others_may_enter_is_refused() {
    let room = room();
    for mode in [0o750, 0o701, 0o755, 0o720] {
        fs::set_permissions(room.path(), fs::Permissions::from_mode(mode)).unwrap();
        let refused = Store::open(room.path()).map(drop).unwrap_err();
        let remedy = format!("`chmod 700 {}`", room.path().display());
        assert!(refused.to_string().contains(&remedy), "{refused}");
        assert!(matches!(refused, OpenError::Wide { .. }));
    }
    assert_eq!(fs::read_dir(room.path()).unwrap().count(), 0);
    fs::set_permissions(room.path(), fs::Permissions::from_mode(0o700)).unwrap();
    open(room.path());
}

#[test]
fn a_folder_of_somebody_else_is_refused() {
    let room = room();
    if std::os::unix::fs::chown(room.path(), Some(12345), None).is_err() {
        println!("not tried: only root can give a folder away");
        return;
    }
    let refused = Store::open(room.path()).map(drop).unwrap_err();
    assert!(
        matches!(refused, OpenError::Foreign { owner: 12345, .. }),
        "{refused}"
    );
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let room = room();
    open(room.path());
    let format = room.path().join("format");
    fs::write(&format, "fanfare-store 2\n").unwrap();
    let refused = Store::open(room.path()).map(drop).unwrap_err();
    assert!(
        matches!(
            refused,
            OpenError::Newer {
                found: 2,
                known: 1,
                ..
            }
        ),
        "{refused}"
    );
    for nonsense in ["", "fanfare-store x", "1", "fanfare-store 0"] {
        fs::write(&format, nonsense).unwrap();
        let refused = Store::open(room.path()).map(drop).unwrap_err();
        assert!(matches!(refused, OpenError::Damaged { .. }), "{refused}");
    }
    fs::write(&format, [255, 254]).unwrap();
    assert!(Store::open(room.path()).is_err());
    fs::remove_file(&format).unwrap();
    assert!(Store::open(room.path()).is_err());
    fs::write(&format, "fanfare-store 1\n").unwrap();
    open(room.path());
}

#[test]
fn a_store_whose_making_was_cut_short_is_made_again() {
    let room = room();
    let whole = room.path().join("whole");
    let Opened { store, .. } = open(&whole);
    drop(store);
    // In the order in which they are made.
    let made = [
        "owner.lock",
        "format.new",
        "format",
        "index/",
        "synced",
        "index/lock",
        "index/keyspaces/",
        "index/0.jnl",
        "index/version.half",
        "index/version",
        "index/keyspaces/0/",
        "index/keyspaces/0/tables/",
    ];
    for done in 0..=made.len() {
        let folder = room.path().join("cut short");
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::metadata(&whole).unwrap().permissions()).unwrap();
        for name in &made[..done] {
            let to = folder.join(name);
            match *name {
                // The numbers of syncs come last, and half a draft is no format.
                "synced" | "format.new" => fs::write(to, "").unwrap(),
                "index/version.half" => fs::write(folder.join("index/version"), "FJ").unwrap(),
                name if name.ends_with('/') => fs::create_dir(to).unwrap(),
                name => drop(fs::copy(whole.join(name), to).unwrap()),
            }
        }
        let Opened { mut store, topics } = open(&folder);
        assert_eq!(topics, []);
        append(&mut store, "a", &said(1, 2, &mut Rng::with_seed(8)));
        store.close().unwrap();
        let Opened { store, .. } = open(&folder);
        assert_eq!(all(&store.archive(), "a").len(), 2);
        drop(store);
        fs::remove_dir_all(&folder).unwrap();
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let room = room();
    let folder = room.path().join("missing/store");
    let refused = Store::open(&folder).map(drop).unwrap_err().to_string();
    assert!(refused.contains("cannot make the folder"), "{refused}");
    assert!(refused.contains("missing/store"), "{refused}");
    let file = room.path().join("file");
    fs::write(&file, "").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(Store::open(&file).is_err());
}

#[test]
fn any_name_of_a_topic_will_do() {
    let mut random = Rng::with_seed(7);
    let room = room();
    let names = [
        "",
        "s",
        "t",
        "..",
        "a/b",
        "\u{1F41F}",
        &"\u{fffd}".repeat(85),
    ];
    let Opened { mut store, .. } = open(room.path());
    for name in names {
        append(&mut store, name, &said(1, 2, &mut random));
    }
    store.close().unwrap();
    let Opened { store, topics } = open(room.path());
    assert_eq!(topics.len(), names.len());
    for name in names {
        assert_eq!(all(&store.archive(), name).len(), 2);
    }
}

#[test]
fn a_store_and_its_archive_may_go_to_other_threads() {
    fn send<T: Send>() {}
    fn shared<T: Clone + Send + Sync>() {}
    send::<Store>();
    shared::<Archive>();
}
