//! Connections that do nothing, and a message now and then.

use super::Run;
use crate::args::Idle;
use crate::observe;
use crate::outcome::{Better, Outcome, Unit};
use crate::session::{Trouble, Watcher};
use crate::worker::{Group, Pace};
use std::sync::atomic::Ordering::Relaxed;

/// # Errors
/// When the run itself fails.
pub fn idle(args: &Idle, watcher: &mut impl Watcher) -> Result<Outcome, Trouble> {
    let common = &args.common;
    let mut run = Run::start("idle", common, &common.cast(args.connections), watcher)?;
    let count = args.connections as f64;
    run.open(Group::Publishers)?;
    let (user_before, kernel_before) = (run.session.usage(), observe::kernel_bytes());
    let opening = run.open(Group::Main)?;
    run.opening("handshakes", opening);
    run.figure(
        "time to connect all",
        opening.seconds,
        Unit::Seconds,
        Better::Lower,
    );
    run.phase("idle", args.seconds)?;
    let (user, kernel) = (run.session.usage(), observe::kernel_bytes());
    if let Some((before, after)) = user_before.zip(user) {
        let bytes = after.resident_bytes.saturating_sub(before.resident_bytes) as f64;
        run.figure(
            "server memory, user, per connection",
            bytes / count,
            Unit::Bytes,
            Better::Lower,
        );
        run.figure(
            "server memory, user, in all",
            after.resident_bytes as f64,
            Unit::Bytes,
            Better::Lower,
        );
    }
    let bytes = kernel.saturating_sub(kernel_before) as f64;
    run.figure(
        "kernel memory per connection, both ends",
        bytes / count,
        Unit::Bytes,
        Better::Lower,
    );
    messages(args, &mut run)?;
    let still = run.session.counts().open.load(Relaxed) as f64;
    run.figure(
        "connections open at the end",
        still,
        Unit::Count,
        Better::Higher,
    );
    Ok(run.end().0)
}

/// One message after the other, each to all; how long until the last one has
/// it.
fn messages(args: &Idle, run: &mut Run<'_, impl Watcher>) -> Result<(), Trouble> {
    if args.messages == 0 {
        return Ok(());
    }
    let mut times = Vec::new();
    run.begin_phase("messages")?;
    for _ in 0..args.messages {
        let sent_ns = run.session.now_ns();
        run.session.publish(Pace::Count(1));
        // The word has to reach the thread before anything is under way.
        run.session.published(run.watcher)?;
        run.drain()?;
        let last_ns = run.session.counts().last_ns.load(Relaxed);
        times.push(last_ns.saturating_sub(sent_ns) as f64);
    }
    run.end_phase()?;
    times.sort_by(f64::total_cmp);
    let median = times[times.len() / 2];
    let worst = times[times.len() - 1];
    run.figure(
        "one message to the last of all, median",
        median,
        Unit::Nanoseconds,
        Better::Lower,
    );
    run.figure(
        "one message to the last of all, worst",
        worst,
        Unit::Nanoseconds,
        Better::Lower,
    );
    Ok(())
}
