//! The real daemon, driven from outside over real connections.

#[path = "../common/mod.rs"]
mod common;
#[allow(dead_code, reason = "the tests of the link alone use all of it")]
#[path = "../nats/server.rs"]
mod nats_server;
#[path = "../common/tokens.rs"]
mod tokens;

mod apps;
mod apps_crowded;
mod apps_lasting;
mod bad_frames;
mod bad_peers;
mod bad_requests;
mod broadcast;
mod centrifugo;
mod centrifugo_orders;
mod centrifugo_presence;
mod centrifugo_recovery;
mod centrifugo_revoking;
mod centrifugo_sequences;
mod centrifugo_subscriptions;
mod centrifugo_tokens;
mod centrifugo_waiting;
mod chat;
mod clustered;
mod command;
mod deadlines;
mod deflated;
mod deflated_envelopes;
mod descriptors;
mod event_source;
mod event_streams;
mod event_streams_lasting;
mod event_streams_refused;
mod guarded;
mod handover;
mod hello;
mod hook_server;
mod inflated_limits;
mod joins;
mod kept;
mod lag;
mod limits;
mod listening;
mod mercure;
mod message_limits;
mod one_order;
mod opening;
mod origins;
mod pace;
mod pausing;
mod pressure;
mod replay;
mod resume_deflated;
mod rights;
mod ring_handshakes;
mod safe_start;
mod saved_logs;
mod sent_again;
mod slow_tokens;
mod speaking;
mod spinning;
mod stop;
mod tls;
mod tls_abuse;
mod tls_certificates;
mod tls_living;
mod tls_talking;
mod tls_world;
mod topics;
mod views;
mod webhooks;
mod world;
