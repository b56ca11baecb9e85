//! People talking: who comes, what they say and who goes, line by line.

use super::{Command, Context, Incoming};
use crate::mask;
use crate::protocol::chat;
use crate::protocol::encoding::Extras;
use crate::protocol::reason::CloseReason;
use crate::protocol::ws::{Fault, Payload};

/// Tells the chat's lines from others.
pub(super) fn extras() -> Extras<'static> {
    Extras {
        tags: chat::TAGS,
        ..Extras::default()
    }
}

pub(super) fn entered(context: &Context<'_>) -> String {
    chat::welcome(context.peer)
}

pub(super) fn left(context: &Context<'_>) -> String {
    chat::logout(context.peer)
}

pub(super) fn handle_message<'a>(
    context: &Context<'_>,
    message: Incoming<'a>,
) -> Result<Command<'a>, CloseReason> {
    if !message.text {
        return Err(CloseReason::ChatBinary);
    }
    let unmasked;
    let bytes = match message.payload {
        Payload::Masked { bytes, key } => {
            let mut plain = bytes.to_vec();
            mask::unmask(&mut plain, key);
            unmasked = plain;
            &unmasked[..]
        }
        Payload::Whole(bytes) => bytes,
    };
    let text = simdutf8::basic::from_utf8(bytes).map_err(|_| CloseReason::Fault(Fault::Utf8))?;
    if text.trim_end_matches(['\r', '\n']) == "quit" {
        return Ok(Command::SayAndLeave(left(context)));
    }
    let time = (context.time_of_day)();
    Ok(Command::Say(chat::say(&time, context.peer, text)))
}
