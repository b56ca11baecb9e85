//! JSON as the protocols read and write it: read where it lies ([`Reader`]), written in one
//! pass ([`Sink`]), and what a payload is in it ([`Payload`]).

mod payload;
mod reader;
mod scan;
mod sink;

pub(in crate::protocol) use payload::{Payload, put_string, put_without_newlines, string_bound};
pub use reader::BadRequest;
pub(in crate::protocol) use reader::{FromJson, Reader, is_json};
pub(in crate::protocol) use scan::line_len;
#[cfg(test)]
pub(in crate::protocol) use scan::plain_len;
pub use sink::Written;
pub(in crate::protocol) use sink::{Count, Sink, Slice};
