//! Frames as clients send them, for tests.

use super::frame::Opcode;
use crate::mask;

/// The key of all frames made here.
pub(crate) const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A client's frame in the shortest form of its length.
pub(crate) fn client_frame(fin: bool, rsv1: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![u8::from(fin) << 7 | u8::from(rsv1) << 6 | opcode as u8];
    match payload.len() {
        len @ ..=125 => bytes.push(0x80 | len as u8),
        len @ ..=0xFFFF => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&KEY);
    mask::append_unmasked(&mut bytes, payload, KEY);
    bytes
}

/// A whole frame: FIN set, RSV1 not.
pub(crate) fn whole(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    client_frame(true, false, opcode, payload)
}
