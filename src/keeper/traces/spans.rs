//! What a trace is told as. Nothing in it is a token, a query or a payload.

use std::time::{Duration, Instant};

use crate::hub::{HandshakeOutcome, TracedHandshake, TracedMessage};
use crate::protocol::otlp::{Ids, Kind, Span};

/// A message: `publish`, from when it came to the last write, and in it `commit`, until it is in
/// its topic's log, and `deliver`, until it has been written to the sockets of all who followed
/// the topic, or nobody looks any longer.
pub(super) fn of_message(message: &TracedMessage, now: Instant) -> Vec<Span> {
    let TracedMessage {
        begun, delivery, ..
    } = message;
    let (is_finished, delivered) = (delivery.is_finished(), delivery.so_far());
    let committed = delivery.published().expect("it is followed as it was");
    let last = committed + Duration::from_micros(delivered.last_us.unwrap_or(0));
    let end = if is_finished { last } else { now };
    let [began_ns, committed_ns, end_ns] = [
        begun.began_ns(),
        begun.unix_ns(committed),
        begun.unix_ns(end),
    ];
    let whole = Ids {
        trace: begun.trace,
        span: new_span(),
        parent: begun.parent,
    };
    let part = || Ids {
        span: new_span(),
        parent: Some(whole.span),
        ..whole
    };
    let publish = Span::new("publish", Kind::Server, whole, (began_ns, end_ns))
        .with("messaging.system", "fanfare")
        .with("messaging.operation.name", "publish")
        .with("messaging.operation.type", "send")
        .with("messaging.destination.name", &**delivery.topic().name())
        .with("messaging.message.body.size", message.bytes)
        .with("fanfare.offset", message.offset)
        .with("fanfare.dialect", message.via);
    let commit = Span::new("commit", Kind::Internal, part(), (began_ns, committed_ns));
    let deliver = Span::new("deliver", Kind::Internal, part(), (committed_ns, end_ns))
        .with("fanfare.subscribers", delivered.subscribers)
        .with("fanfare.written", delivered.written)
        .with("fanfare.timed_out", !is_finished);
    vec![publish, commit, deliver]
}

/// A connection: from when it came to its answer.
pub(super) fn of_handshake(handshake: &TracedHandshake) -> Span {
    let TracedHandshake {
        begun,
        ended,
        core,
        in_ring,
        tls,
        outcome,
    } = handshake;
    let ids = Ids {
        trace: begun.trace,
        span: new_span(),
        parent: begun.parent,
    };
    let times = (begun.began_ns(), begun.unix_ns(*ended));
    let span = Span::new("handshake", Kind::Server, ids, times)
        .with("fanfare.core", *core as u64)
        .with("fanfare.in_ring", *in_ring)
        .with("fanfare.tls", *tls);
    match *outcome {
        HandshakeOutcome::Answered(name) => span.with("fanfare.outcome", name),
        HandshakeOutcome::Refused(reason) => span
            .with("fanfare.outcome", "refused")
            .with("error.type", reason),
    }
}

fn new_span() -> u64 {
    fastrand::u64(1..)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;
    use crate::hub::{Hub, Traced};
    use crate::protocol::topic::TopicName;
    use crate::protocol::trace_context::Parent;
    use crate::protocol::ws::Opcode;

    #[test]
    fn a_message_that_nobody_hears_has_its_last_write_when_it_is_in_the_log() {
        let hub = Hub::new(Settings::default()).unwrap();
        let mut noted = hub.traces().begin_to_export();
        let parent = Parent {
            trace: 5,
            span: 6,
            is_sampled: true,
        };
        let begun = hub.begin_trace(Some(parent));
        let topic = TopicName::new("news").unwrap();
        hub.publish_from(&topic, Opcode::Text, b"hush", None, None, begun)
            .unwrap();
        let Ok(Traced::Message(message)) = noted.try_recv() else {
            panic!("it is noted");
        };
        assert_eq!((hub.traces().under_way(), message.bytes), (1, 4));
        let told = of_message(&message, Instant::now() + Duration::from_secs(5));
        let committed_ns = message
            .begun
            .unix_ns(message.delivery.published().expect("it is"));
        let ids = Ids {
            trace: 5,
            span: 7,
            parent: Some(8),
        };
        let times = (committed_ns, committed_ns);
        let deliver = Span::new("deliver", Kind::Internal, ids, times)
            .with("fanfare.subscribers", 0_u64)
            .with("fanfare.written", 0_u64)
            .with("fanfare.timed_out", false);
        // What differs are the ids, which are drawn.
        let told = format!("{:?}", told[2]);
        let from_name = |text: &str| text[text.find("name: ").expect("it has one")..].to_owned();
        assert_eq!(from_name(&told), from_name(&format!("{deliver:?}")));
        drop(message);
        assert_eq!(hub.traces().under_way(), 0);
    }
}
