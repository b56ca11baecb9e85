//! `GET /` and the files beside it: the dashboard, which asks `GET /overview` for what it shows.
//!
//! Called by `routes`; the files are in `page`.

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::reply::not_found;
use crate::page::{self, Asset, dashboard};
use crate::protocol::http::is_known;

/// Where the files are.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    dashboard::paths().fold(Router::new(), |router, path| router.route(path, get(show)))
}

/// The file at the path of the request.
async fn show(request: Request) -> Response {
    match dashboard::find(request.uri().path()) {
        Some(asset) => answer(asset, &request),
        None => not_found().await.into_response(),
    }
}

/// Whole, or 304 where the browser has it.
fn answer(asset: &'static Asset, request: &Request) -> Response {
    let known = request.headers().get_all(IF_NONE_MATCH).iter();
    let mut response = match is_known(&asset.etag, known.map(HeaderValue::as_bytes)) {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => ([(CONTENT_TYPE, asset.content_type)], Body::from(asset.body)).into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(ETAG, HeaderValue::from_static(&asset.etag));
    let policy = HeaderValue::from_static(dashboard::POLICY);
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    for (name, value) in page::HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
