//! Messages in Protobuf, read from the description of the encoding without any thought of
//! speed: <https://protobuf.dev/programming-guides/encoding/>.

/// Messages and groups may stand inside each other so often.
pub(crate) const DEPTH_MAX: usize = 100;

/// The fields of a message in their order.
pub(crate) struct Fields {
    all: Vec<(u32, Value)>,
    depth_left: usize,
}

enum Value {
    Number(u64),
    Bytes(Vec<u8>),
    /// Of a type that no field here has.
    Other,
}

impl Fields {
    pub(crate) fn read(mut rest: &[u8], depth_left: usize) -> Option<Fields> {
        let mut all = Vec::new();
        while !rest.is_empty() {
            all.push(field(&mut rest, depth_left)?);
        }
        Some(Fields { all, depth_left })
    }

    /// There is a field with another tag.
    pub(crate) fn has_other_than(&self, tag: u32) -> bool {
        self.all.iter().any(|(known, _)| *known != tag)
    }

    fn named(&self, tag: u32) -> impl Iterator<Item = &Value> {
        self.all
            .iter()
            .filter(move |(known, _)| *known == tag)
            .map(|(_, value)| value)
    }

    pub(crate) fn bytes(&self, tag: u32) -> Option<Vec<&[u8]>> {
        let found = self.named(tag).map(|value| match value {
            Value::Bytes(bytes) => Some(&bytes[..]),
            _ => None,
        });
        found.collect()
    }

    pub(crate) fn text(&self, tag: u32) -> Option<String> {
        let texts = self
            .bytes(tag)?
            .into_iter()
            .map(|bytes| std::str::from_utf8(bytes).ok());
        let texts: Vec<&str> = texts.collect::<Option<_>>()?;
        Some(
            texts
                .last()
                .map(|text| text.to_string())
                .unwrap_or_default(),
        )
    }

    pub(crate) fn number(&self, tag: u32) -> Option<u64> {
        let numbers = self.named(tag).map(|value| match value {
            Value::Number(number) => Some(*number),
            _ => None,
        });
        let numbers: Vec<u64> = numbers.collect::<Option<_>>()?;
        Some(numbers.last().copied().unwrap_or(0))
    }

    /// The messages of that tag, each by itself.
    pub(crate) fn each(&self, tag: u32) -> Option<Vec<Fields>> {
        let depth_left = self.depth_left - 1;
        let messages = self.bytes(tag)?.into_iter();
        messages
            .map(|bytes| Fields::read(bytes, depth_left))
            .collect()
    }

    /// The message of that tag: what several say is said by one.
    pub(crate) fn one<T>(
        &self,
        tag: u32,
        read: impl Fn(&Fields) -> Option<T>,
    ) -> Option<Option<T>> {
        let parts = self.each(tag)?;
        if parts.is_empty() {
            return Some(None);
        }
        let depth_left = self.depth_left - 1;
        let all = parts.into_iter().flat_map(|part| part.all).collect();
        read(&Fields { all, depth_left }).map(Some)
    }
}

fn field(rest: &mut &[u8], depth_left: usize) -> Option<(u32, Value)> {
    let (tag, wire_type) = key(rest)?;
    let value = match wire_type {
        0 => Value::Number(varint(rest)?),
        1 => take(rest, 8).map(|_| Value::Other)?,
        2 => Value::Bytes(delimited(rest)?.to_vec()),
        3 => {
            let depth_left = depth_left.checked_sub(1)?;
            loop {
                // A group ends with a key of its own tag.
                let mut ahead = *rest;
                let (next, wire_type) = key(&mut ahead)?;
                if wire_type == 4 {
                    *rest = ahead;
                    (next == tag).then_some(())?;
                    break Value::Other;
                }
                (depth_left > 0).then_some(())?;
                field(rest, depth_left)?;
            }
        }
        5 => take(rest, 4).map(|_| Value::Other)?,
        _ => return None,
    };
    Some((tag, value))
}

fn key(rest: &mut &[u8]) -> Option<(u32, u8)> {
    let key = u32::try_from(varint(rest)?).ok()?;
    (key >> 3 > 0).then_some((key >> 3, (key & 7) as u8))
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number: u128 = 0;
    for shift in (0..70).step_by(7) {
        let byte = take(rest, 1)?[0];
        number |= u128::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return u64::try_from(number).ok();
        }
    }
    None
}

pub(crate) fn delimited<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = varint(rest)?.try_into().ok()?;
    take(rest, len)
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(len)?;
    *rest = after;
    Some(taken)
}
