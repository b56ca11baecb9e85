//! What each core counts. A core alone writes its numbers, anyone may read.

use super::tls::TlsCounts;
use crate::protocol::http::Reject;
use crate::protocol::reason::CloseReason;
use crate::protocol::rights::Action;

pub use super::counter::Counter;

/// Upper bounds of the turn time histogram, in microseconds.
pub const TURN_US_BOUNDS: [u64; 10] = [
    10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000, 1_000_000,
];

/// How long turns of a reactor took.
#[derive(Debug, Default)]
pub struct TurnTimes {
    /// One for each bound, and one for what is longer than all.
    pub counts: [Counter; TURN_US_BOUNDS.len() + 1],
    pub sum_us: Counter,
}

impl TurnTimes {
    pub fn note(&self, us: u64) {
        let place = TURN_US_BOUNDS.partition_point(|bound| *bound < us);
        self.counts[place].add(1);
        self.sum_us.add(us);
    }
}

/// One core's numbers since it started.
#[derive(Debug)]
#[repr(align(128))]
pub struct Metrics {
    /// Connections that are open, a present number.
    pub connections: Counter,
    /// Connections that the core has room for.
    pub capacity: Counter,
    /// Opening handshakes answered with 101.
    pub handshakes: Counter,
    /// Those of them that began and ended in the ring.
    pub ring_handshakes: Counter,
    /// Connections that came in through the ring and went on to the acceptor.
    pub ring_handed_on: Counter,
    /// Pages and other plain answers.
    pub pages: Counter,
    pub messages_in: Counter,
    pub bytes_in: Counter,
    /// Messages that have gone out, one for each subscriber that got it.
    pub deliveries: Counter,
    pub bytes_out: Counter,
    /// Sends of broadcast data; deliveries divided by it is how well bursts merge.
    pub sends: Counter,
    /// Times that a view which had grown rested for its topic's pace.
    pub pace_rests: Counter,
    /// Sends that took less than offered, or nothing.
    pub short_writes: Counter,
    pub zero_copy_sends: Counter,
    /// Zero-copy sends that the kernel copied after all.
    pub zero_copy_copied: Counter,
    /// Receives that ended because all buffers were taken.
    pub buffers_exhausted: Counter,
    /// Times that new connections were left waiting for want of descriptors.
    pub accept_pauses: Counter,
    /// Times that the kernel had no memory for the ring's requests.
    pub refusals: Counter,
    /// Times that more had happened than the ring's queue holds.
    pub overflows: Counter,
    /// Publishers that were read from no further until others had caught up.
    pub pauses: Counter,
    /// Tokens that were given to helpers to check.
    pub checks_aside: Counter,
    /// Times that there were too many of those, so that one more had to come again.
    pub checks_postponed: Counter,
    /// Messages that had to wait for room in a log.
    pub room_waits: Counter,
    /// Times that one of those was encoded and published, or found that another of its
    /// topic's views still lacked room.
    pub room_tries: Counter,
    /// Subscribers that read uncompressed what they had agreed to have compressed, as there
    /// was no room to write it once more.
    pub read_uncompressed: Counter,
    /// Subscribers moved on to the newest message, by policy.
    pub lag_skips: Counter,
    /// Messages they missed by that.
    pub lag_missed: Counter,
    /// Times that a subscriber of this core was dealt with because it kept the most
    /// memory while there was no room for new messages.
    pub reliefs: Counter,
    /// The furthest that any subscriber was behind at the last look, in bytes.
    pub lag_bytes: Counter,
    /// Connections whose socket was full at the last look.
    pub stalled: Counter,
    /// Processor time that the core's thread has used.
    pub cpu_us: Counter,
    pub pings: Counter,
    /// Messages written in another encoding than raw, once for all who read them so.
    pub encoded_messages: Counter,
    /// Messages that were compressed, once for all who read them so.
    pub deflated_messages: Counter,
    /// Bytes that did not go out because of that, over all their subscribers.
    pub deflate_saved_bytes: Counter,
    pub turns: TurnTimes,
    /// Time that it has looked out for something to do, in microseconds.
    pub spin_us: Counter,
    /// Newcomers that were given the newest message at once, as their topic's rule says.
    pub latest_given: Counter,
    /// Joins and leaves that were told, each once for all who hear of them.
    pub joins: Counter,
    /// Joins and leaves for which there was no room.
    pub joins_lost: Counter,
    pub closes: Vec<Counter>,
    pub rejects: Vec<Counter>,
    pub tls: TlsCounts,
    /// Steps of handshakes that were given to helpers.
    pub tls_steps_aside: Counter,
    /// Those that might hold up topics and were done here all the same, as helpers were busy.
    pub tls_steps_here: Counter,
    /// Memory of ciphertext that connections of this core keep, at the last look.
    pub tls_kept_bytes: Counter,
    /// What rules and tokens did not allow, by what it was, in the order of [`Action::ALL`].
    pub denials: [Counter; Action::ALL.len()],
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics {
            connections: Counter::default(),
            capacity: Counter::default(),
            handshakes: Counter::default(),
            ring_handshakes: Counter::default(),
            ring_handed_on: Counter::default(),
            pages: Counter::default(),
            messages_in: Counter::default(),
            bytes_in: Counter::default(),
            deliveries: Counter::default(),
            bytes_out: Counter::default(),
            sends: Counter::default(),
            pace_rests: Counter::default(),
            short_writes: Counter::default(),
            zero_copy_sends: Counter::default(),
            zero_copy_copied: Counter::default(),
            buffers_exhausted: Counter::default(),
            accept_pauses: Counter::default(),
            refusals: Counter::default(),
            overflows: Counter::default(),
            pauses: Counter::default(),
            checks_aside: Counter::default(),
            checks_postponed: Counter::default(),
            room_waits: Counter::default(),
            room_tries: Counter::default(),
            read_uncompressed: Counter::default(),
            lag_skips: Counter::default(),
            lag_missed: Counter::default(),
            reliefs: Counter::default(),
            lag_bytes: Counter::default(),
            stalled: Counter::default(),
            cpu_us: Counter::default(),
            pings: Counter::default(),
            encoded_messages: Counter::default(),
            deflated_messages: Counter::default(),
            deflate_saved_bytes: Counter::default(),
            spin_us: Counter::default(),
            turns: TurnTimes::default(),
            latest_given: Counter::default(),
            joins: Counter::default(),
            joins_lost: Counter::default(),
            closes: CloseReason::all().map(|_| Counter::default()).collect(),
            rejects: Reject::ALL.iter().map(|_| Counter::default()).collect(),
            tls: TlsCounts::default(),
            tls_steps_aside: Counter::default(),
            tls_steps_here: Counter::default(),
            tls_kept_bytes: Counter::default(),
            denials: Default::default(),
        }
    }
}

impl Metrics {
    pub fn note_close(&self, reason: CloseReason) {
        self.closes[reason.index()].add(1);
    }

    /// Counts a request that was refused for this reason.
    pub fn note_reject(&self, reject: Reject) {
        self.rejects[reject.index()].add(1);
        if let Reject::Denied { action } | Reject::TokenMissing { action } = reject {
            self.note_denial(action);
        }
    }

    /// Counts something that neither rules nor a token allowed.
    pub fn note_denial(&self, action: Action) {
        self.denials[action as usize].add(1);
    }
}
