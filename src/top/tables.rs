//! The pages: topics, slow connections, limits, what was refused and closed, warnings.

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Text};
use ratatui::widgets::{Cell, Paragraph, Row, Table, Wrap};

use super::model::{Limit, Overview, Slow, Topic, Trouble};
use super::panels::style_of;
use super::state::{By, Page};
use super::theme::Theme;
use super::units::{bytes, count, rate, time};

/// What one page shows.
pub(super) struct Panel {
    pub(super) page: Page,
    pub(super) scroll: usize,
    pub(super) by: By,
    /// In lower case.
    pub(super) filter: String,
}

/// Draws a page, and tells how far it is scrolled: no further than there is something.
pub(super) fn draw(
    frame: &mut Frame<'_>,
    area: Rect,
    panel: &Panel,
    seen: &Overview,
    theme: &Theme,
) -> usize {
    match panel.page {
        Page::Topics => topics(frame, area, panel, seen, theme),
        Page::Slow => slow(frame, area, panel, seen, theme),
        Page::Limits => limits(frame, area, panel, seen, theme),
        Page::Troubles => troubles(frame, area, panel, seen, theme),
        Page::Warnings => warnings(frame, area, panel, seen, theme),
    }
}

/// A column: its title, how wide it is, whether numbers stand in it.
type Column = (&'static str, Constraint, bool);

/// Draws rows below their titles.
fn table<'a>(
    frame: &mut Frame<'_>,
    area: Rect,
    columns: &[Column],
    rows: Vec<Row<'a>>,
    panel: &Panel,
    theme: &Theme,
) -> usize {
    let room = usize::from(area.height.saturating_sub(1));
    let scroll = panel.scroll.min(rows.len().saturating_sub(room));
    let titles = columns
        .iter()
        .map(|(title, _, is_number)| cell(*title, *is_number));
    let shown = rows.into_iter().skip(scroll);
    let widths = columns.iter().map(|(_, width, _)| *width);
    let table = Table::new(shown, widths)
        .header(Row::new(titles).style(theme.head))
        .column_spacing(1);
    frame.render_widget(table, area);
    scroll
}

fn cell<'a>(text: impl Into<Text<'a>>, is_number: bool) -> Cell<'a> {
    let text: Text<'a> = text.into();
    Cell::from(match is_number {
        true => text.alignment(Alignment::Right),
        false => text,
    })
}

fn number<'a>(text: String, style: Style) -> Cell<'a> {
    cell(text, true).style(style)
}

fn nothing(frame: &mut Frame<'_>, area: Rect, words: &str, theme: &Theme) -> usize {
    frame.render_widget(
        Paragraph::new(Line::styled(words.to_owned(), theme.faint)),
        area,
    );
    0
}

fn topics(
    frame: &mut Frame<'_>,
    area: Rect,
    panel: &Panel,
    seen: &Overview,
    theme: &Theme,
) -> usize {
    if seen.topics.shown.is_empty() {
        let words = match panel.filter.is_empty() {
            true => "there is no topic",
            false => "no topic's name holds the filter",
        };
        return nothing(frame, area, words, theme);
    }
    let is_narrow = area.width < 76;
    let titles = [
        ("messages/s", By::Messages),
        ("bytes/s", By::Bytes),
        ("subs", By::Subscribers),
        ("log", By::Log),
        ("lag", By::Lag),
    ];
    let titles = titles.map(|(title, by)| match (by == panel.by, title) {
        (false, title) => title,
        (true, "messages/s") => "▼ msgs/s",
        (true, "bytes/s") => "▼ bytes/s",
        (true, "subs") => "▼ subs",
        (true, "log") => "▼ log",
        (true, _) => "▼ lag",
    });
    let mut columns: Vec<Column> = vec![
        ("topic", Constraint::Fill(1), false),
        (titles[0], Constraint::Length(10), true),
        (titles[1], Constraint::Length(10), true),
        (titles[2], Constraint::Length(7), true),
    ];
    if !is_narrow {
        columns.extend([
            (titles[3], Constraint::Length(10), true),
            ("offset", Constraint::Length(8), true),
        ]);
    }
    columns.push((titles[4], Constraint::Length(10), true));
    let row = |topic: &Topic| {
        let mut cells = vec![
            cell(topic.name.clone(), false),
            number(rate(topic.messages_per_s, count), theme.plain),
            number(rate(topic.bytes_per_s, bytes), theme.plain),
            number(count(topic.subscribers as f64), theme.plain),
        ];
        if !is_narrow {
            cells.push(number(bytes(topic.log_bytes as f64), theme.plain));
            cells.push(number(count(topic.offset as f64), theme.faint));
        }
        let (lag, style) = match topic.lag_bytes {
            0 => ("–".to_owned(), theme.faint),
            lag => (bytes(lag as f64), theme.near),
        };
        cells.push(number(lag, style));
        Row::new(cells)
    };
    let rows = seen.topics.shown.iter().map(row).collect();
    table(frame, area, &columns, rows, panel, theme)
}

fn slow(frame: &mut Frame<'_>, area: Rect, panel: &Panel, seen: &Overview, theme: &Theme) -> usize {
    let found: Vec<&Slow> = seen
        .slowest
        .iter()
        .filter(|slow| slow.matches(&panel.filter))
        .collect();
    if found.is_empty() {
        return nothing(frame, area, "no connection's socket is full", theme);
    }
    let is_narrow = area.width < 100;
    let mut columns: Vec<Column> = vec![
        ("address", Constraint::Length(21), false),
        ("dialect", Constraint::Length(13), false),
        ("topic", Constraint::Fill(2), false),
        ("lag", Constraint::Length(9), true),
        ("stalled", Constraint::Length(8), true),
    ];
    if !is_narrow {
        columns.push(("core", Constraint::Length(4), true));
        columns.push(("user", Constraint::Fill(1), false));
    }
    let row = |slow: &&Slow| {
        let sealed = if slow.tls { "+tls" } else { "" };
        let dialect = slow
            .dialect
            .replace("centrifugo_", "c_")
            .replace("event_", "ev_");
        let more = match slow.subscriptions {
            0 | 1 => String::new(),
            all => format!(" +{}", all - 1),
        };
        let topic = slow.topic.as_deref().unwrap_or("–");
        let mut cells = vec![
            cell(slow.address.clone(), false),
            cell(dialect + sealed, false),
            cell(format!("{topic}{more}"), false),
            number(bytes(slow.lag_bytes as f64), theme.near),
            number(time(slow.stalled_ms), theme.plain),
        ];
        if !is_narrow {
            cells.push(number(slow.core.to_string(), theme.plain));
            cells.push(cell(slow.user.clone().unwrap_or_else(|| "–".into()), false));
        }
        Row::new(cells)
    };
    let rows = found.iter().map(row).collect();
    table(frame, area, &columns, rows, panel, theme)
}

fn limits(
    frame: &mut Frame<'_>,
    area: Rect,
    panel: &Panel,
    seen: &Overview,
    theme: &Theme,
) -> usize {
    let columns = [
        ("limit", Constraint::Length(26), false),
        ("used", Constraint::Length(10), true),
        ("of", Constraint::Length(10), true),
        ("", Constraint::Length(5), true),
        ("what", Constraint::Fill(1), false),
    ];
    let row = |limit: &Limit| {
        let written = match limit.unit.as_str() {
            "bytes" => bytes,
            _ => count,
        };
        let part = limit.part();
        Row::new([
            cell(limit.name.clone(), false),
            number(written(limit.used as f64), theme.plain),
            number(written(limit.max as f64), theme.plain),
            number(format!("{:.0}%", 100.0 * part), theme.of_part(part)),
            cell(limit.what.clone(), false),
        ])
    };
    let rows = seen.limits.iter().map(row).collect();
    table(frame, area, &columns, rows, panel, theme)
}

fn troubles(
    frame: &mut Frame<'_>,
    area: Rect,
    panel: &Panel,
    seen: &Overview,
    theme: &Theme,
) -> usize {
    let lists = [
        ("closed", &seen.closes),
        ("refused", &seen.rejects),
        ("denied", &seen.denials),
        ("post", &seen.post_refusals),
    ];
    let mut all: Vec<(&str, &Trouble)> = lists
        .into_iter()
        .flat_map(|(kind, list)| list.iter().map(move |trouble| (kind, trouble)))
        .collect();
    if all.is_empty() {
        return nothing(frame, area, "nothing was refused or closed", theme);
    }
    all.sort_by_key(|(_, trouble)| std::cmp::Reverse((trouble.recent, trouble.total)));
    let recent = match seen.recent_ms {
        0 => "recent",
        1..55_000 => "lately",
        _ => "in 60 s",
    };
    let columns = [
        ("what", Constraint::Length(7), false),
        ("reason", Constraint::Length(24), false),
        (recent, Constraint::Length(7), true),
        ("ever", Constraint::Length(7), true),
        ("why", Constraint::Fill(1), false),
    ];
    let row = |(kind, trouble): &(&'static str, &Trouble)| {
        let style = if trouble.recent > 0 {
            theme.near
        } else {
            theme.faint
        };
        Row::new([
            cell(*kind, false),
            cell(trouble.reason.clone(), false),
            number(count(trouble.recent as f64), style),
            number(count(trouble.total as f64), theme.plain),
            cell(trouble.says.clone(), false),
        ])
    };
    let rows = all.iter().map(row).collect();
    table(frame, area, &columns, rows, panel, theme)
}

fn warnings(
    frame: &mut Frame<'_>,
    area: Rect,
    panel: &Panel,
    seen: &Overview,
    theme: &Theme,
) -> usize {
    if seen.warnings.is_empty() {
        return nothing(frame, area, "nothing to warn of", theme);
    }
    let mut lines = Vec::new();
    for warning in &seen.warnings {
        lines.push(Line::styled(
            format!("! {}", warning.says),
            style_of(&warning.level, theme),
        ));
        lines.push(Line::from(format!("  {}", warning.next)));
        lines.push(Line::styled(format!("  {}", warning.doc), theme.faint));
    }
    let text = Paragraph::new(lines).wrap(Wrap { trim: false });
    let room = usize::from(area.height);
    let most = text.line_count(area.width).saturating_sub(room);
    let scroll = panel.scroll.min(most);
    frame.render_widget(text.scroll((scroll as u16, 0)), area);
    scroll
}
