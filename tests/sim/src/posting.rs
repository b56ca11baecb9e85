//! What the admin does: it publishes, and lets topics go that nobody needs.

use fanfare::hub::{Draft, PublishError, Waits};
use fanfare::protocol::topic::TopicName;
use fanfare::protocol::ws::Opcode;

use crate::client::Client;
use crate::truth::ADMIN;
use crate::world::World;

impl World {
    pub(crate) fn publish(&mut self) {
        let times = if self.plan.many { 8 } else { 1 };
        for _ in 0..self.rng.usize(1..=times) {
            self.publish_one();
        }
    }

    fn publish_one(&mut self) {
        let name = format!("topic-{}", self.rng.usize(..self.plan.topics));
        let Some(truth) = self.truth(&name) else {
            return;
        };
        self.posted += 1;
        let mut payload = format!("{ADMIN}{};", self.posted).into_bytes();
        payload.resize(payload.len() + self.rng.usize(..180), b'a');
        // What says nothing of itself is told from others by its topic alone.
        if self.rng.u8(..) < 30 && !self.plan.many {
            payload.clear();
        }
        let topic_name = TopicName::new(&name).expect("a good name");
        if self.plan.shared {
            return self.propose(&topic_name, payload);
        }
        let published = self
            .hub
            .publish(&topic_name, Opcode::Binary, &payload, None);
        // Over HTTP it would wait.
        if matches!(published, Err(PublishError::Ahead)) {
            return;
        }
        if matches!(published, Err(PublishError::LogFull)) && self.plan.tight {
            // It cannot wait, and is told so.
            return;
        }
        let (published, epoch) = published.expect("the log has room for the admin");
        let next = self.truths[truth].next();
        self.look();
        assert_eq!(epoch, self.truths[truth].epoch);
        assert_eq!(published.offset, next);
        let message = self.truths[truth].message(next).expect("published");
        assert_eq!((message.opcode, &message.payload), (2, &payload));
        self.say(|| format!("the admin publishes {next} on {name}"));
    }

    /// The admin publishes, and does not wait for what becomes of it.
    fn propose(&mut self, name: &TopicName, payload: Vec<u8>) {
        let topic = self.hub.topic(name).expect("it is known");
        let draft = Draft {
            text: false,
            payload: payload.into(),
            extras: Vec::new(),
            publisher: self.hub.cluster().number(),
            key: None,
            origin: None,
            trace: None,
        };
        let (told, _) = tokio::sync::oneshot::channel();
        match self
            .hub
            .post_shared(&topic, draft, Waits::Outside(told, None))
        {
            Ok(()) => self.say(|| format!("the admin proposes something to {name}")),
            // It would wait.
            Err(error) => assert!(
                error.passes() || error == PublishError::HandingOver,
                "{error}"
            ),
        }
    }

    /// Old history goes, and topics that nobody needs.
    pub(crate) fn expire(&mut self) {
        // Where a cluster's topic is taken up again its log begins elsewhere.
        let watched = if self.plan.shared {
            0
        } else {
            self.truths.len()
        };
        for index in 0..watched {
            let in_use = |client: &Client| {
                !client.over && client.follows.iter().any(|follow| follow.truth == index)
            };
            let is_used = self.clients.iter().any(in_use)
                || self.is_named(index)
                || self.is_read(index)
                || self.is_channel(index);
            if !is_used {
                self.truths[index].watch = None;
            }
        }
        self.hub.expire();
        for topic in self.hub.all_topics() {
            let mut truths = self.truths.iter_mut();
            if let Some(truth) = truths.find(|truth| truth.epoch == topic.epoch())
                && truth.watch.is_none()
            {
                truth.watch(topic);
            }
        }
        self.say(|| format!("expiry leaves {} topics", self.hub.topics_len()));
    }
}
