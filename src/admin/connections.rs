//! `GET /connections`: how many connections there are, in all and on each core.
//!
//! Called by `routes`; the figures are the hub's.

use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse;
use serde::Serialize;

use super::reply::Json;
use crate::hub::Hub;

#[derive(Serialize)]
struct Connections {
    /// All there are, those in their handshake included.
    connections: usize,
    handshakes: usize,
    cores: Vec<Core>,
}

#[derive(Serialize)]
struct Core {
    core: usize,
    /// Established ones.
    connections: u64,
}

/// `GET /connections`.
pub(super) async fn list(State(hub): State<Arc<Hub>>) -> impl IntoResponse {
    let cores = hub.mailboxes().iter().enumerate();
    Json(Connections {
        connections: hub.admission().connections(),
        handshakes: hub.admission().handshakes(),
        cores: cores
            .map(|(core, mailbox)| Core {
                core,
                connections: mailbox.metrics.connections.get(),
            })
            .collect(),
    })
}
