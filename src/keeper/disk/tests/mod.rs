//! The store as its caller sees it, and as disks and people may treat it.

mod damage;
mod giving_up;
mod life;
mod model;
mod pages;
mod power;
mod room;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use fastrand::Rng;
use tempfile::TempDir;

use super::*;
use crate::protocol::encoding::Extras;

const EPOCH: u64 = 77;
/// Small, so that tests have several.
const SHELF_BYTES: u64 = 16 << 10;

/// A message as it is put in and shall come out.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    offset: u64,
    time_ms: u64,
    text: bool,
    header_len: u8,
    frame: Vec<u8>,
    rare: Vec<u8>,
}

impl Said {
    fn random(offset: u64, random: &mut Rng) -> Said {
        let header_len = random.u8(2..=14);
        let payload_len = match random.u8(..20) {
            0 => random.usize(1000..5000),
            1 => 0,
            _ => random.usize(..100),
        };
        let frame = (0..usize::from(header_len) + payload_len).map(|_| random.u8(..));
        let frame = frame.collect();
        let mut rare = Vec::new();
        if random.u8(..4) == 0 {
            Extras {
                event: random.bool().then_some("joined"),
                info: b"{\"name\":1}",
                tags: "{\"a\":\"b\"}",
                origin: random.bool().then(|| random.u64(..)),
            }
            .encode(&mut rare);
        }
        Said {
            offset,
            time_ms: 1_000_000 + offset % 1_000_000,
            text: random.bool(),
            header_len,
            frame,
            rare,
        }
    }
}

/// So many messages with consecutive offsets, of which the first is `first`.
fn said(first: u64, count: u64, random: &mut Rng) -> Vec<Said> {
    (first..first + count)
        .map(|offset| Said::random(offset, random))
        .collect()
}

#[derive(Default)]
struct Pieces {
    frames: Vec<u8>,
    slots: Vec<SlotIn>,
    rare: Vec<u8>,
}

impl Pieces {
    fn of(messages: &[Said]) -> Pieces {
        let mut pieces = Pieces::default();
        for message in messages {
            pieces.frames.extend(&message.frame);
            pieces.rare.extend(&message.rare);
            pieces.slots.push(SlotIn {
                end: pieces.frames.len() as u32,
                offset: message.offset,
                time_ms: message.time_ms,
                header_len: message.header_len,
                text: message.text,
                rare_len: message.rare.len() as u32,
            });
        }
        pieces
    }

    fn page(&self) -> PageIn<'_> {
        PageIn {
            frames: &self.frames,
            slots: &self.slots,
            rare: &self.rare,
        }
    }
}

fn open(folder: &Path) -> Opened {
    Store::open_sized(folder, SHELF_BYTES).unwrap()
}

/// A folder for a store, which vanishes with the test.
fn room() -> TempDir {
    let room = TempDir::new().unwrap();
    fs::set_permissions(room.path(), fs::Permissions::from_mode(0o700)).unwrap();
    room
}

fn append(store: &mut Store, topic: &str, messages: &[Said]) {
    let pieces = Pieces::of(messages);
    store.append(topic, EPOCH, &pieces.page()).unwrap();
}

fn messages_of(page: &Page) -> Vec<Said> {
    (0..page.len())
        .map(|number| {
            let slot = page.slot_of(number);
            assert_eq!(slot.offset, page.offset(number));
            assert_eq!(slot.time_ms, page.time_ms(number));
            Said {
                offset: slot.offset,
                time_ms: slot.time_ms,
                text: slot.text,
                header_len: slot.header_len,
                frame: page.frame(number).to_vec(),
                rare: page.rare(number).to_vec(),
            }
        })
        .collect()
}

/// All messages of a topic from `from` on, and the ranges that are said to be lost.
fn read(archive: &Archive, topic: &str, from: u64) -> (Vec<Said>, Vec<(u64, u64)>) {
    let (mut messages, mut lost) = (Vec::new(), Vec::new());
    let mut next = from;
    loop {
        match archive.page(topic, EPOCH, next) {
            Ok(Some(page)) => {
                assert!(page.next_offset() > next || next == 0);
                let skipped = page.number_from(next);
                messages.extend(messages_of(&page).into_iter().skip(skipped));
                next = page.next_offset();
            }
            Ok(None) => return (messages, lost),
            Err(ReadError::Damaged { from, to, .. }) => {
                lost.push((from, to));
                next = to + 1;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// The same, newest first.
fn read_backwards(archive: &Archive, topic: &str) -> Vec<Said> {
    let (mut messages, mut before) = (Vec::new(), u64::MAX);
    while let Some(page) = archive.page_before(topic, EPOCH, before).unwrap() {
        assert!(page.first_offset() < before);
        let mut of_page = messages_of(&page);
        of_page.retain(|message| message.offset < before);
        messages.extend(of_page.into_iter().rev());
        before = page.first_offset();
    }
    messages
}

/// All of a topic, of which nothing may be lost.
fn all(archive: &Archive, topic: &str) -> Vec<Said> {
    let (messages, lost) = read(archive, topic, 0);
    assert_eq!(lost, []);
    let mut backwards = read_backwards(archive, topic);
    backwards.reverse();
    assert_eq!(backwards, messages);
    messages
}

/// Copies a store that nobody writes to just now.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}

fn shelves(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut shelves: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_str().unwrap().contains("shelf-"))
        .collect();
    shelves.sort();
    shelves
}
