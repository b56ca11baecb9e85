//! What every message carries: who sent it, which one it is, and when it was due.
//!
//! The stamp is plain ASCII without quotes or backslashes, so that it passes
//! through servers that only take text or that quote what they pass on.

/// Bytes that a stamp takes; no message of a test can be smaller.
pub const STAMP_BYTES: usize = 24;

/// Bytes after the stamp repeat this line, so that a receiver can tell a damaged message.
const PAD: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ.,";
const DIGITS: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";
const MAGIC: u8 = b'F';

// Digits (6 bits each) of the four numbers.
const RUN_DIGITS: usize = 3;
const PUBLISHER_DIGITS: usize = 4;
const SEQUENCE_DIGITS: usize = 7;
const TIME_DIGITS: usize = 9;
const _: () = assert!(
    1 + RUN_DIGITS + PUBLISHER_DIGITS + SEQUENCE_DIGITS + TIME_DIGITS == STAMP_BYTES,
    "the stamp's fields fill it"
);

/// Values above these do not fit a stamp.
pub const RUN_MAX: u32 = (1 << (6 * RUN_DIGITS)) - 1;
pub const PUBLISHERS_MAX: u32 = 1 << (6 * PUBLISHER_DIGITS);

/// The head of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Tells this run's messages from those of another test on the same server.
    pub run: u32,
    pub publisher: u32,
    /// Counts from 0 per publisher, over the whole run.
    pub sequence: u64,
    /// When the message was due to be sent, in nanoseconds since the run began.
    pub intended_ns: u64,
}

impl Stamp {
    pub fn write(&self, out: &mut [u8]) {
        out[0] = MAGIC;
        let mut at = 1;
        for (value, digits) in [
            (u64::from(self.run), RUN_DIGITS),
            (u64::from(self.publisher), PUBLISHER_DIGITS),
            (self.sequence, SEQUENCE_DIGITS),
            (self.intended_ns, TIME_DIGITS),
        ] {
            for place in 0..digits {
                let shift = 6 * (digits - 1 - place);
                out[at + place] = DIGITS[(value >> shift) as usize & 63];
            }
            at += digits;
        }
    }

    /// `None` if the bytes are no stamp: some other message of the server.
    pub fn read(bytes: &[u8]) -> Option<Stamp> {
        if bytes.len() < STAMP_BYTES || bytes[0] != MAGIC {
            return None;
        }
        let mut at = 1;
        let mut number = |digits: usize| {
            let mut value = 0u64;
            for byte in &bytes[at..at + digits] {
                let digit = VALUES[*byte as usize];
                if digit > 63 {
                    return None;
                }
                value = value << 6 | u64::from(digit);
            }
            at += digits;
            Some(value)
        };
        Some(Stamp {
            run: number(RUN_DIGITS)? as u32,
            publisher: number(PUBLISHER_DIGITS)? as u32,
            sequence: number(SEQUENCE_DIGITS)?,
            intended_ns: number(TIME_DIGITS)?,
        })
    }
}

/// A payload of `bytes` bytes whose stamp is still to be written.
pub fn blank_payload(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| PAD[at % PAD.len()]).collect()
}

/// True if `bytes`, found at `offset` of a message, are as the publisher sent
/// them; the stamp itself is not looked at.
pub fn padding_is_whole(offset: u64, bytes: &[u8]) -> bool {
    let skip = (STAMP_BYTES as u64)
        .saturating_sub(offset)
        .min(bytes.len() as u64) as usize;
    let mut rest = &bytes[skip..];
    let mut phase = ((offset + skip as u64) % PAD.len() as u64) as usize;
    while !rest.is_empty() {
        let take = rest.len().min(PAD.len() - phase);
        if rest[..take] != PAD[phase..phase + take] {
            return false;
        }
        rest = &rest[take..];
        phase = 0;
    }
    true
}

const VALUES: [u8; 256] = {
    let mut values = [255u8; 256];
    let mut digit = 0;
    while digit < DIGITS.len() {
        values[DIGITS[digit] as usize] = digit as u8;
        digit += 1;
    }
    values
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_reads_back_at_both_ends_of_its_range() {
        for stamp in [
            Stamp {
                run: 0,
                publisher: 0,
                sequence: 0,
                intended_ns: 0,
            },
            Stamp {
                run: RUN_MAX,
                publisher: PUBLISHERS_MAX - 1,
                sequence: (1 << 42) - 1,
                intended_ns: (1 << 54) - 1,
            },
        ] {
            let mut bytes = [0; STAMP_BYTES];
            stamp.write(&mut bytes);
            assert!(bytes.is_ascii());
            assert_eq!(Stamp::read(&bytes), Some(stamp));
        }
    }

    #[test]
    fn other_messages_are_no_stamps() {
        assert_eq!(Stamp::read(b"Welcome, 127.0.0.1:4711 !   "), None);
        assert_eq!(Stamp::read(b"F"), None);
        assert_eq!(Stamp::read(b"Fabc\"fgh 012345678901234"), None);
    }

    #[test]
    fn one_changed_byte_of_the_padding_is_seen_wherever_the_message_was_cut() {
        let mut payload = blank_payload(300);
        for cut in [0, 5, 24, 64, 65, 299] {
            assert!(padding_is_whole(0, &payload[..cut]));
            assert!(padding_is_whole(cut as u64, &payload[cut..]));
        }
        payload[200] ^= 1;
        assert!(!padding_is_whole(100, &payload[100..]));
        assert!(padding_is_whole(201, &payload[201..]));
    }
}
