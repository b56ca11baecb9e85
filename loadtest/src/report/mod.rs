//! A run as one page: no outside resources, so that it can be mailed and kept.
//!
//! Called for `--report`, with the same result that `--json` writes.

mod plots;

use crate::plot::escape;
use crate::stats::{PhaseResult, Run};
use crate::summary::{check_rows, cpu_us_per_delivery, is_load, phase_rows, winner};
use crate::text::{count, date, figures, time};

use plots::plots;

const TEMPLATE: &str = include_str!("page.html");

/// The page of a run.
pub fn page(run: &Run) -> String {
    let verdict = if run.failures.is_empty() {
        ("pass", "Passed")
    } else {
        ("fail", "Failed")
    };
    let title = format!("{} · {}", run.scenario, run.url);
    let parts = [
        ("title", escape(&title)),
        ("scenario", escape(&run.scenario)),
        ("url", escape(&run.url)),
        ("verdict_class", verdict.0.into()),
        ("verdict", verdict.1.into()),
        ("subtitle", escape(&subtitle(run))),
        ("messages", messages(run)),
        ("tiles", tiles(run)),
        ("plots", plots(run)),
        ("tables", tables(run)),
        (
            "command",
            escape(&format!("fanfare-loadtest {}", run.command.join(" "))),
        ),
        ("version", escape(&format!("{} {}", run.tool, run.version))),
    ];
    fill(TEMPLATE, &parts)
}

/// Puts the parts in their places, in one pass: a part is never searched itself.
fn fill(template: &str, parts: &[(&str, String)]) -> String {
    let mut pieces = template.split("{{");
    let mut out = pieces.next().unwrap_or("").to_string();
    for piece in pieces {
        let (name, rest) = piece
            .split_once("}}")
            .expect("the template closes its names");
        let part = parts.iter().find(|(part, _)| *part == name);
        out += &part.expect("the template names known parts").1;
        out += rest;
    }
    out
}

fn subtitle(run: &Run) -> String {
    let machine = &run.machine;
    let plural = |n: u64, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    format!(
        "{} · {} · {} · {} B messages — {} · {}, {}, Linux {}",
        plural(run.subscribers, "subscriber"),
        plural(run.publishers, "publisher"),
        plural(run.topics, "topic"),
        run.message_bytes,
        date(run.started_unix),
        machine.processor,
        plural(machine.processors, "processor"),
        machine.kernel
    )
}

fn messages(run: &Run) -> String {
    let item =
        |class: &str, text: &String| format!("<li class=\"{class}\">{}</li>\n", escape(text));
    let failures = run.failures.iter().map(|text| item("bad", text));
    let notes = run.warnings.iter().map(|text| item("note", text));
    let all: String = failures.chain(notes).collect();
    if all.is_empty() {
        all
    } else {
        format!("<ul class=\"messages\">{all}</ul>")
    }
}

/// The few numbers to see first, of the run's most telling phase.
fn tiles(run: &Run) -> String {
    let mut tiles: Vec<(String, String)> = Vec::new();
    let mut add = |name: &str, value: String| tiles.push((name.into(), value));
    if let Some(phase) = telling_phase(run) {
        add("deliveries per second", count(phase.delivered_per_second));
        add("latency p50", time(phase.latency.p50 as f64));
        add("latency p99", time(phase.latency.p99 as f64));
        add("latency max", time(phase.latency.max as f64));
        if let Some(us) = cpu_us_per_delivery(phase) {
            add("server time per delivery", format!("{} µs", figures(us)));
        }
        let c = &run.checks;
        let faults = c.steady.faults() + c.coming.faults();
        let heard = c.steady.received + c.coming.received + c.stalling.received;
        add("messages checked", count(heard as f64));
        add("faults", faults.to_string());
    } else {
        for (name, value) in run.findings.iter().take(4) {
            add(name, value.clone());
        }
    }
    let tile = |(name, value): &(String, String)| {
        format!(
            "<div class=\"tile\"><b>{}</b><span>{}</span></div>\n",
            escape(value),
            escape(name)
        )
    };
    tiles.iter().map(tile).collect()
}

/// Of several, the one with the highest rate that a ramp found good, or the last.
fn telling_phase(run: &Run) -> Option<&PhaseResult> {
    let heard = run.phases.iter().filter(|phase| phase.latency.count > 0);
    match run.scenario.as_str() {
        "slow" => heard.clone().nth(1).or(heard.clone().next()),
        "ramp" => winner(run).or(heard.clone().next()),
        _ => heard.clone().next_back(),
    }
}

fn tables(run: &Run) -> String {
    let mut out = String::new();
    if !run.findings.is_empty() {
        let rows: Vec<Vec<String>> = (run.findings.iter())
            .map(|(name, value)| vec![name.clone(), value.clone()])
            .collect();
        out += &table("Findings", &["", ""], &rows);
    }
    let shown: Vec<PhaseResult> = (run.phases.iter())
        .filter(|phase| is_load(phase))
        .cloned()
        .collect();
    let (header, rows) = phase_rows(&shown);
    out += &table("Phases", &header, &rows);
    if run.publishers > 0 {
        let (header, rows) = check_rows(run);
        out += &table(
            "Checks of every message on every connection",
            &header,
            &rows,
        );
    }
    out
}

fn table(title: &str, header: &[&str], rows: &[Vec<String>]) -> String {
    let head = if header.iter().all(|name| name.is_empty()) {
        String::new()
    } else {
        let cell = |name: &&str| format!("<th>{}</th>", escape(name));
        let cells: String = header.iter().map(cell).collect();
        format!("<thead><tr>{cells}</tr></thead>")
    };
    // In a narrow window a row is a list, in which each cell bears its column's name.
    let cell = |(text, name): (&String, &&str)| {
        format!("<td data-name=\"{}\">{}</td>", escape(name), escape(text))
    };
    let row = |row: &Vec<String>| {
        let cells: String = row.iter().zip(header).map(cell).collect();
        format!("<tr>{cells}</tr>\n")
    };
    let body: String = rows.iter().map(row).collect();
    format!(
        "<section><h2>{}</h2><div class=\"wide\"><table>{head}<tbody>{body}</tbody></table></div></section>\n",
        escape(title)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{Latency, Point, ServerPhase};

    fn sample() -> Run {
        let mut latency = Latency::default();
        for ns in 1..=5_000u64 {
            latency.record(ns * 1_000);
        }
        let phase = PhaseResult {
            name: "fanout".into(),
            latency: latency.quantiles(),
            ..PhaseResult::default()
        };
        let series = (0..20).map(|n| Point {
            t_s: f64::from(n),
            p50: Some(1_000_000),
            p99: Some(2_000_000),
            max: Some(3_000_000 + n as u64),
            server_cores: Some(0.5),
            server_resident_bytes: Some(9_000_000),
            ..Point::default()
        });
        Run {
            scenario: "fanout".into(),
            url: "ws://127.0.0.1:1/<script>alert('x')</script>?a=1&b=2".into(),
            publishers: 1,
            phases: vec![phase],
            series: series.collect(),
            command: vec!["fanout".into(), "{{title}}".into()],
            ..Run::default()
        }
    }

    /// Every element that is opened is closed, in order; void elements aside.
    fn assert_well_formed(page: &str) {
        const VOID: [&str; 5] = ["meta", "br", "link", "input", "!doctype"];
        let mut open: Vec<String> = Vec::new();
        let mut rest = page;
        while let Some(at) = rest.find('<') {
            let end = at + rest[at..].find('>').expect("a tag ends");
            let tag = &rest[at + 1..end];
            rest = &rest[end + 1..];
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(
                    open.pop().as_deref(),
                    Some(name),
                    "closing tag out of place"
                );
                continue;
            }
            let name = tag.split([' ', '\n']).next().unwrap().to_lowercase();
            if tag.ends_with('/') || VOID.contains(&name.as_str()) {
                continue;
            }
            if name == "script" || name == "style" {
                let close = format!("</{name}>");
                rest = &rest[rest.find(&close).expect("it ends") + close.len()..];
                continue;
            }
            open.push(name);
        }
        assert!(open.is_empty(), "left open: {open:?}");
    }

    #[test]
    fn the_page_is_well_formed_and_needs_nothing_from_outside() {
        let page = page(&sample());
        assert_well_formed(&page);
        for outside in ["src=", "href=", "@import", "url(", "fetch("] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(page.matches("<svg").count() >= 5);
        // Each plot for a broad window and for a narrow one, and rows that can be lists.
        let plots = |class: &str| page.matches(&format!("class=\"plot {class}\"")).count();
        assert_eq!(plots("broad"), plots("narrow"));
        assert_eq!(
            page.matches("<td").count(),
            page.matches("<td data-name=").count()
        );
        assert!(page.contains("<td data-name=\"p99\">"));
    }

    #[test]
    fn what_the_user_typed_is_shown_and_not_run() {
        let page = page(&sample());
        assert!(!page.contains("<script>alert"));
        assert!(
            page.contains("{{title}}"),
            "the command line is not filled in again"
        );
    }

    #[test]
    fn a_run_without_messages_has_a_page_too() {
        let run = Run {
            scenario: "idle".into(),
            findings: vec![("memory".into(), "4 B".into())],
            ..Run::default()
        };
        assert_well_formed(&page(&run));
    }

    #[test]
    fn processor_time_that_went_to_handshakes_is_not_told_as_that_of_deliveries() {
        let mut run = sample();
        let tile = "<span>server time per delivery</span>";
        run.phases[0].server = Some(ServerPhase {
            cpu_us_per_delivery: 4.0,
            ..ServerPhase::default()
        });
        run.phases[0].delivered = 1_000;
        assert!(page(&run).contains(tile));
        run.phases[0].handshakes.count = 500;
        assert!(!page(&run).contains(tile));
    }

    #[test]
    fn failures_are_on_the_page() {
        let mut run = sample();
        run.failures.push("3 deliveries were lost".into());
        let page = page(&run);
        assert!(page.contains("Failed") && page.contains("3 deliveries were lost"));
    }
}
