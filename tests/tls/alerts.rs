//! Alerts: what ends a connection, well or badly, and what does not.

use fanfare::protocol::tls::{Alert, Fault};
use fanfare_sim::tls::content::{ALERT, DATA};
use fanfare_sim::tls::naive::Naive;

use crate::hearing::{Heard, hear, is_13, pair, pairs};

fn fault(fault: Fault) -> [Heard; 1] {
    [Heard::Fault(fault)]
}

#[test]
fn close_notify_ends_it_and_what_follows_is_ignored() {
    for level in [1, 2] {
        for (mut naive, mut incoming) in pairs() {
            let mut bytes = naive.seal(DATA, b"last", 0);
            bytes.extend(naive.seal(ALERT, &[level, 0], 0));
            bytes.extend(naive.seal(DATA, b"too late", 0));
            bytes.extend([0xFF; 40]);
            let wanted = [Heard::data(b"last"), Heard::CloseNotify];
            assert_eq!(hear(&mut incoming, &bytes), wanted);
            assert!(incoming.has_ended());
            assert_eq!(hear(&mut incoming, b"whatever"), []);
            assert_eq!(incoming.buffered_bytes(), 0);
        }
    }
}

#[test]
fn a_connection_without_close_notify_has_not_ended() {
    for (mut naive, mut incoming) in pairs() {
        let record = naive.seal(DATA, b"text", 0);
        hear(&mut incoming, &record);
        assert!(!incoming.has_ended());
        assert!(!incoming.is_inside());
    }
}

#[test]
fn a_fatal_alert_is_told_with_its_number_and_not_answered() {
    for number in [10, 20, 40, 42, 48, 80, 100, 255] {
        for (mut naive, mut incoming) in pairs() {
            let record = naive.seal(ALERT, &[2, number], 0);
            assert_eq!(hear(&mut incoming, &record), fault(Fault::PeerAlert));
            assert_eq!(incoming.peer_alert(), Some(number));
            assert_eq!(Fault::PeerAlert.alert(), None);
        }
    }
}

#[test]
fn user_canceled_is_skipped_up_to_a_bound() {
    for (mut naive, mut incoming) in pairs() {
        for _ in 0..Fault::WARNINGS_MAX {
            let record = naive.seal(ALERT, &[1, 90], 0);
            assert_eq!(hear(&mut incoming, &record), []);
            // Data makes it no better.
            let record = naive.seal(DATA, b"x", 0);
            assert_eq!(hear(&mut incoming, &record), [Heard::data(b"x")]);
        }
        let record = naive.seal(ALERT, &[1, 90], 0);
        assert_eq!(hear(&mut incoming, &record), fault(Fault::AlertFlood));
    }
}

/// As others do: OpenSSL and BoringSSL.
#[test]
fn user_canceled_is_no_end_in_tls_13_whatever_its_level() {
    for (mut naive, mut incoming) in pairs() {
        let record = naive.seal(ALERT, &[2, 90], 0);
        let heard = hear(&mut incoming, &record);
        if is_13(&naive) {
            assert_eq!(heard, []);
        } else {
            assert_eq!(heard, fault(Fault::PeerAlert));
        }
    }
}

#[test]
fn warnings_are_skipped_in_tls_12_and_end_it_in_tls_13() {
    for (mut naive, mut incoming) in pairs() {
        let record = naive.seal(ALERT, &[1, 100], 0);
        let heard = hear(&mut incoming, &record);
        if is_13(&naive) {
            assert_eq!(heard, fault(Fault::PeerAlert));
        } else {
            assert_eq!(heard, []);
        }
    }
}

#[test]
fn alerts_that_are_none_are_refused() {
    let bad = [
        (&[][..], Fault::Empty),
        (&[1], Fault::Decode),
        (&[1, 0, 0], Fault::Decode),
        // Two in one record.
        (&[1, 90, 1, 0], Fault::Decode),
        (&[0, 0], Fault::Illegal),
        (&[3, 40], Fault::Illegal),
    ];
    for (message, wanted) in bad {
        for (naive, _) in pairs() {
            let (mut naive, mut incoming) = pair(naive.kind);
            let record = naive.seal(ALERT, message, 0);
            assert_eq!(hear(&mut incoming, &record), fault(wanted));
        }
    }
}

#[test]
fn our_alerts_have_their_level_and_number() {
    let all = [
        (Alert::CloseNotify, [1, 0]),
        (Alert::NoRenegotiation, [1, 100]),
        (Alert::UnexpectedMessage, [2, 10]),
        (Alert::BadRecordMac, [2, 20]),
        (Alert::RecordOverflow, [2, 22]),
        (Alert::IllegalParameter, [2, 47]),
        (Alert::DecodeError, [2, 50]),
        (Alert::ProtocolVersion, [2, 70]),
        (Alert::InternalError, [2, 80]),
    ];
    for (naive, _) in pairs() {
        let mut reader = Naive::new(naive.kind, 5);
        let mut sending = naive.ours();
        for (alert, message) in all {
            let mut sealed = Vec::new();
            sending.alert(alert, &mut sealed);
            assert_eq!(reader.open(&sealed), Some((ALERT, message.to_vec())));
        }
    }
}
