//! The heads that streams begin with.

use bytes::Bytes;

use super::id::Place;
use super::request::{EventStream, Page};
use crate::protocol::http::{Begins, Resume, Terms, stream_head};

/// What a page may read of an answer beside what every page may.
const EXPOSED: &str = "Fanfare-Epoch, Fanfare-Next, Fanfare-Resume, Last-Event-ID";
/// The same of a refusal.
const EXPOSED_OF_REFUSALS: &str = "Retry-After, WWW-Authenticate";
/// What a page's request may have beside what every request may.
const TAKEN: &str = "authorization, cache-control, content-type, last-event-id";
/// How long a browser need not ask again, in seconds.
const MAX_AGE_S: &str = "600";

/// The head of a stream: its events follow right behind it, and its end is that of the
/// connection. A stream of one topic tells as a WebSocket's opening does where it begins; where
/// it begins with each of its topics is not known yet where there are no `begins`.
pub fn head(stream: &EventStream, begins: &[Begins], terms: Terms) -> Vec<u8> {
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
    if let ([begins], [wanted]) = (begins, &stream.wanted[..]) {
        fields.push(("Fanfare-Epoch", format!("{:016x}", begins.epoch)));
        fields.push(("Fanfare-Next", begins.next.to_string()));
        if let Some(resume) = begins.became(wanted.since, wanted.epoch) {
            fields.push(("Fanfare-Resume", resume.name().to_owned()));
        }
    }
    let resumes = stream.wanted.iter().any(|wanted| wanted.since.is_some());
    if stream.mercure && resumes && !begins.is_empty() {
        fields.push(("Last-Event-ID", preceding(stream, begins)));
    }
    if let Some(page) = &stream.page {
        fields.extend(shown_to(page));
        fields.push(("Access-Control-Expose-Headers", EXPOSED.to_owned()));
    }
    let mut head = stream_head(&fields, terms);
    if stream.mercure && !terms.head_only {
        // Some proxies hold the head back until something follows.
        head.extend_from_slice(b":\n");
    }
    head
}

/// The id of what comes before the first event that a client gets which has said what it had
/// last.
fn preceding(stream: &EventStream, begins: &[Begins]) -> String {
    let mut all = stream.wanted.iter().zip(begins);
    let is_known = all.all(|(wanted, begins)| {
        let became = begins.became(wanted.since, wanted.epoch);
        became != Some(Resume::Unknown)
    });
    if !is_known || begins.iter().all(|begins| begins.next == 1) {
        return "earliest".to_owned();
    }
    let place = |begins: &Begins| {
        let mut text = Vec::new();
        let place = Place {
            epoch: begins.epoch,
            offset: begins.next - 1,
        };
        place.write(&mut text);
        String::from_utf8(text).expect("digits")
    };
    let places: Vec<String> = begins.iter().map(place).collect();
    places.join(",")
}

/// The answer to a browser that asks whether its page may ask for a stream, or what else these
/// `methods` do there.
pub fn preflight(page: &Page, methods: &str, terms: Terms) -> Bytes {
    let mut fields = vec![
        ("Content-Length", "0".to_owned()),
        ("Access-Control-Allow-Methods", methods.to_owned()),
        ("Access-Control-Allow-Headers", TAKEN.to_owned()),
        ("Access-Control-Max-Age", MAX_AGE_S.to_owned()),
    ];
    fields.extend(shown_to(page));
    stream_head(&fields, terms).into()
}

/// What a refusal's head has beside, for the page that has asked: its script may read the status
/// and why.
pub fn shown_refusal(page: &Page) -> Vec<(&'static str, String)> {
    let mut fields = shown_to(page);
    let exposed = EXPOSED_OF_REFUSALS.to_owned();
    fields.push(("Access-Control-Expose-Headers", exposed));
    fields
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
