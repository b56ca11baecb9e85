//! How connections come in at each listener of a core: through the ring where that can be, else
//! through a task of the acceptor's. Settings that change, and the daemon's stopping, move a
//! listener from one to the other; whoever waits in it does not notice.

use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use socket2::Socket;
use tokio::task::JoinHandle;

use super::acceptor::{Acceptor, Door};
use super::listener::{Listener, Listeners};
use super::newcomers::HandedOn;
use super::reactor::Reactor;
use crate::config::{ProxyHeader, RingHandshakes};
use crate::ring::{Source, Uring};

/// All listeners of a core.
pub(super) struct Entrances {
    acceptor: Rc<Acceptor>,
    /// By the number of their doors; none once one is let go of.
    all: Vec<Option<Entrance>>,
    /// Where each of them leads, also when it has been let go of.
    doors: Vec<Door>,
    /// What has no plain descriptor can be given one here.
    installs: bool,
    /// Nobody is let in.
    is_shut: bool,
}

struct Entrance {
    listener: Listener,
    /// Other cores accept from it as well.
    shared: bool,
    /// An Internet address, whose sockets have options from their listener.
    is_tcp: bool,
    way: Way,
    /// What the kernel is told that it may hold unsent.
    unsent_bytes_max: usize,
}

enum Way {
    Shut,
    Ring,
    Task(JoinHandle<()>),
}

impl Entrances {
    /// Lets nobody in yet.
    ///
    /// # Errors
    /// Those of looking at sockets.
    pub(super) fn new(
        acceptor: Rc<Acceptor>,
        listeners: Listeners,
        installs: bool,
    ) -> io::Result<Self> {
        let doors = listeners.iter().map(|listener| acceptor.door_of(listener));
        let doors = doors.collect();
        let all = listeners.into_iter().map(Entrance::new);
        Ok(Entrances {
            acceptor,
            all: all.map(|made| made.map(Some)).collect::<io::Result<_>>()?,
            doors,
            installs,
            is_shut: true,
        })
    }

    /// Lets people in (again).
    ///
    /// # Errors
    /// Those of watching a socket.
    pub(super) fn open(&mut self, reactor: &mut Reactor<Uring>) -> io::Result<()> {
        self.is_shut = false;
        self.look(reactor)
    }

    /// Has each listener have the way that is right for it by now.
    ///
    /// # Errors
    /// Those of watching a socket.
    pub(super) fn look(&mut self, reactor: &mut Reactor<Uring>) -> io::Result<()> {
        if self.is_shut {
            return Ok(());
        }
        let may = self.may_use_ring();
        for (number, entrance) in self.all.iter_mut().enumerate() {
            let Some(entrance) = entrance else { continue };
            let number = number as u32;
            entrance.bound_unsent(self.acceptor.hub.settings().unsent_bytes_max);
            let ring = may && !entrance.listener.tls && !reactor.has_failed_at(number);
            match (&entrance.way, ring) {
                (Way::Ring, true) | (Way::Task(_), false) => continue,
                (Way::Shut | Way::Task(_), true) => {
                    match reactor.open_door(number, &entrance.listener.socket, entrance.shared) {
                        Ok(()) => entrance.shut_task(),
                        Err(error) => {
                            tracing::warn!(%error, "cannot accept through the ring at the moment");
                            entrance.start_task(&self.acceptor, self.doors[number as usize])?;
                            continue;
                        }
                    }
                    entrance.way = Way::Ring;
                }
                (Way::Shut | Way::Ring, false) => {
                    if reactor.has_failed_at(number) {
                        tracing::warn!("a listener cannot be accepted from through the ring");
                    }
                    reactor.close_door(number);
                    entrance.start_task(&self.acceptor, self.doors[number as usize])?;
                }
            }
        }
        Ok(())
    }

    fn may_use_ring(&self) -> bool {
        let hub = &self.acceptor.hub;
        let settings = hub.settings();
        // Nearly all would come from the proxies, and be handed on for what these say.
        let is_behind =
            settings.proxy_header != ProxyHeader::None && !settings.trusted_proxies.is_empty();
        let wants = settings.ring_handshakes == RingHandshakes::Auto && !is_behind;
        // Whoever comes while the daemon stops is refused, which is the acceptor's to do.
        self.installs && wants && !hub.is_stopping()
    }

    /// Lets nobody in any more, for now. Who is being accepted at this moment still is.
    pub(super) fn shut(&mut self, reactor: &mut Reactor<Uring>) {
        self.is_shut = true;
        reactor.close_doors();
        for entrance in self.all.iter_mut().flatten() {
            entrance.shut_task();
            entrance.way = Way::Shut;
        }
    }

    /// Leaves the service manager's sockets to the next daemon, with who waits in them.
    pub(super) fn leave_to_next(&mut self, reactor: &mut Reactor<Uring>) {
        for (number, place) in self.all.iter_mut().enumerate() {
            if let Some(mut entrance) = place.take_if(|entrance| entrance.listener.activated) {
                reactor.close_door(number as u32);
                entrance.shut_task();
            }
        }
    }

    /// Ends listening. Who has come by now is still told so.
    pub(super) fn end(&mut self, reactor: &mut Reactor<Uring>) {
        self.shut(reactor);
        for entrance in self.all.drain(..).flatten() {
            self.acceptor.take_waiting(&entrance.listener);
            // A socket of the service manager's lives on, and who comes waits in it for the next
            // daemon. One that cores share lives on while another core accepts from it.
            if !entrance.listener.activated && !entrance.shared {
                end(&entrance.listener.socket);
            }
        }
    }

    /// The acceptor has these now.
    pub(super) fn take_over(&self, handed_on: Vec<HandedOn<OwnedFd>>) {
        for newcomer in handed_on {
            let door = self.doors[newcomer.door as usize];
            self.acceptor.go_on_with(newcomer, door);
        }
    }
}

impl Entrance {
    fn new(listener: Listener) -> io::Result<Self> {
        let socket = &listener.socket;
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        Ok(Entrance {
            // A core's own socket shares its port; another is shared itself.
            shared: !socket.reuse_port().unwrap_or(false),
            is_tcp: address.as_socket().is_some(),
            listener,
            way: Way::Shut,
            unsent_bytes_max: 0,
        })
    }

    /// Accepted connections inherit it, where they do.
    fn bound_unsent(&mut self, bytes_max: usize) {
        if self.is_tcp && self.unsent_bytes_max != bytes_max {
            let set = self.listener.socket.set_tcp_notsent_lowat(bytes_max as u32);
            match set {
                Ok(()) => self.unsent_bytes_max = bytes_max,
                Err(error) => tracing::warn!(%error, "cannot bound what is held unsent"),
            }
        }
    }

    fn start_task(&mut self, acceptor: &Rc<Acceptor>, door: Door) -> io::Result<()> {
        let socket = Source::watch(self.listener.socket.try_clone()?)?;
        let accepting = acceptor.clone().accept(socket, self.shared, door);
        self.way = Way::Task(tokio_uring::spawn(accepting));
        Ok(())
    }

    fn shut_task(&mut self) {
        if let Way::Task(task) = &self.way {
            task.abort();
        }
    }
}

/// Ends listening, so that who comes now is refused at once. Closing would not do: a handle is
/// kept for a successor, or by a process before.
pub(super) fn end(listener: &Socket) {
    if let Err(error) = listener.shutdown(Shutdown::Both) {
        tracing::warn!(%error, "cannot end listening");
    }
}
