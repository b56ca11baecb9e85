//! Colours, or none where the environment says so (<https://no-color.org>): then what stands out
//! does so by weight alone.

use std::env;

use ratatui::style::{Color, Modifier, Style};

#[derive(Debug, Clone, Copy)]
pub(super) struct Theme {
    pub(super) plain: Style,
    pub(super) title: Style,
    pub(super) head: Style,
    pub(super) faint: Style,
    pub(super) good: Style,
    pub(super) near: Style,
    pub(super) bad: Style,
}

impl Theme {
    pub(super) fn of_environment() -> Theme {
        match env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) {
            true => Theme::without_colours(),
            false => Theme::with_colours(),
        }
    }

    /// The terminal's own sixteen, so that they suit its background.
    pub(super) fn with_colours() -> Theme {
        let plain = Style::new();
        Theme {
            plain,
            title: plain.fg(Color::Cyan).add_modifier(Modifier::BOLD),
            head: plain.add_modifier(Modifier::BOLD),
            faint: plain.fg(Color::DarkGray),
            good: plain.fg(Color::Green),
            near: plain.fg(Color::Yellow),
            bad: plain.fg(Color::Red).add_modifier(Modifier::BOLD),
        }
    }

    pub(super) fn without_colours() -> Theme {
        let plain = Style::new();
        let strong = plain.add_modifier(Modifier::BOLD);
        Theme {
            plain,
            title: strong,
            head: strong,
            faint: plain,
            good: plain,
            near: strong,
            bad: strong.add_modifier(Modifier::REVERSED),
        }
    }

    /// Of a part of something bounded.
    pub(super) fn of_part(&self, part: f64) -> Style {
        match part {
            part if part >= 0.95 => self.bad,
            part if part >= 0.8 => self.near,
            _ => self.good,
        }
    }
}
