//! Who sees whether a silent peer lives: the daemon with pings, or the kernel with the keepalive
//! of TCP, as the setting `keepalive` says.
//!
//! The kernel is told at the listeners, from which accepted connections have it. Nothing tells
//! which connections came before that: so for as long as one may wait to be accepted, whoever is
//! accepted is pinged. Who is pinged is pinged for good, also in another process,
//! and so it is with the others.

use std::io;

use socket2::{Socket, TcpKeepalive};

use super::listener::Listener;
use crate::config::Probes;

/// Since when connections that come have been kept alive by the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum KeptAlive {
    /// They are pinged.
    #[default]
    Never,
    /// Those that are accepted from that time on, by the core's clock.
    From(u64),
}

/// Has the kernel keep alive, or not, who is accepted from a listener of TCP from now on.
///
/// # Errors
/// Those of setting socket options.
pub fn keep_alive(listener: &Socket, probes: Option<Probes>) -> io::Result<()> {
    let Some(probes) = probes else {
        listener.set_keepalive(false)?;
        return listener.set_tcp_user_timeout(None);
    };
    let keepalive = TcpKeepalive::new()
        .with_time(probes.silent)
        .with_interval(probes.interval)
        .with_retries(probes.count);
    listener.set_tcp_keepalive(&keepalive)?;
    listener.set_tcp_user_timeout(Some(probes.unanswered))
}

/// Whether the kernel does so already, and likewise.
fn is_kept_alive(listener: &Socket, probes: Option<Probes>) -> io::Result<bool> {
    let Some(probes) = probes else {
        return Ok(!listener.keepalive()? && listener.tcp_user_timeout()?.is_none());
    };
    Ok(listener.keepalive()?
        && listener.tcp_keepalive_time()? == probes.silent
        && listener.tcp_keepalive_interval()? == probes.interval
        && listener.tcp_user_timeout()? == Some(probes.unanswered))
}

/// What the kernel has been told at one listener.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// None where nobody has looked yet.
    wanted: Option<Option<Probes>>,
    /// It does so.
    pub(super) is_so: bool,
    /// It has done so since before this core had the listener.
    pub(super) was_so: bool,
}

impl Told {
    /// Tells it, where that is news.
    pub(super) fn tell(&mut self, listener: &Listener, probes: Option<Probes>) {
        if self.wanted == Some(probes) {
            return;
        }
        let is_first = self.wanted.replace(probes).is_none();
        let socket = &listener.socket;
        self.was_so = is_first && is_kept_alive(socket, probes).unwrap_or(false);
        // What the service manager was told to set is left as it is until something else is wanted.
        let is_left = is_first && probes.is_none() && listener.activated;
        let told = match self.was_so || is_left {
            true => Ok(()),
            false => keep_alive(socket, probes),
        };
        self.is_so = told.is_ok();
        if let Err(error) = told {
            tracing::warn!(%error, "the kernel cannot keep connections alive: they are pinged");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::config::{Keepalive, Settings};

    fn listener(activated: bool) -> Listener {
        Listener {
            socket: TcpListener::bind("127.0.0.1:0").unwrap().into(),
            tls: false,
            shared: false,
            activated,
        }
    }

    fn by_kernel() -> Option<Probes> {
        let settings = Settings {
            keepalive: Keepalive::Kernel,
            ..Settings::default()
        };
        settings.probes()
    }

    #[test]
    fn who_is_accepted_has_what_its_listener_was_told() {
        let listener = listener(false).socket;
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        for probes in [by_kernel(), None] {
            assert!(!is_kept_alive(&listener, probes).unwrap());
            keep_alive(&listener, probes).unwrap();
            assert!(is_kept_alive(&listener, probes).unwrap());
            let _there = TcpStream::connect(address).unwrap();
            let (here, _) = listener.accept().unwrap();
            assert!(is_kept_alive(&here, probes).unwrap());
        }
    }

    #[test]
    fn it_is_known_whether_somebody_may_have_come_before() {
        let listener = listener(false);
        keep_alive(&listener.socket, by_kernel()).unwrap();
        let mut told = Told::default();
        told.tell(&listener, by_kernel());
        assert!(told.is_so && told.was_so);
        told.tell(&listener, None);
        assert!(told.is_so && !told.was_so);
        assert!(!listener.socket.keepalive().unwrap());
        told.tell(&listener, by_kernel());
        assert!(told.is_so && !told.was_so);
    }

    #[test]
    fn what_the_service_manager_has_set_stays_until_something_else_is_wanted() {
        for activated in [true, false] {
            let listener = listener(activated);
            listener.socket.set_keepalive(true).unwrap();
            let mut told = Told::default();
            told.tell(&listener, None);
            assert_eq!(listener.socket.keepalive().unwrap(), activated);
            told.tell(&listener, by_kernel());
            told.tell(&listener, None);
            assert!(!listener.socket.keepalive().unwrap());
        }
    }
}
