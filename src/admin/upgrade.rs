//! `POST /upgrade`: hands everything over to a newer process.
//!
//! How that goes is in `handover`; the hub knows whom to ask. Called by `routes`,
//! for `fanfare upgrade`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;

use super::reply::Refusal;
use crate::hub::{Hub, UpgradeError};

/// Starts the program anew and hands everything over to it. The answer comes
/// from the old process, either way.
pub(super) async fn upgrade(State(hub): State<Arc<Hub>>) -> Result<String, Refusal> {
    let outcome = tokio::task::spawn_blocking(move || hub.upgrade()).await;
    match outcome {
        Ok(Ok(successor)) => Ok(format!("handed over: process {successor} serves now\n")),
        Ok(Err(error)) => {
            let status = match error {
                UpgradeError::Refused(_) => StatusCode::CONFLICT,
                UpgradeError::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
            };
            Err(Refusal::new(status, error.to_string()))
        }
        Err(_) => {
            let sentence = "the handover has panicked";
            Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, sentence))
        }
    }
}
