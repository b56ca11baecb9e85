//! The lines of a chat as people see them: who has come, what was said, who has
//! left.
//!
//! Whom they go to is not decided here. Called by the chat dialect.

use std::net::SocketAddr;

/// What everyone on the topic reads when `addr` joins.
pub fn welcome(addr: SocketAddr) -> String {
    format!("Welcome, {addr} !")
}

/// What everyone reads when `addr` says `text`; `time` is local, as `HH:MM:SS`.
pub fn say(time: &str, addr: SocketAddr, text: &str) -> String {
    format!("{time} {addr} say: {text}")
}

/// What everyone reads when `addr` leaves, whether it said `quit` or vanished.
pub fn logout(addr: SocketAddr) -> String {
    format!("{addr} Logout")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_lines_read_word_for_word() {
        let addr = "192.0.2.7:5123".parse().unwrap();
        assert_eq!(welcome(addr), "Welcome, 192.0.2.7:5123 !");
        assert_eq!(
            say("09:05:01", addr, "hello <b>"),
            "09:05:01 192.0.2.7:5123 say: hello <b>"
        );
        assert_eq!(logout(addr), "192.0.2.7:5123 Logout");
    }

    #[test]
    fn an_ipv6_address_keeps_its_brackets() {
        let addr = "[::1]:9".parse().unwrap();
        assert_eq!(welcome(addr), "Welcome, [::1]:9 !");
    }
}
