//! The store: topics' history in a folder on disk.
//!
//! Messages are written by **pages**: runs of consecutive messages of one topic, as they lie
//! in the log. A page is written once, at the end of a **shelf**, a flat file that is only
//! appended to. What lies where, and a record of each topic, is in the **index**, an embedded
//! key-value store. A shelf is synced before the index names its pages, and the index is
//! changed and synced in one step. So whatever the index names is there, and a tail that a
//! power loss left half written is not named by anything.
//!
//! What lies in the folder, which nobody but its owner may enter:
//!
//! | name | what |
//! |---|---|
//! | `owner.lock` | held by the process that has the store open |
//! | `format` | the version of all below |
//! | `synced` | how many syncs there were, to notice when the index has lost some |
//! | `index/` | the index |
//! | `shelf-0000000001`, … | pages, 64 MiB in each |
//!
//! The clean end of a store is recorded. After another end each topic goes on far behind what
//! is stored ([`LEAP`]), so that an offset that somebody may have seen is never given twice.
//!
//! The store knows neither the log nor who feeds it. One [`Store`] writes; any number of
//! [`Archive`]s read what was synced meanwhile.

mod archive;
mod error;
mod folder;
mod index;
mod page;
mod part;
mod record;
mod shelf;
mod staging;
mod store;
mod tidy;
mod topic;
mod topics;
mod verify;

pub use archive::Archive;
pub use error::{OpenError, ReadError, StoreError};
pub use page::Page;
pub use part::{PageIn, SlotIn};
pub use store::{Opened, Store};
pub use topic::Stored;
pub use topics::{LEAP, StoredTopic};

#[cfg(test)]
mod tests;
