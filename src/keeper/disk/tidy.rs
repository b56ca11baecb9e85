//! Emptying shelves of which little is still wanted.
//!
//! Which pages lie on a shelf is found by going along it: a page's head says how long it is,
//! and the index says whether the page is still wanted and still lies there.

use std::path::Path;

use super::error::StoreError;
use super::index::Index;
use super::page::{HEAD_BYTES, Head};
use super::record::PageRecord;
use super::shelf::{self, Shelves};

/// One call copies at most one part in so many of a shelf, but for the last page.
const STEPS: u64 = 8;
/// Pages that one call looks at.
const PAGES_MAX: usize = 4096;

/// How far the emptying is.
#[derive(Default)]
pub(super) struct Tidying {
    /// The shelf being emptied, and how far it was gone along.
    at: Option<(u32, u64)>,
    /// Shelves that were gone along, or that are too damaged for it. What is still wanted of
    /// one could not be found, so it stays until nothing is.
    done: Vec<u32>,
}

/// A page that was copied to another shelf. The index does not know yet.
pub(super) struct Move {
    pub(super) id: u64,
    pub(super) first: u64,
    pub(super) from: PageRecord,
    pub(super) to: PageRecord,
}

impl Tidying {
    /// Copies what is wanted of a sparse shelf to the one that is written to.
    pub(super) fn copy(
        &mut self,
        folder: &Path,
        shelves: &mut Shelves,
        index: &Index,
    ) -> Result<Vec<Move>, StoreError> {
        let mut moves = Vec::new();
        let begun = self.at.filter(|(number, _)| shelves.len(*number) > 0);
        let sparse = || shelves.sparse(&self.done).map(|number| (number, 0));
        let Some((number, mut at)) = begun.or_else(sparse) else {
            self.at = None;
            return Ok(moves);
        };
        let (mut copied, mut looked_at) = (0, 0);
        let end = shelves.len(number);
        let copied_max = shelves.bytes_max() / STEPS;
        while at < end && copied < copied_max && looked_at < PAGES_MAX {
            looked_at += 1;
            // What cannot be read cannot be moved: the shelf stays.
            let head = shelf::read(folder, number, at, HEAD_BYTES).ok();
            let head = head.and_then(|bytes| Head::read(&bytes));
            let Some(head) = head.filter(|head| at + head.page_len() <= end) else {
                at = end;
                break;
            };
            let len = head.page_len();
            let named = index.page(head.topic, head.first)?;
            if let Some(from) = named
                && (from.shelf, u64::from(from.at)) == (number, at)
                && u64::from(from.len) == len
            {
                let Ok(bytes) = shelf::read(folder, number, at, len as usize) else {
                    at = end;
                    break;
                };
                // A damaged page is copied as it is: whoever reads it is told.
                let (shelf, at) = shelves.append([&bytes, &[], &[]])?;
                moves.push(Move {
                    id: head.topic,
                    first: head.first,
                    from,
                    to: PageRecord { shelf, at, ..from },
                });
                copied += len;
            }
            at += len;
        }
        self.at = (at < end).then_some((number, at));
        if self.at.is_none() {
            self.done.push(number);
        }
        Ok(moves)
    }
}
