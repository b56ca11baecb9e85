//! What a caller may want of a topic's history.

/// Which part of a topic's history is wanted.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wish {
    /// At most `limit` messages behind `since`.
    After { since: u64, limit: usize },
    /// The last `limit` messages before an offset.
    Before { before: u64, limit: usize },
    /// The offset of the oldest of the `count` newest messages.
    OldestOf { count: u64 },
}

impl Wish {
    pub(super) fn is_for_nothing(self) -> bool {
        match self {
            Wish::After { limit, .. } | Wish::Before { limit, .. } => limit == 0,
            Wish::OldestOf { count } => count == 0,
        }
    }

    /// The offset that is before the wanted ones.
    pub(super) fn since(self) -> u64 {
        match self {
            Wish::After { since, .. } => since,
            Wish::Before { .. } | Wish::OldestOf { .. } => 0,
        }
    }
}
