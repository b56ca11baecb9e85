//! What nodes of a cluster ask one another, so that one of them tells of a topic as a whole.
//!
//! A topic is occupied or vacated when the first subscriber of all nodes comes or the last one
//! goes. The node where the number of its own subscribers leaves zero, or has come to zero,
//! asks the others: it tells, unless another one has subscribers, or servers know already.
//! Where two nodes do so at the same moment both tell; that nobody does cannot happen, as a
//! node says that servers know only once they are being told.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::hub::Hub;

/// What such a question begins with: no JSON does.
const MARK: &[u8] = b"\0webhooks\0";
/// Topics of one question.
pub(super) const TOPICS_MAX: usize = 256;

/// What a node knows of a topic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Standing {
    /// It has subscribers there.
    #[serde(default)]
    pub(super) occupied: bool,
    /// The servers know that the topic is occupied.
    #[serde(default)]
    pub(super) known: bool,
}

impl Standing {
    /// Another node has told, or will tell, that a topic is occupied, or is not any more.
    pub(super) fn see_to_it(self, is_occupied: bool) -> bool {
        match is_occupied {
            // One that has subscribers and is not known to have is asking too.
            true => self.known,
            // One that is known and has none is about to tell.
            false => self.known || self.occupied,
        }
    }
}

/// Answers another node, if that asks for this.
pub fn answer(hub: &Hub, question: &[u8]) -> Option<Vec<u8>> {
    let topics = question.strip_prefix(MARK)?;
    let topics: Vec<String> = serde_json::from_slice(topics).unwrap_or_default();
    let standing = |topic: &String| Standing {
        occupied: hub.has_readers(topic),
        known: hub.hooks().is_known(topic),
    };
    let standings: Vec<Standing> = topics.iter().map(standing).collect();
    serde_json::to_vec(&standings).ok()
}

/// What all other nodes together know of topics. One that does not answer knows nothing.
pub(super) async fn ask(hub: &Hub, topics: &[Arc<str>]) -> Vec<Standing> {
    let names: Vec<&str> = topics.iter().map(|topic| &**topic).collect();
    let names = serde_json::to_vec(&names).expect("text is JSON");
    let answers = hub.ask_nodes([MARK, &names].concat()).await;
    if answers.missing > 0 {
        let missing = answers.missing;
        tracing::debug!(
            missing,
            "webhooks may tell twice: not all nodes have answered"
        );
    }
    add(topics.len(), &answers.answers)
}

fn add(topics: usize, answers: &[Vec<u8>]) -> Vec<Standing> {
    let mut sum = vec![Standing::default(); topics];
    for answer in answers {
        // A node of another version may not know the question.
        let standings: Vec<Standing> = serde_json::from_slice(answer).unwrap_or_default();
        if standings.len() != topics {
            continue;
        }
        for (all, one) in sum.iter_mut().zip(standings) {
            all.occupied |= one.occupied;
            all.known |= one.known;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    #[test]
    fn nodes_together_know_what_one_of_them_knows() {
        let answers = [
            br#"[{"occupied":true,"known":false},{}]"#.to_vec(),
            br#"[{"known":true,"more":1},{"occupied":true}]"#.to_vec(),
            b"\"Unknown\"".to_vec(),
            b"[{}]".to_vec(),
            Vec::new(),
        ];
        let standing = |occupied, known| Standing { occupied, known };
        let both = [standing(true, true), standing(true, false)];
        assert_eq!(add(2, &answers), both);
        assert_eq!(add(1, &[]), [Standing::default()]);
    }

    #[test]
    fn a_node_leaves_it_to_others_that_know_or_have_subscribers() {
        for (occupied, known, when_occupied, when_vacated) in [
            (false, false, false, false),
            (true, false, false, true),
            (false, true, true, true),
            (true, true, true, true),
        ] {
            let others = Standing { occupied, known };
            assert_eq!(others.see_to_it(true), when_occupied);
            assert_eq!(others.see_to_it(false), when_vacated);
        }
    }

    #[test]
    fn a_node_answers_for_topics_that_it_knows_and_others() {
        let hub = Hub::new(Settings::default()).unwrap();
        hub.hooks().know(&"a".into(), true);
        let question = [MARK, br#"["a","b"]"#].concat();
        let told = answer(&hub, &question).unwrap();
        let known = r#"[{"occupied":false,"known":true},{"occupied":false,"known":false}]"#;
        assert_eq!(String::from_utf8(told).unwrap(), known);
        assert_eq!(answer(&hub, b"{\"Info\":1}"), None);
        assert_eq!(answer(&hub, &[MARK, b"{"].concat()), Some(b"[]".to_vec()));
    }
}
