//! Tells at the start, in the log, how the memory settings stand to the memory that
//! this process may use.
//!
//! Changes nothing. Called by `service`.

use crate::config::{Memory, Settings, Size};
use crate::ring::BUFFER_BYTES;

/// Says what the settings may take of the memory there is, where it is little, or
/// they may take more.
pub(super) fn tell(settings: &Settings, memory: Option<Memory>) {
    let Some(memory) = memory else {
        return;
    };
    let wanted = wanted_bytes(settings);
    let rounded = |bytes: u64| Size(bytes >> 20 << 20);
    let (logs, partial) = (
        Size(settings.log_bytes_total_max as u64),
        Size(settings.partial_bytes_max as u64),
    );
    if wanted > memory.bytes {
        tracing::warn!(
            memory = %rounded(memory.bytes),
            wanted = %rounded(wanted),
            "log_bytes_total_max ({logs}), partial_bytes_max ({partial}) and the receive buffers \
             together may take more than the memory that this process may use"
        );
    } else if memory.is_limited {
        tracing::info!(
            memory = %rounded(memory.bytes),
            log_bytes_total_max = %logs,
            partial_bytes_max = %partial,
            "the memory of this process is limited; settings that are auto follow it"
        );
    }
}

/// What a full daemon holds, but for its connections.
fn wanted_bytes(settings: &Settings) -> u64 {
    let buffers = settings.cores * usize::from(settings.receive_buffers) * BUFFER_BYTES;
    (settings.log_bytes_total_max + settings.partial_bytes_max + buffers) as u64
}
