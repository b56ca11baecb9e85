//! All clients of one topic vanish, miss messages, and return at once to be given them;
//! another topic is live meanwhile.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::cast::RETURN_INTERVAL;
use super::{Cast, Stage};
use crate::Error;
use crate::args::RecoverArgs;
use crate::metrics::Metrics;
use crate::shared::{Command, Group, Member, Pace};
use crate::stats::Run;
use crate::text::{count, figures, time};

/// What a publisher may send at once: what one connection's backlog takes.
const BURST_BYTES_MAX: u64 = 8 << 20;
/// A recovery that lasts longer has failed long before, by the connect timeout.
const RECOVERY_MAX: Duration = Duration::from_secs(3600);
const WARMUP: Duration = Duration::from_secs(1);
const LIVE: u32 = 0;
const MISSED: u32 = 1;

pub(super) fn run(args: &RecoverArgs) -> Result<Run, Error> {
    check(args).map_err(Error::Arguments)?;
    let metrics = args.metrics.as_deref().map(Metrics::new);
    let metrics = metrics.transpose().map_err(Error::Arguments)?;
    let member = |topic, publisher, group| Member {
        topic,
        publisher,
        group,
        thread: 0,
        source: None,
    };
    // Somebody stays on the topic that the others miss: what is published there is encoded
    // for a reader when it is published, as it is where not everybody is away.
    let mut members = vec![
        member(LIVE, Some(LIVE), Group::Steady),
        member(MISSED, Some(MISSED), Group::Steady),
        member(MISSED, None, Group::Steady),
    ];
    members.extend((0..args.meanwhile.live).map(|_| member(LIVE, None, Group::Steady)));
    let apart = members.len();
    members.extend((0..args.clients).map(|_| member(MISSED, None, Group::Coming)));
    let cast = Cast {
        scenario: "recover",
        members,
        publisher_topics: vec![LIVE, MISSED],
        topics: 2,
        load: None,
        message_bytes: args.meanwhile.size,
        interval: RETURN_INTERVAL,
        // What the live topic feels must be the server's work, not that of this tool.
        apart,
        burst: Some(MISSED),
    };
    let mut stage = Stage::set(&args.common, cast)?;
    stage.run.subscribers = args.clients + args.meanwhile.live + 1;
    stage.open(Group::Steady)?;
    stage.open(Group::Coming)?;
    let pace = Pace::Rate(args.meanwhile.rate);
    let work = |stage: &Stage| Work::so_far(stage, args, metrics.as_ref());
    let before = work(&stage)?;
    let quiet = stage.phase("quiet", pace, WARMUP, args.meanwhile.quiet_time)?;
    let quiet = Quiet {
        p99: quiet.latency.p99,
        per_message: work(&stage)?.since(&before).encoded_per_message(),
    };
    for round in 1..=args.meanwhile.rounds {
        recovery(&mut stage, args, metrics.as_ref(), round, &quiet)?;
    }
    stage.conclude()
}

/// What the live topic is like while nobody returns.
struct Quiet {
    p99: u64,
    /// How often the server encodes a live message: once for each kind of reader.
    per_message: f64,
}

/// What has been sent on the live topic, and what the server has encoded.
struct Work {
    sent: u64,
    encoded: u64,
}

impl Work {
    fn so_far(stage: &Stage, args: &RecoverArgs, metrics: Option<&Metrics>) -> Result<Work, Error> {
        let encoded = metrics.map(|metrics| metrics.read(&args.metric));
        Ok(Work {
            sent: stage.fleet.shared.sent[LIVE as usize].load(Ordering::Acquire),
            encoded: encoded.transpose().map_err(Error::Metrics)?.unwrap_or(0),
        })
    }

    fn since(&self, before: &Work) -> Work {
        Work {
            sent: self.sent - before.sent,
            encoded: self.encoded.saturating_sub(before.encoded),
        }
    }

    fn encoded_per_message(&self) -> f64 {
        self.encoded as f64 / self.sent.max(1) as f64
    }

    /// What was encoded beyond the live messages.
    fn beyond(&self, per_message: f64) -> u64 {
        let live = (self.sent as f64 * per_message).round() as u64;
        self.encoded.saturating_sub(live)
    }
}

fn check(args: &RecoverArgs) -> Result<(), String> {
    if !args.common.dialect.recovers() {
        return Err("--dialect pusher: who returns cannot ask for what it has missed".into());
    }
    if args.common.posting.app.is_some() {
        return Err("--app: what is missed is published at once, which takes a WebSocket".into());
    }
    if args.common.topics_per_connection > 1 {
        return Err("--topics-per-connection: those who return recover one topic each".into());
    }
    if args.messages.saturating_mul(args.meanwhile.size) > BURST_BYTES_MAX {
        return Err(format!(
            "--messages {} of --size {}: what is missed may have {BURST_BYTES_MAX} bytes in all",
            args.messages, args.meanwhile.size
        ));
    }
    Ok(())
}

fn recovery(
    stage: &mut Stage,
    args: &RecoverArgs,
    metrics: Option<&Metrics>,
    round: u64,
    quiet: &Quiet,
) -> Result<(), Error> {
    let fleet = &mut stage.fleet;
    fleet.order(&Command::Drop(Group::Coming));
    let away = format!("away {round}");
    fleet.begin(&away, Pace::Silent, Duration::ZERO, Duration::ZERO);
    fleet.burst(MISSED, args.messages)?;
    let away = fleet.end()?;

    let before = Work::so_far(stage, args, metrics)?;
    let fleet = &mut stage.fleet;
    let name = format!("recovery {round}");
    fleet.begin(
        &name,
        Pace::Rate(args.meanwhile.rate),
        Duration::ZERO,
        RECOVERY_MAX,
    );
    let in_flight = args.common.in_flight.unwrap_or(args.clients);
    fleet.catch_up(Group::Coming, in_flight, args.clients * round)?;
    fleet.cut();
    let mut result = fleet.end()?;
    let work = Work::so_far(stage, args, metrics)?.since(&before);

    let missed = (args.clients * args.messages) as f64;
    let last_ns = result.caught_up.max as f64;
    let ratio = result.latency.p99 as f64 / quiet.p99.max(1) as f64;
    let note = |name: &str, value: String| (name.to_string(), value);
    result.notes = vec![
        note("all are back after", time(result.returns.max as f64)),
        note(
            "half have caught up after",
            time(result.caught_up.p50 as f64),
        ),
        note(
            "99 % have caught up after",
            time(result.caught_up.p99 as f64),
        ),
        note("all have caught up after", time(last_ns)),
        note(
            "missed messages heard per second",
            count(missed * 1e9 / last_ns.max(1.0)),
        ),
        note(
            "live topic's p99 against quiet",
            format!("{} times", figures(ratio)),
        ),
    ];
    if let Some(server) = &result.server {
        // With the live deliveries that fell into the same time.
        let us = server.cpu_us_per_delivery * result.delivered.max(1) as f64;
        let per_client = us / args.clients as f64;
        let what = "server's processor time per client that recovered";
        result.notes.push(note(what, time(per_client * 1e3)));
        stage.figure(&format!("{name}: server µs per client"), per_client);
    }
    if metrics.is_some() {
        let for_it = work.beyond(quiet.per_message);
        let what = "messages encoded for it";
        let shown = format!(
            "{for_it} ({} in all, {} live ones sent)",
            work.encoded, work.sent
        );
        result.notes.push(note(what, shown));
        if for_it > 0 {
            let failure = format!("{name}: {for_it} messages were encoded for those who returned");
            stage.run.failures.push(failure);
        }
    }
    for (what, value) in result.notes.clone() {
        stage.find(&format!("{name}: {what}"), value);
    }
    stage.figure(
        &format!("{name}: ms until all have caught up"),
        last_ns / 1e6,
    );
    stage.run.phases.extend([away, result]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    fn error(extra: &str) -> String {
        let line = format!("x recover --url ws://h/{{topic}} {extra}");
        let Command::Recover(args) = Cli::parse_from(line.split_whitespace()).command else {
            unreachable!()
        };
        check(&args).err().unwrap_or_default()
    }

    #[test]
    fn what_live_messages_cost_in_quiet_is_not_put_down_to_the_recovery() {
        let work = |sent, encoded| Work { sent, encoded };
        // Two kinds of readers.
        let quiet = work(150, 300).since(&work(50, 100));
        assert_eq!(quiet.encoded_per_message(), 2.0);
        assert_eq!(work(10, 20).beyond(2.0), 0);
        assert_eq!(work(10, 27).beyond(2.0), 7);
        // One of them has gone.
        assert_eq!(work(10, 10).beyond(2.0), 0);
        assert_eq!(work(0, 0).encoded_per_message(), 0.0);
    }

    #[test]
    fn what_is_missed_fits_a_publishers_backlog() {
        assert_eq!(error(""), "");
        assert!(error("--messages 10k --size 1000").contains("in all"));
        assert!(error("--topics-per-connection 2").contains("one topic each"));
    }
}
