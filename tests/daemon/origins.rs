//! Who published a message of the cluster is known on every node, and is not sent it.

use async_nats::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use serde_json::json;

use crate::clustered::{node, say};
use crate::common::{eventually, hear};
use crate::nats_server::{Program, Server};

const SECRET: &[u8] = b"known to nodes alone";

/// Headers as a node writes them that publishes `payload` to a topic for a connection.
fn headers(secret: &[u8], topic: &str, id: &str, origin: &str, payload: &[u8]) -> HeaderMap {
    let mut signed = Vec::new();
    let part = |part: &[u8]| [&(part.len() as u64).to_be_bytes(), part].concat();
    for part in [
        part(topic.as_bytes()),
        part(id.as_bytes()),
        part(origin.as_bytes()),
    ] {
        signed.extend(part);
    }
    // Without anything about the user.
    signed.extend(u64::MAX.to_be_bytes());
    signed.extend(part(payload));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Msg-Id", id);
    headers.insert("Fanfare-Origin", origin);
    headers.insert("Fanfare-Sign", STANDARD.encode(hmac::sign(&key, &signed)));
    headers
}

#[test]
fn a_publisher_hears_nothing_of_its_own_whoever_stores_it_but_what_others_pretend() {
    let mut server = Server::start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, SECRET).unwrap();
    let secret = ["--cluster-secret-file", file.to_str().unwrap()];
    let (mut one, two) = (node(&server, &secret), node(&server, &secret));
    let mut speaker = one.connect("/a");
    let mut others = [one.connect("/a"), two.connect("/a")];
    // What waits for the cluster may be heard by whoever knows it no more, and says where it is from.
    server.kill();
    one.await_log("the cluster is away", 2);
    say(&mut speaker, "first");
    server.run();
    let program = Program::new(&server);
    for other in &mut others {
        assert_eq!(hear(other), "first");
    }
    let stored = program.api(
        "STREAM.MSG.GET.FANFARE",
        json!({"last_by_subj": "fanfare.in.a"}),
    );
    let lines = stored["message"]["hdrs"].as_str().expect("it has headers");
    let lines = String::from_utf8(STANDARD.decode(lines).unwrap()).unwrap();
    let mut lines = lines.lines();
    let origin = lines.find_map(|line| line.strip_prefix("Fanfare-Origin: "));
    let origin = origin.expect("it is said");
    let mut number = 0;
    let mut publish = |secret: &[u8], text: &str| {
        number += 1;
        let id = format!("{number:032x}");
        let headers = headers(secret, "a", &id, origin, text.as_bytes());
        program.publish("fanfare.in.a", headers, text.as_bytes());
    };
    for round in 0..2 {
        // As another node would store it in its stead.
        publish(SECRET, "from elsewhere");
        say(&mut speaker, "from here");
        publish(b"a guess", "pretended");
        // What is stored first is up to the servers.
        for other in &mut others {
            let mut heard = [hear(other), hear(other), hear(other)];
            heard.sort();
            assert_eq!(heard, ["from elsewhere", "from here", "pretended"]);
        }
        assert_eq!(hear(&mut speaker), "pretended");
        if round == 0 {
            one.hand_over(1);
            one.await_log("the cluster is there", 3);
        }
    }
    eventually("what was pretended is counted", || {
        one.metric("fanfare_cluster_forged_messages_total") == 1
    });
}
