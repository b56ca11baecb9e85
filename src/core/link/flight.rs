//! A send under way of sealed bytes, and what has become of its records once it is over.

use std::rc::Rc;

use bytes::Bytes;

use crate::protocol::tls::PLAIN_BYTES_MAX;

/// A record of which the socket has taken a part, and which is sealed again: it holds a run of one
/// log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::core) struct Begun {
    /// Where in the log its content begins.
    pub(in crate::core) from: u64,
    /// How much content it has.
    pub(in crate::core) len: u32,
    /// How many of its bytes have gone.
    pub(super) sent: u32,
    /// The end of its ciphertext. Sealed again it is the same, or the content is not.
    pub(super) tag: [u8; 8],
}

impl Begun {
    /// Where in the log its content ends.
    pub(in crate::core) fn to(self) -> u64 {
        self.from + u64::from(self.len)
    }
}

/// A send under way.
pub(super) struct Flight {
    /// All that it offers, and how much content that holds; none where what is kept is sent.
    pub(super) bytes: Rc<Bytes>,
    pub(super) content: u32,
    /// The content begins there in a log.
    pub(super) from: Option<u64>,
    /// It ends before a boundary between messages.
    pub(super) is_cut: bool,
}

/// How far a send came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::core) struct Sent {
    /// Content that the peer has, or is sure to get, as the rest of its record is kept.
    pub(in crate::core) content: u32,
    /// The socket took less than it was offered.
    pub(in crate::core) is_short: bool,
    /// The content may end inside a frame.
    pub(in crate::core) is_inside: bool,
}

/// What has become of the records of a send.
pub(super) struct Settled {
    /// See [`Sent::content`].
    pub(super) content: u32,
    /// So many records have used up their numbers.
    pub(super) records: u64,
    /// The one behind them has gone in part, and is sealed again.
    pub(super) begun: Option<Begun>,
}

impl Flight {
    /// The socket has taken `taken` bytes. The first record may have been `begun` by a send before; the rest
    /// of one that is not sealed again goes to `kept`.
    pub(super) fn settle(
        &self,
        begun: Option<Begun>,
        taken: u32,
        overhead: u32,
        kept: &mut Vec<u8>,
    ) -> Settled {
        let mut first = begun;
        let gone = begun.map_or(0, |begun| begun.sent);
        let mut settled = Settled {
            content: 0,
            records: 0,
            begun: None,
        };
        // Counted from where the first record begins, be that here or in a send before.
        let (mut at, taken) = (0, taken + gone);
        while settled.content < self.content {
            let again = first.take();
            let left = self.content - settled.content;
            let len = again.map_or(left.min(PLAIN_BYTES_MAX as u32), |begun| begun.len);
            let end = at + len + overhead;
            if taken >= end {
                settled.content += len;
                settled.records += 1;
                at = end;
                continue;
            }
            let sent = taken - at;
            let rest = (end - gone) as usize;
            match self.from {
                _ if sent == 0 => {}
                Some(from) => {
                    settled.begun = Some(Begun {
                        from: from + u64::from(settled.content),
                        len,
                        sent,
                        // Of one that had been begun before, its end may be gone.
                        tag: again.map_or_else(|| tag(&self.bytes[..rest]), |begun| begun.tag),
                    });
                }
                None => {
                    kept.extend_from_slice(&self.bytes[(taken - gone) as usize..rest]);
                    settled.content += len;
                    settled.records += 1;
                }
            }
            break;
        }
        settled
    }
}

/// What distinguishes the content of a record, under the same key and number.
pub(super) fn tag(record: &[u8]) -> [u8; 8] {
    *record.last_chunk().expect("a record has a tag")
}
