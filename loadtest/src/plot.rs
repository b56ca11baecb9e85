//! Line plots as inline SVG, coloured by the page's style sheet; each is drawn for
//! a broad window and for a narrow one.
//!
//! What is plotted is chosen in `report::plots`, which calls this.

use std::fmt::Write;

/// Each plot is drawn twice, and the style sheet shows the one that fits the window:
/// scaled down to a telephone, the letters of the wide one would be too small to read.
const SIZES: [Size; 2] = [
    Size {
        class: "broad",
        width: 540.0,
        x_ticks: 6,
    },
    Size {
        class: "narrow",
        width: 330.0,
        x_ticks: 4,
    },
];
const HEIGHT: f64 = 270.0;
const LEFT: f64 = 66.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 22.0;
const BOTTOM: f64 = 34.0;
/// Width of a letter of a mark's name, about.
const NAME_LETTER: f64 = 6.5;
/// Lines told apart by colour; the style sheet has as many.
pub(crate) const LINES_MAX: usize = 4;

/// How values become positions, and what is written beside them.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Scale {
    Linear,
    Log,
}

pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

pub(crate) struct Plot {
    pub(crate) title: String,
    pub(crate) subtitle: String,
    pub(crate) lines: Vec<Line>,
    pub(crate) y_scale: Scale,
    pub(crate) y_text: fn(f64) -> String,
    pub(crate) x_text: fn(f64) -> String,
    /// Places of the x axis to label; none: chosen by the range.
    pub(crate) x_ticks: Vec<f64>,
    /// What the y axis counts in: ticks are round numbers of 1, or of 1024, 1024², …
    pub(crate) y_binary: bool,
    /// Whether a single line's area is filled.
    pub(crate) filled: bool,
    /// Where something began: (x, what).
    pub(crate) marks: Vec<(f64, String)>,
}

struct Size {
    class: &'static str,
    width: f64,
    /// Labels of the x axis, about.
    x_ticks: usize,
}

struct Frame {
    size: &'static Size,
    x: (f64, f64),
    y: (f64, f64),
    y_scale: Scale,
}

impl Plot {
    /// A figure for the page; empty if there is nothing to draw.
    pub(crate) fn figure(&self) -> String {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let finite = points().all(|(x, y)| x.is_finite() && y.is_finite());
        assert!(finite, "plots take finite numbers");
        if points().count() < 2 {
            return String::new();
        }
        let drawn: String = SIZES.iter().map(|size| self.draw(size)).collect();
        let mut legend = String::new();
        if self.lines.len() > 1 {
            for (number, line) in self.lines.iter().take(LINES_MAX).enumerate() {
                let name = escape(&line.name);
                let _ = write!(legend, "<span><i class=\"k{number}\"></i>{name}</span>");
            }
        }
        format!(
            "<figure><figcaption><h3>{}</h3><p>{}</p></figcaption><div class=\"legend\">{legend}</div>\
             {drawn}</figure>\n",
            escape(&self.title),
            escape(&self.subtitle)
        )
    }

    fn draw(&self, size: &'static Size) -> String {
        let frame = self.frame(size);
        let mut svg = format!(
            "<div class=\"plot {}\"><svg viewBox=\"0 0 {} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
            size.class,
            size.width,
            escape(&self.title)
        );
        self.draw_axes(&frame, &mut svg);
        self.draw_marks(&frame, &mut svg);
        for (number, line) in self.lines.iter().take(LINES_MAX).enumerate() {
            self.draw_line(&frame, number, line, &mut svg);
        }
        svg += "<g class=\"hover\"></g></svg><output></output></div>";
        svg
    }

    fn frame(&self, size: &'static Size) -> Frame {
        let points = self.lines.iter().flat_map(|line| &line.points);
        let (mut x, mut y) = ((f64::MAX, f64::MIN), (f64::MAX, f64::MIN));
        for (px, py) in points {
            x = (x.0.min(*px), x.1.max(*px));
            y = (y.0.min(*py), y.1.max(*py));
        }
        let y = match self.y_scale {
            Scale::Linear => (0.0, if y.1 > 0.0 { y.1 * 1.08 } else { 1.0 }),
            Scale::Log => {
                let low = y.0.max(1.0);
                (low / 1.25, y.1.max(low * 2.0) * 1.25)
            }
        };
        let x = if x.0 == x.1 { (x.0, x.0 + 1.0) } else { x };
        let y_scale = self.y_scale;
        Frame {
            size,
            x,
            y,
            y_scale,
        }
    }

    fn draw_axes(&self, frame: &Frame, svg: &mut String) {
        let ticks = match self.y_scale {
            Scale::Linear => {
                let unit = if self.y_binary {
                    1024f64.powf(frame.y.1.log(1024.0).floor())
                } else {
                    1.0
                };
                let ticks = linear_ticks(frame.y.0 / unit, frame.y.1 / unit, 5);
                ticks.into_iter().map(|tick| tick * unit).collect()
            }
            Scale::Log => log_ticks(frame.y.0, frame.y.1),
        };
        for tick in ticks {
            let y = frame.y_at(tick);
            let _ = write!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text class=\"tick\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                frame.right(),
                LEFT - 8.0,
                y + 4.0,
                escape(&(self.y_text)(tick))
            );
        }
        let ticks = if self.x_ticks.is_empty() {
            linear_ticks(frame.x.0, frame.x.1, frame.size.x_ticks)
        } else {
            let within = |x: &&f64| (frame.x.0..=frame.x.1).contains(*x);
            self.x_ticks.iter().filter(within).copied().collect()
        };
        let base = HEIGHT - BOTTOM;
        for tick in ticks {
            let _ = write!(
                svg,
                "<text class=\"tick\" x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                frame.x_at(tick),
                base + 20.0,
                escape(&(self.x_text)(tick))
            );
        }
        let _ = write!(
            svg,
            "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{base}\" y2=\"{base}\"/>",
            frame.right()
        );
    }

    fn draw_marks(&self, frame: &Frame, svg: &mut String) {
        let mut free_from = 0.0;
        for (at, name) in &self.marks {
            let x = frame.x_at(at.clamp(frame.x.0, frame.x.1));
            let _ = write!(
                svg,
                "<line class=\"mark\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{}\"/>",
                HEIGHT - BOTTOM
            );
            // Names that would lie on each other are left out; the lines stay.
            let room = name.chars().count() as f64 * NAME_LETTER + 12.0;
            let at_end = x > frame.right() - room;
            let (anchor, shift, from) = if at_end {
                ("end", -3.0, x - room)
            } else {
                ("start", 3.0, x)
            };
            if from >= free_from {
                let _ = write!(
                    svg,
                    "<text class=\"name\" x=\"{:.1}\" y=\"{}\" text-anchor=\"{anchor}\">{}</text>",
                    x + shift,
                    TOP - 7.0,
                    escape(name)
                );
                free_from = from + room;
            }
        }
    }

    fn draw_line(&self, frame: &Frame, number: usize, line: &Line, svg: &mut String) {
        let (mut path, mut data) = (String::new(), String::new());
        for (index, (x, y)) in line.points.iter().enumerate() {
            let (px, py) = (frame.x_at(*x), frame.y_at(*y));
            let letter = if index == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{letter}{px:.1} {py:.1}");
            let _ = write!(
                data,
                "{px:.1},{py:.1},{},{};",
                escape(&(self.x_text)(*x)),
                escape(&(self.y_text)(*y))
            );
        }
        if self.filled
            && let (Some(first), Some(last)) = (line.points.first(), line.points.last())
        {
            let base = HEIGHT - BOTTOM;
            let (from, to) = (frame.x_at(first.0), frame.x_at(last.0));
            let _ = write!(
                svg,
                "<path class=\"area a{number}\" d=\"{path}L{to:.1} {base}L{from:.1} {base}Z\"/>"
            );
        }
        let _ = write!(
            svg,
            "<path class=\"line l{number}\" d=\"{path}\" data-name=\"{}\" data-points=\"{data}\"/>",
            escape(&line.name)
        );
    }
}

impl Frame {
    /// Where the axes end.
    fn right(&self) -> f64 {
        self.size.width - RIGHT
    }

    fn x_at(&self, x: f64) -> f64 {
        LEFT + (x - self.x.0) / (self.x.1 - self.x.0) * (self.right() - LEFT)
    }

    fn y_at(&self, y: f64) -> f64 {
        let share = match self.y_scale {
            Scale::Linear => (y - self.y.0) / (self.y.1 - self.y.0),
            Scale::Log => (y.max(self.y.0) / self.y.0).ln() / (self.y.1 / self.y.0).ln(),
        };
        HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP)
    }
}

/// Round numbers from `low` to `high`, about `wanted` of them.
pub(crate) fn linear_ticks(low: f64, high: f64, wanted: usize) -> Vec<f64> {
    let rough = (high - low) / wanted as f64;
    let decade = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * decade)
        .find(|step| *step >= rough)
        .unwrap_or(10.0 * decade);
    let first = (low / step).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    (first..=last).map(|n| n as f64 * step).collect()
}

/// Powers of ten, with 2 and 5 between them if there are few.
fn log_ticks(low: f64, high: f64) -> Vec<f64> {
    let factors: &[f64] = if (high / low).log10() < 3.0 {
        &[1.0, 2.0, 5.0]
    } else {
        &[1.0]
    };
    let decades = (low.log10().floor() as i32)..=(high.log10().ceil() as i32);
    let all = decades.flat_map(|d| factors.iter().map(move |f| f * 10f64.powi(d)));
    all.filter(|tick| (low..=high).contains(tick)).collect()
}

/// Text as it may stand in HTML, in attributes too.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within_the_axis() {
        assert_eq!(linear_ticks(0.0, 10.0, 5), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(
            linear_ticks(0.0, 0.7, 5),
            [0.0, 0.2, 0.4, 0.6000000000000001]
        );
        assert_eq!(log_ticks(0.9e6, 6e6), [1e6, 2e6, 5e6]);
        assert_eq!(log_ticks(1.0, 1e5).len(), 6);
    }

    #[test]
    fn a_plot_without_a_line_is_left_out() {
        let plot = Plot {
            title: "x".into(),
            subtitle: String::new(),
            lines: vec![],
            y_scale: Scale::Linear,
            y_text: |v| v.to_string(),
            x_text: |v| v.to_string(),
            x_ticks: vec![],
            y_binary: false,
            filled: false,
            marks: vec![],
        };
        assert_eq!(plot.figure(), "");
    }

    #[test]
    fn names_of_marks_do_not_lie_on_each_other() {
        let plot = |marks: &[(f64, &str)]| Plot {
            title: "t".into(),
            subtitle: "s".into(),
            lines: vec![Line {
                name: "l".into(),
                points: vec![(0.0, 0.0), (100.0, 1.0)],
            }],
            y_scale: Scale::Linear,
            y_text: |v| v.to_string(),
            x_text: |v| v.to_string(),
            x_ticks: vec![],
            y_binary: false,
            filled: false,
            marks: marks
                .iter()
                .map(|(x, name)| (*x, name.to_string()))
                .collect(),
        };
        let names = |marks: &[(f64, &str)]| plot(marks).figure().matches("class=\"name\"").count();
        assert_eq!(names(&[(10.0, "first"), (90.0, "last")]), 2 * SIZES.len());
        assert_eq!(names(&[(85.0, "first"), (99.0, "last")]), SIZES.len());
    }

    #[test]
    fn flat_lines_and_zeros_on_a_log_scale_stay_on_the_paper() {
        let line = Line {
            name: "a \"quoted\" <name>".into(),
            points: vec![(0.0, 0.0), (1.0, 0.0)],
        };
        let plot = Plot {
            title: "t".into(),
            subtitle: "s".into(),
            lines: vec![line],
            y_scale: Scale::Log,
            y_text: |v| v.to_string(),
            x_text: |v| v.to_string(),
            x_ticks: vec![],
            y_binary: false,
            filled: true,
            marks: vec![(0.5, "m".into())],
        };
        let text = plot.figure();
        assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
        assert!(text.contains("a &quot;quoted&quot; &lt;name&gt;"));
    }
}
