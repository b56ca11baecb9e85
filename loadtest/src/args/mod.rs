//! The command line: scenarios, their options, and the rules that hold between
//! them.
//!
//! Called by `main`; the scenarios take what is read here.

mod posting;
mod units;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::dialect::Dialect;
use crate::shared::TOPIC;
use crate::stamp::PUBLISHERS_MAX;
use crate::tls::Trust;
use posting::Posting;
use units::{duration, factor, positive_count, rate, share, size};

/// Thousands of simulated WebSocket clients that measure and check a broadcast server.
///
/// Exit status: 0 if all is well, 1 if messages were lost, doubled or out of
/// order, 2 if the arguments make no sense, 3 if the test could not be run.
#[derive(Debug, Parser)]
#[command(name = "fanfare-loadtest", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Subscribers hear publishers: latency, throughput, processor time per delivery
    Fanout(FanoutArgs),
    /// All clients of a topic return at once while another topic is live
    Storm(StormArgs),
    /// All clients of a topic return at once and ask for what they have missed
    Recover(RecoverArgs),
    /// Hold silent connections and see what memory they cost the server
    Idle(IdleArgs),
    /// A share of the readers stops reading: what the others feel
    Slow(SlowArgs),
    /// Hours of traffic while clients come and go
    Soak(SoakArgs),
    /// Find the highest rate whose 99th percentile stays below a bound
    Ramp(RampArgs),
    /// Publish over HTTP, as fast as it is answered
    Post(PostArgs),
    /// Compare two results written with --json
    Compare(CompareArgs),
}

#[derive(Clone, Debug, Args)]
pub struct Common {
    /// The server, as ws://host:port/path or wss://; {topic} stands for the topic's number
    #[arg(long)]
    pub url: String,
    #[command(flatten)]
    pub trust: TrustArgs,
    /// How clients talk
    #[arg(long, value_enum, default_value_t)]
    pub dialect: Dialect,
    /// The name of a topic where the dialect has topics in commands; {topic} is filled in
    #[arg(long, value_name = "NAME", default_value = "bench-{topic}")]
    pub channel: String,
    #[command(flatten)]
    pub posting: Posting,
    /// Topics that each connection follows, where the dialect has them in commands
    #[arg(long, value_name = "COUNT", value_parser = positive_count, default_value = "1")]
    pub topics_per_connection: u64,
    /// Send a header with the handshake, as 'Name: value' (may be repeated)
    #[arg(long, value_name = "HEADER")]
    pub header: Vec<String>,
    /// Offer this subprotocol
    #[arg(long, value_name = "NAME")]
    pub subprotocol: Option<String>,
    /// Send this text after the handshake, for servers that want to be asked; {topic} is filled in
    #[arg(long, value_name = "TEXT")]
    pub hello: Option<String>,
    /// Send binary instead of text messages
    #[arg(long)]
    pub binary: bool,
    /// The server's process id on this machine: its processor time and memory are reported
    #[arg(long)]
    pub pid: Option<i32>,
    /// Write the result here
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub json: Option<PathBuf>,
    /// Write a page with plots here, to look at or to send on
    #[arg(long, value_name = "FILE.html", help_heading = "Output")]
    pub report: Option<PathBuf>,
    /// No progress line
    #[arg(long, short, help_heading = "Output")]
    pub quiet: bool,
    /// Client threads [default: half of the processors, more for many connections]
    #[arg(long, value_parser = positive_count, help_heading = "Clients")]
    pub threads: Option<u64>,
    /// Local addresses to connect from [default: the kernel's choice; 127.0.1.x if ports run out]
    #[arg(
        long,
        value_name = "IP",
        value_delimiter = ',',
        help_heading = "Clients"
    )]
    pub source: Vec<IpAddr>,
    /// Handshakes under way at a time [default: 512; storm: all]
    #[arg(long, value_parser = positive_count, help_heading = "Clients")]
    pub in_flight: Option<u64>,
    /// How long a handshake may take
    #[arg(long, value_parser = duration, default_value = "30s", help_heading = "Clients")]
    pub connect_timeout: Duration,
    /// Quiet time between the last handshake and the first message
    #[arg(long, value_parser = duration, default_value = "500ms", help_heading = "Clients")]
    pub settle: Duration,
    /// How long to wait for missing messages, counted from the last one that came
    #[arg(long, value_parser = duration, default_value = "5s", help_heading = "Clients")]
    pub drain: Duration,
}

/// How servers are believed where the URL is wss:// or https://.
#[derive(Clone, Debug, Default, Args)]
pub struct TrustArgs {
    /// The certificate of the authority (PEM) that has signed the server's
    #[arg(long, value_name = "FILE", help_heading = "TLS")]
    pub ca: Option<PathBuf>,
    /// Believe any certificate
    #[arg(long, conflicts_with = "ca", help_heading = "TLS")]
    pub insecure: bool,
    /// Clients that come back take their sessions up again, without a new signature
    #[arg(long, help_heading = "TLS")]
    pub resume: bool,
}

impl TrustArgs {
    pub fn trust(&self) -> Trust {
        Trust {
            ca: self.ca.clone(),
            insecure: self.insecure,
            resume: self.resume,
        }
    }
}

#[derive(Clone, Debug, Args)]
pub struct Load {
    /// Bytes per message
    #[arg(long, value_parser = size, default_value = "64")]
    pub size: u64,
    /// Publishers [default: one per topic]
    #[arg(long, short, value_parser = positive_count)]
    pub publishers: Option<u64>,
    /// Topics; the path must hold {topic} if there are several
    #[arg(long, short, value_parser = positive_count, default_value = "1")]
    pub topics: u64,
    /// The server sends a publisher its own messages: the first subscribers then
    /// publish, instead of connections of their own
    #[arg(long)]
    pub echo: bool,
    /// Publishers connect here and not to --url, as to another node of a cluster; with --app this
    /// is http://host:port or https://host:port
    #[arg(long, value_name = "URL", conflicts_with = "echo")]
    pub publish_url: Option<String>,
    /// Compare every byte that comes back, not only the head and the length
    #[arg(long)]
    pub verify: bool,
    /// Fail if subscribers of a topic hear several publishers in different orders
    #[arg(long)]
    pub one_order: bool,
}

#[derive(Clone, Debug, Args)]
pub struct FanoutArgs {
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub load: Load,
    /// Subscribers
    #[arg(long, short = 'n', value_parser = positive_count, default_value = "100")]
    pub subscribers: u64,
    /// Messages per second of all publishers together, sent on a fixed schedule [default: 100]
    #[arg(long, value_parser = rate)]
    pub rate: Option<f64>,
    /// Instead of a rate: messages of each publisher under way, the next goes out when one is done
    #[arg(long, value_parser = positive_count, conflicts_with = "rate")]
    pub window: Option<u64>,
    /// How long to measure
    #[arg(long, short, value_parser = duration, default_value = "10s")]
    pub duration: Duration,
    /// How long to run before that
    #[arg(long, value_parser = duration, default_value = "1s")]
    pub warmup: Duration,
}

/// A topic that goes on while others all go and return at once.
#[derive(Clone, Debug, Args)]
pub struct Meanwhile {
    /// Subscribers of the live topic
    #[arg(long, value_parser = positive_count, default_value = "100")]
    pub live: u64,
    /// Messages per second on the live topic
    #[arg(long, value_parser = rate, default_value = "100")]
    pub rate: f64,
    /// Bytes per message
    #[arg(long, value_parser = size, default_value = "64")]
    pub size: u64,
    /// How long to measure the live topic before
    #[arg(long, value_parser = duration, default_value = "5s")]
    pub quiet_time: Duration,
    /// How often they all go and return
    #[arg(long, value_parser = positive_count, default_value = "1")]
    pub rounds: u64,
}

#[derive(Clone, Debug, Args)]
pub struct StormArgs {
    #[command(flatten)]
    pub common: Common,
    /// Clients that return at once
    #[arg(long, short = 'n', value_parser = positive_count, default_value = "1000")]
    pub clients: u64,
    #[command(flatten)]
    pub meanwhile: Meanwhile,
}

#[derive(Clone, Debug, Args)]
pub struct RecoverArgs {
    #[command(flatten)]
    pub common: Common,
    /// Clients that return at once
    #[arg(long, short = 'n', value_parser = positive_count, default_value = "1000")]
    pub clients: u64,
    /// Messages that each of them has missed
    #[arg(long, value_parser = positive_count, default_value = "100")]
    pub messages: u64,
    #[command(flatten)]
    pub meanwhile: Meanwhile,
    /// The server's metrics, as http://127.0.0.1:8001/metrics: fails if messages were
    /// encoded for those who return
    #[arg(long, value_name = "URL")]
    pub metrics: Option<String>,
    /// The counter of encoded messages among them
    #[arg(
        long,
        value_name = "NAME",
        default_value = "fanfare_encoded_messages_total"
    )]
    pub metric: String,
}

#[derive(Clone, Debug, Args)]
pub struct IdleArgs {
    #[command(flatten)]
    pub common: Common,
    /// Connections to hold
    #[arg(long, short = 'n', value_parser = positive_count, default_value = "1000")]
    pub connections: u64,
    /// Topics to spread them over
    #[arg(long, short, value_parser = positive_count, default_value = "1")]
    pub topics: u64,
    /// After that, publish so many messages on each topic and see how long the last one waits for each
    #[arg(long, value_parser = positive_count)]
    pub messages: Option<u64>,
    /// How long to hold them
    #[arg(long, short, value_parser = duration, default_value = "10s")]
    pub duration: Duration,
}

#[derive(Clone, Debug, Args)]
pub struct SlowArgs {
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub load: Load,
    /// Subscribers, the stalling ones included
    #[arg(long, short = 'n', value_parser = positive_count, default_value = "1000")]
    pub subscribers: u64,
    /// Percentage of the subscribers that stops reading
    #[arg(long, value_parser = share, default_value = "10")]
    pub share: f64,
    /// Messages per second of all publishers together
    #[arg(long, value_parser = rate, default_value = "100")]
    pub rate: f64,
    /// They stall from the start: they connect after the first part and read nothing until the third
    #[arg(long)]
    pub from_start: bool,
    /// Length of each of the three parts: all read, a share stalls, it reads again
    #[arg(long, short, value_parser = duration, default_value = "10s")]
    pub duration: Duration,
}

#[derive(Clone, Debug, Args)]
pub struct SoakArgs {
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub load: Load,
    /// Subscribers, those that come and go included
    #[arg(long, short = 'n', value_parser = positive_count, default_value = "1000")]
    pub subscribers: u64,
    /// Percentage of the subscribers that comes and goes
    #[arg(long, value_parser = share, default_value = "20")]
    pub share: f64,
    /// How many of them leave and return per second, half with a close frame, half without
    #[arg(long, value_parser = rate, default_value = "10")]
    pub churn: f64,
    /// Messages per second of all publishers together
    #[arg(long, value_parser = rate, default_value = "100")]
    pub rate: f64,
    /// How long
    #[arg(long, short, value_parser = duration, default_value = "1h")]
    pub duration: Duration,
}

#[derive(Clone, Debug, Args)]
pub struct RampArgs {
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub load: Load,
    /// Subscribers
    #[arg(long, short = 'n', value_parser = positive_count, default_value = "100")]
    pub subscribers: u64,
    /// The bound for the 99th percentile
    #[arg(long, value_parser = duration, default_value = "10ms")]
    pub p99: Duration,
    /// The first rate, in messages per second of all publishers together
    #[arg(long, value_parser = rate, default_value = "100")]
    pub from: f64,
    /// The highest rate to try
    #[arg(long, value_parser = rate, default_value = "10m")]
    pub to: f64,
    /// How much faster each step is than the one before
    #[arg(long, value_parser = factor, default_value = "2")]
    pub factor: f64,
    /// Steps of halving between the last good and the first bad rate
    #[arg(long, default_value = "4")]
    pub refine: u64,
    /// Length of a step, after a quarter of it as warm-up
    #[arg(long, value_parser = duration, default_value = "3s")]
    pub step: Duration,
}

#[derive(Clone, Debug, Args)]
pub struct PostArgs {
    /// The listener for the server API, as http://host:port or https://host:port
    #[arg(long)]
    pub url: String,
    #[command(flatten)]
    pub trust: TrustArgs,
    /// Send a header with each request, as 'Name: value' (may be repeated)
    #[arg(long, value_name = "HEADER")]
    pub header: Vec<String>,
    /// The topic to publish to
    #[arg(long, default_value = "post")]
    pub topic: String,
    /// Bytes per message
    #[arg(long, value_parser = size, default_value = "64")]
    pub size: u64,
    /// Batches of so many messages [default: single ones]
    #[arg(long, value_parser = positive_count)]
    pub lines: Option<u64>,
    /// Clients, each with a connection of its own
    #[arg(long, short, value_parser = positive_count, default_value = "1")]
    pub clients: u64,
    /// Requests of each client that may be unanswered
    #[arg(long, value_parser = positive_count, default_value = "512")]
    pub window: u64,
    /// Have each request answered only once its messages are stored (ack=stored)
    #[arg(long)]
    pub stored: bool,
    /// Go on, and count the time, until all is stored that was published
    #[arg(long)]
    pub until_stored: bool,
    /// How long to measure
    #[arg(long, short, value_parser = duration, default_value = "5s")]
    pub duration: Duration,
    /// The server's process id on this machine: its processor time is reported
    #[arg(long)]
    pub pid: Option<i32>,
}

#[derive(Clone, Debug, Args)]
pub struct CompareArgs {
    /// The result to compare with
    pub before: PathBuf,
    /// The result to judge
    pub after: PathBuf,
    /// Exit with 1 if anything is worse by more than so many percent
    #[arg(long, value_name = "PERCENT")]
    pub fail_over: Option<f64>,
}

impl Common {
    /// Whether clients of different topics are told apart.
    pub fn names_topics(&self) -> bool {
        let name = if self.dialect.asks() {
            &self.channel
        } else {
            &self.url
        };
        name.contains(TOPIC)
    }

    /// What the dialect cannot do.
    pub fn check(&self, topics: u64) -> Result<(), String> {
        let per_connection = self.topics_per_connection;
        if !self.dialect.asks() && per_connection > 1 {
            return Err(format!(
                "--topics-per-connection {per_connection}: a raw connection has one topic; take \
                 another --dialect"
            ));
        }
        if per_connection > topics {
            return Err(format!(
                "--topics-per-connection {per_connection}: there are {topics} topics"
            ));
        }
        let plain =
            |clean: char| clean.is_ascii() && !clean.is_control() && !"\"\\".contains(clean);
        if !self.channel.chars().all(plain) {
            return Err("--channel: plain ASCII without quotes and backslashes".into());
        }
        let unfit = [
            (self.binary, "--binary"),
            (self.hello.is_some(), "--hello"),
            (self.subprotocol.is_some(), "--subprotocol"),
        ];
        match unfit.iter().find(|(given, _)| *given) {
            Some((_, option)) if self.dialect.asks() => Err(format!(
                "{option} is for --dialect raw; this one says itself what it sends"
            )),
            _ => Ok(()),
        }
    }
}

impl Load {
    pub fn publishers(&self) -> u64 {
        self.publishers.unwrap_or(self.topics)
    }

    /// What no single option can tell is wrong.
    pub fn check(&self, common: &Common, subscribers: u64) -> Result<(), String> {
        check_topics(common, self.topics, subscribers)?;
        let publishers = self.publishers();
        if publishers < self.topics {
            return Err(format!(
                "--publishers {publishers}: each of the {} topics needs one",
                self.topics
            ));
        }
        if publishers >= u64::from(PUBLISHERS_MAX) {
            return Err(format!("--publishers: at most {}", PUBLISHERS_MAX - 1));
        }
        if self.one_order && common.topics_per_connection > 1 {
            return Err("--one-order compares connections of one topic each".into());
        }
        if self.echo && (common.posting.app.is_some() || common.dialect == Dialect::Pusher) {
            return Err("--echo: who publishes over HTTP hears nothing".into());
        }
        if self.echo && publishers > subscribers {
            return Err(format!(
                "--echo makes subscribers publish, and {subscribers} are fewer than {publishers} publishers"
            ));
        }
        Ok(())
    }
}

pub fn check_topics(common: &Common, topics: u64, subscribers: u64) -> Result<(), String> {
    common.check(topics)?;
    if topics > 1 && !common.names_topics() {
        return Err(match common.dialect.asks() {
            false => format!(
                "--topics {topics}: the --url must say where the topic goes, as in ws://127.0.0.1:8000/bench-{{topic}}"
            ),
            true => format!("--topics {topics}: the --channel must hold {{topic}}"),
        });
    }
    if topics > subscribers {
        return Err(format!(
            "--topics {topics}: each needs a subscriber, and there are {subscribers}"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load_error(path: &str, extra: &str) -> String {
        let line = format!("fanfare-loadtest fanout --url ws://127.0.0.1:1/{path} {extra}");
        let cli = Cli::try_parse_from(line.split_whitespace()).unwrap();
        let Command::Fanout(args) = cli.command else {
            unreachable!()
        };
        let checked = args.load.check(&args.common, args.subscribers);
        checked.err().unwrap_or_default()
    }

    #[test]
    fn options_that_do_not_go_together_are_named() {
        assert_eq!(load_error("x", ""), "");
        assert_eq!(load_error("{topic}", "-t 9"), "");
        assert!(load_error("x", "--topics 2").contains("{topic}"));
        assert!(load_error("x", "--echo -n 2 -p 3").contains("fewer than 3"));
        assert!(load_error("{topic}", "-t 9 -p 3").contains("needs one"));
        assert!(load_error("{topic}", "-t 9 -n 3").contains("needs a subscriber"));
        assert!(load_error("{topic}", "-t 9 --topics-per-connection 2").contains("--dialect"));
        let json = |extra: &str| load_error("x", &format!("--dialect centrifugo-json {extra}"));
        assert_eq!(json("-t 9 --topics-per-connection 9"), "");
        assert!(json("-t 2 --topics-per-connection 3").contains("there are 2 topics"));
        assert!(json("-t 2 --channel same").contains("--channel must hold"));
        assert!(json("--binary").contains("--binary is for --dialect raw"));
        assert!(json("--channel a\"b").contains("plain ASCII"));
        assert!(json("-t 9 --topics-per-connection 2 --one-order").contains("--one-order"));
        let pusher = |extra: &str| load_error("app/k", &format!("--dialect pusher {extra}"));
        assert_eq!(pusher("-t 9 --topics-per-connection 9"), "");
        assert!(pusher("--echo").contains("hears nothing"));
        let app = "--app 1 --app-secret-file x";
        assert!(load_error("x", &format!("{app} --echo")).contains("hears nothing"));
    }
}
