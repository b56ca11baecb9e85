//! The result as one page that needs nothing else: plots as inline SVG, light
//! or dark as the reader's system is.

use std::fmt::Write;

use crate::outcome::{Outcome, Point};
use crate::plot::{Axis, Plot, Series};
use crate::table;

/// The page.
pub fn page(outcome: &Outcome) -> String {
    let mut out = String::with_capacity(64 << 10);
    let title = escape(&format!("{}: {}", outcome.scenario, outcome.url));
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
    );
    head(&mut out, outcome);
    figures(&mut out, outcome);
    phases(&mut out, outcome);
    plots(&mut out, outcome);
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

fn head(out: &mut String, outcome: &Outcome) {
    let class = if outcome.is_sound() {
        "sound"
    } else {
        "unsound"
    };
    let _ = write!(
        out,
        "<header>\n<h1>{}</h1>\n<p class=\"quiet\">{} &middot; {} &middot; {}</p>\n\
         <pre class=\"command\">{}</pre>\n</header>\n<section class=\"verdict {class}\">",
        escape(&outcome.scenario),
        escape(&outcome.url),
        escape(&outcome.machine),
        date(outcome.started_at),
        escape(&outcome.command),
    );
    for line in table::verdict(outcome).lines() {
        let _ = write!(out, "<p>{}</p>", escape(line.trim()));
    }
    out.push_str("</section>\n");
}

fn figures(out: &mut String, outcome: &Outcome) {
    if outcome.figures.is_empty() {
        return;
    }
    out.push_str("<section class=\"figures\">\n");
    for figure in &outcome.figures {
        let _ = writeln!(
            out,
            "<div><strong>{}</strong><span>{}</span></div>",
            escape(&table::value(figure.value, figure.unit)),
            escape(&figure.name)
        );
    }
    out.push_str("</section>\n");
}

fn phases(out: &mut String, outcome: &Outcome) {
    out.push_str("<div class=\"wide\"><table>\n<tr>");
    for cell in table::PHASE_HEADS {
        let _ = write!(out, "<th>{cell}</th>");
    }
    out.push_str("</tr>\n");
    for phase in &outcome.phases {
        out.push_str("<tr>");
        for cell in table::phase_row(phase) {
            let _ = write!(out, "<td>{}</td>", escape(&cell));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</table></div>\n");
}

fn plots(out: &mut String, outcome: &Outcome) {
    let measured = outcome.phases.iter();
    let curves: Vec<Series> = measured
        .filter(|phase| phase.latency.curve.len() > 1)
        .map(|phase| {
            // Each step to the right is half of what was left of the messages.
            let curve = phase.latency.curve.iter();
            let last = phase.latency.curve.len() - 1;
            let points = curve.enumerate().map(|(at, &(share, ns))| {
                let share = if at == last {
                    phase.latency.curve[last - 1].0
                } else {
                    share
                };
                (-(1.0 - share).log10(), ns as f64)
            });
            Series::new(&phase.name, points.collect())
        })
        .collect();
    if !curves.is_empty() {
        plot(
            out,
            "Latency by percentile",
            Axis::Percentile,
            Axis::LogTime,
            curves,
        );
    }
    // Nothing to see before the first client is in.
    let from = outcome.timeline.iter().position(|point| point.open > 0);
    let timeline = &outcome.timeline[from.unwrap_or(0)..];
    let over = |name: &str, of: &dyn Fn(&Point) -> Option<f64>| {
        let points = timeline.iter();
        Series::new(
            name,
            points
                .filter_map(|point| Some((point.at_s, of(point)?)))
                .collect(),
        )
    };
    let heard = |ns: u64| (ns > 0).then_some(ns as f64);
    plot(
        out,
        "Latency over time",
        Axis::Seconds,
        Axis::LogTime,
        vec![
            over("p50", &|point| heard(point.p50)),
            over("p99", &|point| heard(point.p99)),
            over("max", &|point| heard(point.max)),
        ],
    );
    let deliveries = |point: &Point| Some(point.deliveries as f64 / point.seconds);
    plot(
        out,
        "Deliveries per second",
        Axis::Seconds,
        Axis::Count,
        vec![over("heard", &deliveries)],
    );
    let behind = |point: &Point| Some(point.behind as f64);
    plot(
        out,
        "Lag: deliveries still to come",
        Axis::Seconds,
        Axis::Count,
        vec![over("behind", &behind)],
    );
    let open = |point: &Point| Some(point.open as f64);
    plot(
        out,
        "Connections open",
        Axis::Seconds,
        Axis::Count,
        vec![over("open", &open)],
    );
    if timeline.iter().any(|point| point.cpu_ns.is_some()) {
        let cpu = |point: &Point| Some(100.0 * point.cpu_ns? as f64 / 1e9 / point.seconds);
        plot(
            out,
            "Server CPU, percent of one processor",
            Axis::Seconds,
            Axis::Percent,
            vec![over("CPU", &cpu)],
        );
        let memory = |point: &Point| Some(point.resident_bytes? as f64);
        plot(
            out,
            "Server memory, resident",
            Axis::Seconds,
            Axis::Bytes,
            vec![over("memory", &memory)],
        );
    }
}

fn plot(out: &mut String, title: &str, x: Axis, y: Axis, series: Vec<Series>) {
    if series.iter().all(|series| series.points.len() < 2) {
        return;
    }
    let drawing = Plot { x, y, series };
    let _ = write!(
        out,
        "<figure>\n<figcaption>{}</figcaption>\n",
        escape(title)
    );
    out.push_str(&drawing.draw(title));
    out.push_str("\n</figure>\n");
}

/// Text for HTML and SVG.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            other => out.push(other),
        }
    }
    out
}

/// Seconds since 1970 as a date and time in UTC.
fn date(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Howard Hinnant's civil_from_days, for dates after 1970.
    let z = days + 719_468;
    let era = z / 146_097;
    let day_of_era = z % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute) = (rest / 3600, rest / 60 % 60);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02} UTC")
}

const STYLE: &str = "
:root{color-scheme:light dark;--back:#fbfbfa;--card:#fff;--ink:#1c1e21;--soft:#656a72;--line:#e2e3e6;
--c0:#2463c5;--c1:#d2691e;--c2:#2a8f5b;--c3:#8a4fbf;--c4:#b8324a;--c5:#5d7382;--good:#1f7a4a;--bad:#b8324a}
@media (prefers-color-scheme:dark){:root{--back:#14161a;--card:#1c1f25;--ink:#e7e9ec;--soft:#9aa0aa;--line:#31353d;
--c0:#6ea3f5;--c1:#f2a05f;--c2:#5fc792;--c3:#bd8ff0;--c4:#f0788c;--c5:#9db3c2;--good:#5fc792;--bad:#f0788c}}
*{box-sizing:border-box}body{margin:0;background:var(--back);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:70rem;margin:0 auto;padding:2rem 1.25rem;display:grid;grid-template-columns:repeat(auto-fit,minmax(min(30rem,100%),1fr));gap:1.25rem}
header,.verdict,.figures,.wide{grid-column:1/-1}h1{margin:0;font-size:1.8rem;text-transform:capitalize}
.quiet{margin:.2rem 0;color:var(--soft)}.command{margin:.6rem 0 0;padding:.6rem .8rem;background:var(--card);border:1px solid var(--line);border-radius:.4rem;white-space:pre-wrap;overflow-wrap:anywhere}
.verdict{padding:.6rem .9rem;border-left:.3rem solid var(--good);background:var(--card)}.verdict.unsound{border-color:var(--bad)}.verdict p{margin:.15rem 0}
.figures{display:grid;grid-template-columns:repeat(auto-fill,minmax(12rem,1fr));gap:.8rem}
.figures div{background:var(--card);border:1px solid var(--line);border-radius:.4rem;padding:.7rem .9rem;display:flex;flex-direction:column}
.figures strong{font-size:1.35rem;font-variant-numeric:tabular-nums}.figures span{color:var(--soft);font-size:.85rem}
.wide{overflow-x:auto;background:var(--card);border:1px solid var(--line);border-radius:.4rem}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:.9rem}th,td{padding:.4rem .7rem;text-align:right;white-space:nowrap;border-bottom:1px solid var(--line)}
th:first-child,td:first-child{text-align:left}th{color:var(--soft);font-weight:500}tr:last-child td{border-bottom:0}
figure{margin:0;background:var(--card);border:1px solid var(--line);border-radius:.4rem;padding:.8rem .9rem}figcaption{font-weight:600;margin-bottom:.3rem}
svg{width:100%;height:auto;display:block}svg text{font:11px system-ui,sans-serif;fill:var(--soft)}.grid{stroke:var(--line);stroke-width:1}
.series{fill:none;stroke-width:1.8;stroke-linejoin:round}
";
