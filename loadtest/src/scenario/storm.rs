//! All clients of one topic vanish and return at once; another topic is live meanwhile.

use std::time::Duration;

use super::cast::RETURN_INTERVAL;
use super::{Cast, Stage};
use crate::Error;
use crate::args::StormArgs;
use crate::shared::{Group, Member, Pace};
use crate::stats::Run;
use crate::stats::median;
use crate::text::{count, figures, time};

/// A storm that lasts longer has failed long before, by the connect timeout.
const STORM_MAX: Duration = Duration::from_secs(3600);
const WARMUP: Duration = Duration::from_secs(1);

pub(super) fn run(args: &StormArgs) -> Result<Run, Error> {
    // Without a topic in the path everybody is on the live one.
    let named = args.common.names_topics();
    let returning_topic = u32::from(named);
    let member = |topic, publisher, group| Member {
        topic,
        publisher,
        group,
        thread: 0,
        source: None,
    };
    let mut members = vec![member(0, Some(0), Group::Steady)];
    members.extend((0..args.meanwhile.live).map(|_| member(0, None, Group::Steady)));
    members.extend((0..args.clients).map(|_| member(returning_topic, None, Group::Coming)));
    let cast = Cast {
        scenario: "storm",
        members,
        publisher_topics: vec![0],
        topics: u64::from(returning_topic) + 1,
        load: None,
        message_bytes: args.meanwhile.size,
        interval: RETURN_INTERVAL,
        // What the live topic feels must be the server's work, not that of this tool.
        apart: args.meanwhile.live as usize + 1,
        burst: None,
    };
    let mut stage = Stage::set(&args.common, cast)?;
    stage.run.subscribers = args.clients + args.meanwhile.live;
    stage.open(Group::Steady)?;
    stage.open(Group::Coming)?;
    let pace = Pace::Rate(args.meanwhile.rate);
    let quiet = stage.phase("quiet", pace, WARMUP, args.meanwhile.quiet_time)?;
    let mut rounds = Vec::new();
    for round in 1..=args.meanwhile.rounds {
        let name = if args.meanwhile.rounds == 1 {
            "storm".to_string()
        } else {
            format!("storm {round}")
        };
        rounds.push(storm(&mut stage, args, &name, quiet.latency.p99)?);
    }
    if rounds.len() > 1 {
        medians(&mut stage, &rounds);
    }
    stage.conclude()
}

/// What one storm came to.
struct Round {
    per_second: f64,
    back_ns: f64,
    ratio: f64,
}

fn medians(stage: &mut Stage, rounds: &[Round]) {
    let median = |of: fn(&Round) -> f64| median(rounds.iter().map(of).collect());
    let per_second = median(|round| round.per_second);
    let (back_ns, ratio) = (median(|round| round.back_ns), median(|round| round.ratio));
    let name = |what: &str| format!("median of {} storms: {what}", rounds.len());
    stage.find(&name("handshakes per second"), count(per_second));
    stage.find(&name("all are back after"), time(back_ns));
    let times = format!("{} times", figures(ratio));
    stage.find(&name("live topic's p99 against quiet"), times);
}

fn storm(stage: &mut Stage, args: &StormArgs, name: &str, quiet_p99: u64) -> Result<Round, Error> {
    let fleet = &mut stage.fleet;
    fleet.begin(
        name,
        Pace::Rate(args.meanwhile.rate),
        Duration::ZERO,
        STORM_MAX,
    );
    fleet.storm(Group::Coming, args.common.in_flight.unwrap_or(args.clients))?;
    fleet.cut();
    let mut result = fleet.end()?;
    let back_s = result.returns.max as f64 / 1e9;
    let rate = result.returns.count as f64 / back_s.max(1e-9);
    let ratio = result.latency.p99 as f64 / quiet_p99.max(1) as f64;
    let note = |name: &str, value: String| (name.to_string(), value);
    result.notes = vec![
        note("handshakes per second", count(rate)),
        note("half are back after", time(result.returns.p50 as f64)),
        note("99 % are back after", time(result.returns.p99 as f64)),
        note("all are back after", time(result.returns.max as f64)),
        note("handshake, p50", time(result.handshakes.p50 as f64)),
        note("handshake, p99", time(result.handshakes.p99 as f64)),
        note(
            "live topic's p99 against quiet",
            format!("{} times", figures(ratio)),
        ),
    ];
    if let Some(server) = &result.server {
        // With the deliveries and the farewells that fell into the same time.
        let us = server.cpu_us_per_delivery * result.delivered.max(1) as f64;
        let per = us / result.returns.count.max(1) as f64;
        let what = "server's processor time per handshake";
        result.notes.push(note(what, time(per * 1e3)));
        stage.figure(&format!("{name}: server µs per handshake"), per);
    }
    for (what, value) in result.notes.clone() {
        stage.find(&format!("{name}: {what}"), value);
    }
    stage.figure(&format!("{name}: ms until all are back"), back_s * 1e3);
    stage.figure(&format!("{name}: µs per handshake"), 1e6 / rate);
    stage.run.phases.push(result);
    Ok(Round {
        per_second: rate,
        back_ns: back_s * 1e9,
        ratio,
    })
}
