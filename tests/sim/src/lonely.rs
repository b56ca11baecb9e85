//! One core alone, on a kernel that does what it is asked at once: for what must hold exactly.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fanfare::config::Settings;
use fanfare::core::{Arrival, DoorPlan};
use fanfare::hub::Hub;
use fanfare::protocol::http::{HeadLimits, negotiate, parse};
use fanfare::protocol::ws::deflate::Policy;
use fastrand::Rng;

use crate::end::TICK_MS;
use crate::kernel::{Faults, Kernel, SharedKernel};
use crate::ring::Handle;
use crate::world::{CoreRun, new_hub};

/// Turns in which a core comes to rest if nothing happens.
const TURNS_MAX: usize = 100;

pub(crate) struct Lonely {
    pub(crate) hub: Arc<Hub>,
    kernel: SharedKernel,
    pub(crate) core: CoreRun,
    now_ms: Arc<AtomicU64>,
    hub_ms: Arc<AtomicU64>,
}

impl Lonely {
    pub(crate) fn new(settings: Settings) -> Self {
        Lonely::of(settings, 256, usize::MAX)
    }

    /// One that makes so many requests at a time, and is told so much at a time.
    pub(crate) fn of(settings: Settings, requests_max: usize, completions_max: usize) -> Self {
        let mut rng = Rng::with_seed(1);
        let settings = Settings {
            cores: 1,
            ..settings
        };
        let faults = Faults {
            short_write: 0,
            no_memory: 0,
            dead: 0,
            late: 0,
            refused: 0,
            disarm: 0,
            unattached: 0,
            copied: 0,
            requests_max,
            completions_max,
            buffers: 8,
            buffer_bytes: 4096,
        };
        let now_ms = Arc::new(AtomicU64::new(1));
        let (hub, hub_ms) = new_hub(&mut rng, &settings, &now_ms);
        let kernel = Kernel::new(rng, faults, now_ms.clone());
        let mut core = CoreRun::new(0, &hub, &kernel, 16);
        core.reactor.start();
        Lonely {
            hub,
            kernel,
            core,
            now_ms,
            hub_ms,
        }
    }

    /// A connection to `target` whose head has these lines; returns its socket.
    pub(crate) fn connect(&mut self, target: &str, lines: &str) -> usize {
        let head = opening(target, lines);
        let (request, _) = parse(head.as_bytes(), HeadLimits::default())
            .expect("a head")
            .expect("whole");
        let policy = Policy {
            client_takeover: false,
        };
        let upgrade = negotiate(&request, self.hub.origins(), Some(policy)).expect("a good one");
        let name = upgrade.topic.as_ref().expect("the path names one");
        let topic = self.hub.topic(name).expect("there is room");
        let socket = self.kernel.borrow_mut().connect(1 << 20, 1 << 20);
        let ip = [192, 0, 2, 1].into();
        let admission = self.hub.admission();
        let admitted = admission.admit(ip, self.hub.settings());
        admitted.expect("there is room");
        admission.shake(ip);
        let arrival = Arrival {
            peer: (ip, 1).into(),
            kept_alive: false,
            upgrade,
            topic: Some(topic),
            rest: Vec::new(),
            tls: None,
        };
        let adopted = self.core.reactor.adopt(&Handle(socket), arrival);
        assert!(adopted.is_ok(), "it is seated");
        self.core.awake = true;
        socket
    }

    /// Has the core accept at a door.
    pub(crate) fn open_door(&mut self, plan: DoorPlan) {
        let added = self.core.reactor.add_door(0, &Handle(0), plan);
        added.expect("there are descriptors");
        self.core.reactor.open_door(0);
        self.core.awake = true;
    }

    /// Somebody comes to that door, and says this.
    pub(crate) fn come(&mut self, bytes: &[u8]) -> usize {
        let mut kernel = self.kernel.borrow_mut();
        let socket = kernel.connect(1 << 20, 1 << 20);
        let peer = ([192, 0, 2, 1], 1000 + socket as u16).into();
        kernel.wait_in(0, socket, peer);
        drop(kernel);
        self.write(socket, bytes);
        socket
    }

    /// A tick passes, and what comes of it.
    pub(crate) fn tick(&mut self) {
        self.pass(TICK_MS);
        self.core.reactor.tick();
        self.core.awake = true;
        self.run_dry();
    }

    /// A client writes.
    pub(crate) fn write(&mut self, socket: usize, bytes: &[u8]) {
        let mut kernel = self.kernel.borrow_mut();
        kernel.sockets[socket].inbound.extend(bytes);
        kernel.poke(socket);
    }

    /// A client goes.
    pub(crate) fn leave(&mut self, socket: usize) {
        let mut kernel = self.kernel.borrow_mut();
        kernel.sockets[socket].client_fin = true;
        kernel.poke(socket);
    }

    /// All that a client has been sent since it last read.
    pub(crate) fn read(&mut self, socket: usize) -> Vec<u8> {
        let mut kernel = self.kernel.borrow_mut();
        kernel.sockets[socket].outbound.drain(..).collect()
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.now_ms.load(Ordering::Relaxed)
    }

    pub(crate) fn pass(&self, ms: u64) {
        self.now_ms.fetch_add(ms, Ordering::Relaxed);
        self.hub_ms.fetch_add(ms, Ordering::Relaxed);
    }

    /// One turn.
    pub(crate) fn turn(&mut self) {
        self.core.awake = self.core.reactor.turn().expect("no ring fails");
    }

    /// Turns for as long as the core is woken or has more to do. Returns how often it did.
    pub(crate) fn run_dry(&mut self) -> usize {
        let wake = |lonely: &mut Lonely| {
            let eventfd = lonely.hub.mailbox(0).wake_fd();
            let written = nix::unistd::read(eventfd, &mut [0; 8]).is_ok();
            let signal = lonely.kernel.borrow_mut().take_signal(lonely.core.side);
            let until_us = lonely.core.reactor.rests_until_us();
            let rested = until_us.is_some_and(|until_us| until_us <= lonely.hub.now_us());
            written | signal | rested | std::mem::take(&mut lonely.core.awake)
        };
        for turns in 0..TURNS_MAX {
            if !wake(self) {
                return turns;
            }
            self.turn();
        }
        panic!("the core does not come to rest");
    }
}

/// The head of a request to open a WebSocket.
pub(crate) fn opening(target: &str, lines: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         {lines}\r\n"
    )
}
