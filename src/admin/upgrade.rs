//! `POST /upgrade`: hands everything over to a newer process.
//!
//! How that goes is in `handover`; the hub knows whom to ask. Called by `routes`,
//! for `fanfare upgrade`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;

use super::reply::Refusal;
use crate::hub::Hub;

/// Starts the program anew and hands everything over to it. The answer comes
/// from the old process, either way.
pub(super) async fn upgrade(State(hub): State<Arc<Hub>>) -> Result<&'static str, Refusal> {
    let outcome = tokio::task::spawn_blocking(move || hub.upgrade()).await;
    match outcome {
        Ok(Ok(())) => Ok("handed over\n"),
        Ok(Err(sentence)) => Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, sentence)),
        Err(_) => {
            let sentence = "the handover has panicked";
            Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, sentence))
        }
    }
}
