//! Whether the end of this process would be that of everything around it.

use std::fs;

use nix::unistd::{Pid, getppid};

/// What container runtimes put before a program as process 1 (`--init`). They end
/// with the program that they have started.
const INITS: [&str; 5] = [
    "tini",
    "docker-init",
    "podman-init",
    "catatonit",
    "dumb-init",
];

/// Why no other process can take this one's place, if that is so.
pub(super) fn why_irreplaceable() -> Option<String> {
    let init = fs::read_to_string("/proc/1/comm").unwrap_or_default();
    let depends = depends_on_us(Pid::this(), getppid(), init.trim());
    depends.then(|| {
        "the container ends with this process, so that no other one can take its place: \
         start a new container beside it, then stop this one"
            .to_owned()
    })
}

fn depends_on_us(own: Pid, parent: Pid, init: &str) -> bool {
    let first = Pid::from_raw(1);
    own == first || parent == first && INITS.contains(&init)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_ends_with_its_first_process_and_with_that_ones_only_child() {
        let depends =
            |own, parent, init| depends_on_us(Pid::from_raw(own), Pid::from_raw(parent), init);
        assert!(depends(1, 0, "fanfare"));
        assert!(depends(2, 1, "catatonit"));
        // A service manager, or a shell in between, lives on.
        assert!(!depends(2, 1, "systemd"));
        assert!(!depends(7, 6, "catatonit"));
        assert_eq!(why_irreplaceable(), None);
    }
}
