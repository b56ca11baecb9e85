//! What the acceptor talks over: a socket, as it is or with TLS on it.
//!
//! Hands are shaken in `tls_door`. From then on records are those of `protocol::tls`, until the
//! reactor or the thread of the server API takes the session over.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, RawFd};

use bytes::Bytes;
use tokio_uring::buf::{BoundedBuf, IoBuf};
use tokio_uring::net::TcpStream;

use crate::protocol::tls::{Alert, ContentType, Event, Fault, Session};

/// The first read of a head; nearly all heads fit.
pub(super) const READ_BYTES: usize = 1024;
/// A read of records; a request with many fields is one of two.
const SEALED_READ_BYTES: usize = 2 * READ_BYTES;

/// A connection that the acceptor still has to answer.
pub(super) struct Stream {
    socket: TcpStream,
    wire: RefCell<Wire>,
    is_kept_alive: bool,
    /// What the peer has done wrong over TLS, for who counts it.
    fault: Cell<Option<Fault>>,
    /// The peer has ended it without having said so over TLS.
    is_truncated: Cell<bool>,
}

/// How the shaking of hands has ended.
pub(super) enum Shaken {
    /// Records are sealed from now on.
    Over,
    /// It has failed, which has been counted and told.
    Failed,
    /// The peer speaks HTTP without TLS, and has begun so.
    Plain(Vec<u8>),
}

/// How bytes go over it.
enum Wire {
    Plain,
    /// TLS is to be spoken, and no hands have been shaken.
    Unshaken,
    /// Nothing can be said: hands are being shaken, or that has failed, or somebody else has
    /// the session.
    Mute,
    Sealed(Box<Sealed>),
}

struct Sealed {
    session: Box<Session>,
    /// Records that came with the last one of the handshake.
    behind: Vec<u8>,
}

/// What a read of records has come to.
#[derive(Default)]
struct Opened {
    /// Content has come.
    some: bool,
    /// Nothing more will.
    ended: bool,
    /// What is to be sent at once.
    reply: Vec<u8>,
    /// What the peer has done wrong behind that.
    fault: Option<Fault>,
}

impl Sealed {
    /// What is sent begins with what has not been.
    fn begin(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.session.unsent)
    }

    /// The last that is sent.
    fn last(&mut self, alert: Alert) -> Vec<u8> {
        let mut last = self.begin();
        self.session.send.alert(alert, &mut last);
        last
    }
}

impl Stream {
    /// With `tls`, hands are to be shaken before anything else; with `is_kept_alive` the kernel
    /// sees whether the peer lives.
    pub(super) fn new(socket: TcpStream, tls: bool, is_kept_alive: bool) -> Self {
        let wire = match tls {
            true => Wire::Unshaken,
            false => Wire::Plain,
        };
        Stream {
            socket,
            wire: RefCell::new(wire),
            is_kept_alive,
            fault: Cell::new(None),
            is_truncated: Cell::new(false),
        }
    }

    pub(super) fn is_kept_alive(&self) -> bool {
        self.is_kept_alive
    }

    /// TLS is to be spoken, and no hands have been shaken.
    pub(super) fn is_unshaken(&self) -> bool {
        matches!(*self.wire.borrow(), Wire::Unshaken)
    }

    /// Nothing can be said.
    pub(super) fn is_mute(&self) -> bool {
        matches!(*self.wire.borrow(), Wire::Mute)
    }

    pub(super) fn is_sealed(&self) -> bool {
        matches!(*self.wire.borrow(), Wire::Sealed(_))
    }

    /// What the peer has done wrong over TLS.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.fault.get()
    }

    /// The peer has ended it without having said so over TLS.
    pub(super) fn is_truncated(&self) -> bool {
        self.is_truncated.get()
    }

    /// The shaking of hands begins.
    pub(super) fn mute(&self) {
        *self.wire.borrow_mut() = Wire::Mute;
    }

    /// The peer speaks no TLS, and is answered so.
    pub(super) fn make_plain(&self) {
        *self.wire.borrow_mut() = Wire::Plain;
    }

    /// Hands have been shaken; the records `behind` came with the last one.
    pub(super) fn seal(&self, session: Session, behind: Vec<u8>) {
        let session = Box::new(session);
        *self.wire.borrow_mut() = Wire::Sealed(Box::new(Sealed { session, behind }));
    }

    /// The session, for somebody else to go on with; all that was read has been opened.
    pub(super) fn take_session(&self) -> Option<Box<Session>> {
        if !self.is_sealed() {
            return None;
        }
        match self.wire.replace(Wire::Mute) {
            Wire::Sealed(sealed) => Some(sealed.session),
            _ => None,
        }
    }

    /// Reads what has come, behind what `bytes` hold. 0 at the end.
    pub(super) async fn read(&self, bytes: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
        if self.is_sealed() {
            return self.read_sealed(bytes).await;
        }
        self.read_raw(bytes).await
    }

    /// The same of bytes as they come, whatever they mean.
    pub(super) async fn read_raw(&self, mut bytes: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
        if bytes.len() == bytes.capacity() {
            bytes.reserve(bytes.len().max(READ_BYTES));
        }
        let had = bytes.len();
        let (read, slice) = self.socket.read(bytes.slice(had..)).await;
        (read, slice.into_inner())
    }

    async fn read_sealed(&self, mut bytes: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
        let had = bytes.len();
        let mut raw = match &mut *self.wire.borrow_mut() {
            Wire::Sealed(sealed) => std::mem::take(&mut sealed.behind),
            _ => Vec::new(),
        };
        loop {
            let opened = self.open(&mut raw, &mut bytes);
            let Opened {
                some,
                ended,
                reply,
                fault,
            } = opened;
            // Before the last word, whose number is the next one.
            if !reply.is_empty()
                && let (Err(error), _) = self.socket.write_all(reply).await
            {
                return (Err(error), bytes);
            }
            if let Some(fault) = fault {
                return (self.break_off(fault).await, bytes);
            }
            if some || ended {
                return (Ok(bytes.len() - had), bytes);
            }
            let (read, more) = self
                .socket
                .read(Vec::with_capacity(SEALED_READ_BYTES))
                .await;
            raw = more;
            match read {
                // Without a word: what has come may be cut short.
                Ok(0) => {
                    self.is_truncated.set(true);
                    return (Ok(0), bytes);
                }
                Ok(_) => {}
                Err(error) => return (Err(error), bytes),
            }
        }
    }

    /// Puts the content of records behind `bytes`.
    fn open(&self, raw: &mut [u8], bytes: &mut Vec<u8>) -> Opened {
        let mut opened = Opened::default();
        let mut wire = self.wire.borrow_mut();
        let Wire::Sealed(sealed) = &mut *wire else {
            opened.ended = true;
            return opened;
        };
        let Session {
            unsent,
            send,
            receive,
        } = &mut *sealed.session;
        let mut raw = raw;
        loop {
            let event = match receive.next(&mut raw) {
                Ok(event) => event,
                Err(fault) => {
                    opened.fault = Some(fault);
                    break;
                }
            };
            match event {
                None => break,
                Some(Event::Data(data)) => {
                    bytes.extend_from_slice(data);
                    opened.some = true;
                }
                Some(Event::KeyUpdate { requested: true }) => send.key_update(&mut opened.reply),
                Some(Event::KeyUpdate { requested: false }) => {}
                Some(Event::Refused(alert)) => send.alert(alert, &mut opened.reply),
                Some(Event::CloseNotify) => break,
            }
        }
        opened.ended = receive.has_ended();
        if !opened.reply.is_empty() {
            opened.reply.splice(..0, std::mem::take(unsent));
        }
        opened
    }

    /// The peer has broken the protocol, and is told so.
    async fn break_off(&self, fault: Fault) -> io::Result<usize> {
        self.fault.set(Some(fault));
        let last = match (&mut *self.wire.borrow_mut(), fault.alert()) {
            (Wire::Sealed(sealed), Some(alert)) => sealed.last(alert),
            _ => Vec::new(),
        };
        self.mute();
        if !last.is_empty() {
            let (sent, _) = self.socket.write_all(last).await;
            sent?;
        }
        Err(io::Error::other(fault))
    }

    /// Sends all of it.
    pub(super) async fn write_all(&self, plain: Bytes) -> io::Result<()> {
        let sealed = match &mut *self.wire.borrow_mut() {
            Wire::Plain => None,
            Wire::Unshaken | Wire::Mute => return Err(io::ErrorKind::NotConnected.into()),
            Wire::Sealed(sealed) => {
                let mut out = sealed.begin();
                let send = &mut sealed.session.send;
                send.seal(ContentType::ApplicationData, &plain, &mut out);
                Some(out)
            }
        };
        match sealed {
            None => self.write_raw(plain).await,
            Some(records) => self.write_raw(records).await,
        }
    }

    /// Sends bytes as they are.
    pub(super) async fn write_raw(&self, bytes: impl IoBuf) -> io::Result<()> {
        self.socket.write_all(bytes).await.0
    }

    /// Says that nothing more comes from here.
    pub(super) async fn end(&self) -> io::Result<()> {
        let last = match &mut *self.wire.borrow_mut() {
            Wire::Sealed(sealed) => Some(sealed.last(Alert::CloseNotify)),
            _ => None,
        };
        if let Some(last) = last {
            self.write_raw(last).await?;
        }
        self.socket.shutdown(Shutdown::Write)
    }

    /// Ends it both ways, with whatever is under way.
    pub(super) fn cut(&self) {
        // It may have ended by itself.
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}
