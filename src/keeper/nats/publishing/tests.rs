//! What is kept of proposals that have ended.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use super::super::counts::Counters;
use super::super::settings::Settings;
use super::super::state::Shared;
use super::*;

fn state() -> State {
    let shared = Shared {
        proposed: Arc::new(AtomicUsize::new(0)),
        counters: Arc::new(Counters::default()),
        incarnation: 1,
    };
    let settings = Settings::new(vec!["nats://nowhere".into()]);
    State::new(settings, shared, Box::new(|_| {}))
}

#[test]
fn however_fast_messages_are_stored_those_that_are_awaited_take_bounded_room() {
    let mut state = state();
    let topic: Topic = "t".into();
    state.follow(topic.clone(), None);
    let all = OWN_MAX as u64 + 1000;
    for ticket in 0..all {
        let id = Id::from(ticket);
        let own = Own {
            ticket,
            lane: 0,
            is_heard: false,
            is_ended: false,
        };
        state.own.insert(id, own);
        state.end_own(&topic, id, Some(ticket + 1));
        assert!(state.own.len() <= OWN_MAX && state.ended_own.len() <= OWN_MAX);
    }
    // The oldest are forgotten.
    assert_eq!(state.take_own(Some(0)), None);
    assert_eq!(
        state.take_own(Some(Id::from(all - 1))),
        Some((all - 1, None))
    );
}
