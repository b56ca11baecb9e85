//! What one seed stands for: the settings, the faults, the number of players.

use fanfare::config::{Deflate, Keep, Keepalive, LagPolicy, Settings, Switch, TopicRule, Zerocopy};
use fanfare::protocol::rights::{Grant, Pattern};
use fastrand::Rng;
use serde_json::json;

use crate::kernel::Faults;
use crate::subscriber::app;

/// A core that looks at the clock later than this was kept from doing so. By so
/// much it may think that more time has passed.
pub(crate) const LATE_MS_MAX: u64 = 1000;

/// The longest pace of a topic.
pub(crate) const PACE_MS_MAX: u64 = 200;

/// The circumstances of one run.
#[derive(Debug, Clone)]
pub struct Plan {
    pub settings: Settings,
    pub faults: Faults,
    pub topics: usize,
    /// Clients follow many of them.
    pub many: bool,
    /// There are clients of Centrifugo's protocol among them.
    pub sessions: bool,
    /// There is hardly more memory for logs than they must have.
    pub tight: bool,
    /// A cluster decides on the messages; it may refuse some.
    pub shared: bool,
    pub refusing: bool,
    /// Slots of each core.
    pub slots: u32,
    /// Clients that are connected at a time, and all in all.
    pub clients_max: usize,
    pub connects_max: usize,
    pub steps: usize,
    /// In 256ths: clients that may do wrong, and that stop reading for long.
    pub rogues: u8,
    pub sluggards: u8,
    /// The clock moves by up to this much at a time.
    pub leap_ms_max: u64,
}

fn pick<T: Copy>(rng: &mut Rng, of: &[T]) -> T {
    of[rng.usize(..of.len())]
}

/// The rule of topics that have a pace.
pub(crate) fn paced(pattern: &str, pace_ms: u64) -> TopicRule {
    let rule = json!({ "match": pattern, "pace_ms": pace_ms });
    serde_json::from_value(rule).expect("a good rule")
}

impl Plan {
    /// The circumstances that a seed stands for; those of `sessions` are drawn from another
    /// chance.
    pub fn draw(rng: &mut Rng, sessions: &mut Rng) -> Plan {
        let mut plan = Plan::draw_without_sessions(rng);
        if sessions.u8(..) < 90 {
            plan.sessions = true;
            let settings = &mut plan.settings;
            settings.presence = pick(sessions, &[Switch::On, Switch::Off]);
            settings.topics_per_connection_max = pick(sessions, &[2, 128]);
            settings.handshake_ms_max = pick(sessions, &[800, 5_000]);
            settings.publish_wait_ms_max = pick(sessions, &[0, 1_000, 5_000]);
            // There are twice as many views, and what they hold is up to twice as long.
            settings.log_bytes_max *= 4;
            settings.log_bytes_total_max *= 4;
        }
        plan
    }

    /// There may be readers of Server-Sent Events.
    pub(crate) fn draw_readers(&mut self, rng: &mut Rng) -> bool {
        let come = rng.u8(..) < 90;
        if come {
            // Two more views, and what they hold is up to twice as long.
            self.settings.log_bytes_max *= 3;
            self.settings.log_bytes_total_max *= 3;
        }
        come
    }

    /// There may be clients of an app.
    pub(crate) fn draw_subscribers(&mut self, rng: &mut Rng) -> bool {
        let come = rng.u8(..) < 90;
        if come {
            self.settings.apps = vec![app()];
            // Other clients may do with its public channels what they may with any topic.
            self.settings.anonymous = vec![Grant {
                pattern: Pattern::new("**").expect("a good one"),
                subscribe: true,
                publish: true,
                presence: true,
                history: true,
            }];
            // Three more views, and what they hold is up to twice as long.
            self.settings.log_bytes_max *= 4;
            self.settings.log_bytes_total_max *= 4;
        }
        come
    }

    /// A topic may have a pace, or all may.
    pub(crate) fn draw_pace(&mut self, rng: &mut Rng) {
        let pace_ms = pick(rng, &[1, 20, PACE_MS_MAX]);
        match rng.u8(..) {
            0..40 => self.settings.topics = vec![paced("topic-0", pace_ms)],
            40..70 => self.settings.pace_ms = pace_ms,
            70.. => {}
        }
    }

    /// The queues that cores are told by may be short, and the kernel may see to it that silent
    /// peers live.
    pub(crate) fn draw_kernel(&mut self, rng: &mut Rng) {
        self.faults.completions_max = pick(rng, &[usize::MAX, usize::MAX, 64, 3, 1]);
        self.settings.keepalive = pick(rng, &[Keepalive::Ping, Keepalive::Ping, Keepalive::Kernel]);
    }

    /// Topics may be kept on disk, and memory lets go of what is stored: then nothing that was
    /// published is ever missing.
    pub(crate) fn draw_store(&mut self, rng: &mut Rng) -> bool {
        let is_stored = rng.u8(..) < 60 && !self.tight;
        if is_stored {
            let settings = &mut self.settings;
            settings.store = Some("store".into());
            settings.keep = Keep::Disk;
            settings.retain_messages_max = 1 << 40;
            settings.retain_bytes_max = 1 << 40;
            settings.retain_ms_max = 1 << 40;
            settings.store_read_bytes_max = 1 << 30;
        }
        is_stored
    }

    /// A cluster may decide on all messages: then nothing that was published is ever missing
    /// either.
    pub(crate) fn draw_cluster(&mut self, rng: &mut Rng) -> bool {
        self.shared = rng.u8(..) < 60 && !self.tight;
        if self.shared {
            self.refusing = rng.bool();
            let settings = &mut self.settings;
            settings.cluster_nats = vec!["nats://played".into()];
            settings.keep = Keep::Cluster;
            settings.retain_messages_max = 1 << 40;
            settings.retain_bytes_max = 1 << 40;
            settings.retain_ms_max = 1 << 40;
            settings.store_read_bytes_max = 1 << 30;
        }
        self.shared
    }

    fn draw_without_sessions(rng: &mut Rng) -> Plan {
        let calm = rng.u8(..) < 40;
        let level = |rng: &mut Rng, hard: u8| {
            if calm {
                0
            } else {
                pick(rng, &[0, hard / 4, hard])
            }
        };
        let faults = Faults {
            short_write: level(rng, 200),
            no_memory: level(rng, 40),
            dead: level(rng, 12),
            late: level(rng, 160),
            refused: level(rng, 120),
            disarm: level(rng, 60),
            unattached: level(rng, 30),
            copied: pick(rng, &[0, 128, 255]),
            requests_max: pick(rng, &[1, 2, 4, 16, 256]),
            completions_max: usize::MAX,
            buffers: pick(rng, &[1, 2, 8]),
            buffer_bytes: pick(rng, &[3, 7, 64, 512, 4096]),
        };
        let lag_bytes_max = pick(rng, &[1 << 10, 2 << 10, 8 << 10, 32 << 10]);
        // A few bytes at a time, long messages would take for ever.
        let longest = if faults.buffer_bytes == 3 { 2 } else { 4 };
        let message_bytes_max = pick(rng, &[200, 1 << 10, 4 << 10, 80 << 10][..longest]);
        let many = rng.u8(..) < 90;
        let topics = if many {
            rng.usize(2..=50)
        } else {
            rng.usize(1..=4)
        };
        let tight = rng.u8(..) < 60;
        let mut log_bytes_max = (lag_bytes_max + message_bytes_max) * 8 + (256 << 10);
        let mut log_bytes_total_max = log_bytes_max * topics.max(4) * 2;
        if tight {
            // Each format has the segment that is written to, and needs another one.
            let views = 8 * (message_bytes_max + 4096);
            log_bytes_max = views.max((lag_bytes_max + message_bytes_max) * 2 + (64 << 10));
            log_bytes_total_max = log_bytes_max * pick(rng, &[1, 2]) + topics * 8 * 2048;
        }
        let (ping_interval_ms, idle_ms_max) =
            pick(rng, &[(30_000, 120_000), (700, 2_500), (4_000, 2_500)]);
        let settings = Settings {
            cores: rng.usize(1..=3),
            connections_per_address_max: pick(rng, &[3, 1000]),
            idle_ms_max,
            ping_interval_ms,
            message_bytes_max,
            message_ms_max: pick(rng, &[60_000, 60_000, 2_000]),
            partial_bytes_max: pick(rng, &[message_bytes_max + 1024, 1 << 20]),
            inbound_messages_per_s_max: pick(rng, &[0, 0, 0, 5]),
            inbound_bytes_per_s_max: 0,
            topics_max: if many { 100 } else { pick(rng, &[2, 100]) },
            stall_ms_max: pick(rng, &[60_000, 60_000, 2_500]),
            log_bytes_max,
            log_bytes_total_max,
            lag_bytes_max,
            ahead_bytes_max: pick(rng, &[1 << 10, 4 << 10, 1 << 20]),
            lag_policy: pick(rng, &[LagPolicy::Close, LagPolicy::Skip, LagPolicy::Latest]),
            retain_messages_max: pick(rng, &[0, 3, 50, 1000]),
            retain_bytes_max: pick(rng, &[0, 500, 8 << 10, 64 << 10]),
            retain_ms_max: pick(rng, &[0, 50, 2_000, 300_000]),
            zerocopy: pick(rng, &[Zerocopy::Auto, Zerocopy::Always, Zerocopy::Never]),
            zerocopy_bytes_min: pick(rng, &[1, 300, 4 << 10]),
            deflate: pick(rng, &[Deflate::On, Deflate::Takeover, Deflate::Off]),
            deflate_bytes_min: pick(rng, &[0, 256]),
            drain_ms_max: pick(rng, &[0, 500, 5_000]),
            ..Settings::default()
        };
        let clients_max = rng.usize(2..=16);
        Plan {
            settings,
            faults,
            topics,
            many,
            sessions: false,
            tight,
            shared: false,
            refusing: false,
            slots: pick(rng, &[2, 6, 20]),
            clients_max,
            connects_max: clients_max * 3,
            steps: rng.usize(300..=3000),
            rogues: pick(rng, &[0, 60, 200]),
            sluggards: pick(rng, &[0, 60, 160]),
            leap_ms_max: pick(rng, &[2, 20, 300]),
        }
    }
}
