//! What pages of other origins are told (Fetch standard, "CORS protocol"), where the
//! settings list their origin: without it their browsers would not show them the answers.
//!
//! Called by `guard`, which refuses all other origins.

use axum::extract::Request;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};

/// What requests of such a page may have, beside what every page may send.
const REQUEST_HEADERS: &str =
    "authorization, content-type, idempotency-key, traceparent, x-api-key";
/// How long a browser need not ask again, in seconds.
const MAX_AGE_S: &str = "600";

/// The browser asks whether its page may send a request, before it does.
pub(super) fn asks_first(request: &Request) -> bool {
    let headers = request.headers();
    request.method() == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// What it is answered.
pub(super) fn consent() -> Response {
    let headers = [
        (ACCESS_CONTROL_ALLOW_METHODS, "GET, POST"),
        (ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS),
        (ACCESS_CONTROL_MAX_AGE, MAX_AGE_S),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

/// Lets the page read an answer.
pub(super) fn show_to(origin: HeaderValue, headers: &mut HeaderMap) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    let yes = HeaderValue::from_static("true");
    headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
    let shown = HeaderValue::from_static("retry-after, idempotency-replayed");
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, shown);
    headers.append(VARY, HeaderValue::from_static("Origin"));
}
