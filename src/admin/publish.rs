//! `POST /topics/{topic}/messages`: publishes the body of the request as one
//! message.
//!
//! Called by `routes`; the hub publishes.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::{
    CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, RETRY_AFTER,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::IntoResponse;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Serialize;
use tokio::time::timeout;

use super::reply::{Json, Refusal};
use super::topics::{epoch, name_in};
use crate::hub::{Hub, PublishError};
use crate::log::Published;
use crate::protocol::ws::Opcode;

/// A body that is not whole by then is given up.
pub(super) const BODY_TIME: Duration = Duration::from_secs(30);

/// Of a body that is too long, so many times the longest message is read on,
const REFUSED_MESSAGES_MAX: usize = 16;
/// as long as there is no greater pause in it.
const REFUSED_PAUSE_MAX: Duration = Duration::from_secs(2);

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
    let payload = receive(&head.headers, body, bytes_max, too_big).await?;
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
    let (published, its_epoch) = hub
        .publish(&topic, opcode, &payload, None)
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

/// The whole body. Of one that is longer than `bytes_max` nothing is kept, and it is
/// refused as `too_big` says.
pub(super) async fn receive(
    headers: &HeaderMap,
    mut body: Body,
    bytes_max: usize,
    too_big: fn(usize) -> Refusal,
) -> Result<Bytes, Refusal> {
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|len| len.to_str().ok());
    if announced
        .and_then(|len| len.parse::<u64>().ok())
        .is_some_and(|len| len > bytes_max as u64)
    {
        // Who asks first is told before any of it is sent.
        if !headers.contains_key(EXPECT) {
            discard(body, bytes_max).await;
        }
        return Err(too_big(bytes_max));
    }
    let whole = Limited::new(&mut body, bytes_max).collect();
    match timeout(BODY_TIME, whole).await {
        Ok(Ok(bytes)) => Ok(bytes.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            discard(body, bytes_max).await;
            Err(too_big(bytes_max))
        }
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

/// Reads on, within bounds, what is not wanted. Most clients look for an answer only
/// when all is sent, and were the connection closed before, they would see that
/// instead.
async fn discard(mut body: Body, bytes_max: usize) {
    let mut left = REFUSED_MESSAGES_MAX * bytes_max;
    let read = async {
        while let Ok(Some(Ok(frame))) = timeout(REFUSED_PAUSE_MAX, body.frame()).await {
            let len = frame.data_ref().map_or(0, Bytes::len);
            if len > left {
                return;
            }
            left -= len;
        }
    };
    let _ = timeout(BODY_TIME, read).await;
}

fn too_big(bytes_max: usize) -> Refusal {
    let sentence = format!("a message has at most {bytes_max} bytes (message_bytes_max)");
    closing(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, sentence))
}

/// The rest of the body is not read, so no other request can follow.
pub(super) fn closing(refusal: Refusal) -> Refusal {
    refusal.with(CONNECTION, HeaderValue::from_static("close"))
}

pub(super) fn not_now(hub: &Hub, sentence: String) -> Refusal {
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
