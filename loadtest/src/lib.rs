//! Thousands of WebSocket clients on one machine, to see what a broadcast
//! server carries. It shares no code with any server: a witness of its own.

pub mod check;
pub mod client;
pub mod clock;
pub mod codec;
pub mod payload;
pub mod ring;
pub mod target;
pub mod worker;
