//! A visitor's connection that has come over TLS, for who reads and writes plain bytes: its
//! records are opened and sealed here, as its session has been taken from the handshake.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::hub::Hub;
use crate::protocol::tls::{Alert, ContentType, Event, Fault, PLAIN_BYTES_MAX, Session};

/// What is read of records at a time.
const READ_BYTES: usize = 4 << 10;
/// With more than this sealed and not taken by the peer, nothing more is.
const UNSENT_BYTES_MAX: usize = 64 << 10;
/// What is sealed at a time: records of all their size.
const SEALED_BYTES: usize = PLAIN_BYTES_MAX;

pub(super) struct Sealed<S> {
    stream: S,
    session: Box<Session>,
    /// Opened, and not asked for yet.
    opened: Vec<u8>,
    /// Of that.
    taken: usize,
    /// Records that the peer has not taken.
    sealed: Vec<u8>,
    /// Of that.
    sent: usize,
    /// Nothing more is read.
    has_ended: bool,
    has_said_goodbye: bool,
    hub: Arc<Hub>,
}

impl<S> Sealed<S> {
    pub(super) fn new(stream: S, mut session: Box<Session>, hub: Arc<Hub>) -> Self {
        let sealed = std::mem::take(&mut session.unsent);
        Sealed {
            stream,
            session,
            opened: Vec::new(),
            taken: 0,
            sealed,
            sent: 0,
            has_ended: false,
            has_said_goodbye: false,
            hub,
        }
    }

    /// What has been opened of it already comes first.
    pub(super) fn behind(mut self, begun: Vec<u8>) -> Self {
        self.opened = begun;
        self
    }

    /// Opens what has come.
    fn open(&mut self, mut raw: &mut [u8]) -> Result<(), Fault> {
        let Session { send, receive, .. } = &mut *self.session;
        loop {
            match receive.next(&mut raw)? {
                None | Some(Event::CloseNotify) => break,
                Some(Event::Data(data)) => self.opened.extend_from_slice(data),
                Some(Event::KeyUpdate { requested: true }) => send.key_update(&mut self.sealed),
                Some(Event::KeyUpdate { requested: false }) => {}
                Some(Event::Refused(alert)) => send.alert(alert, &mut self.sealed),
            }
        }
        self.has_ended |= receive.has_ended();
        Ok(())
    }
}

impl<S: AsyncWrite + Unpin> Sealed<S> {
    /// Sends what is sealed.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.sealed.len() {
            let rest = &self.sealed[self.sent..];
            match ready!(Pin::new(&mut self.stream).poll_write(context, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                len => self.sent += len,
            }
        }
        // Who waits for its next request holds no memory for answers.
        self.sealed = Vec::new();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Sealed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if this.taken < this.opened.len() {
                let rest = &this.opened[this.taken..];
                let len = rest.len().min(into.remaining());
                into.put_slice(&rest[..len]);
                this.taken += len;
                if this.taken == this.opened.len() {
                    this.opened = Vec::new();
                    this.taken = 0;
                }
                return Poll::Ready(Ok(()));
            }
            // What is owed to the peer goes out though nobody writes; a peer that takes nothing
            // is read from no further.
            if this.sealed.len() > this.sent
                && this.poll_send(context)?.is_pending()
                && this.sealed.len() - this.sent > UNSENT_BYTES_MAX
            {
                return Poll::Pending;
            }
            if this.has_ended {
                return Poll::Ready(Ok(()));
            }
            let mut raw = [0; READ_BYTES];
            let mut buffer = ReadBuf::new(&mut raw);
            ready!(Pin::new(&mut this.stream).poll_read(context, &mut buffer))?;
            let raw = buffer.filled_mut();
            if raw.is_empty() {
                // Without a word: what has come may be cut short.
                this.hub.tls().counts().truncated.add(1);
                this.has_ended = true;
                continue;
            }
            if let Err(fault) = this.open(raw) {
                this.hub.tls().counts().note_fault(fault);
                tracing::debug!(
                    reason = fault.name(),
                    "TLS connection to the server API ended"
                );
                this.has_ended = true;
                this.has_said_goodbye = true;
                if let Some(alert) = fault.alert() {
                    this.session.send.alert(alert, &mut this.sealed);
                }
                // As far as the peer takes it.
                let _ = this.poll_send(context);
                return Poll::Ready(Err(io::Error::other(fault)));
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Sealed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.has_said_goodbye {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if this.sealed.len() - this.sent >= UNSENT_BYTES_MAX {
            ready!(this.poll_send(context))?;
        }
        let len = bytes.len().min(SEALED_BYTES);
        let send = &mut this.session.send;
        send.seal(
            ContentType::ApplicationData,
            &bytes[..len],
            &mut this.sealed,
        );
        // What does not go out now does with the next call, or with a flush.
        if let Poll::Ready(Err(error)) = this.poll_send(context) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(len))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.has_said_goodbye {
            this.has_said_goodbye = true;
            this.session
                .send
                .alert(Alert::CloseNotify, &mut this.sealed);
        }
        ready!(this.poll_send(context))?;
        Pin::new(&mut this.stream).poll_shutdown(context)
    }
}
