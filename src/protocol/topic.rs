//! Names of topics: what may be one, and how one is read from a request target.
//!
//! The topics themselves are the hub's. Called by `http` and by the admin listener.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use percent_encoding::percent_decode_str;

/// The longest name, in bytes after percent-decoding.
pub const NAME_BYTES_MAX: usize = 255;

/// First parts of paths that are none of topics.
const RESERVED: [&str; 7] = [
    ".well-known",
    "api",
    "app",
    "apps",
    "connection",
    "events",
    "healthz",
];

/// The topic of the path `/`.
pub const LOBBY: &str = "lobby";

/// A valid topic name: 1 to [`NAME_BYTES_MAX`] bytes of UTF-8 without control characters.
/// Cloning is cheap.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicName(Arc<str>);

/// Why a text is no topic name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicNameError {
    /// Nothing is left of it.
    #[error("a topic name must not be empty")]
    Empty,
    /// Longer than [`NAME_BYTES_MAX`].
    #[error("a topic name has at most {NAME_BYTES_MAX} bytes")]
    TooLong,
    /// It holds a control character.
    #[error("a topic name must not contain control characters")]
    Control,
    /// A `%` without two hexadecimal digits, or bytes that are no UTF-8.
    #[error("a topic name must be percent-encoded UTF-8")]
    Encoding,
}

impl TopicName {
    /// Checks a name that is plain text already.
    pub fn new(name: &str) -> Result<Self, TopicNameError> {
        if name.is_empty() {
            return Err(TopicNameError::Empty);
        }
        if name.len() > NAME_BYTES_MAX {
            return Err(TopicNameError::TooLong);
        }
        if name.chars().any(char::is_control) {
            return Err(TopicNameError::Control);
        }
        Ok(Self(name.into()))
    }

    /// Checks a name as it stands in a URL, percent-encoded.
    pub fn from_encoded(name: &str) -> Result<Self, TopicNameError> {
        // Each byte takes three characters at most: no need to decode what cannot fit.
        if name.len() > 3 * NAME_BYTES_MAX {
            return Err(TopicNameError::TooLong);
        }
        if !escapes_are_whole(name.as_bytes()) {
            return Err(TopicNameError::Encoding);
        }
        let decoded = percent_decode_str(name).decode_utf8();
        Self::new(&decoded.map_err(|_| TopicNameError::Encoding)?)
    }

    /// The topic of a URL path: the path without its first slash, [`LOBBY`] for `/` alone.
    pub fn from_path(path: &str) -> Result<Self, TopicNameError> {
        match path.strip_prefix('/').unwrap_or(path) {
            "" => Self::new(LOBBY),
            name => Self::from_encoded(name),
        }
    }

    /// The first part, up to a slash, where that is kept for protocols that have paths of
    /// their own: messages of such a topic could not be had by its path.
    pub fn reserved(&self) -> Option<&'static str> {
        let first = self.0.split('/').next();
        RESERVED.into_iter().find(|part| first == Some(part))
    }

    /// The name as a shared handle.
    pub fn as_arc(&self) -> &Arc<str> {
        &self.0
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether each `%` comes with two hexadecimal digits (RFC 3986 section 2.1).
fn escapes_are_whole(name: &[u8]) -> bool {
    let mut rest = name.iter();
    while let Some(byte) = rest.next() {
        if *byte == b'%' {
            let digits = [rest.next(), rest.next()];
            if !digits.iter().all(|d| d.is_some_and(u8::is_ascii_hexdigit)) {
                return false;
            }
        }
    }
    true
}

impl AsRef<str> for TopicName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

// Maps keyed by name can be asked with a plain `&str`: `Hash` and `Eq` are those of the text.
impl Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_its_topic() {
        for (path, topic) in [
            ("/", "lobby"),
            ("/lobby", "lobby"),
            ("/news", "news"),
            ("/a/b/", "a/b/"),
            ("//", "/"),
            ("/gr%C3%BC%c3%9fe%20%F0%9F%8E%BA", "grüße 🎺"),
            ("/100%25", "100%"),
            ("/a+b", "a+b"),
        ] {
            assert_eq!(TopicName::from_path(path).unwrap().as_str(), topic);
        }
    }

    #[test]
    fn what_other_protocols_have_their_paths_below_is_no_topics() {
        for (path, reserved) in [
            ("/events", Some("events")),
            ("/api/x", Some("api")),
            ("/connection/websocket", Some("connection")),
            ("/.well-known/mercure", Some(".well-known")),
            ("/eventsale", None),
            ("/my/api", None),
            ("/apple", None),
            ("/", None),
        ] {
            let name = TopicName::from_path(path).unwrap();
            assert_eq!(name.reserved(), reserved, "{path}");
        }
    }

    #[test]
    fn a_name_has_255_decoded_bytes_at_most() {
        let longest = "%61".repeat(255);
        assert_eq!(
            TopicName::from_encoded(&longest).unwrap().as_str().len(),
            255
        );
        for long in [
            "a".repeat(256),
            "%61".repeat(256),
            "a".repeat(100_000),
            "é".repeat(128),
        ] {
            assert_eq!(TopicName::from_encoded(&long), Err(TopicNameError::TooLong));
        }
        assert_eq!(TopicName::new(""), Err(TopicNameError::Empty));
    }

    #[test]
    fn control_characters_are_refused() {
        for path in ["/%00", "/a%0Ab", "/%7f", "/%C2%85", "/\u{1b}"] {
            assert_eq!(TopicName::from_path(path), Err(TopicNameError::Control));
        }
    }

    #[test]
    fn broken_escapes_and_broken_utf8_are_refused() {
        for path in ["/%", "/%4", "/%zz", "/a%f", "/%ff", "/%C3", "/%ED%A0%80"] {
            assert_eq!(
                TopicName::from_path(path),
                Err(TopicNameError::Encoding),
                "{path}"
            );
        }
    }
}
