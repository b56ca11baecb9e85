//! N subscribers hear P publishers on T topics.

use std::time::Duration;

use super::{Cast, Stage};
use crate::Error;
use crate::args::FanoutArgs;
use crate::shared::{Group, Pace};
use crate::stats::Run;
use crate::text::time;

const RATE: f64 = 100.0;

pub(super) fn run(args: &FanoutArgs) -> Result<Run, Error> {
    args.load
        .check(&args.common, args.subscribers)
        .map_err(Error::Arguments)?;
    if args.duration == Duration::ZERO {
        return Err(Error::Arguments("--duration: more than nothing".into()));
    }
    let pace = match args.window {
        Some(window) => Pace::Window(window as u32),
        None => Pace::Rate(args.rate.unwrap_or(RATE)),
    };
    let length = args.warmup + args.duration;
    let cast = Cast::of_load("fanout", &args.load, args.subscribers, None, length);
    let mut stage = Stage::set(&args.common, cast)?;
    stage.open(Group::Steady)?;
    let last = stage
        .phase("fanout", pace, args.warmup, args.duration)?
        .last;
    if last.count > 0 {
        let of_each = [("p50", last.p50), ("p99", last.p99), ("max", last.max)];
        for (name, ns) in of_each {
            let what = format!("the last subscriber has heard a message after, {name}");
            stage.find(&what, time(ns as f64));
        }
    }
    stage.conclude()
}
