//! The real daemon, driven from outside over real connections.

#[path = "../common/mod.rs"]
mod common;

mod bad_frames;
mod bad_peers;
mod bad_requests;
mod broadcast;
mod centrifugo;
mod chat;
mod command;
mod deadlines;
mod deflated;
mod descriptors;
mod handover;
mod inflated_limits;
mod joins;
mod lag;
mod limits;
mod listening;
mod one_order;
mod opening;
mod pausing;
mod pressure;
mod replay;
mod resume_deflated;
mod rights;
mod safe_start;
mod saved_logs;
mod stop;
mod topics;
mod views;
