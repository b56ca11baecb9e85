//! `fanfare top`: a daemon at work, in a terminal.
//!
//! One thread asks the daemon (`poll`), this one reads keys and draws. What is shown is `state`,
//! which knows neither terminal nor daemon; `draw` puts it on a screen of any size.

mod draw;
mod model;
mod panels;
mod poll;
mod state;
mod tables;
mod theme;
mod units;

use std::io::{self, IsTerminal};
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event};

use self::poll::{Asker, Update};
use self::state::{Act, State};
use self::theme::Theme;
use crate::shell::End;

pub use self::poll::Top;

/// How long a key may wait for the screen.
const LOOK: Duration = Duration::from_millis(50);

/// Shows the daemon until somebody has seen enough.
pub fn top(wish: Top) -> End {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        let sentence = "top draws on a terminal: for programs there are GET /overview and /metrics";
        return End::Usage(sentence.into());
    }
    let place = wish.server.to_string();
    let (updates, seen) = mpsc::channel();
    let asker = match Asker::start(wish, updates) {
        Ok(asker) => asker,
        Err(end) => return end,
    };
    // Whoever cannot be reached is told of where one can read it.
    let mut state = State::new(place);
    match seen.recv() {
        Ok(Update::Seen(overview)) => state.see(*overview),
        Ok(Update::Failed(end)) => return end,
        Ok(Update::Quit) | Err(_) => return End::Done,
    }
    let mut terminal = match ratatui::try_init() {
        Ok(terminal) => terminal,
        Err(error) => return End::Broken(format!("cannot draw on this terminal: {error}")),
    };
    let shown = show(&mut terminal, &mut state, &asker, &seen);
    ratatui::restore();
    match shown {
        Ok(end) => end,
        Err(error) => End::Broken(format!("the terminal fails: {error}")),
    }
}

fn show(
    terminal: &mut DefaultTerminal,
    state: &mut State,
    asker: &Asker,
    seen: &Receiver<Update>,
) -> io::Result<End> {
    let theme = Theme::of_environment();
    let mut is_drawn = false;
    loop {
        if !is_drawn {
            terminal.draw(|frame| draw::draw(frame, state, &theme))?;
        }
        is_drawn = true;
        if event::poll(LOOK)? {
            is_drawn = false;
            if let Event::Key(key) = event::read()? {
                match state.press(key) {
                    Some(Act::Quit) => return Ok(End::Done),
                    Some(Act::Ask(wanted)) => asker.want(wanted),
                    None => {}
                }
            }
        }
        loop {
            match seen.try_recv() {
                Ok(Update::Seen(overview)) => state.see(*overview),
                // It is asked again; what was seen last stays.
                Ok(Update::Failed(end)) => state.miss(end.sentence().unwrap_or_default()),
                Ok(Update::Quit) | Err(TryRecvError::Disconnected) => return Ok(End::Done),
                Err(TryRecvError::Empty) => break,
            }
            is_drawn = false;
        }
    }
}
