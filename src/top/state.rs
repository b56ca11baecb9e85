//! What is shown, and what keys do with it.

use std::collections::VecDeque;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::model::Overview;

/// Answers whose rates are remembered.
const HISTORY_MAX: usize = 240;
/// As many topics as the daemon lists at once.
const TOPICS: usize = 200;

/// The order of topics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum By {
    #[default]
    Messages,
    Bytes,
    Subscribers,
    Log,
    Lag,
    Name,
}

impl By {
    const ALL: [By; 6] = [
        By::Messages,
        By::Bytes,
        By::Subscribers,
        By::Log,
        By::Lag,
        By::Name,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            By::Messages => "messages",
            By::Bytes => "bytes",
            By::Subscribers => "subscribers",
            By::Log => "log",
            By::Lag => "lag",
            By::Name => "name",
        }
    }

    fn after(self, steps: usize) -> By {
        let place = By::ALL.iter().position(|by| *by == self);
        By::ALL[(place.expect("it is one of all") + steps) % By::ALL.len()]
    }
}

/// What fills the screen where it is too small for all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Page {
    #[default]
    Topics,
    Slow,
    Limits,
    Troubles,
    Warnings,
}

impl Page {
    pub(super) const ALL: [Page; 5] = [
        Page::Topics,
        Page::Slow,
        Page::Limits,
        Page::Troubles,
        Page::Warnings,
    ];

    pub(super) fn title(self) -> &'static str {
        match self {
            Page::Topics => "topics",
            Page::Slow => "slow",
            Page::Limits => "limits",
            Page::Troubles => "refused",
            Page::Warnings => "warnings",
        }
    }

    fn after(self, steps: usize) -> Page {
        let place = Page::ALL.iter().position(|page| *page == self);
        Page::ALL[(place.expect("it is one of all") + steps) % Page::ALL.len()]
    }
}

/// What the daemon is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) by: By,
    pub(super) filter: String,
    pub(super) topics: usize,
}

impl Default for Wanted {
    fn default() -> Self {
        Wanted {
            by: By::default(),
            filter: String::new(),
            topics: TOPICS,
        }
    }
}

/// What follows from a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Act {
    Quit,
    Ask(Wanted),
}

/// Everything that a screen shows.
#[derive(Debug)]
pub(super) struct State {
    pub(super) place: String,
    pub(super) seen: Option<Overview>,
    /// Why the newest answer is not there.
    pub(super) missing: Option<String>,
    pub(super) is_paused: bool,
    pub(super) page: Page,
    /// Lines that the page is scrolled by.
    pub(super) scroll: usize,
    pub(super) wanted: Wanted,
    /// A filter is being typed.
    pub(super) is_typing: bool,
    /// Deliveries a second, the newest last.
    pub(super) history: VecDeque<u64>,
}

impl State {
    pub(super) fn new(place: String) -> Self {
        State {
            place,
            seen: None,
            missing: None,
            is_paused: false,
            page: Page::default(),
            scroll: 0,
            wanted: Wanted::default(),
            is_typing: false,
            history: VecDeque::new(),
        }
    }

    /// An answer has come.
    pub(super) fn see(&mut self, overview: Overview) {
        self.missing = None;
        if self.is_paused {
            return;
        }
        if let Some(per_s) = overview.traffic.deliveries.per_s {
            if self.history.len() == HISTORY_MAX {
                self.history.pop_front();
            }
            self.history.push_back(per_s.round() as u64);
        }
        self.seen = Some(overview);
    }

    /// None has come.
    pub(super) fn miss(&mut self, sentence: &str) {
        self.missing = Some(sentence.to_owned());
    }

    /// What is looked for, in lower case.
    pub(super) fn filter(&self) -> String {
        self.wanted.filter.to_lowercase()
    }

    /// A key is pressed.
    pub(super) fn press(&mut self, key: KeyEvent) -> Option<Act> {
        if key.kind == KeyEventKind::Release {
            return None;
        }
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        if is_control && key.code == KeyCode::Char('c') {
            return Some(Act::Quit);
        }
        if self.is_typing {
            return self.type_filter(key.code);
        }
        match key.code {
            KeyCode::Char('q') => return Some(Act::Quit),
            KeyCode::Char('s') => return Some(self.sort_after(1)),
            KeyCode::Char('S') => return Some(self.sort_after(By::ALL.len() - 1)),
            KeyCode::Char('/') => {
                self.is_typing = true;
                self.scroll = 0;
            }
            KeyCode::Esc if !self.wanted.filter.is_empty() => {
                self.wanted.filter.clear();
                return Some(self.ask());
            }
            KeyCode::Char('p' | ' ') => self.is_paused = !self.is_paused,
            KeyCode::Tab | KeyCode::Right => self.turn_to(self.page.after(1)),
            KeyCode::BackTab | KeyCode::Left => self.turn_to(self.page.after(Page::ALL.len() - 1)),
            KeyCode::Char(digit @ '1'..='5') => {
                self.turn_to(Page::ALL[digit as usize - '1' as usize]);
            }
            KeyCode::Down | KeyCode::Char('j') => self.scroll += 1,
            KeyCode::Up | KeyCode::Char('k') => self.scroll = self.scroll.saturating_sub(1),
            KeyCode::PageDown => self.scroll += 10,
            KeyCode::PageUp => self.scroll = self.scroll.saturating_sub(10),
            KeyCode::Home | KeyCode::Char('g') => self.scroll = 0,
            _ => {}
        }
        None
    }

    fn turn_to(&mut self, page: Page) {
        (self.page, self.scroll) = (page, 0);
    }

    fn sort_after(&mut self, steps: usize) -> Act {
        self.wanted.by = self.wanted.by.after(steps);
        self.turn_to(Page::Topics);
        self.ask()
    }

    /// Something else is wanted: who holds still would not see it.
    fn ask(&mut self) -> Act {
        self.is_paused = false;
        Act::Ask(self.wanted.clone())
    }

    fn type_filter(&mut self, code: KeyCode) -> Option<Act> {
        match code {
            KeyCode::Enter => {
                self.is_typing = false;
                return None;
            }
            KeyCode::Esc => {
                self.is_typing = false;
                self.wanted.filter.clear();
            }
            KeyCode::Backspace => {
                self.wanted.filter.pop();
            }
            KeyCode::Char(letter) => self.wanted.filter.push(letter),
            _ => return None,
        }
        Some(self.ask())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(state: &mut State, code: KeyCode) -> Option<Act> {
        state.press(KeyEvent::new(code, KeyModifiers::NONE))
    }

    #[test]
    fn keys_sort_filter_and_turn_pages() {
        let mut state = State::new("here".into());
        let Some(Act::Ask(wanted)) = press(&mut state, KeyCode::Char('s')) else {
            panic!("the daemon sorts");
        };
        assert_eq!(wanted.by, By::Bytes);
        press(&mut state, KeyCode::Char('S'));
        assert_eq!(state.wanted.by, By::Messages);
        press(&mut state, KeyCode::Char('/'));
        press(&mut state, KeyCode::Char('q'));
        let Some(Act::Ask(wanted)) = press(&mut state, KeyCode::Char('x')) else {
            panic!("the daemon filters");
        };
        assert_eq!(wanted.filter, "qx");
        press(&mut state, KeyCode::Backspace);
        assert_eq!(press(&mut state, KeyCode::Enter), None);
        assert_eq!(state.filter(), "q");
        press(&mut state, KeyCode::Esc);
        assert_eq!(state.filter(), "");
        press(&mut state, KeyCode::Down);
        assert_eq!(state.scroll, 1);
        press(&mut state, KeyCode::Tab);
        assert_eq!((state.page, state.scroll), (Page::Slow, 0));
        press(&mut state, KeyCode::Char('5'));
        assert_eq!(state.page, Page::Warnings);
        press(&mut state, KeyCode::Tab);
        assert_eq!(state.page, Page::Topics);
        press(&mut state, KeyCode::BackTab);
        assert_eq!(state.page, Page::Warnings);
    }

    #[test]
    fn who_asks_for_something_else_goes_on() {
        let mut state = State::new("here".into());
        for keys in ["s", "S", "/x", "/\u{8}"] {
            press(&mut state, KeyCode::Char('p'));
            assert!(state.is_paused);
            for key in keys.chars() {
                match key {
                    '\u{8}' => press(&mut state, KeyCode::Backspace),
                    key => press(&mut state, KeyCode::Char(key)),
                };
            }
            assert!(!state.is_paused, "{keys}");
            press(&mut state, KeyCode::Enter);
        }
        press(&mut state, KeyCode::Char('/'));
        press(&mut state, KeyCode::Char('x'));
        press(&mut state, KeyCode::Enter);
        press(&mut state, KeyCode::Char('p'));
        press(&mut state, KeyCode::Esc);
        assert!(!state.is_paused);
        // Nothing else is asked for by these.
        press(&mut state, KeyCode::Char('p'));
        press(&mut state, KeyCode::Tab);
        press(&mut state, KeyCode::Down);
        assert!(state.is_paused);
    }

    #[test]
    fn q_and_control_c_quit_whatever_is_shown() {
        let mut state = State::new("here".into());
        let control = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        press(&mut state, KeyCode::Char('/'));
        assert_eq!(state.press(control), Some(Act::Quit));
        press(&mut state, KeyCode::Enter);
        assert_eq!(press(&mut state, KeyCode::Char('q')), Some(Act::Quit));
    }
}
