//! A share of the readers reads no more.

use super::Run;
use crate::args::Slow;
use crate::outcome::{Better, Outcome, Unit};
use crate::session::{Trouble, Watcher, sorted};
use crate::worker::{Command, Group, Pace};

/// # Errors
/// When the run itself fails.
pub fn slow(args: &Slow, watcher: &mut impl Watcher) -> Result<Outcome, Trouble> {
    let common = &args.common;
    let mut cast = common.cast(args.subscribers);
    let others = (args.subscribers as f64 * args.stalled / 100.0).ceil() as u32;
    cast.others = others.min(args.subscribers - 1);
    let mut run = Run::start("slow", common, &cast, watcher)?;
    run.open(Group::Main)?;
    run.open(Group::Other)?;
    run.open(Group::Publishers)?;
    run.session.publish(Pace::Rate(args.rate));
    run.run_for(1.0)?;
    let before = run.phase("all read", args.seconds)?.clone();
    run.session.tell(|| Command::Stall(Group::Other, true));
    let during = run.phase("some stall", args.seconds)?.clone();
    run.drain()?;
    // What they have in their sockets, and how the server took leave of them.
    run.session.tell(|| Command::Stall(Group::Other, false));
    run.run_for(1.0)?;
    let (p99_before, p99_during) = (before.latency.p99 as f64, during.latency.p99 as f64);
    run.figure(
        "p99 of the others, all read",
        p99_before,
        Unit::Nanoseconds,
        Better::Lower,
    );
    run.figure(
        "p99 of the others, some stall",
        p99_during,
        Unit::Nanoseconds,
        Better::Lower,
    );
    run.figure(
        "readers that stalled",
        cast.others as f64,
        Unit::Count,
        Better::Neither,
    );
    if let Some(server) = during.server {
        let grown = server.resident_bytes_after as f64 - server.resident_bytes_before as f64;
        run.figure(
            "server memory grown meanwhile",
            grown.max(0.0),
            Unit::Bytes,
            Better::Lower,
        );
    }
    let (mut outcome, findings) = run.end();
    let missed = findings.other_faults.lost;
    if missed > 0 {
        outcome.remarks.push(format!(
            "Those that stalled missed {missed} messages between them; that is not counted as loss."
        ));
    }
    for (end, count) in sorted(findings.other_ends) {
        outcome
            .remarks
            .push(format!("Of those that stalled, {count}: {end}."));
    }
    Ok(outcome)
}
