//! What `fanfare publish` makes of answers that a daemon seldom gives: a server that gives them
//! when a test wants it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::shell::{assert_done, assert_ends, run};

/// What was asked for.
#[derive(Clone)]
struct Asked {
    /// `Idempotency-Key`.
    key: String,
    lines: Vec<String>,
}

/// Answers each request on a connection of its own.
struct Scripted {
    url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Scripted {
    fn start(mut answer: impl FnMut(&Asked) -> String + Send + 'static) -> Scripted {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let into = asked.clone();
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let request = read(&stream);
                into.lock().unwrap().push(request.clone());
                stream.write_all(answer(&request).as_bytes()).unwrap();
                stream.shutdown(Shutdown::Write).unwrap();
            }
        });
        Scripted { url, asked }
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

fn read(stream: &TcpStream) -> Asked {
    let mut from = BufReader::new(stream);
    let (mut key, mut len) = (String::new(), 0);
    loop {
        let mut line = String::new();
        from.read_line(&mut line).unwrap();
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        match line.split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("idempotency-key") => {
                key = value.to_owned();
            }
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                len = value.parse().unwrap();
            }
            _ => {}
        }
    }
    let mut body = vec![0; len];
    from.read_exact(&mut body).unwrap();
    let body = String::from_utf8(body).unwrap();
    Asked {
        key,
        lines: body.lines().map(ToOwned::to_owned).collect(),
    }
}

/// An answer with one line for each of the batch.
fn lines(lines: &[&str]) -> String {
    let body = lines.join("\n");
    let len = body.len();
    format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len}\r\n\r\n{body}")
}

const PUBLISHED: &str = r#"{"offset":1}"#;
const NO_ROOM: &str = r#"{"error":"there is no room","status":503}"#;
const UNKNOWN: &str = r#"{"error":"the message may have been stored","status":504}"#;

#[test]
fn where_there_is_no_room_at_first_a_publisher_waits() {
    let mut answers = [NO_ROOM, NO_ROOM, PUBLISHED].into_iter();
    let server = Scripted::start(move |_| lines(&[answers.next().unwrap()]));
    let output = run(&["publish", "--server", &server.url, "a", "hello"], b"");
    assert_done(&output);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("there is no room"), "{errors}");
    assert_eq!(server.asked().len(), 3);
}

#[test]
fn a_first_answer_that_breaks_off_is_asked_for_again_by_the_same_key() {
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{".to_owned();
    let mut answers = [half, lines(&[PUBLISHED])].into_iter();
    let server = Scripted::start(move |_| answers.next().unwrap());
    assert_done(&run(
        &["publish", "--server", &server.url, "a", "hello"],
        b"",
    ));
    let asked = server.asked();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0].key, asked[1].key);
}

#[test]
fn a_line_that_may_be_published_is_named_and_not_sent_again() {
    let mut is_full = true;
    let server = Scripted::start(move |asked| {
        let answer = |line: &String| {
            if line.contains("unknown") {
                UNKNOWN
            } else if line.contains("late") && std::mem::take(&mut is_full) {
                NO_ROOM
            } else {
                PUBLISHED
            }
        };
        lines(&asked.lines.iter().map(answer).collect::<Vec<_>>())
    });
    let words = ["publish", "--server", &server.url, "a"];
    let output = run(&words, b"first\nunknown\nlate\n");
    assert_ends(&output, 1, "it is not known whether line 2 is published");
    assert_ends(&output, 1, "0 lines were refused, 2 are published");
    assert_ends(&output, 1, "of 1 it is not known");
    let sent: Vec<String> = server.asked().into_iter().flat_map(|a| a.lines).collect();
    let count = |word: &str| sent.iter().filter(|line| line.contains(word)).count();
    assert_eq!((count("first"), count("unknown"), count("late")), (1, 1, 2));
}
