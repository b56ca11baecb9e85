//! Who asks: a request that one of an app's secrets has signed.

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::header::WWW_AUTHENTICATE;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use percent_encoding::percent_decode_str;

use crate::admin::body::{closing, receive};
use crate::admin::reply::{Refusal, not_now};
use crate::hub::{Hub, PostRefusal};
use crate::protocol::pusher::{App, QueryFault, SignedQuery};

const CHALLENGE: &str = "Pusher realm=\"fanfare\"";

/// A request that is believed, but for its body.
pub(super) struct Signed {
    pub(super) app: Arc<App>,
    pub(super) query: SignedQuery,
    path: String,
}

impl Signed {
    /// Who sends a request with that head.
    pub(super) fn of(hub: &Hub, head: &Parts) -> Result<Self, Refusal> {
        let path = head.uri.path();
        let id = path.split('/').nth(2).unwrap_or_default();
        let Some(app) = hub.settings().app_by_id(id) else {
            let sentence = "there is no app with this id: apps in the settings names them";
            return Err(closing(Refusal::new(StatusCode::NOT_FOUND, sentence)));
        };
        let query = SignedQuery::read(head.uri.query().unwrap_or_default());
        let query = query.map_err(|fault| refuse(hub, fault))?;
        let checked = query.check(app, head.method.as_str(), path, hub.unix_s());
        checked.map_err(|fault| refuse(hub, fault))?;
        if hub.is_stopping() {
            return Err(not_now(hub, "the server is stopping".into()));
        }
        Ok(Signed {
            app: app.clone(),
            query,
            path: path.to_owned(),
        })
    }

    /// The part of the path behind `/apps/{id}` with that number, unescaped.
    pub(super) fn parameter(&self, number: usize) -> Result<String, Refusal> {
        let part = self.path.split('/').nth(2 + number).unwrap_or_default();
        let unescaped = percent_decode_str(part).decode_utf8();
        unescaped
            .map(Cow::into_owned)
            .map_err(|_| bad("the path must be percent-encoded UTF-8"))
    }

    /// The whole body, which the query is about.
    pub(super) async fn body(
        &self,
        hub: &Hub,
        head: &Parts,
        body: Body,
        bytes_max: usize,
    ) -> Result<Bytes, Refusal> {
        let body = receive(&head.headers, body, bytes_max, too_long).await?;
        let checked = self.query.check_body(&body);
        checked.map_err(|fault| refuse(hub, fault))?;
        Ok(body)
    }
}

/// Strangers are not waited for: neither for the body nor for another request.
fn refuse(hub: &Hub, fault: QueryFault) -> Refusal {
    hub.posts().note_refusal(PostRefusal::Denied);
    closing(match fault {
        QueryFault::Form | QueryFault::Twice(_) => bad(fault.to_string()),
        _ => {
            let challenge = HeaderValue::from_static(CHALLENGE);
            Refusal::new(StatusCode::UNAUTHORIZED, fault.to_string())
                .with(WWW_AUTHENTICATE, challenge)
        }
    })
}

pub(super) fn bad(sentence: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, sentence)
}

fn too_long(bytes_max: usize) -> Refusal {
    let sentence = format!("the body of such a request has at most {bytes_max} bytes");
    closing(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, sentence))
}
