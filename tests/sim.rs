//! Whole cores on a simulated kernel, by seed: see `tests/sim/src/lib.rs`.
//!
//! `FANFARE_SIM_SEED=n cargo test --test sim` plays one seed and says what it
//! does; `FANFARE_SIM_SEEDS=n` plays so many, from `FANFARE_SIM_FROM` on.

use std::panic::catch_unwind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use fanfare::protocol::reason::CloseReason;
use fanfare_sim::outcome::Outcome;
use fanfare_sim::world::run;

/// Seeds in an ordinary test run.
const SEEDS: u64 = 2000;

fn number(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name} is not a number: {value}")),
    )
}

#[test]
fn every_promise_holds_whatever_happens() {
    if let Some(seed) = number("FANFARE_SIM_SEED") {
        println!("{:?}", run(seed, true));
        return;
    }
    let first = number("FANFARE_SIM_FROM").unwrap_or(0);
    let end = first + number("FANFARE_SIM_SEEDS").unwrap_or(SEEDS);
    let (next, began) = (AtomicU64::new(first), Instant::now());
    let play = || {
        let (mut total, mut failed) = (Outcome::default(), Vec::new());
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                return (total, failed);
            }
            match catch_unwind(|| run(seed, false)) {
                Ok(outcome) => add(&mut total, &outcome),
                Err(_) => {
                    println!("FANFARE_SIM_SEED={seed} fails, see above");
                    failed.push(seed);
                    if failed.len() >= 20 {
                        return (total, failed);
                    }
                }
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let (mut total, mut failed) = (Outcome::default(), Vec::new());
    std::thread::scope(|scope| {
        let players: Vec<_> = (0..threads).map(|_| scope.spawn(play)).collect();
        for player in players {
            let (outcome, seeds) = player.join().expect("a player catches what fails");
            add(&mut total, &outcome);
            failed.extend(seeds);
        }
    });
    let seconds = began.elapsed().as_secs_f64();
    let seeds = end - first;
    println!(
        "{seeds} seeds in {seconds:.1} s: {:.0} seeds/s, {:.0} steps/s; {total:?}",
        seeds as f64 / seconds,
        total.steps as f64 / seconds,
    );
    failed.sort_unstable();
    assert!(failed.is_empty(), "seeds that fail: {failed:?}");
    if seeds >= SEEDS {
        assert!(total.gaps > 0, "nobody was ever skipped");
        assert!(total.pauses > 0, "no publisher was ever paused");
        assert!(total.rests > 0, "nothing ever rested for a pace");
        assert!(total.handovers > 0, "no daemon ever took over");
        assert!(total.refusals > 0, "the kernel never lacked memory");
        assert!(total.overflows > 0, "no queue was ever full");
        assert!(total.by_door > 0, "nobody ever came through a ring");
        assert!(total.deflated_by_door > 0, "a ring never compressed");
        assert!(total.handed_on > 0, "nobody was ever handed on");
        assert!(
            total.recovered > 0,
            "no session ever had all that it missed"
        );
        assert!(total.not_recovered > 0, "every session had");
        assert!(total.ended > 0, "no session was ever told of a gap");
        assert!(total.events > 0, "no stream ever had an event");
        assert!(total.event_gaps > 0, "no stream ever told of a gap");
        assert!(total.returns > 0, "no reader ever came back");
        assert!(total.joins > 0, "no session ever heard who came");
        assert!(total.channel_events > 0, "no channel ever had an event");
        assert!(total.entered > 0, "nobody ever entered a channel");
        assert!(total.channel_gaps > 0, "no channel ever told of a gap");
        assert!(total.moves > 0, "no channel ever told who comes and goes");
        assert!(total.key_requests > 0, "nobody was ever asked for new keys");
        for reason in CloseReason::all() {
            let reached = total.reasons >> reason.index() & 1 == 1;
            let rare = matches!(
                reason,
                // These take longer than a run is, or more memory than it has,
                CloseReason::ControlFlood | CloseReason::LogFull
                // and these take rules of topics, of which there are none.
                | CloseReason::Token(_) | CloseReason::ReadOnly | CloseReason::Denied
            );
            // These take tokens, apps, somebody who asks the server API, or very many commands:
            // tests of the daemon.
            let of_sessions = matches!(
                reason,
                CloseReason::Disconnected
                    | CloseReason::InsufficientState
                    | CloseReason::SubscriptionExpired
                    | CloseReason::TooManyTopics
                    | CloseReason::TooManyCommands
                    | CloseReason::TopicsFull
                    | CloseReason::AppUnknown
                    | CloseReason::AppProtocol
                    | CloseReason::AppConnections
            );
            // Clients do nothing wrong over TLS: tests of the daemon.
            let of_tls = matches!(reason, CloseReason::Tls(_));
            assert!(
                reached || rare || of_sessions || of_tls,
                "no seed ends with {}",
                reason.name()
            );
        }
    }
}

#[test]
fn a_seed_replays_exactly() {
    for seed in 0..30 {
        assert_eq!(run(seed, false), run(seed, false), "seed {seed}");
    }
}

#[test]
fn a_core_on_which_a_message_waits_for_room_comes_to_rest() {
    fanfare_sim::waiting::comes_to_rest();
}

#[test]
fn who_waits_for_want_of_descriptors_is_counted_for_as_long() {
    fanfare_sim::arrivals::a_pause_is_told_for_as_long_as_it_lasts();
}

#[test]
fn a_crowd_of_newcomers_is_let_gather() {
    fanfare_sim::arrivals::a_crowd_is_let_gather();
}

#[test]
fn paths_of_the_server_api_are_no_topics_where_it_is_served() {
    fanfare_sim::arrivals::paths_of_the_server_api_are_its_own_where_it_is_served();
}

#[test]
fn nobody_is_sent_to_more_often_than_the_pace_nor_later_than_it() {
    for seed in 0..200 {
        fanfare_sim::pacing::holds(seed);
    }
}

#[test]
fn topics_with_a_pace_come_and_go_on_a_busy_core() {
    for seed in 0..2000 {
        fanfare_sim::pacing::outlives(seed);
    }
}

#[test]
fn what_somebody_waits_for_waits_for_no_pace() {
    fanfare_sim::pacing::yields();
}

fn add(total: &mut Outcome, more: &Outcome) {
    total.steps += more.steps;
    total.messages += more.messages;
    total.deliveries += more.deliveries;
    total.connections += more.connections;
    total.gaps += more.gaps;
    total.pauses += more.pauses;
    total.rests += more.rests;
    total.handovers += more.handovers;
    total.refusals += more.refusals;
    total.overflows += more.overflows;
    total.deflated_by_door += more.deflated_by_door;
    total.by_door += more.by_door;
    total.handed_on += more.handed_on;
    total.recovered += more.recovered;
    total.not_recovered += more.not_recovered;
    total.ended += more.ended;
    total.pushed += more.pushed;
    total.joins += more.joins;
    total.answers += more.answers;
    total.events += more.events;
    total.event_gaps += more.event_gaps;
    total.returns += more.returns;
    total.channel_events += more.channel_events;
    total.entered += more.entered;
    total.channel_gaps += more.channel_gaps;
    total.moves += more.moves;
    total.key_requests += more.key_requests;
    total.reasons |= more.reasons;
}
