//! Silent connections, and the memory that they cost.

use std::time::Duration;

use super::{Cast, Stage};
use crate::Error;
use crate::args::{IdleArgs, check_topics};
use crate::server::{KernelMemory, Watched};
use crate::shared::{Group, Pace};
use crate::stats::Run;
use crate::text::{bytes, figures, time};

/// Between the messages of two topics.
const TURN: Duration = Duration::from_millis(1);

pub(super) fn run(args: &IdleArgs) -> Result<Run, Error> {
    check_topics(&args.common, args.topics, args.connections).map_err(Error::Arguments)?;
    let cast = Cast::silent(
        "idle",
        args.connections,
        args.topics,
        args.messages.is_some(),
        args.duration,
    );
    let members = cast.members.len() as f64;
    let mut stage = Stage::set(&args.common, cast)?;
    let user_before = stage.fleet.watched.as_ref().map(Watched::usage);
    let kernel_before = KernelMemory::now();
    stage.open(Group::Steady)?;
    let held = stage.phase("hold", Pace::Silent, Duration::ZERO, args.duration)?;
    let kernel_after = KernelMemory::now();
    let per = |after: u64, before: u64| growth(before, after).map(|bytes| bytes as f64 / members);
    if let (Some(before), Some(watched)) = (user_before, &stage.fleet.watched) {
        let after = watched.usage();
        let user = per(after.resident_bytes, before.resident_bytes);
        stage.find("server's user memory per connection", shown(user));
        if let Some(user) = user.filter(|user| *user > 0.0) {
            stage.figure("user bytes per connection", user);
        } else {
            // It takes what earlier connections have left to it.
            stage.run.warnings.push(
                "the server has served before, and uses that memory again: start it anew to \
                 learn what a connection costs"
                    .into(),
            );
        }
        stage.find(
            "server's user memory before and after",
            format!(
                "{} → {}",
                bytes(before.resident_bytes as f64),
                bytes(after.resident_bytes as f64)
            ),
        );
    }
    if let Some(server) = &held.server {
        let percent = format!("{} % of a processor", figures(server.cores * 100.0));
        stage.find("server's processor time while idle", percent);
    }
    // Both ends live on this machine, so that the kernel's share is that of a pair.
    let slab = per(kernel_after.slab_bytes, kernel_before.slab_bytes);
    let queued = per(kernel_after.tcp_bytes, kernel_before.tcp_bytes);
    stage.find("kernel slab memory per connection pair", shown(slab));
    stage.find("kernel socket queues per connection pair", shown(queued));
    if let Some(slab) = slab {
        stage.figure("kernel slab bytes per connection pair", slab);
    }
    let whole = per(kernel_after.used_bytes, kernel_before.used_bytes);
    stage.find(
        "all memory used on this machine per connection, this tool's included",
        shown(whole),
    );
    for number in 1..=args.messages.unwrap_or(0) {
        speak(&mut stage, args.topics, number)?;
    }
    stage.conclude()
}

/// What has been taken in addition; `None` if less is held than before, so that what
/// was taken cannot be told from what was given back.
fn growth(before: u64, after: u64) -> Option<u64> {
    after.checked_sub(before)
}

fn shown(per_connection: Option<f64>) -> String {
    per_connection.map_or("unknown: less is held than before".into(), bytes)
}

/// One message on every topic, one topic after the other, and the time until the last one has heard it.
fn speak(stage: &mut Stage, topics: u64, number: u64) -> Result<(), Error> {
    // Half a turn is taken off, so that no publisher has its second message due.
    let length = TURN * topics as u32 - TURN / 2;
    let pace = Pace::Rate(1.0 / TURN.as_secs_f64());
    let name = format!("message {number}");
    let heard = stage.phase(&name, pace, Duration::ZERO, length)?.latency;
    let all = time(heard.max as f64);
    stage.find(&format!("{name}: all have heard it after"), all);
    let half = time(heard.p50 as f64);
    stage.find(&format!("{name}: half have heard it after"), half);
    stage.figure(
        &format!("{name}: ms until all have heard"),
        heard.max as f64 / 1e6,
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_was_given_back_meanwhile_is_no_negative_cost() {
        assert_eq!(growth(1000, 3000), Some(2000));
        assert_eq!(growth(1000, 1000), Some(0));
        assert_eq!(growth(3000, 1000), None);
        assert_eq!(
            shown(growth(3000, 1000).map(|n| n as f64)),
            "unknown: less is held than before"
        );
    }
}
