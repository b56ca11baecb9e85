//! Certificates that are renewed while connections are there, and those that cannot be used.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use nix::sys::signal::Signal;

use crate::common::{Daemon, eventually};
use crate::tls_world::{Authority, ask, get, is_resumed, leaf, shake, write_settings};

/// A daemon whose certificates stand in a file of settings.
struct Renewing {
    daemon: Daemon,
    authority: Authority,
}

impl Renewing {
    fn start() -> Renewing {
        let authority = Authority::new();
        authority.sign("own", &["localhost"]);
        let settings = authority.path("fanfare.toml");
        write_settings(&settings, &authority, &["own"]);
        let options = ["--listen-tls", "127.0.0.1:0", "--config"];
        let daemon = Daemon::start(&[&options[..], &[settings.to_str().unwrap()]].concat());
        Renewing { daemon, authority }
    }

    fn shown(&self) -> rustls::pki_types::CertificateDer<'static> {
        let tls = shake(&self.daemon, self.authority.client(), "localhost").unwrap();
        leaf(&tls)
    }

    fn failed_reloads(&self) -> u64 {
        self.daemon.metric("fanfare_tls_reload_failures_total")
    }
}

#[test]
fn a_new_certificate_is_shown_after_a_reload_and_nobody_is_dropped() {
    let renewing = Renewing::start();
    let Renewing { daemon, authority } = &renewing;
    let mut held = shake(daemon, authority.client(), "localhost").unwrap();
    held.write_all(b"GET /healthz HTTP/1.1\r\n").unwrap();
    held.flush().unwrap();
    let before = renewing.shown();
    // Under another name: that of the files that are named is not looked at.
    let newer = authority.sign("newer", &["localhost"]);
    write_settings(&authority.path("fanfare.toml"), authority, &["newer"]);
    daemon.signal(Signal::SIGHUP);
    daemon.await_log("settings read again: applied tls_certificates", 1);
    assert_eq!(renewing.shown(), newer);
    assert_ne!(before, newer);
    assert!(ask(&mut held, "Host: localhost\r\n\r\n").ends_with("ok\n"));
}

#[test]
fn a_certificate_that_changes_in_its_file_is_shown_without_a_reload() {
    let renewing = Renewing::start();
    let Renewing { daemon, authority } = &renewing;
    let client = Arc::new(authority.client());
    let mut first = shake(daemon, client.clone(), "localhost").unwrap();
    ask(&mut first, &get("/healthz"));
    let newer = authority.sign("own", &["localhost"]);
    daemon.await_log("the certificates of TLS have changed", 1);
    assert_eq!(renewing.shown(), newer);
    // Who was here before need not shake hands anew.
    assert!(is_resumed(&shake(daemon, client, "localhost").unwrap()));
    assert_eq!(renewing.failed_reloads(), 0);
}

#[test]
fn a_key_that_does_not_fit_changes_nothing_and_is_told() {
    let renewing = Renewing::start();
    let Renewing { daemon, authority } = &renewing;
    let before = renewing.shown();
    authority.sign("other", &["localhost"]);
    fs::copy(authority.path("other.key"), authority.path("own.key")).unwrap();
    daemon.await_log("the certificates of TLS stay as they were", 1);
    assert_eq!(renewing.failed_reloads(), 1);
    daemon.signal(Signal::SIGHUP);
    daemon.await_log("does not belong to the first certificate", 2);
    eventually("it is counted", || renewing.failed_reloads() == 2);
    assert_eq!(renewing.shown(), before);
    // The certificate follows its key.
    fs::copy(authority.path("other.pem"), authority.path("own.pem")).unwrap();
    daemon.await_log("the certificates of TLS have changed", 1);
    assert_ne!(renewing.shown(), before);
    // A file that goes away for a while is no reason to let go of what it held.
    fs::remove_file(authority.path("own.pem")).unwrap();
    eventually("it is missed", || renewing.failed_reloads() == 3);
    renewing.shown();
}

#[test]
fn settings_without_a_certificate_change_nothing() {
    let renewing = Renewing::start();
    let before = renewing.shown();
    fs::write(renewing.authority.path("fanfare.toml"), "").unwrap();
    renewing.daemon.signal(Signal::SIGHUP);
    renewing
        .daemon
        .await_log("listen_tls needs a certificate", 1);
    assert_eq!(renewing.shown(), before);
}

#[test]
fn the_time_until_a_certificate_expires_is_told() {
    let renewing = Renewing::start();
    let path = renewing.authority.path("own.pem");
    let name = format!(
        "fanfare_tls_certificate_expiry_seconds{{chain_file=\"{}\"}} ",
        path.display()
    );
    let (_, text) = renewing.daemon.ask("GET /metrics");
    let line = text.lines().find_map(|line| line.strip_prefix(&name));
    let left_s: f64 = line.unwrap().parse().unwrap();
    assert!(left_s > 1e6, "{left_s}");
}

/// What `check-config` says of a file of settings.
fn checked(text: &str, folder: &Path) -> (bool, String) {
    let path = folder.join("checked.toml");
    fs::write(&path, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanfare"));
    let output = command.arg("check-config").arg(&path).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

#[test]
fn certificates_are_checked_with_the_settings() {
    use std::os::unix::fs::PermissionsExt;
    let authority = Authority::new();
    authority.sign("own", &["localhost"]);
    authority.sign("other", &["localhost"]);
    let folder = authority.folder.path();
    let listen = "listen_tls = [\"127.0.0.1:8443\"]\n";
    let (is_right, said) = checked(listen, folder);
    assert!(
        !is_right && said.contains("listen_tls needs a certificate"),
        "{said}"
    );
    let table = |chain: &str, key: &str| {
        let (chain, key) = (folder.join(chain), folder.join(key));
        format!("[[tls_certificates]]\nchain_file = {chain:?}\nkey_file = {key:?}\n")
    };
    let (is_right, said) = checked(
        &format!("{listen}{}", table("own.pem", "other.key")),
        folder,
    );
    assert!(
        !is_right && said.contains(", line 2: tls_certificates: "),
        "{said}"
    );
    assert!(said.contains("does not belong"), "{said}");
    let key = folder.join("own.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let right = format!("{listen}{}", table("own.pem", "own.key"));
    let (is_right, said) = checked(&right, folder);
    assert!(is_right && said.lines().count() == 1, "{said}");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let (is_right, said) = checked(&right, folder);
    assert!(
        is_right && said.contains("can be read by everybody"),
        "{said}"
    );
}

#[test]
fn a_client_that_left_no_close_notify_is_let_go() {
    let renewing = Renewing::start();
    let mut tls = shake(&renewing.daemon, renewing.authority.client(), "localhost").unwrap();
    tls.write_all(b"GET / HT").unwrap();
    tls.flush().unwrap();
    tls.sock.shutdown(std::net::Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    let _ = tls.sock.read_to_end(&mut rest);
    eventually("it is gone", || {
        renewing.daemon.metric("fanfare_handshakes_in_flight") == 0
    });
}
