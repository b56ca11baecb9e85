//! How much memory this process may use: the limit of its control groups, or what
//! the machine has.
//!
//! Read once for the defaults that follow it, by `value`, and by `service` to tell
//! the user.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Memory in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    pub bytes: u64,
    /// A control group allows less than the machine has.
    pub is_limited: bool,
}

/// What this process may use, as it was when it was asked for first; `None`
/// where nothing tells.
pub fn memory() -> Option<Memory> {
    static MEMORY: OnceLock<Option<Memory>> = OnceLock::new();
    *MEMORY.get_or_init(|| measure(Path::new("/")))
}

/// As seen from `root`.
fn measure(root: &Path) -> Option<Memory> {
    let read = |path: &Path| fs::read_to_string(root.join(path)).ok();
    let machine = read(Path::new("proc/meminfo")).and_then(|text| total(&text));
    let groups = read(Path::new("proc/self/cgroup")).unwrap_or_default();
    let limits = limit_files(&groups);
    // The narrowest of all that a group lies in.
    let limit = limits
        .iter()
        .filter_map(|path| read(path)?.trim().parse::<u64>().ok())
        .min();
    match (limit, machine) {
        (Some(limit), Some(machine)) if limit >= machine => Some((machine, false)),
        (Some(limit), _) => Some((limit, true)),
        (None, machine) => machine.map(|machine| (machine, false)),
    }
    .map(|(bytes, is_limited)| Memory { bytes, is_limited })
}

/// `MemTotal` of /proc/meminfo.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"));
    let kib: u64 = line?.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// The files with the limits of all control groups that this process is in,
/// innermost first (cgroups(7)); without a limit they hold a word, or a number
/// beyond any machine's.
fn limit_files(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        let (mount, name) = match controllers {
            "" => ("sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        // Inside a container the mount may begin at its own group, whatever the path says.
        let inside = Path::new(path.trim_start_matches('/'));
        files.extend(
            inside
                .ancestors()
                .map(|group| Path::new(mount).join(group).join(name)),
        );
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// A machine of 8 GiB with these files.
    fn measured(files: &[(&str, &str)]) -> Option<Memory> {
        let root = tempfile::tempdir().unwrap();
        let meminfo = [(
            "proc/meminfo",
            "MemTotal:        8388608 kB\nMemFree: 1 kB\n",
        )];
        for (path, text) in meminfo.iter().chain(files) {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        measure(root.path())
    }

    fn limited(bytes: u64) -> Option<Memory> {
        let is_limited = true;
        Some(Memory { bytes, is_limited })
    }

    #[test]
    fn the_narrowest_group_counts() {
        let service = "sys/fs/cgroup/system.slice/fanfare.service/memory.max";
        let slice = "sys/fs/cgroup/system.slice/memory.max";
        let groups = ("proc/self/cgroup", "0::/system.slice/fanfare.service\n");
        let of = |own, all| measured(&[groups, (service, own), (slice, all)]);
        assert_eq!(of("536870912\n", "max\n"), limited(512 * MIB));
        assert_eq!(of("max\n", "104857600\n"), limited(100 * MIB));
        assert_eq!(of("536870912\n", "104857600\n"), limited(100 * MIB));
        let all = Memory {
            bytes: 8192 * MIB,
            is_limited: false,
        };
        assert_eq!(of("max\n", "max\n"), Some(all));
        assert_eq!(of("99999999999999\n", "max\n"), Some(all));
    }

    #[test]
    fn a_containers_own_group_is_at_the_mount() {
        let own = ("sys/fs/cgroup/memory.max", "536870912\n");
        for path in ["0::/\n", "0::/docker/0123\n", "0::/../../kubepods/x\n"] {
            let files = [("proc/self/cgroup", path), own];
            assert_eq!(measured(&files), limited(512 * MIB), "{path}");
        }
    }

    #[test]
    fn the_older_kind_of_groups_is_understood() {
        let groups = "12:cpu,cpuacct:/a\n9:memory:/docker/0123\n0::/b\n";
        let limit = ("sys/fs/cgroup/memory/memory.limit_in_bytes", "268435456\n");
        let found = measured(&[("proc/self/cgroup", groups), limit]);
        assert_eq!(found, limited(256 * MIB));
        let none = (
            "sys/fs/cgroup/memory/docker/0123/memory.limit_in_bytes",
            "9223372036854771712\n",
        );
        let found = measured(&[("proc/self/cgroup", groups), none]);
        assert!(!found.unwrap().is_limited);
    }

    #[test]
    fn where_nothing_tells_nothing_is_known() {
        assert_eq!(measure(Path::new("/no/such/root")), None);
    }
}
