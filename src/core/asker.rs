//! Who asks, as far as it counts for the answer.

use std::net::IpAddr;

use crate::config;
use crate::protocol::http::hosts::Via;

/// Whose request it is, and where it has come in.
pub(super) struct Asker {
    pub(super) ip: IpAddr,
    pub(super) via: Via,
    /// Whose it is is known.
    pub(super) is_named: bool,
    /// It has come over TLS.
    pub(super) tls: bool,
    /// The server API is served there.
    pub(super) api: bool,
}

/// By what way somebody comes from that address.
pub(super) fn via(settings: &config::Settings, ip: IpAddr) -> Via {
    match ip {
        ip if settings.is_trusted_proxy(ip) => Via::Proxy,
        ip if ip.is_loopback() => Via::Loopback,
        _ => Via::Network,
    }
}
