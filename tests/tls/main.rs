//! The record layer of TLS, from outside: by the test vectors of RFC 8448, by records that no
//! library would send, and with rustls as the peer.

mod alerts;
mod bad_records;
mod client;
mod extraction;
mod handshake_messages;
mod hearing;
mod partial;
mod rustls_peer;
mod sealing;
mod vectors;
