//! The chat scenario, word for word.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tungstenite::Message;

use crate::common::{Client, Daemon, command, hear, hear_close};

const CHAT: [(&str, &str); 1] = [("Sec-WebSocket-Protocol", "chat")];

/// Joins the chat on `path`, and says by which address it is known.
fn join(daemon: &Daemon, path: &str) -> (Client, String) {
    let (mut client, _) = daemon.open(path, &CHAT).unwrap();
    let address = client.get_ref().local_addr().unwrap().to_string();
    assert_eq!(hear(&mut client), format!("Welcome, {address} !"));
    (client, address)
}

#[test]
fn what_is_published_past_the_chat_is_marked_for_its_people_alone() {
    let daemon = Daemon::start(&[]);
    let mut raw = daemon.connect("/room");
    let (mut ann, address) = join(&daemon, "/room");
    assert_eq!(hear(&mut raw), format!("Welcome, {address} !"));
    let claim = format!("09:05:01 {address} say: I am ann\nand this is another line");
    raw.send(Message::text(claim.clone())).unwrap();
    let marked = format!("[raw] {}", claim.replace('\n', " "));
    assert_eq!(hear(&mut ann), marked);
    raw.send(Message::binary(vec![1, 2])).unwrap();
    assert_eq!(ann.read().unwrap(), Message::binary(vec![1, 2]));
    // Also where it is history by now, and for others as it was published.
    let (mut late, _) = daemon.open("/room?since=2", &CHAT).unwrap();
    assert_eq!(hear(&mut late), marked);
    let mut other = daemon.connect("/room?since=2");
    assert_eq!(hear(&mut other), claim);
}

#[test]
fn people_are_welcomed_talk_and_log_out_before_everyones_eyes() {
    // A time zone that nobody's machine is in by accident: 5:45 ahead.
    let mut command = command(&["--cores", "3"]);
    command.env("TZ", "Asia/Kathmandu");
    let daemon = Daemon::start_as(command);
    let zone = TimeZone::get("Asia/Kathmandu").unwrap();

    let mut raw = daemon.connect("/room");
    let (mut ann, ann_address) = join(&daemon, "/room");
    assert_eq!(hear(&mut raw), format!("Welcome, {ann_address} !"));
    let (mut bob, bob_address) = join(&daemon, "/room");
    for client in [&mut raw, &mut ann] {
        assert_eq!(hear(client), format!("Welcome, {bob_address} !"));
    }

    let second = || {
        Timestamp::now()
            .to_zoned(zone.clone())
            .strftime("%H:%M:%S")
            .to_string()
    };
    let before = second();
    ann.send(Message::text("hello <b>you</b>")).unwrap();
    let line = hear(&mut bob);
    let after = second();
    let (time, words) = line.split_at(8);
    assert_eq!(words, format!(" {ann_address} say: hello <b>you</b>"));
    let around = if before <= after {
        (&before[..]..=&after[..]).contains(&time)
    } else {
        // Midnight has passed.
        time >= &before[..] || time <= &after[..]
    };
    assert!(around, "{time} is not from {before} to {after}");
    for client in [&mut raw, &mut ann] {
        assert_eq!(hear(client), line);
    }

    bob.send(Message::text("quit")).unwrap();
    assert_eq!(hear(&mut bob), format!("{bob_address} Logout"));
    assert_eq!(hear_close(&mut bob).0, 1000);
    // What a raw client sends is marked. It comes right after the one Logout.
    for client in [&mut raw, &mut ann] {
        assert_eq!(hear(client), format!("{bob_address} Logout"));
    }
    raw.send(Message::text("as it is")).unwrap();
    assert_eq!(hear(&mut ann), "[raw] as it is");
}

#[test]
fn whoever_vanishes_or_closes_logs_out_once_wherever_the_others_are() {
    let daemon = Daemon::start(&["--cores", "4"]);
    let mut watch = daemon.connect("/room");
    for n in 0..24 {
        let (mut client, address) = join(&daemon, "/room");
        assert_eq!(hear(&mut watch), format!("Welcome, {address} !"));
        match n % 3 {
            // The connection ends without a word.
            0 => drop(client),
            1 => {
                let linger = socket2::SockRef::from(client.get_ref());
                linger.set_linger(Some(std::time::Duration::ZERO)).unwrap();
                drop(client);
            }
            _ => {
                client.close(None).unwrap();
                while client.read().is_ok() {}
            }
        }
        // A second Logout would stand in the place of the next Welcome.
        assert_eq!(hear(&mut watch), format!("{address} Logout"));
    }
}

#[test]
fn a_line_end_behind_quit_does_not_matter_and_other_words_do() {
    let daemon = Daemon::start(&[]);
    for (place, (word, quits)) in [
        ("quit\n", true),
        ("quit\r\n", true),
        ("Quit", false),
        (" quit", false),
    ]
    .into_iter()
    .enumerate()
    {
        // In a room of its own, where it does not hear the one before it go.
        let (mut client, address) = join(&daemon, &format!("/q{place}"));
        client.send(Message::text(word)).unwrap();
        let line = hear(&mut client);
        if quits {
            assert_eq!(line, format!("{address} Logout"));
            assert_eq!(hear_close(&mut client).0, 1000);
        } else {
            assert_eq!(line[8..], format!(" {address} say: {word}"));
        }
    }
}

#[test]
fn binary_in_a_chat_is_refused_and_logs_the_speaker_out() {
    let daemon = Daemon::start(&[]);
    let (mut watch, _) = join(&daemon, "/room");
    let (mut client, address) = join(&daemon, "/room");
    assert_eq!(hear(&mut watch), format!("Welcome, {address} !"));
    client.send(Message::binary(vec![1, 2, 3])).unwrap();
    let (code, reason) = hear_close(&mut client);
    assert_eq!((code, &reason[..]), (1003, "chat is text"));
    assert_eq!(hear(&mut watch), format!("{address} Logout"));
    daemon.await_reason("chat_binary");
}

#[test]
fn the_ends_of_a_chat_are_known_by_ipv6_with_brackets() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        return; // This machine has no IPv6.
    }
    let daemon = Daemon::start(&["--listen", "[::1]:0"]);
    let stream = std::net::TcpStream::connect(daemon.addresses[1]).unwrap();
    let known_as = stream.local_addr().unwrap().to_string();
    let (mut client, _) = daemon.open_over(stream, "/six", &CHAT).unwrap();
    assert_eq!(hear(&mut client), format!("Welcome, {known_as} !"));
}

#[test]
fn nobody_forges_a_line_of_another_with_breaks_or_escapes() {
    let daemon = Daemon::start(&[]);
    let (mut ann, address) = join(&daemon, "/room");
    let mut raw = daemon.connect("/room");
    let forged = "hi\r\n09:05:01 192.0.2.8:1 say: I quit\u{1b}[2K\u{85}";
    ann.send(Message::text(forged)).unwrap();
    let line = hear(&mut ann);
    assert!(!line.contains(char::is_control), "{line:?}");
    let said = format!(" {address} say: hi  09:05:01 192.0.2.8:1 say: I quit?[2K ");
    assert!(line.ends_with(&said), "{line:?}");
    assert_eq!(hear(&mut raw), line);
    // Raw stays raw, for who listens so.
    let mut other = daemon.connect("/room");
    raw.send(Message::text(forged)).unwrap();
    assert_eq!(hear(&mut other), forged);
    assert_eq!(
        hear(&mut ann),
        "[raw] hi  09:05:01 192.0.2.8:1 say: I quit?[2K "
    );
}
