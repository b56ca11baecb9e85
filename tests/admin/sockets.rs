//! Where the listener can be, and where not.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use nix::sys::signal::Signal;

use crate::client::{Admin, Daemon, command};

#[test]
fn on_a_unix_socket_all_is_as_on_a_port() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    // One is left over from a daemon that was killed.
    drop(UnixListener::bind(&path).unwrap());
    let at = format!("unix:{}", path.display());
    let daemon = Daemon::start_at(&at, &[]);
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(daemon.get("/healthz").body, "ok\n");
    let any_host = ["Host: fanfare"];
    assert_eq!(
        daemon
            .ask("POST /topics/t/messages", &any_host, b"x")
            .status,
        200
    );

    // A second daemon does not take it away.
    let second = command(&["--admin", &at]).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let sentence = String::from_utf8(second.stderr).unwrap();
    assert!(
        sentence.contains("somebody answers there already"),
        "{sentence}"
    );
    assert_eq!(daemon.get("/readyz").status, 200);

    daemon.signal(Signal::SIGTERM);
    assert!(daemon.wait().success());
    assert!(!path.exists());
}

#[test]
fn a_port_that_is_taken_stops_the_daemon_with_a_sentence() {
    let daemon = Daemon::start(&[]);
    let Admin::Tcp(address) = &daemon.admin else {
        unreachable!()
    };
    let second = command(&["--admin", address]).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert_eq!(second.stdout, b"");
    let sentence = String::from_utf8(second.stderr).unwrap();
    let expected = format!("cannot listen on {address}: address already in use");
    assert!(sentence.contains(&expected), "{sentence}");
    assert!(sentence.contains("try --admin"), "{sentence}");
}

#[test]
fn a_token_file_that_cannot_be_read_stops_the_daemon_with_a_sentence() {
    let options = [
        "--admin",
        "127.0.0.1:0",
        "--admin-token-file",
        "/no/such/token",
    ];
    let daemon = command(&options).output().unwrap();
    assert!(!daemon.status.success());
    let sentence = String::from_utf8(daemon.stderr).unwrap();
    assert!(sentence.contains("/no/such/token"), "{sentence}");
}

#[test]
fn each_address_serves_what_its_roles_are_for() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| format!("unix:{}", folder.path().join(name).display());
    let both = place("both");
    let options = [
        "--metrics",
        &place("metrics"),
        "--metrics",
        &both,
        "--api",
        &both,
    ];
    let _daemon = Daemon::start_at(&place("admin"), &options);
    let ask = |name: &str| {
        let admin = Admin::Unix(folder.path().join(name));
        let requests = [
            "GET /metrics",
            "POST /topics/t/messages",
            "GET /connections",
            "GET /readyz",
        ];
        requests.map(|request| admin.ask(request, &[], b"x").status)
    };
    assert_eq!(ask("admin"), [200; 4]);
    assert_eq!(ask("both"), [200; 4]);
    assert_eq!(ask("metrics"), [200, 403, 403, 200]);
    for name in ["both", "metrics"] {
        let refused = Admin::Unix(folder.path().join(name)).ask("POST /upgrade", &[], b"");
        refused.refuses(403, "ask at one that is for admin");
    }
}
