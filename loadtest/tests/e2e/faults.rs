//! A server that does one thing wrong is caught, and an honest one is not.

use std::process::Command;

use crate::common::{Fault, result, serve, stderr, stdout, tool};

const SHORT: &str = "-n 8 --rate 200 --warmup 0s -d 400ms --settle 50ms --drain 300ms --quiet";

/// Exit status and what was printed of a short fan-out.
fn fanout(fault: Fault, extra: &str) -> (Option<i32>, String) {
    let port = serve(fault);
    let output = tool(&format!(
        "fanout --url ws://127.0.0.1:{port}/ --echo {SHORT} {extra}"
    ));
    (output.status.code(), stdout(&output) + &stderr(&output))
}

#[test]
fn an_honest_server_passes_and_every_delivery_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let (json, page) = (folder.path().join("a.json"), folder.path().join("a.html"));
    let files = format!(
        "--json {} --report {} --verify --one-order",
        json.display(),
        page.display()
    );
    let (code, text) = fanout(Fault::None, &files);
    assert_eq!(code, Some(0), "{text}");
    let run = result(&json);
    assert_eq!(run.checks.steady.faults(), 0);
    assert_eq!(
        run.checks.steady.received % 8,
        0,
        "eight subscribers hear each"
    );
    assert!(run.checks.steady.received > 0);
    let phase = run.phases.iter().find(|p| p.name == "fanout").unwrap();
    assert_eq!(phase.latency.count, run.checks.steady.received);
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.contains("Passed"));
}

#[test]
fn a_lost_message_is_caught() {
    let (code, text) = fanout(Fault::Lose, "");
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("FAIL: 1 deliveries were lost"), "{text}");
}

#[test]
fn a_server_that_does_not_echo_is_named_as_the_cause_where_echo_was_expected() {
    let (code, text) = fanout(Fault::NoEcho, "");
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("deliveries were lost"), "{text}");
    assert!(text.contains("?echo=true"), "{text}");
    // One lost message of a server that does echo has another cause.
    let (_, text) = fanout(Fault::Lose, "");
    assert!(!text.contains("?echo=true"), "{text}");
}

#[test]
fn the_process_of_somebody_else_does_not_pass_for_the_server() {
    let mut other = Command::new("sleep").arg("100").spawn().unwrap();
    let (code, text) = fanout(Fault::None, &format!("--pid {}", other.id()));
    other.kill().unwrap();
    other.wait().unwrap();
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("is it the server?"), "{text}");
    assert!(text.contains("does not listen on port"), "{text}");
}

#[test]
fn a_doubled_message_is_caught() {
    let (code, text) = fanout(Fault::Double, "");
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("FAIL: 1 deliveries were doubled"), "{text}");
}

#[test]
fn two_messages_out_of_order_are_caught_and_not_called_lost() {
    let (code, text) = fanout(Fault::Swap, "");
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("FAIL: 1 deliveries were out of order"),
        "{text}"
    );
    assert!(!text.contains("were lost"), "{text}");
}

#[test]
fn a_changed_byte_is_caught_when_asked_for() {
    let (code, text) = fanout(Fault::Damage, "--verify");
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("FAIL: 1 messages were damaged"), "{text}");
}

#[test]
fn a_connection_that_the_server_closes_is_named_with_its_code() {
    let (code, text) = fanout(Fault::Close, "");
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("1 connections were closed by the server (code 1013)"),
        "{text}"
    );
    assert!(text.contains("deliveries were lost"), "{text}");
}

#[test]
fn a_message_on_another_topic_is_caught() {
    let port = serve(Fault::None);
    let url = format!("ws://127.0.0.1:{port}/{{topic}}");
    let output = tool(&format!("fanout --url {url} -t 2 {SHORT}"));
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("reached another topic's subscriber"));
}

#[test]
fn different_orders_of_two_publishers_are_reported_and_fail_when_one_order_is_wanted() {
    let (code, text) = fanout(Fault::Disagree, "-p 2 --one-order");
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("heard in different orders"), "{text}");
}

#[test]
fn a_window_ends_although_a_subscriber_was_closed() {
    let port = serve(Fault::Close);
    let output = tool(&format!(
        "fanout --url ws://127.0.0.1:{port}/ --echo -n 8 --window 4 --warmup 0s -d 300ms \
         --settle 50ms --drain 300ms --quiet"
    ));
    assert_eq!(output.status.code(), Some(1));
}
