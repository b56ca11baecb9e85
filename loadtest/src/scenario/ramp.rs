//! The highest rate whose 99th percentile stays below a bound.

use super::{Cast, Stage};
use crate::Error;
use crate::args::RampArgs;
use crate::shared::{Group, Pace};
use crate::stats::{PhaseResult, Run};
use crate::text::{count, time};

/// A step that publishes less than this share of its rate has failed.
const RATE_SHARE_MIN: f64 = 0.97;

pub(super) fn run(args: &RampArgs) -> Result<Run, Error> {
    args.load
        .check(&args.common, args.subscribers)
        .map_err(Error::Arguments)?;
    if args.from > args.to {
        return Err(Error::Arguments("--from is above --to".into()));
    }
    let steps = (args.to / args.from).log(args.factor).ceil() as u32 + args.refine as u32;
    let length = args.step * steps.max(1);
    let cast = Cast::of_load("ramp", &args.load, args.subscribers, None, length);
    let mut stage = Stage::set(&args.common, cast)?;
    stage.open(Group::Steady)?;
    let mut search = Search::new(args.from, args.to, args.factor, args.refine);
    let mut best: Option<PhaseResult> = None;
    while let Some(rate) = search.next() {
        let name = format!("{}/s", count(rate));
        let step = stage.phase(&name, Pace::Rate(rate), args.step / 4, args.step)?;
        if stage.fleet.interrupted {
            break;
        }
        let held = step.published_per_second >= RATE_SHARE_MIN * rate
            && step.latency.p99 <= args.p99.as_nanos() as u64;
        if held {
            best = Some(step);
        }
        search.judge(held);
    }
    match best {
        Some(step) => {
            let rate = step.rate.unwrap_or(0.0);
            stage.find(
                &format!(
                    "highest rate with p99 up to {}",
                    time(args.p99.as_nanos() as f64)
                ),
                format!("{} messages per second", count(rate)),
            );
            stage.find(
                "deliveries per second at that rate",
                count(step.delivered_per_second),
            );
            stage.find("p99 at that rate", time(step.latency.p99 as f64));
            stage.figure("µs per message at the highest rate", 1e6 / rate);
        }
        None => stage.find(
            "highest rate",
            format!(
                "none: even {} per second misses the bound",
                count(args.from)
            ),
        ),
    }
    stage.conclude()
}

/// Up by a factor until a rate fails, then halving the gap.
struct Search {
    rate: f64,
    to: f64,
    factor: f64,
    good: Option<f64>,
    bad: Option<f64>,
    refine: u64,
    ended: bool,
}

impl Search {
    fn new(from: f64, to: f64, factor: f64, refine: u64) -> Search {
        Search {
            rate: from,
            to,
            factor,
            good: None,
            bad: None,
            refine,
            ended: false,
        }
    }

    fn next(&mut self) -> Option<f64> {
        (!self.ended).then_some(self.rate)
    }

    fn judge(&mut self, held: bool) {
        if held {
            self.good = Some(self.rate);
        } else {
            self.bad = Some(self.rate);
        }
        match (self.good, self.bad) {
            (Some(good), None) if good >= self.to => self.ended = true,
            (Some(good), None) => self.rate = (good * self.factor).min(self.to),
            (Some(good), Some(bad)) if self.refine > 0 => {
                self.refine -= 1;
                self.rate = (good + bad) / 2.0;
            }
            _ => self.ended = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn highest(limit: f64, mut search: Search) -> (Option<f64>, usize) {
        let mut steps = 0;
        while let Some(rate) = search.next() {
            steps += 1;
            search.judge(rate <= limit);
        }
        (search.good, steps)
    }

    #[test]
    fn the_search_climbs_and_then_closes_in() {
        let (good, steps) = highest(700.0, Search::new(100.0, 1e6, 2.0, 4));
        assert_eq!((good, steps), (Some(700.0), 8));
    }

    #[test]
    fn it_stops_at_the_top_and_at_a_first_step_that_fails() {
        assert_eq!(
            highest(1e9, Search::new(100.0, 350.0, 2.0, 4)),
            (Some(350.0), 3)
        );
        assert_eq!(highest(1.0, Search::new(100.0, 350.0, 2.0, 4)), (None, 1));
    }
}
