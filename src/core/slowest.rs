//! Which connections are furthest behind: found on the walk of the timers, which comes by each
//! of them once a second or so, and told to who looks at the daemon.

use super::conn::Flags;
use super::reactor::State;
use super::slow_walk::SlowWalk;
use crate::hub::Slow;

impl State {
    /// Tells what the walk that has just ended has found.
    pub(super) fn tell_slowest(&self, walk: SlowWalk) {
        let (stalled, slots) = walk.end();
        self.metrics().stalled.set(stalled);
        let slowest = self.hub.slowest();
        if slowest.is_watched(self.now_ms) {
            let slow = slots.filter_map(|slot| self.slow(slot));
            slowest.tell(self.core, slow.collect());
        }
    }

    /// The connection in `slot`, if it is still there and slow.
    fn slow(&self, slot: u32) -> Option<Slow> {
        let conn = self.conns.get(slot)?;
        if !conn.flags.any(Flags::AWAITING) {
            return None;
        }
        let subscriptions = self.subscriptions(slot);
        let behind = subscriptions.iter().map(|id| {
            let sub = self.look_at_sub(*id);
            let feed = self.feeds.look_at(sub.feed);
            (feed.window.end().saturating_sub(sub.cursor), feed)
        });
        let behind: Vec<_> = behind.collect();
        let furthest = behind.iter().max_by_key(|(bytes, _)| *bytes);
        let stalled_ms = (self.patience_ms as u32).wrapping_sub(conn.stalled_ms);
        let user = self.user_of(slot).filter(|user| !user.is_empty());
        Some(Slow {
            address: conn.peer.address(),
            dialect: conn.dialect,
            tls: conn.flags.any(Flags::TLS),
            user: user.map(Into::into),
            topic: furthest.map(|(_, feed)| feed.topic.name().clone()),
            subscriptions: subscriptions.len(),
            lag_bytes: behind.iter().map(|(bytes, _)| bytes).sum(),
            stalled_ms: stalled_ms.into(),
        })
    }
}
