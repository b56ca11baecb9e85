//! What was refused, closed and put off, and why: counters by reason, in one order.

use serde::Serialize;

use super::recent::Recent;
use crate::config::Settings;
use crate::hub::metrics::{Counter, Metrics};
use crate::hub::{Hub, PostRefusal};
use crate::lines;
use crate::protocol::http::Reject;
use crate::protocol::reason::CloseReason;
use crate::protocol::rights::Action;

/// What happened for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Trouble {
    pub(super) reason: &'static str,
    total: u64,
    pub(super) recent: u64,
    says: String,
}

/// Everything of the kind that has happened at all, the most recent first.
pub(super) struct Troubles {
    pub(super) closes: Vec<Trouble>,
    pub(super) rejects: Vec<Trouble>,
    pub(super) denials: Vec<Trouble>,
    pub(super) post_refusals: Vec<Trouble>,
    /// Signs that something is short.
    pub(super) signs: Vec<Trouble>,
}

type Counted = fn(&Hub) -> u64;

/// Counters of which each says that something is short. For people, by the name of the figure
/// without what is around it.
const SIGNS: [(&str, Counted); 8] = [
    ("buffers_exhausted", |hub| {
        sum(hub, |m| &m.buffers_exhausted)
    }),
    ("accept_pauses", |hub| sum(hub, |m| &m.accept_pauses)),
    ("ring_refusals", |hub| sum(hub, |m| &m.refusals)),
    ("room_waits", |hub| sum(hub, |m| &m.room_waits)),
    ("publisher_pauses", |hub| sum(hub, |m| &m.pauses)),
    ("lag_skips", |hub| sum(hub, |m| &m.lag_skips)),
    ("joins_lost", |hub| sum(hub, |m| &m.joins_lost)),
    ("log_lines_dropped", |_| lines::dropped()),
];

fn sum(hub: &Hub, counter: fn(&Metrics) -> &Counter) -> u64 {
    let cores = hub.mailboxes().iter();
    cores.map(|core| counter(&core.metrics).get()).sum()
}

/// All counters: closes, rejects, denials, refusals of posts, signs.
pub(super) fn totals(hub: &Hub) -> Vec<u64> {
    let by_reason = |counters: fn(&Metrics) -> &[Counter]| {
        let cores = hub.mailboxes();
        let count = cores
            .first()
            .map_or(0, |core| counters(&core.metrics).len());
        (0..count).map(move |place| {
            let counts = cores
                .iter()
                .map(|core| counters(&core.metrics)[place].get());
            counts.sum::<u64>()
        })
    };
    let posts = PostRefusal::ALL.map(|refusal| hub.posts().refusals(refusal));
    by_reason(|m| &m.closes)
        .chain(by_reason(|m| &m.rejects))
        .chain(by_reason(|m| &m.denials))
        .chain(posts)
        .chain(SIGNS.map(|(_, read)| read(hub)))
        .collect()
}

impl Troubles {
    /// `totals` are as [`totals`] gave them.
    pub(super) fn new(hub: &Hub, totals: &[u64], recent: &Recent) -> Self {
        let mut places = totals.iter().copied().enumerate();
        let mut list = |names: Vec<(&'static str, String)>| {
            let all = names.into_iter().zip(&mut places);
            let all = all.map(|((reason, says), (place, total))| Trouble {
                reason,
                total,
                recent: recent.growth(place),
                says,
            });
            let mut happened: Vec<_> = all.filter(|trouble| trouble.total > 0).collect();
            happened.sort_by_key(|trouble| std::cmp::Reverse((trouble.recent, trouble.total)));
            happened
        };
        let settings = hub.settings();
        let closes = CloseReason::all().map(|reason| (reason.name(), says_of_close(reason)));
        let rejects = Reject::ALL.iter();
        let rejects = rejects.map(|reject| (reject.name(), says_of_reject(*reject, settings)));
        let actions = Action::ALL.iter();
        let denials = actions.map(|action| {
            let says = format!(
                "neither rules nor a token allowed to {} it",
                action.phrase()
            );
            (action.name(), says)
        });
        let posts = PostRefusal::ALL.iter();
        let posts = posts.map(|refusal| (refusal.name(), says_of_post(*refusal).to_owned()));
        let signs = SIGNS.iter().map(|(name, _)| (*name, String::new()));
        // In the order of the totals.
        Troubles {
            closes: list(closes.collect()),
            rejects: list(rejects.collect()),
            denials: list(denials.collect()),
            post_refusals: list(posts.collect()),
            signs: list(signs.collect()),
        }
    }
}

fn says_of_close(reason: CloseReason) -> String {
    match reason {
        CloseReason::Peer => "the client closed".into(),
        CloseReason::Gone => "the client left without a close".into(),
        CloseReason::Reset => "the connection broke off".into(),
        reason => reason.phrase(),
    }
}

/// The sentence that is answered, where that does not depend on what was asked.
fn says_of_reject(reject: Reject, settings: &Settings) -> String {
    match reject {
        Reject::HeadBytes { .. } => Reject::HeadBytes {
            max: settings.head_bytes_max,
        }
        .to_string(),
        Reject::HeadFields { .. } => Reject::HeadFields {
            max: settings.head_fields_max,
        }
        .to_string(),
        Reject::EventTopics { .. } => Reject::EventTopics {
            max: settings.topics_per_connection_max,
        }
        .to_string(),
        Reject::Reserved { .. } => "the name is kept for other protocols".into(),
        Reject::QueryKey { .. } => "the query has a key that nobody here knows".into(),
        Reject::TokenMissing { .. } => "without a token this is not allowed".into(),
        Reject::Denied { .. } => "neither rules nor the token allow it".into(),
        reject => reject.to_string(),
    }
}

fn says_of_post(refusal: PostRefusal) -> &'static str {
    match refusal {
        PostRefusal::Room => "there was no room in time (publish_wait_ms_max)",
        PostRefusal::Denied => "neither rules nor the token allow it",
        PostRefusal::Acks => "as many acks are waited for as may be (delivery_acks_max)",
        PostRefusal::BatchLines => "the batch has too many lines (batch_lines_max)",
        PostRefusal::BatchBytes => "the batch has too many bytes (batch_bytes_max)",
        PostRefusal::ApiItems => "the call names too many (api_items_max)",
        PostRefusal::KeyReused => "the Idempotency-Key came with another request before",
        PostRefusal::KeyUnderWay => "a request with the same key is under way",
        PostRefusal::KeysFull => "as many keys are under way as may be (idempotency_keys_max)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    #[test]
    fn each_reason_is_told_with_its_own_count() {
        let hub = Hub::new(Settings {
            cores: 2,
            ..Settings::default()
        })
        .unwrap();
        let mut recent = Recent::default();
        let begin = Instant::now();
        recent.note(begin, &totals(&hub));
        hub.mailbox(0).metrics.note_close(CloseReason::Lag);
        hub.mailbox(1).metrics.note_close(CloseReason::Lag);
        hub.mailbox(1).metrics.note_reject(Reject::Origin);
        hub.mailbox(1).metrics.lag_skips.add(3);
        hub.posts().note_refusal(PostRefusal::KeysFull);
        hub.mailbox(0).metrics.note_denial(Action::History);
        let now = totals(&hub);
        recent.note(begin + std::time::Duration::from_secs(2), &now);
        let troubles = Troubles::new(&hub, &now, &recent);
        let told = |list: &[Trouble]| -> Vec<_> {
            let all = list.iter();
            all.map(|t| (t.reason, t.total, t.recent)).collect()
        };
        assert_eq!(told(&troubles.closes), [("lag", 2, 2)]);
        assert_eq!(told(&troubles.rejects), [("origin", 1, 1)]);
        assert_eq!(told(&troubles.denials), [("history", 1, 1)]);
        assert_eq!(told(&troubles.post_refusals), [("idempotency_keys", 1, 1)]);
        assert_eq!(told(&troubles.signs), [("lag_skips", 3, 3)]);
        assert!(troubles.closes[0].says.starts_with("lag: "));
    }

    #[test]
    fn sentences_name_no_limit_of_zero() {
        let settings = Settings::default();
        for reject in Reject::ALL {
            let says = says_of_reject(reject, &settings);
            assert!(!says.contains(" 0 ") && !says.is_empty(), "{says}");
        }
        for reason in CloseReason::all() {
            assert!(!says_of_close(reason).is_empty(), "{}", reason.name());
        }
    }
}
