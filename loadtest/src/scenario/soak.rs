//! Clients come and go for a long time.

use super::Run;
use crate::args::Soak;
use crate::outcome::{Better, Outcome, Unit};
use crate::session::{Trouble, Watcher};
use crate::worker::{Command, Group, Pace};
use std::sync::atomic::Ordering::Relaxed;

/// The run is cut into so many phases, to see whether it gets worse.
const PHASES: u32 = 4;

/// # Errors
/// When the run itself fails.
pub fn soak(args: &Soak, watcher: &mut impl Watcher) -> Result<Outcome, Trouble> {
    let common = &args.common;
    let mut run = Run::start("soak", common, &common.cast(args.subscribers), watcher)?;
    run.open(Group::Main)?;
    run.open(Group::Publishers)?;
    run.session.publish(Pace::Rate(args.rate));
    let churn = args.churn;
    run.session.tell(|| Command::Churn(Group::Main, churn));
    run.run_for(1.0)?;
    let before = run.session.counts().handshakes.load(Relaxed);
    let mut phases = Vec::new();
    for nth in 1..=PHASES {
        let name = format!("part {nth} of {PHASES}");
        phases.push(run.phase(&name, args.seconds / PHASES as f64)?.clone());
    }
    let returned = run.session.counts().handshakes.load(Relaxed) - before;
    run.session.tell(|| Command::Churn(Group::Main, 0.0));
    run.run_for(0.5)?;
    run.drain()?;
    run.figure(
        "clients that left and returned",
        returned as f64,
        Unit::Count,
        Better::Neither,
    );
    let memory = |phase: Option<&crate::outcome::Phase>| {
        phase
            .and_then(|phase| phase.server)
            .map(|server| server.resident_bytes_after as f64)
    };
    if let Some((first, last)) = memory(phases.first()).zip(memory(phases.last())) {
        let grown = (last - first).max(0.0);
        run.figure("server memory at the end", last, Unit::Bytes, Better::Lower);
        run.figure(
            "server memory grown since part 1",
            grown,
            Unit::Bytes,
            Better::Lower,
        );
    }
    Ok(run.end().0)
}
