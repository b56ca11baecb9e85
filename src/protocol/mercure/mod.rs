//! Mercure's protocol as it is deployed (0.x), as far as it needs no patterns: streams of exact
//! topics ([`negotiate_mercure`]) and updates of one topic ([`Update`]).

mod request;
mod update;

pub use request::{MERCURE_PATH, asks_for_updates, is_update, negotiate_mercure};
pub use update::{BadUpdate, Update};
