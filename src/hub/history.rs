//! Pages of a topic's history, in the one form that all who ask for them get.

use std::ops::ControlFlow;
use std::sync::atomic::Ordering;

use super::Hub;
use super::keeping::{At, Unreadable};
use super::older::note_too_old;
use super::topics::TopicsFull;
use crate::log::{Range, Topic};
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

/// Takes one message after the other, until it has enough.
type Take<'a> = dyn FnMut(Publication) -> ControlFlow<()> + 'a;

/// Why there is no such page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    #[error("{0}")]
    Topics(#[from] TopicsFull),
    #[error("the place asked for is one of another history")]
    OtherEpoch,
    /// [`Hub::history_stored`] knows more.
    #[error("a part of it is in the store")]
    Stored,
    #[error("the store cannot be read at present")]
    Unreadable,
    /// It will be soon.
    #[error("it is not known yet what the cluster has of it")]
    Unknown,
}

impl Hub {
    /// What is retained of a topic, as far as it is on the page and within its limits.
    ///
    /// # Errors
    /// See [`HistoryError`].
    pub fn history(&self, name: &TopicName, page: &Page) -> Result<Past, HistoryError> {
        self.look_back(name, page, false)
    }

    /// The same with what the store has; it takes as long as that needs to read.
    ///
    /// # Errors
    /// See [`HistoryError`].
    pub fn history_stored(&self, name: &TopicName, page: &Page) -> Result<Past, HistoryError> {
        self.look_back(name, page, true)
    }

    fn look_back(
        &self,
        name: &TopicName,
        page: &Page,
        may_read: bool,
    ) -> Result<Past, HistoryError> {
        let topic = self.topic(name)?;
        if !topic.is_known() {
            self.want(&topic);
            return Err(HistoryError::Unknown);
        }
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
        let mut take = |publication: Publication| {
            bytes += publication.data.bytes.len();
            publications.push(publication);
            match publications.len() >= limit || bytes >= settings.history_page_bytes_max {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        };
        if limit > 0 {
            self.visit_all(&topic, range, may_read, &mut take)?;
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

    /// Shows what is retained of a range, in memory and, if it may be read, in the store.
    fn visit_all(
        &self,
        topic: &Topic,
        mut range: Range,
        may_read: bool,
        take: &mut Take<'_>,
    ) -> Result<(), HistoryError> {
        let retention = self.retention(topic);
        range.from = range.from.max(topic.floor(retention));
        // Before the first look at the store: what memory gives up is stored by then.
        let held = topic.held_first();
        let is_stored = topic.kept().is_some() && range.from < held.min(range.until);
        if is_stored && !range.reverse {
            if !may_read {
                return Err(HistoryError::Stored);
            }
            if self.visit_stored(topic, range, held, take)?.is_break() {
                return Ok(());
            }
        }
        let mut flow = ControlFlow::Continue(());
        let of_memory = Range {
            from: range.from.max(held),
            ..range
        };
        topic.visit(of_memory, retention, |message| {
            flow = take(publication(message));
            flow
        });
        if is_stored && range.reverse && flow.is_continue() {
            if !may_read {
                return Err(HistoryError::Stored);
            }
            let _ = self.visit_stored(topic, range, held, take)?;
        }
        Ok(())
    }

    /// Shows what the store has of a range before the offset `held`.
    fn visit_stored(
        &self,
        topic: &Topic,
        range: Range,
        held: u64,
        take: &mut Take<'_>,
    ) -> Result<ControlFlow<()>, HistoryError> {
        let archive = self.archive_of(topic).ok_or(HistoryError::Unreadable)?;
        let (mut from, mut until) = (range.from, range.until.min(held));
        let oldest_ms = self.oldest_ms(topic);
        while from < until {
            let at = match range.reverse {
                true => At::Before(until),
                false => At::Holding(from),
            };
            let (mut found, mut too_old) = (Vec::new(), 0);
            let page = archive.page(topic.name(), topic.epoch(), at, &mut |message| {
                if message.time_ms < oldest_ms {
                    too_old = message.offset;
                } else if (from..until).contains(&message.offset) {
                    found.push(publication(message));
                }
            });
            note_too_old(topic, too_old);
            match page {
                Ok(None) => break,
                Ok(Some((first, next))) => match range.reverse {
                    // There is nothing wanted before what is too old.
                    true if too_old > 0 => until = from,
                    true => until = first,
                    false => from = next,
                },
                Err(Unreadable::Damaged(first, next)) => {
                    self.note_damage(topic, first, next);
                    match range.reverse {
                        true => until = first,
                        false => from = next,
                    }
                }
                Err(Unreadable::Failed(_)) => return Err(HistoryError::Unreadable),
            }
            if range.reverse {
                found.reverse();
            }
            for publication in found {
                if take(publication).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Pages of history that ended where the settings let them, rather than where who asked for
    /// them wanted.
    pub fn full_pages(&self) -> u64 {
        self.full_pages.load(Ordering::Relaxed)
    }

    /// Gives up a topic's history, if there is such a topic. Epoch and offsets go on.
    pub fn remove_history(&self, name: &TopicName) {
        if let Some(topic) = self.find_topic(name.as_str()) {
            let next = topic.remove_history();
            if topic.kept().is_some() {
                self.keeping().note_unwanted(topic.name(), next);
            }
            // What cores still hold of it they let go of when they look.
            self.announce(&topic, None);
        }
    }
}
