//! What an operation carries through the kernel: which kind it was, whose
//! slot, and for zero-copy sends which held bytes, or which place on loan; for
//! accepts where the address goes.
//!
//! ```text
//! 63      56 55              32 31               0
//! |  kind   |  bytes or place  |  slot            |
//! ```

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Receive = 1,
    Send,
    SendZeroCopy,
    Writable,
    ShutDown,
    Close,
    Cancel,
    Install,
    Lend,
    Accept,
    Bound,
}

/// The largest number of zero-copy sends under way.
pub(super) const HELD_MAX: usize = 1 << 24;

pub(super) fn pack(kind: Kind, held: usize, slot: u32) -> u64 {
    debug_assert!(held < HELD_MAX);
    (kind as u64) << 56 | (held as u64) << 32 | u64::from(slot)
}

pub(super) fn unpack(token: u64) -> (Kind, usize, u32) {
    let kind = match token >> 56 {
        1 => Kind::Receive,
        2 => Kind::Send,
        3 => Kind::SendZeroCopy,
        4 => Kind::Writable,
        5 => Kind::ShutDown,
        6 => Kind::Close,
        7 => Kind::Cancel,
        8 => Kind::Install,
        9 => Kind::Lend,
        10 => Kind::Accept,
        11 => Kind::Bound,
        other => unreachable!("no operation carries the kind {other}"),
    };
    let held = (token >> 32) as usize & (HELD_MAX - 1);
    (kind, held, token as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_back_as_it_went() {
        for kind in [
            Kind::Receive,
            Kind::Send,
            Kind::SendZeroCopy,
            Kind::Writable,
            Kind::ShutDown,
            Kind::Close,
            Kind::Cancel,
            Kind::Install,
            Kind::Lend,
            Kind::Accept,
            Kind::Bound,
        ] {
            for (held, slot) in [(0, 0), (HELD_MAX - 1, u32::MAX), (7, 29_999)] {
                assert_eq!(unpack(pack(kind, held, slot)), (kind, held, slot));
            }
        }
    }
}
