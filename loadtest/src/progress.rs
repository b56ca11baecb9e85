//! The line that shows how a run goes on.

use indicatif::{ProgressBar, ProgressStyle};

use crate::outcome::Point;
use crate::session::Watcher;
use crate::table;

/// A progress bar on standard error; nothing where that is no terminal.
pub struct Line {
    bar: ProgressBar,
}

impl Line {
    pub fn new(quiet: bool) -> Self {
        let bar = if quiet {
            ProgressBar::hidden()
        } else {
            ProgressBar::new(1000)
        };
        let style = ProgressStyle::with_template("{bar:24.cyan/dim} {msg}");
        bar.set_style(style.expect("a constant template"));
        Line { bar }
    }

    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}

impl Watcher for Line {
    fn on_point(&mut self, what: &str, point: &Point, progress: f64) {
        self.bar.set_position((progress * 1000.0) as u64);
        let per_s = point.deliveries as f64 / point.seconds;
        let cpu = point.cpu_ns.map(|ns| {
            let share = 100.0 * ns as f64 / 1e9 / point.seconds;
            format!(", server {share:.0} %")
        });
        self.bar.set_message(format!(
            "{what}: {} open, {}/s, p50 {}, p99 {}, {} to come{}",
            point.open,
            table::count(per_s),
            table::time(point.p50 as f64),
            table::time(point.p99 as f64),
            table::count(point.behind as f64),
            cpu.unwrap_or_default(),
        ));
    }

    fn on_opening(&mut self, open: u64, of: u64) {
        self.bar.set_position(open * 1000 / of.max(1));
        self.bar.set_message(format!("{open} of {of} connected"));
    }
}
