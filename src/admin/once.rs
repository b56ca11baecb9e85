//! A request that bears an `Idempotency-Key` is carried out once, however often it comes, and
//! goes on when its connection breaks off meanwhile: nobody could tell the client what
//! became of it otherwise.
//!
//! A message of Centrifugo's API with an `idempotency_key` is published once in the same way.
//!
//! The answers are kept by the hub. Called by what publishes.

use std::sync::Arc;

use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use sha1::{Digest, Sha1};

use super::patience::{LOOK_MIN, Patience};
use super::reply::{Refusal, not_now, response};
use super::who::Who;
use crate::hub::{Answer, Claim, Claimed, Hub, PostRefusal, RequestName};
use crate::protocol::centrifugo::Error;
use crate::protocol::centrifugo::api::Receipt;
use crate::protocol::topic::TopicName;

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Says that an answer is not the first one.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// No setting: it is part of what clients are promised.
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

/// A message with an `idempotency_key`.
pub(super) enum Keyed {
    /// It is to be published.
    First(FirstMessage),
    /// One with the key has been, and this was the answer.
    Again(Receipt),
}

/// The first message with its key.
pub(super) struct FirstMessage(Claimed);

/// Looks whether there has been a message with that key in the topic. As in Centrifugo the key
/// alone counts, whatever else the message has, and of two at a time the second waits.
pub(super) async fn message_once(
    hub: &Arc<Hub>,
    patience: &mut Patience,
    topic: &TopicName,
    key: &str,
) -> Result<Keyed, Error> {
    if key.len() > KEY_BYTES_MAX {
        return Err(Error::BAD_REQUEST);
    }
    let mut look = LOOK_MIN;
    loop {
        match hub.claim(RequestName::of_message(topic, key), ANY_MESSAGE) {
            Claim::First(claimed) => return Ok(Keyed::First(FirstMessage(claimed))),
            Claim::Again(answer) => {
                let receipt = serde_json::from_slice(&answer.body);
                return receipt.map(Keyed::Again).map_err(|error| {
                    tracing::error!(%error, "a kept answer is damaged");
                    Error::INTERNAL
                });
            }
            Claim::UnderWay if patience.wait(&mut look).await => {}
            Claim::UnderWay | Claim::Reused => {
                hub.posts().note_refusal(PostRefusal::KeyUnderWay);
                return Err(Error::INTERNAL);
            }
            Claim::Full => {
                hub.posts().note_refusal(PostRefusal::KeysFull);
                return Err(Error::INTERNAL);
            }
        }
    }
}

/// Stands for what the key of a message does not depend on.
const ANY_MESSAGE: u64 = 0;

impl FirstMessage {
    /// The message has been published.
    pub(super) fn keep(self, receipt: &Receipt) {
        self.0.keep(Answer {
            status: 200,
            lines: false,
            body: serde_json::to_vec(receipt).expect("numbers and text are JSON"),
        });
    }
}

/// By what a cluster knows a message again that bears a key, through whichever node it comes.
///
/// # Errors
/// There is no such key.
pub(super) fn key_in(head: &Parts, who: &Who) -> Result<Option<(String, String)>, Refusal> {
    let name = who.name().unwrap_or_default().to_owned();
    let hex = |key: &[u8]| key.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(key(head)?.map(|key| (name, hex(key))))
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
    use crate::config::Settings;

    #[test]
    fn of_two_messages_with_a_key_the_second_waits_for_the_first() {
        let settings = Settings {
            publish_wait_ms_max: 60_000,
            ..Settings::default()
        };
        let hub = Hub::new(settings).unwrap();
        let topic = TopicName::new("t").unwrap();
        let receipt = Receipt {
            offset: 7,
            epoch: "e".into(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        runtime.unwrap().block_on(async {
            let mut patience = Patience::new(hub.clone());
            let first = message_once(&hub, &mut patience, &topic, "k").await;
            let Ok(Keyed::First(first)) = first else {
                panic!("nobody was there before");
            };
            let mut other = Patience::new(hub.clone());
            let second = message_once(&hub, &mut other, &topic, "k");
            let keep = async {
                // It has begun to wait by then.
                tokio::task::yield_now().await;
                first.keep(&receipt);
            };
            let (second, ()) = tokio::join!(second, keep);
            assert!(matches!(second, Ok(Keyed::Again(kept)) if kept == receipt));
        });
    }

    #[test]
    fn a_message_whose_key_is_under_way_for_too_long_may_be_sent_again() {
        let settings = Settings {
            publish_wait_ms_max: 0,
            idempotency_keys_max: 1,
            ..Settings::default()
        };
        let hub = Hub::new(settings).unwrap();
        let topic = TopicName::new("t").unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        runtime.unwrap().block_on(async {
            let mut patience = Patience::new(hub.clone());
            let mut once = async |key: &str| {
                let keyed = message_once(&hub, &mut patience, &topic, key).await;
                keyed.map_err(|error| error.code)
            };
            let first = once("k").await;
            assert!(matches!(once("k").await, Err(100)));
            assert!(matches!(once("other").await, Err(100)));
            drop(first);
            assert!(matches!(once("k").await, Ok(Keyed::First(_))));
        });
        let refusals = [PostRefusal::KeyUnderWay, PostRefusal::KeysFull];
        assert_eq!(
            refusals.map(|refusal| hub.posts().refusals(refusal)),
            [1, 1]
        );
    }

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
