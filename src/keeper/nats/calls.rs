//! What nodes tell each other, on its way: greetings, changes and calls. The rules are `nodes`'.

use std::collections::HashMap;

use async_nats::Message;
use bytes::Bytes;

use super::event::{Event, Ticket};
use super::nodes::{Answer, Base64, Call, HELLO_MS, Told, What};
use super::state::{Ask, State, Subscribed};

impl State {
    pub(super) fn begin_talking(&mut self) {
        let to_all = self.subjects.control("all");
        self.subscribe(to_all, Subscribed::ToAll);
        let to_me = self.to(self.shared.incarnation);
        self.subscribe(to_me, Subscribed::ToMe);
    }

    /// The subject of what is meant for one node.
    fn to(&self, node: u64) -> String {
        self.subjects.control(&format!("to.{node:016x}"))
    }

    fn spell(&self, what: What) -> Bytes {
        let told = Told {
            incarnation: self.shared.incarnation,
            name: self.settings.node.clone(),
            what,
        };
        let words = serde_json::to_vec(&told).expect("it has no maps with odd keys");
        words.into()
    }

    fn tell_all(&mut self, what: What) {
        let (subject, payload) = (self.subjects.control("all"), self.spell(what));
        self.publish(&subject, None, None, payload);
    }

    /// The last word to the others.
    pub(super) fn goodbye(&self) -> Option<(String, Bytes)> {
        Some((self.subjects.control("all"), self.spell(What::Bye)))
    }

    pub(super) fn tick_nodes(&mut self, now_ms: u64) {
        let mut news = Vec::new();
        let lost = self.nodes.handle_timeout(now_ms, &mut news);
        let counters = self.counters();
        counters.nodes_lost.add(lost as u64);
        counters.nodes.set(self.nodes.present_nodes().len() as u64);
        news.into_iter()
            .for_each(|news| self.tell(Event::News(news)));
        // What is told while there is no connection would come late and all at once.
        if !self.is_connected {
            return;
        }
        while let Some(changes) = self.nodes.poll_changes() {
            self.tell_all(changes);
        }
        if now_ms >= self.hello_ms {
            self.hello_ms = now_ms + HELLO_MS;
            self.tell_all(self.nodes.hello());
        }
    }

    pub(super) fn handle_told(&mut self, message: &Message) {
        let Ok(told) = serde_json::from_slice::<Told>(&message.payload) else {
            return self.counters().unreadable.one();
        };
        let node = told.incarnation;
        if node == self.shared.incarnation {
            return;
        }
        match &told.what {
            What::Ask => return self.tell_whole(node),
            What::Call { kind, bytes } => {
                if let Some(answer_to) = &message.reply {
                    let call = Call {
                        from: told.name,
                        kind: *kind,
                        bytes: bytes.0.clone(),
                        answer_to: answer_to.to_string(),
                    };
                    self.tell(Event::Called(call));
                }
                return;
            }
            _ => {}
        }
        let now_ms = self.now_ms();
        let mut news = Vec::new();
        let asks = self.nodes.handle_told(now_ms, &told, &mut news);
        news.into_iter()
            .for_each(|news| self.tell(Event::News(news)));
        if asks {
            let (subject, payload) = (self.to(node), self.spell(What::Ask));
            self.publish(&subject, None, None, payload);
        }
    }

    fn tell_whole(&mut self, node: u64) {
        // The whole is what all changes that were told make.
        while let Some(changes) = self.nodes.poll_changes() {
            self.tell_all(changes);
        }
        let subject = self.to(node);
        for part in self.nodes.whole() {
            let payload = self.spell(part);
            self.publish(&subject, None, None, payload);
        }
    }

    pub(super) fn call(&mut self, kind: u16, bytes: Bytes, ticket: Ticket) {
        let missing = self.nodes.present_nodes();
        let answers = Vec::new();
        if missing.is_empty() || !self.is_connected {
            return self.handle_all_answered(ticket, answers, missing);
        }
        let subject = self.subjects.control("all");
        let bytes = Base64(bytes);
        let payload = self.spell(What::Call { kind, bytes });
        let ask = Ask::Call {
            ticket,
            answers,
            missing,
        };
        self.ask(&subject, None, payload, ask);
    }

    pub(super) fn handle_all_answered(
        &mut self,
        ticket: Ticket,
        answers: Vec<Answer>,
        missing: HashMap<u64, String>,
    ) {
        let missing = missing.into_values().collect();
        self.tell(Event::Answered {
            ticket,
            answers,
            missing,
        });
    }

    pub(super) fn reply(&mut self, call: &Call, bytes: Bytes) {
        let bytes = Base64(bytes);
        let payload = self.spell(What::Answer { bytes });
        self.publish(&call.answer_to, None, None, payload);
    }
}
