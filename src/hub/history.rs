//! Pages of a topic's history, in the one form that all who ask for them get.

use std::ops::ControlFlow;
use std::sync::atomic::Ordering;

use super::Hub;
use super::topics::TopicsFull;
use crate::log::Range;
use crate::protocol::centrifugo::{Publication, publication};
use crate::protocol::dialect::centrifugo::Page;
use crate::protocol::topic::TopicName;

/// A page of history.
#[derive(Debug)]
pub struct Past {
    pub epoch: u64,
    /// Of the newest message there is.
    pub offset: u64,
    pub publications: Vec<Publication>,
}

/// Why there is no such page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    #[error("{0}")]
    Topics(#[from] TopicsFull),
    #[error("the place asked for is one of another history")]
    OtherEpoch,
}

impl Hub {
    /// What is retained of a topic, as far as it is on the page and within its limits.
    ///
    /// # Errors
    /// See [`HistoryError`].
    pub fn history(&self, name: &TopicName, page: &Page) -> Result<Past, HistoryError> {
        let topic = self.topic(name)?;
        let epoch = topic.epoch();
        if let Some(since) = &page.since
            && !since.is_in(epoch)
        {
            return Err(HistoryError::OtherEpoch);
        }
        let offset = topic.newest();
        let since = page.since.as_ref().map(|since| since.offset);
        let (from, until) = match (since, page.reverse) {
            (None, _) => (1, offset + 1),
            (Some(since), false) => (since.saturating_add(1), offset + 1),
            (Some(since), true) => (1, since.min(offset + 1)),
        };
        let range = Range {
            from,
            until,
            reverse: page.reverse,
        };
        let settings = self.settings();
        let messages_max = settings.history_page_messages_max;
        let limit = page.limit.map_or(messages_max, |n| n.min(messages_max));
        let wants_more = page.limit.is_none_or(|limit| limit > messages_max);
        let (mut publications, mut bytes) = (Vec::new(), 0);
        if limit > 0 {
            topic.visit(range, self.retention(&topic), |message| {
                publications.push(publication(message));
                bytes += message.payload.len();
                match publications.len() >= limit || bytes >= settings.history_page_bytes_max {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                }
            });
        }
        let is_full = publications.len() >= limit && wants_more
            || publications.len() < limit && bytes >= settings.history_page_bytes_max;
        if is_full {
            self.full_pages.fetch_add(1, Ordering::Relaxed);
        }
        Ok(Past {
            epoch,
            offset,
            publications,
        })
    }

    /// Pages of history that ended where the settings let them, rather than where who asked for
    /// them wanted.
    pub fn full_pages(&self) -> u64 {
        self.full_pages.load(Ordering::Relaxed)
    }

    /// Gives up a topic's history, if there is such a topic. Epoch and offsets go on.
    pub fn remove_history(&self, name: &TopicName) {
        if let Some(topic) = self.find_topic(name.as_str()) {
            topic.shed(0);
            // What cores still hold of it they let go of when they look.
            self.announce(&topic, None);
        }
    }
}
