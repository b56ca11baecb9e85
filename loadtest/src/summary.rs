//! The table at the end of a run, as text for a terminal.
//!
//! Called by the command line; `report` takes its rows too.

use crate::check::Tally;
use crate::stats::{PhaseResult, Run};
use crate::text::{bytes, count, figures, table, time};

/// The whole run as text for a terminal.
pub fn of(run: &Run) -> String {
    let mut out = format!(
        "\n{} · {} · {} subscribers, {} publishers, {} topics, {} B\n\n",
        run.scenario, run.url, run.subscribers, run.publishers, run.topics, run.message_bytes
    );
    out += &phases(&run.phases);
    for phase in run.phases.iter().filter(|p| p.handshakes.count > 0) {
        out += &format!(
            "\n  {}: {} handshakes in {}, each p50 {}, p99 {}\n",
            phase.name,
            phase.handshakes.count,
            time(phase.returns.max as f64),
            time(phase.handshakes.p50 as f64),
            time(phase.handshakes.p99 as f64)
        );
    }
    if !run.findings.is_empty() {
        out += "\n";
        let rows: Vec<Vec<String>> = (run.findings.iter())
            .map(|(name, value)| vec![name.clone(), value.clone()])
            .collect();
        out += &table(&["finding", "value"], &rows);
    }
    if run.publishers > 0 {
        out += "\n";
        out += &checks(run);
    }
    for warning in &run.warnings {
        out += &format!("\n  note: {warning}");
    }
    out += if run.warnings.is_empty() { "" } else { "\n" };
    if run.failures.is_empty() {
        out += "\n  PASS\n";
    } else {
        for failure in &run.failures {
            out += &format!("\n  FAIL: {failure}");
        }
        out += "\n";
    }
    out
}

/// Head and rows of the phases' table; the page shows the same.
pub fn phase_rows(phases: &[PhaseResult]) -> (Vec<&'static str>, Vec<Vec<String>>) {
    let with_server = phases.iter().any(|phase| phase.server.is_some());
    let mut header = vec![
        "phase", "sent/s", "heard/s", "MB/s", "p50", "p90", "p99", "p99.9", "max",
    ];
    if with_server {
        header.extend(["cores", "µs/delivery", "user", "memory"]);
    }
    let rows = phases.iter().map(|phase| {
        let l = &phase.latency;
        let mut row = vec![
            phase.name.clone(),
            count(phase.published_per_second),
            count(phase.delivered_per_second),
            figures(phase.megabytes_per_second),
        ];
        for value in [l.p50, l.p90, l.p99, l.p999, l.max] {
            row.push(if l.count == 0 {
                "–".into()
            } else {
                time(value as f64)
            });
        }
        if let Some(server) = &phase.server {
            row.extend([
                figures(server.cores),
                cpu_us_per_delivery(phase).map_or("–".into(), figures),
                (server.user_share).map_or("–".into(), |share| {
                    format!("{} %", figures(share * 100.0))
                }),
                bytes(server.resident_bytes as f64),
            ]);
        } else if with_server {
            row.extend(std::iter::repeat_n("–".to_string(), 4));
        }
        row
    });
    (header, rows.collect())
}

/// Head and rows of the checks' table: connections by their part.
pub fn check_rows(run: &Run) -> (Vec<&'static str>, Vec<Vec<String>>) {
    let header = vec![
        "connections",
        "heard",
        "lost",
        "doubled",
        "out of order",
        "damaged",
        "misrouted",
        "other messages",
    ];
    let groups = [
        ("steady", &run.checks.steady),
        ("coming and going", &run.checks.coming),
        ("stalling", &run.checks.stalling),
    ];
    let rows = groups
        .into_iter()
        .filter(|(name, tally)| *name == "steady" || **tally != Tally::default())
        .map(|(name, t)| {
            let mut row = vec![name.to_string()];
            let numbers = [
                t.received,
                t.lost,
                t.duplicated,
                t.reordered,
                t.corrupt,
                t.misrouted,
                t.foreign,
            ];
            row.extend(numbers.map(|number| number.to_string()));
            row
        });
    (header, rows.collect())
}

fn phases(phases: &[PhaseResult]) -> String {
    let shown: Vec<PhaseResult> = phases.iter().filter(|p| is_load(p)).cloned().collect();
    if shown.is_empty() {
        return String::new();
    }
    let (header, rows) = phase_rows(&shown);
    table(&header, &rows)
}

/// The server's processor time for a delivery, if it is known and went to deliveries: in a storm
/// it goes to handshakes.
pub fn cpu_us_per_delivery(phase: &PhaseResult) -> Option<f64> {
    let server = phase.server.as_ref()?;
    let is_load = phase.delivered > phase.handshakes.count * 10;
    is_load.then_some(server.cpu_us_per_delivery)
}

/// Connecting alone is told in a line of its own.
pub fn is_load(phase: &PhaseResult) -> bool {
    phase.name != "connect"
}

/// The step of a ramp with the highest rate that held, if one did.
pub fn winner(run: &Run) -> Option<&PhaseResult> {
    let us_per_message = run.figures.get("µs per message at the highest rate")?;
    let rate = 1e6 / us_per_message;
    let is_it = |phase: &&PhaseResult| (phase.rate.unwrap_or(0.0) / rate - 1.0).abs() < 1e-6;
    let mut heard = run.phases.iter().filter(|phase| phase.latency.count > 0);
    heard.find(is_it)
}

fn checks(run: &Run) -> String {
    let (header, rows) = check_rows(run);
    table(&header, &rows)
}
