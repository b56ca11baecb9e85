//! Reads the store for the hub.

use super::disk::{Archive, Page, ReadError};
use crate::hub::{self, At, PageEnds, Unreadable};
use crate::protocol::encoding::Message;

/// The store as those see it who come back.
pub(super) struct Reading(Archive);

impl Reading {
    pub(super) fn new(archive: Archive) -> Self {
        Reading(archive)
    }
}

impl hub::Archive for Reading {
    fn page(
        &self,
        topic: &str,
        epoch: u64,
        at: At,
        show: &mut dyn FnMut(&Message<'_>),
    ) -> Result<Option<PageEnds>, Unreadable> {
        let page = match at {
            At::Holding(offset) => self.0.page(topic, epoch, offset),
            At::Before(offset) => self.0.page_before(topic, epoch, offset),
        };
        let Some(page) = page.map_err(unreadable)? else {
            return Ok(None);
        };
        for number in 0..page.len() {
            show(&page.message(topic, epoch, number));
        }
        Ok(Some(ends(&page)))
    }
}

fn ends(page: &Page) -> PageEnds {
    (page.first_offset(), page.next_offset())
}

fn unreadable(error: ReadError) -> Unreadable {
    match error {
        ReadError::Damaged { from, to, .. } => Unreadable::Damaged(from, to + 1),
        error => Unreadable::Failed(error.to_string()),
    }
}
