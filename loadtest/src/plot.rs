//! Line plots as SVG.

use std::fmt::Write;

use crate::html::escape;
use crate::table;

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 26.0;
/// Colours that the page defines.
const COLOURS: usize = 6;
/// Characters of a legend that are shown.
const LEGEND_WIDTH: f64 = WIDTH - LEFT - RIGHT;

/// What an axis counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axis {
    Seconds,
    /// Minus the logarithm of the share beyond: 2 is the 99th percentile.
    Percentile,
    /// Nanoseconds, in powers of ten.
    LogTime,
    Count,
    Percent,
    Bytes,
}

/// One line.
#[derive(Debug, Clone)]
pub struct Series {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

impl Series {
    pub fn new(name: &str, points: Vec<(f64, f64)>) -> Self {
        Series {
            name: name.to_string(),
            points,
        }
    }
}

#[derive(Debug)]
pub struct Plot {
    pub x: Axis,
    pub y: Axis,
    pub series: Vec<Series>,
}

/// An axis with its ends, in the scale it is drawn in.
struct Scale {
    axis: Axis,
    low: f64,
    high: f64,
    ticks: Vec<f64>,
}

impl Plot {
    /// The drawing; `title` is for those who cannot see it.
    pub fn draw(&self, title: &str) -> String {
        let all = || self.series.iter().flat_map(|series| &series.points);
        let x = Scale::over(self.x, all().map(|point| point.0));
        let y = Scale::over(self.y, all().map(|point| point.1));
        let across = |value: f64| LEFT + x.place(value) * (WIDTH - LEFT - RIGHT);
        let up = |value: f64| HEIGHT - BOTTOM - y.place(value) * (HEIGHT - TOP - BOTTOM);
        let mut out = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
            escape(title)
        );
        for &tick in &y.ticks {
            let at = up(tick);
            let _ = write!(
                out,
                "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{:.1}\" y2=\"{at:.1}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                at + 4.0,
                escape(&self.y.label(tick))
            );
        }
        for &tick in &x.ticks {
            let _ = write!(
                out,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                across(tick),
                HEIGHT - 8.0,
                escape(&self.x.label(tick))
            );
        }
        self.legend(&mut out);
        for (nth, series) in self.series.iter().enumerate() {
            if series.points.len() < 2 {
                continue;
            }
            let _ = write!(
                out,
                "<polyline class=\"series\" style=\"{}\" points=\"",
                colour(nth)
            );
            for &(a, b) in &series.points {
                let _ = write!(out, "{:.1},{:.1} ", across(a), up(b));
            }
            out.push_str("\"/>");
        }
        out.push_str("</svg>");
        out
    }

    fn legend(&self, out: &mut String) {
        let shown = self.series.iter().enumerate();
        let shown: Vec<_> = shown
            .filter(|(_, series)| series.points.len() > 1)
            .collect();
        if shown.len() < 2 {
            return;
        }
        let widths = shown
            .iter()
            .map(|(_, series)| 30.0 + 6.0 * series.name.len() as f64);
        // Many phases: closer together, but all there.
        let squeeze = (LEGEND_WIDTH / widths.sum::<f64>()).min(1.0);
        let mut at = LEFT;
        for (nth, series) in shown {
            let _ = write!(
                out,
                "<line class=\"series\" style=\"{}\" x1=\"{at:.1}\" y1=\"10\" x2=\"{:.1}\" y2=\"10\"/>\
                 <text x=\"{:.1}\" y=\"14\">{}</text>",
                colour(nth),
                at + 12.0,
                at + 16.0,
                escape(&series.name)
            );
            at += squeeze * (30.0 + 6.0 * series.name.len() as f64);
        }
    }
}

fn colour(nth: usize) -> String {
    let dash = if nth < COLOURS {
        ""
    } else {
        ";stroke-dasharray:5 3"
    };
    format!("stroke:var(--c{}){dash}", nth % COLOURS)
}

impl Scale {
    fn over(axis: Axis, values: impl Iterator<Item = f64>) -> Self {
        let values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let (low, high) = if low > high { (0.0, 1.0) } else { (low, high) };
        let (low, high, ticks) = match axis {
            Axis::LogTime => {
                let first = low.max(100.0).log10().floor();
                let last = high.max(1000.0).log10().ceil().max(first + 1.0);
                let ticks = (first as i32..=last as i32).map(|power| 10f64.powi(power));
                (10f64.powf(first), 10f64.powf(last), ticks.collect())
            }
            Axis::Percentile => {
                let last = high.ceil().max(1.0);
                let half = (0..=last as i32).map(f64::from);
                (0.0, last, half.collect())
            }
            Axis::Seconds => (low, high.max(low + 1e-3), steps(axis, low, high, 7.0)),
            _ => {
                let ticks = steps(axis, 0.0, high.max(1e-9) * 1.05, 5.0);
                (0.0, high.max(1e-9) * 1.08, ticks)
            }
        };
        Scale {
            axis,
            low,
            high,
            ticks,
        }
    }

    /// 0 at the low end, 1 at the high one.
    fn place(&self, value: f64) -> f64 {
        let place = match self.axis {
            Axis::LogTime => {
                (value.max(self.low) / self.low).log10() / (self.high / self.low).log10()
            }
            _ => (value - self.low) / (self.high - self.low),
        };
        place.clamp(0.0, 1.0)
    }
}

/// Round numbers, about so many of them.
fn steps(axis: Axis, low: f64, high: f64, about: f64) -> Vec<f64> {
    let rough = (high - low).max(1e-9) / about;
    let base: f64 = if axis == Axis::Bytes { 2.0 } else { 10.0 };
    let unit = base.powf(rough.log(base).floor());
    let factors: &[f64] = if axis == Axis::Bytes {
        &[1.0, 2.0]
    } else {
        &[1.0, 2.0, 5.0, 10.0]
    };
    let step = factors
        .iter()
        .map(|factor| factor * unit)
        .find(|step| *step >= rough);
    let step = step.unwrap_or(unit * base);
    let first = (low / step).ceil() as i64;
    let last = (high / step).floor() as i64;
    (first..=last).map(|nth| nth as f64 * step).collect()
}

impl Axis {
    fn label(self, value: f64) -> String {
        match self {
            Axis::Seconds => format!("{} s", round(value)),
            Axis::Percentile if value == 0.0 => "0 %".into(),
            Axis::Percentile => {
                let digits = (value as usize).saturating_sub(2);
                format!("{:.digits$} %", 100.0 - 100.0 * 10f64.powf(-value))
            }
            Axis::LogTime => {
                let (value, unit) = match value {
                    1e9.. => (value / 1e9, "s"),
                    1e6.. => (value / 1e6, "ms"),
                    1e3.. => (value / 1e3, "µs"),
                    _ => (value, "ns"),
                };
                format!("{} {unit}", value.round())
            }
            Axis::Count => table::count(value),
            Axis::Percent => format!("{} %", round(value)),
            Axis::Bytes => table::bytes(value),
        }
    }
}

fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
