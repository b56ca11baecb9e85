//! The line that shows a run under way, and the user's Ctrl-C.
//!
//! Called by `fleet` while it waits.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::text::{count, time};

/// The progress line on stderr; hidden if that is no terminal or the user wants quiet.
pub struct Progress {
    bar: ProgressBar,
    signals: Option<SignalFd>,
    interrupts: u32,
}

impl Progress {
    pub fn new(quiet: bool) -> Progress {
        let bar = ProgressBar::new(0);
        if quiet {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        Progress {
            bar,
            signals: watch_signals(),
            interrupts: 0,
        }
    }

    pub fn phase(&mut self, name: &str, length: Duration) {
        let known = !length.is_zero();
        let template = if known {
            "{prefix:>12.bold} {elapsed_precise} {bar:24.cyan/blue} {msg}"
        } else {
            "{prefix:>12.bold} {elapsed_precise} {spinner} {msg}"
        };
        let style = ProgressStyle::with_template(template).expect("a valid template");
        self.bar.set_style(style.progress_chars("━╸─"));
        self.bar.set_prefix(name.to_string());
        self.bar.set_length(length.as_millis() as u64);
        self.bar.reset();
    }

    pub fn show(&self, open: u64, delivered_per_second: f64, p99: Option<u64>, lag: u64) {
        let latency = p99.map_or(String::new(), |ns| format!(" · p99 {}", time(ns as f64)));
        let behind = if lag > 1 {
            format!(" · {lag} behind")
        } else {
            String::new()
        };
        self.bar.set_message(format!(
            "{} open · {}/s delivered{latency}{behind}",
            count(open as f64),
            count(delivered_per_second)
        ));
        self.bar.set_position(self.bar.elapsed().as_millis() as u64);
    }

    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }

    /// True after the first Ctrl-C: the run ends early and is reported. The second ends the tool.
    pub fn interrupted(&mut self) -> bool {
        while let Some(signals) = &self.signals {
            match signals.read_signal() {
                Ok(Some(_)) => self.interrupts += 1,
                _ => break,
            }
        }
        if self.interrupts > 1 {
            self.clear();
            std::process::exit(130);
        }
        self.interrupts > 0
    }
}

/// From here on Ctrl-C is read instead of ending the process; threads started later inherit it.
fn watch_signals() -> Option<SignalFd> {
    let mut set = SigSet::empty();
    set.add(Signal::SIGINT);
    set.add(Signal::SIGTERM);
    set.thread_block().ok()?;
    SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC).ok()
}
