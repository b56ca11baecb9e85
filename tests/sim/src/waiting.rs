//! One core on which a message waits for room that never comes: what that costs.

use fanfare::config::Settings;
use fanfare::protocol::reason::CloseReason;
use fastrand::Rng;

use crate::codec::client_frame;
use crate::end::LOOK_MS;
use crate::lonely::Lonely;

const MESSAGE_BYTES: usize = 16 << 10;
const STALL_MS_MAX: u64 = 1000;
/// Views of the topic: as it is, for chats, and compressed with two windows.
const VIEWS: u64 = 4;

/// A message lacks room in the last of its topic's views, for good. Its core comes to
/// rest each time that it has looked, encodes nothing for nothing, and at last closes the
/// publisher.
///
/// # Panics
/// If it is otherwise.
pub fn comes_to_rest() {
    let mut lonely = Lonely::new(Settings {
        message_bytes_max: MESSAGE_BYTES,
        // With what belongs to each message, four of the longest are more.
        log_bytes_max: 4 * MESSAGE_BYTES,
        lag_bytes_max: MESSAGE_BYTES,
        stall_ms_max: STALL_MS_MAX,
        ..Settings::default()
    });
    lonely.connect("/topic", "Sec-WebSocket-Protocol: chat\r\n");
    lonely.connect("/topic", "Sec-WebSocket-Extensions: permessage-deflate\r\n");
    lonely.connect(
        "/topic",
        "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=9\r\n",
    );
    let publisher = lonely.connect("/topic", "");
    lonely.run_dry();
    let mut noise = Rng::with_seed(2);
    let payload: Vec<u8> = (0..MESSAGE_BYTES).map(|_| noise.u8(..)).collect();
    let frame = client_frame(0x82, [1, 2, 3, 4], &payload);
    lonely.write(publisher, &frame);
    lonely.run_dry();
    let hub = lonely.hub.clone();
    let metrics = &hub.mailbox(0).metrics;
    assert_eq!(metrics.room_waits.get(), 1, "there is no room for it");
    let closes = || metrics.closes[CloseReason::LogFull.index()].get();
    for _ in 0..=2 * STALL_MS_MAX / LOOK_MS {
        assert_eq!(closes(), 0, "readers are still to have their time");
        lonely.pass(LOOK_MS);
        lonely.core.awake = true;
        lonely.run_dry();
    }
    assert_eq!(closes(), 1, "it will never fit");
    assert!(metrics.room_tries.get() < VIEWS);
}
