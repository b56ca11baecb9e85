use std::cell::RefCell;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use super::*;
use crate::config::{Settings, Switch};
use crate::core::{Core, Go, Inheritance, Listener, Plan, Room};

/// The cores of a daemon, in this process.
struct World {
    hub: Arc<Hub>,
    remotes: Vec<Remote>,
    cores: Vec<Core>,
    address: SocketAddr,
}

fn start(cores: usize, inheritances: Vec<Inheritance>) -> World {
    let settings = Settings {
        cores,
        drain_ms_max: 500,
        presence: Switch::On,
        ..Settings::default()
    };
    let hub = Hub::new(settings).unwrap();
    let remotes = Remote::to_all(&hub);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut inheritances = inheritances.into_iter();
    let plan = |core: usize| Plan {
        core,
        hub: hub.clone(),
        remote: remotes[core].clone(),
        listeners: vec![Listener {
            socket: listener.try_clone().unwrap().into(),
            shared: true,
            tls: false,
            activated: false,
        }],
        left: Vec::new(),
        abilities: crate::ring::Probe::run().unwrap().abilities,
        inheritance: inheritances.next(),
    };
    let cores = (0..cores).map(plan).map(|plan| Core::start(plan).unwrap());
    World {
        cores: cores.collect(),
        address: listener.local_addr().unwrap(),
        hub,
        remotes,
    }
}

impl World {
    fn leave(self) {
        for remote in &self.remotes {
            remote.send(crate::core::Command::Leave);
        }
        self.cores.into_iter().for_each(|core| core.join().unwrap());
    }

    fn connect(&self, path: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let time = Some(Duration::from_secs(20));
        stream.set_read_timeout(time).unwrap();
        let lines = "Host: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
        let request = format!("GET {path} HTTP/1.1\r\n{lines}\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        assert!(head.starts_with(b"HTTP/1.1 101"));
        stream
    }

    /// What a service manager has been given to keep.
    fn put_away(&self, room: usize) -> Stored {
        let kept = RefCell::new(HashMap::<String, Vec<OwnedFd>>::new());
        let keep = |name: &str, files: &[OwnedFd]| {
            let mut kept = kept.borrow_mut();
            let files = files.iter().map(|file| file.try_clone().unwrap());
            kept.entry(name.to_owned()).or_default().extend(files);
            Ok(())
        };
        let settle = |wanted| {
            let files: usize = kept.borrow().values().map(Vec::len).sum();
            assert_eq!(files, wanted);
            Ok(())
        };
        let none = Public::default();
        put_away(&self.hub, &self.remotes, room, &none, &[], &keep, &settle).unwrap();
        let mut kept = kept.into_inner();
        let state = kept.remove(STATE).unwrap().remove(0);
        Stored::new(state, &mut |name| kept.remove(name).unwrap_or_default())
    }
}

/// A daemon that begins with what was stored, and how many connections it has.
fn take_over(stored: Stored, cores: usize) -> (World, usize) {
    let (seated, all_seated) = mpsc::channel();
    let (mut arrivals, mut gates, mut inheritances) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..cores {
        let (arrival, arriving) = mpsc::channel();
        let (open, gate) = mpsc::channel();
        arrivals.push(arrival);
        gates.push(open);
        inheritances.push(Inheritance {
            arrivals: arriving,
            seated: seated.clone(),
            gate,
        });
    }
    let world = start(cores, inheritances);
    let seats = Seats::new(arrivals, all_seated, Room::of(world.hub.settings()).slots);
    let count = stored.take_over(&world.hub, seats).unwrap();
    gates.into_iter().for_each(|gate| gate.send(Go).unwrap());
    (world, count)
}

/// The next frame, which is short.
fn hear(stream: &mut TcpStream) -> Vec<u8> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).unwrap();
    let mut payload = vec![0; usize::from(head[1])];
    stream.read_exact(&mut payload).unwrap();
    payload
}

/// A client of sessions that follows a topic, and hears who comes and goes there.
fn member(world: &World) -> TcpStream {
    let mut stream = world.connect("/connection/websocket");
    for command in [
        r#"{"id":1,"connect":{}}"#,
        r#"{"id":2,"subscribe":{"channel":"t","join_leave":true}}"#,
    ] {
        let head = [0x81, 0x80 | command.len() as u8, 0, 0, 0, 0];
        let frame = [&head[..], command.as_bytes()].concat();
        stream.write_all(&frame).unwrap();
        let answer = hear(&mut stream);
        assert!(answer.starts_with(&command.as_bytes()[..7]), "{answer:?}");
    }
    assert!(hears_of(&mut stream, "join"));
    stream
}

fn hears_of(stream: &mut TcpStream, what: &str) -> bool {
    let push = String::from_utf8(hear(stream)).unwrap();
    push.starts_with(&format!(r#"{{"push":{{"channel":"t","{what}":{{"#))
}

const HELLO: &[u8] = b"\x81\x85\0\0\0\0hello";

#[test]
fn what_does_not_fit_is_let_go_and_the_rest_is_served() {
    let first = start(3, Vec::new());
    let mut good: Vec<_> = (0..6).map(|_| first.connect("/good")).collect();
    let mut lost = first.connect("/lost");
    let mut unknown = first.connect("/good");
    let mut stored = first.put_away(1000);
    first.leave();
    stored.state.topics.retain(|topic| topic.name != "lost");
    let unknown_at = unknown.local_addr().unwrap();
    let cookie = |(cookie, file): (&u64, &OwnedFd)| {
        let peer = SockRef::from(file).peer_addr().unwrap();
        (peer.as_socket() == Some(unknown_at)).then_some(*cookie)
    };
    let cookie = stored.sockets.iter().find_map(cookie).unwrap();
    stored.state.conns.retain(|conn| conn.cookie != cookie);

    // With fewer cores than there were.
    let (second, count) = take_over(stored, 1);
    assert_eq!(count, 6);
    assert_eq!(second.hub.losses().get(Lost::Connection), 2);
    assert_eq!(second.hub.admission().connections(), 6);
    good[0].write_all(HELLO).unwrap();
    for stream in &mut good[1..] {
        assert_eq!(hear(stream), b"hello");
    }
    for stream in [&mut lost, &mut unknown] {
        // Unlike a bare read, this goes on where a signal interrupts it.
        assert_eq!(stream.read_to_end(&mut Vec::new()).unwrap(), 0);
    }
    second.leave();
}

#[test]
fn of_who_goes_while_nobody_serves_the_others_are_told() {
    let first = start(1, Vec::new());
    let mut ann = member(&first);
    let bob = member(&first);
    assert!(hears_of(&mut ann, "join"));
    let mut stored = first.put_away(1000);
    first.leave();
    let bob_at = bob.local_addr().unwrap();
    let peer = |file: &OwnedFd| SockRef::from(file).peer_addr().unwrap().as_socket();
    stored.sockets.retain(|_, file| peer(file) != Some(bob_at));
    let (second, count) = take_over(stored, 1);
    assert_eq!(count, 1);
    assert!(hears_of(&mut ann, "leave"));
    assert_eq!(second.hub.presence().numbers("t").clients, 1);
    second.leave();
}

#[test]
fn those_beyond_the_room_are_told_to_come_back() {
    let first = start(2, Vec::new());
    let mut streams: Vec<_> = (0..12).map(|_| first.connect("/topic")).collect();
    let stored = first.put_away(5);
    first.leave();
    let kept = stored.sockets.len();
    assert!((4..=5).contains(&kept), "{kept}");
    let (second, count) = take_over(stored, 2);
    assert_eq!(count, kept);
    let topic = second.hub.all_topics().remove(0);
    assert_eq!(topic.subscribers(|_| true), kept as u64);
    let mut hub_says = second.connect("/topic");
    hub_says.write_all(HELLO).unwrap();
    let mut told = 0;
    for stream in &mut streams {
        let heard = hear(stream);
        match heard.strip_prefix(&1001u16.to_be_bytes()) {
            Some(words) => {
                assert!(words.starts_with(b"the server is stopping, retry in "));
                told += 1;
            }
            None => assert_eq!(heard, b"hello"),
        }
    }
    assert_eq!(told, 12 - kept);
    second.leave();
}

#[test]
fn a_state_that_cannot_be_read_costs_the_connections_alone() {
    let first = start(1, Vec::new());
    let mut stream = first.connect("/topic");
    let stored = first.put_away(1000);
    first.leave();
    let mut state = File::from(memory_file(&State::default()).unwrap());
    state.write_all(b"and some more").unwrap();
    state.rewind().unwrap();
    state.write_all(b"FANFARE").unwrap();
    let sockets = stored.sockets.into_values().collect();
    let mut sockets = Some(sockets);
    let mut take = |name: &str| match name {
        CONNECTION => sockets.take().unwrap_or_default(),
        _ => Vec::new(),
    };
    let stored = Stored::new(state.into(), &mut take);
    let (second, count) = take_over(stored, 1);
    assert_eq!(count, 0);
    assert_eq!(second.hub.losses().get(Lost::Connection), 1);
    let mut rest = Vec::new();
    assert_eq!(stream.read_to_end(&mut rest).unwrap(), 0);
    second.connect("/topic");
    second.leave();
}
