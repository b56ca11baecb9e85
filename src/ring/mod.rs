//! The only place that talks io_uring. It knows sockets by slot number and
//! bytes by handle, and nothing of what they mean.

mod alarm;
mod buffers;
mod callers;
mod entering;
mod entry;
mod handles;
pub mod passing;
mod patience;
mod probe;
mod renewal;
mod token;
mod uring;
mod wake;
mod zero_copy;

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::AsRawFd;
use std::rc::Rc;

use bytes::Bytes;
pub use nix::errno::Errno;

pub use alarm::Alarm;
pub use buffers::BUFFER_BYTES;
pub use handles::handles_max;
pub use patience::patiently;
pub use probe::{Abilities, Feature, LockedMemory, Probe, Unsupported};
pub use uring::Uring;
pub use wake::{Source, Wake};

/// The most slots of one ring: the kernel's own bound of a table of files, which is besides
/// bounded like the descriptors of the process (io_uring_register_files(2)).
pub const SLOTS_MAX: u32 = 1 << 20;

/// Something that happened to the connection in a slot. It states a fact; what
/// follows from it is decided by the caller, later in the same turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Completion {
    pub slot: u32,
    pub event: Event,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A connection has come into the slot, and [`Ring::caller`] says from where; or none has,
    /// for that error, and the slot is as empty as before.
    Accepted { caller: u32, error: Option<Errno> },
    /// `len` bytes lie in buffer `buffer`, to be given back. If `armed` is
    /// false the receive has ended and is to be asked for again.
    Received { buffer: u16, len: u32, armed: bool },
    /// All receive buffers were taken: ask again once some are given back.
    NoBuffers,
    /// The peer has sent its last byte, or (with an error) is gone.
    Ended(Option<Errno>),
    /// A send took so many bytes, or none. With `held` set it was a zero-copy
    /// send and its bytes stay in use until [`Event::Released`].
    Sent {
        result: Result<u32, Errno>,
        held: bool,
    },
    /// The bytes of a zero-copy send are free again; the kernel says whether
    /// it had copied them after all.
    Released { copied: bool },
    /// The socket takes bytes again (or has failed, which a send will tell).
    Writable,
    /// The shutdown is done.
    ShutDown,
    /// The slot is empty.
    Closed,
    /// What was asked for on the slot has been called off; each request says
    /// so itself, too.
    Cancelled,
    /// The slot's socket has a plain descriptor (or cannot have one), to be
    /// had by [`Ring::plain`].
    Installed,
}

/// How a send treats its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Copy,
    /// Without a copy, if it can be. Where the kernel refuses (it lacks locked
    /// memory, or the socket is of a kind that always copies), the ring copies,
    /// and from then on for as long as the slot has this socket.
    ZeroCopy,
}

/// What the reactor needs of a ring. The real one is [`Uring`].
pub trait Ring {
    /// What [`Ring::plain`] yields.
    type Plain;

    /// Gives a listening socket the number `door`, by which it is known from then on. The ring
    /// keeps a handle on it.
    ///
    /// # Errors
    /// Those of duplicating a descriptor.
    fn listen(&mut self, door: u32, listener: &impl AsRawFd) -> io::Result<()>;

    /// Accepts one connection from the listener with that number into an empty slot, whenever
    /// one comes. Answered by [`Event::Accepted`], once. The connection has no plain descriptor
    /// before [`Ring::install`].
    fn accept(&mut self, slot: u32, door: u32);

    /// Calls off an accept. A connection that comes at that very moment is told all the same.
    fn cancel_accept(&mut self, slot: u32);

    /// The address of who has come, as [`Event::Accepted`] numbers it; none over a Unix socket.
    /// To be asked once for each.
    fn caller(&mut self, number: u32) -> Option<SocketAddr>;

    /// Bounds what the kernel holds unsent for the socket in a slot, before anything is sent.
    fn bound_unsent(&mut self, slot: u32, bytes: usize);

    /// Puts a connected socket into an empty slot. From then on its plain
    /// descriptor is not needed.
    ///
    /// # Errors
    /// Those of registering a file.
    fn attach(&mut self, slot: u32, socket: &impl AsRawFd) -> io::Result<()>;

    /// Asks for everything the peer sends, until an event says it has ended.
    fn receive(&mut self, slot: u32);

    /// Asks for what the peer sends next, at most one buffer of it: what is not received stays
    /// in the socket, for whoever it is handed on to.
    fn receive_once(&mut self, slot: u32);

    /// Sends as much of `bytes[from..from + len]` as the socket takes at once.
    /// One send at a time for each slot. The ring keeps the handle until the
    /// kernel is done with the bytes.
    fn send(&mut self, slot: u32, bytes: &Rc<Bytes>, from: u32, len: u32, mode: Mode);

    /// Asks for one [`Event::Writable`].
    fn await_writable(&mut self, slot: u32);

    /// Ends one or both directions of the connection; with both, what was
    /// asked for on the slot ends as well.
    fn shutdown(&mut self, slot: u32, how: Shutdown);

    /// Resets the connection and takes back what has not been delivered, so
    /// that the kernel releases it; what was asked for on the slot ends as
    /// well. Answered by [`Event::ShutDown`].
    fn reset(&mut self, slot: u32) {
        self.shutdown(slot, Shutdown::Both);
    }

    /// Empties the slot. Nothing else may be outstanding on it but releases.
    fn close(&mut self, slot: u32);

    /// Calls off the receive on a slot. Bytes that have not been received stay
    /// in the socket.
    fn cancel_receive(&mut self, slot: u32);

    /// Calls off the wait for writability on a slot.
    fn cancel_await(&mut self, slot: u32);

    /// Asks for a plain descriptor of the slot's socket (Linux 6.8).
    fn install(&mut self, slot: u32);

    /// The plain descriptors that have been asked for and made.
    fn plain(&mut self) -> Vec<(u32, io::Result<Self::Plain>)>;

    /// Requests that can be made before the next [`Ring::enter`].
    fn room(&self) -> usize;

    /// Requests made since the last [`Ring::enter`].
    fn queued(&self) -> usize;

    /// Hands all requests to the kernel, lets it deliver what is due, and says
    /// how many requests there were. What the kernel has no memory for stays
    /// queued for the next time, and the ring sees to it that this does not
    /// follow too soon.
    ///
    /// # Errors
    /// Those of `io_uring_enter` that do not pass, of which none is expected.
    fn enter(&mut self) -> io::Result<usize>;

    /// How often the kernel had no memory for a request.
    fn refusals(&self) -> u64;

    /// How often more had happened at a time than the ring can tell at once.
    fn overflows(&self) -> u64;

    /// Moves all completions to the end of `into`.
    fn completions(&mut self, into: &mut Vec<Completion>);

    /// The bytes of an [`Event::Received`], which may be opened where they lie.
    fn buffer(&mut self, buffer: u16, len: u32) -> &mut [u8];

    /// Gives a receive buffer back.
    fn give_back(&mut self, buffer: u16);

    /// Stops (`true`) or resumes the wake-ups by eventfd. On resuming it
    /// returns true if something is already waiting.
    fn mute(&mut self, muted: bool) -> bool;

    /// [`Ring::enter`] would find something to deliver. Does not ask the kernel.
    fn is_due(&mut self) -> bool;

    /// Lets go of memory that is kept for speed alone.
    fn tidy(&mut self);
}
