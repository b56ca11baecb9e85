//! Keys lie in the memory of a process that speaks TLS, or goes on with the connections of one that did.

use rustix::process::{DumpableBehavior, set_dumpable_behavior};

/// From now on this process leaves no dump behind, and other processes of its user do not see into it
/// (`PR_SET_DUMPABLE`). To be called before the first key is there.
pub fn keep_memory_to_itself() {
    match set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        Ok(()) => {
            tracing::debug!("this process can neither be dumped nor traced: it has keys of TLS")
        }
        Err(error) => tracing::warn!(%error, "others of this user could read keys from memory"),
    }
}
