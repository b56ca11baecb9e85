//! The lines around the tables: who it is, how fast it goes, the cores, the gravest warning, and
//! the keys.

use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::model::{Core, Overview};
use super::state::{Page, State};
use super::theme::Theme;
use super::units::{bytes, count, rate, short, time};

/// Columns of a core: its number, a bar, its load.
const CORE_WIDTH: usize = 20;
const BAR_WIDTH: usize = 10;
/// Of the line of past rates.
const PAST_MAX: usize = 60;

/// Who it is, and how fast it goes.
pub(super) fn head<'a>(
    seen: &'a Overview,
    state: &'a State,
    theme: &Theme,
    width: u16,
) -> Vec<Line<'a>> {
    let traffic = &seen.traffic;
    let is_ready = seen.state == "ready";
    let who = vec![
        Span::styled(format!("fanfare {} ", seen.version), theme.title),
        Span::styled(&*seen.state, if is_ready { theme.good } else { theme.bad }),
        Span::styled(if state.is_paused { " PAUSED" } else { "" }, theme.near),
        Span::raw(format!(
            " at {}, up {}, {} UTC",
            state.place,
            time(seen.uptime_ms),
            time_of_day(seen.unix_ms)
        )),
    ];
    let merged = match (traffic.deliveries.per_s, traffic.sends.per_s) {
        (Some(deliveries), Some(sends)) if sends > 0.0 => {
            format!(", {} a send", count(deliveries / sends))
        }
        _ => String::new(),
    };
    let came = match (traffic.messages_in.per_s, traffic.messages_posted.per_s) {
        (Some(heard), Some(posted)) => Some(heard + posted),
        _ => None,
    };
    let figure = |text: String| Span::styled(text, theme.head);
    let mut rates = vec![
        Span::raw("in "),
        figure(rate(came, count)),
        Span::raw(" messages/s   out "),
        figure(rate(traffic.deliveries.per_s, count)),
        Span::raw(format!(
            " deliveries/s, {}/s{merged}",
            rate(traffic.bytes_out.per_s, bytes)
        )),
    ];
    let used: usize = rates.iter().map(Span::width).sum();
    let room = (width as usize).saturating_sub(used + 3).min(PAST_MAX);
    if room >= 10 {
        rates.push(Span::raw("   "));
        rates.push(Span::styled(past(state, room), theme.faint));
    }
    let lag = &seen.lag;
    let lag_part = lag.bytes as f64 / lag.bytes_max.max(1) as f64;
    let stalled = seen.connections.stalled;
    let who_is_there = vec![
        figure(count(seen.connections.open as f64)),
        Span::raw(format!(
            " connections, {} opening ({}/s), ",
            count(seen.connections.handshakes as f64),
            rate(traffic.handshakes.per_s, count)
        )),
        Span::styled(
            format!("{} stalled", count(stalled as f64)),
            if stalled > 0 { theme.near } else { theme.plain },
        ),
        Span::raw(format!(
            ", {} users   lag ",
            count(seen.connections.users as f64)
        )),
        Span::styled(bytes(lag.bytes as f64), theme.of_part(lag_part)),
        Span::raw(format!(" of {}", bytes(lag.bytes_max as f64))),
    ];
    vec![Line::from(who), Line::from(rates), Line::from(who_is_there)]
}

fn time_of_day(unix_ms: u64) -> String {
    let s = unix_ms / 1000 % 86_400;
    format!("{:02}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
}

/// The newest rates as a line of blocks, the newest at its end.
fn past(state: &State, width: usize) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let newest = state.history.iter().rev().take(width);
    let most = newest.clone().copied().max().unwrap_or(0).max(1);
    let block = |rate: &u64| BLOCKS[(*rate as usize * (BLOCKS.len() - 1)) / most as usize];
    let mut blocks: Vec<char> = newest.map(block).collect();
    blocks.reverse();
    blocks.into_iter().collect()
}

/// The cores, the busiest first where there is no room for all, and the process.
pub(super) fn cores<'a>(
    seen: &'a Overview,
    theme: &Theme,
    width: u16,
    lines_max: usize,
) -> Vec<Line<'a>> {
    let per_line = (width as usize / CORE_WIDTH).max(1);
    let mut cores: Vec<&Core> = seen.cores.iter().collect();
    // The last place is for the process.
    let room = per_line * lines_max - 2;
    let left_out = cores.len().saturating_sub(room);
    if left_out > 0 {
        cores.sort_by(|a, b| b.load.unwrap_or(0.0).total_cmp(&a.load.unwrap_or(0.0)));
        cores.truncate(room);
    }
    let mut cells: Vec<Vec<Span<'a>>> = cores.into_iter().map(|one| core(one, theme)).collect();
    let process = &seen.process;
    let memory = process
        .resident_bytes
        .map(|resident| bytes(resident as f64));
    let mut all = format!(
        "all {} cpu, {}, logs {}",
        process
            .load
            .map_or_else(|| "–".into(), |load| format!("{load:.2}")),
        memory.unwrap_or_else(|| "–".into()),
        bytes(process.log_bytes as f64),
    );
    if left_out > 0 {
        all += &format!(", {left_out} more cores");
    }
    let mut lines = Vec::new();
    while !cells.is_empty() {
        let rest = cells.split_off(per_line.min(cells.len()));
        lines.push(Line::from(cells.concat()));
        cells = rest;
    }
    let last_width = lines.last().map_or(0, Line::width);
    if last_width + all.len() <= width as usize && !lines.is_empty() {
        lines.last_mut().expect("it is not empty").push_span(all);
    } else {
        lines.push(Line::from(all));
    }
    lines
}

fn core<'a>(core: &Core, theme: &Theme) -> Vec<Span<'a>> {
    /// A loop that has not turned for so long is stuck.
    const STUCK_MS: u64 = 1000;
    let load = core.load.unwrap_or(0.0);
    let full = (load * BAR_WIDTH as f64).round() as usize;
    let bar: String = (0..BAR_WIDTH)
        .map(|place| if place < full { '█' } else { '·' })
        .collect();
    let (text, style): (String, Style) = if core.turn_age_ms > STUCK_MS {
        (format!("{:>6} ", "stuck"), theme.bad)
    } else {
        let percent = core.load.map(|load| format!("{:.0}%", 100.0 * load));
        let percent = percent.unwrap_or_else(|| "–".into());
        (format!("{percent:>5}  "), theme.of_part(load))
    };
    vec![
        Span::raw(format!("{:>2} ", core.core)),
        Span::styled(bar, style),
        Span::styled(text, style),
    ]
}

/// That no answer has come, and the gravest warning with what to do, and how many more there are.
pub(super) fn warnings<'a>(
    seen: &'a Overview,
    state: &'a State,
    theme: &Theme,
    width: u16,
) -> Vec<Line<'a>> {
    let mut lines = Vec::new();
    if let Some(missing) = &state.missing {
        let text = short(&format!("NO ANSWER: {missing}"), width.into());
        lines.push(Line::styled(text, theme.bad));
    }
    lines.extend(gravest(seen, theme, width));
    lines
}

fn gravest<'a>(seen: &'a Overview, theme: &Theme, width: u16) -> Vec<Line<'a>> {
    let Some(first) = seen.warnings.first() else {
        return vec![Line::styled("nothing to warn of", theme.faint)];
    };
    let style = style_of(&first.level, theme);
    let more = match seen.warnings.len() - 1 {
        0 => String::new(),
        more => format!(" (and {more} more: 5)"),
    };
    let room = (width as usize).saturating_sub(2);
    vec![
        Line::from(vec![
            Span::styled("! ", style),
            Span::styled(short(&first.says, room.saturating_sub(more.len())), style),
            Span::raw(more),
        ]),
        Line::from(format!("  {}", short(&first.next, room))),
    ]
}

/// How a warning of that level looks.
pub(super) fn style_of(level: &str, theme: &Theme) -> Style {
    match level {
        "critical" => theme.bad,
        _ => theme.near,
    }
}

/// The names of the pages, with how much is on them.
pub(super) fn tabs<'a>(seen: &Overview, state: &State, theme: &Theme) -> Line<'a> {
    let mut spans = Vec::new();
    for page in Page::ALL {
        spans.extend(title(seen, page, page == state.page, theme).spans);
    }
    Line::from(spans)
}

/// The name of one page.
pub(super) fn title<'a>(seen: &Overview, page: Page, is_chosen: bool, theme: &Theme) -> Line<'a> {
    let number = page as usize + 1;
    let much = match page {
        Page::Topics => count(seen.topics.count as f64),
        Page::Slow => seen.slowest.len().to_string(),
        Page::Limits => seen.limits.len().to_string(),
        Page::Troubles => {
            let lists = [
                &seen.closes,
                &seen.rejects,
                &seen.denials,
                &seen.post_refusals,
            ];
            let recent: u64 = lists
                .into_iter()
                .flatten()
                .map(|trouble| trouble.recent)
                .sum();
            count(recent as f64)
        }
        Page::Warnings => seen.warnings.len().to_string(),
    };
    let text = format!("{number} {} ({much})", page.title());
    match is_chosen {
        true => Line::styled(format!("[{text}]"), theme.title),
        false => Line::styled(format!(" {text} "), theme.plain),
    }
}

/// What keys do, or what is typed.
pub(super) fn foot<'a>(state: &State, theme: &Theme, width: u16) -> Line<'a> {
    let filter = &state.wanted.filter;
    if state.is_typing {
        return Line::from(vec![
            Span::styled("filter: ", theme.head),
            Span::raw(format!("{filter}▏")),
            Span::styled("  enter keeps it, esc clears it", theme.faint),
        ]);
    }
    let by = state.wanted.by.name();
    let mut text = format!("q quit  tab page  s sort ({by})  / filter  p pause  ↑↓ scroll");
    if !filter.is_empty() {
        text = format!("filter: {filter} (esc clears it)  {text}");
    }
    Line::styled(short(&text, width.into()), theme.faint)
}
