//! Sealing the records of one send.

use super::content::ContentType;
use super::record::Cipher;

/// An expanded key, for the records of one send. Which number has which content is for the
/// caller to remember: the same number with the same content gives the same bytes, and with
/// another content it gives the key away.
pub struct Sealer(Cipher);

impl Sealer {
    pub(super) fn new(cipher: Cipher) -> Sealer {
        Sealer(cipher)
    }

    /// Appends record `number` to `out`: the header, what `fill` appends (at most
    /// [`PLAIN_BYTES_MAX`](super::PLAIN_BYTES_MAX) bytes), encrypted in place, the tag.
    ///
    /// # Panics
    /// `fill` has appended more, or taken something away; or `number` is beyond what one key
    /// may ever seal, far above the bound of `Traffic::records_left`.
    pub fn seal(
        &self,
        number: u64,
        kind: ContentType,
        out: &mut Vec<u8>,
        fill: impl FnOnce(&mut Vec<u8>),
    ) {
        self.0.seal(number, kind, out, fill);
    }
}
