//! What there was in a run, so that a run without something that it is about is noticed.

/// What a run amounted to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcome {
    pub steps: u64,
    pub messages: u64,
    pub deliveries: u64,
    pub connections: u64,
    pub gaps: u64,
    pub pauses: u64,
    /// How often a view rested for its topic's pace.
    pub rests: u64,
    pub handovers: u64,
    /// Subscriptions of sessions that had all that was missed, that had not, and that ended
    /// with a gap.
    pub recovered: u64,
    pub not_recovered: u64,
    pub ended: u64,
    /// Publications, joins and answers that sessions have read.
    pub pushed: u64,
    pub joins: u64,
    pub answers: u64,
    /// Events that readers of streams have heard, gaps that they were told of, and how often
    /// one came back.
    pub events: u64,
    pub event_gaps: u64,
    pub returns: u64,
    /// Events that clients of an app have heard, channels that they have come into, gaps that
    /// they were told of, and members that came or went there.
    pub channel_events: u64,
    pub entered: u64,
    pub channel_gaps: u64,
    pub moves: u64,
    /// Entries of a ring that the kernel had no memory for.
    pub refusals: u64,
    /// Entries after which it had more to tell than it could.
    pub overflows: u64,
    /// Clients over TLS that were asked for new keys, as they had used up theirs.
    pub key_requests: u64,
    /// Of those who came through rings, who agreed to compression.
    pub deflated_by_door: u64,
    /// Connections that came through rings, and those of them that went on to an acceptor.
    pub by_door: u64,
    pub handed_on: u64,
    /// One bit for each of [`fanfare::protocol::reason::CloseReason::all`] that ended a connection.
    pub reasons: u128,
    /// Of all that was done, in order: equal for equal runs.
    pub digest: u64,
}
