//! The answers of the admin listener: a value as JSON, or a refusal with its status
//! and a sentence.
//!
//! Called by all modules that answer requests.

use std::borrow::Cow;

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::hub::{Answer, Hub};

/// A value as JSON.
pub(super) struct Json<T>(pub T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        response(Answer {
            status: 200,
            lines: false,
            body: json(&self.0),
        })
    }
}

/// A value as a line of JSON.
pub(super) fn json(value: &impl Serialize) -> Vec<u8> {
    let mut text = simd_json::to_vec(value).expect("answers are made of what JSON has");
    // For those who read it in a terminal.
    text.push(b'\n');
    text
}

/// An answer that is written already.
pub(super) fn response(answer: Answer) -> Response {
    let status = StatusCode::from_u16(answer.status).expect("it is a status");
    let content_type = match answer.lines {
        true => "application/x-ndjson",
        false => "application/json",
    };
    let headers = [(CONTENT_TYPE, content_type), (CACHE_CONTROL, "no-store")];
    (status, headers, answer.body).into_response()
}

/// A request that is not carried out: its status, and a sentence for the person
/// who sent it, as `{"error":"..."}`.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    sentence: Cow<'static, str>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, sentence: impl Into<Cow<'static, str>>) -> Self {
        Refusal {
            status,
            sentence: sentence.into(),
            headers: Vec::new(),
        }
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    pub(super) fn sentence(&self) -> &str {
        &self.sentence
    }

    pub(super) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
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
        for (name, value) in self.headers {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

/// What cannot be done at the moment, and may be tried again.
pub(super) fn not_now(hub: &Hub, sentence: String) -> Refusal {
    let retry_after_s = HeaderValue::from(hub.settings().retry_after_s);
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, sentence).with(RETRY_AFTER, retry_after_s)
}

/// What is answered to a path that is none.
pub(super) async fn not_found() -> Refusal {
    let sentence = "there is nothing at this path";
    Refusal::new(StatusCode::NOT_FOUND, sentence)
}
