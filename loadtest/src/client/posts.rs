//! What a connection has asked of an HTTP API. Kept by the connection, and used in `post`.

use std::collections::VecDeque;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::api::App;

/// The requests of a connection.
#[derive(Default)]
pub(super) struct Posts {
    /// The lines of a request's head that are the same for all.
    pub(super) head: String,
    /// Requests without an answer, in the order of their sending.
    pub(super) under_way: VecDeque<Vec<u8>>,
    /// What came so far of the next answer.
    pub(super) answer: Vec<u8>,
    /// The server has said that it takes no more requests here: those under way go out again.
    pub(super) is_over: bool,
}

impl Posts {
    /// A request that is under way from now on.
    pub(super) fn request(&mut self, app: &App, channel: &str, payload: &[u8]) -> &[u8] {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let unix_s = since.map_or(0, |since| since.as_secs());
        let request = app.publish(&self.head, channel, payload, unix_s);
        self.under_way.push_back(request);
        self.under_way.back().expect("one was added")
    }
}
