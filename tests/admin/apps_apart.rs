//! What one app, or one client of it, may not do to others and to the server.

use std::fs;
use std::net::TcpStream;

use socket2::{Domain, Socket, Type};
use tungstenite::Message;

use crate::apps::{App, SECRET};
use crate::client::next;

#[test]
fn an_app_does_not_end_connections_of_users_of_another_one() {
    let secret = tempfile::tempdir().unwrap();
    let path = secret.path().join("secret");
    fs::write(&path, SECRET).unwrap();
    let path = path.display();
    let other =
        format!("id = \"2\", key = \"other\", secret_files = \"{path}\", prefix = \"shop/\"");
    let app = App::start("", &["--apps", &other]);
    let mut ann = app.connect_to("other");
    ann.sign_in_to("other", "ann");
    // By its name it could be either's.
    let mut own = app.connect();
    own.sign_in("shop/ann");
    let answer = app.post("/apps/1/users/shop%2Fann/terminate_connections", "{}");
    assert_eq!((answer.status, &*answer.body), (200, "{}\n"));
    assert!(matches!(next(&mut own.socket), Message::Close(_)));
    ann.subscribe("news");
}

/// More than may wait to be stepped over of one connection.
const POSTS: usize = 9000;
const BATCH: usize = 1000;

#[test]
fn who_reads_nothing_while_its_server_posts_in_its_name_is_closed_in_the_end() {
    let app = App::start(&format!(", batch_events_max = {BATCH}"), &[]);
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let address: std::net::SocketAddr = app.daemon.public.parse().unwrap();
    socket.connect(&address.into()).unwrap();
    let mut client = app.connect_over(TcpStream::from(socket), "key");
    client.subscribe("a");
    client.subscribe("b");
    // Its socket is full from now on.
    for _ in 0..8 {
        let answer = app.daemon.post("a", &vec![b'x'; 256 << 10]);
        assert_eq!(answer.status, 200);
    }
    let id = &client.id;
    let post = |number: usize| {
        let channel = if number.is_multiple_of(2) { "a" } else { "b" };
        format!(r#"{{"name":"e","data":"own","channel":"{channel}","socket_id":"{id}"}}"#)
    };
    let events: Vec<_> = (0..BATCH).map(post).collect();
    let batch = format!("{{\"batch\":[{}]}}", events.join(","));
    for _ in 0..POSTS / BATCH {
        assert_eq!(app.post("/apps/1/batch_events", &batch).status, 200);
    }
    app.publish(r#"{"name":"e","data":"the end","channel":"a"}"#);
    loop {
        match next(&mut client.socket) {
            Message::Close(frame) => {
                assert_eq!(u16::from(frame.unwrap().code), 4200);
                break;
            }
            message => {
                let text = message.into_text().unwrap();
                assert!(!text.contains("own") && !text.contains("the end"), "{text}");
            }
        }
    }
}
