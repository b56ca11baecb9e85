//! `POST /topics/{topic}/messages`: publishes the body of the request as one
//! message.
//!
//! Called by `routes`; the hub publishes.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::IntoResponse;
use serde::Serialize;
use tokio::time::timeout;

use super::reply::{Json, Refusal};
use super::topics::{epoch, name_in};
use crate::hub::{Hub, PublishError};
use crate::log::Published;
use crate::protocol::ws::Opcode;

/// A body that is not whole by then is given up.
pub(super) const BODY_TIME: Duration = Duration::from_secs(30);

/// What has become of a message.
#[derive(Serialize)]
struct Receipt<'a> {
    topic: &'a str,
    offset: u64,
    epoch: String,
}

/// `POST /topics/{topic}/messages`.
pub(super) async fn publish(
    State(hub): State<Arc<Hub>>,
    request: Request,
) -> Result<impl IntoResponse, Refusal> {
    let (head, body) = request.into_parts();
    let topic = name_in(&head.uri)?;
    let opcode = opcode(&head.headers)?;
    let bytes_max = hub.settings().message_bytes_max;
    let payload = receive(&head.headers, body, bytes_max).await?;
    if payload.is_empty() {
        let sentence = "the body is empty: the message is the body of the request";
        return Err(Refusal::new(StatusCode::BAD_REQUEST, sentence));
    }
    if opcode == Opcode::Text && simdutf8::basic::from_utf8(&payload).is_err() {
        let sentence = "a text message is UTF-8: for other bytes, \
                        send Content-Type: application/octet-stream";
        return Err(Refusal::new(StatusCode::BAD_REQUEST, sentence));
    }
    if hub.is_stopping() {
        return Err(not_now(&hub, "the server is stopping".into()));
    }
    let (published, its_epoch) =
        hub.publish(&topic, opcode, &payload)
            .map_err(|error| match error {
                PublishError::TooBig => too_big(bytes_max),
                PublishError::Topics(_) | PublishError::LogFull | PublishError::HandingOver => {
                    not_now(&hub, error.to_string())
                }
            })?;
    let Published::Committed(committed) = published else {
        // Its keeper decides on its offset.
        return Ok(StatusCode::ACCEPTED.into_response());
    };
    let receipt = Json(Receipt {
        topic: topic.as_str(),
        offset: committed.offset,
        epoch: epoch(its_epoch),
    });
    Ok(receipt.into_response())
}

/// Binary if it is called so, else text.
fn opcode(headers: &HeaderMap) -> Result<Opcode, Refusal> {
    if headers
        .get(CONTENT_ENCODING)
        .is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
    {
        let sentence = "bodies are taken as they are: send no Content-Encoding";
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, sentence));
    }
    let media_type = headers.get(CONTENT_TYPE).map_or(&b""[..], |value| {
        let whole = value.as_bytes().split(|byte| *byte == b';');
        whole.into_iter().next().unwrap_or_default().trim_ascii()
    });
    if media_type.eq_ignore_ascii_case(b"application/octet-stream") {
        Ok(Opcode::Binary)
    } else {
        Ok(Opcode::Text)
    }
}

/// The whole body. One that is longer than `bytes_max` is not read to its end,
/// one that says so is not read at all.
async fn receive(headers: &HeaderMap, body: Body, bytes_max: usize) -> Result<Bytes, Refusal> {
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|len| len.to_str().ok());
    if announced
        .and_then(|len| len.parse::<u64>().ok())
        .is_some_and(|len| len > bytes_max as u64)
    {
        return Err(too_big(bytes_max));
    }
    match timeout(BODY_TIME, to_bytes(body, bytes_max)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if is_over_limit(&error) => Err(too_big(bytes_max)),
        Ok(Err(_)) => {
            let sentence = "the request body cannot be read";
            Err(Refusal::new(StatusCode::BAD_REQUEST, sentence))
        }
        Err(_) => {
            let sentence = "the request body did not arrive in time";
            Err(closing(Refusal::new(StatusCode::REQUEST_TIMEOUT, sentence)))
        }
    }
}

fn is_over_limit(error: &axum::Error) -> bool {
    error
        .source()
        .is_some_and(|source| source.is::<http_body_util::LengthLimitError>())
}

fn too_big(bytes_max: usize) -> Refusal {
    let sentence = format!("a message has at most {bytes_max} bytes (message_bytes_max)");
    closing(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, sentence))
}

/// The rest of the body is not read, so no other request can follow.
fn closing(refusal: Refusal) -> Refusal {
    refusal.with(CONNECTION, HeaderValue::from_static("close"))
}

fn not_now(hub: &Hub, sentence: String) -> Refusal {
    let retry_after_s = HeaderValue::from(hub.settings().retry_after_s);
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, sentence).with(RETRY_AFTER, retry_after_s)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_octet_stream_is_binary() {
        let opcode_of = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(value));
            opcode(&headers).unwrap()
        };
        for text in [
            "text/plain; charset=utf-8",
            "application/json",
            "application/x-www-form-urlencoded",
            "",
            "application/octet-stream-not",
        ] {
            assert_eq!(opcode_of(text), Opcode::Text, "{text}");
        }
        for binary in ["application/octet-stream", "Application/Octet-Stream ; x=y"] {
            assert_eq!(opcode_of(binary), Opcode::Binary, "{binary}");
        }
        assert_eq!(opcode(&HeaderMap::new()).unwrap(), Opcode::Text);
    }
}
