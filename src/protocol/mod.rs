//! What goes over the wire, without I/O, clock or threads: HTTP heads and the opening
//! handshake ([`http`]), what a request becomes ([`opening`]), WebSocket frames and messages
//! ([`ws`]), the lines of a batch ([`batch`]), topic names ([`topic`]), the lines of the chat ([`chat`]), the messages of
//! Centrifugo's client protocol ([`centrifugo`]), names, ids and signatures of the
//! Pusher Channels protocol ([`pusher`]), Server-Sent Events ([`event_stream`]) and Mercure's
//! protocol on top of them ([`mercure`]), what several of them have in common of messages
//! ([`json`], [`member`], [`numbered`]), what proxies say of their clients
//! ([`proxy`]), the records of TLS ([`tls`]) and what certificates say of themselves
//! ([`certificate`]), who may do what ([`rights`]) and why connections end ([`reason`]); whose
//! trace a request belongs to ([`trace_context`]) and how spans are told ([`otlp`]).

#![forbid(unsafe_code)]

pub mod batch;
pub mod centrifugo;
pub mod certificate;
pub mod chat;
pub mod dialect;
pub mod encoding;
pub mod event_stream;
pub mod http;
pub mod json;
pub mod member;
pub mod mercure;
pub mod numbered;
pub mod opening;
pub mod otlp;
pub mod proxy;
pub mod pusher;
pub mod reason;
pub mod rights;
pub mod tls;
pub mod topic;
pub mod trace_context;
pub mod ws;
