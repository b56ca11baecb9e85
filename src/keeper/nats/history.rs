//! History that is asked for: pages of what the stream still holds of a topic.
//!
//! A page forward is one question. A page backward, or a place that is named by a number of
//! messages, is searched for first: that is `searching`'s.

use async_nats::{Message, StatusCode};
use serde_json::json;

use super::chain::PageEnd;
use super::event::{Committed, Event, Page, Ticket, Topic};
use super::fetching::{page_end, pending_of};
use super::searching::{Question, Search};
use super::state::{Ask, Delayed, Past, State};
use super::wire;
use super::wish::Wish;

/// Pages that may be under way at once; further ones wait for their turn.
const PASTS_MAX: usize = 16;
/// Pages that may wait; further ones fail at once.
const WAITING_MAX: usize = 4096;
/// Messages of one page.
const LIMIT_MAX: usize = 1000;
/// How often a page is asked for.
const ATTEMPTS_MAX: u32 = 3;

impl State {
    pub(super) fn look_back(&mut self, topic: Topic, ticket: Ticket, wish: Wish) {
        if wish.is_for_nothing() {
            return match wish {
                Wish::OldestOf { .. } => {
                    let offset = Some(0);
                    self.tell(Event::Oldest { ticket, offset });
                }
                Wish::After { .. } | Wish::Before { .. } => {
                    let epoch = self.epoch_of(&topic);
                    self.tell_page((ticket, epoch), Vec::new(), true, 0);
                }
            };
        }
        if self.pasts.len() >= WAITING_MAX {
            return self.tell_no_past(ticket, wish);
        }
        let search = match wish {
            Wish::After { .. } => None,
            Wish::Before { before, limit } => {
                Some(Search::before(before, limit.min(LIMIT_MAX) as u64))
            }
            Wish::OldestOf { count } => Some(Search::oldest_of(count)),
        };
        self.pasts.push_back(Box::new(Past {
            topic,
            ticket,
            epoch: None,
            wish,
            search,
            deadline_ms: self.now_ms() + self.settings.propose_ms_max,
            found: Vec::new(),
            is_broken: false,
            attempts: 0,
        }));
    }

    pub(super) fn pump_history(&mut self) {
        while self.pasts_under_way < PASTS_MAX
            && let Some(mut past) = self.pasts.pop_front()
        {
            self.pasts_under_way += 1;
            past.attempts += 1;
            let epoch = self.epoch_of(&past.topic);
            past.epoch.get_or_insert(epoch);
            self.counters().history_questions.one();
            (past.found, past.is_broken) = (Vec::new(), false);
            let number = self.subjects.stream(&past.topic);
            let subject = self.subjects.stored(&past.topic);
            let body = match past.question() {
                Question::Newest => json!({ "last_by_subj": subject }),
                Question::From(from, count) => self.page_of(&subject, from, count),
            };
            self.ask_api("DIRECT.GET", number, &body, Ask::History(past));
        }
    }

    /// Questions that have waited for too long get no answer.
    pub(super) fn tick_history(&mut self, now_ms: u64) {
        while let Some(past) = self.pasts.front()
            && past.deadline_ms <= now_ms
        {
            let (ticket, wish) = (past.ticket, past.wish);
            self.pasts.pop_front();
            self.tell_no_past(ticket, wish);
        }
    }

    /// The last answer to a question; the messages before it are in `past.found`.
    pub(super) fn handle_past(&mut self, mut past: Box<Past>, message: &Message) {
        if past.epoch != Some(self.epoch_of(&past.topic)) {
            // What it asked of has ended: nothing of another history is an answer.
            self.pasts_under_way = self.pasts_under_way.saturating_sub(1);
            return self.tell_no_past(past.ticket, past.wish);
        }
        if let Some(search) = past.search.as_mut().filter(|search| search.is_trying()) {
            return match tried(message) {
                Some(tried) => {
                    search.handle(tried);
                    self.search_on(past);
                }
                None => self.handle_no_past(past),
            };
        }
        let last = past.found.last().map(|it| it.offset);
        let end = page_end(message, last).filter(|_| !past.is_broken);
        let Some(end) = end else {
            return self.handle_no_past(past);
        };
        if self.may_lag(&past, end) {
            return self.handle_no_past(past);
        }
        let pending = pending_of(message).unwrap_or_default();
        match past.wish {
            Wish::Before { before, .. } => self.handle_page_before(past, before, end, pending),
            Wish::After { .. } | Wish::OldestOf { .. } => {
                self.pasts_under_way = self.pasts_under_way.saturating_sub(1);
                let more = end == PageEnd::More;
                self.tell_page(past.named(), past.found, more, pending);
            }
        }
    }

    /// The replica that was asked may lack what was given on here, and so end too early. What
    /// lies behind a page that looks back is of no matter.
    fn may_lag(&mut self, past: &Past, end: PageEnd) -> bool {
        let followed = self.topics.get(&past.topic);
        let newest = followed.map_or(0, |followed| followed.chain.last());
        let (from, wanted) = match past.wish {
            Wish::After { since, .. } => (since, newest),
            Wish::Before { before, .. } => (0, newest.min(before.saturating_sub(1))),
            Wish::OldestOf { .. } => return false,
        };
        let reached = past.found.last().map_or(from, |last| last.offset);
        let may_lag = end == PageEnd::End && reached < wanted && self.replicas > 1;
        if may_lag && past.attempts < ATTEMPTS_MAX {
            self.counters().replica_lags.one();
            return true;
        }
        false
    }

    /// A step of a search is done.
    fn search_on(&mut self, mut past: Box<Past>) {
        self.pasts_under_way = self.pasts_under_way.saturating_sub(1);
        let Some(search) = &past.search else {
            return;
        };
        if search.is_too_long() {
            return self.tell_no_past(past.ticket, past.wish);
        }
        let Some(place) = search.result() else {
            // The next step is a question of its own.
            past.attempts = 0;
            return self.pasts.push_front(past);
        };
        let ticket = past.ticket;
        match past.wish {
            Wish::OldestOf { .. } => {
                let offset = Some(place);
                self.tell(Event::Oldest { ticket, offset });
            }
            // There is nothing before.
            Wish::Before { .. } | Wish::After { .. } => {
                let pending = search.behind();
                self.tell_page(past.named(), Vec::new(), false, pending);
            }
        }
    }

    fn handle_page_before(&mut self, mut past: Box<Past>, before: u64, end: PageEnd, pending: u64) {
        let count = past.found.len();
        let reaches = past.found.last().is_some_and(|last| last.offset >= before);
        let Some(search) = &mut past.search else {
            return;
        };
        if end != PageEnd::End && !reaches {
            search.handle_short_page(count as u64);
            return self.search_on(past);
        }
        past.found.retain(|it| it.offset < before);
        let pending = pending + (count - past.found.len()) as u64;
        let extra = past.found.len().saturating_sub(search.limit());
        past.found.drain(..extra);
        let first = past.found.first_mut().map(|it| {
            it.previous = 0;
            it.offset
        });
        let more = first.is_some_and(|first| first > search.first());
        self.pasts_under_way = self.pasts_under_way.saturating_sub(1);
        self.tell_page(past.named(), past.found, more, pending);
    }

    fn epoch_of(&self, topic: &str) -> u64 {
        let stream = usize::from(self.subjects.stream(topic));
        self.streams[stream].epoch.unwrap_or(0)
    }

    fn tell_page(
        &mut self,
        (ticket, epoch): (Ticket, u64),
        messages: Vec<Committed>,
        more: bool,
        pending: u64,
    ) {
        let page = Page::Found {
            epoch,
            messages,
            more,
            pending,
        };
        self.tell(Event::History { ticket, page });
    }

    /// A question got no answer. It is asked again, some times.
    pub(super) fn handle_no_past(&mut self, past: Box<Past>) {
        self.pasts_under_way = self.pasts_under_way.saturating_sub(1);
        match past.attempts < ATTEMPTS_MAX {
            true => self.delay(Delayed::History(past)),
            false => self.tell_no_past(past.ticket, past.wish),
        }
    }

    fn tell_no_past(&mut self, ticket: Ticket, wish: Wish) {
        self.tell(match wish {
            Wish::OldestOf { .. } => Event::Oldest {
                ticket,
                offset: None,
            },
            Wish::After { .. } | Wish::Before { .. } => Event::History {
                ticket,
                page: Page::Failed,
            },
        });
    }
}

impl Past {
    /// Whose answer it is, and of which history.
    fn named(&self) -> (Ticket, u64) {
        (self.ticket, self.epoch.unwrap_or(0))
    }

    fn question(&self) -> Question {
        match (&self.search, self.wish) {
            (Some(search), _) => search.poll(),
            (None, Wish::After { since, limit }) => {
                Question::From(since.saturating_add(1), limit.min(LIMIT_MAX))
            }
            (None, _) => Question::Newest,
        }
    }

    /// Whether one message is the whole answer to what is asked.
    pub(super) fn is_trying(&self) -> bool {
        let search = self.search.as_ref();
        search.is_some_and(Search::is_trying)
    }
}

/// What a server found: a message, and how many there are from it on, or nothing. `None` if the
/// answer says neither.
fn tried(message: &Message) -> Option<Option<(u64, u64)>> {
    match message.status {
        Some(StatusCode::NOT_FOUND) => Some(None),
        Some(_) => None,
        None => {
            let offset = wire::place(message.headers.as_ref()?)?.offset;
            // Of the newest message it is not said, as there are none.
            let behind = pending_of(message).unwrap_or(0);
            Some(Some((offset, behind + 1)))
        }
    }
}
