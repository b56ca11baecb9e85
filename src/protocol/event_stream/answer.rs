//! The heads that streams begin with.

use bytes::Bytes;

use super::request::{EventStream, Page};
use crate::protocol::http::{Begins, Terms, stream_head};

/// What a page may read of an answer beside what every page may.
const EXPOSED: &str = "Fanfare-Epoch, Fanfare-Next, Fanfare-Resume, Last-Event-ID";
/// What a page's request may have beside what every request may.
const TAKEN: &str = "authorization, cache-control, last-event-id";
/// How long a browser need not ask again, in seconds.
const MAX_AGE_S: &str = "600";

/// The head of a stream: its events follow right behind it, and its end is that of the
/// connection. A stream of one topic tells as a WebSocket's opening does where it begins.
pub fn head(stream: &EventStream, begins: Option<&Begins>, terms: Terms) -> Vec<u8> {
    let mut fields = vec![
        (
            "Content-Type",
            "text/event-stream; charset=utf-8".to_owned(),
        ),
        // Nobody on the way is to keep it, nor to compress it: what compresses holds back.
        ("Cache-Control", "no-store, no-transform".to_owned()),
        // nginx would hold events back until it has a page of them.
        ("X-Accel-Buffering", "no".to_owned()),
    ];
    if let (Some(begins), [wanted]) = (begins, &stream.wanted[..]) {
        fields.push(("Fanfare-Epoch", format!("{:016x}", begins.epoch)));
        fields.push(("Fanfare-Next", begins.next.to_string()));
        if let Some(resume) = begins.became(wanted.since, wanted.epoch) {
            fields.push(("Fanfare-Resume", resume.name().to_owned()));
        }
    }
    if let Some(page) = &stream.page {
        fields.extend(shown_to(page));
        fields.push(("Access-Control-Expose-Headers", EXPOSED.to_owned()));
    }
    stream_head(&fields, terms)
}

/// The answer to a browser that asks whether its page may ask for a stream.
pub fn preflight(page: &Page, terms: Terms) -> Bytes {
    let mut fields = vec![
        ("Content-Length", "0".to_owned()),
        ("Access-Control-Allow-Methods", "GET".to_owned()),
        ("Access-Control-Allow-Headers", TAKEN.to_owned()),
        ("Access-Control-Max-Age", MAX_AGE_S.to_owned()),
    ];
    fields.extend(shown_to(page));
    stream_head(&fields, terms).into()
}

/// Lets a page of another origin read an answer (Fetch standard, "CORS protocol").
fn shown_to(page: &Page) -> Vec<(&'static str, String)> {
    let mut fields = vec![
        ("Access-Control-Allow-Origin", page.origin.clone()),
        ("Vary", "Origin".to_owned()),
    ];
    if page.credentials {
        fields.push(("Access-Control-Allow-Credentials", "true".to_owned()));
    }
    fields
}
