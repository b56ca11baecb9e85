//! The answers of the admin listener: a value as JSON, or a refusal with its status
//! and a sentence.
//!
//! Called by all modules that answer requests.

use std::borrow::Cow;

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// A value as JSON.
pub(super) struct Json<T>(pub T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match simd_json::to_vec(&self.0) {
            Ok(mut body) => {
                // For those who read it in a terminal.
                body.push(b'\n');
                let headers = [
                    (CONTENT_TYPE, "application/json"),
                    (CACHE_CONTROL, "no-store"),
                ];
                (headers, body).into_response()
            }
            Err(error) => {
                tracing::error!(%error, "cannot write an answer as JSON");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        }
    }
}

/// A request that is not carried out: its status, and a sentence for the person
/// who sent it, as `{"error":"..."}`.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    sentence: Cow<'static, str>,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, sentence: impl Into<Cow<'static, str>>) -> Self {
        Refusal {
            status,
            sentence: sentence.into(),
            header: None,
        }
    }

    pub(super) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.header = Some((name, value));
        self
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Body<'a> {
            error: &'a str,
        }
        let body = Json(Body {
            error: &self.sentence,
        });
        let mut response = (self.status, body).into_response();
        if let Some((name, value)) = self.header {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

/// What is answered to a path that is none.
pub(super) async fn not_found() -> Refusal {
    let sentence = "there is nothing at this path";
    Refusal::new(StatusCode::NOT_FOUND, sentence)
}
