//! What the requests to all rings have in common.

use super::Errno;

/// A send that cannot go on is told so; a peer that is gone is no signal.
pub(super) const SEND_FLAGS: i32 = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;

/// What the kernel says of a request.
#[inline]
pub(super) fn result(value: i32) -> Result<u32, Errno> {
    u32::try_from(value).map_err(|_| Errno::from_raw(-value))
}
