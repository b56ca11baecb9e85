//! The lines of a chat as people see them: who has come, what was said, who has
//! left.
//!
//! Whom they go to is not decided here. Called by the chat dialect.

use std::net::SocketAddr;

/// The tags of the messages that are a chat's lines.
pub const TAGS: &str = r#"{"by":"chat"}"#;

/// What begins a line that is no line of the chat. Its own begin otherwise.
pub const MARK: &str = "[raw] ";

/// How the people in a chat read a text that was published past it: nobody is to take it
/// for what somebody has said there.
pub fn marked(text: &str) -> String {
    let mut line = MARK.to_owned();
    line.extend(text.trim_end_matches(['\r', '\n']).chars().map(in_one_line));
    line
}

/// What everyone on the topic reads when `addr` joins.
pub fn welcome(addr: SocketAddr) -> String {
    format!("Welcome, {addr} !")
}

/// What everyone reads when `addr` says `text`; `time` is local, as `HH:MM:SS`.
///
/// It is one line and moves no cursor, whatever was said: otherwise a line break, or the
/// escapes of a terminal, would write a line in somebody else's name. No sign takes more
/// bytes than before.
pub fn say(time: &str, addr: SocketAddr, text: &str) -> String {
    let mut line = format!("{time} {addr} say: ");
    line.extend(text.trim_end_matches(['\r', '\n']).chars().map(in_one_line));
    line
}

/// Breaks and tabs are spaces, other control characters question marks.
fn in_one_line(sign: char) -> char {
    match sign {
        '\t'..='\r' | '\u{85}' | '\u{2028}' | '\u{2029}' => ' ',
        _ if sign.is_control() => '?',
        _ => sign,
    }
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
    fn what_was_published_past_the_chat_is_marked_and_one_line() {
        assert_eq!(
            marked("09:05:01 192.0.2.7:5123 say: hello\nand\tmore\n"),
            "[raw] 09:05:01 192.0.2.7:5123 say: hello and more"
        );
        let addr = "[2001:db8::1]:5123".parse().unwrap();
        for line in [welcome(addr), say("09:05:01", addr, MARK), logout(addr)] {
            assert!(!line.starts_with(MARK));
        }
    }

    #[test]
    fn nobody_writes_a_line_in_the_name_of_another() {
        let addr = "192.0.2.7:5123".parse().unwrap();
        let said = |text: &str| {
            say("09:05:01", addr, text).split_off("09:05:01 192.0.2.7:5123 say: ".len())
        };
        for (text, shown) in [
            (
                "a\n09:05:02 192.0.2.8:1 say: b",
                "a 09:05:02 192.0.2.8:1 say: b",
            ),
            (
                "a\r\nb\u{85}c\u{2028}d\u{2029}e\u{b}f\u{c}g",
                "a  b c d e f g",
            ),
            ("a\tb", "a b"),
            (
                "\u{1b}[2K\rforged\u{7}\u{0}\u{7f}\u{9b}1A",
                "?[2K forged????1A",
            ),
            ("typed with Enter\r\n", "typed with Enter"),
            ("grüße 🎺 <b>", "grüße 🎺 <b>"),
        ] {
            assert_eq!(said(text), shown);
            assert!(shown.len() <= text.len());
        }
        for code in 0..=0x3000 {
            let sign = char::from_u32(code).unwrap();
            assert!(!in_one_line(sign).is_control(), "{code:x}");
        }
    }

    #[test]
    fn an_ipv6_address_keeps_its_brackets() {
        let addr = "[::1]:9".parse().unwrap();
        assert_eq!(welcome(addr), "Welcome, [::1]:9 !");
    }
}
