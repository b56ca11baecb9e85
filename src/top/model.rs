//! What `GET /overview` answers, as far as it is shown.

use serde::Deserialize;

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Overview {
    pub(super) version: String,
    pub(super) state: String,
    pub(super) unix_ms: u64,
    pub(super) uptime_ms: u64,
    pub(super) recent_ms: u64,
    pub(super) traffic: Traffic,
    pub(super) connections: Connections,
    pub(super) lag: Lag,
    pub(super) cores: Vec<Core>,
    pub(super) process: Process,
    pub(super) topics: Topics,
    pub(super) slowest: Vec<Slow>,
    pub(super) limits: Vec<Limit>,
    pub(super) closes: Vec<Trouble>,
    pub(super) rejects: Vec<Trouble>,
    pub(super) denials: Vec<Trouble>,
    pub(super) post_refusals: Vec<Trouble>,
    pub(super) warnings: Vec<Warning>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Traffic {
    pub(super) messages_in: Rate,
    pub(super) messages_posted: Rate,
    pub(super) deliveries: Rate,
    pub(super) bytes_out: Rate,
    pub(super) sends: Rate,
    pub(super) handshakes: Rate,
}

/// Unknown in the first answer.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct Rate {
    pub(super) per_s: Option<f64>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Connections {
    pub(super) open: u64,
    pub(super) handshakes: u64,
    pub(super) stalled: u64,
    pub(super) users: u64,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Lag {
    pub(super) bytes: u64,
    pub(super) bytes_max: u64,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Core {
    pub(super) core: u64,
    pub(super) load: Option<f64>,
    pub(super) turn_age_ms: u64,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Process {
    pub(super) load: Option<f64>,
    pub(super) resident_bytes: Option<u64>,
    pub(super) log_bytes: u64,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Topics {
    pub(super) count: u64,
    pub(super) shown: Vec<Topic>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Topic {
    pub(super) name: String,
    pub(super) messages_per_s: Option<f64>,
    pub(super) bytes_per_s: Option<f64>,
    pub(super) subscribers: u64,
    pub(super) offset: u64,
    pub(super) log_bytes: u64,
    pub(super) lag_bytes: u64,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Slow {
    pub(super) address: String,
    pub(super) core: u64,
    pub(super) dialect: String,
    pub(super) tls: bool,
    pub(super) user: Option<String>,
    pub(super) topic: Option<String>,
    pub(super) subscriptions: u64,
    pub(super) lag_bytes: u64,
    pub(super) stalled_ms: u64,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Limit {
    pub(super) name: String,
    pub(super) what: String,
    pub(super) used: u64,
    pub(super) max: u64,
    pub(super) unit: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Trouble {
    pub(super) reason: String,
    pub(super) total: u64,
    pub(super) recent: u64,
    pub(super) says: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Warning {
    pub(super) level: String,
    pub(super) says: String,
    pub(super) next: String,
    pub(super) doc: String,
}

impl Slow {
    /// Whether a filter, in lower case, finds it.
    pub(super) fn matches(&self, filter: &str) -> bool {
        let texts = [
            Some(&self.address),
            Some(&self.dialect),
            self.user.as_ref(),
            self.topic.as_ref(),
        ];
        let mut texts = texts.into_iter().flatten();
        filter.is_empty() || texts.any(|text| text.to_lowercase().contains(filter))
    }
}

impl Limit {
    /// How much of it is used.
    pub(super) fn part(&self) -> f64 {
        self.used as f64 / self.max.max(1) as f64
    }
}
