//! History that is asked for: pages of what the stream still holds of a topic.

use async_nats::Message;

use super::chain::PageEnd;
use super::event::{Event, Page, Ticket, Topic};
use super::fetching::page_end;
use super::state::{Ask, Delayed, Past, State};

/// Pages that may be under way at once; further ones wait for their turn.
const PASTS_MAX: usize = 16;
/// Pages that may wait; further ones fail at once.
const WAITING_MAX: usize = 4096;
/// Messages of one page.
const LIMIT_MAX: usize = 1000;
/// How often a page is asked for.
const ATTEMPTS_MAX: u32 = 3;

impl State {
    pub(super) fn look_back(&mut self, topic: Topic, since: u64, limit: usize, ticket: Ticket) {
        let limit = limit.min(LIMIT_MAX);
        if limit == 0 || self.pasts.len() >= WAITING_MAX {
            let page = match limit {
                0 => Page::Found {
                    messages: Vec::new(),
                    more: true,
                },
                _ => Page::Failed,
            };
            return self.tell(Event::History { ticket, page });
        }
        self.pasts.push_back(Past {
            topic,
            since,
            limit,
            ticket,
            found: Vec::new(),
            is_broken: false,
            attempts: 0,
        });
    }

    pub(super) fn pump_history(&mut self) {
        while self.pasts_under_way < PASTS_MAX
            && let Some(mut past) = self.pasts.pop_front()
        {
            self.pasts_under_way += 1;
            past.attempts += 1;
            (past.found, past.is_broken) = (Vec::new(), false);
            let number = self.subjects.stream(&past.topic);
            let subject = self.subjects.stored(&past.topic);
            let body = self.page_of(&subject, past.since + 1, past.limit);
            self.ask_api("DIRECT.GET", number, &body, Ask::History(past));
        }
    }

    /// The last answer to a page; the messages before it are in `past.found`.
    pub(super) fn handle_past(&mut self, past: Past, message: &Message) {
        let last = past.found.last().map(|it| it.offset);
        let end = page_end(message, last).filter(|_| !past.is_broken);
        let Some(end) = end else {
            return self.handle_no_past(past);
        };
        // The replica that was asked may lack what was given on here.
        let followed = self.topics.get(&past.topic);
        let newest = followed.map_or(0, |followed| followed.chain.last());
        let reached = last.unwrap_or(past.since);
        let may_lag = end == PageEnd::End && reached < newest && self.replicas > 1;
        if may_lag && past.attempts < ATTEMPTS_MAX {
            self.counters().replica_lags.one();
            return self.handle_no_past(past);
        }
        self.pasts_under_way = self.pasts_under_way.saturating_sub(1);
        let page = Page::Found {
            more: end == PageEnd::More,
            messages: past.found,
        };
        let ticket = past.ticket;
        self.tell(Event::History { ticket, page });
    }

    /// A page did not come. It is asked for again, some times.
    pub(super) fn handle_no_past(&mut self, past: Past) {
        self.pasts_under_way = self.pasts_under_way.saturating_sub(1);
        if past.attempts < ATTEMPTS_MAX {
            self.delay(Delayed::History(past));
        } else {
            let (ticket, page) = (past.ticket, Page::Failed);
            self.tell(Event::History { ticket, page });
        }
    }
}
