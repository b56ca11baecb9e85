//! Publishers send, all subscribers hear.

use super::Run;
use crate::args::Fanout;
use crate::outcome::{Better, Outcome, Unit};
use crate::session::{Trouble, Watcher};
use crate::worker::{Group, Pace};

/// # Errors
/// When the run itself fails.
pub fn fanout(args: &Fanout, watcher: &mut impl Watcher) -> Result<Outcome, Trouble> {
    let common = &args.common;
    let mut run = Run::start("fanout", common, &common.cast(args.subscribers), watcher)?;
    let opening = run.open(Group::Main)?;
    run.open(Group::Publishers)?;
    run.opening("handshakes", opening);
    run.session.publish(match args.window {
        Some(window) => Pace::Window(window),
        None => Pace::Rate(args.rate.unwrap_or(100.0)),
    });
    run.run_for(args.warmup)?;
    let phase = run.phase("fanout", args.seconds)?;
    let per_s = phase.deliveries_per_s();
    let cost = phase.server.map(|server| server.ns_per(phase.deliveries));
    run.drain()?;
    run.figure("deliveries", per_s, Unit::PerSecond, Better::Higher);
    if let Some(cost) = cost {
        run.figure(
            "server CPU per delivery",
            cost,
            Unit::Nanoseconds,
            Better::Lower,
        );
    }
    Ok(run.end().0)
}
