//! Results for the eye: tables of plain text.

use std::fmt::Write;

use crate::outcome::{Better, Figure, Outcome, Phase, Unit};

/// The whole result.
pub fn show(outcome: &Outcome) -> String {
    let mut out = format!(
        "\n{} against {}\n{}\n\n",
        outcome.scenario, outcome.url, outcome.machine
    );
    let mut rows = vec![PHASE_HEADS.map(String::from).to_vec()];
    rows.extend(outcome.phases.iter().map(phase_row));
    lines(&mut out, &rows);
    if !outcome.figures.is_empty() {
        out.push('\n');
        let rows = outcome.figures.iter();
        let rows: Vec<_> = rows
            .map(|it| vec![it.name.clone(), value(it.value, it.unit)])
            .collect();
        lines(&mut out, &rows);
    }
    out.push('\n');
    out.push_str(&verdict(outcome));
    out
}

/// Whether the messages came, and what else there is to say.
pub fn verdict(outcome: &Outcome) -> String {
    let faults = &outcome.faults;
    let mut out = if outcome.is_sound() {
        "Every message came to everybody, once and in order.\n".to_string()
    } else {
        format!(
            "NOT SOUND: {} lost, {} doubled, {} out of order, {} strange.\n",
            faults.lost, faults.doubled, faults.reordered, faults.strange
        )
    };
    for example in &outcome.examples {
        let _ = writeln!(out, "  {example}");
    }
    for (end, count) in &outcome.ends {
        let _ = writeln!(out, "  {count} x {end}");
    }
    for remark in &outcome.remarks {
        let _ = writeln!(out, "Note: {remark}");
    }
    out
}

pub const PHASE_HEADS: [&str; 11] = [
    "phase",
    "seconds",
    "sent/s",
    "heard/s",
    "p50",
    "p90",
    "p99",
    "p99.9",
    "max",
    "CPU/delivery",
    "user",
];

/// The cells of one phase, below [`PHASE_HEADS`].
pub fn phase_row(phase: &Phase) -> Vec<String> {
    let latency = &phase.latency;
    let ns = |ns: u64| time(ns as f64);
    let server = phase.server.filter(|_| phase.deliveries > 0);
    vec![
        phase.name.clone(),
        format!("{:.1}", phase.seconds),
        count(phase.published as f64 / phase.seconds.max(1e-9)),
        count(phase.deliveries_per_s()),
        ns(latency.p50),
        ns(latency.p90),
        ns(latency.p99),
        ns(latency.p999),
        ns(latency.max),
        server.map_or("-".into(), |it| time(it.ns_per(phase.deliveries))),
        server.map_or("-".into(), |it| format!("{:.0} %", 100.0 * it.user_share)),
    ]
}

/// Two results side by side: what changed, and whether for the better.
pub fn compare(a: &Outcome, b: &Outcome) -> String {
    let mut out = format!(
        "A: {}\n   {}\nB: {}\n   {}\n\n",
        a.command, a.machine, b.command, b.machine
    );
    let mut rows = vec![["", "A", "B", "B/A", ""].map(String::from).to_vec()];
    for phase in &a.phases {
        if let Some(other) = b.phases.iter().find(|it| it.name == phase.name) {
            let (ours, theirs) = (phase_figures(phase), phase_figures(other));
            for one in ours {
                let twin = theirs.iter().find(|it| it.name == one.name);
                rows.extend(twin.map(|twin| change(&one, twin)));
            }
        }
    }
    for one in &a.figures {
        let twin = b.figures.iter().find(|it| it.name == one.name);
        rows.extend(twin.map(|twin| change(one, twin)));
    }
    lines(&mut out, &rows);
    let unsound = [("A", a), ("B", b)]
        .into_iter()
        .filter(|(_, it)| !it.is_sound());
    for (name, outcome) in unsound {
        let _ = write!(out, "\n{name}: {}", verdict(outcome));
    }
    out
}

fn phase_figures(phase: &Phase) -> Vec<Figure> {
    let figure = |name: &str, value, unit, better| Figure {
        name: format!("{}: {name}", phase.name),
        value,
        unit,
        better,
    };
    let latency = &phase.latency;
    let mut figures = vec![
        figure(
            "heard",
            phase.deliveries_per_s(),
            Unit::PerSecond,
            Better::Higher,
        ),
        figure("p50", latency.p50 as f64, Unit::Nanoseconds, Better::Lower),
        figure("p99", latency.p99 as f64, Unit::Nanoseconds, Better::Lower),
        figure(
            "p99.9",
            latency.p999 as f64,
            Unit::Nanoseconds,
            Better::Lower,
        ),
    ];
    if let Some(server) = phase.server.filter(|_| phase.deliveries > 0) {
        let ns = server.ns_per(phase.deliveries);
        figures.push(figure(
            "CPU per delivery",
            ns,
            Unit::Nanoseconds,
            Better::Lower,
        ));
    }
    figures
}

/// Less than this is noise.
const SAME: f64 = 0.03;

fn change(a: &Figure, b: &Figure) -> Vec<String> {
    let ratio = b.value / a.value;
    let told = if a.value == b.value || (ratio - 1.0).abs() < SAME || a.better == Better::Neither {
        ""
    } else if (ratio > 1.0) == (a.better == Better::Higher) {
        "better"
    } else {
        "worse"
    };
    let ratio = if ratio.is_finite() {
        format!("{ratio:.2}")
    } else {
        "-".into()
    };
    vec![
        a.name.clone(),
        value(a.value, a.unit),
        value(b.value, b.unit),
        ratio,
        told.to_string(),
    ]
}

/// Rows in columns: the first to the left, the others to the right.
fn lines(out: &mut String, rows: &[Vec<String>]) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|at| {
            rows.iter()
                .filter_map(|row| row.get(at))
                .map(|cell| cell.chars().count())
                .max()
        })
        .map(Option::unwrap_or_default)
        .collect();
    for row in rows {
        let mut line = String::new();
        for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
            if at == 0 {
                let _ = write!(line, "{cell:<width$}");
            } else {
                let _ = write!(line, "  {cell:>width$}");
            }
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
}

/// A number with its unit, in three digits.
pub fn value(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Count => count(value),
        Unit::PerSecond => format!("{}/s", count(value)),
        Unit::Seconds => time(value * 1e9),
        Unit::Nanoseconds => time(value),
        Unit::Bytes => bytes(value),
        Unit::Percent => format!("{value:.1} %"),
    }
}

/// 1234567 as 1.23 M.
pub fn count(value: f64) -> String {
    scaled(value, 1000.0, &["", " k", " M", " G"])
}

/// Nanoseconds as ns, µs, ms or s.
pub fn time(ns: f64) -> String {
    if ns >= 100e9 {
        return format!("{:.0} s", ns / 1e9);
    }
    scaled(ns, 1000.0, &[" ns", " µs", " ms", " s"])
}

pub fn bytes(value: f64) -> String {
    scaled(value, 1024.0, &[" B", " KiB", " MiB", " GiB"])
}

fn scaled(mut value: f64, step: f64, units: &[&str]) -> String {
    let mut at = 0;
    while value >= 999.5 && at + 1 < units.len() {
        value /= step;
        at += 1;
    }
    let digits = match value {
        0.0 => 0,
        1.0.. if at == 0 && value.fract() == 0.0 => 0,
        100.0.. => 0,
        10.0.. => 1,
        _ => 2,
    };
    format!("{value:.digits$}{}", units[at])
}
