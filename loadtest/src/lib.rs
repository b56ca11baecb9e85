//! Thousands of WebSocket clients on one machine, to see what a broadcast
//! server carries. It shares no code with any server: a witness of its own.

pub mod args;
pub mod check;
pub mod client;
pub mod clock;
pub mod codec;
pub mod html;
pub mod observe;
pub mod outcome;
pub mod payload;
pub mod plot;
pub mod progress;
pub mod ring;
pub mod scenario;
pub mod session;
pub mod table;
pub mod target;
pub mod worker;
