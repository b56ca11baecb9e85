//! Figures of what has gone wrong, or been refused.

use super::family::{Family, Sample, Values, family, plain};
use super::summing::{by_label, sum};
use crate::hub::metrics::{Counter, Metrics};
use crate::hub::{Hub, Lost, PostRefusal};
use crate::lines;
use crate::protocol::http::Reject;
use crate::protocol::reason::CloseReason;
use crate::protocol::rights::Action;

pub(super) fn read(hub: &Hub) -> Vec<Family> {
    let count = |counter: fn(&Metrics) -> &Counter| sum(hub, counter);
    let closes = CloseReason::all().map(|reason| reason.name());
    let rejects = Reject::ALL.iter().map(Reject::name);
    let actions = Action::ALL.iter().map(|action| action.name());
    let refusals = PostRefusal::ALL.map(|refusal| Sample {
        label: Some(("reason", refusal.name().to_owned())),
        value: hub.posts().refusals(refusal),
    });
    let lost = Lost::ALL.map(|lost| Sample {
        label: Some(("kind", lost.name().to_owned())),
        value: hub.losses().get(lost),
    });
    vec![
        family(
            "closes",
            "WebSocket connections that ended, by reason",
            by_label(hub, "reason", closes, |m| &m.closes),
        ),
        family(
            "rejects",
            "Requests that were refused, by reason",
            by_label(hub, "reason", rejects, |m| &m.rejects),
        ),
        family(
            "denials",
            "What rules and tokens did not allow, in openings and commands, by action",
            by_label(hub, "action", actions, |m| &m.denials),
        ),
        family(
            "idempotency_evictions",
            "Answers that were let go before their time, as there were idempotency_keys_max or 16 MiB",
            Values::Counters(vec![plain(hub.receipts_evicted())]),
        ),
        family(
            "post_refusals",
            "Messages and requests over HTTP that were refused, by reason",
            Values::Counters(refusals.into()),
        ),
        family(
            "not_taken_over",
            "What this process let go at its start, as it could not take it over from the one before, by kind",
            Values::Counters(lost.into()),
        ),
        family(
            "short_writes",
            "Sends of which the kernel took a part or nothing, as unsent_bytes_max was reached: the peer reads slowly",
            count(|m| &m.short_writes),
        ),
        family(
            "lag_skips",
            "Subscribers moved on behind the newest message, or to it, by the lag policy",
            count(|m| &m.lag_skips),
        ),
        family(
            "reliefs",
            "Subscribers dealt with by the lag policy as they kept the most memory while it was short",
            count(|m| &m.reliefs),
        ),
        family(
            "lag_missed_messages",
            "Messages that subscribers missed by that",
            count(|m| &m.lag_missed),
        ),
        family(
            "buffers_exhausted",
            "Receives that found no free buffer; more receive_buffers help",
            count(|m| &m.buffers_exhausted),
        ),
        family(
            "accept_pauses",
            "Times that a core left new connections waiting, as those in their handshake held all descriptors that they may; a higher limit of open files helps",
            count(|m| &m.accept_pauses),
        ),
        family(
            "log_lines_dropped",
            "Log lines that were dropped, as whoever reads the log was too slow or away",
            Values::Counters(vec![plain(lines::dropped())]),
        ),
        family(
            "ring_refusals",
            "Times that the kernel had no memory for a core's requests, which were made again later",
            count(|m| &m.refusals),
        ),
        family(
            "ring_overflows",
            "Times that more had happened on a core at once than its completion queue holds; the kernel keeps the rest and tells it next",
            count(|m| &m.overflows),
        ),
        family(
            "publisher_pauses",
            "Publishers that were ahead by ahead_bytes_max and read from no further for a while",
            count(|m| &m.pauses),
        ),
        family(
            "token_checks_aside",
            "Tokens whose check is slow, or which were too many for one turn of a core: helper threads checked them",
            count(|m| &m.checks_aside),
        ),
        family(
            "token_checks_postponed",
            "Times that a token had to come again, as token_checks_waiting_max others waited for a helper thread",
            count(|m| &m.checks_postponed),
        ),
        family(
            "room_waits",
            "Messages that waited for room, as readers kept what the log may hold",
            count(|m| &m.room_waits),
        ),
        family(
            "joins_lost",
            "Joins and leaves that nobody was told of, as there was no room in the log",
            count(|m| &m.joins_lost),
        ),
        family(
            "room_tries",
            "Times that one of them was encoded anew, as room had come in the view that had lacked it",
            count(|m| &m.room_tries),
        ),
        family(
            "read_uncompressed",
            "Subscribers sent uncompressed what was to be compressed, as there was no room to write it once more",
            count(|m| &m.read_uncompressed),
        ),
    ]
}
