//! What the thread does: takes what has been noted, looks at topics, and has it told.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::asking::{self, Standing};
use super::occupancy::{Departures, Member, Occupancy};
use super::posts::Posts;
use super::told;
use crate::hub::{Happening, Hub, SavedHooks};
use crate::protocol::pusher::HookEvent;

/// At the end what waits is tried for so long.
const STOP_TIME: Duration = Duration::from_secs(2);
/// How long other nodes are asked. One that does not answer knows nothing.
const ASK_TIME: Duration = Duration::from_secs(5);
/// The longest rest.
const REST_MS: u64 = 60_000;

pub(super) struct Work {
    hub: Arc<Hub>,
    stopping: Arc<AtomicBool>,
    occupancy: Occupancy,
    departures: Departures,
    /// Topics of the cluster that have become occupied or vacated here, and that the other nodes
    /// are to be asked about. One question at a time: so what is told of a topic keeps its order.
    unsure: VecDeque<Change>,
    asking: JoinSet<Standings>,
    /// About which changes.
    asked: Vec<Change>,
    posts: Posts,
    /// Which settings were looked at last.
    settings: u64,
}

type Change = (Arc<str>, HookEvent);

/// What other nodes know of topics, in the order in which they were asked.
type Standings = Vec<Standing>;

impl Work {
    /// Goes on where another process has stopped, if one has.
    pub(super) fn new(hub: Arc<Hub>, stopping: Arc<AtomicBool>) -> Work {
        let now_ms = hub.now_ms();
        let (mut occupancy, mut departures) = (Occupancy::default(), Departures::default());
        let mut posts = Posts::default();
        let restored = hub.hooks().take_restored();
        for topic in restored.occupied {
            let topic = Arc::from(topic);
            hub.hooks().know(&topic, true);
            let is_occupied = hub.has_readers(&topic);
            occupancy.take_up(topic.clone());
            occupancy.look(&topic, is_occupied, now_ms);
        }
        for (topic, user) in restored.gone {
            departures.go(&(topic.into(), user.into()), now_ms);
        }
        posts.restore(&hub, restored.outboxes);
        Work {
            hub,
            stopping,
            occupancy,
            departures,
            unsure: VecDeque::new(),
            asking: JoinSet::new(),
            asked: Vec::new(),
            posts,
            // None: they are looked at first of all.
            settings: 0,
        }
    }

    pub(super) async fn run(mut self) {
        let mut end = None;
        loop {
            let stops = self.stopping.load(Ordering::Relaxed);
            self.step();
            let mut rest = self.rest();
            if stops {
                let end = *end.get_or_insert_with(|| Instant::now() + STOP_TIME);
                if self.is_done() || Instant::now() >= end {
                    return;
                }
                rest = rest.min(end - Instant::now());
            }
            let hub = self.hub.clone();
            tokio::select! {
                () = hub.hooks().wait() => {}
                done = self.posts.next_done() => self.posts.note_done(&hub, done),
                Some(answered) = self.asking.join_next() => match answered {
                    Ok(standings) => self.note_answered(standings),
                    Err(error) => {
                        tracing::error!(%error, "other nodes could not be asked");
                        self.note_answered(vec![Standing::default(); self.asked.len()]);
                    }
                },
                () = sleep(rest) => {}
            }
        }
    }

    /// Nothing is left to be told, or another process has been handed what is.
    fn is_done(&self) -> bool {
        self.hub.hooks().is_held() || (self.asking.is_empty() && self.posts.are_done())
    }

    /// Does all that is to be done now.
    fn step(&mut self) {
        let hub = self.hub.clone();
        let now_ms = hub.now_ms();
        let mut noted = hub.hooks().take();
        if self.settings != hub.hooks().version() {
            self.settings = hub.hooks().version();
            self.posts.look_at_settings(&hub);
            let wanted = |topic: &Arc<str>| tells_of_channel(&hub, topic);
            for topic in self.occupancy.retain(wanted) {
                hub.hooks().know(&topic, false);
            }
            noted.all = true;
        }
        if noted.all {
            let topics = hub.all_topics().into_iter();
            let names = topics.map(|topic| topic.name().clone());
            noted.touched.extend(names);
            // A topic that all have left may be gone already, and its name with what was noted.
            noted.touched.extend(self.occupancy.occupied().cloned());
        }
        for topic in &noted.touched {
            if tells_of_channel(&hub, topic)
                && self.occupancy.look(topic, hub.has_readers(topic), now_ms)
            {
                self.change((topic.clone(), HookEvent::ChannelOccupied));
            }
        }
        for happening in noted.happenings {
            self.handle(happening, now_ms);
        }
        let vacated = self
            .occupancy
            .take_vacated(now_ms, |topic| hub.has_readers(topic));
        for topic in vacated {
            // Before others are asked: of two nodes that ask each other one tells at least.
            hub.hooks().know(&topic, false);
            self.change((topic, HookEvent::ChannelVacated));
        }
        let is_there = |(topic, user): &Member| hub.presence().is_there(topic, user);
        for member in self.departures.take_gone(now_ms, is_there) {
            self.tell_gone(&member);
        }
        match hub.hooks().take_asks() {
            Some(asks) => self.save(&asks),
            None => self.ask(),
        }
        self.posts.send(&hub);
    }

    /// Writes down what another process is to go on with.
    fn save(&mut self, asks: &Sender<SavedHooks>) {
        // Others may tell it too, but nobody waits for them now.
        self.asking = JoinSet::new();
        let asked = std::mem::take(&mut self.asked).into_iter();
        for change in asked.chain(std::mem::take(&mut self.unsure)) {
            self.conclude(&change, Standing::default());
        }
        let saved = SavedHooks {
            occupied: self.occupancy.save(),
            gone: self.departures.save(),
            outboxes: self.posts.save(&self.hub),
        };
        // Who has asked may have stopped waiting.
        let _ = asks.send(saved);
    }

    fn handle(&mut self, happening: Happening, now_ms: u64) {
        if let Happening::Member {
            topic,
            user,
            has_come,
        } = &happening
        {
            let member = (topic.clone(), user.clone());
            if !has_come {
                if self.departures.go(&member, now_ms) {
                    self.tell_gone(&member);
                }
                return;
            }
            if !self.departures.come(&member) {
                return;
            }
        }
        let (what, text) = told::of_happening(&happening);
        self.tell(happening.topic(), what, &text);
    }

    fn tell_gone(&mut self, (topic, user): &Member) {
        let what = HookEvent::MemberRemoved;
        self.tell(topic, what, &told::of_member(what, topic, user));
    }

    /// A topic has become occupied or vacated, as far as this node knows.
    fn change(&mut self, change: Change) {
        let (topic, _) = &change;
        let is_shared = || {
            let topic = self.hub.find_topic(topic);
            topic.is_none_or(|topic| topic.is_shared())
        };
        match self.hub.cluster().is_linked() && is_shared() {
            true => self.unsure.push_back(change),
            false => self.conclude(&change, Standing::default()),
        }
    }

    /// Asks the other nodes about some of the topics that this is to be done for.
    fn ask(&mut self) {
        if !self.asking.is_empty() || self.unsure.is_empty() {
            return;
        }
        let count = self.unsure.len().min(asking::TOPICS_MAX);
        self.asked = self.unsure.drain(..count).collect();
        let topics: Vec<_> = self.asked.iter().map(|(topic, _)| topic.clone()).collect();
        let hub = self.hub.clone();
        self.asking.spawn(async move {
            let answers = timeout(ASK_TIME, asking::ask(&hub, &topics)).await;
            answers.unwrap_or_else(|_| vec![Standing::default(); topics.len()])
        });
    }

    fn note_answered(&mut self, standings: Standings) {
        let asked = std::mem::take(&mut self.asked);
        for (change, standing) in asked.iter().zip(standings) {
            self.conclude(change, standing);
        }
    }

    /// Tells of a topic, unless others do, who stand so.
    fn conclude(&mut self, (topic, what): &Change, others: Standing) {
        let is_occupied = *what == HookEvent::ChannelOccupied;
        self.hub.hooks().know(topic, is_occupied);
        if !others.see_to_it(is_occupied) {
            self.tell(topic, *what, &told::of_channel(*what, topic));
        }
    }

    fn tell(&mut self, topic: &str, what: HookEvent, text: &str) {
        if let Some((app, _)) = self.hub.settings().app_of(topic) {
            self.posts.push(&self.hub, app, what, text);
        }
    }

    fn rest(&self) -> Duration {
        let sends = !self.hub.hooks().is_held();
        let nexts = [
            self.occupancy.next_ms(),
            self.departures.next_ms(),
            self.posts.next_ms().filter(|_| sends),
        ];
        let now_ms = self.hub.now_ms();
        let next_ms = nexts.into_iter().flatten().min();
        let rest_ms = next_ms.map_or(REST_MS, |next_ms| next_ms.saturating_sub(now_ms));
        Duration::from_millis(rest_ms.min(REST_MS))
    }
}

/// Somebody is told who comes to a topic first and leaves it last.
fn tells_of_channel(hub: &Hub, topic: &str) -> bool {
    let app = hub.settings().app_of(topic);
    app.is_some_and(|(app, _)| {
        app.is_told_of(HookEvent::ChannelOccupied) || app.is_told_of(HookEvent::ChannelVacated)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;
    use crate::protocol::http::ServerUrl;
    use crate::protocol::pusher::{Webhook, sample_app};

    /// All of an app's events are told to one address.
    fn work() -> Work {
        let mut app = sample_app();
        app.webhooks = vec![Webhook {
            url: ServerUrl::parse("http://localhost/").unwrap(),
            events: HookEvent::ALL.into(),
        }];
        let settings = Settings {
            apps: vec![Arc::new(app)],
            ..Settings::default()
        };
        let hub = Hub::new(settings).unwrap();
        Work::new(hub, Arc::default())
    }

    #[test]
    fn a_topic_that_is_gone_is_vacated_where_all_topics_are_looked_at() {
        let mut work = work();
        // The first step looks at all topics, of which there are none.
        assert!(work.occupancy.look(&"a".into(), true, 0));
        work.step();
        assert!(work.occupancy.next_ms().is_some());
    }

    #[test]
    fn nothing_is_left_to_do_for_who_has_handed_over_what_is_not_told() {
        let mut work = work();
        assert!(work.is_done());
        work.tell("a", HookEvent::ChannelOccupied, "{}");
        assert!(!work.is_done());
        work.hub.hooks().hold(true);
        assert!(work.is_done());
    }
}
