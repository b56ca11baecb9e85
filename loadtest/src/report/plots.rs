//! Which plots tell a run's story, and what each shows.
//!
//! They are drawn in `plot`. Called by `report`.

use crate::plot::{LINES_MAX, Line, Plot, Scale};
use crate::stats::{PhaseResult, Point, Run};
use crate::summary::{is_load, winner};
use crate::text::{bytes, count, figures, time};

pub(super) fn plots(run: &Run) -> String {
    let marks = marks(run);
    let s = &course(run);
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

/// The part of the run that its plots show. Of a run about a crowd that returns it is the
/// returns, with some quiet before: all of the quiet would leave them no room.
fn course(run: &Run) -> Vec<Point> {
    let mut shown = run.series.clone();
    let returns = || {
        run.phases
            .iter()
            .filter(|p| is_load(p) && p.name != "quiet")
    };
    if let ("storm" | "recover", Some(first), Some(last)) =
        (&*run.scenario, returns().next(), returns().next_back())
    {
        let from_s = first.from_s - QUIET_SHARE * (last.until_s - first.from_s);
        shown.retain(|point| point.t_s >= from_s);
    }
    shown
}

/// How much quiet is shown before a crowd returns, as a share of the time that its returns take.
const QUIET_SHARE: f64 = 0.25;

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
    let best = winner(run);
    let lines = telling(heard, best).into_iter().map(|phase| Line {
        name: match best.is_some_and(|best| std::ptr::eq(best, phase)) {
            true => format!("{}, the highest that held", phase.name),
            false => phase.name.clone(),
        },
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

/// As many of the phases as there may be lines: all, or some from a ramp's course, by their
/// rates, with the best among them.
fn telling<'a>(
    mut heard: Vec<&'a PhaseResult>,
    best: Option<&PhaseResult>,
) -> Vec<&'a PhaseResult> {
    if heard.len() <= LINES_MAX {
        return heard;
    }
    heard.sort_by(|a, b| a.rate.unwrap_or(0.0).total_cmp(&b.rate.unwrap_or(0.0)));
    let last = heard.len() - 1;
    let mut chosen: Vec<usize> = (0..LINES_MAX).map(|n| n * last / (LINES_MAX - 1)).collect();
    let place = best.and_then(|best| heard.iter().position(|phase| std::ptr::eq(*phase, best)));
    if let Some(place) = place.filter(|place| !chosen.contains(place)) {
        // It takes the seat of its neighbour; the ends of the range stay.
        let inner = &mut chosen[1..LINES_MAX - 1];
        let nearest = inner.iter_mut().min_by_key(|other| other.abs_diff(place));
        *nearest.expect("there are more than two lines") = place;
        chosen.sort_unstable();
    }
    chosen.into_iter().map(|place| heard[place]).collect()
}

const _: () = assert!(LINES_MAX > 2);

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
        marks: (winner(run).and_then(|best| best.rate))
            .map(|rate| (rate, "the highest that held".into()))
            .into_iter()
            .collect(),
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
    use crate::stats::Latency;

    fn step(rate: f64) -> PhaseResult {
        let mut latency = Latency::default();
        (1..=1_000u64).for_each(|ns| latency.record(ns * 1_000));
        PhaseResult {
            name: format!("{rate}/s"),
            rate: Some(rate),
            latency: latency.quantiles(),
            ..PhaseResult::default()
        }
    }

    #[test]
    fn the_winner_of_a_ramp_is_in_its_plots() {
        // Up by a factor, then halving the gap: in the order in which they were tried.
        let rates = [100.0, 200.0, 400.0, 800.0, 1600.0, 1200.0, 1400.0, 1300.0];
        for best in [100.0, 800.0, 1300.0, 1600.0] {
            let run = Run {
                scenario: "ramp".into(),
                phases: rates.map(step).into(),
                figures: [("µs per message at the highest rate".into(), 1e6 / best)].into(),
                ..Run::default()
            };
            let (by_percentile, by_rate) = (by_percentile(&run), by_rate(&run));
            let name = format!("{best}/s, the highest that held");
            assert!(by_percentile.contains(&name), "{best}");
            for end in ["100/s", "1600/s"] {
                assert!(by_percentile.contains(end), "{best}");
            }
            let lines = by_percentile.matches("class=\"line").count();
            assert_eq!(lines, 2 * LINES_MAX);
            assert!(by_rate.contains(">the highest that held<"), "{best}");
        }
    }

    #[test]
    fn returns_take_most_of_the_time_that_plots_show() {
        let phase = |name: &str, from_s, until_s| PhaseResult {
            name: name.into(),
            from_s,
            until_s,
            ..PhaseResult::default()
        };
        let points = (0..500).map(|n| Point {
            t_s: f64::from(n) * 0.02,
            ..Point::default()
        });
        let mut run = Run {
            scenario: "storm".into(),
            phases: vec![
                phase("connect", 0.0, 1.0),
                phase("quiet", 2.0, 8.0),
                phase("storm 1", 8.1, 8.9),
                phase("storm 2", 9.0, 9.7),
            ],
            series: points.collect(),
            ..Run::default()
        };
        let shown = course(&run);
        let (first, last) = (shown[0].t_s, shown[shown.len() - 1].t_s);
        assert!((7.68..7.72).contains(&first), "{first}");
        assert_eq!(last, 499.0 * 0.02);
        // What stays as it is from beginning to end is shown whole.
        run.scenario = "fanout".into();
        assert_eq!(course(&run).len(), run.series.len());
    }

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
