//! The shapes of what names a NATS server, a stream and a subject. Called by `value`.

/// A longer name of a stream is refused.
pub(super) const STREAM_NAME_BYTES_MAX: usize = 64;

pub(super) fn is_stream(word: &str) -> bool {
    is_plain(word) && word.len() <= STREAM_NAME_BYTES_MAX
}

pub(super) fn is_subject_prefix(word: &str) -> bool {
    word.split('.').all(is_plain)
}

fn is_plain(word: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !word.is_empty() && word.bytes().all(plain)
}

/// The address of a server.
///
/// # Errors
/// What may be shown of an address that is none: a password in it is left out.
pub(super) fn server(word: &str) -> Result<String, &str> {
    let (before, shown) = word.rsplit_once('@').unwrap_or(("", word));
    let place = word
        .strip_prefix("nats://")
        .or_else(|| word.strip_prefix("tls://"));
    let fits = before.is_empty() && place.is_some_and(is_place);
    match fits && before.len() + shown.len() == word.len() {
        true => Ok(word.to_owned()),
        false => Err(shown),
    }
}

/// A host, with or without a port.
fn is_place(word: &str) -> bool {
    let (host, port) = match word.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => match host.parse::<std::net::Ipv6Addr>() {
            Ok(_) => ("v6", rest),
            Err(_) => return false,
        },
        None => word.split_at(word.find(':').unwrap_or(word.len())),
    };
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port != 0);
    let port_fits = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
    !host.is_empty() && host.bytes().all(is_host) && port_fits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_scheme_a_host_and_perhaps_a_port() {
        for word in [
            "nats://127.0.0.1:4222",
            "nats://[::1]:4222",
            "tls://nats.example.com",
        ] {
            assert_eq!(server(word), Ok(word.to_owned()));
        }
        for word in [
            "",
            "127.0.0.1:4222",
            "nats://",
            "nats://:4222",
            "http://host",
            "ws://host",
            "nats://host:0",
            "nats://host:70000",
            "nats://host/path",
            "nats://[::g]:1",
            "nats://::1",
        ] {
            assert_eq!(server(word), Err(word), "{word}");
        }
    }

    #[test]
    fn a_refused_address_is_shown_without_its_password() {
        assert_eq!(server("nats://user:pass@host:1"), Err("host:1"));
        assert_eq!(server("@host:1"), Err("host:1"));
    }

    #[test]
    fn streams_and_subjects_are_plain_words() {
        assert!(is_stream("FANFARE-2_x") && !is_stream("") && !is_stream("a.b"));
        assert!(!is_stream(&"a".repeat(STREAM_NAME_BYTES_MAX + 1)));
        assert!(is_subject_prefix("fanfare") && is_subject_prefix("eu.live-2"));
        for word in ["", ".", "a.", "a..b", "a.>", "*", "a b"] {
            assert!(!is_subject_prefix(word), "{word}");
        }
    }
}
