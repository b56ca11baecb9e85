//! Patterns of channel names: `*` for any characters, `?` for one, `[ab]`, `[a-z]` and
//! `[!a-z]` for one of some, and `\` before a character that means itself.

/// A pattern.
#[derive(Debug)]
pub(super) struct Glob(Vec<Part>);

#[derive(Debug)]
enum Part {
    /// Any number of any characters.
    Any,
    One(One),
}

/// What one character may be.
#[derive(Debug)]
enum One {
    Whatever,
    This(char),
    Of {
        /// From the first to the last, both included.
        ranges: Vec<(char, char)>,
        not: bool,
    },
}

impl Glob {
    /// `None` if it is no pattern: a bracket or an escape does not end, or there are
    /// alternatives in braces, which are not known here.
    pub(super) fn new(pattern: &str) -> Option<Glob> {
        let mut parts = Vec::new();
        let mut rest = pattern.chars();
        while let Some(character) = rest.next() {
            parts.push(match character {
                '*' if matches!(parts.last(), Some(Part::Any)) => continue,
                '*' => Part::Any,
                '?' => Part::One(One::Whatever),
                '[' => Part::One(one_of(&mut rest)?),
                '\\' => Part::One(One::This(rest.next()?)),
                '{' | '}' | ']' => return None,
                character => Part::One(One::This(character)),
            });
        }
        Some(Glob(parts))
    }

    /// Whether a whole name is such a one, in steps of at most its length times the
    /// pattern's.
    pub(super) fn matches(&self, name: &str) -> bool {
        let mut rest = name.chars();
        let mut at = 0;
        // Behind the last `*` so far: where the pattern goes on, and what of the name
        // is not yet taken by the `*`.
        let mut again = None;
        loop {
            let before = rest.clone();
            match (self.0.get(at), rest.next()) {
                (None, None) => return true,
                (Some(Part::Any), _) => {
                    rest = before;
                    at += 1;
                    again = Some((at, rest.clone()));
                    continue;
                }
                (Some(Part::One(one)), Some(character)) if one.may_be(character) => {
                    at += 1;
                    continue;
                }
                (Some(Part::One(_)), None) => return false,
                (Some(Part::One(_)) | None, Some(_)) => {}
            }
            let Some((behind, untaken)) = &mut again else {
                return false;
            };
            // The `*` takes one more.
            untaken.next();
            (at, rest) = (*behind, untaken.clone());
        }
    }
}

impl One {
    fn may_be(&self, character: char) -> bool {
        match self {
            One::Whatever => true,
            One::This(this) => *this == character,
            One::Of { ranges, not } => {
                let holds = |range: &(char, char)| (range.0..=range.1).contains(&character);
                ranges.iter().any(holds) != *not
            }
        }
    }
}

/// What stands in brackets; the first one has been read.
fn one_of(rest: &mut std::str::Chars<'_>) -> Option<One> {
    let not = rest.clone().next() == Some('!');
    if not {
        rest.next();
    }
    let mut ranges = Vec::new();
    loop {
        let first = match rest.next()? {
            ']' if ranges.is_empty() => return None,
            ']' => return Some(One::Of { ranges, not }),
            '\\' => rest.next()?,
            first => first,
        };
        let mut ahead = rest.clone();
        let range = match (ahead.next(), ahead.next()) {
            (Some('-'), Some(last)) if last != ']' => {
                *rest = ahead;
                (first, last)
            }
            _ => (first, first),
        };
        ranges.push(range);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_for_whole_names() {
        let table = [
            ("news", "news", true),
            ("news", "newsy", false),
            ("news", "new", false),
            ("*", "", true),
            ("*", "any:thing/at.all", true),
            ("**", "x", true),
            ("game:*", "game:1", true),
            ("game:*", "games:1", false),
            ("*:1", "game:1", true),
            ("*:1", "game:1:2", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXcYb", false),
            ("?", "é", true),
            ("?", "", false),
            ("[a-c]x", "bx", true),
            ("[a-c]x", "dx", false),
            ("[!a-c]x", "dx", true),
            ("[!a-c]x", "bx", false),
            ("[a-]", "-", true),
            ("[\\]]", "]", true),
            ("\\*", "*", true),
            ("\\*", "x", false),
        ];
        for (pattern, name, expected) in table {
            let found = Glob::new(pattern).unwrap().matches(name);
            assert_eq!(found, expected, "{pattern} {name}");
        }
        for bad in ["[", "[]", "[a", "[!", "\\", "{a,b}", "]"] {
            assert!(Glob::new(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_hostile_pattern_costs_little() {
        let pattern = "*a".repeat(2000) + "b";
        assert!(!Glob::new(&pattern).unwrap().matches(&"a".repeat(255)));
    }
}
