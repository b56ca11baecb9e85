//! Subscribers in the world: how they come, what they do there step by step, and what must hold
//! of all of them when all has gone quiet or is over. They have a chance of their own, so that
//! worlds without subscribers are what they would be.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use fanfare::config::Deflate;
use fanfare::core::Arrival;
use fanfare::protocol::http::{HeadLimits, negotiate_app, parse};
use fanfare::protocol::pusher::{App, Secrets};
use fanfare::protocol::topic::TopicName;
use fanfare::protocol::ws::deflate::Policy;
use fastrand::Rng;

use super::judging::Around;
use super::{Channel, Counts, Stand, Subscriber};
use crate::client::{Fate, Nature, View};
use crate::kernel::chance;
use crate::ring::Handle;
use crate::world::World;

/// Subscriber `n` has this port and `n` more.
const FIRST_PORT: u16 = 40_000;
/// Channels that one subscriber may name.
const CHANNELS_MAX: usize = 4;
/// Users, and channels of each kind that are not for everybody.
const USERS: usize = 4;
const GUARDED: usize = 2;

/// The app that they are of.
pub(crate) fn app() -> Arc<App> {
    Arc::new(App {
        id: "1".into(),
        key: "key".into(),
        secret_files: Vec::new(),
        secrets: Secrets::new(["secret".to_owned()]),
        prefix: "".into(),
        client_events: true,
        client_events_per_s_max: 0,
        connections_max: 0,
        event_bytes_max: 1 << 20,
        event_channels_max: 1,
        batch_events_max: 1,
        presence_members_max: 1000,
        presence_user_bytes_max: 1 << 10,
        webhooks: Vec::new(),
    })
}

/// All subscribers of a world.
pub(crate) struct Subscribers {
    rng: Rng,
    /// There are any.
    pub(crate) come: bool,
    pub(crate) list: Vec<Subscriber>,
    pub(crate) counts: Counts,
}

impl Subscribers {
    pub(crate) fn new(rng: Rng, come: bool) -> Self {
        Subscribers {
            rng,
            come,
            list: Vec::new(),
            counts: Counts::default(),
        }
    }
}

impl World {
    /// A subscriber comes, or one of them does something.
    pub(crate) fn step_subscribers(&mut self) {
        if !self.subscribers.come {
            return;
        }
        let Subscribers { rng, list, .. } = &mut self.subscribers;
        let count = list.iter().filter(|of| !of.over).count();
        let full = count >= self.plan.clients_max || list.len() >= self.plan.connects_max;
        if !full && (count == 0 || rng.u8(..) < 8) {
            return self.connect_subscriber();
        }
        if count == 0 || rng.u8(..) < 80 {
            return;
        }
        let nth = rng.usize(..count);
        let living = list.iter_mut().enumerate().filter(|(_, of)| !of.over);
        let (index, subscriber) = { living }.nth(nth).expect("counted");
        let max = self.plan.settings.message_bytes_max;
        subscriber.act(rng, &self.truths, max);
        let nature = subscriber.nature;
        self.write_subscriber(index, nature.write_max);
        if self.subscribers.list[index].asleep_until > self.step {
            return;
        }
        if nature.sluggard && self.subscribers.rng.u8(..) < 40 {
            let until = self.step + self.subscribers.rng.usize(..600);
            self.subscribers.list[index].asleep_until = until;
        }
        self.read_subscriber(index, nature.read_max);
    }

    fn connect_subscriber(&mut self) {
        if self.cores.iter().any(|core| core.reactor.is_frozen()) {
            return;
        }
        let mut rng = self.subscribers.rng.fork();
        let mut names = BTreeSet::new();
        for _ in 0..rng.usize(1..=CHANNELS_MAX) {
            let (kind, of) = [
                ("topic", self.plan.topics),
                ("private", GUARDED),
                ("presence", GUARDED),
            ][rng.usize(..3)];
            names.insert(format!("{kind}-{}", rng.usize(..of)));
        }
        let mut channels = Vec::new();
        for name in names {
            let Some(truth) = self.truth(&name) else {
                return;
            };
            channels.push(Channel {
                name,
                truth,
                stand: Stand::Out,
                members: BTreeSet::new(),
                asked: 0,
            });
        }
        let id = self.subscribers.list.len() as u32 + 1;
        let port = FIRST_PORT + id as u16;
        let peer = format!("10.0.3.{}:{port}", id % 4)
            .parse()
            .expect("an address");
        if !self.admits(peer) {
            return;
        }
        let head = head(&mut rng);
        let (request, _) = parse(head.as_bytes(), HeadLimits::default())
            .expect("a head")
            .expect("whole");
        let spoken = self.plan.settings.deflate;
        let policy = (spoken != Deflate::Off).then_some(Policy {
            client_takeover: spoken == Deflate::Takeover,
        });
        let is_app = |key: &str| key == "key";
        let upgrade = negotiate_app(&request, self.hub.origins(), policy, "key", is_app);
        let upgrade = upgrade.expect("a good one");
        let sizes = [64, 1000, 20_000];
        let (inbound, outbound) = (sizes[rng.usize(..3)], sizes[rng.usize(..3)]);
        let socket = self.kernel.borrow_mut().connect(inbound, outbound);
        let core = rng.usize(..self.cores.len());
        let agreed = upgrade.deflate.as_ref();
        let subscriber = Subscriber {
            id,
            core,
            socket,
            user: format!("user-{}", rng.usize(..USERS)),
            socket_id: None,
            deflate: agreed.map(|agreed| (agreed.answer(), agreed.server_window_bits)),
            nature: Nature {
                rogue: chance(&mut rng, self.plan.rogues),
                sluggard: chance(&mut rng, self.plan.sluggards),
                rude: rng.u8(..) < 50,
                read_max: [3, 200, 50_000][rng.usize(..3)],
                write_max: [3, 200, 50_000][rng.usize(..3)],
            },
            fate: Fate::Open,
            asleep_until: 0,
            outbox: Default::default(),
            queued: 0,
            inbox: Vec::new(),
            channels,
            posts: Vec::new(),
            refused: 0,
            nonsense: 0,
            pings: 0,
            pongs: 0,
            owes_pongs: 0,
            was_pinged: false,
            greeted: false,
            closed: false,
            over: false,
        };
        self.say(|| format!("{} connects", subscriber.name()));
        self.subscribers.list.push(subscriber);
        let arrival = Arrival {
            peer,
            kept_alive: self.is_kept_alive(),
            upgrade,
            topic: None,
            rest: Vec::new(),
            tls: self.kernel.borrow_mut().secure(socket),
        };
        let adopted = self.cores[core].reactor.adopt(&Handle(socket), arrival);
        self.hub.admission().shake(peer.ip());
        if adopted.is_ok() {
            self.outcome.connections += 1;
            self.cores[core].awake = true;
        } else {
            self.hub.admission().leave(peer.ip());
            let subscriber = self.subscribers.list.last_mut().expect("just pushed");
            (subscriber.over, subscriber.fate) = (true, Fate::Reset);
            self.kernel.borrow_mut().sockets[socket].server_closed = true;
        }
    }

    fn write_subscriber(&mut self, index: usize, max: usize) -> bool {
        let subscriber = &mut self.subscribers.list[index];
        let mut kernel = self.kernel.borrow_mut();
        let done = subscriber.write(&mut kernel.sockets[subscriber.socket], max);
        if done {
            kernel.poke(subscriber.socket);
        }
        done
    }

    fn read_subscriber(&mut self, index: usize, max: usize) -> bool {
        let mut comings = vec![0; self.truths.len()];
        self.count_comings(&mut comings);
        let all_told = self.all_joins_lost() == 0 && !self.hub.is_stopping();
        // Who waits in vain until something may be proposed again is refused too.
        let refusing = self.plan.refusing || self.was_cluster_full();
        let Subscribers {
            rng, list, counts, ..
        } = &mut self.subscribers;
        let subscriber = &mut list[index];
        let drained = self.cores[subscriber.core].drained.as_ref();
        let around = Around {
            view: View {
                truths: &self.truths,
                settings: &self.plan.settings,
                now_ms: self.now_ms.load(Ordering::Relaxed),
                tight: self.plan.tight,
                uncompressed: false,
                stored: self.store.is_some() || self.plan.shared,
                shared: self.plan.shared,
                refusing,
                drained: drained.map(Vec::as_slice),
            },
            comings,
            all_told,
        };
        let mut kernel = self.kernel.borrow_mut();
        let facts = |of: &Subscriber, counts: &Counts| {
            let told = counts.events + counts.entered + counts.gaps + counts.moves;
            (told + of.pongs, of.closed, of.over)
        };
        let before = facts(subscriber, counts);
        let socket = &mut kernel.sockets[subscriber.socket];
        let done = subscriber.read(rng, socket, max, &around, counts);
        if done {
            kernel.poke(subscriber.socket);
        }
        drop(kernel);
        let Subscribers { list, counts, .. } = &self.subscribers;
        let after = facts(&list[index], counts);
        if before != after {
            self.digest(u64::from(self.subscribers.list[index].id) << 40 | after.0);
            let subscriber = &self.subscribers.list[index];
            self.say(|| format!("{} closed {} over {}", subscriber.name(), after.1, after.2));
        }
        done
    }

    /// Adds for each truth how often some subscriber may have come to it, or gone.
    pub(crate) fn count_comings(&self, comings: &mut [u64]) {
        for channel in self.subscribers.list.iter().flat_map(|of| &of.channels) {
            comings[channel.truth] += 2 * channel.asked;
        }
    }

    /// All read and write all they can. True if anything has happened.
    pub(crate) fn run_subscribers(&mut self) -> bool {
        let mut moved = false;
        for index in 0..self.subscribers.list.len() {
            if !self.subscribers.list[index].over {
                moved |= self.write_subscriber(index, usize::MAX);
                if self.subscribers.list[index].asleep_until < usize::MAX {
                    moved |= self.read_subscriber(index, usize::MAX);
                }
            }
        }
        moved
    }

    /// Some subscriber whose server is not done with it may name a topic.
    pub(crate) fn is_channel(&self, truth: usize) -> bool {
        let kernel = self.kernel.borrow();
        let mut served = (self.subscribers.list.iter())
            .filter(|subscriber| !kernel.sockets[subscriber.socket].server_closed);
        served.any(|subscriber| subscriber.channels.iter().any(|of| of.truth == truth))
    }

    /// With all quiet, each has its answers, stands at the head of all channels that it is in,
    /// and knows who else is in them.
    pub(crate) fn check_subscribers_quiet(&self) {
        for subscriber in self.subscribers.list.iter().filter(|of| !of.over) {
            let describe = || {
                let kernel = self.kernel.borrow();
                format!(
                    "{}: {}",
                    subscriber.name(),
                    kernel.describe(subscriber.socket)
                )
            };
            assert!(subscriber.greeted, "{} was not answered", describe());
            if subscriber.closed {
                // A rude one waits for the server's patience to end.
                assert!(subscriber.nature.rude, "{} is not let go", describe());
                continue;
            }
            assert_eq!(subscriber.fate, Fate::Open, "{} is not let go", describe());
            assert!(subscriber.socket_id.is_some(), "{}", describe());
            assert_eq!(subscriber.pings, subscriber.pongs, "{}", describe());
            assert_eq!(subscriber.nonsense, 0, "{} has no answer", describe());
            let unheard = subscriber.posts.iter().filter(|post| !post.published);
            // What a cluster does not take is not told one by one.
            if !self.plan.shared {
                let unheard = unheard.count();
                assert_eq!(unheard, subscriber.refused, "{} is not heard", describe());
            }
            for channel in &subscriber.channels {
                let is_settled = matches!(channel.stand, Stand::In(_) | Stand::Out);
                assert!(is_settled, "{} has no answer", describe());
                let truth = &self.truths[channel.truth];
                let is_at_head = channel.is_at_head(subscriber.id, truth);
                assert!(is_at_head, "{} has not heard all", describe());
            }
        }
        self.check_who_is_there();
    }

    fn check_who_is_there(&self) {
        let mut there: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let open = || {
            let all = self.subscribers.list.iter();
            let open = all.filter(|of| !of.over && !of.closed);
            open.flat_map(|of| of.entered().map(move |(channel, _)| (of, channel)))
                .filter(|(_, channel)| channel.name.starts_with("presence-"))
        };
        for (subscriber, channel) in open() {
            let users = there.entry(&channel.name).or_default();
            users.insert(&subscriber.user);
        }
        // A daemon that stops tells nobody, and some may have been lost for lack of room.
        let all_told = self.all_joins_lost() == 0 && !self.hub.is_stopping();
        for (subscriber, channel) in open().filter(|_| all_told) {
            let known: BTreeSet<&str> = channel.members.iter().map(|user| &user[..]).collect();
            let name = subscriber.name();
            assert_eq!(known, there[&channel.name[..]], "{name}: {}", channel.name);
        }
        for (channel, users) in &there {
            let topic = TopicName::new(channel).expect("a good name");
            let members = self.hub.members(&topic).expect("it has a list");
            let listed: BTreeSet<&str> = members.iter().map(|info| &info.user[..]).collect();
            assert_eq!(&listed, users, "who is in {channel}");
        }
    }

    pub(crate) fn check_subscribers_over(&self) {
        for subscriber in &self.subscribers.list {
            let place = self.kernel.borrow().describe(subscriber.socket);
            let name = subscriber.name();
            assert!(subscriber.over, "{name} is still there: {place}");
        }
    }
}

fn head(rng: &mut Rng) -> String {
    let mut head = "GET /app/key?protocol=7&client=played HTTP/1.1\r\nHost: here\r\n\
         Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        .to_owned();
    // All with one window: of more a topic had too many views for others to have theirs.
    if rng.u8(..) < 90 {
        head += "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    }
    head + "\r\n"
}
