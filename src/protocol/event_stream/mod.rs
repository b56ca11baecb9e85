//! Server-Sent Events (HTML standard, section 9.2): messages as events, the ids by which
//! clients come back, the request that asks for a stream, and the head of its answer.
//!
//! What the server says of its own accord stands in [`dialect`](super::dialect).

mod answer;
mod id;
mod request;
mod view;

pub use answer::{head, preflight, shown_refusal};
pub use id::{Place, write_ids};
pub use request::{
    EVENTS_PATH, EventStream, Page, Shape, Wanted, asks_for_events, is_preflight, negotiate_events,
};
pub(in crate::protocol) use request::{last_event_id, name_topics};
pub use view::{GAP, event_bound, events_bound, write_event, write_events, write_plain_event};
