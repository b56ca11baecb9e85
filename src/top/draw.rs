//! Where everything stands on the screen: all of it where there is room, else one page.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;
use ratatui::widgets::Paragraph;

use super::model::Overview;
use super::panels;
use super::state::{Page, State};
use super::tables::{self, Panel};
use super::theme::Theme;

/// From this size on all pages are there at once.
const WIDE: u16 = 120;
const HIGH: u16 = 34;
/// Below it nothing can be read.
const WIDTH_MIN: u16 = 40;
const HEIGHT_MIN: u16 = 10;

/// Draws what is shown. Scrolling ends where there is nothing more.
pub(super) fn draw(frame: &mut Frame<'_>, state: &mut State, theme: &Theme) {
    let area = frame.area();
    let Some(seen) = state.seen.take() else {
        return;
    };
    if area.width < WIDTH_MIN || area.height < HEIGHT_MIN {
        let words = format!("at least {WIDTH_MIN} by {HEIGHT_MIN}");
        frame.render_widget(Paragraph::new(words), area);
    } else {
        draw_all(frame, area, &seen, state, theme);
    }
    state.seen = Some(seen);
}

fn draw_all(frame: &mut Frame<'_>, area: Rect, seen: &Overview, state: &mut State, theme: &Theme) {
    let head = panels::head(seen, state, theme, area.width);
    let cores_max = if area.height < HIGH { 2 } else { 6 };
    let cores = panels::cores(seen, theme, area.width, cores_max);
    let warnings = panels::warnings(seen, state, theme, area.width);
    let [head_area, cores_area, warnings_area, body, foot] = Layout::vertical([
        Constraint::Length(head.len() as u16),
        Constraint::Length(cores.len() as u16),
        Constraint::Length(warnings.len() as u16),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(area);
    lines(frame, head, head_area);
    lines(frame, cores, cores_area);
    lines(frame, warnings, warnings_area);
    lines(frame, vec![panels::foot(state, theme, area.width)], foot);
    if area.width >= WIDE && area.height >= HIGH {
        draw_grid(frame, body, seen, state, theme);
    } else {
        let [tabs, page] =
            Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(body);
        lines(frame, vec![panels::tabs(seen, state, theme)], tabs);
        let scroll = tables::draw(frame, page, &panel(state, state.page, true), seen, theme);
        state.scroll = scroll;
    }
}

/// The page that keys move is the chosen one.
fn draw_grid(frame: &mut Frame<'_>, body: Rect, seen: &Overview, state: &mut State, theme: &Theme) {
    let [upper, middle, lower] = Layout::vertical([
        Constraint::Fill(5),
        Constraint::Fill(4),
        Constraint::Fill(3),
    ])
    .areas(body);
    let halves = |area| {
        Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)])
            .spacing(1)
            .areas::<2>(area)
    };
    let [topics, slow] = halves(upper);
    let [limits, troubles] = halves(middle);
    for (page, area) in [
        (Page::Topics, topics),
        (Page::Slow, slow),
        (Page::Limits, limits),
        (Page::Troubles, troubles),
        (Page::Warnings, lower),
    ] {
        let is_chosen = page == state.page;
        let [title, table] =
            Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
        lines(
            frame,
            vec![panels::title(seen, page, is_chosen, theme)],
            title,
        );
        let scroll = tables::draw(frame, table, &panel(state, page, is_chosen), seen, theme);
        if is_chosen {
            state.scroll = scroll;
        }
    }
}

fn panel(state: &State, page: Page, is_chosen: bool) -> Panel {
    Panel {
        page,
        scroll: if is_chosen { state.scroll } else { 0 },
        by: state.wanted.by,
        filter: state.filter(),
    }
}

fn lines(frame: &mut Frame<'_>, lines: Vec<Line<'_>>, area: Rect) {
    frame.render_widget(Paragraph::new(lines), area);
}

#[cfg(test)]
mod tests;
