//! Compresses messages, each once for all formats that it is compressed for.

use crate::protocol::ws::deflate::Deflater;

/// Compressors that are kept, each for a window size of its own.
pub(super) const COMPRESSORS_MAX: usize = 2;

/// How hard is tried to compress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effort {
    pub level: u32,
    /// Shorter messages are left as they are.
    pub bytes_min: usize,
}

/// How a payload is written where it is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As it is.
    Own,
    /// As a JSON value, where that differs. A coding that writes a payload other than as it
    /// is writes the same as any other that does so.
    Json,
    /// As a JSON string, whatever it is.
    Text,
}

#[derive(Default)]
pub(super) struct Compressors {
    /// The one used last comes first.
    list: Vec<Compressor>,
}

/// A compressor, and what it made of the message at hand in each [`Form`].
struct Compressor {
    window_bits: u8,
    deflater: Deflater,
    made: [Made; 3],
}

#[derive(Default)]
struct Made {
    bytes: Vec<u8>,
    state: State,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Untried,
    /// It is too short, or does not shrink.
    Left,
    Ready,
}

impl Compressors {
    /// The next message is at hand: nothing has been made of it.
    pub(super) fn forget(&mut self) {
        for made in self.list.iter_mut().flat_map(|c| &mut c.made) {
            made.state = State::Untried;
        }
    }

    /// Compresses `data`, which the message at hand is in `form`, unless that has been tried.
    /// Returns how many bytes that saves, if it does.
    pub(super) fn compress(
        &mut self,
        window_bits: u8,
        form: Form,
        data: &[u8],
        effort: Effort,
    ) -> Option<usize> {
        let compressor = self.first(window_bits, effort.level);
        let made = &mut compressor.made[form as usize];
        if made.state == State::Untried {
            made.bytes.clear();
            let long = data.len() >= effort.bytes_min;
            let deflater = &mut compressor.deflater;
            let compressed = long.then(|| deflater.deflate(data, window_bits)).flatten();
            made.bytes.extend_from_slice(compressed.unwrap_or_default());
            made.state = match compressed {
                Some(_) => State::Ready,
                None => State::Left,
            };
        }
        (made.state == State::Ready).then(|| data.len() - made.bytes.len())
    }

    /// What the message at hand has been compressed to.
    pub(super) fn ready(&self, window_bits: u8, form: Form) -> Option<&[u8]> {
        let mut fitting = self.list.iter().filter(|c| c.window_bits == window_bits);
        let made = &fitting.next()?.made[form as usize];
        (made.state == State::Ready).then_some(&made.bytes)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    fn first(&mut self, window_bits: u8, level: u32) -> &mut Compressor {
        let fits = |c: &Compressor| c.window_bits == window_bits;
        let compressor = match self.list.iter().position(fits) {
            Some(at) => self.list.remove(at),
            None => {
                self.list.truncate(COMPRESSORS_MAX - 1);
                Compressor {
                    window_bits,
                    deflater: Deflater::new(level),
                    made: Default::default(),
                }
            }
        };
        self.list.insert(0, compressor);
        let compressor = &mut self.list[0];
        compressor.deflater.set_level(level);
        compressor
    }
}
