//! Many clients of Centrifugo's protocol that come and go, lag, and live through handovers
//! and crashes: what each hears of a topic has no hole but those it was told of.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::{Error, Message};

use crate::common::{Client, Daemon, PATIENCE};
use crate::speaking::PATH;

const CLIENTS: usize = 50;
const TOPICS: usize = 20;
const STEPS: usize = 600;
/// History is short, so that much of what is missed is gone.
const SETTINGS: [&str; 12] = [
    "--lag-bytes-max",
    "128KiB",
    "--log-bytes-max",
    "1MiB",
    "--message-bytes-max",
    "64KiB",
    "--retain-bytes-max",
    "128KiB",
    "--retain-messages-max",
    "60",
    "--lag-policy",
    "skip",
];

/// What a client knows of a topic that it wants to follow.
#[derive(Debug, Default)]
struct Follow {
    epoch: String,
    /// The newest message it has, or knows that it lacks.
    offset: u64,
    /// What was in that message, if it has it: the next one has one more.
    number: Option<u64>,
    /// It is subscribed, as far as it has been told.
    on: bool,
    /// The id of the command that asks for it.
    asked: Option<u64>,
}

#[derive(Default)]
struct Subject {
    socket: Option<Client>,
    follows: BTreeMap<usize, Follow>,
    ids: u64,
    /// It does not read for the time being.
    sleeps: bool,
    gaps: u64,
    recovered: u64,
    heard: u64,
}

struct World {
    daemon: Daemon,
    publisher: Client,
    /// What the next message of each topic has in it.
    next: [u64; TOPICS],
    handovers: usize,
}

impl World {
    fn new(daemon: Daemon, next: [u64; TOPICS]) -> World {
        let publisher = open(&daemon);
        World {
            daemon,
            publisher,
            next,
            handovers: 0,
        }
    }

    fn publish(&mut self, topic: usize, count: usize, padding: usize) {
        for _ in 0..count {
            let number = self.next[topic];
            self.next[topic] += 1;
            let data = json!({"number": number, "padding": "x".repeat(padding)});
            let command = json!({"id": 2, "publish": {"channel": name(topic), "data": data}});
            say(&mut self.publisher, &command);
            loop {
                let answer = next(&mut self.publisher, PATIENCE).expect("an answer comes");
                if answer == json!({}) {
                    say(&mut self.publisher, &answer);
                } else if answer["id"] == 2 {
                    match answer["error"]["code"].as_u64() {
                        None => break,
                        // No room just now: it is tried again.
                        Some(100) => say(&mut self.publisher, &command),
                        other => panic!("{other:?}: {answer}"),
                    }
                }
            }
        }
    }
}

fn name(topic: usize) -> String {
    format!("t{topic}")
}

fn open(daemon: &Daemon) -> Client {
    let (mut client, _) = daemon
        .open_over(daemon.narrow_stream(), PATH, &[])
        .expect("the handshake succeeds");
    say(&mut client, &json!({"id": 1, "connect": {}}));
    let answer = next(&mut client, PATIENCE).expect("an answer comes");
    assert!(answer["connect"]["client"].is_string(), "{answer}");
    client
}

fn say(client: &mut Client, command: &Value) {
    client.send(Message::text(command.to_string())).unwrap();
}

/// The next message, if one comes in time; `None` as well if the connection is over.
fn next(client: &mut Client, patience: Duration) -> Option<Value> {
    // A wait, however short, lasts as long as the kernel's clock ticks.
    let waits = !patience.is_zero();
    client.get_ref().set_nonblocking(!waits).unwrap();
    if waits {
        client.get_ref().set_read_timeout(Some(patience)).unwrap();
    }
    let read = client.read();
    client.get_ref().set_nonblocking(false).unwrap();
    match read {
        Ok(Message::Text(text)) => Some(serde_json::from_str(&text).expect("JSON")),
        Ok(Message::Close(_)) | Err(Error::ConnectionClosed | Error::AlreadyClosed) => None,
        Ok(_) => next(client, patience),
        Err(Error::Io(error)) => {
            let over = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
            let later = [ErrorKind::WouldBlock, ErrorKind::TimedOut];
            assert!(
                over.contains(&error.kind()) || later.contains(&error.kind()),
                "{error}"
            );
            None
        }
        Err(Error::Protocol(_)) => None,
        Err(error) => panic!("{error}"),
    }
}

impl Subject {
    /// Asks for a topic, from where it stood there.
    fn ask_for(&mut self, topic: usize) {
        let Some(socket) = &mut self.socket else {
            return;
        };
        let follow = self.follows.get_mut(&topic).expect("it is wanted");
        if follow.on || follow.asked.is_some() {
            return;
        }
        self.ids += 1;
        let id = self.ids + 10;
        let mut request = json!({"channel": name(topic)});
        if !follow.epoch.is_empty() {
            request["recover"] = true.into();
            request["epoch"] = follow.epoch.clone().into();
            request["offset"] = follow.offset.into();
        }
        follow.asked = Some(id);
        let _ = socket.send(Message::text(
            json!({"id": id, "subscribe": request}).to_string(),
        ));
    }

    fn lose(&mut self) {
        self.socket = None;
        self.sleeps = false;
        for follow in self.follows.values_mut() {
            follow.on = false;
            follow.asked = None;
        }
    }

    fn come(&mut self, daemon: &Daemon) {
        if self.socket.is_none() {
            self.socket = Some(open(daemon));
            for topic in self.follows.keys().copied().collect::<Vec<_>>() {
                self.ask_for(topic);
            }
        }
    }

    /// Takes in what has come.
    fn read(&mut self, patience: Duration) {
        while let Some(socket) = &mut self.socket {
            let Some(message) = next(socket, patience) else {
                if !socket.can_read() {
                    self.lose();
                }
                return;
            };
            self.take(&message);
        }
    }

    fn take(&mut self, message: &Value) {
        if *message == json!({}) {
            let _ = self.socket.as_mut().unwrap().send(Message::text("{}"));
            return;
        }
        if let Some(push) = message.get("push") {
            let topic = push["channel"].as_str().unwrap()[1..].parse().unwrap();
            let Some(follow) = self.follows.get_mut(&topic) else {
                // It has just been given up.
                return;
            };
            if push.get("pub").is_some() {
                if follow.on {
                    self.heard += 1;
                    hear(follow, &push["pub"]);
                }
                return;
            }
            assert_eq!(push["unsubscribe"]["code"], 2500, "{push}");
            follow.on = false;
            return self.ask_for(topic);
        }
        let id = message["id"].as_u64().unwrap();
        let mut asked = self.follows.values_mut();
        let Some(follow) = asked.find(|follow| follow.asked == Some(id)) else {
            return;
        };
        follow.asked = None;
        let answer = &message["subscribe"];
        assert!(answer.is_object(), "{message}");
        let (epoch, offset) = (&answer["epoch"], answer["offset"].as_u64().unwrap_or(0));
        follow.on = true;
        if answer["recovered"] == true {
            assert_eq!(follow.epoch, *epoch);
            self.recovered += 1;
            for publication in answer["publications"].as_array().into_iter().flatten() {
                self.heard += 1;
                hear(follow, publication);
            }
            return;
        }
        if !follow.epoch.is_empty() {
            self.gaps += 1;
        }
        follow.epoch = epoch.as_str().unwrap().to_owned();
        follow.offset = offset;
        follow.number = None;
    }
}

/// A message has come: the one that is due.
fn hear(follow: &mut Follow, publication: &Value) {
    let number = publication["data"]["number"].as_u64().unwrap();
    assert_eq!(publication["offset"], follow.offset + 1, "{follow:?}");
    if let Some(last) = follow.number {
        assert_eq!(number, last + 1, "{follow:?}");
    }
    follow.offset += 1;
    follow.number = Some(number);
}

fn live_through(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut world = World::new(Daemon::start(&SETTINGS), [0; TOPICS]);
    let mut subjects: Vec<Subject> = (0..CLIENTS).map(|_| Subject::default()).collect();
    for _ in 0..STEPS {
        let topic = random.usize(..TOPICS);
        let subject = &mut subjects[random.usize(..CLIENTS)];
        match random.u32(..100) {
            0..29 => world.publish(topic, random.usize(1..20), random.usize(..200)),
            // More than history keeps, and than fits into the sockets.
            29..30 => world.publish(topic, 100, 30_000),
            30..55 => {
                subject.come(&world.daemon);
                subject.follows.entry(topic).or_default();
                subject.ask_for(topic);
            }
            55..60 => {
                let gone = subject.follows.remove(&topic);
                if let (Some(socket), true) = (&mut subject.socket, gone.is_some()) {
                    let command = json!({"id": 5, "unsubscribe": {"channel": name(topic)}});
                    let _ = socket.send(Message::text(command.to_string()));
                }
            }
            60..70 => subject.lose(),
            70..80 => subject.come(&world.daemon),
            80..88 => subject.sleeps = true,
            88..97 => subject.sleeps = false,
            97..99 => {
                world.handovers += 1;
                world.daemon.hand_over(world.handovers);
            }
            // A crash takes all history with it.
            _ if random.u32(..3) > 0 => {}
            _ => {
                let next = world.next;
                world = World::new(Daemon::start(&SETTINGS), next);
                for subject in &mut subjects {
                    subject.lose();
                }
            }
        }
        for subject in subjects.iter_mut().filter(|subject| !subject.sleeps) {
            subject.read(Duration::ZERO);
        }
    }
    for subject in &mut subjects {
        subject.sleeps = false;
        subject.come(&world.daemon);
    }
    // All that each follows is heard to the end.
    for topic in 0..TOPICS {
        world.publish(topic, 1, 0);
    }
    let begin = Instant::now();
    let is_through = |subject: &Subject| {
        subject.follows.iter().all(|(topic, follow)| {
            let end = world.next[*topic] - 1;
            // Who comes behind the last message has nothing to hear.
            follow.on && follow.number.is_none_or(|number| number == end)
        })
    };
    while !subjects.iter().all(is_through) {
        assert!(
            begin.elapsed() < PATIENCE,
            "somebody lacks its last messages"
        );
        for subject in &mut subjects {
            subject.come(&world.daemon);
            subject.read(Duration::ZERO);
        }
    }
    let sum = |count: fn(&Subject) -> u64| subjects.iter().map(count).sum::<u64>();
    let (heard, recovered, gaps) = (sum(|s| s.heard), sum(|s| s.recovered), sum(|s| s.gaps));
    eprintln!("seed {seed}: {heard} heard, {recovered} recovered, {gaps} gaps told");
    assert!(heard > 0 && recovered > 0 && gaps > 0);
}

#[test]
fn what_is_missed_is_told() {
    let named = std::env::var("FANFARE_SEQUENCES").ok();
    let seeds: u64 = named.map_or(3, |seeds| seeds.parse().expect("a number"));
    for seed in 0..seeds {
        live_through(seed);
    }
}
