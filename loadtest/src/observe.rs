//! What the server costs, as /proc shows it: processor time and memory of a
//! process and all its children, and the kernel's own memory.

use std::collections::HashMap;
use std::fs;

use serde::{Deserialize, Serialize};

/// What a process tree has used so far.
#[derive(Debug, Default, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Time on a processor, from the scheduler's statistics of each thread.
    pub run_ns: u64,
    /// The same as the accounting splits it, in ticks of 10 ms.
    pub user_ns: u64,
    pub system_ns: u64,
    pub resident_bytes: u64,
}

impl Usage {
    /// Processor time since `earlier`. A thread that has ended takes its exact
    /// statistics with it; then the coarse ones are all there is.
    pub fn cpu_ns_since(&self, earlier: &Usage) -> u64 {
        let coarse = self.split_ns() - earlier.split_ns().min(self.split_ns());
        match self.run_ns.checked_sub(earlier.run_ns) {
            Some(exact) if exact + 50_000_000 >= coarse => exact,
            _ => coarse,
        }
    }

    /// The share of processor time since `earlier` that was not the kernel's.
    pub fn user_share_since(&self, earlier: &Usage) -> f64 {
        let user = self.user_ns.saturating_sub(earlier.user_ns) as f64;
        let system = self.system_ns.saturating_sub(earlier.system_ns) as f64;
        if user + system > 0.0 {
            user / (user + system)
        } else {
            0.0
        }
    }

    fn split_ns(&self) -> u64 {
        self.user_ns + self.system_ns
    }
}

/// What the process and its children use; `None` once it is gone.
pub fn usage(pid: u32) -> Option<Usage> {
    fs::metadata(format!("/proc/{pid}")).ok()?;
    let mut all = Usage::default();
    for pid in tree(pid) {
        add(pid, &mut all);
    }
    Some(all)
}

fn add(pid: u32, all: &mut Usage) -> Option<()> {
    let fields = stat(pid)?;
    let tick_ns = 10_000_000;
    all.user_ns += fields.get(11)?.parse::<u64>().ok()? * tick_ns;
    all.system_ns += fields.get(12)?.parse::<u64>().ok()? * tick_ns;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    all.resident_bytes += kib(&status, "VmRSS:").unwrap_or(0) << 10;
    for task in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        let first = text.split_whitespace().next();
        all.run_ns += first.and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
    }
    Some(())
}

/// The fields of /proc/PID/stat after the name, which may contain anything.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(") ")?;
    Some(rest.split_whitespace().map(str::to_string).collect())
}

fn tree(root: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        let Some(pid) = pid else { continue };
        let parent = stat(pid).and_then(|fields| fields.get(1)?.parse().ok());
        if let Some(parent) = parent {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        found.extend(children.get(pid).into_iter().flatten().copied());
        next += 1;
    }
    found
}

/// Memory that the kernel holds for sockets and its own objects, of the whole
/// machine: only its growth says something.
pub fn kernel_bytes() -> u64 {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let sockstat = fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    let tcp = sockstat.lines().find(|line| line.starts_with("TCP:"));
    let pages = tcp.and_then(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
    (kib(&meminfo, "Slab:").unwrap_or(0) << 10) + pages.unwrap_or(0) * 4096
}

fn kib(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with(key))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// The machine, in a line.
pub fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease");
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find(|line| line.starts_with("model name"));
    let model = model
        .and_then(|line| line.split(": ").nth(1))
        .unwrap_or("processor");
    let count = std::thread::available_parallelism().map_or(1, |count| count.get());
    format!("Linux {}, {count} x {model}", kernel.trim())
}
