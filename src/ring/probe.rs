//! Asks the kernel for everything the daemon needs, before anything starts.

use std::fmt;
use std::io;

use io_uring::{IoUring, opcode, squeue};

/// Something of the kernel that the daemon uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Feature {
    pub name: &'static str,
    /// The first Linux that has it.
    pub since: &'static str,
    pub present: bool,
    /// Without it the daemon does not start.
    pub needed: bool,
}

/// What the kernel offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    pub features: Vec<Feature>,
    /// Zero-copy sends say whether they copied (Linux 6.2).
    pub reports_usage: bool,
    /// A connection can be handed to another process (Linux 6.8).
    pub installs: bool,
}

/// Why the daemon cannot run here, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsupported {
    #[error("this kernel has no io_uring: Fanfare needs Linux 6.1 or newer, with CONFIG_IO_URING")]
    Missing,
    #[error(
        "io_uring is switched off (kernel.io_uring_disabled = {0}): \
         set it to 0, as with `sysctl kernel.io_uring_disabled=0`"
    )]
    Disabled(String),
    #[error(
        "io_uring is forbidden here, most likely by a seccomp filter: allow the system calls \
         io_uring_setup, io_uring_enter and io_uring_register \
         (systemd: SystemCallFilter=@system-service; containers: a seccomp profile with them)"
    )]
    Forbidden,
    #[error(
        "this kernel's io_uring lacks {0} (Linux {1}): Fanfare needs Linux 6.1 or newer, \
         this is {2}"
    )]
    Lacks(&'static str, &'static str, String),
    #[error("io_uring cannot be set up: {0}")]
    Other(String),
}

impl Probe {
    /// Asks the running kernel.
    ///
    /// # Errors
    /// The first thing that is missing, with its cure.
    pub fn run() -> Result<Probe, Unsupported> {
        let plain = IoUring::new(4).map_err(|error| refused(&error))?;
        let mut known = io_uring::Probe::new();
        plain
            .submitter()
            .register_probe(&mut known)
            .map_err(|error| refused(&error))?;
        drop(plain);
        let deferred = IoUring::<squeue::Entry>::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .build(4);
        let has = |code: u8| known.is_supported(code);
        // Provided buffer rings came with 5.19 and multishot receive with 6.0;
        // deferred task work, which is newer, vouches for both.
        let deferred = deferred.is_ok();
        let needed = |name, since, present| Feature {
            name,
            since,
            present,
            needed: true,
        };
        let installs = has(opcode::FixedFdInstall::CODE);
        let reports_usage = release() >= (6, 2);
        let features = vec![
            needed(
                "send and receive",
                "5.6",
                has(opcode::Send::CODE) && has(opcode::Recv::CODE),
            ),
            needed("poll", "5.1", has(opcode::PollAdd::CODE)),
            needed("shutdown", "5.11", has(opcode::Shutdown::CODE)),
            needed("close", "5.15", has(opcode::Close::CODE)),
            needed("zero-copy send", "6.0", has(opcode::SendZc::CODE)),
            needed("deferred task work", "6.1", deferred),
            Feature {
                name: "zero-copy usage reports",
                since: "6.2",
                present: reports_usage,
                needed: false,
            },
            Feature {
                name: "handover to a successor",
                since: "6.8",
                present: installs,
                needed: false,
            },
        ];
        match features.iter().find(|f| f.needed && !f.present) {
            Some(missing) => Err(Unsupported::Lacks(
                missing.name,
                missing.since,
                release_name(),
            )),
            None => Ok(Probe {
                features,
                reports_usage,
                installs,
            }),
        }
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Linux {}: io_uring is usable", release_name())?;
        for feature in &self.features {
            let state = match (feature.present, feature.needed) {
                (true, _) => "yes",
                (false, true) => "no, needed",
                (false, false) => "no, optional",
            };
            writeln!(
                f,
                "  {:<26} since {:<5} {state}",
                feature.name, feature.since
            )?;
        }
        Ok(())
    }
}

fn refused(error: &io::Error) -> Unsupported {
    let switch = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
    refusal(error, switch.trim())
}

fn refusal(error: &io::Error, switch: &str) -> Unsupported {
    match error.raw_os_error() {
        Some(libc::ENOSYS) => Unsupported::Missing,
        Some(libc::EPERM | libc::EACCES) if !matches!(switch, "" | "0") => {
            Unsupported::Disabled(switch.to_owned())
        }
        Some(libc::EPERM | libc::EACCES) => Unsupported::Forbidden,
        _ => Unsupported::Other(error.to_string()),
    }
}

fn release_name() -> String {
    nix::sys::utsname::uname()
        .map(|name| name.release().to_string_lossy().into_owned())
        .unwrap_or_default()
}

fn release() -> (u32, u32) {
    parse_release(&release_name())
}

fn parse_release(name: &str) -> (u32, u32) {
    let mut parts = name
        .split(|c: char| !c.is_ascii_digit())
        .map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_its_cure() {
        let error = |code| io::Error::from_raw_os_error(code);
        assert_eq!(refusal(&error(libc::ENOSYS), ""), Unsupported::Missing);
        assert_eq!(refusal(&error(libc::EPERM), "0"), Unsupported::Forbidden);
        assert_eq!(refusal(&error(libc::EPERM), ""), Unsupported::Forbidden);
        let disabled = refusal(&error(libc::EPERM), "2").to_string();
        assert!(
            disabled.contains("kernel.io_uring_disabled = 2"),
            "{disabled}"
        );
    }

    #[test]
    fn a_kernel_release_is_two_numbers() {
        assert_eq!(parse_release("6.18.44-fc-v595"), (6, 18));
        assert_eq!(parse_release("6.1.0-13-amd64"), (6, 1));
        assert_eq!(parse_release("7-rc1"), (7, 0));
    }

    #[test]
    fn this_kernel_is_described() {
        let probe = Probe::run().expect("the tests need what the daemon needs");
        assert!(probe.to_string().contains("deferred task work"));
    }
}
