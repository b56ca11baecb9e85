//! Which path and method of the admin listener is answered by which module, and
//! which role it takes.
//!
//! Called by `server` once for each listener.

use std::sync::Arc;

use axum::extract::{FromRef, Request, State};
use axum::http::header::{CONTENT_TYPE, STRICT_TRANSPORT_SECURITY};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Router, middleware};

use super::guard::{self, Watch};
use super::metrics::{self, Exposition};
use super::overview::{self, Overview};
use super::reply::{Refusal, not_found};
use super::{api, apps, connections, dashboard, health, mercure, publish, topics, upgrade};
use crate::hub::Hub;
use crate::protocol::http::strict_transport;
use crate::protocol::mercure::MERCURE_PATH;

/// What the routes share.
#[derive(Clone)]
struct Shared {
    hub: Arc<Hub>,
    exposition: Arc<Exposition>,
    overview: Arc<Overview>,
}

impl FromRef<Shared> for Arc<Hub> {
    fn from_ref(shared: &Shared) -> Self {
        shared.hub.clone()
    }
}

impl FromRef<Shared> for Arc<Exposition> {
    fn from_ref(shared: &Shared) -> Self {
        shared.exposition.clone()
    }
}

impl FromRef<Shared> for Arc<Overview> {
    fn from_ref(shared: &Shared) -> Self {
        shared.overview.clone()
    }
}

/// What looks at the daemon, for the routes of all listeners.
#[derive(Clone)]
pub(super) struct Watchers {
    exposition: Arc<Exposition>,
    overview: Arc<Overview>,
}

impl Watchers {
    pub(super) fn new(hub: &Arc<Hub>) -> Self {
        Watchers {
            exposition: Arc::new(Exposition::new(hub.clone())),
            overview: Arc::new(Overview::new(hub.clone())),
        }
    }
}

/// All paths, behind the guard of one listener, which knows its roles.
pub(super) fn router(watchers: Watchers, watch: Watch) -> Router {
    let hub = watch.hub.clone();
    let demands_tls = watch.guard.demands_tls();
    let router = dashboard::routes()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(metrics::show))
        .route("/topics", get(topics::list))
        .route("/topics/{topic}", get(topics::show))
        .route("/topics/{topic}/messages", post(publish::publish))
        .route("/messages", post(publish::publish))
        .route(MERCURE_PATH, post(mercure::publish))
        .route("/api/{method}", post(api::call))
        .route("/apps/{app}/events", post(apps::events))
        .route("/apps/{app}/batch_events", post(apps::batch_events))
        .route("/apps/{app}/channels", get(apps::channels))
        .route("/apps/{app}/channels/{channel}", get(apps::channel))
        .route("/apps/{app}/channels/{channel}/users", get(apps::users))
        .route(
            "/apps/{app}/users/{user}/terminate_connections",
            post(apps::terminate_connections),
        )
        .route("/openapi.json", get(description))
        .route("/connections", get(connections::list))
        .route("/overview", get(overview::show))
        .route("/upgrade", post(upgrade::upgrade))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(
            Arc::new(watch),
            guard::check,
        ))
        .with_state(Shared {
            hub: hub.clone(),
            exposition: watchers.exposition,
            overview: watchers.overview,
        });
    match demands_tls {
        true => router.layer(middleware::from_fn_with_state(hub, demand_tls)),
        false => router,
    }
}

/// Asks browsers to come over TLS alone, where the settings say so.
async fn demand_tls(State(hub): State<Arc<Hub>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let max_age_s = hub.settings().hsts_max_age_s;
    let value = HeaderValue::from_str(&strict_transport(max_age_s));
    if let (1.., Ok(value)) = (max_age_s, value) {
        response
            .headers_mut()
            .insert(STRICT_TRANSPORT_SECURITY, value);
    }
    response
}

/// What there is, for programs.
async fn description() -> impl IntoResponse {
    let text = include_str!("../../docs/openapi.json");
    ([(CONTENT_TYPE, "application/json")], text)
}

async fn wrong_method(request: Request) -> Refusal {
    let sentence = format!("{} does not apply to this path", request.method());
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, sentence)
}
