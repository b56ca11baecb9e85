//! What the server's processes use of time and memory, and what the kernel holds
//! for sockets, read from /proc.
//!
//! Nothing is asked of the server itself. Called by `fleet` at each interval, and
//! by the scenarios.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::ErrorKind;

use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// Time and memory of a process and all its descendants at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Time on a processor of all threads, ended ones too, in nanoseconds.
    pub run_ns: u64,
    /// The same from the 10 ms ticks.
    pub user_ns: u64,
    pub system_ns: u64,
    /// Resident memory; a page shared by two processes counts twice.
    pub resident_bytes: u64,
    pub processes: u64,
    pub threads: u64,
}

impl Usage {
    /// Processor time since `before`, in nanoseconds.
    pub fn cpu_ns_since(&self, before: &Usage) -> u64 {
        self.run_ns.saturating_sub(before.run_ns)
    }

    /// The share of user time since `before`, from the ticks; `None` if there are too few to tell.
    pub fn user_share_since(&self, before: &Usage) -> Option<f64> {
        let user = self.user_ns.saturating_sub(before.user_ns);
        let system = self.system_ns.saturating_sub(before.system_ns);
        let known = user + system >= SHARE_TICKS_MIN * TICK_NS;
        known.then(|| user as f64 / (user + system) as f64)
    }
}

/// A process and its descendants.
pub struct Watched {
    pids: Vec<i32>,
    /// What each of them had used when last seen: the time of one that has ended is
    /// not taken back.
    used: RefCell<HashMap<i32, Used>>,
}

#[derive(Clone, Copy, Default)]
struct Used {
    run_ns: u64,
    user_ns: u64,
    system_ns: u64,
}

impl Watched {
    /// `None` if there is no such process.
    pub fn new(pid: i32) -> Option<Watched> {
        let mut watched = Watched {
            pids: vec![pid],
            used: RefCell::default(),
        };
        watched.find_children();
        let alive = watched.usage().threads > 0;
        alive.then_some(watched)
    }

    /// Looks again for processes that were started since.
    pub fn find_children(&mut self) {
        let root = self.pids[0];
        let mut parents = Vec::new();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse().ok()) else {
                continue;
            };
            if let Some(fields) = stat_fields(pid) {
                parents.push((pid, fields.parent));
            }
        }
        self.pids = descendants(root, &parents);
    }

    /// Whether one of the processes holds a TCP socket that listens on this port;
    /// `None` if their sockets may not be looked at.
    pub fn listens_at(&self, port: u16) -> Option<bool> {
        let root = self.pids[0];
        let mut listening = HashSet::new();
        for table in ["tcp", "tcp6"] {
            let text = fs::read_to_string(format!("/proc/{root}/net/{table}")).ok()?;
            listening.extend(text.lines().filter_map(|line| listener(line, port)));
        }
        let mut found = false;
        for pid in &self.pids {
            let files = match fs::read_dir(format!("/proc/{pid}/fd")) {
                Ok(files) => files,
                // It has ended since it was found.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(_) => return None,
            };
            for entry in files.flatten() {
                let Ok(file) = fs::read_link(entry.path()) else {
                    continue;
                };
                let inode = file.to_str().and_then(socket_inode);
                found |= inode.is_some_and(|inode| listening.contains(&inode));
            }
        }
        Some(found)
    }

    pub fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        for pid in &self.pids {
            let Some(fields) = stat_fields(*pid) else {
                continue;
            };
            usage.processes += 1;
            usage.resident_bytes += resident_bytes(*pid).unwrap_or(0);
            usage.threads += fields.threads;
            let mut used = self.used.borrow_mut();
            let used = used.entry(*pid).or_default();
            used.run_ns = run_ns(*pid).unwrap_or(used.run_ns);
            used.user_ns = fields.user_ticks * TICK_NS;
            used.system_ns = fields.system_ticks * TICK_NS;
        }
        for used in self.used.borrow().values() {
            usage.run_ns += used.run_ns;
            usage.user_ns += used.user_ns;
            usage.system_ns += used.system_ns;
        }
        usage
    }
}

/// USER_HZ is 100 on every Linux that this tool runs on.
const TICK_NS: u64 = 10_000_000;
/// Fewer ticks than these say nothing about shares.
const SHARE_TICKS_MIN: u64 = 20;

struct StatFields {
    parent: i32,
    user_ticks: u64,
    system_ticks: u64,
    threads: u64,
}

fn stat_fields(pid: i32) -> Option<StatFields> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse_stat(line: &str) -> Option<StatFields> {
    // The name in parentheses may hold spaces and parentheses itself.
    let rest = line.get(line.rfind(')')? + 2..)?;
    let fields: Vec<&str> = rest.split(' ').collect();
    Some(StatFields {
        parent: fields.get(1)?.parse().ok()?,
        user_ticks: fields.get(11)?.parse().ok()?,
        system_ticks: fields.get(12)?.parse().ok()?,
        threads: fields.get(17)?.parse().ok()?,
    })
}

fn descendants(root: i32, parents: &[(i32, i32)]) -> Vec<i32> {
    let mut found = vec![root];
    let mut at = 0;
    while at < found.len() {
        let children = parents.iter().filter(|(_, parent)| *parent == found[at]);
        let children: Vec<i32> = children.map(|(pid, _)| *pid).collect();
        found.extend(children);
        at += 1;
    }
    found
}

/// The inode of a line of `/proc/PID/net/tcp`, if that is a socket which listens on the port.
fn listener(line: &str, port: u16) -> Option<u64> {
    const LISTEN: &str = "0A";
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (_, local_port) = fields.get(1)?.rsplit_once(':')?;
    let matches = u16::from_str_radix(local_port, 16).ok()? == port && *fields.get(3)? == LISTEN;
    fields.get(9).filter(|_| matches)?.parse().ok()
}

/// What a link in `/proc/PID/fd` that is called `socket:[INODE]` says.
fn socket_inode(link: &str) -> Option<u64> {
    let inode = link.strip_prefix("socket:[")?.strip_suffix(']')?;
    inode.parse().ok()
}

/// The clock of a process's time on processors, which any process may read.
fn run_ns(pid: i32) -> Option<u64> {
    let clock = clock_getcpuclockid(Pid::from_raw(pid)).ok()?;
    let time = clock_gettime(clock).ok()?;
    Some(time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
}

fn resident_bytes(pid: i32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    kib_line(&status, "VmRSS:")
}

/// Memory that the kernel holds for everybody's sockets; only the difference of
/// two moments on an otherwise quiet machine says something.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct KernelMemory {
    pub slab_bytes: u64,
    pub tcp_bytes: u64,
    /// Of the whole machine, less what can be given back.
    pub used_bytes: u64,
}

impl KernelMemory {
    pub fn now() -> KernelMemory {
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let sockstat = fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
        let get = |name| kib_line(&meminfo, name).unwrap_or(0);
        KernelMemory {
            slab_bytes: get("Slab:"),
            tcp_bytes: tcp_pages(&sockstat).unwrap_or(0) * 4096,
            used_bytes: get("MemTotal:").saturating_sub(get("MemAvailable:")),
        }
    }
}

fn kib_line(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

fn tcp_pages(sockstat: &str) -> Option<u64> {
    let line = sockstat.lines().find(|line| line.starts_with("TCP:"))?;
    let mut words = line.split_whitespace().skip_while(|word| *word != "mem");
    words.nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_process_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let line = "42 (a) b (c)) S 7 42 42 0 -1 4194560 1 2 3 4 150 250 0 0 20 0 3 0 99";
        let fields = parse_stat(line).unwrap();
        assert_eq!(
            (
                fields.parent,
                fields.user_ticks,
                fields.system_ticks,
                fields.threads
            ),
            (7, 150, 250, 3)
        );
    }

    #[test]
    fn grandchildren_belong_to_the_tree_and_others_do_not() {
        let parents = [(2, 1), (3, 2), (4, 9), (5, 3)];
        assert_eq!(descendants(2, &parents), [2, 3, 5]);
    }

    #[test]
    fn this_process_has_time_and_memory() {
        let own = Watched::new(std::process::id() as i32).unwrap();
        let before = own.usage();
        let mut work = 0u64;
        while own.usage().run_ns == before.run_ns {
            work = std::hint::black_box(work + 1);
        }
        assert!(own.usage().cpu_ns_since(&before) > 0);
        assert!(before.resident_bytes > 0 && before.threads > 0);
    }

    #[test]
    fn the_time_of_a_process_that_has_ended_is_not_taken_back() {
        let work = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; read end";
        let mut child = Command::new("sh")
            .args(["-c", work])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut watched = Watched::new(std::process::id() as i32).unwrap();
        let pid = child.id() as i32;
        let used = |watched: &Watched| watched.used.borrow().get(&pid).map(|used| used.run_ns);
        while used(&watched).is_none_or(|ns| ns < 1_000_000) {
            watched.find_children();
            watched.usage();
        }
        let before = watched.usage();
        drop(child.stdin.take());
        child.wait().unwrap();
        watched.find_children();
        assert!(watched.usage().run_ns >= before.run_ns);
        assert!(used(&watched) >= Some(1_000_000));
    }

    #[test]
    fn a_process_that_is_not_there_is_said_to_be_missing() {
        assert!(Watched::new(i32::MAX - 1).is_none());
    }

    #[test]
    fn who_listens_on_a_port_is_known_and_who_does_not() {
        // Other tests have children, which for a moment hold what this process does;
        // and one of those that are watched may have ended.
        let own = Watched {
            pids: vec![std::process::id() as i32, i32::MAX - 1],
            used: RefCell::default(),
        };
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = std::net::TcpListener::bind(address).unwrap();
            let port = listener.local_addr().unwrap().port();
            assert_eq!(own.listens_at(port), Some(true), "{address}");
            drop(listener);
            assert_eq!(own.listens_at(port), Some(false), "{address}");
        }
    }

    #[test]
    fn the_socket_pages_are_found_by_name() {
        let text = "sockets: used 5\nTCP: inuse 4 orphan 0 tw 1 alloc 9 mem 12\nUDP: inuse 0 mem 3";
        assert_eq!(tcp_pages(text), Some(12));
    }
}
