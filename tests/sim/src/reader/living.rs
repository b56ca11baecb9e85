//! Readers in the world: how they come and come back, what they do there step by step, and
//! what must hold of all of them when all has gone quiet or is over. They have a chance of their
//! own, so that worlds without readers are what they would be.

use std::sync::atomic::Ordering;

use fanfare::core::StreamArrival;
use fanfare::protocol::event_stream::negotiate_events;
use fanfare::protocol::http::{HeadLimits, parse};
use fanfare::protocol::mercure::{MERCURE_PATH, negotiate_mercure};
use fastrand::Rng;

use super::{Block, Counts, Heard, Reader};
use crate::client::{Fate, Nature, View};
use crate::joining::first_offset;
use crate::kernel::chance;
use crate::ring::Handle;
use crate::world::World;

/// Reader `n` has this port and `n` more.
const FIRST_PORT: u16 = 50_000;
/// Topics that one reader may have.
const TOPICS_MAX: usize = 5;

/// All readers of a world.
pub(crate) struct Readers {
    rng: Rng,
    /// There are any.
    pub(crate) come: bool,
    pub(crate) list: Vec<Reader>,
    pub(crate) counts: Counts,
}

impl Readers {
    pub(crate) fn new(rng: Rng, come: bool) -> Self {
        Readers {
            rng,
            come,
            list: Vec::new(),
            counts: Counts::default(),
        }
    }
}

impl World {
    /// A reader comes, or one of them does something.
    pub(crate) fn step_readers(&mut self) {
        if !self.readers.come {
            return;
        }
        let living = |reader: &&Reader| !reader.over;
        let count = self.readers.list.iter().filter(living).count();
        let full =
            count >= self.plan.clients_max || self.readers.list.len() >= self.plan.connects_max;
        if !full && (count == 0 || self.readers.rng.u8(..) < 8) {
            return self.connect_reader();
        }
        if count == 0 || self.readers.rng.u8(..) < 120 {
            return;
        }
        let Readers { rng, list, .. } = &mut self.readers;
        let nth = rng.usize(..count);
        let all = list.iter_mut().enumerate();
        let living = all.filter(|(_, reader)| !reader.over).nth(nth);
        let (index, reader) = living.expect("counted");
        if reader.fate == Fate::Open && reader.nature.rogue {
            match rng.u8(..) {
                0..=40 => reader.outbox.extend(b"GET / HTTP/1.1\r\n\r\n\0\xff\x81"),
                41..=46 => reader.fate = Fate::HalfClosed,
                47..=50 => reader.fate = Fate::Reset,
                _ => {}
            }
        }
        let nature = reader.nature;
        self.write_reader(index, nature.write_max);
        if self.readers.list[index].asleep_until > self.step {
            return;
        }
        if nature.sluggard && self.readers.rng.u8(..) < 40 {
            let until = self.step + self.readers.rng.usize(..600);
            self.readers.list[index].asleep_until = until;
        }
        self.read_reader(index, nature.read_max);
    }

    fn connect_reader(&mut self) {
        if self.cores.iter().any(|core| core.reactor.is_frozen()) {
            return;
        }
        let mut rng = self.readers.rng.fork();
        let (mut names, mut ids) = self.draw_topics(&mut rng);
        if !self.readers.list.is_empty() && rng.u8(..) < 180 {
            let before = &self.readers.list[rng.usize(..self.readers.list.len())];
            if before.over && before.begun {
                names = before
                    .heard
                    .iter()
                    .map(|heard| heard.name.clone())
                    .collect();
                ids = before
                    .heard
                    .iter()
                    .map(|heard| (heard.epoch, heard.told))
                    .collect();
                self.readers.counts.returns += 1;
            }
        }
        // Elsewhere some messages cannot be told from those of other topics.
        let plain = self.plan.many && rng.u8(..) < 80;
        let many = names.len() > 1 || !plain && rng.u8(..) < 40;
        let mut heard = Vec::new();
        for (at, name) in names.iter().enumerate() {
            let Some(truth) = self.truth(name) else {
                return;
            };
            heard.push(self.to_hear(truth, name, ids.get(at).copied()));
        }
        let id = self.readers.list.len() as u32 + 1;
        let port = FIRST_PORT + id as u16;
        let peer = format!("10.0.2.{}:{port}", id % 4)
            .parse()
            .expect("an address");
        if !self.admits(peer) {
            return;
        }
        let head = head(many, plain, &names, &ids);
        let (request, _) = parse(head.as_bytes(), HeadLimits::default())
            .expect("a head")
            .expect("whole");
        let negotiate = match plain {
            true => negotiate_mercure,
            false => negotiate_events,
        };
        let stream = negotiate(&request, self.hub.origins(), TOPICS_MAX);
        let stream = Box::new(stream.expect("a good one"));
        let topics = stream.wanted.iter();
        let topics = topics.map(|wanted| self.hub.topic(&wanted.topic).expect("it is there"));
        let topics = topics.collect();
        let sizes = [64, 1000, 20_000];
        let (inbound, outbound) = (sizes[rng.usize(..3)], sizes[rng.usize(..3)]);
        let socket = self.kernel.borrow_mut().connect(inbound, outbound);
        let core = rng.usize(..self.cores.len());
        let reader = Reader {
            id,
            core,
            socket,
            many,
            plain,
            heard,
            nature: Nature {
                rogue: chance(&mut rng, self.plan.rogues),
                sluggard: chance(&mut rng, self.plan.sluggards),
                rude: false,
                read_max: [3, 200, 50_000][rng.usize(..3)],
                write_max: [3, 200, 50_000][rng.usize(..3)],
            },
            fate: Fate::Open,
            asleep_until: 0,
            outbox: Default::default(),
            inbox: Vec::new(),
            block: Block::default(),
            greeted: false,
            begun: false,
            words: None,
            over: false,
        };
        self.say(|| format!("{} connects", reader.name()));
        self.readers.list.push(reader);
        let arrival = StreamArrival {
            peer,
            kept_alive: self.is_kept_alive(),
            stream,
            topics,
            rest: 0,
            tls: self.kernel.borrow_mut().secure(socket),
        };
        let adopted = self.cores[core]
            .reactor
            .adopt_stream(&Handle(socket), arrival);
        self.hub.admission().shake(peer.ip());
        if adopted.is_ok() {
            self.outcome.connections += 1;
            self.cores[core].awake = true;
        } else {
            self.hub.admission().leave(peer.ip());
            let reader = self.readers.list.last_mut().expect("just pushed");
            (reader.over, reader.fate) = (true, Fate::Reset);
            self.kernel.borrow_mut().sockets[socket].server_closed = true;
        }
        self.look();
    }

    /// Topics that somebody reads who comes for the first time, and where it wants to begin,
    /// if not with what comes.
    fn draw_topics(&mut self, rng: &mut Rng) -> (Vec<String>, Vec<(u64, u64)>) {
        let count = if rng.bool() { 1 } else { TOPICS_MAX };
        let mut names = Vec::new();
        for _ in 0..rng.usize(1..=count) {
            let name = format!("topic-{}", rng.usize(..self.plan.topics));
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let mut ids = Vec::new();
        if rng.u8(..) < 60 {
            for name in &names {
                let truth = self.truth(name).map(|truth| &self.truths[truth]);
                let (epoch, next) = truth.map_or((7, 1), |truth| (truth.epoch, truth.next()));
                let epoch = if rng.u8(..) < 30 { 7 } else { epoch };
                ids.push((epoch, rng.u64(..next + 3)));
            }
        }
        (names, ids)
    }

    fn to_hear(&self, truth: usize, name: &str, id: Option<(u64, u64)>) -> Heard {
        let topic = self.hub.find_topic(name).expect("just seen");
        let retained = topic.summary(self.hub.retention(&topic)).first_offset;
        let (epoch, next) = (self.truths[truth].epoch, self.truths[truth].next());
        let (first, missed) = match id {
            None => (next, None),
            Some((known, offset)) => {
                let is_known = known == epoch;
                let since = offset + 1;
                let first = first_offset(Some(if is_known { since } else { 0 }), retained, next);
                let is_lost = !is_known || since > first;
                let missed = match is_lost {
                    true => Some((1, first - 1, true)),
                    false => (since < first).then_some((since, first - 1, false)),
                };
                (first, missed)
            }
        };
        Heard {
            truth,
            name: name.to_owned(),
            epoch,
            next: first,
            told: 0,
            missed,
        }
    }

    fn write_reader(&mut self, index: usize, max: usize) -> bool {
        let reader = &mut self.readers.list[index];
        let mut kernel = self.kernel.borrow_mut();
        let done = reader.write(&mut kernel.sockets[reader.socket], max);
        if done {
            kernel.poke(reader.socket);
        }
        done
    }

    fn read_reader(&mut self, index: usize, max: usize) -> bool {
        let Readers { list, counts, .. } = &mut self.readers;
        let reader = &mut list[index];
        let drained = self.cores[reader.core].drained.as_ref();
        let view = View {
            truths: &self.truths,
            settings: &self.plan.settings,
            now_ms: self.now_ms.load(Ordering::Relaxed),
            tight: self.plan.tight,
            uncompressed: false,
            stored: self.store.is_some() || self.plan.shared,
            shared: self.plan.shared,
            refusing: self.plan.refusing,
            drained: drained.map(Vec::as_slice),
        };
        let mut kernel = self.kernel.borrow_mut();
        let socket = &mut kernel.sockets[reader.socket];
        let facts = |reader: &Reader| {
            let heard: u64 = reader.heard.iter().map(|heard| heard.next).sum();
            (heard, reader.over)
        };
        let before = facts(reader);
        let done = reader.read(socket, max, &view, counts);
        if done {
            kernel.poke(reader.socket);
        }
        drop(kernel);
        let reader = &self.readers.list[index];
        let after = facts(reader);
        if before != after {
            self.say(|| format!("{} over {}", reader.name(), after.1));
            self.digest(u64::from(self.readers.list[index].id) << 40 | after.0);
        }
        done
    }

    /// All read and write all they can. True if anything has happened.
    pub(crate) fn run_readers(&mut self) -> bool {
        let mut moved = false;
        for index in 0..self.readers.list.len() {
            if !self.readers.list[index].over {
                moved |= self.write_reader(index, usize::MAX);
                if self.readers.list[index].asleep_until < usize::MAX {
                    moved |= self.read_reader(index, usize::MAX);
                }
            }
        }
        moved
    }

    /// Some reader whose server is not done with it has a topic.
    pub(crate) fn is_read(&self, truth: usize) -> bool {
        let kernel = self.kernel.borrow();
        let served = |reader: &&Reader| !kernel.sockets[reader.socket].server_closed;
        let mut served = self.readers.list.iter().filter(served);
        served.any(|reader| reader.heard.iter().any(|heard| heard.truth == truth))
    }

    /// With all quiet, each stands at the head of all that it has, and knows where that is.
    pub(crate) fn check_readers_quiet(&self) {
        for reader in self.readers.list.iter().filter(|reader| !reader.over) {
            let describe = || {
                let kernel = self.kernel.borrow();
                format!("{}: {}", reader.name(), kernel.describe(reader.socket))
            };
            assert!(
                reader.greeted && reader.begun,
                "{} was not answered",
                describe()
            );
            assert_eq!(reader.fate, Fate::Open, "{} is not let go", describe());
            assert_eq!(reader.words, None, "{} is not let go", describe());
            for heard in &reader.heard {
                let next = self.truths[heard.truth].next();
                assert_eq!(heard.next, next, "{} has not heard all", describe());
                assert_eq!(heard.told, next - 1, "{} knows not where it is", describe());
            }
        }
    }

    pub(crate) fn check_readers_over(&self) {
        for reader in &self.readers.list {
            let place = self.kernel.borrow().describe(reader.socket);
            assert!(reader.over, "{} is still there: {place}", reader.name());
        }
    }
}

fn head(many: bool, plain: bool, names: &[String], ids: &[(u64, u64)]) -> String {
    let topics = names.join("&topic=");
    let path = match (plain, many) {
        (true, _) => format!("{MERCURE_PATH}?topic={topics}"),
        (false, true) => format!("/events?topic={topics}"),
        (false, false) => format!("/{topics}"),
    };
    let mut head = format!("GET {path} HTTP/1.1\r\nHost: here\r\nAccept: text/event-stream\r\n");
    if !ids.is_empty() {
        let ids: Vec<_> = ids
            .iter()
            .map(|(epoch, at)| format!("{epoch:016x}-{at}"))
            .collect();
        head += &format!("Last-Event-ID: {}\r\n", ids.join(","));
    }
    head + "\r\n"
}
