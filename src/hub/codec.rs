//! permessage-deflate on one core: a compressor and the memory that messages
//! pass through on their way in or out. Made when first needed.

use crate::log::{Compressed, Topic, ViewKind};
use crate::mask;
use crate::protocol::ws::deflate::{Deflater, Inflater};
use crate::protocol::ws::{Fault, Payload};

/// Scratch memory that is kept between messages; larger is given back.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// Compresses and inflates for one thread, or one lock.
#[derive(Default)]
pub struct Codec {
    deflater: Option<Deflater>,
    inflater: Option<Box<Inflater>>,
    scratch: Scratch,
}

/// The bytes of one message, plain.
#[derive(Default)]
pub struct Scratch {
    masked: Vec<u8>,
    plain: Vec<u8>,
}

impl Codec {
    /// The plain bytes of a message that came compressed, in `scratch`.
    /// `own` is the inflater of a client that keeps its window.
    pub fn inflate(
        &mut self,
        payload: Payload<'_>,
        own: Option<&mut Inflater>,
        message_bytes_max: usize,
        scratch: &mut Scratch,
    ) -> Result<(), Fault> {
        let bytes = match payload {
            Payload::Masked { bytes, key } => {
                scratch.masked.clear();
                mask::append_unmasked(&mut scratch.masked, bytes, key);
                &scratch.masked
            }
            Payload::Whole(bytes) => bytes,
        };
        let inflater = match own {
            Some(own) => own,
            None => {
                let shared = self.inflater.get_or_insert_default();
                shared.reset();
                shared
            }
        };
        inflater.inflate(bytes, message_bytes_max, &mut scratch.plain)
    }

    /// The compressed form of `message` for the topic's deflated view, if it
    /// has readers and the message is worth it.
    pub fn deflate<'a>(
        &'a mut self,
        topic: &Topic,
        message: &[u8],
        level: u32,
        bytes_min: usize,
    ) -> Option<Compressed<'a>> {
        let window_bits = topic.window_bits()?;
        if message.len() < bytes_min {
            return None;
        }
        let deflater = self.deflater.get_or_insert_with(|| Deflater::new(level));
        deflater.set_level(level);
        let payload = deflater.deflate(message, window_bits)?;
        Some(Compressed {
            payload,
            window_bits,
        })
    }

    /// Lends the scratch memory out; to be given back.
    pub fn lend(&mut self) -> Scratch {
        std::mem::take(&mut self.scratch)
    }

    pub fn give_back(&mut self, mut scratch: Scratch) {
        for bytes in [&mut scratch.masked, &mut scratch.plain] {
            if bytes.capacity() > KEPT_BYTES_MAX {
                *bytes = Vec::new();
            }
        }
        self.scratch = scratch;
    }
}

impl Scratch {
    /// The plain bytes of a message that came as it is.
    pub fn unmask(&mut self, bytes: &[u8], key: [u8; 4]) {
        self.plain.clear();
        mask::append_unmasked(&mut self.plain, bytes, key);
    }

    pub fn plain(&self) -> &[u8] {
        &self.plain
    }
}

/// Which view a connection with this agreement reads.
pub fn view_of(window_bits: u8) -> ViewKind {
    if window_bits == 0 {
        ViewKind::Raw
    } else {
        ViewKind::Deflated
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::protocol::ws::deflate::WINDOW_BITS_MAX;

    #[test]
    fn a_changed_level_holds_from_the_next_message_on() {
        let topic = Topic::new("t".into(), 1, 1, Arc::default());
        topic.add_inflating_reader(WINDOW_BITS_MAX);
        let words = (0..4000).map(|n| format!("word {} of {} ", n % 613, n % 97));
        let message: String = words.collect();
        let mut codec = Codec::default();
        let mut len = |level| {
            let compressed = codec.deflate(&topic, message.as_bytes(), level, 0);
            compressed.expect("it is shorter").payload.len()
        };
        let (fast, small) = (len(1), len(9));
        assert!(small < fast, "{small} is not less than {fast}");
        assert_eq!(len(1), fast);
    }
}
