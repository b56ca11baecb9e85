//! The world of one seed: cores, clients, the admin and the clock, each taking
//! a step when chance says so.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fanfare::config::{Keepalive, Settings};
use fanfare::core::Reactor;
use fanfare::hub::{Clock, Hub};
use fanfare::protocol::topic::TopicName;
use fastrand::Rng;

use crate::client::{Client, FIRST_PORT, View};
use crate::cluster::Cluster;
use crate::doors::{Doors, SPARE};
use crate::kernel::{Kernel, SharedKernel};
use crate::outcome::Outcome;
use crate::plan::{LATE_MS_MAX, Plan};
use crate::reader::Readers;
use crate::ring::FakeRing;
use crate::session::Sessions;
use crate::store::Store;
use crate::subscriber::Subscribers;
use crate::truth::{By, Truth, as_shown};

pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) plan: Plan,
    pub(crate) kernel: SharedKernel,
    pub(crate) hub: Arc<Hub>,
    /// The clock of the clients and the kernel.
    pub(crate) now_ms: Arc<AtomicU64>,
    /// See [`View`].
    uncompressed: bool,
    /// The hub's clock: it goes as fast, but each daemon's begins elsewhere.
    pub(crate) hub_ms: Arc<AtomicU64>,
    pub(crate) cores: Vec<CoreRun>,
    pub(crate) truths: Vec<Truth>,
    pub(crate) clients: Vec<Client>,
    pub(crate) doors: Doors,
    pub(crate) sessions: Sessions,
    pub(crate) readers: Readers,
    pub(crate) subscribers: Subscribers,
    pub(crate) step: usize,
    pub(crate) outcome: Outcome,
    /// Connections whose end has been counted.
    pub(crate) closes: u64,
    /// Messages of the admin.
    pub(crate) posted: u64,
    /// Where topics are kept beyond memory, and the chance of who writes it.
    pub(crate) store: Option<(Arc<Store>, Rng)>,
    /// What decides on messages in place of the log, and its chance.
    pub(crate) cluster: Option<(Arc<Cluster>, Rng)>,
    trace: bool,
}

pub(crate) struct CoreRun {
    pub(crate) reactor: Reactor<FakeRing>,
    /// Its side of the kernel.
    pub(crate) side: usize,
    /// It has been woken, or has said that it has more to do.
    pub(crate) awake: bool,
    /// For each truth, its newest offset when this core began to drain.
    pub(crate) drained: Option<Vec<u64>>,
}

/// Plays one seed. With `trace` it says what it does on standard error.
///
/// # Panics
/// When a promise is broken.
pub fn run(seed: u64, trace: bool) -> Outcome {
    // The epochs of topics come from here.
    fastrand::seed(seed);
    let mut rng = Rng::with_seed(seed);
    let mut sessions_rng = Rng::with_seed(!seed);
    let mut plan = Plan::draw(&mut rng, &mut sessions_rng);
    let mut store_rng = Rng::with_seed(seed.rotate_left(32));
    let mut readers_rng = Rng::with_seed(seed.rotate_left(48));
    let readers_come = plan.draw_readers(&mut readers_rng);
    let mut subscribers_rng = Rng::with_seed(seed.rotate_left(56));
    let subscribers_come = plan.draw_subscribers(&mut subscribers_rng);
    plan.draw_pace(&mut Rng::with_seed(seed.rotate_left(8)));
    plan.draw_kernel(&mut Rng::with_seed(seed.rotate_left(40)));
    let is_stored = plan.draw_store(&mut store_rng);
    let mut cluster_rng = Rng::with_seed(seed.rotate_left(16));
    let is_shared = !is_stored && plan.draw_cluster(&mut cluster_rng);
    if trace {
        eprintln!("seed {seed}: {plan:#?}");
    }
    let mut world = World::new(rng, plan, trace);
    world.doors = Doors::new(Rng::with_seed(seed.rotate_left(24)));
    world.add_doors();
    world.open_doors();
    world.sessions = Sessions::new(sessions_rng.u64(..));
    world.readers = Readers::new(readers_rng, readers_come);
    world.subscribers = Subscribers::new(subscribers_rng, subscribers_come);
    if is_stored {
        let store = Store::new(store_rng.fork());
        store.open(&world.hub);
        world.store = Some((store, store_rng));
    }
    if is_shared {
        let cluster = Arc::new(Cluster::default());
        cluster.open(&world.hub);
        world.cluster = Some((cluster, cluster_rng));
    }
    while world.step < world.plan.steps {
        world.take_step();
    }
    world.end()
}

impl World {
    fn new(mut rng: Rng, plan: Plan, trace: bool) -> Self {
        let now_ms = Arc::new(AtomicU64::new(1));
        let (hub, hub_ms) = new_hub(&mut rng, &plan.settings, &now_ms);
        let kernel = Kernel::new(rng.fork(), plan.faults.clone(), now_ms.clone());
        let mut cores: Vec<_> = (0..plan.settings.cores)
            .map(|core| CoreRun::new(core, &hub, &kernel, plan.slots))
            .collect();
        cores.iter_mut().for_each(|core| core.reactor.start());
        World {
            cores,
            rng,
            plan,
            kernel,
            hub,
            now_ms,
            uncompressed: false,
            hub_ms,
            truths: Vec::new(),
            clients: Vec::new(),
            doors: Doors::new(Rng::with_seed(0)),
            sessions: Sessions::new(0),
            readers: Readers::new(Rng::with_seed(0), false),
            subscribers: Subscribers::new(Rng::with_seed(0), false),
            step: 0,
            outcome: Outcome::default(),
            closes: 0,
            posted: 0,
            store: None,
            cluster: None,
            trace,
        }
    }

    pub(crate) fn say(&self, what: impl FnOnce() -> String) {
        if self.trace {
            eprintln!("{:5} {:6} ms  {}", self.step, self.now(), what());
        }
    }

    pub(crate) fn now(&self) -> u64 {
        self.now_ms.load(Ordering::Relaxed)
    }

    pub(crate) fn take_step(&mut self) {
        self.step += 1;
        self.outcome.steps += 1;
        match self.rng.u8(..) {
            0..=119 => self.step_client(),
            120..=199 => {
                let core = self.rng.usize(..self.cores.len());
                if self.is_awake(core) {
                    self.turn(core);
                }
            }
            200..=219 => {
                let core = self.rng.usize(..self.cores.len());
                let side = self.cores[core].side;
                self.kernel.borrow_mut().progress(side, 128);
            }
            220..=231 => self.pass_time(),
            232..=239 => self.connect(),
            240..=243 if self.plan.many => self.change_topics(),
            240..=243 => self.connect(),
            244..=252 => self.publish(),
            253 => self.expire(),
            254 => self.hand_over(),
            255 => {
                if self.rng.u8(..) < 50 {
                    self.settle();
                }
            }
        }
        self.step_sessions();
        self.step_readers();
        self.step_subscribers();
        self.step_scribe();
        self.step_cluster();
    }

    pub(crate) fn step_client(&mut self) {
        let living = |client: &&mut Client| !client.over;
        let count = self.clients.iter_mut().filter(living).count();
        if count == 0 {
            return self.connect();
        }
        let nth = self.rng.usize(..count);
        let client = self.clients.iter_mut().filter(living).nth(nth);
        let index = client.expect("counted").id as usize - 1;
        if self.clients[index].may_act() {
            let max = self.plan.settings.message_bytes_max;
            for _ in 0..self.rng.usize(..3) {
                self.clients[index].act(&mut self.rng, max);
            }
        }
        let nature = self.clients[index].nature;
        self.write(index, nature.write_max);
        if self.clients[index].asleep_until > self.step {
            return;
        }
        if nature.sluggard && self.rng.u8(..) < 40 {
            self.clients[index].asleep_until = self.step + self.rng.usize(..600);
        }
        self.read(index, nature.read_max);
    }

    pub(crate) fn write(&mut self, index: usize, max: usize) -> bool {
        let client = &mut self.clients[index];
        let mut kernel = self.kernel.borrow_mut();
        let done = client.write(&mut kernel.sockets[client.socket], max);
        if done {
            kernel.poke(client.socket);
        }
        done
    }

    pub(crate) fn read(&mut self, index: usize, max: usize) -> bool {
        let client = &mut self.clients[index];
        let drained = self.cores[client.core].drained.as_ref();
        let view = View {
            truths: &self.truths,
            settings: &self.plan.settings,
            now_ms: self.now_ms.load(Ordering::Relaxed),
            tight: self.plan.tight,
            // What the store has comes as it is.
            uncompressed: self.uncompressed || self.store.is_some() || self.plan.shared,
            stored: self.store.is_some() || self.plan.shared,
            shared: self.plan.shared,
            refusing: self.plan.refusing,
            drained: drained.map(Vec::as_slice),
        };
        let mut kernel = self.kernel.borrow_mut();
        let heard = |client: &Client| client.follows.iter().map(|f| f.next).sum::<u64>();
        let before = (heard(client), client.closed, client.over);
        let done = client.read(
            &mut self.rng,
            &mut kernel.sockets[client.socket],
            max,
            &view,
        );
        if done {
            kernel.poke(client.socket);
        }
        drop(kernel);
        let client = &self.clients[index];
        let after = (heard(client), client.closed, client.over);
        if before != after {
            self.digest(u64::from(client.id) << 40 | after.0);
            let client = &self.clients[index];
            self.say(|| {
                let (_, closed, over) = after;
                let at: Vec<_> = client.follows.iter().map(|f| (f.truth, f.next)).collect();
                format!("{} is at {at:?} closed {closed} over {over}", client.name())
            });
        }
        done
    }

    pub(crate) fn digest(&mut self, fact: u64) {
        let digest = self.outcome.digest.rotate_left(5) ^ fact;
        self.outcome.digest = digest.wrapping_mul(0x517C_C1B7_2722_0A95);
    }

    /// Whether something has woken a core.
    pub(crate) fn is_awake(&mut self, core: usize) -> bool {
        let wake = self.hub.mailbox(core).wake_fd();
        let written = nix::unistd::read(wake.as_fd(), &mut [0; 8]).is_ok();
        let signal = self.kernel.borrow_mut().take_signal(self.cores[core].side);
        let until_us = self.cores[core].reactor.rests_until_us();
        let rested = until_us.is_some_and(|until_us| until_us <= self.hub.now_us());
        self.cores[core].awake |= written || signal || rested;
        self.cores[core].awake
    }

    pub(crate) fn turn(&mut self, core: usize) {
        let more = self.cores[core].reactor.turn().expect("no ring fails");
        self.cores[core].awake = more;
        let metrics = &self.hub.mailbox(core).metrics;
        self.uncompressed |= metrics.read_uncompressed.get() > 0;
        self.look_at_doors(core);
        self.look();
        self.digest(core as u64 ^ self.outcome.messages << 8);
        self.say(|| format!("core {core} turns, more: {more}"));
        self.check_bounds();
    }

    fn check_bounds(&self) {
        let settings = &self.plan.settings;
        // Where a log is taken up again it lies in segments of other sizes, which
        // may be more than hardly any room holds.
        let resized = self.plan.tight && self.outcome.handovers > 0;
        assert!(resized || self.hub.log_bytes() <= settings.log_bytes_total_max as u64);
        let partial = self.hub.partial_bytes();
        let max = settings.partial_bytes_max as u64;
        assert!(partial <= max, "{partial} bytes of partial messages");
        for truth in &self.truths {
            if let Some((topic, _)) = &truth.watch {
                let held = topic.summary(self.hub.retention(topic)).log_bytes;
                // An emptied topic gets a fresh segment on top.
                let max = settings.log_bytes_max as u64 + 2048;
                assert!(
                    resized || held <= max,
                    "the log of {} holds {held} bytes",
                    truth.name
                );
            }
        }
    }

    /// Notes all that has been published, and checks where it came from.
    pub(crate) fn look(&mut self) {
        for index in 0..self.truths.len() {
            let new = self.truths[index].look();
            self.outcome.messages += new.end - new.start;
            for offset in new {
                self.check_source(index, offset);
            }
        }
    }

    fn check_source(&mut self, truth: usize, offset: u64) {
        let message = self.truths[truth].message(offset).expect("just seen");
        let clients = &mut self.clients;
        let by_port = |port: u16| usize::from(port - FIRST_PORT) - 1;
        match message.by {
            By::Client { id, n } | By::Said { id, n } => {
                let client = &mut clients[id as usize - 1];
                let said = &client.said[n as usize];
                let (next, is_refused) = (client.published, self.plan.refusing);
                let in_order = n as usize == next || is_refused && n as usize > next;
                assert!(in_order, "{}: order: {n} for {next}", client.name());
                assert_eq!(client.home(), truth, "{}: topic", client.name());
                let delivered = self.kernel.borrow().sockets[client.socket].delivered;
                assert!(said.end <= delivered, "published before it was whole");
                if matches!(message.by, By::Client { .. }) {
                    assert!(!client.chat);
                    assert!((message.opcode, &message.payload) == (said.opcode, &said.payload));
                } else {
                    let line = std::str::from_utf8(&message.payload).expect("a line is text");
                    let text = std::str::from_utf8(&said.payload).expect("it was text");
                    let wanted = format!(" {} say: {}", client.peer, as_shown(text));
                    assert!(client.chat && line.len() == 8 + wanted.len());
                    assert!(line.ends_with(&wanted), "{line}");
                }
                client.published = n as usize + 1;
            }
            By::Session { id, n } => {
                let session = &mut self.sessions.list[id as usize - 1];
                let mut later = session.posts[n as usize..].iter();
                let later = later.any(|post| post.published && post.truth == truth);
                assert!(!later, "{}: order", session.name());
                let post = &mut session.posts[n as usize];
                assert_eq!(post.truth, truth, "session {id}: topic");
                let delivered = self.kernel.borrow().sockets[session.socket].delivered;
                assert!(post.end <= delivered, "published before it was whole");
                assert!((message.opcode, &message.payload) == (post.opcode, &post.payload));
                post.published = true;
            }
            By::Subscriber { id, n } => {
                let subscriber = &mut self.subscribers.list[id as usize - 1];
                let mut later = subscriber.posts[n as usize..].iter();
                let later = later.any(|post| post.published && post.truth == truth);
                assert!(!later, "subscriber {id}: order");
                let post = &mut subscriber.posts[n as usize];
                assert_eq!(post.truth, truth, "subscriber {id}: topic");
                let delivered = self.kernel.borrow().sockets[subscriber.socket].delivered;
                assert!(post.end <= delivered, "published before it was whole");
                assert!((message.opcode, &message.payload) == (1, &post.payload));
                post.published = true;
            }
            By::Welcome(port) => clients[by_port(port)].welcomed += 1,
            By::Logout(port) => clients[by_port(port)].logged_out += 1,
            By::Admin | By::Unknown => {}
        }
    }

    /// The kernel sees whether peers live.
    pub(crate) fn is_kept_alive(&self) -> bool {
        self.plan.settings.keepalive == Keepalive::Kernel
    }

    pub(crate) fn pass_time(&mut self) {
        let ms = self.rng.u64(1..=self.plan.leap_ms_max);
        self.advance(ms);
        if self.rng.u8(..) < 8 {
            // The process stands still, or its clock is set: nobody is to blame.
            // It counts as the longest time that a core may be late.
            self.advance(LATE_MS_MAX);
            let ms = self.rng.u64(5_000..500_000);
            self.hub_ms.fetch_add(ms, Ordering::Relaxed);
        }
        for core in 0..self.cores.len() {
            if self.rng.bool() && !self.cores[core].reactor.is_frozen() {
                self.tick(core);
            }
        }
    }

    pub(crate) fn advance(&self, ms: u64) {
        self.now_ms.fetch_add(ms, Ordering::Relaxed);
        self.hub_ms.fetch_add(ms, Ordering::Relaxed);
    }

    pub(crate) fn tick(&mut self, core: usize) {
        self.cores[core].reactor.tick();
        self.turn(core);
    }

    /// The history of a topic, begun now if there is none.
    pub(crate) fn truth(&mut self, name: &str) -> Option<usize> {
        let topic_name = TopicName::new(name).expect("a good name");
        let topic = self.hub.topic(&topic_name).ok()?;
        if let Some((cluster, _)) = &self.cluster
            && !topic.is_known()
        {
            self.hub.want(&topic);
            self.begin_asked(cluster);
        }
        let known = |truth: &Truth| truth.epoch == topic.epoch();
        if let Some(index) = self.truths.iter().position(known) {
            if self.truths[index].watch.is_none() {
                self.truths[index].watch(topic);
            }
            return Some(index);
        }
        self.truths.push(Truth::new(name, &topic));
        Some(self.truths.len() - 1)
    }
}

impl CoreRun {
    pub(crate) fn new(core: usize, hub: &Arc<Hub>, kernel: &SharedKernel, slots: u32) -> Self {
        let ring = FakeRing::new(kernel, slots + SPARE);
        let side = ring.side();
        let mut reactor = Reactor::new(core, hub.clone(), ring, slots).with_spare(SPARE);
        if hub.settings().keepalive == Keepalive::Kernel {
            reactor.have_kernel_keep_alive(true);
        }
        CoreRun {
            reactor,
            side,
            awake: false,
            drained: None,
        }
    }
}

/// A daemon's hub, and its clock. That may stand anywhere, also where its low
/// half is about to begin anew.
pub(crate) fn new_hub(
    rng: &mut Rng,
    settings: &Settings,
    now_ms: &Arc<AtomicU64>,
) -> (Arc<Hub>, Arc<AtomicU64>) {
    let begin_ms = [
        EARLIEST_MS,
        (1 << 32) - 5_000,
        rng.u64(EARLIEST_MS..1 << 40),
    ];
    let hub_ms = Arc::new(AtomicU64::new(begin_ms[rng.usize(..3)]));
    let clock = Clock::Manual(hub_ms.clone(), now_ms.clone());
    let hub = Hub::with_clock(settings.clone(), clock).expect("eventfds are to be had");
    (hub, hub_ms)
}

/// As a daemon's own clock begins.
const EARLIEST_MS: u64 = 100_000_000;
