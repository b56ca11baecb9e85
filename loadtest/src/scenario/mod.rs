//! The scenarios, and what they have in common: who takes part, and the verdict.
//!
//! Each scenario says what happens when; connections and measuring are the fleet's.
//! Called by the command line.

mod cast;
mod fanout;
mod idle;
mod ramp;
mod recover;
mod slow;
mod soak;
mod storm;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::Error;
use crate::args::{Command, Common, check_topics};
use crate::dialect::Dialect;
use crate::fleet::{Finish, Fleet, FleetSettings};
use crate::layout::{Layout, Limits};
use crate::progress::Progress;
use crate::server::Watched;
use crate::shared::{Final, Group, Pace, Plan};
use crate::stats::{Checks, Machine, PhaseResult, Run};
use crate::target::{Target, Targets};
use crate::text;
use crate::tls::Tls;

use cast::Cast;

const IN_FLIGHT: u64 = 512;
/// A tool that is this late itself says more about itself than about the server.
const LATE_NS: u64 = 1_000_000;

/// Carries a scenario out; `compare` is none, and `post` needs no fleet.
pub fn execute(command: &Command) -> Result<Run, Error> {
    match command {
        Command::Fanout(args) => fanout::run(args),
        Command::Storm(args) => storm::run(args),
        Command::Recover(args) => recover::run(args),
        Command::Idle(args) => idle::run(args),
        Command::Slow(args) => slow::run(args),
        Command::Soak(args) => soak::run(args),
        Command::Ramp(args) => ramp::run(args),
        Command::Compare(_) | Command::Post(_) => Err(Error::Arguments("nothing to run".into())),
    }
}

/// A scenario on the stage.
struct Stage {
    fleet: Fleet,
    run: Run,
    one_order: bool,
    /// Publishers are to hear what they send themselves.
    echo: bool,
    in_flight: Option<u64>,
}

impl Stage {
    fn set(common: &Common, mut cast: Cast) -> Result<Stage, Error> {
        let own = common.dialect.subprotocol().map(String::from);
        let subprotocol = own.or(common.subprotocol.clone());
        let target = |url: &str| {
            Target::new(url, subprotocol.clone(), &common.header)
                .map_err(|error| Error::Arguments(error.to_string()))
        };
        let elsewhere = cast
            .load
            .as_ref()
            .and_then(|load| load.publish_url.as_deref());
        let of_api = |url: &str| {
            Target::of_api(url, &common.header).map_err(|error| Error::Arguments(error.to_string()))
        };
        let of_publishers = match common.posting.app {
            Some(_) => elsewhere.map(of_api).transpose()?,
            None => elsewhere.map(target).transpose()?,
        };
        let target = target(&common.url)?;
        let must = common.dialect == Dialect::Pusher && !cast.publisher_topics.is_empty();
        let app = common
            .posting
            .app(&target, must)
            .map_err(Error::Arguments)?;
        check_topics(common, cast.topics, cast.members.len() as u64).map_err(Error::Arguments)?;
        let watched = match common.pid {
            None => None,
            Some(pid) => Some(Watched::new(pid).ok_or_else(|| {
                Error::Arguments(format!("--pid {pid}: there is no such process"))
            })?),
        };
        let port = target.address.port();
        let elsewhere = target.address.ip().is_loopback()
            && (watched.as_ref()).is_some_and(|watched| watched.listens_at(port) == Some(false));
        let warnings = common.pid.filter(|_| elsewhere).map(|pid| {
            format!(
                "process {pid} of --pid does not listen on port {port}: is it the server, or is \
                 something between?"
            )
        });
        let progress = Progress::new(common.quiet);
        let layout = Layout::new(
            cast.members.len(),
            cast.apart,
            target.address,
            common.threads.map(|threads| threads as usize),
            &common.source,
            Limits::of_this_machine(),
        )
        .map_err(|error| Error::Arguments(error.to_string()))?;
        for (number, member) in cast.members.iter_mut().enumerate() {
            member.source = layout.source(number);
            member.thread = layout.thread(number);
        }
        let load = cast.load.as_ref();
        let run = Run {
            tool: "fanfare-loadtest".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            scenario: cast.scenario.into(),
            started_unix: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
            command: std::env::args().skip(1).collect(),
            url: common.url.clone(),
            machine: machine(),
            subscribers: if load.is_some_and(|load| load.echo) {
                cast.members.len() as u64
            } else {
                (cast.members.len() - cast.publisher_topics.len()) as u64
            },
            publishers: cast.publisher_topics.len() as u64,
            topics: cast.topics,
            message_bytes: cast.message_bytes,
            client_threads: layout.threads() as u64,
            server_at_start: watched.as_ref().map(Watched::usage),
            warnings: warnings.into_iter().collect(),
            ..Run::default()
        };
        let plan = Plan {
            members: cast.members,
            publisher_topics: cast.publisher_topics,
            echo: load.is_some_and(|load| load.echo),
            message_bytes: cast.message_bytes as usize,
            binary: common.binary,
            verify: load.is_some_and(|load| load.verify),
            hello: common.hello.clone(),
            interval_ns: cast.interval.as_nanos() as u64,
            handshake_ns_max: common.connect_timeout.as_nanos() as u64,
            dialect: common.dialect,
            app,
            channel: common.channel.clone(),
            topics: cast.topics as u32,
            topics_per_connection: common.topics_per_connection as u32,
            recover: cast.burst.is_some(),
            burst: cast.burst,
            apart_threads: layout.apart_threads(),
        };
        let over_tls = |target: &Target| target.name.is_some();
        let any = over_tls(&target) || of_publishers.as_ref().is_some_and(over_tls);
        let tls = any.then(|| Tls::new(&common.trust.trust()));
        let targets = Targets {
            server: target,
            of_publishers,
            tls: tls.transpose().map_err(Error::Arguments)?,
        };
        let settings = FleetSettings {
            settle: common.settle,
            drain: common.drain,
            connect_timeout: common.connect_timeout,
        };
        let fleet = Fleet::start(plan, targets, layout.threads(), settings, watched, progress)?;
        Ok(Stage {
            fleet,
            run,
            one_order: load.is_some_and(|load| load.one_order),
            echo: load.is_some_and(|load| load.echo),
            in_flight: common.in_flight,
        })
    }

    /// Connects a group, and notes how fast that went.
    fn open(&mut self, group: Group) -> Result<(), Error> {
        let in_flight = self.in_flight.unwrap_or(IN_FLIGHT);
        let result = self.fleet.open(group, in_flight)?;
        self.run.phases.push(result);
        Ok(())
    }

    fn phase(
        &mut self,
        name: &str,
        pace: Pace,
        warmup: Duration,
        duration: Duration,
    ) -> Result<PhaseResult, Error> {
        self.fleet.begin(name, pace, warmup, duration);
        let result = self.fleet.end()?;
        self.run.phases.push(result.clone());
        Ok(result)
    }

    fn find(&mut self, name: &str, value: impl Into<String>) {
        self.run.findings.push((name.into(), value.into()));
    }

    fn figure(&mut self, name: &str, value: f64) {
        self.run.figures.insert(name.into(), value);
    }

    /// Ends the run and judges it.
    fn conclude(self) -> Result<Run, Error> {
        let Stage {
            mut fleet,
            mut run,
            one_order,
            echo,
            ..
        } = self;
        run.server_at_end = fleet.watched.as_ref().map(Watched::usage);
        if fleet.interrupted {
            run.warnings.push("the run was ended early".into());
        }
        if fleet
            .watched
            .as_mut()
            .is_some_and(|w| w.usage().threads == 0)
        {
            run.failures
                .push("the server's process ended during the run".into());
        }
        let finish = fleet.finish()?;
        judge(&mut run, &finish, one_order);
        let unrecovered: u64 = finish.finals.iter().map(|report| report.unrecovered).sum();
        if unrecovered > 0 {
            let failure = format!("{unrecovered} clients were not given what they had missed");
            run.failures.push(failure);
        }
        let posts = |of: fn(&Final) -> u64| finish.finals.iter().map(of).sum::<u64>();
        for (count, what) in [
            (posts(|report| report.posts_refused), "refused"),
            (posts(|report| report.posts_unanswered), "not answered"),
        ] {
            if count > 0 {
                run.failures
                    .push(format!("{count} requests to publish were {what}"));
            }
        }
        let echoes = finish.finals.iter().map(|report| report.echoes).sum();
        run.failures.extend(missing_echo(&run.checks, echo, echoes));
        run.failures.extend(idle_server(&run));
        warn(&mut run, &finish);
        run.series = finish.series;
        Ok(run)
    }
}

fn judge(run: &mut Run, finish: &Finish, one_order: bool) {
    let checks = &mut run.checks;
    let mut orders: HashMap<u32, HashSet<u64>> = HashMap::new();
    for report in &finish.finals {
        checks.steady.add(&report.tallies[Group::Steady as usize]);
        checks.coming.add(&report.tallies[Group::Coming as usize]);
        checks
            .stalling
            .add(&report.tallies[Group::Stalling as usize]);
        for (group, closes) in report.closes.iter().enumerate() {
            let book = if group == Group::Stalling as usize {
                &mut checks.closed_stalling
            } else {
                &mut checks.closed
            };
            for (code, count) in closes {
                *book.entry(*code).or_default() += count;
            }
        }
        for (topic, heard) in &report.orders {
            orders.entry(*topic).or_default().extend(heard.keys());
        }
    }
    checks.one_order_required = one_order;
    if run.publishers > run.topics {
        checks.topics_compared = orders.len() as u64;
        checks.topics_in_disorder = orders.values().filter(|seen| seen.len() > 1).count() as u64;
    }
    run.failures.extend(checks.failures());
}

/// Every publisher lost all of its own messages: then it is not the server that fails.
fn missing_echo(checks: &Checks, wanted: bool, echoes: u64) -> Option<String> {
    (wanted && echoes == 0 && checks.steady.lost > 0).then(|| {
        "no publisher has heard its own messages, which --echo expects: have the server echo \
         (Fanfare does with ?echo=true in the URL), or leave --echo out"
            .into()
    })
}

/// A process that sends takes time for it.
fn idle_server(run: &Run) -> Option<String> {
    let (before, after) = (run.server_at_start?, run.server_at_end?);
    let delivered: u64 = run.phases.iter().map(|phase| phase.delivered).sum();
    (delivered > 0 && after.cpu_ns_since(&before) < delivered).then(|| {
        format!(
            "the process of --pid has taken no processor time while {delivered} messages were \
             delivered: is it the server?"
        )
    })
}

/// What makes the numbers doubtful.
fn warn(run: &mut Run, finish: &Finish) {
    let is_late = |phase: &&PhaseResult| {
        let late = phase.lateness.p99;
        phase.latency.count > 0 && late > LATE_NS && late * 4 > phase.latency.p99
    };
    let late: Vec<&PhaseResult> = run.phases.iter().filter(is_late).collect();
    if let Some(worst) = late.iter().map(|phase| phase.lateness.p99).max() {
        run.warnings.push(format!(
            "this tool itself sent late in {} of {} phases (p99 up to {}), which is a large share \
             of the latency: give it more client threads, a quieter machine, or one of its own",
            late.len(),
            run.phases.iter().filter(|p| p.latency.count > 0).count(),
            text::time(worst as f64)
        ));
    }
    if finish.buffers_short > 0 {
        run.warnings.push(format!(
            "{} receives waited for a free buffer: bursts were larger than the clients' buffers",
            finish.buffers_short
        ));
    }
    let mut problems: BTreeMap<&str, u64> = BTreeMap::new();
    for (problem, count) in finish.finals.iter().flat_map(|report| &report.problems) {
        *problems.entry(problem).or_default() += count;
    }
    for (problem, count) in problems {
        run.warnings.push(format!("{count} × {problem}"));
    }
    if run.checks.topics_in_disorder > 0 && !run.checks.one_order_required {
        run.warnings.push(format!(
            "{} of {} topics were heard in different orders by different subscribers (each \
             publisher's own order held; --one-order makes this a failure)",
            run.checks.topics_in_disorder, run.checks.topics_compared
        ));
    }
}

fn machine() -> Machine {
    let first = |path: &str, name: &str| {
        let text = fs::read_to_string(path).ok()?;
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_string())
    };
    let memory = first("/proc/meminfo", "MemTotal").unwrap_or_default();
    let kib: u64 = memory.trim_end_matches(" kB").parse().unwrap_or(0);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    Machine {
        kernel: kernel.trim().into(),
        processors: std::thread::available_parallelism().map_or(1, |n| n.get() as u64),
        processor: first("/proc/cpuinfo", "model name").unwrap_or_default(),
        memory_bytes: kib * 1024,
    }
}
