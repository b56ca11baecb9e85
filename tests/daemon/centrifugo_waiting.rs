//! A client of Centrifugo's protocol whose message finds no room waits for it, and so does what
//! it asks for behind that.

use tungstenite::Message;

use crate::common::{Client, Daemon};
use crate::pressure::SHORT;
use crate::speaking::{connect, hear, say};

/// Commands by which a client publishes to five topics in turn, in one message, with a question
/// behind each.
fn commands(begin: usize) -> String {
    let text = format!("{:01024}", 7);
    let lines = (begin..begin + 100).flat_map(|number| {
        let (id, topic) = (2 * number + 10, number % 5);
        [
            format!(r#"{{"id":{id},"publish":{{"channel":"room{topic}","data":"{text}"}}}}"#),
            format!(r#"{{"id":{},"unsubscribe":{{"channel":"none"}}}}"#, id + 1),
        ]
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Publishes twenty thousand messages; returns how many were refused.
fn press(daemon: &Daemon) -> usize {
    let still = |number| {
        let path = format!("/room{number}");
        daemon
            .open_over(daemon.narrow_stream(), &path, &[])
            .unwrap()
            .0
    };
    let _still: Vec<Client> = (0..5).map(still).collect();
    let mut client = connect(daemon);
    let mut refused = 0;
    for begin in (0..20_000).step_by(100) {
        say(&mut client, &commands(begin));
        for number in begin..begin + 100 {
            let id = 2 * number + 10;
            let heard = hear(&mut client);
            if heard.contains(r#""error":{"code":100"#) {
                refused += 1;
            } else {
                assert_eq!(heard, format!(r#"{{"id":{id},"publish":{{}}}}"#));
            }
            let answer = format!(r#"{{"id":{},"unsubscribe":{{}}}}"#, id + 1);
            assert_eq!(hear(&mut client), answer);
        }
    }
    client.send(Message::Ping(Vec::new().into())).unwrap();
    refused
}

#[test]
fn a_message_waits_until_those_who_keep_the_memory_are_cut() {
    let daemon = Daemon::start(&SHORT);
    assert_eq!(press(&daemon), 0);
    assert!(daemon.metric("fanfare_room_waits_total") > 0);
}

#[test]
fn a_message_that_may_not_wait_is_answered_with_an_error_and_the_next_goes_on() {
    let daemon = Daemon::start(&[&SHORT[..], &["--publish-wait-ms-max", "0"]].concat());
    press(&daemon);
    assert_eq!(daemon.counter("fanfare_closes_total", "log_full"), 0);
}
