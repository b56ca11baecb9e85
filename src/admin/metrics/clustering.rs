//! Figures of the cluster. Where there is none, those of its state have no sample.

use std::sync::atomic::{AtomicU64, Ordering};

use super::family::{Family, Sample, Unit, Values, family, plain};
use super::summing::gauge;
use crate::hub::{ClusterFigures, Hub};

pub(super) fn read(hub: &Hub) -> Vec<Family> {
    let figures = hub.cluster_figures();
    let mut families = present(hub, figures);
    families.extend(publishing(figures));
    families.extend(hearing(figures));
    families.extend(trouble(figures));
    families
}

fn get(figure: &AtomicU64) -> u64 {
    figure.load(Ordering::Relaxed)
}

fn count(figure: &AtomicU64) -> Values {
    Values::Counters(vec![plain(get(figure))])
}

/// What there is at the moment.
fn present(hub: &Hub, figures: &ClusterFigures) -> Vec<Family> {
    let link = &figures.link;
    let connected = figures.is_connected();
    let connected = connected.map(|is_connected| plain(u64::from(is_connected)));
    vec![
        family(
            "cluster_connected",
            "1 while the cluster's NATS servers store and give messages, 0 while they are away; there only if there is a cluster",
            Values::Gauges(connected.into_iter().collect()),
        ),
        family(
            "cluster_nodes",
            "Other nodes of the cluster that are known",
            gauge(get(&link.nodes)),
        ),
        family(
            "cluster_topics",
            "Topics of the cluster that are followed, as they have readers here",
            gauge(get(&link.topics)),
        ),
        family(
            "cluster_proposed",
            "Size of the messages that wait to be stored by the cluster",
            gauge(get(&link.proposed_bytes)),
        )
        .in_unit(Unit::Bytes),
        family(
            "cluster_proposed_bytes_max",
            "The setting: size of the messages that wait to be stored by the cluster",
            gauge(hub.settings().cluster_proposed_bytes_max as u64),
        ),
    ]
}

fn publishing(figures: &ClusterFigures) -> Vec<Family> {
    let link = &figures.link;
    let failures = [
        ("away", &link.failed_away),
        ("unknown", &link.failed_unknown),
        ("overtaken", &link.failed_overtaken),
        ("full", &link.failed_full),
        ("too_large", &link.failed_too_large),
        ("refused", &link.failed_refused),
    ];
    let failures = failures.map(|(reason, figure)| Sample {
        label: Some(("reason", reason.to_owned())),
        value: get(figure),
    });
    vec![
        family(
            "cluster_sent_messages",
            "Messages sent to the cluster to be stored, those sent again included",
            count(&link.sent),
        ),
        family(
            "cluster_retries",
            "Messages sent to the cluster again, or asked about, as no answer came",
            count(&link.retries),
        ),
        family(
            "cluster_stored_messages",
            "Messages published here that the cluster has stored",
            count(&link.stored),
        ),
        family(
            "cluster_duplicates",
            "Messages published here that the cluster had before, by the publisher's key",
            count(&link.duplicates),
        ),
        family(
            "cluster_failures",
            "Messages published here that the cluster has not stored, or may not have, by reason",
            Values::Counters(failures.into()),
        ),
    ]
}

fn hearing(figures: &ClusterFigures) -> Vec<Family> {
    let link = &figures.link;
    vec![
        family(
            "cluster_heard_messages",
            "Messages of the cluster that were given on in the order of their topics",
            count(&link.committed),
        ),
        family(
            "cluster_written_messages",
            "Messages of the cluster that were written into logs",
            count(&figures.committed),
        ),
        family(
            "cluster_unwanted_messages",
            "Messages of the cluster that were heard beside others, of topics without readers here",
            count(&link.unwanted),
        ),
        family(
            "cluster_repeated_messages",
            "Messages of the cluster that came again and were let go",
            count(&link.repeated),
        ),
        family(
            "cluster_fetched_messages",
            "Messages of the cluster that were missing and fetched before those behind them were given on",
            count(&link.fetched),
        ),
        family(
            "cluster_history_questions",
            "Questions for stored history that were put to the cluster",
            count(&link.history_questions),
        ),
        family(
            "cluster_tail_checks",
            "Questions whether the newest message of a topic has been heard",
            count(&link.tail_checks),
        ),
        family(
            "cluster_tail_misses",
            "Topics whose newest messages had not been heard, and were fetched",
            count(&link.tail_misses),
        ),
        family(
            "cluster_gaps",
            "Ranges of messages that the cluster may have had and has no more, which readers were told of",
            count(&link.gaps),
        ),
        family(
            "cluster_stalls",
            "Topics of the cluster that were left for a while, as their logs had no room",
            count(&figures.stalls),
        ),
        family(
            "cluster_topics_begun_anew",
            "Topics of the cluster whose history became another one, so that their readers had to begin anew",
            count(&figures.ended),
        ),
    ]
}

fn trouble(figures: &ClusterFigures) -> Vec<Family> {
    let link = &figures.link;
    vec![
        family(
            "cluster_connects",
            "Times that a connection to the NATS servers was made",
            count(&link.connects),
        ),
        family(
            "cluster_disconnects",
            "Times that the connection to the NATS servers was lost",
            count(&link.disconnects),
        ),
        family(
            "cluster_refused_credentials",
            "Times that the NATS servers refused the credentials",
            count(&link.refused_credentials),
        ),
        family(
            "cluster_silences",
            "Questions that the NATS servers did not answer within cluster.answer_ms_max",
            count(&link.silences),
        ),
        family(
            "cluster_slow_consumer_drops",
            "Times that messages of the cluster came faster than they were read, and were dropped on the way and fetched later",
            count(&link.slow_consumers),
        ),
        family(
            "cluster_replica_lags",
            "Answers of NATS servers that lacked what was stored, so that the stream's leader was asked",
            count(&link.replica_lags),
        ),
        family(
            "cluster_leader_changes",
            "Times that a stream of the cluster got another leader",
            count(&link.leader_changes),
        ),
        family(
            "cluster_epochs",
            "Times that a stream was made anew or had lost its newest messages, so that its history is another one",
            count(&link.epochs),
        ),
        family(
            "cluster_unreadable_messages",
            "Messages on the cluster's subjects that name no topic or no place in it",
            count(&link.unreadable),
        ),
        family(
            "cluster_forged_messages",
            "Messages of the cluster that claimed an origin or a user without a node's signature, and were taken without",
            count(&link.forged),
        ),
        family(
            "cluster_nodes_lost",
            "Nodes that were forgotten, as nothing was heard of them for 3 seconds",
            count(&link.nodes_lost),
        ),
    ]
}
