//! `GET /overview`: what people look at who run the daemon, in one answer: rates, topics by
//! rate, the slowest connections, cores, limits near their end, and what was refused or closed.
//! `fanfare top` and the dashboard show it.
//!
//! What it costs is bounded, however many ask: a sample is taken at most each [`SAMPLE_MIN`], and
//! shared by all. Called by `routes`; samples are taken by `sampling`, warnings made by `warnings`.

mod cores;
mod limits;
mod recent;
mod sampling;
mod troubles;
mod warnings;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

use self::cores::Core;
use self::limits::Limit;
use self::recent::Recent;
use self::sampling::{Rate, Sample, TopicRow};
use self::troubles::{Trouble, Troubles};
use self::warnings::Warning;
use super::reply::{Json, Refusal};
use crate::hub::{Hub, SLOWEST_MAX, Slow};

/// The least time between two samples.
const SAMPLE_MIN: Duration = Duration::from_millis(500);
/// When nobody has asked for so long, samples are forgotten, and rates begin anew.
const FORGET: Duration = Duration::from_secs(60);
/// Topics in one answer, unless the request says otherwise, and at most.
const TOPICS: usize = 20;
const TOPICS_MAX: usize = 200;
/// Slow connections in one answer, unless the request says otherwise.
const CONNECTIONS: usize = 20;

/// Looks at the daemon for all who ask.
pub(super) struct Overview {
    hub: Arc<Hub>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    sample: Option<Sample>,
    recent: Recent,
    asked: Option<Instant>,
    /// Something waits to forget all this.
    is_to_be_forgotten: bool,
}

impl Seen {
    /// Lets go of all, unless somebody has asked not long ago: then when to try again.
    fn forget(&mut self, now: Instant) -> Option<Instant> {
        let later = self.asked.map(|asked| asked + FORGET);
        let later = later.filter(|later| *later > now);
        if later.is_none() {
            *self = Seen::default();
        }
        later
    }
}

/// What is wanted of it.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Wanted {
    topics: usize,
    by: By,
    /// In the names of topics.
    filter: String,
    connections: usize,
}

impl Default for Wanted {
    fn default() -> Self {
        Wanted {
            topics: TOPICS,
            by: By::Messages,
            filter: String::new(),
            connections: CONNECTIONS,
        }
    }
}

/// Which topics come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum By {
    Messages,
    Bytes,
    Subscribers,
    Log,
    Lag,
    Name,
}

#[derive(Serialize)]
struct Shown {
    version: &'static str,
    state: &'static str,
    unix_ms: u64,
    uptime_ms: u64,
    /// What rates are means over: the time since the sample before, if there was one.
    window_ms: Option<u64>,
    /// How far `recent` goes back.
    recent_ms: u64,
    traffic: BTreeMap<&'static str, Rate>,
    connections: Connections,
    lag: Lag,
    cores: Vec<Core>,
    process: Process,
    topics: Topics,
    slowest: Vec<SlowShown>,
    limits: Vec<Limit>,
    closes: Vec<Trouble>,
    rejects: Vec<Trouble>,
    denials: Vec<Trouble>,
    post_refusals: Vec<Trouble>,
    warnings: Vec<Warning>,
}

#[derive(Serialize)]
struct Connections {
    open: u64,
    handshakes: usize,
    stalled: u64,
    users: usize,
}

#[derive(Serialize)]
struct Lag {
    bytes: u64,
    bytes_max: usize,
}

#[derive(Serialize)]
struct Process {
    load: Option<f64>,
    resident_bytes: Option<u64>,
    open_fds: Option<u64>,
    open_fds_max: Option<u64>,
    log_bytes: u64,
}

#[derive(Serialize)]
struct Topics {
    count: usize,
    shown: Vec<TopicShown>,
}

#[derive(Serialize)]
struct TopicShown {
    name: Box<str>,
    messages_per_s: Option<f64>,
    bytes_per_s: Option<f64>,
    subscribers: u64,
    offset: u64,
    log_bytes: u64,
    lag_bytes: u64,
}

#[derive(Serialize)]
struct SlowShown {
    address: String,
    core: usize,
    dialect: &'static str,
    tls: bool,
    user: Option<Box<str>>,
    topic: Option<Box<str>>,
    subscriptions: usize,
    lag_bytes: u64,
    stalled_ms: u64,
}

/// `GET /overview?topics=&by=&filter=&connections=`
pub(super) async fn show(
    State(overview): State<Arc<Overview>>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<impl IntoResponse, Refusal> {
    match wanted {
        Ok(Query(wanted)) if wanted.topics <= TOPICS_MAX && wanted.connections <= SLOWEST_MAX => {
            Ok(Json(overview.look(&wanted, Instant::now()).await))
        }
        _ => {
            let sentence = "the query takes topics (0 to 200), by (messages, bytes, subscribers, \
                            log, lag or name), filter and connections (0 to 32), each once";
            Err(Refusal::new(StatusCode::BAD_REQUEST, sentence))
        }
    }
}

impl Overview {
    pub(super) fn new(hub: Arc<Hub>) -> Self {
        Overview {
            hub,
            seen: Mutex::default(),
        }
    }

    async fn look(self: &Arc<Self>, wanted: &Wanted, now: Instant) -> Shown {
        // Who asks meanwhile is given the same sample.
        let mut seen = self.seen.lock().await;
        seen.asked = Some(now);
        let is_fresh = |sample: &Sample| now.saturating_duration_since(sample.taken) < SAMPLE_MIN;
        if !seen.sample.as_ref().is_some_and(is_fresh) {
            // The sample before stays until there is another: who asks may go in between, and
            // all that is under way with them.
            let sample = Sample::take(&self.hub, seen.sample.as_ref(), now).await;
            seen.recent.note(sample.taken, &sample.troubles);
            seen.sample = Some(sample);
        }
        let sample = seen.sample.as_ref().expect("it was just seen to");
        let shown = self.shown(sample, &seen.recent, wanted);
        if !std::mem::replace(&mut seen.is_to_be_forgotten, true) {
            tokio::spawn(self.clone().forget(now + FORGET));
        }
        shown
    }

    /// Lets go of what was seen, once nobody has asked for a while.
    async fn forget(self: Arc<Self>, mut at: Instant) {
        loop {
            sleep_until(at).await;
            match self.seen.lock().await.forget(Instant::now()) {
                Some(later) => at = later,
                None => return,
            }
        }
    }

    fn shown(&self, sample: &Sample, recent: &Recent, wanted: &Wanted) -> Shown {
        let hub = &*self.hub;
        let slowest = hub.slowest().look(hub.now_ms());
        let cores = cores::read(hub, &sample.core_loads);
        let limits = limits::read(hub, &sample.process);
        let troubles = Troubles::new(hub, &sample.troubles, recent);
        let warnings = warnings::make(hub, &cores, &limits, &troubles);
        let count = |figure: fn(&Core) -> u64| cores.iter().map(figure).sum();
        Shown {
            version: env!("CARGO_PKG_VERSION"),
            state: state(hub),
            unix_ms: hub.unix_ms(hub.now_ms()),
            uptime_ms: hub.uptime_ms(),
            window_ms: sample.window_ms,
            recent_ms: recent.reach_ms(),
            traffic: sample.traffic.iter().copied().collect(),
            connections: Connections {
                open: count(|core| core.connections),
                handshakes: hub.admission().handshakes(),
                stalled: count(|core| core.stalled),
                users: hub.users().count(),
            },
            lag: Lag {
                bytes: cores.iter().map(|core| core.lag_bytes).max().unwrap_or(0),
                bytes_max: hub.settings().lag_bytes_max,
            },
            process: Process {
                load: sample.load,
                resident_bytes: sample.process.resident_bytes,
                open_fds: sample.process.open_fds,
                open_fds_max: sample.process.open_fds_max,
                log_bytes: hub.log_bytes(),
            },
            topics: Topics {
                count: sample.topics.len(),
                shown: topics(&sample.topics, &slowest, wanted),
            },
            slowest: slowest
                .into_iter()
                .take(wanted.connections)
                .map(SlowShown::from)
                .collect(),
            closes: troubles.closes,
            rejects: troubles.rejects,
            denials: troubles.denials,
            post_refusals: troubles.post_refusals,
            cores,
            limits,
            warnings,
        }
    }
}

fn state(hub: &Hub) -> &'static str {
    if hub.has_parted() {
        "handed_over"
    } else if hub.is_stopping() {
        "stopping"
    } else if hub.is_ready() {
        "ready"
    } else {
        "starting"
    }
}

/// The first of those whose names hold the filter.
fn topics(all: &[TopicRow], slowest: &[(usize, Slow)], wanted: &Wanted) -> Vec<TopicShown> {
    let mut lags: BTreeMap<&str, u64> = BTreeMap::new();
    for (_, slow) in slowest {
        if let Some(topic) = &slow.topic {
            let lag = lags.entry(topic).or_default();
            *lag = (*lag).max(slow.lag_bytes);
        }
    }
    let lag = |row: &TopicRow| lags.get(&*row.name).copied().unwrap_or(0);
    let filter = wanted.filter.to_ascii_lowercase();
    let holds =
        |row: &&TopicRow| filter.is_empty() || row.name.to_ascii_lowercase().contains(&filter);
    let mut rows: Vec<&TopicRow> = all.iter().filter(holds).collect();
    let order = |a: &&TopicRow, b: &&TopicRow| {
        let by = match wanted.by {
            By::Messages => rate(b.messages_per_s).total_cmp(&rate(a.messages_per_s)),
            By::Bytes => rate(b.bytes_per_s).total_cmp(&rate(a.bytes_per_s)),
            By::Subscribers => b.summary.subscribers.cmp(&a.summary.subscribers),
            By::Log => b.summary.log_bytes.cmp(&a.summary.log_bytes),
            By::Lag => lag(b).cmp(&lag(a)),
            By::Name => std::cmp::Ordering::Equal,
        };
        by.then_with(|| a.name.cmp(&b.name))
    };
    if rows.len() > wanted.topics {
        if wanted.topics > 0 {
            rows.select_nth_unstable_by(wanted.topics - 1, order);
        }
        rows.truncate(wanted.topics);
    }
    rows.sort_unstable_by(order);
    let shown = rows.into_iter().map(|row| TopicShown {
        name: (*row.name).into(),
        messages_per_s: row.messages_per_s,
        bytes_per_s: row.bytes_per_s,
        subscribers: row.summary.subscribers,
        offset: row.summary.offset,
        log_bytes: row.summary.log_bytes,
        lag_bytes: lag(row),
    });
    shown.collect()
}

/// A topic whose rate is not known yet stands behind those whose rate is.
fn rate(per_s: Option<f64>) -> f64 {
    per_s.unwrap_or(-1.0)
}

impl From<(usize, Slow)> for SlowShown {
    fn from((core, slow): (usize, Slow)) -> Self {
        SlowShown {
            address: slow.address.to_string(),
            core,
            dialect: slow.dialect.name(),
            tls: slow.tls,
            user: slow.user,
            topic: slow.topic.as_deref().map(Into::into),
            subscriptions: slow.subscriptions,
            lag_bytes: slow.lag_bytes,
            stalled_ms: slow.stalled_ms,
        }
    }
}

#[cfg(test)]
mod tests;
