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
use super::complaints;
use super::keepalive::Told;
use super::listener::{Listener, Listeners};
use super::newcomers::{DoorPlan, HandedOn};
use super::reactor::Reactor;
use crate::config::{ProxyHeader, RingHandshakes, Switch};
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
    listener: Rc<Listener>,
    /// An Internet address, whose sockets have options from their listener.
    is_tcp: bool,
    way: Way,
    /// What the kernel is told that it may hold unsent.
    unsent_bytes_max: usize,
    /// Whether it keeps who says nothing; none where it has not been told.
    defers: Option<bool>,
    keepalive: Told,
}

enum Way {
    Shut,
    Ring,
    Task(JoinHandle<()>),
}

impl Entrances {
    /// Lets nobody in yet. All descriptors that are ever needed are had now: later there may be
    /// none left.
    ///
    /// # Errors
    /// Those of looking at sockets, and of duplicating them.
    pub(super) fn new(
        acceptor: Rc<Acceptor>,
        listeners: Listeners,
        installs: bool,
    ) -> io::Result<Self> {
        let doors = listeners.iter().map(|listener| acceptor.door_of(listener));
        let doors: Vec<Door> = doors.collect();
        for (number, (listener, door)) in listeners.iter().zip(&doors).enumerate() {
            if installs && !door.tls {
                let (shared, api) = (listener.shared, door.api);
                let mut reactor = acceptor.reactor.borrow_mut();
                reactor.add_door(number as u32, &listener.socket, DoorPlan { shared, api })?;
            }
        }
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
    pub(super) fn open(&mut self, reactor: &mut Reactor<Uring>) {
        self.is_shut = false;
        self.look(reactor);
    }

    /// Has each listener have the way that is right for it by now. To be called with every tick.
    pub(super) fn look(&mut self, reactor: &mut Reactor<Uring>) {
        if self.is_shut {
            return;
        }
        let may = self.may_use_ring();
        let settings = self.acceptor.hub.settings();
        let (bytes_max, defers) = (settings.unsent_bytes_max, settings.defer_accept);
        self.look_at_keepalive(reactor);
        for (number, entrance) in self.all.iter_mut().enumerate() {
            let Some(entrance) = entrance else { continue };
            let door = self.doors[number];
            let number = number as u32;
            entrance.defer_accept(defers == Switch::On);
            if entrance.bound_unsent(bytes_max) {
                let guests_max = self.acceptor.guests_max;
                self.acceptor.take_waiting(&entrance.listener, guests_max);
            }
            let has_failed = reactor.has_failed_at(number);
            let ring = may && !door.tls && !has_failed;
            match (&entrance.way, ring) {
                (Way::Ring, true) | (Way::Task(_), false) => {}
                (Way::Shut | Way::Task(_), true) => {
                    entrance.shut_task();
                    reactor.open_door(number);
                    entrance.way = Way::Ring;
                }
                (Way::Ring, false) => {
                    if has_failed {
                        tracing::warn!("a listener cannot be accepted from through the ring");
                    }
                    reactor.close_door(number);
                    entrance.start_task(&self.acceptor, door);
                }
                (Way::Shut, false) => entrance.start_task(&self.acceptor, door),
            }
        }
    }

    /// Has the kernel keep alive who comes, or not, as the settings say. Peers at sockets of this
    /// machine end with their processes, which the kernel tells anyway.
    fn look_at_keepalive(&mut self, reactor: &mut Reactor<Uring>) {
        let probes = self.acceptor.hub.settings().probes();
        let (mut all, mut always) = (probes.is_some(), true);
        let entrances = self.all.iter_mut().flatten();
        for entrance in entrances.filter(|entrance| entrance.is_tcp) {
            entrance.keepalive.tell(&entrance.listener, probes);
            all &= entrance.keepalive.is_so;
            always &= entrance.keepalive.was_so;
        }
        match all {
            true => reactor.have_kernel_keep_alive(always),
            false => reactor.have_pings_keep_alive(),
        }
        let kept_alive = reactor.is_kept_alive_by_kernel();
        self.acceptor.kept_alive.set(kept_alive);
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
            self.acceptor.take_waiting(&entrance.listener, usize::MAX);
            // A socket of the service manager's lives on, and who comes waits in it for the next
            // daemon. One that cores share lives on while another core accepts from it.
            if !entrance.listener.activated && !entrance.listener.shared {
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
            is_tcp: address.as_socket().is_some(),
            listener: Rc::new(listener),
            way: Way::Shut,
            unsent_bytes_max: 0,
            defers: None,
            keepalive: Told::default(),
        })
    }

    /// Bounds what the kernel holds unsent for connections, which have that from the listener
    /// where they come over TCP. True if many may wait to be accepted who have come before, and
    /// have to be told apart.
    fn bound_unsent(&mut self, bytes_max: usize) -> bool {
        if !self.is_tcp || self.unsent_bytes_max == bytes_max {
            return false;
        }
        let socket = &self.listener.socket;
        // A process before this one may have done so.
        let is_so = socket.tcp_notsent_lowat().ok() == Some(bytes_max as u32);
        if !is_so && let Err(error) = socket.set_tcp_notsent_lowat(bytes_max as u32) {
            tracing::warn!(%error, "cannot bound what is held unsent");
        }
        self.unsent_bytes_max = bytes_max;
        // A socket of our own was told before anybody came.
        !is_so && self.listener.activated
    }

    /// Has the kernel keep who connects and says nothing yet, or not.
    fn defer_accept(&mut self, defers: bool) {
        if !self.is_tcp || self.defers == Some(defers) {
            return;
        }
        if let Err(error) = self.listener.defer_accept(defers) {
            tracing::warn!(%error, "cannot say how long who says nothing is kept by the kernel");
        }
        self.defers = Some(defers);
    }

    /// Without a further descriptor, of which none may be left. What cannot be had now is tried
    /// again with the next look.
    fn start_task(&mut self, acceptor: &Rc<Acceptor>, door: Door) {
        self.way = match Source::watch(self.listener.clone()) {
            Ok(source) => {
                let accepting = acceptor.clone().accept(source, self.listener.shared, door);
                Way::Task(tokio_uring::spawn(accepting))
            }
            Err(error) => {
                complaints::of_accepting(&acceptor.hub, &error);
                Way::Shut
            }
        };
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
