//! One core on which a message waits for room that never comes: what that costs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fanfare::config::Settings;
use fanfare::core::Arrival;
use fanfare::hub::Hub;
use fanfare::protocol::http::{HeadLimits, negotiate, parse};
use fanfare::protocol::reason::CloseReason;
use fanfare::protocol::ws::deflate::Policy;
use fastrand::Rng;

use crate::codec::client_frame;
use crate::end::LOOK_MS;
use crate::kernel::{Faults, Kernel, SharedKernel};
use crate::ring::Handle;
use crate::world::{CoreRun, new_hub};

const MESSAGE_BYTES: usize = 16 << 10;
const STALL_MS_MAX: u64 = 1000;
/// Views of the topic: as it is, for chats, and compressed with two windows.
const VIEWS: u64 = 4;
/// Turns in which a core comes to rest if nothing happens.
const TURNS_MAX: usize = 100;

struct Lonely {
    hub: Arc<Hub>,
    kernel: SharedKernel,
    core: CoreRun,
    now_ms: Arc<AtomicU64>,
    hub_ms: Arc<AtomicU64>,
}

impl Lonely {
    fn new() -> Self {
        let mut rng = Rng::with_seed(1);
        let settings = Settings {
            cores: 1,
            message_bytes_max: MESSAGE_BYTES,
            // With what belongs to each message, four of the longest are more.
            log_bytes_max: 4 * MESSAGE_BYTES,
            lag_bytes_max: MESSAGE_BYTES,
            stall_ms_max: STALL_MS_MAX,
            ..Settings::default()
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
            requests_max: 256,
            buffers: 8,
            buffer_bytes: 4096,
        };
        let now_ms = Arc::new(AtomicU64::new(1));
        let (hub, hub_ms) = new_hub(&mut rng, &settings, &now_ms);
        let kernel = Kernel::new(rng, faults, now_ms.clone());
        let mut core = CoreRun::new(0, &hub, &kernel, 8);
        core.reactor.start();
        Lonely {
            hub,
            kernel,
            core,
            now_ms,
            hub_ms,
        }
    }

    /// A connection whose head has these lines; returns its socket.
    fn connect(&mut self, lines: &str) -> usize {
        let head = format!(
            "GET /topic HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             {lines}\r\n"
        );
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
        let arrival = Arrival {
            peer: ([192, 0, 2, 1], 1).into(),
            upgrade,
            topic: Some(topic),
            rest: Vec::new(),
            tls: None,
        };
        let adopted = self.core.reactor.adopt(&Handle(socket), arrival);
        assert!(adopted.is_ok(), "it is seated");
        socket
    }

    /// Turns for as long as the core is woken or has more to do.
    fn run_dry(&mut self) {
        let wake = |lonely: &mut Lonely| {
            let eventfd = lonely.hub.mailbox(0).wake_fd();
            let written = nix::unistd::read(eventfd, &mut [0; 8]).is_ok();
            written | lonely.kernel.borrow_mut().take_signal(lonely.core.side)
        };
        let mut more = true;
        for _ in 0..TURNS_MAX {
            if !(wake(self) | more) {
                return;
            }
            more = self.core.reactor.turn().expect("no ring fails");
        }
        panic!("the core does not come to rest");
    }
}

/// A message lacks room in the last of its topic's views, for good. Its core comes to
/// rest each time that it has looked, encodes nothing for nothing, and at last closes the
/// publisher.
///
/// # Panics
/// If it is otherwise.
pub fn comes_to_rest() {
    let mut lonely = Lonely::new();
    lonely.connect("Sec-WebSocket-Protocol: chat\r\n");
    lonely.connect("Sec-WebSocket-Extensions: permessage-deflate\r\n");
    lonely.connect("Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=9\r\n");
    let publisher = lonely.connect("");
    lonely.run_dry();
    let mut noise = Rng::with_seed(2);
    let payload: Vec<u8> = (0..MESSAGE_BYTES).map(|_| noise.u8(..)).collect();
    let mut kernel = lonely.kernel.borrow_mut();
    let frame = client_frame(0x82, [1, 2, 3, 4], &payload);
    kernel.sockets[publisher].inbound.extend(frame);
    kernel.poke(publisher);
    drop(kernel);
    lonely.run_dry();
    let hub = lonely.hub.clone();
    let metrics = &hub.mailbox(0).metrics;
    assert_eq!(metrics.room_waits.get(), 1, "there is no room for it");
    let closes = || metrics.closes[CloseReason::LogFull.index()].get();
    for _ in 0..=2 * STALL_MS_MAX / LOOK_MS {
        assert_eq!(closes(), 0, "readers are still to have their time");
        lonely.now_ms.fetch_add(LOOK_MS, Ordering::Relaxed);
        lonely.hub_ms.fetch_add(LOOK_MS, Ordering::Relaxed);
        lonely.core.reactor.turn().expect("no ring fails");
        lonely.run_dry();
    }
    assert_eq!(closes(), 1, "it will never fit");
    assert!(metrics.room_tries.get() < VIEWS);
}
