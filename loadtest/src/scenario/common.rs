//! What all scenarios share.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::args::Common;
use crate::check::Faults;
use crate::observe;
use crate::outcome::{Better, Figure, Outcome, Phase, Unit};
use crate::session::{Cast, Opening, Session, Trouble, Watcher, sorted};
use crate::worker::{Findings, Group};

/// A session and what it has come to so far.
pub struct Run<'w, W: Watcher> {
    pub session: Session,
    pub watcher: &'w mut W,
    patience_s: f64,
    outcome: Outcome,
}

impl<'w, W: Watcher> Run<'w, W> {
    /// # Errors
    /// Those of [`Session::start`].
    pub fn start(
        scenario: &str,
        common: &Common,
        cast: &Cast,
        watcher: &'w mut W,
    ) -> Result<Self, Trouble> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let args: Vec<String> = std::env::args().skip(1).collect();
        Ok(Run {
            session: Session::start(cast)?,
            watcher,
            patience_s: common.patience,
            outcome: Outcome {
                scenario: scenario.to_string(),
                command: format!("fanfare-loadtest {}", args.join(" ")),
                url: common.url.to_string(),
                machine: observe::machine(),
                started_at: now.map_or(0, |now| now.as_secs()),
                phases: Vec::new(),
                figures: Vec::new(),
                faults: Faults::default(),
                examples: Vec::new(),
                ends: Vec::new(),
                remarks: Vec::new(),
                timeline: Vec::new(),
            },
        })
    }

    /// # Errors
    /// When somebody cannot connect.
    pub fn open(&mut self, group: Group) -> Result<Opening, Trouble> {
        self.session.open(group, self.watcher)
    }

    /// # Errors
    /// When a thread fails.
    pub fn run_for(&mut self, seconds: f64) -> Result<(), Trouble> {
        self.session.run_for(seconds, self.watcher)
    }

    /// A phase of so many seconds, under way already.
    ///
    /// # Errors
    /// When a thread fails.
    pub fn phase(&mut self, name: &str, seconds: f64) -> Result<&Phase, Trouble> {
        self.begin_phase(name)?;
        self.run_for(seconds)?;
        self.end_phase()
    }

    /// # Errors
    /// When a thread fails.
    pub fn begin_phase(&mut self, name: &str) -> Result<(), Trouble> {
        self.session.begin_phase(name, self.watcher)
    }

    /// # Errors
    /// When a thread fails.
    pub fn end_phase(&mut self) -> Result<&Phase, Trouble> {
        let phase = self.session.end_phase(self.watcher)?;
        self.outcome.phases.push(phase);
        Ok(self.outcome.phases.last().expect("just added"))
    }

    /// # Errors
    /// When a thread fails.
    pub fn drain(&mut self) -> Result<(), Trouble> {
        self.session.drain(self.patience_s, self.watcher)
    }

    pub fn figure(&mut self, name: &str, value: f64, unit: Unit, better: Better) {
        self.outcome.figures.push(Figure {
            name: name.to_string(),
            value,
            unit,
            better,
        });
    }

    pub fn remark(&mut self, text: impl Into<String>) {
        self.outcome.remarks.push(text.into());
    }

    pub fn opening(&mut self, name: &str, opening: Opening) {
        let per_s = opening.count as f64 / opening.seconds.max(1e-9);
        self.figure(name, per_s, Unit::PerSecond, Better::Higher);
        if opening.repeated > 0 {
            let repeated = opening.repeated as f64;
            self.figure("handshakes repeated", repeated, Unit::Count, Better::Lower);
        }
    }

    /// Ends the run; what happened to the other group is for the scenario to
    /// judge.
    pub fn end(mut self) -> (Outcome, Findings) {
        let mut findings = self.session.settle();
        self.outcome.timeline = std::mem::take(&mut self.session.timeline);
        self.outcome.faults = findings.faults;
        self.outcome.examples = std::mem::take(&mut findings.examples);
        self.outcome.ends = sorted(std::mem::take(&mut findings.ends));
        let late = self.outcome.phases.iter().map(|phase| phase.late_ns_max);
        if late.max().unwrap_or(0) > LATE_NS_MAX {
            self.outcome.remarks.push(
                "This tool was late with sending itself: it had too little processor time for \
                 this load, which is in the latencies."
                    .into(),
            );
        }
        self.session.end();
        (self.outcome, findings)
    }
}

/// Later than this a message left because the machine is short of processors.
const LATE_NS_MAX: u64 = 20_000_000;
