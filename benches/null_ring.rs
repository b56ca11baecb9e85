//! A ring without a kernel behind it: every send is done at once and whole, and
//! nobody ever sends anything. What is left is what the core itself costs.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;

use bytes::Bytes;
use fanfare::ring::{Completion, Event, Mode, Ring};

/// As many as the real ring has room for.
const REQUESTS_MAX: usize = 1024;

#[derive(Default)]
pub(crate) struct NullRing {
    queued: usize,
    done: Vec<Completion>,
}

impl NullRing {
    fn complete(&mut self, slot: u32, event: Event) {
        self.queued += 1;
        self.done.push(Completion { slot, event });
    }
}

impl Ring for NullRing {
    type Plain = OwnedFd;

    fn listen(&mut self, _: u32, _: &impl AsRawFd) -> io::Result<()> {
        Ok(())
    }

    fn accept(&mut self, _: u32, _: u32) {
        self.queued += 1;
    }

    fn cancel_accept(&mut self, slot: u32) {
        self.complete(slot, Event::Cancelled);
    }

    fn caller(&mut self, _: u32) -> Option<SocketAddr> {
        None
    }

    fn bound_unsent(&mut self, _: u32, _: usize) {}

    fn receive_once(&mut self, _: u32) {
        self.queued += 1;
    }

    fn attach(&mut self, _: u32, _: &impl AsRawFd) -> io::Result<()> {
        Ok(())
    }

    fn receive(&mut self, _: u32) {
        self.queued += 1;
    }

    fn send(&mut self, slot: u32, bytes: &Rc<Bytes>, from: u32, len: u32, _: Mode) {
        assert!(from as usize + len as usize <= bytes.len());
        let sent = Event::Sent {
            result: Ok(len),
            held: false,
        };
        self.complete(slot, sent);
    }

    fn await_writable(&mut self, slot: u32) {
        self.complete(slot, Event::Writable);
    }

    fn shutdown(&mut self, slot: u32, _: Shutdown) {
        self.complete(slot, Event::ShutDown);
    }

    fn close(&mut self, slot: u32) {
        self.complete(slot, Event::Closed);
    }

    fn cancel_receive(&mut self, slot: u32) {
        self.complete(slot, Event::Cancelled);
    }

    fn cancel_await(&mut self, slot: u32) {
        self.complete(slot, Event::Cancelled);
    }

    fn install(&mut self, slot: u32) {
        self.complete(slot, Event::Installed);
    }

    fn plain(&mut self) -> Vec<(u32, io::Result<OwnedFd>)> {
        Vec::new()
    }

    fn room(&self) -> usize {
        REQUESTS_MAX - self.queued.min(REQUESTS_MAX)
    }

    fn queued(&self) -> usize {
        self.queued
    }

    fn overflows(&self) -> u64 {
        0
    }

    fn enter(&mut self) -> io::Result<usize> {
        Ok(std::mem::take(&mut self.queued))
    }

    fn completions(&mut self, into: &mut Vec<Completion>) {
        into.append(&mut self.done);
    }

    fn buffer(&mut self, _: u16, _: u32) -> &mut [u8] {
        unreachable!("nobody sends anything")
    }

    fn give_back(&mut self, _: u16) {}

    fn mute(&mut self, _: bool) -> bool {
        false
    }

    fn is_due(&mut self) -> bool {
        !self.done.is_empty()
    }

    fn refusals(&self) -> u64 {
        0
    }

    fn tidy(&mut self) {}
}
