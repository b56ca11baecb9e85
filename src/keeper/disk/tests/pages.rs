//! Pages alone, without a store.

use super::super::page::{self, HEAD_BYTES};
use super::super::part::{PAGE_BYTES_MAX, Part};
use super::*;

fn written(messages: &[Said]) -> Vec<Vec<u8>> {
    let pieces = Pieces::of(messages);
    let page = pieces.page();
    page.check().unwrap();
    let write = |part: Part<'_>| {
        let mut bytes = Vec::new();
        let head = page::encode(5, &part, &mut bytes);
        bytes.extend(part.frames);
        bytes.extend(part.rare);
        assert_eq!(head.page_len(), bytes.len() as u64);
        bytes
    };
    page.parts().map(write).collect()
}

#[test]
fn a_page_reads_as_it_was_written() {
    let mut random = Rng::with_seed(1);
    for count in [1, 2, 3, 50] {
        let messages = said(random.u64(1..1 << 40), count, &mut random);
        let pages = written(&messages);
        assert_eq!(pages.len(), 1);
        let page = Page::read(pages[0].clone()).unwrap();
        assert_eq!(messages_of(&page), messages);
        assert_eq!(page.first_offset(), messages[0].offset);
        assert_eq!(page.next_offset(), messages[0].offset + count);
        assert!(page.bytes() >= pages[0].len());
        for (number, said) in messages.iter().enumerate() {
            let message = page.message("a", EPOCH, number);
            assert_eq!(message.offset, said.offset);
            assert_eq!(message.time_ms, said.time_ms);
            assert_eq!(message.text, said.text);
            assert_eq!(message.payload, &said.frame[said.header_len.into()..]);
            assert_eq!(message.extras, Extras::decode(&said.rare));
            assert_eq!(page.number_from(said.offset), number);
        }
    }
}

#[test]
fn what_is_below_the_floor_is_not_in_the_page() {
    let mut random = Rng::with_seed(2);
    let messages = said(10, 20, &mut random);
    let bytes = written(&messages).pop().unwrap();
    for floor in 0..32 {
        let mut page = Page::read(bytes.clone()).unwrap();
        assert_eq!(page.skip_below(floor), floor < 30);
        if floor < 30 {
            let left: Vec<Said> = messages
                .iter()
                .skip_while(|said| said.offset < floor)
                .cloned()
                .collect();
            assert_eq!(messages_of(&page), left);
            assert_eq!(page.first_offset(), floor.max(10));
        }
    }
}

#[test]
fn a_run_too_long_for_a_page_becomes_several() {
    let mut random = Rng::with_seed(3);
    let mut messages = said(1, 40, &mut random);
    for (number, message) in messages.iter_mut().enumerate() {
        message.frame.resize(30_000, number as u8);
    }
    // One message that is longer than a page may be, and one that comes months later.
    messages[20].frame.resize(3 * PAGE_BYTES_MAX, 0);
    for message in &mut messages[30..] {
        message.time_ms += 1 << 33;
    }
    for message in &mut messages[35..] {
        message.offset += 1 << 33;
    }
    let pages = written(&messages);
    let long = |bytes: &&Vec<u8>| bytes.len() > PAGE_BYTES_MAX + PAGE_BYTES_MAX / 10;
    assert_eq!(pages.iter().filter(long).count(), 1);
    assert!(pages.len() > 6);
    let read = pages.into_iter().map(|bytes| Page::read(bytes).unwrap());
    let read: Vec<Said> = read.flat_map(|page| messages_of(&page)).collect();
    assert!(read == messages);
}

#[test]
fn a_page_that_no_log_would_make_is_refused() {
    let mut random = Rng::with_seed(4);
    let room = room();
    let Opened { mut store, .. } = open(room.path());
    let good = Pieces::of(&said(1, 5, &mut random));
    let mut bad: Vec<Pieces> = Vec::new();
    for _ in 0..6 {
        bad.push(Pieces {
            frames: good.frames.clone(),
            slots: good.slots.clone(),
            rare: good.rare.clone(),
        });
    }
    bad[0].slots[1].offset = 1;
    bad[1].slots[1].end = 0;
    bad[2].slots[4].end += 1;
    bad[3].slots[2].rare_len += 1;
    bad[4].slots[0].header_len = 255;
    bad[4].slots[0].end = 10;
    bad[5].frames.pop();
    for pieces in bad {
        let refused = store.append("a", EPOCH, &pieces.page());
        assert!(matches!(refused, Err(StoreError::Page { .. })));
    }
    // That did the store no harm.
    store.append("a", EPOCH, &good.page()).unwrap();
    store.sync().unwrap();
    assert_eq!(all(&store.archive(), "a").len(), 5);
}

#[test]
fn no_bytes_are_read_as_a_page_that_was_not_written() {
    let mut random = Rng::with_seed(5);
    let bytes = written(&said(1 << 33, 9, &mut random)).pop().unwrap();
    assert!(Page::read(bytes.clone()).is_some());
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << random.u8(..8);
        assert!(Page::read(changed).is_none(), "byte {at}");
        assert!(Page::read(bytes[..at].to_vec()).is_none());
    }
    let mut longer = bytes;
    longer.push(0);
    assert!(Page::read(longer).is_none());
}

/// The checksum is right, and all else may be anything.
#[test]
fn a_page_of_nonsense_is_none_and_does_no_harm() {
    let mut random = Rng::with_seed(6);
    let good = written(&said(1 << 33, 5, &mut random)).pop().unwrap();
    let mut found = 0;
    for _ in 0..20_000 {
        let mut bytes = match random.u8(..3) {
            0 => (0..random.usize(..300)).map(|_| random.u8(..)).collect(),
            _ => good.clone(),
        };
        for _ in 0..random.usize(..4) {
            if let Some(at) = random.usize(..bytes.len() + 1).checked_sub(1) {
                let at = match random.bool() {
                    true => at,
                    false => at % HEAD_BYTES.min(bytes.len()),
                };
                bytes[at] = match random.u8(..3) {
                    0 => 0,
                    1 => 255,
                    _ => random.u8(..),
                };
            }
        }
        page::seal(&mut bytes);
        if let Some(mut page) = Page::read(bytes) {
            found += 1;
            page.skip_below(random.u64(..));
            for number in 0..page.len() {
                page.message("a", EPOCH, number);
            }
            page.number_from(random.u64(..));
            page.next_offset();
        }
    }
    assert!(found > 100);
}
