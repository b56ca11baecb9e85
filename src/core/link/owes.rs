//! Records that a peer is to be sent before all else.

use crate::protocol::tls::{Alert, Traffic};

/// What is owed at a time: a warning, new keys, the last word.
const RECORDS_MAX: usize = 3;
/// The most content of one of them: a KeyUpdate.
const CONTENT_BYTES_MAX: usize = 5;

/// New keys for what goes out, and whether the peer is asked to take new ones as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum KeyUpdate {
    Alone,
    Requesting,
}

/// One of each kind at most, however often it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Owes {
    pub(super) key_update: Option<KeyUpdate>,
    pub(super) warning: Option<Alert>,
    pub(super) last: Option<Alert>,
}

impl Owes {
    /// Seals it behind what `out` has. True if that was the last word.
    pub(super) fn seal(self, send: &mut Traffic, out: &mut Vec<u8>) -> bool {
        // Room for no more than that: a buffer that grows by itself doubles.
        out.reserve_exact(RECORDS_MAX * (CONTENT_BYTES_MAX + send.overhead()));
        if let Some(alert) = self.warning {
            send.alert(alert, out);
        }
        match self.key_update {
            None => {}
            Some(KeyUpdate::Alone) => send.key_update(out),
            Some(KeyUpdate::Requesting) => send.request_key_update(out),
        }
        if let Some(alert) = self.last {
            send.alert(alert, out);
        }
        self.last.is_some()
    }
}
