//! Objects in JSON, read by serde_json into their members: what models look them up in.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use fanfare::protocol::centrifugo::Data;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The members of an object in their order, doubled ones too.
pub(crate) struct Members<'a>(pub(crate) Vec<(String, &'a str)>);

impl<'a> Members<'a> {
    pub(crate) fn read(json: &'a str) -> Option<Members<'a>> {
        serde_json::from_str(json).ok()
    }

    /// The last of that name that is not `null`; all must be readable.
    pub(crate) fn last<T>(
        &self,
        name: &str,
        read: impl Fn(&'a str) -> Option<T>,
    ) -> Option<Option<T>> {
        let named = self
            .0
            .iter()
            .filter(|(known, value)| known == name && *value != "null");
        let values: Vec<T> = named.map(|(_, value)| read(value)).collect::<Option<_>>()?;
        Some(values.into_iter().next_back())
    }

    pub(crate) fn one<T>(
        &self,
        name: &str,
        read: impl Fn(&Members<'_>) -> Option<T>,
    ) -> Option<Option<T>> {
        self.last(name, |value| read(&Members::read(value)?))
    }

    pub(crate) fn text(&self, name: &str) -> Option<String> {
        let read = |value| serde_json::from_str::<String>(value).ok();
        self.last(name, read).map(Option::unwrap_or_default)
    }

    pub(crate) fn number<T: FromStr + Default>(&self, name: &str) -> Option<T> {
        let read = |value: &str| value.parse().ok();
        self.last(name, read).map(Option::unwrap_or_default)
    }

    pub(crate) fn flag(&self, name: &str) -> Option<bool> {
        let read = |value: &str| value.parse().ok();
        self.last(name, read).map(Option::unwrap_or_default)
    }

    /// `null` is a payload as any. Line breaks stand between values only, and go.
    pub(crate) fn payload(&self, name: &str) -> Data {
        let mut named = self.0.iter().filter(|(known, _)| known == name);
        let data = named.next_back().map(|(_, value)| Data {
            text: true,
            bytes: value.replace(['\r', '\n'], "").into_bytes(),
        });
        data.unwrap_or_default()
    }

    /// All of them, which are strings or `null`, which stands for an empty one.
    pub(crate) fn texts(&self) -> Option<BTreeMap<String, String>> {
        let texts = self.0.iter().map(|(name, value)| {
            let text: Option<String> = serde_json::from_str(value).ok()?;
            Some((name.clone(), text.unwrap_or_default()))
        });
        texts.collect()
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members<'de>, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Members<'de>, M::Error> {
                let mut members = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    members.push((name, map.next_value::<&RawValue>()?.get()));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// Strings under names as one object, in the fewest signs; empty where there are none.
pub(crate) fn as_object(texts: &BTreeMap<String, String>) -> String {
    let member = |(name, text): (&String, &String)| format!("{}:{}", quoted(name), quoted(text));
    let members: Vec<String> = texts.iter().map(member).collect();
    match members[..] {
        [] => String::new(),
        _ => format!("{{{}}}", members.join(",")),
    }
}

/// A JSON string, in the fewest signs.
pub(crate) fn quoted(text: &str) -> String {
    let sign = |sign: char| match sign {
        '"' | '\\' => format!("\\{sign}"),
        '\n' => "\\n".to_owned(),
        '\r' => "\\r".to_owned(),
        '\t' => "\\t".to_owned(),
        '\0'..='\x1f' => format!("\\u{:04x}", u32::from(sign)),
        plain => plain.to_string(),
    };
    let signs: String = text.chars().map(sign).collect();
    format!("\"{signs}\"")
}
