//! The highest rate at which nearly everybody still hears in time.

use super::Run;
use crate::args::Ramp;
use crate::outcome::{Better, Outcome, Unit};
use crate::session::{Trouble, Watcher};
use crate::worker::{Group, Pace};
use std::sync::atomic::Ordering::Relaxed;

/// Rates double until one does not hold; no server takes more.
const DOUBLINGS_MAX: u32 = 24;
/// An overloaded server is given up early.
const LOOK_S: f64 = 0.25;

/// # Errors
/// When the run itself fails.
pub fn ramp(args: &Ramp, watcher: &mut impl Watcher) -> Result<Outcome, Trouble> {
    let common = &args.common;
    let mut run = Run::start("ramp", common, &common.cast(args.subscribers), watcher)?;
    run.open(Group::Main)?;
    run.open(Group::Publishers)?;
    let (mut good, mut bad, mut deliveries) = (0.0, None, 0.0);
    for _ in 0..DOUBLINGS_MAX {
        let rate = if good == 0.0 { args.from } else { good * 2.0 };
        match step(args, &mut run, rate)? {
            Some(per_s) => (good, deliveries) = (rate, per_s),
            None => {
                bad = Some(rate);
                break;
            }
        }
    }
    for _ in 0..args.refine {
        let Some(too_much) = bad.filter(|_| good > 0.0 && alive(&run)) else {
            break;
        };
        let rate = (good + too_much) / 2.0;
        match step(args, &mut run, rate)? {
            Some(per_s) => (good, deliveries) = (rate, per_s),
            None => bad = Some(rate),
        }
    }
    if good == 0.0 {
        run.remark(format!(
            "Not even {} messages per second stayed under the bound; try --from with less.",
            args.from
        ));
    }
    if !alive(&run) {
        run.remark("The server dropped subscribers under the highest rate; what they missed counts as lost.");
    }
    run.figure(
        "highest rate that held",
        good,
        Unit::PerSecond,
        Better::Higher,
    );
    run.figure(
        "deliveries at that rate",
        deliveries,
        Unit::PerSecond,
        Better::Higher,
    );
    Ok(run.end().0)
}

fn alive(run: &Run<'_, impl Watcher>) -> bool {
    run.session.counts().broken.load(Relaxed) == 0
}

/// Deliveries per second if the rate held.
fn step(args: &Ramp, run: &mut Run<'_, impl Watcher>, rate: f64) -> Result<Option<f64>, Trouble> {
    let bound_ns = args.p99_ms * 1e6;
    run.session.publish(Pace::Rate(rate));
    run.run_for(LOOK_S)?;
    run.begin_phase(&format!("{rate:.0}/s"))?;
    let mut passed_s = 0.0;
    let mut overloaded = false;
    while passed_s < args.seconds && !overloaded {
        run.run_for(LOOK_S)?;
        passed_s += LOOK_S;
        let p50 = run.session.timeline.last().map_or(0, |point| point.p50);
        overloaded = p50 as f64 > 4.0 * bound_ns || !alive(run);
    }
    let phase = run.end_phase()?;
    let held =
        !overloaded && !phase.latency.curve.is_empty() && phase.latency.p99 as f64 <= bound_ns;
    let per_s = phase.deliveries_per_s();
    run.drain()?;
    Ok(held.then_some(per_s))
}
