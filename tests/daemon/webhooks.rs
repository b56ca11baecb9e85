//! Webhooks: the servers of apps are told what happens in their channels, and what is wrong with
//! them is their own matter.

use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::apps::{Apps, PATH, Speaker};
use crate::clustered::node;
use crate::common::{Daemon, Witnesses, command, eventually};
use crate::hook_server::{Answer, HookServer, TAKEN};
use crate::nats_server::Server;
use crate::tokens::SECRET;

/// Topics that are no channels need no token either.
const OPEN: &str = "anonymous = [{ match = \"**\", publish = true }]";

fn hooks(server: &HookServer, more: &str) -> String {
    format!("webhooks = [{{ url = \"{}\"{more} }}]", server.url())
}

fn of_channel(name: &str, channel: &str) -> Value {
    json!({ "name": name, "channel": channel })
}

fn of_member(name: &str, channel: &str, user: &str) -> Value {
    json!({ "name": name, "channel": channel, "user_id": user })
}

/// Whatever order they came in.
fn sorted(mut events: Vec<Value>) -> Vec<Value> {
    events.sort_by_key(Value::to_string);
    events
}

#[test]
fn an_apps_server_is_told_what_happens_in_its_channels() {
    let server = HookServer::start(|_| TAKEN);
    let settings = format!("client_events = true\n{}", hooks(&server, ""));
    let apps = Apps::new(&settings, OPEN);
    let mut ann = apps.connect();
    ann.subscribe("news");
    let occupied = |channel| of_channel("channel_occupied", channel);
    assert_eq!(server.events(1), [occupied("news")]);
    // Subscribers of all protocols count, and topics that are no channels do not.
    let raw = apps.daemon().connect("/news");
    let other = apps.daemon().connect("/a/b");
    ann.join("presence-room", "ann");
    let room = [
        occupied("presence-room"),
        of_member("member_added", "presence-room", "ann"),
    ];
    assert_eq!(
        sorted(server.events(3)[1..].to_vec()),
        sorted(room.to_vec())
    );
    // A second connection of hers is no news.
    let mut again = apps.connect();
    again.join("presence-room", "ann");
    ann.say(r#"{"event":"client-x","channel":"presence-room","data":{"a":1}}"#);
    let said = json!({
        "name": "client_event", "channel": "presence-room", "event": "client-x",
        "data": "{\"a\":1}", "socket_id": ann.id, "user_id": "ann",
    });
    assert_eq!(server.events(4)[3], said);
    ann.subscribe("private-cache-a");
    let miss = r#"{"event":"pusher:cache_miss","channel":"private-cache-a","data":"{}"}"#;
    while ann.hear() != miss {}
    let cache = [
        occupied("private-cache-a"),
        of_channel("cache_miss", "private-cache-a"),
    ];
    assert_eq!(
        sorted(server.events(6)[4..].to_vec()),
        sorted(cache.to_vec())
    );
    drop((ann, other));
    assert_eq!(
        server.events(7)[6],
        of_channel("channel_vacated", "private-cache-a")
    );
    drop((again, raw));
    let left = [
        of_member("member_removed", "presence-room", "ann"),
        of_channel("channel_vacated", "news"),
        of_channel("channel_vacated", "presence-room"),
    ];
    assert_eq!(
        sorted(server.events(10)[7..].to_vec()),
        sorted(left.to_vec())
    );
    let request = &server.requests(1)[0];
    assert_eq!(request.line, "POST /hooks?a=1 HTTP/1.1");
    assert_eq!(request.header("content-type"), "application/json");
    assert_eq!(
        request.header("host"),
        format!("127.0.0.1:{}", server.port())
    );
    eventually("all is counted", || {
        apps.daemon().metric("fanfare_webhook_told_events_total") == 10
    });
    assert_eq!(apps.daemon().metric("fanfare_webhook_events_total"), 10);
    assert_eq!(apps.daemon().metric("fanfare_webhook_failures_total"), 0);
}

#[test]
fn who_comes_back_at_once_has_not_been_away() {
    let server = HookServer::start(|_| TAKEN);
    let apps = Apps::new(&hooks(&server, ""), "");
    let mut ann = apps.connect();
    ann.join("presence-room", "ann");
    server.events(2);
    drop(ann);
    eventually("she has gone", || {
        let connections = |core| {
            apps.daemon()
                .metric(&format!("fanfare_connections{{core=\"{core}\"}}"))
        };
        connections(0) + connections(1) == 0
    });
    let mut ann = apps.connect();
    ann.join("presence-room", "ann");
    // Had it been told that she was away, it would have been before this.
    let mut bob = apps.connect();
    bob.subscribe("news");
    drop(bob);
    let events = server.events(4);
    let news = [
        of_channel("channel_occupied", "news"),
        of_channel("channel_vacated", "news"),
    ];
    assert_eq!(events[2..], news);
}

#[test]
fn only_what_is_wanted_is_told_and_a_reload_changes_it() {
    let (one, two) = (HookServer::start(|_| TAKEN), HookServer::start(|_| TAKEN));
    let (misses, vacated) = (
        ", events = [\"cache_miss\"]",
        ", events = [\"channel_vacated\"]",
    );
    let apps = Apps::new(&hooks(&one, misses), "");
    let mut ann = apps.connect();
    ann.subscribe("news");
    ann.subscribe("cache-a");
    assert_eq!(one.events(1), [of_channel("cache_miss", "cache-a")]);
    // Who has not known is told what is so.
    apps.reload(&hooks(&two, ""), "");
    let occupied = ["cache-a", "news"].map(|channel| of_channel("channel_occupied", channel));
    assert_eq!(sorted(two.events(2)), occupied);
    apps.reload(&hooks(&one, vacated), "");
    apps.daemon().await_log("settings read again", 2);
    ann.say(r#"{"event":"pusher:unsubscribe","data":{"channel":"news"}}"#);
    assert_eq!(one.events(2)[1], of_channel("channel_vacated", "news"));
    assert_eq!(two.events(0).len(), 2);
}

#[test]
fn what_is_not_taken_is_told_again_and_redirects_lead_nowhere() {
    let elsewhere = HookServer::start(|_| TAKEN);
    let location = format!("302 Found\r\nLocation: {}", elsewhere.url());
    let redirect = Answer::Status(location.leak());
    let answers = [Answer::Status("500 Oops"), Answer::Hangup, redirect, TAKEN];
    let server = HookServer::start(move |number| answers[number.min(3)]);
    let apps = Apps::new(&hooks(&server, ""), OPEN);
    let mut witnesses = Witnesses::new(apps.daemon(), "/x/witnesses");
    let mut ann = apps.connect();
    ann.subscribe("news");
    let first = &server.requests(1)[0].events();
    ann.subscribe("more");
    let told = ["news", "more"].map(|channel| of_channel("channel_occupied", channel));
    assert_eq!(server.events(2), told);
    witnesses.check();
    let requests = server.requests(4);
    assert_eq!(first[..], told[..1]);
    for request in &requests {
        assert_eq!(request.events()[0], told[0]);
    }
    assert!(elsewhere.requests(0).is_empty());
    apps.daemon()
        .await_log("a webhook fails: it answers 500", 1);
    eventually("all is counted", || {
        apps.daemon().metric("fanfare_webhook_told_events_total") == 2
    });
    // A connection that was kept may be closed meanwhile: then another one is tried at once.
    assert!(apps.daemon().metric("fanfare_webhook_failures_total") >= 2);
    assert_eq!(apps.daemon().metric("fanfare_webhook_waiting"), 0);
    // What may be a secret in the address is in no log.
    assert_eq!(apps.daemon().count_log("hooks?a"), 0);
}

#[test]
fn a_server_that_is_down_is_told_when_it_is_there() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let url = format!("webhooks = [{{ url = \"http://{address}/\" }}]");
    let apps = Apps::new(&url, "");
    let mut ann = apps.connect();
    ann.subscribe("news");
    eventually("a request fails", || {
        apps.daemon().metric("fanfare_webhook_failures_total") > 0
    });
    assert_eq!(apps.daemon().metric("fanfare_webhook_waiting"), 1);
    let listener = TcpListener::bind(address).unwrap();
    let server = HookServer::on(listener, |_| TAKEN, |stream| Some(Box::new(stream)));
    assert_eq!(server.events(1), [of_channel("channel_occupied", "news")]);
    apps.daemon().await_log("a webhook works again", 1);
}

#[test]
fn an_answer_without_end_and_one_that_does_not_come_hold_up_nobody() {
    let answers = [Answer::Endless, Answer::Silence, TAKEN];
    let server = HookServer::start(move |number| answers[number.min(2)]);
    let other = HookServer::start(|_| TAKEN);
    let both = format!(
        "webhooks = [{{ url = \"{}\" }}, {{ url = \"{}\" }}]",
        server.url(),
        other.url()
    );
    let apps = Apps::new(&both, OPEN);
    let mut witnesses = Witnesses::new(apps.daemon(), "/x/witnesses");
    let mut ann = apps.connect();
    let occupied = |channel| of_channel("channel_occupied", channel);
    // The status is all that counts.
    ann.subscribe("a");
    assert_eq!(server.events(1), [occupied("a")]);
    ann.subscribe("b");
    assert_eq!(server.requests(2)[1].answer, Answer::Silence);
    ann.subscribe("c");
    witnesses.check();
    assert_eq!(other.events(3), ["a", "b", "c"].map(occupied));
    // It is given up in the end.
    assert_eq!(server.events(3), ["a", "b", "c"].map(occupied));
}

#[test]
fn the_next_process_goes_on_with_what_was_not_told() {
    let is_down = Arc::new(AtomicBool::new(false));
    let down = is_down.clone();
    let server = HookServer::start(move |_| match down.load(Ordering::Relaxed) {
        true => Answer::Status("503 Not Now"),
        false => TAKEN,
    });
    let mut apps = Apps::new(&hooks(&server, ""), "");
    let mut ann = apps.connect();
    ann.subscribe("news");
    ann.join("presence-room", "ann");
    server.events(3);
    is_down.store(true, Ordering::Relaxed);
    ann.subscribe("more");
    server.requests(server.requests(0).len() + 1);
    // She goes just before, and is missed by the process that follows.
    let mut bob = apps.connect();
    bob.subscribe("news");
    drop(ann);
    apps.world.daemon.hand_over(1);
    is_down.store(false, Ordering::Relaxed);
    bob.is_quiet();
    let after = [
        of_channel("channel_occupied", "more"),
        of_channel("channel_vacated", "more"),
        of_channel("channel_vacated", "presence-room"),
        of_member("member_removed", "presence-room", "ann"),
    ];
    assert_eq!(sorted(server.events(7)[3..].to_vec()), after);
    // Of those who are still there nothing is told.
    drop(bob);
    assert_eq!(server.events(8)[7], of_channel("channel_vacated", "news"));
    assert_eq!(server.events(0).len(), 8);
}

/// An authority, and a certificate by it for this machine.
fn certificates(folder: &TempDir) {
    let openssl = |args: &str| {
        let made = Command::new("openssl")
            .args(args.split(' '))
            .current_dir(folder)
            .output();
        let made = made.expect("openssl is there");
        assert!(made.status.success(), "{made:?}");
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(&format!(
        "req -x509 {key} -keyout ca.key -out ca.pem -days 30 -subj /CN=authority \
         -addext basicConstraints=critical,CA:TRUE"
    ));
    std::fs::write(folder.path().join("ext"), "subjectAltName=DNS:localhost").unwrap();
    openssl(&format!(
        "req {key} -keyout server.key -out server.csr -subj /CN=server"
    ));
    openssl(
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem \
         -days 30 -extfile ext",
    );
}

#[test]
fn a_server_is_spoken_to_by_tls_if_an_authority_vouches_for_it() {
    let folder = tempfile::tempdir().unwrap();
    certificates(&folder);
    let at = |name: &str| folder.path().join(name);
    let chain = vec![CertificateDer::from_pem_file(at("server.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(at("server.key")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(
        tokio_rustls::rustls::crypto::ring::default_provider(),
    ));
    let config = config.with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(chain, key);
    let config = Arc::new(config.unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = HookServer::on(
        listener,
        |_| TAKEN,
        move |stream| {
            let connection = ServerConnection::new(config.clone()).ok()?;
            Some(Box::new(StreamOwned::new(connection, stream)))
        },
    );
    std::fs::write(at("app"), SECRET).unwrap();
    let app = format!(
        "id = \"1\", key = \"key\", secret_files = {:?}, webhooks = [{{ url = \
         \"https://localhost:{}/\" }}]",
        at("app"),
        server.port()
    );
    // One that trusts the authority, and one that trusts another.
    let start = |authority: &str| {
        let mut start = command(&["--apps", &app]);
        start.env("SSL_CERT_FILE", at(authority));
        start.env_remove("SSL_CERT_DIR");
        Daemon::start_as(start)
    };
    let other = start("server.pem");
    let mut bob = Speaker::over(other.connect(PATH));
    bob.subscribe("bobs");
    other.await_log("a webhook fails: TLS", 1);
    let daemon = start("ca.pem");
    let mut ann = Speaker::over(daemon.connect(PATH));
    ann.subscribe("news");
    assert_eq!(server.events(1), [of_channel("channel_occupied", "news")]);
}

#[test]
fn of_a_channel_of_all_nodes_one_of_them_tells() {
    let nats = Server::start();
    let server = HookServer::start(|_| TAKEN);
    let secret = tempfile::tempdir().unwrap();
    std::fs::write(secret.path().join("app"), SECRET).unwrap();
    let path = secret.path().join("app");
    let app = format!(
        "id = \"1\", key = \"key\", secret_files = {path:?}, {}",
        hooks(&server, "")
    );
    let start = || node(&nats, &["--apps", &app]);
    let (one, two) = (start(), start());
    eventually("they know each other", || {
        let nodes = |daemon: &Daemon| daemon.metric("fanfare_cluster_nodes");
        nodes(&one) == 1 && nodes(&two) == 1
    });
    let mut ann = Speaker::over(one.connect(PATH));
    ann.subscribe("news");
    assert_eq!(server.events(1), [of_channel("channel_occupied", "news")]);
    ann.join("presence-room", "ann");
    let room = [
        of_channel("channel_occupied", "presence-room"),
        of_member("member_added", "presence-room", "ann"),
    ];
    assert_eq!(sorted(server.events(3)[1..].to_vec()), room);
    // That they are occupied is no news at the other node.
    let mut bob = Speaker::over(two.connect(PATH));
    bob.subscribe("news");
    let raw = two.connect("/news");
    if !bob.join("presence-room", "bob").contains("\"ann\"") {
        // It hears of her a moment later.
        assert!(bob.hear().contains("member_added"));
    }
    let bobs = |what| of_member(what, "presence-room", "bob");
    assert_eq!(server.events(4)[3], bobs("member_added"));
    let mut again = Speaker::over(two.connect(PATH));
    again.join("presence-room", "ann");
    // The first node has nobody there any more, the other one has.
    drop(ann);
    let mut eve = Speaker::over(one.connect(PATH));
    eve.subscribe("eves");
    assert_eq!(server.events(5)[4], of_channel("channel_occupied", "eves"));
    drop(eve);
    assert_eq!(server.events(6)[5], of_channel("channel_vacated", "eves"));
    drop((bob, again, raw));
    let left = [
        of_channel("channel_vacated", "news"),
        of_channel("channel_vacated", "presence-room"),
        of_member("member_removed", "presence-room", "ann"),
        bobs("member_removed"),
    ];
    assert_eq!(sorted(server.events(10)[6..].to_vec()), left);
    assert_eq!(server.events(0).len(), 10);
}
