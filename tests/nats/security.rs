//! Who may connect, and who may publish where.

use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fanfare::keeper::nats::{Credentials, Event, Fault, Link, Settings, StartError, Warning};
use nkeys::{KeyPair, KeyPairType};
use serde_json::{Value, json};

use crate::node::{Node, settings};
use crate::server::Server;

/// What nodes may do, as `docs/cluster.md` says.
const NODE_PERMISSIONS: &str = r#"{
    publish: ["fanfare.in.>", "fanfare.ctl.>", "$JS.API.STREAM.INFO.*", "$JS.API.STREAM.CREATE.*",
        "$JS.API.STREAM.UPDATE.*", "$JS.API.STREAM.MSG.GET.*", "$JS.API.DIRECT.GET.>", "_INBOX.>"]
    subscribe: ["fanfare.out.>", "fanfare.ctl.>", "_INBOX.>"]
}"#;

fn works(settings: Settings) {
    let mut node = Node::back(settings);
    node.follow("t", None);
    node.propose(1, "t", "hello");
    assert_eq!(node.words("t"), "hello");
    node.stored(1);
}

fn refused(settings: Settings) {
    let mut node = Node::start(settings);
    while node.wait_away() != Fault::Credentials {}
    assert!(node.link.counts().refused_credentials > 0);
}

#[test]
fn user_and_password_and_token_are_used_and_wrong_ones_are_named() {
    let server = Server::with("authorization { user: anna, password: secret }");
    let mut with = settings(&[&server]);
    let password = |password: &str| Credentials::Password {
        user: "anna".into(),
        password: password.into(),
    };
    with.credentials = password("secret");
    works(with.clone());
    with.credentials = password("wrong");
    refused(with.clone());
    with.credentials = Credentials::None;
    refused(with);

    let server = Server::with("authorization { token: secret }");
    let mut with = settings(&[&server]);
    with.credentials = Credentials::Token("secret".into());
    works(with.clone());
    with.credentials = Credentials::Token("wrong".into());
    refused(with);
}

#[test]
fn credentials_that_become_wrong_are_named_and_mended() {
    let mut server = Server::with("authorization { token: secret }");
    let mut with = settings(&[&server]);
    with.credentials = Credentials::Token("secret".into());
    let mut node = Node::back(with);
    let conf = server.folder.path().join("conf");
    let good = std::fs::read_to_string(&conf).expect("it is there");
    server.kill();
    std::fs::write(&conf, good.replace("secret", "another")).expect("a file");
    server.run();
    while node.wait_away() != Fault::Credentials {}
    server.kill();
    std::fs::write(&conf, good).expect("a file");
    server.run();
    node.wait_back();
}

#[test]
fn rights_that_go_too_far_are_warned_of_and_right_ones_are_not() {
    let server = Server::start();
    let mut node = Node::back(settings(&[&server]));
    let warning = node.wait_warning(|warning| matches!(warning, Warning::OutIsOpen(_)));
    assert_eq!(warning, Warning::OutIsOpen("fanfare.out.>".into()));

    let config = format!(
        "authorization {{ users: [ {{ user: node, password: p, permissions: {NODE_PERMISSIONS} }} ] }}"
    );
    let server = Server::with(&config);
    let mut with = settings(&[&server]);
    with.credentials = Credentials::Password {
        user: "node".into(),
        password: "p".into(),
    };
    let mut node = Node::back(with);
    node.follow("t", Some(0));
    node.propose(1, "t", "hello");
    assert_eq!(node.words("t"), "hello");
    // The refusal was asked for before all this, so it has come.
    assert!(!node.has(|event| matches!(
        event,
        Event::Warned(Warning::OutIsOpen(_) | Warning::Permissions(_))
    )));
}

#[test]
fn missing_rights_are_named() {
    let server = Server::with(
        r#"authorization { users: [ { user: node, password: p, permissions: {
            publish: { deny: ["fanfare.in.>", "fanfare.out.>"] } } } ] }"#,
    );
    let mut with = settings(&[&server]);
    with.credentials = Credentials::Password {
        user: "node".into(),
        password: "p".into(),
    };
    let mut node = Node::back(with);
    node.propose(1, "t", "hello");
    let warning = node.wait_warning(|warning| matches!(warning, Warning::Permissions(_)));
    assert!(warning.to_string().contains("fanfare.in.t"), "{warning}");
}

#[test]
fn a_seed_logs_in() {
    let key = KeyPair::new_from_raw(KeyPairType::User, [7; 32]).expect("a key");
    let server = Server::with(&format!(
        "authorization {{ users: [ {{ nkey: {} }} ] }}",
        key.public_key()
    ));
    let file = server.folder.path().join("seed");
    std::fs::write(&file, format!("{}\n", key.seed().expect("a seed"))).expect("a file");
    let mut with = settings(&[&server]);
    with.credentials = Credentials::NkeyFile(file.clone());
    works(with.clone());
    let other = KeyPair::new_from_raw(KeyPairType::User, [8; 32]).expect("a key");
    std::fs::write(&file, other.seed().expect("a seed")).expect("a file");
    refused(with);
}

fn jwt(claims: &Value, signer: &KeyPair) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = json!({ "typ": "JWT", "alg": "ed25519-nkey" });
    let text = format!("{}.{}", part(&header), part(claims));
    let sign = signer.sign(text.as_bytes()).expect("it has a seed");
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(sign))
}

#[test]
fn a_credentials_file_logs_in() {
    let key = |kind, byte| KeyPair::new_from_raw(kind, [byte; 32]).expect("a key");
    let operator = key(KeyPairType::Operator, 1);
    let account = key(KeyPairType::Account, 2);
    let user = key(KeyPairType::User, 3);
    let claims = |subject: &KeyPair, issuer: &KeyPair, nats: Value| {
        json!({ "jti": "x", "iat": 1_700_000_000, "iss": issuer.public_key(), "name": "n",
            "sub": subject.public_key(), "nats": nats })
    };
    let of_operator = claims(
        &operator,
        &operator,
        json!({ "type": "operator", "version": 2 }),
    );
    // The system account may have no JetStream.
    let limits = |storage: i64| {
        json!({ "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1,
            "wildcards": true, "conn": -1, "leaf": -1, "mem_storage": storage,
            "disk_storage": storage, "streams": storage, "consumer": storage })
    };
    let system = key(KeyPairType::Account, 4);
    let of_accounts = [(&account, -1), (&system, 0)].map(|(account, storage)| {
        let nats = json!({ "type": "account", "version": 2, "limits": limits(storage) });
        let jwt = jwt(&claims(account, &operator, nats), &operator);
        format!("{}: {jwt}", account.public_key())
    });
    let of_user = json!({ "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1 });
    let of_user = claims(&user, &account, of_user);
    let server = Server::with(&format!(
        "operator: {}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload: {{ {} }}",
        jwt(&of_operator, &operator),
        system.public_key(),
        of_accounts.join(", ")
    ));
    let file = server.folder.path().join("creds");
    let text = format!(
        "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
        jwt(&of_user, &account),
        user.seed().expect("a seed")
    );
    std::fs::write(&file, text).expect("a file");
    let mut with = settings(&[&server]);
    with.credentials = Credentials::File(file);
    works(with.clone());
    with.credentials = Credentials::None;
    refused(with);
}

#[test]
fn files_that_are_not_what_they_should_be_are_named_at_the_start() {
    let server = Server::start();
    let start = |credentials| {
        let mut with = settings(&[&server]);
        with.credentials = credentials;
        Link::start(with, |_| ()).expect_err("it cannot start")
    };
    let missing = PathBuf::from("/nowhere/at/all");
    let error = start(Credentials::File(missing));
    assert!(error.to_string().contains("/nowhere/at/all"), "{error}");
    let conf = server.folder.path().join("conf");
    let error = start(Credentials::File(conf.clone()));
    assert!(matches!(error, StartError::Credentials { .. }), "{error}");
    let error = start(Credentials::NkeyFile(conf));
    assert!(matches!(error, StartError::Credentials { .. }), "{error}");
}

/// An authority, and certificates by it for a server and a client.
fn certificates(folder: &Path) {
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
    for name in ["server", "client"] {
        std::fs::write(
            folder.join("ext"),
            "subjectAltName=IP:127.0.0.1,DNS:localhost",
        )
        .expect("a file");
        openssl(&format!(
            "req {key} -keyout {name}.key -out {name}.csr -subj /CN={name}"
        ));
        openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out {name}.pem \
             -days 30 -extfile ext"
        ));
    }
}

#[test]
fn tls_with_certificates_of_both_sides() {
    let folder = tempfile::TempDir::new().expect("a folder");
    certificates(folder.path());
    let path = |name: &str| folder.path().join(name);
    let server = Server::with(&format!(
        "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, verify: true }}",
        path("server.pem"),
        path("server.key"),
        path("ca.pem")
    ));
    let mut with = settings(&[&server]);
    with.servers = vec![format!("tls://127.0.0.1:{}", server.port)];
    with.tls.ca_file = Some(path("ca.pem"));
    with.tls.identity = Some((path("client.pem"), path("client.key")));
    works(with.clone());
    // Without its own certificate it is let in nowhere.
    with.tls.identity = None;
    let mut node = Node::start(with);
    assert_eq!(node.wait_away(), Fault::Disconnected);
    node.propose(1, "t", "hello");
    let why = node.failed(1);
    assert_eq!(why, fanfare::keeper::nats::Failure::Away);
}
