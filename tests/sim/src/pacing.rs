//! One core with a topic that has a pace: who is sent to when.

use fanfare::config::Settings;
use fanfare::core::DoorPlan;
use fanfare::protocol::topic::TopicName;
use fanfare::protocol::ws::Opcode;
use fastrand::Rng;

use crate::codec::{client_frame, server_frame};
use crate::lonely::{Lonely, opening};
use crate::plan::paced;

/// Beside it there are topics without a pace.
const PACED: &str = "paced";
const LONGEST_MS: u64 = 60_000;

struct Paced {
    lonely: Lonely,
    rng: Rng,
    pace_ms: u64,
    /// When each message was published, the first one at 0.
    published_ms: Vec<u64>,
    /// A client that speaks, and does not hear itself.
    speaker: usize,
    listeners: Vec<Listener>,
}

struct Listener {
    socket: usize,
    inbox: Vec<u8>,
    greeted: bool,
    /// The number of the message that it is to hear next.
    next: usize,
    /// When it was last sent something that was new, if it was.
    sent_ms: Option<u64>,
    /// Messages up to this one were published before it came: it is not held up for them.
    old: usize,
    closed: bool,
}

impl Paced {
    fn new(seed: u64, pace_ms: u64) -> Self {
        let settings = Settings {
            topics: vec![paced(PACED, pace_ms)],
            ahead_bytes_max: 4 << 10,
            ..Settings::default()
        };
        let mut lonely = Lonely::new(settings);
        let speaker = lonely.connect("/paced", "");
        let mut paced = Paced {
            lonely,
            rng: Rng::with_seed(seed),
            pace_ms,
            published_ms: Vec::new(),
            speaker,
            listeners: Vec::new(),
        };
        paced.lonely.run_dry();
        paced
    }

    fn listen(&mut self, target: &str, next: usize) {
        let socket = self.lonely.connect(target, "");
        self.listeners.push(Listener {
            socket,
            inbox: Vec::new(),
            greeted: false,
            next,
            sent_ms: None,
            old: self.published_ms.len(),
            closed: false,
        });
    }

    /// Somebody publishes the next message, padded to `bytes`.
    fn publish(&mut self, bytes: usize) {
        let mut payload = format!("{};", self.published_ms.len()).into_bytes();
        payload.resize(payload.len().max(bytes), b'.');
        self.published_ms.push(self.lonely.now_ms());
        if self.rng.bool() {
            let frame = client_frame(0x82, [1, 2, 3, 4], &payload);
            return self.lonely.write(self.speaker, &frame);
        }
        let topic = TopicName::new(PACED).expect("a good name");
        let published = self
            .lonely
            .hub
            .publish(&topic, Opcode::Binary, &payload, None);
        published.expect("there is room");
    }

    /// The core does what it wants to, and everybody reads what has come by now.
    fn run(&mut self) -> usize {
        let turns = self.lonely.run_dry();
        let now_ms = self.lonely.now_ms();
        for listener in &mut self.listeners {
            let bytes = self.lonely.read(listener.socket);
            listener.hear(&bytes, now_ms, self.pace_ms, &self.published_ms);
        }
        turns
    }

    /// All have heard everything.
    fn have_heard_all(&self) -> bool {
        let count = self.published_ms.len();
        self.listeners.iter().all(|of| of.next == count)
    }
}

impl Listener {
    fn hear(&mut self, bytes: &[u8], now_ms: u64, pace_ms: u64, published_ms: &[u64]) {
        self.inbox.extend(bytes);
        if !self.greeted {
            let end = self.inbox.windows(4).position(|w| w == b"\r\n\r\n");
            let Some(end) = end else { return };
            self.inbox.drain(..end + 4);
            self.greeted = true;
        }
        let first = self.next;
        while let Some(frame) = server_frame(&self.inbox) {
            let len = frame.len;
            if frame.opcode == 8 {
                self.closed = true;
            } else {
                let number = frame.payload.split(|byte| *byte == b';').next();
                let number = number.map(String::from_utf8_lossy);
                assert_eq!(number.as_deref(), Some(&*self.next.to_string()));
                self.next += 1;
            }
            self.inbox.drain(..len);
        }
        assert!(self.inbox.is_empty(), "it is sent whole messages");
        if self.next > first.max(self.old) {
            if let Some(sent_ms) = self.sent_ms {
                assert!(now_ms - sent_ms >= pace_ms, "it is sent to too often");
            }
            self.sent_ms = Some(now_ms);
        }
        // What it has not been sent by now: not for longer than the pace, and not at all where
        // nothing has been sent for as long.
        if let Some(published_ms) = published_ms.get(self.next) {
            let waits_ms = now_ms - published_ms;
            assert!(waits_ms < pace_ms, "{} comes late", self.next);
            let silent_ms = self.sent_ms.map(|sent_ms| now_ms - sent_ms);
            let is_silent = silent_ms.is_some_and(|silent_ms| silent_ms >= pace_ms);
            assert!(!is_silent, "{} waits for nothing", self.next);
        }
    }
}

/// By chance somebody publishes to a topic with a pace, and somebody comes, or comes back for what
/// was missed. Each subscriber is sent to at most that often, hears each message at most that much
/// later, and at once behind a silence.
///
/// # Panics
/// If it is otherwise.
pub fn holds(seed: u64) {
    let mut rng = Rng::with_seed(!seed);
    let pace_ms = rng.u64(1..=20);
    let mut paced = Paced::new(seed, pace_ms);
    paced.listen("/paced", 0);
    paced.run();
    let began_ms = paced.lonely.now_ms();
    for _ in 0..500 {
        match rng.u8(..) {
            0..100 => {
                for _ in 0..rng.usize(1..4) {
                    paced.publish(1);
                    paced.run();
                }
            }
            100..240 => {
                paced.lonely.pass(1);
                paced.run();
            }
            240..244 => {
                for _ in 0..2 * pace_ms {
                    paced.lonely.pass(1);
                    paced.run();
                }
                assert!(paced.have_heard_all());
            }
            244..248 if paced.listeners.len() < 8 => {
                let count = paced.published_ms.len();
                let back = rng.usize(..=count);
                paced.listen(&format!("/paced?since={}", back + 1), back);
                paced.run();
                let newest = paced.listeners.last().expect("it has come");
                // All but what rests for everybody.
                let sent = paced.listeners[0].next;
                assert!(newest.next >= sent, "it is sent history at once");
            }
            248..252 if paced.listeners.len() < 8 => {
                paced.listen("/paced", paced.published_ms.len());
                paced.run();
            }
            _ => {}
        }
    }
    let passed_ms = paced.lonely.now_ms() - began_ms;
    let rounds_max = passed_ms / pace_ms + 1;
    let metrics = &paced.lonely.hub.mailbox(0).metrics;
    assert!((1..=rounds_max).contains(&metrics.pace_rests.get()));
}

/// Neither a publisher that is ahead, nor a topic without a pace, nor a goodbye waits for one.
///
/// # Panics
/// If it is otherwise.
pub fn yields() {
    let mut paced = Paced::new(1, LONGEST_MS);
    paced.listen("/paced", 0);
    paced.publish(1);
    paced.run();
    assert!(paced.have_heard_all(), "the first one comes at once");
    paced.publish(1);
    paced.run();
    assert!(!paced.have_heard_all(), "the second one rests");
    let topic = TopicName::new(PACED).expect("a good name");
    paced.published_ms.push(paced.lonely.now_ms());
    let hub = &paced.lonely.hub;
    let published = hub.publish(&topic, Opcode::Text, b"2;", None);
    published.expect("there is room");
    assert_eq!(paced.run(), 0, "the core is not woken for what rests");
    // The pace is that topic's alone.
    let other = paced.lonely.connect("/other", "");
    paced.lonely.run_dry();
    paced.lonely.read(other);
    let topic = TopicName::new("other").expect("a good name");
    for _ in 0..2 {
        let hub = &paced.lonely.hub;
        let published = hub.publish(&topic, Opcode::Text, b"a", None);
        published.expect("there is room");
        paced.lonely.run_dry();
        assert_eq!(paced.lonely.read(other), b"\x81\x01a");
    }
    // More than a publisher may be ahead by.
    let listener = &mut paced.listeners[0];
    (listener.sent_ms, listener.old) = (None, usize::MAX);
    for _ in 0..8 {
        let frame = client_frame(0x82, [0; 4], &numbered(paced.published_ms.len()));
        paced.published_ms.push(paced.lonely.now_ms());
        paced.lonely.write(paced.speaker, &frame);
        paced.lonely.run_dry();
    }
    paced.run();
    assert!(paced.listeners[0].next > 2, "it goes on for the publisher");
    paced.publish(1);
    paced.run();
    assert!(!paced.have_heard_all(), "the newest rests again");
    paced.lonely.core.reactor.drain(0, 1000);
    paced.lonely.core.awake = true;
    paced.run();
    assert!(paced.have_heard_all(), "it is sent what it is owed");
    assert!(paced.listeners[0].closed, "and told goodbye");
}

/// Topics with a pace and without come and go with their readers, on a core that never gets to
/// the end of what it has to send: feeds have numbers that others had.
///
/// # Panics
/// If it is otherwise.
pub fn outlives(seed: u64) {
    const SLOTS: usize = 12;
    let settings = Settings {
        topics: vec![paced("paced.*", 2)],
        ..Settings::default()
    };
    let mut rng = Rng::with_seed(seed);
    let mut lonely = Lonely::of(settings, rng.usize(1..4), rng.usize(1..8));
    lonely.core.reactor.note_guests(0, 1000);
    lonely.open_door(DoorPlan::default());
    let busy: Vec<usize> = (0..4).map(|_| lonely.connect("/busy", "")).collect();
    let mut others = Vec::new();
    for _ in 0..1000 {
        match rng.u8(..) {
            0..40 if others.len() + busy.len() < SLOTS => {
                let kind = ["paced", "plain"][usize::from(rng.bool())];
                let target = format!("/{kind}.{}", rng.u8(..4));
                let mut begins = opening(&target, "").into_bytes();
                for _ in 0..rng.usize(..4) {
                    begins.extend(client_frame(0x81, [0; 4], b"first"));
                }
                others.push(lonely.come(&begins));
            }
            40..80 if !others.is_empty() => {
                let socket = others.swap_remove(rng.usize(..others.len()));
                lonely.write(socket, &client_frame(0x81, [0; 4], b"bye"));
                lonely.leave(socket);
            }
            80..160 if !others.is_empty() => {
                let socket = others[rng.usize(..others.len())];
                lonely.write(socket, &client_frame(0x81, [0; 4], b"others"));
            }
            160..240 => lonely.write(busy[0], &client_frame(0x81, [0; 4], b"busy")),
            240.. => lonely.pass(1),
            _ => {}
        }
        if rng.u8(..) < 30 {
            lonely.turn();
        }
    }
    lonely.pass(10);
    lonely.run_dry();
    let told = b"the last";
    let listener = lonely.connect("/paced.0", "");
    let name = TopicName::new("paced.0").expect("a good name");
    for _ in 0..2 {
        let published = lonely.hub.publish(&name, Opcode::Text, told, None);
        published.expect("there is room");
        lonely.pass(10);
        lonely.core.awake = true;
        lonely.run_dry();
    }
    assert!(lonely.read(listener).ends_with(told));
}

/// A message of a kibibyte that begins with its number.
fn numbered(number: usize) -> Vec<u8> {
    let mut payload = format!("{number};").into_bytes();
    payload.resize(1 << 10, b'.');
    payload
}
