//! Sessions in the world: how they come, what they do there step by step, and what must hold
//! of all of them when all has gone quiet or is over. They have a chance of their own, so that
//! worlds without sessions are what they would be.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use fanfare::config::Deflate;
use fanfare::core::Arrival;
use fanfare::protocol::centrifugo::Coding;
use fanfare::protocol::http::{HeadLimits, negotiate_centrifugo, parse};
use fanfare::protocol::topic::TopicName;
use fanfare::protocol::ws::deflate::Policy;
use fastrand::Rng;

use super::deeds::Scene;
use super::judging::{Around, Pushes};
use super::{Session, Topic};
use crate::client::{Fate, Nature, View};
use crate::kernel::chance;
use crate::ring::Handle;
use crate::world::World;

/// Session `n` has this port and `n` more.
const FIRST_PORT: u16 = 30_000;
/// Topics that one session may name.
const TOPICS_MAX: usize = 6;

/// All sessions of a world.
pub(crate) struct Sessions {
    rng: Rng,
    pub(crate) list: Vec<Session>,
    pub(crate) pushes: Pushes,
    /// Messages about who comes that were lost for lack of room, in daemons that are gone.
    joins_lost: u64,
}

impl Sessions {
    pub(crate) fn new(seed: u64) -> Self {
        Sessions {
            rng: Rng::with_seed(seed),
            list: Vec::new(),
            pushes: Pushes::default(),
            joins_lost: 0,
        }
    }
}

impl World {
    /// A session comes, or one of them does something.
    pub(crate) fn step_sessions(&mut self) {
        if !self.plan.sessions {
            return;
        }
        let living = |session: &&Session| !session.over;
        let count = self.sessions.list.iter().filter(living).count();
        let full =
            count >= self.plan.clients_max || self.sessions.list.len() >= self.plan.connects_max;
        if !full && (count == 0 || self.sessions.rng.u8(..) < 8) {
            return self.connect_session();
        }
        if count == 0 || self.sessions.rng.u8(..) < 80 {
            return;
        }
        let nth = self.sessions.rng.usize(..count);
        let all = self.sessions.list.iter().enumerate();
        let (index, _) = all
            .filter(|(_, session)| !session.over)
            .nth(nth)
            .expect("counted");
        let Sessions { rng, list, .. } = &mut self.sessions;
        let session = &mut list[index];
        if !session.closed && session.awaited() < 30 {
            let scene = Scene {
                truths: &self.truths,
                message_bytes_max: self.plan.settings.message_bytes_max,
                handovers: self.outcome.handovers,
            };
            session.act(rng, &scene);
        }
        let nature = session.nature;
        self.write_session(index, nature.write_max);
        if self.sessions.list[index].asleep_until > self.step {
            return;
        }
        if nature.sluggard && self.sessions.rng.u8(..) < 40 {
            let until = self.step + self.sessions.rng.usize(..600);
            self.sessions.list[index].asleep_until = until;
        }
        self.read_session(index, nature.read_max);
    }

    fn connect_session(&mut self) {
        if self.cores.iter().any(|core| core.reactor.is_frozen()) {
            return;
        }
        let mut rng = self.sessions.rng.fork();
        let mut names = BTreeSet::new();
        for _ in 0..rng.usize(1..=TOPICS_MAX) {
            names.insert(format!("topic-{}", rng.usize(..self.plan.topics)));
        }
        let mut topics = Vec::new();
        for name in &names {
            let Some(truth) = self.truth(name) else {
                return;
            };
            topics.push(Topic::new(truth));
        }
        let names: Vec<String> = names.into_iter().collect();
        self.remember(&mut rng, &names, &mut topics);
        let id = self.sessions.list.len() as u32 + 1;
        let port = FIRST_PORT + id as u16;
        let peer = format!("10.0.1.{}:{port}", id % 4)
            .parse()
            .expect("an address");
        if !self.admits(peer) {
            return;
        }
        let coding = [Coding::Json, Coding::Protobuf][rng.usize(..2)];
        let head = head(&mut rng, coding);
        let (request, _) = parse(head.as_bytes(), HeadLimits::default())
            .expect("a head")
            .expect("whole");
        let spoken = self.plan.settings.deflate;
        let policy = (spoken != Deflate::Off).then_some(Policy {
            client_takeover: spoken == Deflate::Takeover,
        });
        let upgrade = negotiate_centrifugo(&request, self.hub.origins(), policy);
        let upgrade = upgrade.expect("a good one");
        let sizes = [64, 1000, 20_000];
        let (inbound, outbound) = (sizes[rng.usize(..3)], sizes[rng.usize(..3)]);
        let socket = self.kernel.borrow_mut().connect(inbound, outbound);
        let core = rng.usize(..self.cores.len());
        let mut session = Session::new(id, core, socket, coding, names, topics);
        session.nature = Nature {
            rogue: chance(&mut rng, self.plan.rogues),
            sluggard: chance(&mut rng, self.plan.sluggards),
            rude: rng.u8(..) < 50,
            read_max: [3, 200, 50_000][rng.usize(..3)],
            write_max: [3, 200, 50_000][rng.usize(..3)],
        };
        let agreed = upgrade.deflate.as_ref();
        session.deflate = agreed.map(|agreed| (agreed.answer(), agreed.server_window_bits));
        (session.came, session.came_ms) = (self.step, self.now_ms.load(Ordering::Relaxed));
        self.say(|| format!("{} connects", session.name()));
        self.sessions.list.push(session);
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
            let session = self.sessions.list.last_mut().expect("just pushed");
            (session.over, session.fate) = (true, Fate::Reset);
            self.kernel.borrow_mut().sockets[socket].server_closed = true;
        }
    }

    /// Who comes back knows what the one before had heard.
    fn remember(&self, rng: &mut Rng, names: &[String], topics: &mut [Topic]) {
        let over: Vec<_> = self.sessions.list.iter().filter(|s| s.over).collect();
        if over.is_empty() || rng.u8(..) < 60 {
            return;
        }
        let before = over[rng.usize(..over.len())];
        for (name, topic) in names.iter().zip(topics) {
            let known = before.names.iter().position(|known| known == name);
            topic.known = known.and_then(|at| before.topics[at].known.clone());
        }
    }

    pub(crate) fn write_session(&mut self, index: usize, max: usize) -> bool {
        let session = &mut self.sessions.list[index];
        let mut kernel = self.kernel.borrow_mut();
        let done = session.write(&mut kernel.sockets[session.socket], max);
        if done {
            kernel.poke(session.socket);
        }
        done
    }

    pub(crate) fn read_session(&mut self, index: usize, max: usize) -> bool {
        let comings = self.comings();
        // Who waits in vain until something may be proposed again is refused too.
        let refusing = self.plan.refusing || self.was_cluster_full();
        let Sessions {
            rng, list, pushes, ..
        } = &mut self.sessions;
        let session = &mut list[index];
        let drained = self.cores[session.core].drained.as_ref();
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
            hub: &self.hub,
            step: self.step,
            handovers: self.outcome.handovers,
            comings,
        };
        let mut kernel = self.kernel.borrow_mut();
        let facts = |session: &Session, pushes: &Pushes| {
            (pushes.counts.facts(), session.closed, session.over)
        };
        let before = facts(session, pushes);
        let socket = &mut kernel.sockets[session.socket];
        let done = session.read(rng, socket, max, &around, pushes);
        if done {
            kernel.poke(session.socket);
        }
        drop(kernel);
        let after = facts(session, pushes);
        if before != after {
            let id = u64::from(session.id);
            self.digest(id << 40 | after.0);
            let session = &self.sessions.list[index];
            self.say(|| format!("{} closed {} over {}", session.name(), after.1, after.2));
        }
        done
    }

    /// For each truth, how often somebody may have come to it, or gone.
    fn comings(&self) -> Vec<u64> {
        let mut comings = vec![0; self.truths.len()];
        for topic in self.sessions.list.iter().flat_map(|s| &s.topics) {
            comings[topic.truth] += 2 * topic.asked;
        }
        self.count_comings(&mut comings);
        comings
    }

    /// All read and write all they can. True if anything has happened.
    pub(crate) fn run_sessions(&mut self) -> bool {
        let mut moved = false;
        for index in 0..self.sessions.list.len() {
            if !self.sessions.list[index].over {
                moved |= self.write_session(index, usize::MAX);
                if self.sessions.list[index].asleep_until < usize::MAX {
                    moved |= self.read_session(index, usize::MAX);
                }
            }
        }
        moved
    }

    /// Some session whose server is not done with it may name a topic.
    pub(crate) fn is_named(&self, truth: usize) -> bool {
        let kernel = self.kernel.borrow();
        let served = |session: &&Session| !kernel.sockets[session.socket].server_closed;
        let mut served = self.sessions.list.iter().filter(served);
        served.any(|session| session.topics.iter().any(|topic| topic.truth == truth))
    }

    /// A daemon hands over: what it has counted goes with it.
    pub(crate) fn count_sessions(&mut self) {
        self.sessions.joins_lost += self.joins_lost();
    }

    /// Of all daemons.
    pub(crate) fn all_joins_lost(&self) -> u64 {
        self.sessions.joins_lost + self.joins_lost()
    }

    fn joins_lost(&self) -> u64 {
        let mailboxes = self.hub.mailboxes().iter();
        mailboxes
            .map(|mailbox| mailbox.metrics.joins_lost.get())
            .sum()
    }

    /// With all quiet, each has its answers and stands at the head of all that it follows,
    /// and the lists of who is there are right.
    pub(crate) fn check_sessions_quiet(&self) {
        for session in &self.sessions.list {
            let describe = || {
                let kernel = self.kernel.borrow();
                format!("{}: {}", session.name(), kernel.describe(session.socket))
            };
            session.check_posts();
            if session.over {
                continue;
            }
            assert!(session.greeted, "{} was not answered", describe());
            if session.closed {
                // A rude one waits for the server's patience to end.
                assert!(session.nature.rude, "{} is not let go", describe());
                continue;
            }
            assert_eq!(session.fate, Fate::Open, "{} is not let go", describe());
            assert_eq!(session.awaited(), 0, "{} awaits an answer", describe());
            for topic in session.followed() {
                let truth = &self.truths[topic.truth];
                let next = Some(truth.next());
                assert_eq!(
                    topic.next,
                    next,
                    "{} has not heard all of {}",
                    describe(),
                    truth.name
                );
            }
        }
        for truth in 0..self.truths.len() {
            if self.truths[truth].watch.is_some() {
                self.check_presence(truth);
            }
        }
    }

    fn check_presence(&self, truth: usize) {
        let name = &self.truths[truth].name;
        let topic = TopicName::new(name).expect("a good name");
        let Some(members) = self.hub.members(&topic) else {
            return;
        };
        let listed: BTreeSet<&str> = members.iter().map(|info| &info.client[..]).collect();
        let there = || {
            let open = self.sessions.list.iter().filter(|s| !s.over && !s.closed);
            open.filter_map(|session| {
                let topic = session.followed().find(|topic| topic.truth == truth)?;
                Some((session, topic, session.client.as_deref()?))
            })
        };
        let following: BTreeSet<&str> = there().map(|(_, _, client)| client).collect();
        let is_session = |client: &&&str| !self.subscribers.come || !client.contains('.');
        let sessions: BTreeSet<&str> = listed.iter().filter(is_session).copied().collect();
        assert_eq!(sessions, following, "who is in {name}");
        // What was told of who comes and goes comes to the same, as far as it was told.
        // A daemon that stops tells nobody.
        let all_told = self.all_joins_lost() == 0 && !self.hub.is_stopping();
        for (session, topic, client) in there() {
            let Some(joins) = topic.joins.as_ref().filter(|_| all_told) else {
                continue;
            };
            for (other, present) in joins {
                assert_eq!(
                    listed.contains(&other[..]),
                    *present,
                    "{}: {other}",
                    session.name()
                );
            }
            let since = topic.began;
            let mut later = there().filter(|(other, _, _)| other.came > since);
            let heard = |client: &str| joins.get(client) == Some(&true);
            assert!(heard(client), "{} has heard itself come", session.name());
            assert!(
                later.all(|(_, _, other)| heard(other)),
                "{} has heard all come who came later to {name}",
                session.name()
            );
        }
    }

    pub(crate) fn check_sessions_over(&self) {
        for session in &self.sessions.list {
            let place = self.kernel.borrow().describe(session.socket);
            assert!(session.over, "{} is still there: {place}", session.name());
            session.check_posts();
        }
    }
}

impl Session {
    /// What was accepted is published, what was refused is not.
    fn check_posts(&self) {
        for (n, post) in self.posts.iter().enumerate() {
            if let Some(accepted) = post.accepted {
                assert_eq!(post.published, accepted, "{}: post {n}", self.name());
            }
        }
    }
}

fn head(rng: &mut Rng, coding: Coding) -> String {
    let mut head = "GET /connection/websocket HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        .to_owned();
    if coding == Coding::Protobuf {
        head += "Sec-WebSocket-Protocol: centrifuge-protobuf\r\n";
    }
    // All with one window: of more a topic had too many views for others to have theirs.
    if rng.u8(..) < 90 {
        head += "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    }
    head + "\r\n"
}
