//! Ids of events: where in which history a client is.

use std::io::Write;

/// A place in a topic's history: all up to there is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub epoch: u64,
    /// Of the newest message that is known; 0 before the first.
    pub offset: u64,
}

/// Digits of an epoch.
const EPOCH_DIGITS: usize = 16;

impl Place {
    /// The longest text of one: `EPOCH-OFFSET`.
    pub(super) const BYTES_MAX: usize = EPOCH_DIGITS + 1 + 20;

    /// Appends it as a part of an id.
    pub fn write(self, mut out: impl Write) {
        let Place { epoch, offset } = self;
        write!(out, "{epoch:016x}-{offset}").expect("there is room");
    }

    /// Reads what [`Place::write`] has written, and nothing else.
    pub fn read(text: &str) -> Option<Place> {
        let (epoch, offset) = text.split_once('-')?;
        let is_hex = epoch.bytes().all(|byte| byte.is_ascii_hexdigit());
        // `parse` alone would take a plus sign.
        let is_decimal = offset.bytes().all(|byte| byte.is_ascii_digit());
        if epoch.len() != EPOCH_DIGITS || !is_hex || !is_decimal {
            return None;
        }
        Some(Place {
            epoch: u64::from_str_radix(epoch, 16).ok()?,
            offset: offset.parse().ok()?,
        })
    }

    /// The places in an id of `count` topics, in their order.
    pub(in crate::protocol) fn read_all(text: &str, count: usize) -> Option<Vec<Place>> {
        let places: Option<Vec<_>> = text.split(',').take(count + 1).map(Place::read).collect();
        places.filter(|places| places.len() == count)
    }

    /// The offset that is wanted next.
    pub fn next(self) -> u64 {
        self.offset.saturating_add(1)
    }
}

/// Appends an id that names a place in each of a stream's topics: a field of its own, without
/// the end of the event.
pub fn write_ids(places: impl Iterator<Item = Place>, out: &mut Vec<u8>) {
    let mut before = &b"id: "[..];
    for place in places {
        out.extend_from_slice(before);
        place.write(&mut *out);
        before = b",";
    }
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Place = Place {
        epoch: 0xab,
        offset: 7,
    };

    #[test]
    fn a_place_comes_back_as_it_was_written() {
        for (epoch, offset) in [(0, 0), (0xab, 7), (u64::MAX, u64::MAX)] {
            let place = Place { epoch, offset };
            let mut text = Vec::new();
            place.write(&mut text);
            assert!(text.len() <= Place::BYTES_MAX);
            assert_eq!(Place::read(str::from_utf8(&text).unwrap()), Some(place));
        }
        assert_eq!(Place::read("00000000000000AB-7"), Some(HERE));
    }

    #[test]
    fn what_is_no_place_is_none() {
        for text in [
            "",
            "-",
            "7",
            "ab-7",
            "00000000000000ab",
            "00000000000000ab-",
            "00000000000000ab-+7",
            "00000000000000ab-7 ",
            "00000000000000ab--7",
            "00000000000000ag-7",
            "+0000000000000ab-7",
            "000000000000000ab-7",
            "00000000000000ab-18446744073709551616",
            "00000000000000ab-7,00000000000000ab-7",
            "urn:uuid:4d2d3b2a-1f5e-4c3b-9d0e-0e6a2f1c7b5d",
        ] {
            assert_eq!(Place::read(text), None, "{text}");
        }
    }

    #[test]
    fn an_id_of_many_topics_has_a_place_for_each() {
        let places = [HERE, Place { offset: 0, ..HERE }, HERE];
        let mut field = Vec::new();
        write_ids(places.into_iter(), &mut field);
        let field = String::from_utf8(field).unwrap();
        let text = field.strip_prefix("id: ").unwrap().strip_suffix('\n');
        assert_eq!(Place::read_all(text.unwrap(), 3), Some(places.to_vec()));
        for count in [0, 1, 2, 4] {
            assert_eq!(Place::read_all(text.unwrap(), count), None);
        }
        assert_eq!(Place::read_all("00000000000000ab-7,", 2), None);
    }
}
