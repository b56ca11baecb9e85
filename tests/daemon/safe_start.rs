//! Where others than programs of this machine get in, nothing is open to all unless the
//! settings say so.

use std::fs;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::{Command, Output, Stdio};

use nix::sys::signal::Signal;

use crate::common::{Daemon, OPEN, command, pass};

/// The line that is missing.
const LINE: &str = r#"add anonymous = [{ match = "**" }]"#;

fn errors(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn an_address_beyond_loopback_takes_a_word_about_who_may_do_what() {
    let start = |more: &[&str]| {
        let mut start = Command::new(env!("CARGO_BIN_EXE_fanfare"));
        start.args(["--listen", "0.0.0.0:0", "--admin", "off", "--cores", "1"]);
        start.args(more);
        start
    };
    let refused = start(&[]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    let told = errors(&refused);
    assert!(
        told.contains("listen (0.0.0.0:0)") && told.contains(LINE),
        "{told}"
    );
    // On loopback nothing has to be said, with a word it starts anywhere.
    let daemon = Daemon::start(&[]);
    pass(&mut daemon.connect("/"), &mut daemon.connect("/"), "open");
    let daemon = Daemon::start(&[&["--listen", "0.0.0.0:0"], &OPEN[..]].concat());
    pass(&mut daemon.connect("/"), &mut daemon.connect("/"), "open");
}

#[test]
fn so_does_one_that_the_service_manager_has_opened() {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let address = listener.local_addr().unwrap();
    let script = r#"export LISTEN_PID=$$ LISTEN_FDS=1; exec 3<&0 "$0" "$@""#;
    let mut start = Command::new("sh");
    start.args(["-c", script, env!("CARGO_BIN_EXE_fanfare")]);
    start.args(["--admin", "off", "--cores", "1"]);
    start.stdin(Stdio::from(OwnedFd::from(listener)));
    let refused = start.output().unwrap();
    // No restart cures that.
    assert_eq!(refused.status.code(), Some(2));
    let told = errors(&refused);
    assert!(
        told.contains(&format!("{address} is beyond this machine")) && told.contains(LINE),
        "{told}"
    );
}

#[test]
fn a_reload_opens_nothing_that_others_get_to() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fanfare.toml");
    fs::write(
        &path,
        "anonymous = [{ match = \"open\", publish = true }]\n",
    )
    .unwrap();
    let mut start = command(&["--trusted-proxies", "127.0.0.1"]);
    start.arg("--config").arg(&path);
    let daemon = Daemon::start_as(start);
    fs::write(&path, "").unwrap();
    daemon.signal(Signal::SIGHUP);
    let line = daemon.await_log("settings unchanged", 1);
    assert!(line.contains("trusted_proxies let others in"), "{line}");
    assert!(daemon.open("/closed", &[]).is_err());
    pass(
        &mut daemon.connect("/open"),
        &mut daemon.connect("/open"),
        "as before",
    );
}

#[test]
fn an_upgrade_is_told_before_anything_is_asked_of_the_daemon() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fanfare.toml");
    fs::write(&path, "listen = \"0.0.0.0:8000\"\n").unwrap();
    let mut upgrade = Command::new(env!("CARGO_BIN_EXE_fanfare"));
    upgrade.arg("upgrade").arg("--config").arg(&path);
    let refused = upgrade.output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    let told = errors(&refused);
    assert!(
        told.contains(", line 1: listen") && told.contains(LINE),
        "{told}"
    );
}
