//! Records of TLS by other hands than the daemon's: [`naive`] ones by the letter of the RFCs,
//! and rustls' own ([`theirs`]). All keys come from a seed in place of a handshake.

pub mod naive;
pub mod theirs;

use fanfare::protocol::tls::Suite;

/// A cipher in one of the two versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    pub is_13: bool,
    pub suite: Suite,
}

const fn kind(is_13: bool, suite: Suite) -> Kind {
    Kind { is_13, suite }
}

/// All that are spoken.
pub const KINDS: [Kind; 6] = [
    kind(true, Suite::Aes128Gcm),
    kind(true, Suite::Aes256Gcm),
    kind(true, Suite::ChaCha20Poly1305),
    kind(false, Suite::Aes128Gcm),
    kind(false, Suite::Aes256Gcm),
    kind(false, Suite::ChaCha20Poly1305),
];

impl Kind {
    /// A record in it has a nonce in the clear.
    pub fn has_explicit_nonce(self) -> bool {
        !self.is_13 && self.suite != Suite::ChaCha20Poly1305
    }

    /// What a handshake would have agreed on: as many bytes as the suite's hash has.
    fn secret(self, seed: u8) -> Vec<u8> {
        let len = if self.suite == Suite::Aes256Gcm {
            48
        } else {
            32
        };
        (0..len).map(|at: u8| at.wrapping_mul(29) ^ seed).collect()
    }

    fn key_bytes(self) -> usize {
        if self.suite == Suite::Aes128Gcm {
            16
        } else {
            32
        }
    }
}

/// Numbers for the first record, as far as byte lengths and the limits of keys go.
pub const NUMBERS: [u64; 4] = [0, 250, 65_530, 1 << 23];

/// The types of records.
pub mod content {
    pub const CHANGE_CIPHER_SPEC: u8 = 20;
    pub const ALERT: u8 = 21;
    pub const HANDSHAKE: u8 = 22;
    pub const DATA: u8 = 23;
    pub const HEARTBEAT: u8 = 24;
}
