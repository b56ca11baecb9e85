//! The atomics of the publish and read protocol. A model checker swaps them.

pub(super) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
