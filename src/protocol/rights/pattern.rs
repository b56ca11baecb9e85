//! Patterns of topic names: exact, `*` for one part, `**` for any rest.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::protocol::topic::NAME_BYTES_MAX;

/// What ends a part of a name.
const SEPARATORS: [char; 3] = ['.', '/', ':'];
const ONE: &str = "*";
const REST: &str = "**";

/// Names topics. Its parts end at `.`, `/` or `:`, which stand for themselves; `*` is any one
/// part that is not empty, and `**`, as the last part, whatever follows.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(Box<str>);

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    #[error("a pattern must not be empty: ** is for every topic")]
    Empty,
    #[error("a pattern has at most {NAME_BYTES_MAX} bytes, as a topic name")]
    TooLong,
    #[error("a pattern must not contain control characters")]
    Control,
    #[error(
        "in the pattern {0:?} a star must stand for a whole part: parts end at . / or :, \
         as in news.* or chat/**"
    )]
    Star(Box<str>),
    #[error("in the pattern {0:?} something follows **, which stands for any rest")]
    AfterRest(Box<str>),
}

impl Pattern {
    /// # Errors
    /// See [`PatternError`].
    pub fn new(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text.len() > NAME_BYTES_MAX {
            return Err(PatternError::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(PatternError::Control);
        }
        let mut parts = text.split(SEPARATORS).peekable();
        while let Some(part) = parts.next() {
            match part {
                REST if parts.peek().is_some() => {
                    return Err(PatternError::AfterRest(text.into()));
                }
                ONE | REST => {}
                _ if part.contains('*') => return Err(PatternError::Star(text.into())),
                _ => {}
            }
        }
        Ok(Pattern(text.into()))
    }

    /// The pattern of every topic.
    pub fn all() -> Self {
        Pattern(REST.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the pattern names `topic`. Takes time in proportion to the two lengths.
    pub fn matches(&self, topic: &str) -> bool {
        let (mut pattern, mut topic) = (self.as_str(), topic);
        loop {
            let (wanted, more) = split(pattern);
            if wanted == REST {
                return !topic.is_empty();
            }
            let (part, rest) = split(topic);
            let fits = if wanted == ONE {
                !part.is_empty()
            } else {
                part == wanted
            };
            match (fits, more, rest) {
                (true, None, None) => return true,
                (true, Some((separator, next)), Some((found, rest))) if separator == found => {
                    (pattern, topic) = (next, rest);
                }
                _ => return false,
            }
        }
    }
}

/// The first part, and what stands behind it: its separator and the rest.
fn split(text: &str) -> (&str, Option<(u8, &str)>) {
    match text.find(SEPARATORS) {
        Some(at) => (&text[..at], Some((text.as_bytes()[at], &text[at + 1..]))),
        None => (text, None),
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl TryFrom<String> for Pattern {
    type Error = PatternError;

    fn try_from(text: String) -> Result<Self, PatternError> {
        Pattern::new(&text)
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> String {
        pattern.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, topic: &str) -> bool {
        Pattern::new(pattern).unwrap().matches(topic)
    }

    #[test]
    fn a_star_is_one_part_and_two_are_any_rest() {
        for (pattern, topic) in [
            ("news", "news"),
            ("news.*", "news.sport"),
            ("*.sport", "news.sport"),
            ("a/*/c", "a/b/c"),
            ("a:*", "a:é"),
            ("news.**", "news.sport.today/x"),
            ("**", "a"),
            ("**", "/"),
            ("/*", "/a"),
            ("a//b", "a//b"),
            ("*", "a b-c"),
        ] {
            assert!(matches(pattern, topic), "{pattern} {topic}");
        }
        for (pattern, topic) in [
            ("news", "news.sport"),
            ("news", "new"),
            ("news", "News"),
            ("news.*", "news"),
            ("news.*", "news."),
            ("news.*", "news.a.b"),
            ("news.*", "news/a"),
            ("news.*", "newsx.a"),
            ("news.**", "news"),
            ("news.**", "news."),
            ("news.**", "newsletter.a"),
            ("a/*/c", "a//c"),
            ("*", "a/b"),
            ("*", ""),
        ] {
            assert!(!matches(pattern, topic), "{pattern} {topic}");
        }
    }

    /// The same by trying every way.
    fn matches_naive(pattern: &[char], topic: &[char]) -> bool {
        match pattern {
            ['*', '*'] => !topic.is_empty(),
            ['*', rest @ ..] => (1..=topic.len()).any(|len| {
                let part = &topic[..len];
                let ends = topic.get(len).is_none_or(|c| SEPARATORS.contains(c));
                ends && !part.iter().any(|c| SEPARATORS.contains(c))
                    && matches_naive(rest, &topic[len..])
            }),
            [c, rest @ ..] => topic.first() == Some(c) && matches_naive(rest, &topic[1..]),
            [] => topic.is_empty(),
        }
    }

    #[test]
    fn the_walk_agrees_with_trying_every_way() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut word = |letters: &[char]| -> String {
            let len = random.usize(1..7);
            (0..len).map(|_| *random.choice(letters).unwrap()).collect()
        };
        let (mut tried, mut matched) = (0, 0);
        while tried < 20_000 {
            let (pattern, topic) = (word(&['a', '*', '.', '/']), word(&['a', 'b', '.', '/']));
            let Ok(found) = Pattern::new(&pattern) else {
                continue;
            };
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            let naive = matches_naive(&chars(&pattern), &chars(&topic));
            assert_eq!(found.matches(&topic), naive, "{pattern} {topic}");
            tried += 1;
            matched += usize::from(naive);
        }
        assert!(matched > 500, "{matched}");
    }

    #[test]
    fn a_text_that_is_no_pattern_is_told_why() {
        for (text, words) in [
            ("", "must not be empty"),
            ("a*", "a star must stand for a whole part"),
            ("a.***", "a star must stand for a whole part"),
            ("**.a", "something follows **"),
            ("a\n", "control characters"),
        ] {
            let told = Pattern::new(text).unwrap_err().to_string();
            assert!(told.contains(words), "{told}");
        }
        assert_eq!(Pattern::new(&"a".repeat(256)), Err(PatternError::TooLong));
    }
}
