//! Clients that were connected return all at once.

use super::Run;
use crate::args::Storm;
use crate::outcome::{Better, Outcome, Unit};
use crate::session::{Trouble, Watcher};
use crate::worker::{Command, Group, Pace};

/// # Errors
/// When the run itself fails.
pub fn storm(args: &Storm, watcher: &mut impl Watcher) -> Result<Outcome, Trouble> {
    let common = &args.common;
    let mut cast = common.cast(args.live);
    cast.others = args.clients;
    cast.others_apart = true;
    let mut run = Run::start("storm", common, &cast, watcher)?;
    run.open(Group::Main)?;
    run.open(Group::Publishers)?;
    run.open(Group::Other)?;
    run.session.publish(Pace::Rate(args.rate));
    run.run_for(1.0)?;
    let quiet = run.phase("quiet", args.seconds)?.latency.p99;
    let (mut rates, mut times, mut worst) = (Vec::new(), Vec::new(), 0);
    for nth in 1..=args.storms {
        run.begin_phase(&format!("storm {nth}"))?;
        run.session.tell(|| Command::Leave(Group::Other));
        run.session.left(Group::Other, run.watcher)?;
        let opening = run.open(Group::Other)?;
        // Whole slices only, so that the last of the storm is in one of them.
        run.run_for(0.3)?;
        worst = worst.max(run.end_phase()?.latency.p99);
        rates.push(opening.count as f64 / opening.seconds);
        times.push(opening.seconds);
        run.run_for(1.0)?;
    }
    run.drain()?;
    rates.sort_by(f64::total_cmp);
    times.sort_by(f64::total_cmp);
    let middle = rates.len() / 2;
    run.figure(
        "handshakes, median storm",
        rates[middle],
        Unit::PerSecond,
        Better::Higher,
    );
    run.figure(
        "time until all are back, median",
        times[middle],
        Unit::Seconds,
        Better::Lower,
    );
    run.figure(
        "live p99 when quiet",
        quiet as f64,
        Unit::Nanoseconds,
        Better::Lower,
    );
    run.figure(
        "live p99 in the worst storm",
        worst as f64,
        Unit::Nanoseconds,
        Better::Lower,
    );
    let (outcome, findings) = run.end();
    let mut outcome = outcome;
    outcome
        .ends
        .extend(crate::session::sorted(findings.other_ends));
    Ok(outcome)
}
