//! The answer to an opening, and where a connection begins with its topic.

use std::cmp::Ordering;

use super::bearer::BEARER;
use super::upgrade::Upgrade;

/// Where a connection begins with its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begins {
    pub epoch: u64,
    /// Of the message that comes first, be it there already or not.
    pub next: u64,
    /// Of the newest message there was by then; 0 is none, or nobody has asked.
    pub newest: u64,
}

impl Upgrade {
    /// From which offset on the client wants messages of a history with that epoch; `None`
    /// is from now on. Who names another history gets all there is of this one.
    pub fn since(&self, epoch: u64) -> Option<u64> {
        match self.epoch {
            Some(known) if known != epoch => Some(0),
            _ => self.since,
        }
    }
}

impl Begins {
    /// What became of a client's wish for a replay, if it had one.
    pub(super) fn resume(&self, upgrade: &Upgrade) -> Option<Resume> {
        self.became(upgrade.since, upgrade.epoch)
    }

    /// What became of the wish to have all from an offset on, of the history of that epoch
    /// where the client said so.
    pub fn became(&self, since: Option<u64>, epoch: Option<u64>) -> Option<Resume> {
        let since = since?;
        Some(match epoch {
            Some(known) if known != self.epoch => Resume::Unknown,
            _ => Resume::from_offsets(since, self.next),
        })
    }

    /// The text that tells a client where it begins, if it has asked for that.
    pub fn hello(&self, upgrade: &Upgrade) -> Option<String> {
        let topic = upgrade.topic.as_ref().filter(|_| upgrade.hello)?;
        let topic = simd_json::to_string(topic.as_str()).expect("a text can be told");
        let Begins {
            epoch,
            next,
            newest,
        } = self;
        let resume = self.resume(upgrade).map_or(String::new(), |resume| {
            format!(",\"resume\":\"{}\"", resume.name())
        });
        Some(format!(
            "{{\"hello\":{{\"topic\":{topic},\"epoch\":\"{epoch:016x}\",\"next\":{next},\"newest\":{newest}{resume}}}}}"
        ))
    }
}

/// The 101 answer; frames follow right behind it. Where the connection begins with a topic,
/// the answer tells the epoch and the offset of the message that comes first
/// (`Fanfare-Epoch`, in hexadecimal, and `Fanfare-Next`), and a client that asked for a
/// replay what became of that (`Fanfare-Resume`, see [`Resume`]).
pub fn answer(upgrade: &Upgrade, begins: Option<&Begins>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    bytes.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\n\
          Upgrade: websocket\r\n\
          Connection: Upgrade\r\n\
          Sec-WebSocket-Accept: ",
    );
    bytes.extend_from_slice(&upgrade.accept);
    if let Some(subprotocol) = upgrade.subprotocol {
        bytes.extend_from_slice(b"\r\nSec-WebSocket-Protocol: ");
        bytes.extend_from_slice(subprotocol.name().as_bytes());
    } else if upgrade.bearer {
        bytes.extend_from_slice(b"\r\nSec-WebSocket-Protocol: ");
        bytes.extend_from_slice(BEARER.as_bytes());
    }
    if let Some(agreed) = &upgrade.deflate {
        bytes.extend_from_slice(b"\r\nSec-WebSocket-Extensions: ");
        bytes.extend_from_slice(agreed.answer().as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    if let Some(Begins { epoch, next, .. }) = begins {
        let history = format!("Fanfare-Epoch: {epoch:016x}\r\nFanfare-Next: {next}\r\n");
        bytes.extend_from_slice(history.as_bytes());
    }
    if let Some(resume) = begins.and_then(|begins| begins.resume(upgrade)) {
        bytes.extend_from_slice(b"Fanfare-Resume: ");
        bytes.extend_from_slice(resume.name().as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes
}

/// What became of `?since`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// It begins where the client asked, and nothing is missing.
    Exact,
    /// What the client asked for is not kept any more: it begins at the oldest there is.
    Expired,
    /// This history has not come so far, so the client knows another one: it begins at the
    /// oldest there is.
    Unknown,
}

impl Resume {
    /// What it means to have asked for `since` and to begin at `offset`.
    pub fn from_offsets(since: u64, offset: u64) -> Self {
        // The first message ever has the offset 1: who asks from 0 on misses nothing then.
        match since.max(1).cmp(&offset) {
            Ordering::Equal => Self::Exact,
            Ordering::Less => Self::Expired,
            Ordering::Greater => Self::Unknown,
        }
    }

    /// The value of the header.
    pub fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Expired => "expired",
            Self::Unknown => "unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::http::upgrade::tests::try_path;

    const BEGINS: Begins = Begins {
        epoch: 0xab,
        next: 7,
        newest: 9,
    };

    #[test]
    fn hello_is_said_to_those_who_ask_and_tells_what_became_of_since() {
        let hello = |path: &str| BEGINS.hello(&try_path(path).unwrap());
        assert_eq!(hello("/a"), None);
        let plain = r#"{"hello":{"topic":"a\"b","epoch":"00000000000000ab","next":7,"newest":9}}"#;
        assert_eq!(hello("/a%22b?hello=true").as_deref(), Some(plain));
        for (query, resume) in [
            ("since=7", "exact"),
            ("since=7&epoch=ab", "exact"),
            ("since=3&epoch=00000000000000ab", "expired"),
            ("since=30", "unknown"),
            ("since=7&epoch=ac", "unknown"),
        ] {
            let told = hello(&format!("/a?hello=1&{query}")).unwrap();
            assert!(
                told.ends_with(&format!(r#","resume":"{resume}"}}}}"#)),
                "{told}"
            );
        }
    }

    #[test]
    fn who_names_another_history_gets_all_of_this_one() {
        let since = |path: &str| try_path(path).unwrap().since(0xab);
        assert_eq!(since("/a"), None);
        assert_eq!(since("/a?since=5"), Some(5));
        assert_eq!(since("/a?since=5&epoch=AB"), Some(5));
        assert_eq!(since("/a?since=5&epoch=1"), Some(0));
        for bad in [
            "epoch=ab",
            "since=5&epoch=",
            "since=5&epoch=+1",
            "since=5&epoch=x",
        ] {
            assert!(try_path(&format!("/a?{bad}")).is_err(), "{bad}");
        }
    }
}
