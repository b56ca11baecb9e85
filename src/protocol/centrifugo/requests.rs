//! The commands of one WebSocket message, one after the other.

use super::request::{Coding, Request};
use super::{json_in, protobuf_in};
use crate::protocol::json::BadRequest;

/// Reads each command when it is asked for: those before one that cannot be read are carried
/// out and answered, as by the official server.
#[derive(Debug)]
pub struct Requests<'a> {
    coding: Coding,
    rest: &'a [u8],
    /// None has been read yet.
    first: bool,
}

impl<'a> Requests<'a> {
    pub fn of(coding: Coding, message: &'a [u8]) -> Requests<'a> {
        Requests {
            coding,
            rest: message,
            first: true,
        }
    }

    /// So many bytes of the message have not been read.
    pub fn left(&self) -> usize {
        self.rest.len()
    }
}

impl Iterator for Requests<'_> {
    type Item = Result<Request, BadRequest>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = match self.coding {
            Coding::Json => json_in::next(&mut self.rest),
            Coding::Protobuf => protobuf_in::next(&mut self.rest),
        };
        // A message has one at least.
        let missing = std::mem::take(&mut self.first);
        let next = next.or_else(|| missing.then_some(Err(BadRequest)));
        if let Some(Err(_)) = next {
            // It is not known where another one begins.
            self.rest = &[];
        }
        next
    }
}
