//! Bytes that are not as they were written.

use std::path::PathBuf;

use super::*;

/// A store with several syncs, in the index's tables and in its journal; the messages of its
/// topic "a".
fn made(folder: &Path) -> Vec<Said> {
    let mut random = Rng::with_seed(1);
    let mut expected = Vec::new();
    for round in 0..3 {
        let Opened { mut store, .. } = open(folder);
        for page in 0..3 {
            let mut messages = said(1 + 10 * (3 * round + page), 10, &mut random);
            // So that all lie on one shelf.
            messages
                .iter_mut()
                .for_each(|said| said.frame.truncate(100));
            append(&mut store, "a", &messages);
            expected.extend(messages);
            store.note("b", 9, round * 10 + page, 5);
            store.sync().unwrap();
        }
        if round == 1 {
            store.shared().index().as_ref().unwrap().settle();
        }
        store.close().unwrap();
    }
    expected
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found.sort();
    found
}

#[test]
fn a_changed_byte_of_a_shelf_costs_its_page_and_that_is_told() {
    let room = room();
    let expected = made(room.path());
    let shelf = shelves(room.path()).pop().unwrap();
    let good = fs::read(&shelf).unwrap();
    let Opened { mut store, .. } = open(room.path());
    let archive = store.archive();
    let mut random = Rng::with_seed(2);
    for at in 0..good.len() {
        let mut changed = good.clone();
        changed[at] ^= 1 << random.u8(..8);
        fs::write(&shelf, changed).unwrap();
        let (messages, lost) = read(&archive, "a", 0);
        let [(from, to)] = lost[..] else {
            panic!("{lost:?}");
        };
        assert_eq!((from % 10, to), (1, from + 9));
        let others = expected
            .iter()
            .filter(|said| !(from..=to).contains(&said.offset));
        assert!(messages.iter().eq(others), "byte {at}");
    }
    // Backwards it is told as well.
    let mut changed = good.clone();
    changed[good.len() - 1] ^= 1;
    fs::write(&shelf, changed).unwrap();
    let error = archive.page_before("a", EPOCH, u64::MAX).unwrap_err();
    let words = "offsets 81 to 90 of topic \"a\" are lost: their page in shelf 1 at byte ";
    assert!(error.to_string().starts_with(words), "{error}");
    let before = archive.page_before("a", EPOCH, 81).unwrap().unwrap();
    assert_eq!(before.last_offset(), 80);
    // What is appended meanwhile is not harmed.
    append(&mut store, "a", &said(91, 10, &mut random));
    store.sync().unwrap();
    // The block that was damaged may have been written again with that.
    assert_eq!(read(&archive, "a", 91).0.len(), 10);
}

#[test]
fn a_shelf_that_is_short_or_gone_costs_what_lay_there() {
    let room = room();
    let folder_made = room.path().join("made");
    let expected = made(&folder_made);
    let shelf = shelves(&folder_made).pop().unwrap();
    let good = fs::read(&shelf).unwrap();
    for len in [None, Some(0), Some(good.len() / 2), Some(good.len() - 1)] {
        let folder = room.path().join("copy");
        copy(&folder_made, &folder);
        let shelf = folder.join(shelf.file_name().unwrap());
        match len {
            None => fs::remove_file(&shelf).unwrap(),
            Some(len) => fs::write(&shelf, &good[..len]).unwrap(),
        }
        for _ in 0..2 {
            let Opened { mut store, topics } = open(&folder);
            let archive = store.archive();
            let next = topics
                .iter()
                .find(|topic| topic.name == "a")
                .unwrap()
                .next_offset;
            // Nothing may be written where a named page is missing.
            append(&mut store, "a", &said(next, 3, &mut Rng::with_seed(3)));
            store.sync().unwrap();
            let (messages, lost) = read(&archive, "a", 0);
            let is_lost = |said: &Said| {
                lost.iter()
                    .any(|(from, to)| (*from..=*to).contains(&said.offset))
            };
            let left: Vec<&Said> = expected.iter().filter(|said| !is_lost(said)).collect();
            assert!(messages.iter().filter(|said| said.offset <= 90).eq(left));
            assert_eq!(read(&archive, "a", next).0.len(), 3);
            assert!(!lost.is_empty());
            store.tidy().unwrap();
            store.close().unwrap();
        }
        fs::remove_dir_all(&folder).unwrap();
    }
}

#[test]
fn a_changed_byte_of_the_index_is_named_or_changes_nothing() {
    let room = room();
    let folder = room.path().join("made");
    let expected = made(&folder);
    let mut random = Rng::with_seed(4);
    let mut refused = 0;
    let changeable: Vec<PathBuf> = files(&folder)
        .into_iter()
        .filter(|path| !path.to_str().unwrap().contains("shelf-"))
        .filter(|path| path.metadata().unwrap().len() > 0)
        .collect();
    assert!(changeable.iter().any(|path| path.ends_with("2/tables/1")));
    for path in &changeable {
        let bytes = fs::read(path).unwrap();
        for _ in 0..bytes.len().min(20) {
            let at = match random.u8(..4) {
                // The newest batches of a journal.
                0 => bytes.len() - random.usize(1..=bytes.len().min(150)),
                _ => random.usize(..bytes.len()),
            };
            let copied = room.path().join("copy");
            copy(&folder, &copied);
            let mut changed = bytes.clone();
            changed[at] ^= 1 << random.u8(..8);
            let place = path.strip_prefix(&folder).unwrap();
            fs::write(copied.join(place), changed).unwrap();
            // What is refused is refused again: opening repairs nothing by losing it.
            for _ in 0..2 {
                match Store::open_sized(&copied, SHELF_BYTES) {
                    Err(OpenError::Damaged { .. } | OpenError::Newer { .. }) => refused += 1,
                    Err(error) => panic!("{} at {at}: {error}", place.display()),
                    Ok(Opened { store, topics }) => {
                        assert_eq!(topics.len(), 2);
                        assert!(all(&store.archive(), "a") == expected);
                    }
                }
            }
            fs::remove_dir_all(&copied).unwrap();
        }
    }
    assert!(refused > 100);
}

#[test]
fn an_index_that_is_gone_is_missed() {
    let room = room();
    made(room.path());
    fs::remove_dir_all(room.path().join("index")).unwrap();
    let refused = Store::open(room.path()).map(drop).unwrap_err();
    assert!(refused.to_string().contains("it is missing"), "{refused}");
    // The pages are still there for whoever can make use of them.
    assert_eq!(shelves(room.path()).len(), 1);
}
