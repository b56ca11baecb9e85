//! `GET /healthz` and `GET /readyz`: whether every core's loop turns, and whether
//! new connections are served.
//!
//! The public listeners answer `/healthz` by themselves, in `core`. Called by
//! `routes`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::IntoResponse;

use crate::config::Switch;
use crate::hub::Hub;

/// `GET /healthz`: 200 while every core's loop turns.
pub(super) async fn healthz(State(hub): State<Arc<Hub>>) -> impl IntoResponse {
    // Cores that have said all their goodbyes have ended; that is no illness.
    let stuck = if hub.is_stopping() {
        Vec::new()
    } else {
        hub.stuck_cores()
    };
    uncached(health(&stuck))
}

/// `GET /readyz`: 200 while new connections are welcome.
pub(super) async fn readyz(State(hub): State<Arc<Hub>>) -> impl IntoResponse {
    let lacks_cluster = hub.settings().cluster_ready == Switch::On
        && hub.cluster_figures().is_connected() == Some(false);
    uncached(readiness(hub.is_ready(), hub.is_stopping(), lacks_cluster))
}

fn uncached(answer: impl IntoResponse) -> impl IntoResponse {
    ([(CACHE_CONTROL, "no-store")], answer)
}

fn health(stuck: &[usize]) -> (StatusCode, String) {
    if stuck.is_empty() {
        return (StatusCode::OK, "ok\n".into());
    }
    let cores: Vec<String> = stuck.iter().map(usize::to_string).collect();
    let sentence = format!(
        "no turn within a second on these cores: {}\n",
        cores.join(", ")
    );
    (StatusCode::SERVICE_UNAVAILABLE, sentence)
}

fn readiness(ready: bool, stopping: bool, lacks_cluster: bool) -> (StatusCode, &'static str) {
    match (ready, stopping) {
        (true, false) if lacks_cluster => {
            (StatusCode::SERVICE_UNAVAILABLE, "the cluster is away\n")
        }
        (true, false) => (StatusCode::OK, "ready\n"),
        (_, true) => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
        (false, false) => (StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cores_that_hang_are_named() {
        assert_eq!(health(&[]), (StatusCode::OK, "ok\n".into()));
        let (status, sentence) = health(&[0, 3]);
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(sentence.ends_with(": 0, 3\n"), "{sentence}");
    }

    #[test]
    fn only_a_daemon_between_start_and_stop_is_ready() {
        assert_eq!(readiness(true, false, false).0, StatusCode::OK);
        assert_eq!(readiness(true, false, true).1, "the cluster is away\n");
        assert_eq!(readiness(false, false, false).1, "starting\n");
        for ready in [true, false] {
            let (status, word) = readiness(ready, true, ready);
            assert_eq!(
                (status, word),
                (StatusCode::SERVICE_UNAVAILABLE, "stopping\n")
            );
        }
    }
}
