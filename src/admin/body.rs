//! The body of a request: read whole, within bounds of size and time.
//!
//! Called by whatever takes one.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::{CONNECTION, CONTENT_LENGTH, EXPECT};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::timeout;

use super::reply::Refusal;

/// A body that is not whole by then is given up.
pub(super) const BODY_TIME: Duration = Duration::from_secs(30);

/// Of a body that is too long, so many times the longest message is read on,
const REFUSED_MESSAGES_MAX: usize = 16;
/// as long as there is no greater pause in it.
const REFUSED_PAUSE_MAX: Duration = Duration::from_secs(2);

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

/// The rest of the body is not read, so no other request can follow.
pub(super) fn closing(refusal: Refusal) -> Refusal {
    refusal.with(CONNECTION, HeaderValue::from_static("close"))
}
