//! The command `compare`: two results side by side, with the changes that are more
//! than noise.
//!
//! Measures nothing; it reads what `--json` has written.

use crate::Error;
use crate::args::CompareArgs;
use crate::stats::{PhaseResult, Run};
use crate::text::{bytes, count, figures, table, time};

/// Changes below this many percent are taken for noise.
const NOISE_PERCENT: f64 = 5.0;

/// One compared number.
struct Row {
    what: String,
    before: f64,
    after: f64,
    shown: fn(f64) -> String,
    more_is_better: bool,
}

impl Row {
    fn change_percent(&self) -> f64 {
        if self.before == 0.0 {
            return 0.0;
        }
        (self.after - self.before) / self.before.abs() * 100.0
    }

    /// How much worse, in percent; negative if better.
    fn worse_percent(&self) -> f64 {
        let change = self.change_percent();
        if self.more_is_better { -change } else { change }
    }

    fn verdict(&self) -> &'static str {
        match self.worse_percent() {
            worse if worse > NOISE_PERCENT => "worse",
            worse if worse < -NOISE_PERCENT => "better",
            _ => "",
        }
    }
}

/// True unless `--fail-over` was given and something is worse by more.
pub(crate) fn run(args: &CompareArgs) -> Result<bool, Error> {
    let (before, after) = (crate::load(&args.before)?, crate::load(&args.after)?);
    print!("{}", page(&before, &after));
    let Some(limit) = args.fail_over else {
        return Ok(true);
    };
    let worst = rows(&before, &after);
    let over: Vec<&Row> = worst.iter().filter(|r| r.worse_percent() > limit).collect();
    for row in &over {
        let percent = figures(row.worse_percent());
        println!("  FAIL: {} is worse by {percent} %", row.what);
    }
    Ok(over.is_empty() && after.failures.is_empty())
}

/// The comparison as text.
pub fn page(before: &Run, after: &Run) -> String {
    let mut out = String::new();
    for (name, a, b) in differences(before, after) {
        out += &format!("  note: the runs differ in {name}: {a} before, {b} after\n");
    }
    let rows = rows(before, after);
    if rows.is_empty() {
        return out + "  The two results have no phase in common.\n";
    }
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            vec![
                row.what.clone(),
                (row.shown)(row.before),
                (row.shown)(row.after),
                format!("{:+.1} %", row.change_percent()),
                row.verdict().into(),
            ]
        })
        .collect();
    out += &table(&["", "before", "after", "change", ""], &cells);
    for (name, run) in [("before", before), ("after", after)] {
        for failure in &run.failures {
            out += &format!("  {name} FAILED: {failure}\n");
        }
    }
    out
}

fn rows(before: &Run, after: &Run) -> Vec<Row> {
    let mut rows = Vec::new();
    for a in before
        .phases
        .iter()
        .filter(|phase| crate::summary::is_load(phase))
    {
        if let Some(b) = after.phases.iter().find(|phase| phase.name == a.name) {
            phase_rows(&mut rows, a, b);
        }
    }
    for (name, a) in &before.figures {
        if let Some(b) = after.figures.get(name) {
            rows.push(Row {
                what: name.clone(),
                before: *a,
                after: *b,
                shown: figures,
                more_is_better: false,
            });
        }
    }
    rows
}

fn phase_rows(rows: &mut Vec<Row>, a: &PhaseResult, b: &PhaseResult) {
    let mut add = |what: &str, before: f64, after: f64, shown, more_is_better| {
        if before != 0.0 || after != 0.0 {
            rows.push(Row {
                what: format!("{}: {what}", a.name),
                before,
                after,
                shown,
                more_is_better,
            });
        }
    };
    // At a fixed rate the throughput is an input, and a loss of it shows as latency.
    let more = true;
    add(
        "delivered per second",
        a.delivered_per_second,
        b.delivered_per_second,
        count,
        more,
    );
    let (x, y) = (&a.latency, &b.latency);
    for (what, before, after) in [
        ("p50", x.p50, y.p50),
        ("p99", x.p99, y.p99),
        ("p99.9", x.p999, y.p999),
        ("max", x.max, y.max),
    ] {
        add(what, before as f64, after as f64, time, false);
    }
    if let (Some(x), Some(y)) = (&a.server, &b.server) {
        if a.delivered > 0 && b.delivered > 0 {
            let (x, y) = (x.cpu_us_per_delivery, y.cpu_us_per_delivery);
            add("server µs per delivery", x, y, figures, false);
        }
        let (x, y) = (x.resident_bytes_max as f64, y.resident_bytes_max as f64);
        add("server memory, most", x, y, bytes, false);
    }
}

/// What makes two runs hard to compare.
fn differences(before: &Run, after: &Run) -> Vec<(&'static str, String, String)> {
    let facts = |run: &Run| {
        [
            ("scenario", run.scenario.clone()),
            ("subscribers", run.subscribers.to_string()),
            ("publishers", run.publishers.to_string()),
            ("topics", run.topics.to_string()),
            ("message bytes", run.message_bytes.to_string()),
            ("client threads", run.client_threads.to_string()),
            ("kernel", run.machine.kernel.clone()),
            ("processor", run.machine.processor.clone()),
            ("processors", run.machine.processors.to_string()),
        ]
    };
    let pairs = facts(before).into_iter().zip(facts(after));
    let differ = pairs.filter(|(a, b)| a.1 != b.1);
    differ.map(|(a, b)| (a.0, a.1, b.1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Quantiles;

    fn result(p99: u64, heard: f64) -> Run {
        let phase = PhaseResult {
            name: "fanout".into(),
            delivered_per_second: heard,
            latency: Quantiles {
                count: 1,
                p99,
                ..Quantiles::default()
            },
            ..PhaseResult::default()
        };
        Run {
            scenario: "fanout".into(),
            phases: vec![phase],
            ..Run::default()
        }
    }

    #[test]
    fn less_latency_is_better_and_less_throughput_is_worse() {
        let text = page(&result(2_000_000, 1000.0), &result(1_000_000, 500.0));
        let line = |name: &str| text.lines().find(|l| l.contains(name)).unwrap().to_string();
        assert!(line("p99").ends_with("better"), "{text}");
        assert!(line("p99").contains("-50.0 %"), "{text}");
        assert!(line("delivered").ends_with("worse"), "{text}");
    }

    #[test]
    fn a_change_within_the_noise_is_no_verdict() {
        let text = page(&result(1_000_000, 1000.0), &result(1_030_000, 980.0));
        assert!(
            !text.contains("worse") && !text.contains("better"),
            "{text}"
        );
    }

    #[test]
    fn unlike_runs_are_said_to_be_unlike() {
        let mut other = result(1, 1.0);
        other.message_bytes = 1024;
        other.phases.clear();
        let text = page(&result(1, 1.0), &other);
        assert!(text.contains("differ in message bytes: 0 before, 1024 after"));
        assert!(text.contains("no phase in common"));
    }
}
