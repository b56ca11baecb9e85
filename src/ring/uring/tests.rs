mod accepting;

use super::*;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::eventfd::EventFd;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

fn ring() -> Uring {
    let wake = EventFd::new().unwrap();
    let mut ring = Uring::new(4, 16, wake.as_fd(), Abilities::default()).unwrap();
    // Other tests have many descriptors meanwhile.
    ring.handles = Some(Handles::new(u64::MAX));
    ring
}

/// One whose zero-copy sends name a descriptor, and one where they have their sockets on loan.
fn rings_of_both_kinds() -> [Uring; 2] {
    let wake = EventFd::new().unwrap();
    let abilities = Abilities {
        lends: true,
        ..Abilities::default()
    };
    let lending = Uring::new(4, 16, wake.as_fd(), abilities).unwrap();
    [ring(), lending]
}

/// All completions, once there are so many.
fn completions(ring: &mut Uring, count: usize) -> Vec<Completion> {
    let mut all = Vec::new();
    while all.len() < count {
        ring.enter().unwrap();
        ring.completions(&mut all);
    }
    all
}

#[test]
fn bytes_go_out_and_come_in() {
    let (here, mut there) = UnixStream::pair().unwrap();
    let mut ring = ring();
    ring.attach(3, &here).unwrap();
    drop(here);
    ring.receive(3);
    let bytes = Rc::new(Bytes::from_static(b"-hello-"));
    ring.send(3, &bytes, 1, 5, Mode::Copy);
    let sent = completions(&mut ring, 1);
    let event = Event::Sent {
        result: Ok(5),
        held: false,
    };
    assert_eq!(sent, [Completion { slot: 3, event }]);
    assert_eq!(Rc::strong_count(&bytes), 1, "the ring has let go of them");
    let mut heard = [0; 5];
    there.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"hello");
    // More than there are buffers for, so that each is used again.
    for n in 0..100u8 {
        there.write_all(&[n; 3]).unwrap();
        let came = completions(&mut ring, 1);
        let Event::Received { buffer, len, .. } = came[0].event else {
            panic!("{came:?}");
        };
        assert_eq!(ring.buffer(buffer, len), [n; 3]);
        ring.give_back(buffer);
    }
}

#[test]
fn what_has_come_before_it_is_asked_for_is_received_too() {
    let mut ring = ring();
    for once in [true, false] {
        let (here, mut there) = tcp_pair();
        ring.attach(3, &here).unwrap();
        drop(here);
        there.write_all(b"early").unwrap();
        there.shutdown(std::net::Shutdown::Write).unwrap();
        match once {
            true => ring.receive_once(3),
            false => ring.receive(3),
        }
        let came = completions(&mut ring, 1);
        let Event::Received { buffer, len, armed } = came[0].event else {
            panic!("{came:?}");
        };
        assert_eq!(ring.buffer(buffer, len), b"early");
        ring.give_back(buffer);
        if !armed {
            ring.receive(3);
        }
        let ended = match came.get(1) {
            Some(ended) => *ended,
            None => completions(&mut ring, 1)[0],
        };
        assert_eq!(ended.event, Event::Ended(None));
        ring.close(3);
        assert_eq!(completions(&mut ring, 1)[0].event, Event::Closed);
    }
}

#[test]
fn a_ring_that_goes_with_requests_under_way_ends_them_first() {
    let (here, mut there) = UnixStream::pair().unwrap();
    let mut ring = ring();
    ring.attach(0, &here).unwrap();
    drop(here);
    ring.receive(0);
    let bytes = Rc::new(Bytes::from(vec![7; 1 << 20]));
    // The socket takes a part; the peer never reads the rest.
    ring.send(0, &bytes, 0, 1 << 20, Mode::Copy);
    let sent = completions(&mut ring, 1);
    assert!(matches!(sent[0].event, Event::Sent { result: Ok(_), .. }));
    ring.await_writable(0);
    assert!(ring.quell(), "the receive and the wait are called off");
    drop(ring);
    assert_eq!(Rc::strong_count(&bytes), 1);
    // With the ring the socket goes, as soon as the kernel gets to it.
    let mut rest = Vec::new();
    let _ = there.read_to_end(&mut rest);
    assert!(there.write(b"anybody?").is_err());
}

/// A connection over loopback, where the kernel knows zero copy but copies.
fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let there = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (listener.accept().unwrap().0, there)
}

#[test]
fn a_zero_copy_send_keeps_no_socket() {
    rings_of_both_kinds()
        .into_iter()
        .for_each(sends_and_keeps_no_socket);
}

fn sends_and_keeps_no_socket(mut ring: Uring) {
    let (here, mut there) = tcp_pair();
    ring.attach(1, &here).unwrap();
    drop(here);
    let bytes = Rc::new(Bytes::from(vec![7; 100_000]));
    for _ in 0..3 {
        ring.send(1, &bytes, 10, 50_000, Mode::ZeroCopy);
        let events = completions(&mut ring, 2);
        let sent = Event::Sent {
            result: Ok(50_000),
            held: true,
        };
        assert_eq!(events[0].event, sent);
        assert!(matches!(events[1].event, Event::Released { .. }));
        let mut heard = vec![0; 50_000];
        there.read_exact(&mut heard).unwrap();
        assert_eq!(heard, bytes[10..50_010]);
    }
    assert!(ring.zero_copy.as_ref().unwrap().is_idle());
    // As it would if the process died, the main ring goes, and the other, kept
    // alive as by a peer that takes nothing, has no socket that would stay open.
    let other = ring.zero_copy.take();
    drop(ring);
    assert_eq!(there.read(&mut [0]).unwrap_or(0), 0);
    drop(other);
}

#[test]
fn many_zero_copy_sends_at_once_all_arrive() {
    rings_of_both_kinds()
        .into_iter()
        .for_each(send_many_at_once);
}

fn send_many_at_once(mut ring: Uring) {
    let pairs: Vec<_> = (0..4).map(|_| tcp_pair()).collect();
    let bytes = Rc::new(Bytes::from(vec![7; 3000]));
    for _ in 0..50 {
        for (slot, (here, _)) in (0..).zip(&pairs) {
            ring.attach(slot, here).unwrap();
            ring.send(slot, &bytes, 0, 3000, Mode::ZeroCopy);
        }
        let events = completions(&mut ring, 8);
        let whole = |completion: &&Completion| {
            let result = Ok(3000);
            completion.event == (Event::Sent { result, held: true })
        };
        assert_eq!(events.iter().filter(whole).count(), 4);
        for (_, there) in &pairs {
            (&*there).read_exact(&mut [0; 3000]).unwrap();
        }
    }
}

#[test]
fn without_a_descriptor_to_name_a_send_is_copied() {
    let (here, mut there) = tcp_pair();
    let mut ring = ring();
    ring.attach(1, &here).unwrap();
    drop(here);
    let bytes = Rc::new(Bytes::from(vec![7; 3000]));
    for keeps in [true, false] {
        if !keeps {
            ring.handles.as_mut().unwrap().let_go(1);
        }
        ring.send(1, &bytes, 0, 3000, Mode::ZeroCopy);
        let events = completions(&mut ring, if keeps { 2 } else { 1 });
        let sent = Event::Sent {
            result: Ok(3000),
            held: keeps,
        };
        assert_eq!(events[0].event, sent);
        there.read_exact(&mut [0; 3000]).unwrap();
    }
}

#[test]
fn a_closed_slot_keeps_no_descriptor() {
    let (here, mut there) = tcp_pair();
    let mut ring = ring();
    ring.attach(1, &here).unwrap();
    drop(here);
    ring.close(1);
    assert_eq!(completions(&mut ring, 1)[0].event, Event::Closed);
    assert_eq!(there.read(&mut [0]).unwrap(), 0);
}

#[test]
fn where_the_kernel_refuses_zero_copy_a_send_is_copied() {
    // Unix sockets know no zero copy.
    let (here, mut there) = UnixStream::pair().unwrap();
    let mut ring = ring();
    ring.attach(2, &here).unwrap();
    let bytes = Rc::new(Bytes::from(vec![7; 5000]));
    for _ in 0..2 {
        ring.send(2, &bytes, 1, 4000, Mode::ZeroCopy);
        let sent = Event::Sent {
            result: Ok(4000),
            held: false,
        };
        assert_eq!(completions(&mut ring, 1)[0].event, sent);
        there.read_exact(&mut [0; 4000]).unwrap();
        assert!(ring.copies[2], "and so is the next one, at once");
    }
    ring.attach(2, &there).unwrap();
    assert!(!ring.copies[2], "another socket may be of another kind");
    assert_eq!(ring.refusals(), 0, "that was not for want of memory");
}

#[test]
fn a_full_queue_is_handed_over_and_keeps_its_order() {
    let (here, mut there) = UnixStream::pair().unwrap();
    let mut ring = ring();
    ring.attach(0, &here).unwrap();
    let bytes = Rc::new(Bytes::from_static(b"abc"));
    for round in 0..3 {
        ring.send(0, &bytes, 0, 3, Mode::Copy);
        for _ in 0..SQ_ENTRIES {
            ring.cancel_receive(0);
        }
        if round == 1 {
            // As if the kernel had taken nothing when the queue was full.
            let entry = opcode::Nop::new()
                .build()
                .user_data(pack(Kind::Cancel, 0, 0));
            ring.waiting.push_back(entry);
            ring.cancel_await(0);
            assert_eq!((ring.waiting.len(), ring.room()), (2, 0));
        }
        let more = if round == 1 { 2 } else { 0 };
        let events = completions(&mut ring, SQ_ENTRIES as usize + 1 + more);
        assert_eq!(events.len(), SQ_ENTRIES as usize + 1 + more);
        assert!(matches!(events[0].event, Event::Sent { .. }));
        assert_eq!(ring.queued(), 0);
        there.read_exact(&mut [0; 3]).unwrap();
    }
}

#[test]
fn what_waits_for_long_is_made_anew_without_a_word() {
    let (here, mut there) = tcp_pair();
    let mut ring = ring();
    assert!(ring.renewal.is_some(), "as on a kernel that needs it");
    ring.attach(3, &here).unwrap();
    ring.receive(3);
    for round in 0..10u8 {
        let mut none = Vec::new();
        // Each slot has its turn.
        for _ in 0..4 {
            ring.tidy();
            ring.enter().unwrap();
            ring.completions(&mut none);
        }
        assert_eq!(none, []);
        there.write_all(&[round; 3]).unwrap();
        let came = completions(&mut ring, 1);
        let Event::Received { buffer, len, armed } = came[0].event else {
            panic!("{came:?}");
        };
        assert!(armed);
        assert_eq!(ring.buffer(buffer, len), [round; 3]);
        ring.give_back(buffer);
    }
    // Called off in the middle of it, the end is told.
    for _ in 0..4 {
        ring.tidy();
    }
    ring.cancel_receive(3);
    let mut events = completions(&mut ring, 2);
    events.sort_by_key(|completion| completion.event == Event::Cancelled);
    assert_eq!(events[0].event, Event::Ended(Some(Errno::ECANCELED)));
    assert_eq!(events[1].event, Event::Cancelled);
}

/// How many of those are told as received, and how many receives have ended with that.
fn received(ring: &mut Uring, told: &[Completion], said: u8, heard: &mut [u8]) -> Vec<u32> {
    let mut ended = Vec::new();
    for completion in told {
        let Event::Received { buffer, len, armed } = completion.event else {
            panic!("{completion:?}");
        };
        assert_eq!(ring.buffer(buffer, len), [said]);
        ring.give_back(buffer);
        heard[completion.slot as usize] += 1;
        if !armed {
            ended.push(completion.slot);
        }
    }
    ended
}

/// Peers of so many slots, from which the ring receives.
fn peers(ring: &mut Uring, slots: u32) -> Vec<UnixStream> {
    let attach = |slot: u32| {
        let (here, there) = UnixStream::pair().unwrap();
        ring.attach(slot, &here).unwrap();
        ring.receive(slot);
        there
    };
    (0..slots).map(attach).collect()
}

#[test]
fn one_entry_brings_what_has_come_for_many() {
    const SLOTS: u32 = 200;
    let wake = EventFd::new().unwrap();
    let mut ring = Uring::new(SLOTS, 256, wake.as_fd(), Abilities::default()).unwrap();
    let peers = peers(&mut ring, SLOTS);
    ring.enter().unwrap();
    for mut peer in &peers {
        peer.write_all(b"!").unwrap();
    }
    ring.enter().unwrap();
    let mut told = Vec::new();
    ring.completions(&mut told);
    let mut heard = vec![0; SLOTS as usize];
    received(&mut ring, &told, b'!', &mut heard);
    assert!(heard.iter().all(|times| *times == 1), "{heard:?}");
}

#[test]
fn more_than_the_queue_holds_is_kept_by_the_kernel_and_told_once() {
    const SLOTS: u32 = 1500;
    let wake = EventFd::new().unwrap();
    let ability = Abilities::default();
    let mut ring = Uring::with_queue(SQ_ENTRIES, SLOTS, 2048, wake.as_fd(), ability).unwrap();
    let (_, files_max) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, files_max, files_max).unwrap();
    let peers = peers(&mut ring, SLOTS);
    let mut heard = vec![0; SLOTS as usize];
    for round in 1..=3u8 {
        ring.enter().unwrap();
        for mut peer in &peers {
            peer.write_all(&[round]).unwrap();
        }
        let before = ring.overflows();
        // Nobody looks, for as long as it takes the kernel to have all of them.
        for _ in 0..SLOTS {
            ring.enter().unwrap();
        }
        assert!(ring.overflows() > before, "not all have room");
        let mut ended = Vec::new();
        let mut count = 0;
        while count < SLOTS as usize {
            assert!(ring.is_due(), "nobody else would wake for the rest");
            let mut told = Vec::new();
            ring.completions(&mut told);
            assert!(told.len() <= SQ_ENTRIES as usize);
            count += told.len();
            ended.extend(received(&mut ring, &told, round, &mut heard));
            ring.enter().unwrap();
        }
        assert!(heard.iter().all(|times| *times == round));
        assert!(!ended.is_empty(), "a receive that meets a full queue ends");
        ended.into_iter().for_each(|slot| ring.receive(slot));
    }
    // All peers end at once, so that receives do.
    drop(peers);
    for _ in 0..SLOTS {
        ring.enter().unwrap();
    }
    let mut told = completions(&mut ring, SLOTS as usize);
    told.sort_by_key(|completion| completion.slot);
    for (slot, completion) in (0..SLOTS).zip(told) {
        let event = Event::Ended(None);
        assert_eq!(completion, Completion { slot, event });
    }
    assert!(!ring.is_due());
}
