//! Bytes that many peers are sent, such as lists of members: they are written down once, however
//! many connections they are on their way to.

use std::collections::HashMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::SavedConn;

/// Fewer bytes are written down with each connection.
const FRAME_BYTES_MIN: usize = 1024;

/// Bytes on their way to a peer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum SavedBytes {
    Here(Bytes),
    /// The last so many of a frame.
    Of {
        frame: u32,
        len: u32,
    },
}

/// Frames, each once.
#[derive(Debug, Default)]
pub struct Frames {
    all: Vec<Bytes>,
    /// By where they end in memory, as what has been sent of one is cut off in front.
    ends: HashMap<usize, u32>,
}

impl Frames {
    /// Takes what many are sent out of a connection's record.
    pub fn gather(&mut self, conn: &mut SavedConn) {
        for (bytes, _) in &mut conn.lane {
            let SavedBytes::Here(here) = bytes else {
                continue;
            };
            if here.len() < FRAME_BYTES_MIN {
                continue;
            }
            let next = self.all.len() as u32;
            let frame = *(self.ends.entry(here.as_ptr_range().end as usize)).or_insert(next);
            let len = here.len() as u32;
            if frame == next {
                self.all.push(here.clone());
            }
            // Held by what is put there, they stay where they are in memory.
            let known = &mut self.all[frame as usize];
            if known.len() < here.len() {
                *known = here.clone();
            }
            *bytes = SavedBytes::Of { frame, len };
        }
    }

    pub fn into_all(self) -> Vec<Bytes> {
        self.all
    }

    /// Puts back what [`Frames::gather`] has taken out. `None` if it names what there is not.
    pub fn scatter(all: &[Bytes], conn: &mut SavedConn) -> Option<()> {
        for (bytes, _) in &mut conn.lane {
            if let SavedBytes::Of { frame, len } = *bytes {
                let frame = all.get(frame as usize)?;
                let from = frame.len().checked_sub(len as usize)?;
                *bytes = SavedBytes::Here(frame.slice(from..));
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(bytes: Bytes) -> SavedConn {
        let mut conn = SavedConn::sample();
        conn.lane = vec![(SavedBytes::Here(bytes), None)];
        conn
    }

    #[test]
    fn what_many_are_sent_is_written_down_once_however_far_each_is() {
        let list = Bytes::from(vec![b'x'; 5000]);
        let other = Bytes::from(vec![b'y'; 5000]);
        let short = Bytes::from_static(b"short");
        let all = [list.slice(3000..), list.clone(), other, list, short];
        let mut frames = Frames::default();
        let mut conns: Vec<SavedConn> = all.iter().cloned().map(sent).collect();
        for conn in &mut conns {
            frames.gather(conn);
        }
        let frames = frames.into_all();
        let written: usize = frames.iter().map(Bytes::len).sum();
        assert_eq!(written, 10_000);
        for (conn, bytes) in conns.iter_mut().zip(&all) {
            Frames::scatter(&frames, conn).expect("it names what there is");
            assert!(matches!(&conn.lane[0].0, SavedBytes::Here(here) if here == bytes));
        }
        let mut conn = sent(Bytes::new());
        for (frame, len) in [(2, 1), (0, 5001)] {
            conn.lane[0].0 = SavedBytes::Of { frame, len };
            assert_eq!(Frames::scatter(&frames, &mut conn), None);
        }
    }
}
