//! A request that bears an `Idempotency-Key` is carried out once, however often it comes, and
//! goes on when its connection breaks off meanwhile: nobody could tell the client what
//! became of it otherwise.
//!
//! The answers are kept by the hub. Called by what publishes.

use std::sync::Arc;

use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use sha1::{Digest, Sha1};

use super::reply::{Refusal, not_now, response};
use super::who::Who;
use crate::hub::{Answer, Claim, Hub, PostRefusal, RequestName};

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Says that an answer is not the first one.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
const KEY_BYTES_MAX: usize = 255;

/// An answer, and whether a request that is sent again is to be answered so: not where it
/// was not carried out, and another try may be better.
pub(super) type Outcome = Result<(Answer, bool), Refusal>;

/// Does `work`, which answers the request with that head and body, unless it has been done.
pub(super) async fn once(
    hub: &Arc<Hub>,
    who: &Who,
    head: &Parts,
    body: &[u8],
    work: impl Future<Output = Outcome> + Send + 'static,
) -> Result<Response, Refusal> {
    let Some(key) = key(head)? else {
        return work.await.map(|(answer, _)| response(answer));
    };
    let name = RequestName {
        user: who.name().map(Into::into),
        key: key.into(),
    };
    let refuse = |refusal, sentence: &'static str| {
        hub.posts().note_refusal(refusal);
        Refusal::new(StatusCode::CONFLICT, sentence)
    };
    let claimed = match hub.claim(name, print(head, body)) {
        Claim::First(claimed) => claimed,
        Claim::Again(answer) => {
            let again = [(REPLAYED, HeaderValue::from_static("true"))];
            return Ok((again, response(answer)).into_response());
        }
        Claim::UnderWay => {
            let sentence = "the request with this Idempotency-Key is still being carried out";
            return Err(refuse(PostRefusal::KeyUnderWay, sentence));
        }
        Claim::Reused => {
            hub.posts().note_refusal(PostRefusal::KeyReused);
            let sentence = "this Idempotency-Key has come with another request before";
            return Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, sentence));
        }
        Claim::Full => {
            hub.posts().note_refusal(PostRefusal::KeysFull);
            let sentence = "as many requests with an Idempotency-Key are under way as may be \
                            (idempotency_keys_max)";
            return Err(not_now(hub, sentence.into()));
        }
    };
    let done = tokio::spawn(async move {
        let (answer, is_final) = work.await?;
        if is_final {
            claimed.keep(answer.clone());
        }
        Ok(answer)
    });
    match done.await {
        Ok(outcome) => outcome.map(response),
        Err(error) => {
            tracing::error!(%error, "a request with an Idempotency-Key has failed");
            let sentence = "the request has failed inside the server";
            Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, sentence))
        }
    }
}

fn key(head: &Parts) -> Result<Option<&[u8]>, Refusal> {
    let mut keys = head.headers.get_all(KEY).iter();
    let key = match (keys.next(), keys.next()) {
        (None, _) => return Ok(None),
        (Some(key), None) => key.as_bytes(),
        (Some(_), Some(_)) => {
            let sentence = "the Idempotency-Key must be there at most once";
            return Err(Refusal::new(StatusCode::BAD_REQUEST, sentence));
        }
    };
    if (1..=KEY_BYTES_MAX).contains(&key.len()) {
        return Ok(Some(key));
    }
    let sentence = "an Idempotency-Key has 1 to 255 bytes";
    Err(Refusal::new(StatusCode::BAD_REQUEST, sentence))
}

/// What a request asks for, in short. It goes to the next process, which may be another
/// build, so it must not depend on one.
fn print(head: &Parts, body: &[u8]) -> u64 {
    let query = head.uri.query().unwrap_or_default();
    let media_type = head.headers.get(CONTENT_TYPE);
    let media_type = media_type.map_or(&b""[..], HeaderValue::as_bytes);
    let mut hash = Sha1::new();
    for part in [head.uri.path().as_bytes(), query.as_bytes(), media_type] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.update(body);
    let hash: [u8; 20] = hash.finalize().into();
    u64::from_le_bytes(*hash.first_chunk().expect("it is longer"))
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    #[test]
    fn a_request_has_the_same_print_in_every_build() {
        let print = |target: &str, media_type: &str, body: &[u8]| {
            let request = Request::post(target).header(CONTENT_TYPE, media_type);
            print(&request.body(()).unwrap().into_parts().0, body)
        };
        let first = print("/messages?topic=a", "text/plain", b"x");
        assert_eq!(first, 0xbd6a0213ea375868);
        for other in [
            print("/messages?topic=b", "text/plain", b"x"),
            print("/messages", "text/plain", b"x"),
            print("/messages?topic=a", "text/plaix", b"n"),
            print("/messages?topic=a", "text/plain", b"y"),
        ] {
            assert_ne!(other, first);
        }
    }
}
