//! Connections over TLS: what they send is sealed and what they hear is opened between the ring
//! and all else, which knows nothing of it.
//!
//! Called by `connection`.

use std::io;

use super::Client;
use super::connection::State;
use crate::tls::Records;

impl Client {
    /// Begins TLS on a connection that has just been made, where its target wants that. False
    /// if it cannot be.
    pub(super) fn begin_tls(&mut self, slot: u32) -> bool {
        let conn = &mut self.conns[slot as usize];
        conn.tls = None;
        let target = self.targets.of(conn.publisher.is_some());
        let (Some(name), Some(tls)) = (&target.name, &self.targets.tls) else {
            return true;
        };
        // It is kept, with the tickets in it, for when the client comes back.
        let config = conn.tls_config.get_or_insert_with(|| tls.of_client());
        match Records::new(config.clone(), name.clone()) {
            Ok(records) => {
                conn.tls = Some(Box::new(records));
                true
            }
            Err(error) => {
                self.problem(format!("cannot begin TLS: {error}"));
                false
            }
        }
    }

    /// Bytes have come on a connection.
    pub(super) fn on_raw_bytes(&mut self, slot: u32, bytes: &[u8], now: u64) -> io::Result<()> {
        let conn = &mut self.conns[slot as usize];
        let Some(tls) = &mut conn.tls else {
            return self.on_bytes(slot, bytes, now);
        };
        let mut plain = Vec::new();
        let opened = tls.open(bytes, &mut plain);
        // Among it the alert that says what is wrong.
        self.flush(slot)?;
        if !plain.is_empty() {
            self.on_bytes(slot, &plain, now)?;
        }
        let Err(error) = opened else {
            return Ok(());
        };
        let state = self.conns[slot as usize].state;
        if matches!(state, State::Leaving | State::Idle) {
            return Ok(());
        }
        self.problem(format!("TLS: {error}"));
        match state.is_opening() {
            true => self.fail_opening(slot, now),
            false => self.on_end(slot, now),
        }
    }
}
