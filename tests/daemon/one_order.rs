//! All subscribers on all cores see the same messages in the same order.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::thread;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::common::{Daemon, PATIENCE, Raw, masked};

const PUBLISHERS: usize = 4;
const SUBSCRIBERS: usize = 200;
const MESSAGES: u32 = 100_000;
const EACH: u32 = MESSAGES / PUBLISHERS as u32;
/// Whose message, which, and a little more.
const PAYLOAD_BYTES: usize = 12;
const FRAME_BYTES: usize = 2 + PAYLOAD_BYTES;

/// What one subscriber has heard.
struct Ear {
    stream: TcpStream,
    /// The publisher whose own messages it must not hear, if it is one.
    own: Option<usize>,
    /// The next number of each publisher.
    next: [u32; PUBLISHERS],
    /// A hash over all it has heard, in their order.
    hash: u64,
    /// Only where it is asked for: the publishers of all messages, in order.
    order: Option<Vec<u8>>,
    rest: Vec<u8>,
}

impl Ear {
    fn new(stream: TcpStream, own: Option<usize>, keeps_order: bool) -> Ear {
        stream.set_nonblocking(true).unwrap();
        Ear {
            stream,
            own,
            next: [0; PUBLISHERS],
            hash: 0,
            order: keeps_order.then(Vec::new),
            rest: Vec::new(),
        }
    }

    fn is_done(&self) -> bool {
        (0..PUBLISHERS).all(|n| self.own == Some(n) || self.next[n] == EACH)
    }

    fn take(&mut self, mut bytes: &[u8]) {
        while let Some((frame, rest)) = bytes.split_first_chunk::<FRAME_BYTES>() {
            bytes = rest;
            assert_eq!(frame[..2], [0x82, PAYLOAD_BYTES as u8]);
            let from = usize::from(frame[2]);
            let number = u32::from_be_bytes(frame[4..8].try_into().unwrap());
            assert_ne!(self.own, Some(from), "nobody hears itself");
            assert_eq!(number, self.next[from], "none lost, none twice, of {from}");
            assert_eq!(frame[8..], payload(from, number)[6..]);
            self.next[from] += 1;
            self.hash = (self.hash.rotate_left(5) ^ u64::from(frame[2]))
                .wrapping_mul(0x517c_c1b7_2722_0a95)
                .wrapping_add(u64::from(number));
            if let Some(order) = &mut self.order {
                order.push(frame[2]);
            }
        }
        self.rest.clear();
        self.rest.extend_from_slice(bytes);
    }

    /// Takes all that has come.
    fn listen(&mut self, buffer: &mut [u8]) {
        loop {
            let had = self.rest.len();
            buffer[..had].copy_from_slice(&self.rest);
            match self.stream.read(&mut buffer[had..]) {
                Ok(0) => panic!("the daemon closed the connection"),
                Ok(len) => self.take(&buffer[..had + len]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

fn payload(from: usize, number: u32) -> [u8; PAYLOAD_BYTES] {
    let mut payload = [0; PAYLOAD_BYTES];
    payload[0] = from as u8;
    payload[2..6].copy_from_slice(&number.to_be_bytes());
    payload[6..10].copy_from_slice(&number.wrapping_mul(0x9e37_79b9).to_le_bytes());
    payload
}

/// Reads all ears until each has heard everything.
fn listen_to_all(mut ears: Vec<Ear>) -> Vec<Ear> {
    let epoll = Epoll::new(EpollCreateFlags::empty()).unwrap();
    for (n, ear) in ears.iter().enumerate() {
        let event = EpollEvent::new(EpollFlags::EPOLLIN, n as u64);
        epoll.add(ear.stream.as_fd(), event).unwrap();
    }
    let mut buffer = vec![0; 1 << 18];
    let mut left = ears.len();
    let mut events = vec![EpollEvent::empty(); ears.len()];
    let timeout = EpollTimeout::try_from(PATIENCE).unwrap();
    while left > 0 {
        let ready = epoll.wait(&mut events, timeout).unwrap();
        assert!(ready > 0, "{left} have not heard everything");
        for event in &events[..ready] {
            let ear = &mut ears[event.data() as usize];
            ear.listen(&mut buffer);
            if ear.is_done() {
                epoll.delete(ear.stream.as_fd()).unwrap();
                left -= 1;
            }
        }
    }
    ears
}

/// Sends the messages of publisher `from`, in bursts of changing length.
fn publish(mut stream: TcpStream, from: usize) {
    let mut bytes = Vec::new();
    for number in 0..EACH {
        bytes.extend(masked(0x82, &payload(from, number)));
        if number % (1 + number % 97) == 0 || number == EACH - 1 {
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                match stream.write(rest) {
                    Ok(len) => rest = &rest[len..],
                    // Its reading side is another thread's, without blocking.
                    Err(error) if error.kind() == ErrorKind::WouldBlock => thread::yield_now(),
                    Err(error) => panic!("{error}"),
                }
            }
            bytes.clear();
        }
    }
}

#[test]
fn four_publishers_are_heard_in_one_order_by_200_subscribers_on_four_cores() {
    let daemon = Daemon::start(&["--cores", "4"]);
    // The daemon sends nothing before the first message, so the handshake
    // leaves nothing behind.
    let connect = || -> TcpStream {
        let Raw { stream, .. } = daemon.raw_on("/order");
        stream
    };
    let publishers: Vec<TcpStream> = (0..PUBLISHERS).map(|_| connect()).collect();
    let mut ears: Vec<Ear> = publishers
        .iter()
        .enumerate()
        .map(|(n, stream)| Ear::new(stream.try_clone().unwrap(), Some(n), true))
        .collect();
    ears.extend((0..SUBSCRIBERS).map(|n| Ear::new(connect(), None, n == 0)));
    let others = ears.split_off(ears.len() / 2);
    let ears = thread::scope(|scope| {
        let halves = [ears, others].map(|half| scope.spawn(|| listen_to_all(half)));
        for (n, stream) in publishers.into_iter().enumerate() {
            scope.spawn(move || publish(stream, n));
        }
        halves
            .map(|half| half.join().unwrap())
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
    });
    let (publishers, subscribers) = ears.split_at(PUBLISHERS);
    for subscriber in subscribers {
        assert_eq!(subscriber.next, [EACH; PUBLISHERS]);
        assert_eq!(
            subscriber.hash, subscribers[0].hash,
            "the same order for all"
        );
    }
    let order = subscribers[0].order.as_ref().unwrap();
    for (n, publisher) in publishers.iter().enumerate() {
        // Its order is that of all, less its own.
        let others = order.iter().filter(|from| usize::from(**from) != n);
        assert!(others.eq(publisher.order.as_ref().unwrap()));
    }
}
