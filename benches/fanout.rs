//! From a published message to a send for each subscriber, on a ring without a
//! kernel behind it: the user time of a delivery. Times are per delivery.

use std::fs::File;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use fanfare::config::Settings;
use fanfare::core::{Arrival, Reactor};
use fanfare::hub::Hub;
use fanfare::protocol::http::{HeadLimits, Origins, Upgrade, negotiate, parse};
use fanfare::protocol::topic::TopicName;
use fanfare::protocol::ws::Opcode;
use fanfare::ring::SLOTS_MAX;

use crate::cpu_time::CpuTime;
use crate::null_ring::NullRing;

/// An agreed handshake, as a client without wishes has it.
pub(crate) fn upgrade() -> Upgrade {
    let request = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let (request, _) = parse(request, HeadLimits::default()).unwrap().unwrap();
    negotiate(&request, &Origins::any(), None).expect("a handshake")
}

/// The daemon's cores with their subscribers, all turned by one thread.
struct World {
    hub: Arc<Hub>,
    reactors: Vec<Reactor<NullRing>>,
    names: Vec<TopicName>,
    subscribers: u64,
}

impl World {
    /// `subscribers`, spread evenly over `topics` and over as many cores as
    /// they need.
    fn new(subscribers: u32, topics: u32) -> Self {
        let cores = subscribers.div_ceil(SLOTS_MAX) as usize;
        let settings = Settings {
            cores,
            topics_max: topics as usize,
            ..Settings::default()
        };
        let hub = Hub::new(settings).expect("an eventfd for each core");
        let reactors: Vec<_> = (0..cores)
            .map(|core| Reactor::new(core, hub.clone(), NullRing::default(), SLOTS_MAX))
            .collect();
        let names = (0..topics).map(|number| TopicName::new(&format!("topic-{number}")));
        let mut world = World {
            hub,
            reactors,
            names: names.map(|name| name.expect("a name")).collect(),
            subscribers: u64::from(subscribers),
        };
        for number in 0..subscribers {
            world.join(number);
        }
        world.settle();
        world
    }

    fn join(&mut self, number: u32) {
        let name = &self.names[number as usize % self.names.len()];
        let core = number as usize % self.reactors.len();
        let arrival = Arrival {
            peer: ([127, 0, 0, 1], 1).into(),
            kept_alive: false,
            upgrade: upgrade(),
            topic: Some(self.hub.topic(name).expect("room for it")),
            rest: Vec::new(),
            tls: None,
        };
        let socket = File::open("/dev/null").expect("it is there");
        let adopted = self.reactors[core].adopt(&socket, arrival);
        assert!(adopted.is_ok());
        // As on a real core, where newcomers do not come all in one turn.
        if number.is_multiple_of(1000) {
            self.settle();
        }
    }

    fn settle(&mut self) {
        for reactor in &mut self.reactors {
            while reactor.turn().expect("nothing fails here") {}
        }
    }

    /// Each topic gets `burst` messages, then all subscribers theirs.
    fn round(&mut self, burst: u64, payload: &[u8]) {
        for name in &self.names {
            for _ in 0..burst {
                let published = self.hub.publish(name, Opcode::Binary, payload, None);
                black_box(published.expect("room in the log"));
            }
        }
        self.settle();
    }

    fn deliveries(&self) -> u64 {
        let cores = self.hub.mailboxes().iter();
        cores.map(|core| core.metrics.deliveries.get()).sum()
    }

    /// Processor time for about `deliveries`, scaled to that number.
    fn time(&mut self, deliveries: u64, burst: u64, payload: &[u8]) -> Duration {
        let each = self.subscribers * burst;
        let rounds = deliveries.div_ceil(each);
        let before = self.deliveries();
        let began = CpuTime::now();
        (0..rounds).for_each(|_| self.round(burst, payload));
        let took = CpuTime::now() - began;
        assert_eq!(self.deliveries() - before, rounds * each, "all hear all");
        took.mul_f64(deliveries as f64 / (rounds * each) as f64)
    }
}

pub(crate) fn bench(c: &mut Criterion<CpuTime>) {
    for (subscribers, topics) in [(1000, 1), (20_000, 1), (100_000, 1), (20_000, 10_000)] {
        let mut group = c.benchmark_group(format!("fanout/{subscribers}_on_{topics}"));
        group.throughput(Throughput::Elements(1));
        // Made only where it is measured.
        let mut world = None;
        let sizes = if topics == 1 {
            [64, 16 << 10]
        } else {
            [64, 256]
        };
        for (burst, len) in [(1, sizes[0]), (16, sizes[0]), (1, sizes[1])] {
            let payload = vec![7; len];
            let id = BenchmarkId::new(format!("burst of {burst}"), format!("{len} B"));
            group.bench_function(id, |b| {
                let world = world.get_or_insert_with(|| World::new(subscribers, topics));
                b.iter_custom(|deliveries| world.time(deliveries, burst, &payload));
            });
        }
    }
}
