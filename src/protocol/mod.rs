//! What goes over the wire, without I/O, clock or threads: HTTP heads and the opening
//! handshake ([`http`]), WebSocket frames and messages ([`ws`]), topic names
//! ([`topic`]) and the lines of the chat ([`chat`]).

#![forbid(unsafe_code)]

pub mod chat;
pub mod http;
pub mod topic;
pub mod ws;
