//! Connections that come straight into the ring's table.

use super::*;

/// A ring that accepts at door 0, and who connects there.
fn accepting() -> (Uring, std::net::SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut ring = ring();
    ring.listen(0, &listener).unwrap();
    (ring, listener.local_addr().unwrap())
}

#[test]
fn who_connects_comes_into_the_slot_with_its_address() {
    let (mut ring, address) = accepting();
    ring.accept(2, 0);
    ring.enter().unwrap();
    let mut there = TcpStream::connect(address).unwrap();
    let came = completions(&mut ring, 1);
    let Event::Accepted {
        caller,
        error: None,
    } = came[0].event
    else {
        panic!("{came:?}");
    };
    assert_eq!(came[0].slot, 2);
    assert_eq!(ring.caller(caller), Some(there.local_addr().unwrap()));
    ring.receive_once(2);
    there.write_all(b"hello").unwrap();
    let came = completions(&mut ring, 1);
    let Event::Received { buffer, len, armed } = came[0].event else {
        panic!("{came:?}");
    };
    assert!(!armed, "that was all that was asked for");
    assert_eq!(ring.buffer(buffer, len), b"hello");
    ring.give_back(buffer);
    // What is not received is still there for whoever gets the descriptor.
    there.write_all(b" and more").unwrap();
    ring.install(2);
    let came = completions(&mut ring, 1);
    assert_eq!(came[0].event, Event::Installed);
    let mut plain = ring.plain();
    let (2, Ok(plain)) = plain.pop().unwrap() else {
        panic!("it has a descriptor");
    };
    ring.close(2);
    assert_eq!(completions(&mut ring, 1)[0].event, Event::Closed);
    let mut here = TcpStream::from(plain);
    let mut heard = [0; 9];
    here.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b" and more");
}

#[test]
fn an_accept_that_is_called_off_says_so_and_leaves_the_slot_empty() {
    let (mut ring, address) = accepting();
    ring.accept(1, 0);
    ring.accept(2, 0);
    ring.enter().unwrap();
    ring.cancel_accept(1);
    let ended = completions(&mut ring, 2);
    let error = Some(Errno::ECANCELED);
    let told = |completion: &Completion| matches!(completion.event, Event::Accepted { error: of, .. } if of == error);
    assert!(ended.iter().any(|of| of.slot == 1 && told(of)), "{ended:?}");
    // The other one goes on, and so does the slot.
    ring.accept(1, 0);
    ring.enter().unwrap();
    let _there = [
        TcpStream::connect(address).unwrap(),
        TcpStream::connect(address).unwrap(),
    ];
    let mut slots: Vec<u32> = completions(&mut ring, 2).iter().map(|of| of.slot).collect();
    slots.sort_unstable();
    assert_eq!(slots, [1, 2]);
}

#[test]
fn a_listener_that_does_not_block_is_accepted_from_all_the_same() {
    let listener = TcpListener::bind("[::1]:0");
    let Ok(listener) = listener else {
        return eprintln!("skipped: this machine has no IPv6");
    };
    listener.set_nonblocking(true).unwrap();
    let mut ring = ring();
    ring.listen(0, &listener).unwrap();
    ring.accept(0, 0);
    ring.enter().unwrap();
    let there = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let came = completions(&mut ring, 1);
    let Event::Accepted {
        caller,
        error: None,
    } = came[0].event
    else {
        panic!("{came:?}");
    };
    assert_eq!(ring.caller(caller), Some(there.local_addr().unwrap()));
}

#[test]
fn who_comes_over_a_unix_socket_has_no_address_and_a_bound() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let mut ring = ring();
    ring.listen(0, &listener).unwrap();
    ring.accept(3, 0);
    ring.enter().unwrap();
    let _there = UnixStream::connect(&path).unwrap();
    let came = completions(&mut ring, 1);
    let Event::Accepted {
        caller,
        error: None,
    } = came[0].event
    else {
        panic!("{came:?}");
    };
    assert_eq!(ring.caller(caller), None);
    ring.bound_unsent(3, 8 << 10);
    ring.install(3);
    completions(&mut ring, 1);
    let (_, plain) = ring.plain().pop().unwrap();
    let socket = socket2::Socket::from(plain.unwrap());
    // The kernel doubles it, for its own records.
    assert_eq!(socket.send_buffer_size().unwrap(), 16 << 10);
}

#[test]
fn who_comes_over_tcp_has_the_options_of_the_listener() {
    let listener = socket2::Socket::from(TcpListener::bind("127.0.0.1:0").unwrap());
    listener.set_tcp_nodelay(true).unwrap();
    listener.set_tcp_notsent_lowat(5000).unwrap();
    let mut ring = ring();
    ring.listen(0, &listener).unwrap();
    ring.accept(0, 0);
    ring.enter().unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let _there = TcpStream::connect(address).unwrap();
    completions(&mut ring, 1);
    ring.install(0);
    completions(&mut ring, 1);
    let (_, plain) = ring.plain().pop().unwrap();
    let socket = socket2::Socket::from(plain.unwrap());
    assert!(socket.tcp_nodelay().unwrap());
    assert_eq!(socket.tcp_notsent_lowat().unwrap(), 5000);
}

#[test]
fn a_ring_that_goes_while_it_accepts_lets_go_of_the_listener() {
    let (mut ring, address) = accepting();
    (0..4).for_each(|slot| ring.accept(slot, 0));
    ring.enter().unwrap();
    drop(ring);
    // As soon as the kernel gets to it.
    let end = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(address).is_ok() {
        assert!(Instant::now() < end, "the listener is still open");
        thread::sleep(Duration::from_millis(1));
    }
}
