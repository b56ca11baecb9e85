//! Fanfare: one message in, every WebSocket subscriber hears it.
//!
//! Who may know whom, from the bottom up: [`mask`], [`lines`] and [`protocol`] know nobody;
//! [`log`] knows encodings by one trait; [`ring`] alone talks io_uring; [`core`] joins
//! them on one thread; [`admin`] talks to the cores through the [`hub`]; a [`keeper`] keeps
//! messages outside of memory. [`shell`] and [`top`] are clients, which reach a daemon by [`client`]
//! alone and share no protocol with the rest.

pub mod admin;
pub mod bind;
pub mod cli;
pub mod client;
pub mod config;
pub mod core;
pub mod handover;
pub mod hub;
pub mod keeper;
pub mod lines;
pub mod log;
pub mod mask;
pub mod page;
pub mod protocol;
pub mod ring;
pub mod service;
pub mod shell;
pub mod top;
