//! One core's side of the simulated kernel: what has been asked of each slot of its ring,
//! what is not told yet, and what a core may ask.

use std::collections::VecDeque;
use std::net::{Shutdown, SocketAddr};
use std::rc::Rc;

use bytes::Bytes;
use fanfare::ring::{Completion, Errno, Mode};

/// What a core has asked for.
pub(crate) enum Request {
    /// From the listener with that number.
    Accept(usize),
    CancelAccept,
    Install,
    Receive,
    ReceiveOnce,
    Send {
        bytes: Rc<Bytes>,
        from: u32,
        len: u32,
        mode: Mode,
    },
    Poll,
    Shutdown(Shutdown),
    Reset,
    CancelReceive,
    CancelPoll,
    Close,
}

/// What has been asked of one slot and is not answered.
#[derive(Default)]
pub(crate) struct Slot {
    pub(crate) socket: Option<usize>,
    /// The listener that somebody is to come from.
    pub(crate) accepting: Option<usize>,
    pub(crate) receiving: bool,
    /// Up to where each receive has come that the core has not been told of.
    pub(crate) untold: VecDeque<u64>,
    /// That ends with the first bytes.
    pub(crate) once: bool,
    pub(crate) installing: bool,
    pub(crate) polling: bool,
    /// Bytes of the send under way that may still be accepted.
    pub(crate) sending: Option<u32>,
    pub(crate) shutting: u32,
    pub(crate) shut_write: bool,
    pub(crate) shut_both: bool,
    pub(crate) closing: bool,
}

/// Done or decided, and not yet told.
pub(crate) enum Pending {
    Sent {
        result: Result<u32, Errno>,
        held: Option<Held>,
    },
    Shutdown(Shutdown),
    Reset,
    Install,
    Close,
}

/// Bytes of a zero-copy send.
pub(crate) struct Held {
    pub(crate) slot: u32,
    pub(crate) socket: usize,
    /// The socket's `accepted` behind them.
    pub(crate) end: u64,
    pub(crate) bytes: Rc<Bytes>,
    pub(crate) from: u32,
    pub(crate) len: u32,
    pub(crate) sum: u64,
    pub(crate) copied: bool,
}

/// One core's side of the kernel.
#[derive(Default)]
pub(crate) struct Side {
    pub(crate) slots: Vec<Slot>,
    pub(crate) pending: Vec<(u32, Pending)>,
    pub(crate) ready: Vec<Completion>,
    pub(crate) held: Vec<Held>,
    /// Who has come in, by the number in the answer, until that is asked.
    pub(crate) callers: Vec<Option<SocketAddr>>,
    /// Slots whose sockets have been given plain descriptors, or could not be.
    pub(crate) plain: Vec<(u32, Result<usize, Errno>)>,
    pub(crate) muted: bool,
    /// The core has been woken.
    pub(crate) signal: bool,
}

impl Slot {
    /// Checks that a core may ask this of the slot, whose number is `slot`.
    pub(crate) fn check(&mut self, slot: u32, request: &Request) {
        match request {
            Request::Accept(_) => {
                let is_free = self.socket.is_none() && self.accepting.is_none();
                assert!(is_free, "slot {slot} is taken");
                return;
            }
            // Who comes at that moment has the slot.
            Request::CancelAccept => return,
            _ => {}
        }
        assert!(self.socket.is_some(), "slot {slot} is empty");
        assert!(!self.closing, "slot {slot} is being closed");
        match request {
            Request::Accept(_) | Request::CancelAccept => unreachable!("seen to above"),
            Request::Receive | Request::ReceiveOnce => {
                assert!(!self.receiving, "a receive is armed already");
                assert!(!self.installing, "it is on its way elsewhere");
            }
            Request::Install => {
                let asked = self.receiving || self.polling || self.sending.is_some();
                assert!(!asked, "it goes elsewhere while it is in use");
                self.installing = true;
            }
            Request::Send {
                bytes, from, len, ..
            } => {
                assert!(self.sending.is_none(), "one send at a time for slot {slot}");
                assert!(!self.polling, "a send while readiness is awaited");
                assert!(!self.shut_write, "a send behind the end of sending");
                assert!(*len > 0, "an empty send");
                assert!(u64::from(*from) + u64::from(*len) <= bytes.len() as u64);
                self.sending = Some(*len);
            }
            Request::Reset => {
                assert!(!self.shut_both, "it is shut already");
                (self.shut_write, self.shut_both) = (true, true);
            }
            Request::CancelReceive | Request::CancelPoll => {}
            Request::Poll => assert!(!self.polling, "readiness is awaited already"),
            Request::Shutdown(how) => {
                self.shut_write = true;
                assert!(!self.shut_both, "it is shut already");
                self.shut_both |= *how == Shutdown::Both;
            }
            Request::Close => {
                let busy = self.receiving || self.polling || self.sending.is_some();
                assert!(!self.installing, "a close while a descriptor is made");
                assert!(!busy && self.shutting == 0, "a close while it is in use");
            }
        }
    }
}

impl Held {
    pub(crate) fn run(&self) -> &[u8] {
        &self.bytes[self.from as usize..(self.from + self.len) as usize]
    }
}
