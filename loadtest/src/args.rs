//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, value_parser};

use crate::payload::Shape;
use crate::session::Cast;
use crate::target::Url;

/// Thousands of simulated WebSocket clients on io_uring, against any broadcast
/// server. Every message is checked on every connection; the latency of each
/// counts from when it was meant to be sent.
#[derive(Debug, Parser)]
#[command(
    name = "fanfare-loadtest",
    version,
    after_help = "Exit codes: 0 all messages came, once and in order; 1 some did not, or the \
                  run failed; 2 the arguments are wrong."
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Publishers send, all subscribers hear: latency, rate, cost
    Fanout(Fanout),
    /// Hold connections that do nothing, then let a few messages reach them all
    Idle(Idle),
    /// Clients return all at once while a topic is live
    Storm(Storm),
    /// A share of the readers stalls: what the others feel
    Slow(Slow),
    /// Clients come and go for hours
    Soak(Soak),
    /// The highest rate whose 99th percentile stays under a bound
    Ramp(Ramp),
    /// Lay two results side by side
    Compare {
        /// Result of the earlier run, from --json
        a: PathBuf,
        /// Result of the later run
        b: PathBuf,
    },
}

#[derive(Debug, Args)]
pub struct Common {
    /// The server, as ws://127.0.0.1:8000/bench-{topic}; {topic} becomes 0, 1 and so on
    #[arg(
        long,
        value_name = "URL",
        default_value = "ws://127.0.0.1:8000/bench-{topic}"
    )]
    pub url: Url,
    /// Topics; subscribers are spread over them
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u32).range(1..=1_000_000))]
    pub topics: u32,
    /// Publishers of each topic; they do not count as subscribers
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u32).range(1..=10_000))]
    pub publishers: u32,
    /// Bytes of a message
    #[arg(long, value_name = "BYTES", default_value_t = 64, value_parser = value_parser!(u32).range(24..=64 << 20))]
    pub size: u32,
    /// Send text instead of binary messages (at least 48 bytes)
    #[arg(long)]
    pub text: bool,
    /// Client threads [default: half of the processors, more where one cannot hold all]
    #[arg(long, value_name = "N", value_parser = value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Handshakes under way at a time
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = value_parser!(u32).range(1..=100_000))]
    pub handshakes: u32,
    /// Connections per source address; on loopback further ones come from 127.0.1.1 and so on
    #[arg(long, value_name = "N", default_value_t = 9_000, value_parser = value_parser!(u32).range(1..=28_000))]
    pub per_address: u32,
    /// Process id of the server: adds what it costs (with its children)
    #[arg(long, value_name = "PID", value_parser = value_parser!(u32).range(1..))]
    pub pid: Option<u32>,
    /// Seconds without any delivery after which what is missing counts as lost
    #[arg(long, value_name = "S", default_value_t = 5.0, value_parser = seconds)]
    pub patience: f64,
    /// Write the result as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the result as a page with plots
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// No line of progress
    #[arg(long)]
    pub quiet: bool,
}

impl Common {
    /// What cannot be said of one argument alone.
    ///
    /// # Errors
    /// A sentence about what does not fit.
    pub fn check(&self) -> Result<(), String> {
        let min = Shape::bytes_min(self.text);
        if (self.size as usize) < min {
            return Err(format!(
                "--size {} is too small: a text message carries {min} characters to check it by",
                self.size
            ));
        }
        if self.topics > 1 && !self.url.has_topic() {
            return Err(format!(
                "--topics {} needs {{topic}} in the address, as ws://127.0.0.1:8000/bench-{{topic}}",
                self.topics
            ));
        }
        Ok(())
    }

    pub fn cast(&self, subscribers: u32) -> Cast {
        Cast {
            url: self.url.clone(),
            subscribers,
            publishers_per_topic: self.publishers,
            topics: self.topics,
            others: 0,
            others_apart: false,
            shape: Shape {
                text: self.text,
                bytes: self.size as usize,
            },
            threads: self.threads.map(usize::from),
            in_flight_max: self.handshakes as usize,
            per_address: self.per_address,
            pid: self.pid,
        }
    }
}

#[derive(Debug, Args)]
pub struct Fanout {
    #[command(flatten)]
    pub common: Common,
    /// Subscribers in all
    #[arg(long, short = 'n', value_name = "N", default_value_t = 1000, value_parser = value_parser!(u32).range(1..=10_000_000))]
    pub subscribers: u32,
    /// Messages per second of all publishers together [default: 100]
    #[arg(long, value_name = "PER_S", value_parser = rate, conflicts_with = "window")]
    pub rate: Option<f64>,
    /// Instead of a rate: messages under way per publisher
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..=1_000_000))]
    pub window: Option<u64>,
    /// Seconds that are measured
    #[arg(long, value_name = "S", default_value_t = 10.0, value_parser = seconds)]
    pub seconds: f64,
    /// Seconds before that
    #[arg(long, value_name = "S", default_value_t = 1.0, value_parser = seconds)]
    pub warmup: f64,
}

#[derive(Debug, Args)]
pub struct Idle {
    #[command(flatten)]
    pub common: Common,
    /// Connections to hold
    #[arg(long, short = 'n', value_name = "N", default_value_t = 10_000, value_parser = value_parser!(u32).range(1..=10_000_000))]
    pub connections: u32,
    /// Seconds of doing nothing
    #[arg(long, value_name = "S", default_value_t = 3.0, value_parser = seconds)]
    pub seconds: f64,
    /// Messages that then reach everybody, one after the other
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = value_parser!(u32).range(0..=100_000))]
    pub messages: u32,
}

#[derive(Debug, Args)]
pub struct Storm {
    #[command(flatten)]
    pub common: Common,
    /// Clients that drop and return
    #[arg(long, short = 'n', value_name = "N", default_value_t = 10_000, value_parser = value_parser!(u32).range(1..=10_000_000))]
    pub clients: u32,
    /// Subscribers of the live topic
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = value_parser!(u32).range(1..=1_000_000))]
    pub live: u32,
    /// Messages per second on the live topic
    #[arg(long, value_name = "PER_S", default_value_t = 100.0, value_parser = rate)]
    pub rate: f64,
    /// Quiet seconds to compare with
    #[arg(long, value_name = "S", default_value_t = 5.0, value_parser = seconds)]
    pub seconds: f64,
    /// How often they return
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = value_parser!(u32).range(1..=1000))]
    pub storms: u32,
}

#[derive(Debug, Args)]
pub struct Slow {
    #[command(flatten)]
    pub common: Common,
    /// Subscribers in all
    #[arg(long, short = 'n', value_name = "N", default_value_t = 1000, value_parser = value_parser!(u32).range(2..=10_000_000))]
    pub subscribers: u32,
    /// Percent of them that stall
    #[arg(long, value_name = "PERCENT", default_value_t = 10.0, value_parser = percent)]
    pub stalled: f64,
    /// Messages per second of all publishers together
    #[arg(long, value_name = "PER_S", default_value_t = 100.0, value_parser = rate)]
    pub rate: f64,
    /// Seconds before, and again while they stall
    #[arg(long, value_name = "S", default_value_t = 10.0, value_parser = seconds)]
    pub seconds: f64,
}

#[derive(Debug, Args)]
pub struct Soak {
    #[command(flatten)]
    pub common: Common,
    /// Subscribers in all
    #[arg(long, short = 'n', value_name = "N", default_value_t = 1000, value_parser = value_parser!(u32).range(1..=10_000_000))]
    pub subscribers: u32,
    /// Messages per second of all publishers together
    #[arg(long, value_name = "PER_S", default_value_t = 50.0, value_parser = rate)]
    pub rate: f64,
    /// Subscribers that leave and return each second
    #[arg(long, value_name = "PER_S", default_value_t = 50.0, value_parser = rate)]
    pub churn: f64,
    /// How long
    #[arg(long, value_name = "S", default_value_t = 3600.0, value_parser = seconds)]
    pub seconds: f64,
}

#[derive(Debug, Args)]
pub struct Ramp {
    #[command(flatten)]
    pub common: Common,
    /// Subscribers in all
    #[arg(long, short = 'n', value_name = "N", default_value_t = 1000, value_parser = value_parser!(u32).range(1..=10_000_000))]
    pub subscribers: u32,
    /// The bound of the 99th percentile, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 50.0, value_parser = rate)]
    pub p99_ms: f64,
    /// Messages per second to begin with
    #[arg(long, value_name = "PER_S", default_value_t = 10.0, value_parser = rate)]
    pub from: f64,
    /// Seconds of each step
    #[arg(long, value_name = "S", default_value_t = 3.0, value_parser = seconds)]
    pub seconds: f64,
    /// Steps between the last rate that held and the first that did not
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = value_parser!(u32).range(0..=20))]
    pub refine: u32,
}

fn number(text: &str, min: f64, max: f64) -> Result<f64, String> {
    let number: f64 = text
        .parse()
        .map_err(|_| "this is not a number".to_string())?;
    if (min..=max).contains(&number) {
        Ok(number)
    } else {
        Err(format!("it must be between {min} and {max}"))
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    number(text, 0.0, 1e7)
}

fn rate(text: &str) -> Result<f64, String> {
    number(text, 0.001, 1e8)
}

fn percent(text: &str) -> Result<f64, String> {
    number(text, 0.0, 99.9)
}
