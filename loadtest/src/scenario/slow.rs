//! A share of the readers stops reading. The others should not notice.

use std::time::Duration;

use super::{Cast, Stage};
use crate::Error;
use crate::args::SlowArgs;
use crate::server::KernelMemory;
use crate::shared::{Command, Group, Pace};
use crate::stats::Run;
use crate::text::{bytes, figures};

pub(super) fn run(args: &SlowArgs) -> Result<Run, Error> {
    args.load
        .check(&args.common, args.subscribers)
        .map_err(Error::Arguments)?;
    let others = Some((Group::Stalling, args.share));
    let length = args.duration * 3;
    let cast = Cast::of_load("slow", &args.load, args.subscribers, others, length);
    let stalling = cast.members.iter();
    let stalling = stalling.filter(|m| m.group == Group::Stalling).count();
    let mut stage = Stage::set(&args.common, cast)?;
    stage.open(Group::Steady)?;
    let pace = Pace::Rate(args.rate);
    let first = if args.from_start {
        "without them"
    } else {
        stage.open(Group::Stalling)?;
        "all read"
    };
    let quiet = stage.phase(first, pace, Duration::from_secs(1), args.duration)?;
    if args.from_start {
        stage.open(Group::Stalling)?;
    }
    let kernel_before = KernelMemory::now();
    stage.fleet.order(&Command::Stall(Group::Stalling));
    let stalled = stage.phase("some stall", pace, Duration::ZERO, args.duration)?;
    let kernel_bytes = KernelMemory::now().tcp_bytes as f64 - kernel_before.tcp_bytes as f64;
    let left = stage.fleet.shared.open(Group::Stalling);
    stage.fleet.order(&Command::Resume(Group::Stalling));
    stage.phase("they read again", pace, Duration::ZERO, args.duration)?;

    let ratio = stalled.latency.p99 as f64 / quiet.latency.p99.max(1) as f64;
    stage.find("readers that stalled", stalling.to_string());
    stage.find(
        "of them still connected after the stall, as far as the clients saw",
        left.to_string(),
    );
    stage.find(
        "others' p99 while some stall, against before",
        format!("{} times", figures(ratio)),
    );
    stage.figure("p99 while some stall, against before", ratio);
    if let (Some(before), Some(during)) = (&quiet.server, &stalled.server) {
        let grown = during.resident_bytes_max as f64 - before.resident_bytes as f64;
        stage.find("server's memory grew while some stalled by", bytes(grown));
        stage.figure("bytes grown while some stalled", grown.max(0.0));
    }
    stage.find(
        "kernel's socket queues on this machine grew by",
        bytes(kernel_bytes),
    );
    let mut run = stage.conclude()?;
    let missed = run.checks.stalling.lost.to_string();
    run.findings
        .push(("messages that stalled readers missed".into(), missed));
    for (code, count) in run.checks.closed_stalling.clone() {
        let name = format!("stalled readers closed with code {code}");
        run.findings.push((name, count.to_string()));
    }
    Ok(run)
}
