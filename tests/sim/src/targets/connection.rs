//! One connection's whole life on a reactor: any bytes in, and what comes back
//! compared with the naive reading of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fanfare::config::{Deflate, Settings};
use fanfare::core::{Arrival, Reactor};
use fanfare::hub::{Clock, Hub};
use fanfare::protocol::http::{HeadLimits, Origins, negotiate, parse};
use fastrand::Rng;

use super::naive::{Meaning, meanings};
use super::split;
use crate::codec::server_frame;
use crate::kernel::{Faults, Kernel, SharedKernel};
use crate::ring::{FakeRing, Handle};

const MESSAGE_BYTES_MAX: usize = 300;
/// More than any answer here is.
const PLENTY: usize = 1 << 24;

/// Bytes 0 to 3 choose how the kernel behaves, the rest is what a client sends
/// behind its handshake.
pub fn connection(data: &[u8]) {
    let (steering, bytes) = split(data, 4);
    let at = |place: usize| steering.get(place).copied().unwrap_or(0);
    let faults = Faults {
        short_write: at(0),
        no_memory: at(0) / 4,
        dead: 0,
        late: at(1) / 2,
        refused: at(1) / 8,
        disarm: at(1) / 4,
        unattached: 0,
        copied: 255,
        requests_max: 1 + usize::from(at(2) % 32),
        completions_max: usize::MAX,
        buffers: 1 + u16::from(at(2) / 64),
        buffer_bytes: 1 + 4 * usize::from(at(3)),
    };
    let seed = steering.iter().fold(0, |seed, b| seed << 8 | u64::from(*b));
    let mut play = Play::new(seed, faults);
    let speaker = play.connect("/here?echo=true");
    let listener = play.connect("/here");
    play.kernel.borrow_mut().sockets[speaker]
        .inbound
        .extend(bytes);
    play.run();
    let wanted = meanings(bytes, MESSAGE_BYTES_MAX, false);
    let (messages, pongs, end) = sort(&wanted);
    let heard = play.hear(speaker);
    // Its own close cuts short what it is still owed.
    let cut = matches!(end, Some(Meaning::Close(_)));
    if cut {
        assert!(messages.starts_with(&heard.messages));
    } else {
        assert_eq!(heard.messages, messages);
    }
    assert_eq!(heard.pongs, pongs);
    let code = match end {
        Some(Meaning::Close(code)) => Some(*code),
        Some(Meaning::Fault(code)) => Some(Some(*code)),
        _ => None,
    };
    assert_eq!(heard.closed, code);
    let others = play.hear(listener);
    assert_eq!(others.messages, messages);
    assert!(others.pongs.is_empty() && others.closed.is_none());
    // Both go without a word.
    for socket in [speaker, listener] {
        play.kernel.borrow_mut().sockets[socket].client_fin = true;
        play.kernel.borrow_mut().poke(socket);
        play.run();
    }
    // A fault that the reader did not see itself leaves the peer some time.
    play.now_ms.fetch_add(10_000, Ordering::Relaxed);
    play.reactor.tick();
    play.run();
    assert!(play.reactor.is_empty());
    assert_eq!(play.hub.partial_bytes(), 0);
    assert_eq!(play.hub.admission().connections(), 0);
}

type Messages = Vec<(bool, Vec<u8>)>;

/// Messages, pings, and how it ends.
fn sort(meanings: &[Meaning]) -> (Messages, Vec<Vec<u8>>, Option<&Meaning>) {
    let (mut messages, mut pings, mut end) = (Vec::new(), Vec::new(), None);
    for meaning in meanings {
        match meaning {
            Meaning::Message { text, payload, .. } => messages.push((*text, payload.clone())),
            Meaning::Ping(payload) => pings.push(payload.clone()),
            Meaning::Pong(_) => {}
            Meaning::Close(_) | Meaning::Fault(_) => end = Some(meaning),
        }
    }
    (messages, pings, end)
}

struct Play {
    kernel: SharedKernel,
    hub: Arc<Hub>,
    reactor: Reactor<FakeRing>,
    now_ms: Arc<AtomicU64>,
    clients: u16,
}

/// What a client was sent behind the answer to its handshake.
struct Heard {
    messages: Messages,
    pongs: Vec<Vec<u8>>,
    closed: Option<Option<u16>>,
}

impl Play {
    fn new(seed: u64, faults: Faults) -> Self {
        let settings = Settings {
            cores: 1,
            message_bytes_max: MESSAGE_BYTES_MAX,
            deflate: Deflate::Off,
            ..Settings::default()
        };
        let now_ms = Arc::new(AtomicU64::new(1));
        let hub = Hub::with_clock(settings, Clock::Manual(now_ms.clone(), now_ms.clone()));
        let hub = hub.expect("an eventfd is to be had");
        let kernel = Kernel::new(Rng::with_seed(seed), faults, now_ms.clone());
        let ring = FakeRing::new(&kernel, 4);
        let mut reactor = Reactor::new(0, hub.clone(), ring, 4);
        reactor.start();
        Play {
            kernel,
            hub,
            reactor,
            now_ms,
            clients: 0,
        }
    }

    fn connect(&mut self, target: &str) -> usize {
        self.clients += 1;
        let peer = std::net::SocketAddr::from(([10, 0, 0, 1], self.clients));
        let admitted = self.hub.admission().admit(peer.ip(), self.hub.settings());
        admitted.expect("there is room");
        let head = format!(
            "GET {target} HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        let (request, _) = parse(head.as_bytes(), HeadLimits::default())
            .expect("a head")
            .expect("whole");
        let upgrade = negotiate(&request, &Origins::same_host(), None).expect("a good one");
        let name = upgrade.topic.as_ref().expect("the path names one");
        let topic = self.hub.topic(name).expect("there is room");
        let socket = self.kernel.borrow_mut().connect(PLENTY, PLENTY);
        let arrival = Arrival {
            peer,
            kept_alive: false,
            upgrade,
            topic: Some(topic),
            rest: Vec::new(),
            tls: None,
        };
        let adopted = self.reactor.adopt(&Handle(socket), arrival);
        adopted.expect("there is a slot");
        self.hub.admission().shake(peer.ip());
        socket
    }

    /// Until all is quiet.
    fn run(&mut self) {
        for _ in 0..100_000 {
            self.kernel.borrow_mut().progress(0, 255);
            let more = self.reactor.turn().expect("no ring fails");
            if !more && self.kernel.borrow().is_idle(0) {
                return;
            }
        }
        panic!("it never goes quiet");
    }

    fn hear(&mut self, socket: usize) -> Heard {
        let mut kernel = self.kernel.borrow_mut();
        let bytes: Vec<u8> = kernel.sockets[socket].outbound.drain(..).collect();
        let head = bytes.windows(4).position(|w| w == b"\r\n\r\n");
        let mut rest = &bytes[head.expect("an answer") + 4..];
        let mut heard = Heard {
            messages: Vec::new(),
            pongs: Vec::new(),
            closed: None,
        };
        while !rest.is_empty() {
            assert!(heard.closed.is_none(), "bytes behind the close");
            let frame = server_frame(rest).expect("whole frames");
            let payload = frame.payload.to_vec();
            match frame.opcode {
                1 | 2 => heard.messages.push((frame.opcode == 1, payload)),
                8 => {
                    let code = payload.first_chunk().map(|c| u16::from_be_bytes(*c));
                    heard.closed = Some(code);
                }
                10 => heard.pongs.push(payload),
                other => panic!("opcode {other}"),
            }
            rest = &rest[frame.len..];
        }
        heard
    }
}
