//! What goes over the wire, without I/O, clock or threads: HTTP heads and the opening
//! handshake ([`http`]), WebSocket frames and messages ([`ws`]), topic names
//! ([`topic`]), the lines of the chat ([`chat`]) and what proxies say of their clients
//! ([`proxy`]).

#![forbid(unsafe_code)]

pub mod chat;
pub mod http;
pub mod proxy;
pub mod topic;
pub mod ws;
