//! Connections that follow many topics beside ones that follow one, on the real
//! ring and over loopback: the processor time of a delivery, the kernel's share
//! included, and the memory of a subscription. Times are per delivery.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use fanfare::config::Settings;
use fanfare::core::{Arrival, Reactor};
use fanfare::hub::Hub;
use fanfare::log::Topic;
use fanfare::protocol::topic::TopicName;
use fanfare::protocol::ws::Opcode;
use fanfare::ring::{Probe, Uring};

use crate::cpu_time::CpuTime;
use crate::fanout::upgrade;

/// With as many descriptors for their clients as a process usually may have.
const CONNECTIONS: u32 = 5_000;

struct World {
    hub: Arc<Hub>,
    reactor: Reactor<Uring>,
    clients: Vec<TcpStream>,
    names: Vec<TopicName>,
    /// Bytes that a further subscription takes.
    bytes_each: f64,
}

impl World {
    /// Connections that all follow the same `topics`.
    fn new(topics: u32) -> Self {
        let settings = Settings {
            cores: 1,
            ..Settings::default()
        };
        let hub = Hub::new(settings).expect("an eventfd for the core");
        let abilities = Probe::run().expect("io_uring is allowed").abilities;
        let wake = hub.mailbox(0).wake_fd();
        let ring = Uring::new(CONNECTIONS, 64, wake, abilities).expect("a ring");
        let names = (0..topics).map(|number| TopicName::new(&format!("topic-{number}")));
        let mut world = World {
            reactor: Reactor::new(0, hub.clone(), ring, CONNECTIONS),
            hub,
            clients: Vec::new(),
            names: names.map(|name| name.expect("a name")).collect(),
            bytes_each: 0.0,
        };
        world.reactor.start();
        world.connect();
        world.follow();
        world.drain();
        world
    }

    fn topic(&self, number: usize) -> Arc<Topic> {
        self.hub.topic(&self.names[number]).expect("room for it")
    }

    fn connect(&mut self) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        for _ in 0..CONNECTIONS {
            let client = TcpStream::connect(address).expect("a connection");
            client.set_nonblocking(true).expect("a mode");
            let (server, peer) = listener.accept().expect("its other end");
            let arrival = Arrival {
                peer,
                kept_alive: false,
                upgrade: upgrade(),
                topic: Some(self.topic(0)),
                rest: Vec::new(),
                tls: None,
            };
            assert!(self.reactor.adopt(&server, arrival).is_ok());
            self.clients.push(client);
            self.settle();
        }
    }

    fn follow(&mut self) {
        let before = resident_bytes();
        for number in 1..self.names.len() {
            let topic = self.topic(number);
            for slot in 0..CONNECTIONS {
                let begins = self.reactor.subscribe(slot, topic.clone(), None);
                assert_eq!(begins, Some(1), "it is new to the topic");
            }
            self.settle();
        }
        let further = (self.names.len() - 1) as f64 * f64::from(CONNECTIONS);
        self.bytes_each = (resident_bytes() - before) as f64 / further;
    }

    fn settle(&mut self) {
        while self.reactor.turn().expect("nothing fails here") {}
    }

    fn drain(&mut self) {
        let mut scrap = vec![0; 64 << 10];
        for client in &mut self.clients {
            while client.read(&mut scrap).is_ok_and(|read| read > 0) {}
        }
    }

    fn deliveries(&self) -> u64 {
        self.hub.mailbox(0).metrics.deliveries.get()
    }

    /// One message to each topic: the time until all have been sent all.
    fn round(&mut self, payload: &[u8]) -> Duration {
        let before = self.deliveries();
        for name in &self.names {
            let published = self.hub.publish(name, Opcode::Binary, payload, None);
            published.expect("room in the log");
        }
        let began = CpuTime::now();
        self.settle();
        let took = CpuTime::now() - began;
        let heard = self.names.len() as u64 * u64::from(CONNECTIONS);
        assert_eq!(self.deliveries() - before, heard, "all hear all");
        self.drain();
        took
    }

    fn time(&mut self, deliveries: u64, payload: &[u8]) -> Duration {
        let each = self.names.len() as u64 * u64::from(CONNECTIONS);
        let rounds = deliveries.div_ceil(each);
        let took: Duration = (0..rounds).map(|_| self.round(payload)).sum();
        took.mul_f64(deliveries as f64 / (rounds * each) as f64)
    }
}

fn resident_bytes() -> i64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("it is there");
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    pages.map_or(0, |pages: i64| pages * 4096)
}

pub(crate) fn bench(c: &mut Criterion<CpuTime>) {
    let mut group = c.benchmark_group(format!("many/{CONNECTIONS}_connections"));
    group.throughput(Throughput::Elements(1)).sample_size(10);
    for topics in [1, 100] {
        let mut world = None;
        let id = BenchmarkId::new("topics", topics);
        group.bench_function(id, |b| {
            let world = world.get_or_insert_with(|| World::new(topics));
            if topics > 1 {
                println!("{:.0} B for each further subscription", world.bytes_each);
            }
            b.iter_custom(|deliveries| world.time(deliveries, &[7; 64]));
        });
    }
}
