use super::*;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use nix::sys::eventfd::EventFd;

fn ring() -> Uring {
    let wake = EventFd::new().unwrap();
    Uring::new(4, 16, wake.as_fd(), false).unwrap()
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

#[test]
fn bytes_that_the_kernel_still_holds_outlive_the_ring() {
    let mut ring = ring();
    let bytes = Rc::new(Bytes::from(vec![7; 100]));
    ring.held.hold(bytes.clone());
    drop(ring);
    assert_eq!(Rc::strong_count(&bytes), 2, "they are kept for good");
}
