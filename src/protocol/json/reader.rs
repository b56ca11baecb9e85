//! Reads JSON where it lies: one pass that checks and finds, without a tree.
//!
//! Payloads must go out as they came in, so what is asked of a reader is the
//! span of a value. Numbers are checked by grammar alone: integers beyond 64 bits
//! and `1e400` are JSON, and a reader that turns them into numbers (simd-json
//! does) refuses them. Nothing here recurses, however deep the nesting is.

use std::borrow::Cow;

use super::scan::plain_len;

/// The message breaks the protocol: it is no JSON, or none of what may stand there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not the JSON, or the command, that is expected here")]
pub struct BadRequest;

type Read<T> = Result<T, BadRequest>;

/// `bytes` are exactly one JSON value, which may have whitespace around it.
pub(in crate::protocol) fn is_json(bytes: &[u8]) -> bool {
    let mut reader = Reader::new(bytes);
    reader.value().is_ok() && reader.end().is_ok() && simdutf8::basic::from_utf8(bytes).is_ok()
}

/// Reads values one after another.
pub(in crate::protocol) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// What a member can be read into; `null` says nothing, as a missing member.
pub(in crate::protocol) trait FromJson: Sized {
    fn read(reader: &mut Reader<'_>) -> Read<Option<Self>>;
}

impl<'a> Reader<'a> {
    pub(in crate::protocol) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0 }
    }

    /// Nothing but whitespace is left.
    pub(in crate::protocol) fn end(&mut self) -> Read<()> {
        self.skip_space();
        check(self.at == self.bytes.len())
    }

    /// Reads an object: `member` is called with each name and must read the
    /// value. `None` if `null` stands there.
    pub(in crate::protocol) fn object(
        &mut self,
        mut member: impl FnMut(&str, &mut Reader<'a>) -> Read<()>,
    ) -> Read<Option<()>> {
        if self.null() {
            return Ok(None);
        }
        check(self.eat(b'{'))?;
        self.skip_space();
        if self.eat(b'}') {
            return Ok(Some(()));
        }
        loop {
            let name = self.text()?;
            self.skip_space();
            check(self.eat(b':'))?;
            self.skip_space();
            member(&name, self)?;
            self.skip_space();
            match self.next()? {
                b',' => {}
                b'}' => return Ok(Some(())),
                _ => return Err(BadRequest),
            }
        }
    }

    /// Reads an array: `item` is called for each value and must read it. `None` if
    /// `null` stands there.
    pub(in crate::protocol) fn array(
        &mut self,
        mut item: impl FnMut(&mut Reader<'a>) -> Read<()>,
    ) -> Read<Option<()>> {
        if self.null() {
            return Ok(None);
        }
        check(self.eat(b'['))?;
        self.skip_space();
        if self.eat(b']') {
            return Ok(Some(()));
        }
        loop {
            item(self)?;
            self.skip_space();
            match self.next()? {
                b',' => {}
                b']' => return Ok(Some(())),
                _ => return Err(BadRequest),
            }
        }
    }

    /// Reads a value into `field`, which stays as it is if the value is `null`.
    pub(in crate::protocol) fn set<T: FromJson>(&mut self, field: &mut T) -> Read<()> {
        if let Some(value) = T::read(self)? {
            *field = value;
        }
        Ok(())
    }

    /// Whether `null` comes next, which is then read.
    pub(in crate::protocol) fn null(&mut self) -> bool {
        self.skip_space();
        let found = self.bytes[self.at..].starts_with(b"null");
        if found {
            self.at += 4;
        }
        found
    }

    /// Checks one value and returns it as it is written.
    pub(in crate::protocol) fn value(&mut self) -> Read<&'a [u8]> {
        self.skip_space();
        let start = self.at;
        self.skip_value()?;
        Ok(&self.bytes[start..self.at])
    }

    /// Reads a string.
    pub(in crate::protocol) fn text(&mut self) -> Read<Cow<'a, str>> {
        self.skip_space();
        check(self.eat(b'"'))?;
        let start = self.at;
        self.skip_string()?;
        let inner = &self.bytes[start..self.at - 1];
        let inner = simdutf8::basic::from_utf8(inner).map_err(|_| BadRequest)?;
        match inner.contains('\\') {
            true => unescape(inner).map(Cow::Owned),
            false => Ok(Cow::Borrowed(inner)),
        }
    }

    fn skip_value(&mut self) -> Read<()> {
        let mut open = Nesting::default();
        loop {
            self.skip_space();
            match self.next()? {
                b'{' => {
                    self.skip_space();
                    if !self.eat(b'}') {
                        open.push(Kind::Object);
                        self.skip_name()?;
                        continue;
                    }
                }
                b'[' => {
                    self.skip_space();
                    if !self.eat(b']') {
                        open.push(Kind::Array);
                        continue;
                    }
                }
                b'"' => self.skip_string()?,
                first @ (b'-' | b'0'..=b'9') => self.skip_number(first)?,
                b't' => self.skip_word(b"rue")?,
                b'f' => self.skip_word(b"alse")?,
                b'n' => self.skip_word(b"ull")?,
                _ => return Err(BadRequest),
            }
            // A value has ended; it may end those around it.
            loop {
                let Some(around) = open.innermost() else {
                    return Ok(());
                };
                self.skip_space();
                match (self.next()?, around) {
                    (b',', Kind::Object) => {
                        self.skip_name()?;
                        break;
                    }
                    (b',', Kind::Array) => break,
                    (b'}', Kind::Object) | (b']', Kind::Array) => open.pop(),
                    _ => return Err(BadRequest),
                }
            }
        }
    }

    fn skip_name(&mut self) -> Read<()> {
        self.skip_space();
        check(self.eat(b'"'))?;
        self.skip_string()?;
        self.skip_space();
        check(self.eat(b':'))
    }

    /// The quote that opens the string has been read.
    fn skip_string(&mut self) -> Read<()> {
        loop {
            self.at += plain_len(&self.bytes[self.at..]);
            match self.next()? {
                b'"' => return Ok(()),
                b'\\' => match self.next()? {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                    b'u' => {
                        for _ in 0..4 {
                            check(self.next()?.is_ascii_hexdigit())?;
                        }
                    }
                    _ => return Err(BadRequest),
                },
                _ => return Err(BadRequest),
            }
        }
    }

    fn skip_number(&mut self, first: u8) -> Read<()> {
        let first = if first == b'-' { self.next()? } else { first };
        check(first.is_ascii_digit())?;
        // A zero at the start stands alone.
        if first != b'0' {
            self.skip_digits();
        }
        if self.eat(b'.') {
            check(self.skip_digits() > 0)?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            let _ = self.eat(b'+') || self.eat(b'-');
            check(self.skip_digits() > 0)?;
        }
        Ok(())
    }

    fn skip_digits(&mut self) -> usize {
        let rest = &self.bytes[self.at..];
        let len = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += len;
        len
    }

    fn skip_word(&mut self, rest: &[u8]) -> Read<()> {
        check(self.bytes[self.at..].starts_with(rest))?;
        self.at += rest.len();
        Ok(())
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.bytes.get(self.at) {
            self.at += 1;
        }
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.bytes.get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    fn next(&mut self) -> Read<u8> {
        let byte = self.bytes.get(self.at).ok_or(BadRequest)?;
        self.at += 1;
        Ok(*byte)
    }
}

impl FromJson for String {
    fn read(reader: &mut Reader<'_>) -> Read<Option<String>> {
        match reader.null() {
            true => Ok(None),
            false => Ok(Some(reader.text()?.into_owned())),
        }
    }
}

impl FromJson for bool {
    fn read(reader: &mut Reader<'_>) -> Read<Option<bool>> {
        match reader.value()? {
            b"true" => Ok(Some(true)),
            b"false" => Ok(Some(false)),
            b"null" => Ok(None),
            _ => Err(BadRequest),
        }
    }
}

macro_rules! integers {
    ($($integer:ty)*) => {$(
        impl FromJson for $integer {
            fn read(reader: &mut Reader<'_>) -> Read<Option<$integer>> {
                let value = reader.value()?;
                if value == b"null" {
                    return Ok(None);
                }
                let text = std::str::from_utf8(value).map_err(|_| BadRequest)?;
                text.parse().map(Some).map_err(|_| BadRequest)
            }
        }
    )*};
}

integers!(u32 u64 i32 i64);

fn check(holds: bool) -> Read<()> {
    if holds { Ok(()) } else { Err(BadRequest) }
}

/// What the inside of a string says, whose escapes are known to be well formed.
/// Half a surrogate pair is no character.
fn unescape(inner: &str) -> Read<String> {
    let mut text = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        let escape = rest.as_bytes()[at + 1];
        rest = &rest[at + 2..];
        text.push(match escape {
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = unit(rest).ok_or(BadRequest)?;
                rest = &rest[4..];
                let mut units = vec![first];
                if (0xD800..0xDC00).contains(&first) {
                    let second = rest.strip_prefix("\\u").ok_or(BadRequest)?;
                    units.push(unit(second).ok_or(BadRequest)?);
                    rest = &second[4..];
                }
                let character = char::decode_utf16(units).next().ok_or(BadRequest)?;
                character.map_err(|_| BadRequest)?
            }
            other => char::from(other),
        });
    }
    text.push_str(rest);
    Ok(text)
}

fn unit(digits: &str) -> Option<u16> {
    u16::from_str_radix(digits.get(..4)?, 16).ok()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Array,
    Object,
}

/// What is open around a value, innermost last; one bit each.
#[derive(Default)]
struct Nesting {
    depth: usize,
    /// The innermost, up to 64 of them.
    bits: u64,
    /// Those around them, 64 a word.
    outer: Vec<u64>,
}

impl Nesting {
    fn push(&mut self, kind: Kind) {
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.outer.push(self.bits);
        }
        self.bits = self.bits << 1 | u64::from(kind == Kind::Object);
        self.depth += 1;
    }

    fn pop(&mut self) {
        self.depth -= 1;
        self.bits >>= 1;
        if self.depth.is_multiple_of(64) {
            self.bits = self.outer.pop().unwrap_or(0);
        }
    }

    fn innermost(&self) -> Option<Kind> {
        match (self.depth, self.bits & 1) {
            (0, _) => None,
            (_, 0) => Some(Kind::Array),
            (..) => Some(Kind::Object),
        }
    }
}
