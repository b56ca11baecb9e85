//! The commands for the shell over TLS.

use crate::common::Daemon;
use crate::shell::{Subscriber, assert_done, assert_ends, await_subscribers, publish, run};
use crate::tls_world::Authority;

/// A daemon that speaks TLS on a free port as `localhost`.
fn daemon(authority: &Authority) -> Daemon {
    authority.sign("server", &["localhost"]);
    let certificates = authority.table("server");
    Daemon::start(&[
        "--listen-tls",
        "127.0.0.1:0",
        "--tls-certificates",
        &certificates,
    ])
}

#[test]
fn a_server_is_trusted_by_its_authority_or_blindly_or_not_at_all() {
    let authority = Authority::new();
    let daemon = daemon(&authority);
    let port = daemon.tls_addresses[0].port();
    let url = format!("wss://localhost:{port}");
    let ca = authority.write_root();
    let ca = ca.to_str().unwrap();
    for words in [&["--ca", ca][..], &["--insecure"]] {
        let all = [&["--server", &url, "a", "-n", "1"], words].concat();
        let mut heard = Subscriber::start(&all);
        await_subscribers(&daemon, "a", 1);
        assert_done(&publish(&daemon, &["a", "sealed"], b""));
        assert_eq!(heard.rest(), "sealed\n");
        assert_eq!(heard.code(), Some(0));
        await_subscribers(&daemon, "a", 0);
    }
    let stranger = Authority::new();
    let other = stranger.write_root();
    let other = other.to_str().unwrap();
    let refused = run(&["subscribe", "--server", &url, "a", "--ca", other], b"");
    assert_ends(&refused, 3, "TLS");
    let missing = run(
        &["subscribe", "--server", &url, "a", "--ca", "/no/such/file"],
        b"",
    );
    assert_ends(&missing, 2, "cannot read /no/such/file");
}
