//! Which plots tell a run's story, and what each shows.
//!
//! They are drawn in `plot`. Called by `report`.

use crate::plot::{LINES_MAX, Line, Plot, Scale};
use crate::stats::{PhaseResult, Point, Run};
use crate::summary::is_load;
use crate::text::{bytes, count, figures, time};

pub(super) fn plots(run: &Run) -> String {
    let marks = marks(run);
    let over_time = |title: &str, subtitle: &str, scale, text, lines: Vec<Line>| {
        let filled = lines.len() == 1;
        Plot {
            title: title.into(),
            subtitle: subtitle.into(),
            lines,
            y_scale: scale,
            y_text: text,
            x_text: seconds,
            x_ticks: vec![],
            y_binary: title == "Server memory",
            filled,
            marks: marks.clone(),
        }
        .figure()
    };
    let s = &run.series;
    let mut out = by_percentile(run) + &by_rate(run);
    let latencies = vec![
        line("p50", s, |p| p.p50.map(|v| v as f64)),
        line("p99", s, |p| p.p99.map(|v| v as f64)),
        line("max", s, |p| p.max.map(|v| v as f64)),
    ];
    out += &over_time(
        "Latency over time",
        "from due to heard, per interval",
        Scale::Log,
        time,
        latencies,
    );
    if run.publishers > 0 {
        let heard = vec![line("heard", s, |p| Some(p.delivered_per_second))];
        out += &over_time(
            "Throughput",
            "deliveries per second, all subscribers",
            Scale::Linear,
            count,
            heard,
        );
        let lag = vec![line("lag", s, |p| Some(p.lag as f64))];
        out += &over_time(
            "Lag",
            "messages sent but not yet heard by everybody, worst publisher",
            Scale::Linear,
            count,
            lag,
        );
    }
    let mut cores = vec![
        line("server", s, |p| p.server_cores),
        line("this tool", s, |p| Some(p.client_cores)),
    ];
    cores.retain(|line| !line.points.is_empty());
    out += &over_time(
        "Processor time",
        "processors in use",
        Scale::Linear,
        figures,
        cores,
    );
    let memory = vec![line("memory", s, |p| {
        p.server_resident_bytes.map(|v| v as f64)
    })];
    out += &over_time(
        "Server memory",
        "resident, all its processes",
        Scale::Linear,
        bytes,
        memory,
    );
    if run.scenario != "fanout" && run.scenario != "ramp" {
        let open = vec![line("open", s, |p| Some(p.open as f64))];
        out += &over_time(
            "Connections",
            "open at the end of each interval",
            Scale::Linear,
            count,
            open,
        );
    }
    out
}

fn line(name: &str, series: &[Point], of: impl Fn(&Point) -> Option<f64>) -> Line {
    let points = series.iter().filter_map(|p| Some((p.t_s, of(p)?)));
    Line {
        name: name.into(),
        points: points.collect(),
    }
}

fn marks(run: &Run) -> Vec<(f64, String)> {
    let shown: Vec<&PhaseResult> = run.phases.iter().filter(|p| is_load(p)).collect();
    if shown.len() < 2 {
        return Vec::new();
    }
    let marks = shown.iter().map(|phase| (phase.from_s, phase.name.clone()));
    marks.collect()
}

/// The whole distribution; each nine has the same room.
fn by_percentile(run: &Run) -> String {
    let heard: Vec<&PhaseResult> = (run.phases.iter())
        .filter(|phase| !phase.latency.curve.is_empty())
        .collect();
    // A ramp has many phases: some from its course tell the story.
    let step = heard.len().div_ceil(LINES_MAX).max(1);
    let lines = heard.iter().step_by(step).map(|phase| Line {
        name: phase.name.clone(),
        // The fastest fifth would stretch the axis and tell nothing.
        points: (phase.latency.curve.iter().skip(1))
            .map(|(quantile, ns)| (-(1.0 - quantile).log10(), *ns as f64))
            .collect(),
    });
    Plot {
        title: "Latency by percentile".into(),
        subtitle: "from when a message was due to when it was heard".into(),
        lines: lines.collect(),
        y_scale: Scale::Log,
        y_text: time,
        x_text: percentile,
        x_ticks: [HALF].into_iter().chain((1..=6).map(f64::from)).collect(),
        y_binary: false,
        filled: false,
        marks: vec![],
    }
    .figure()
}

/// Where the median is on an axis of nines: -log10(0.5).
const HALF: f64 = std::f64::consts::LOG10_2;

/// What a ramp is about.
fn by_rate(run: &Run) -> String {
    if run.scenario != "ramp" {
        return String::new();
    }
    let of = |value: fn(&PhaseResult) -> u64| {
        let steps = run.phases.iter().filter(|p| p.latency.count > 0);
        let mut points: Vec<(f64, f64)> = steps
            .filter_map(|phase| Some((phase.rate?, value(phase) as f64)))
            .collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        points
    };
    let lines = [
        ("p50", of(|p| p.latency.p50)),
        ("p99", of(|p| p.latency.p99)),
    ];
    Plot {
        title: "Latency by rate".into(),
        subtitle: "messages per second, all publishers".into(),
        lines: (lines.into_iter())
            .map(|(name, points)| Line {
                name: name.into(),
                points,
            })
            .collect(),
        y_scale: Scale::Log,
        y_text: time,
        x_text: count,
        x_ticks: vec![],
        y_binary: false,
        filled: false,
        marks: vec![],
    }
    .figure()
}

fn percentile(nines: f64) -> String {
    let percent = 100.0 * (1.0 - 10f64.powf(-nines));
    let digits = (nines.ceil() as usize).saturating_sub(2);
    let exact = (percent - percent.round()).abs() < 1e-9 || nines.fract() == 0.0;
    let digits = if exact { digits } else { digits.max(1) };
    format!("{percent:.digits$}%")
}

fn seconds(s: f64) -> String {
    match s {
        long if long >= 7200.0 => format!("{} h", figures(long / 3600.0)),
        some if some >= 300.0 => format!("{} min", figures(some / 60.0)),
        short => format!("{} s", (short * 10.0).round() / 10.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nines_read_as_percentiles() {
        let shown: Vec<String> = (0..5).map(|n| percentile(f64::from(n))).collect();
        assert_eq!(shown, ["0%", "90%", "99%", "99.9%", "99.99%"]);
        assert_eq!(
            (percentile(HALF), percentile(1.3)),
            ("50%".into(), "95.0%".into())
        );
    }
}
