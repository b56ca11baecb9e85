//! One core and one door: what must hold exactly of those who come in there.

use fanfare::config::Settings;
use fanfare::core::DoorPlan;

use crate::lonely::{Lonely, opening};

const PAGE: &[u8] = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n";

fn with_door(plan: DoorPlan, settings: Settings) -> Lonely {
    let mut lonely = Lonely::new(settings);
    lonely.core.reactor.note_guests(0, 8);
    lonely.open_door(plan);
    lonely.run_dry();
    lonely
}

/// While somebody waits for a descriptor, nobody more is let in; who looks at the figures sees
/// that for as long as it is so.
///
/// # Panics
/// If it is otherwise.
pub fn a_pause_is_told_for_as_long_as_it_lasts() {
    let mut lonely = with_door(DoorPlan::default(), Settings::default());
    let hub = lonely.hub.clone();
    let pauses = || hub.mailbox(0).metrics.accept_pauses.get();
    lonely.core.reactor.note_guests(8, 0);
    lonely.come(PAGE);
    lonely.run_dry();
    for _ in 0..4 {
        let before = pauses();
        lonely.tick();
        assert!(pauses() > before, "it is still so");
    }
    assert!(lonely.core.reactor.handed_on().is_empty());
    lonely.core.reactor.note_guests(7, 1);
    lonely.core.awake = true;
    lonely.run_dry();
    assert_eq!(lonely.core.reactor.handed_on().len(), 1);
    let before = pauses();
    lonely.tick();
    assert_eq!(pauses(), before, "it is over");
}

/// What somebody asks for is the server API's where that is served, and else a topic's.
///
/// # Panics
/// If it is otherwise.
pub fn paths_of_the_server_api_are_its_own_where_it_is_served() {
    let request = b"GET /topics/one HTTP/1.1\r\nHost: here\r\nAccept: text/event-stream\r\n\r\n";
    for api in [false, true] {
        let plan = DoorPlan { shared: false, api };
        let mut lonely = with_door(plan, Settings::default());
        let socket = lonely.come(request);
        lonely.run_dry();
        let handed_on = lonely.core.reactor.handed_on();
        assert_eq!(handed_on.len(), usize::from(api));
        let is_stream = lonely.read(socket).starts_with(b"HTTP/1.1 200 OK");
        assert_eq!(is_stream, !api);
        for guest in handed_on {
            assert_eq!((&guest.begun[..], guest.counted), (&request[..], true));
        }
    }
}

/// Who comes alone is waited for as ever; a crowd is let gather, until it has come.
///
/// # Panics
/// If it is otherwise.
pub fn a_crowd_is_let_gather() {
    let request = opening("/one", "");
    let mut lonely = with_door(DoorPlan::default(), Settings::default());
    for crowd in [1, 6, 1] {
        let sockets: Vec<usize> = (0..crowd)
            .map(|_| lonely.come(request.as_bytes()))
            .collect();
        let mut gathers = false;
        for _ in 0..200 {
            lonely.turn();
            gathers |= lonely.core.reactor.meets_a_crowd();
        }
        assert_eq!(gathers, crowd > 1);
        for socket in sockets {
            assert!(lonely.read(socket).starts_with(b"HTTP/1.1 101"));
        }
        lonely.turn();
        assert!(!lonely.core.reactor.meets_a_crowd());
    }
}
