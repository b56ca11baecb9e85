//! A stream whose writes are gathered while its connection is at work, and go out together
//! once that has nothing more to do for the moment: the answers to requests that came
//! together would be a call of the kernel each otherwise.
//!
//! Hyper's own `pipeline_flush` is as fast, but never sends a refusal that ends a connection
//! while bytes of it are unread, and gathers without bound.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Beyond this much nothing is gathered: the peer has to take some of it first.
const BYTES_MAX: usize = 64 << 10;

/// The stream, for who reads and writes.
pub(super) struct Corked<S>(Arc<Mutex<Gathering<S>>>);

/// Its other end, for who says when what is gathered goes out.
pub(super) struct Uncork<S>(Arc<Mutex<Gathering<S>>>);

struct Gathering<S> {
    stream: S,
    gathered: Vec<u8>,
    /// Of that.
    written: usize,
}

pub(super) fn cork<S>(stream: S) -> (Corked<S>, Uncork<S>) {
    let shared = Arc::new(Mutex::new(Gathering {
        stream,
        gathered: Vec::new(),
        written: 0,
    }));
    (Corked(shared.clone()), Uncork(shared))
}

impl<S: AsyncWrite + Unpin> Uncork<S> {
    /// Sends what is gathered.
    pub(super) fn poll(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.0).poll_send(context)
    }
}

impl<S: AsyncWrite + Unpin> Gathering<S> {
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.gathered.len() {
            let rest = &self.gathered[self.written..];
            match ready!(Pin::new(&mut self.stream).poll_write(context, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                len => self.written += len,
            }
        }
        self.gathered.clear();
        self.written = 0;
        // Over TLS the stream may hold records that the peer has not taken.
        Pin::new(&mut self.stream).poll_flush(context)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Corked<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut lock(&self.0).stream).poll_read(context, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Corked<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut shared = lock(&self.0);
        if shared.gathered.len() >= BYTES_MAX {
            ready!(shared.poll_send(context))?;
        }
        shared.gathered.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    /// That is for [`Uncork::poll`].
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut shared = lock(&self.0);
        ready!(shared.poll_send(context))?;
        Pin::new(&mut shared.stream).poll_shutdown(context)
    }
}

fn lock<S>(shared: &Mutex<Gathering<S>>) -> MutexGuard<'_, Gathering<S>> {
    shared.lock().expect("nothing panics inside the lock")
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[test]
    fn writes_go_out_together_when_it_is_said_or_at_the_end() {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(async {
            let (near, mut far) = duplex(1 << 20);
            let (mut corked, uncork) = cork(near);
            for piece in ["a", "b", "c"] {
                corked.write_all(piece.as_bytes()).await.unwrap();
                corked.flush().await.unwrap();
            }
            let mut heard = [0; 8];
            let nothing = poll_fn(|context| {
                let mut into = ReadBuf::new(&mut heard);
                Poll::Ready(
                    Pin::new(&mut far)
                        .poll_read(context, &mut into)
                        .is_pending(),
                )
            });
            assert!(nothing.await);
            poll_fn(|context| uncork.poll(context)).await.unwrap();
            assert_eq!(far.read(&mut heard).await.unwrap(), 3);
            corked.write_all(b"end").await.unwrap();
            corked.shutdown().await.unwrap();
            assert_eq!(far.read(&mut heard).await.unwrap(), 3);
            assert_eq!(&heard[..3], b"end");
        });
    }

    #[test]
    fn no_more_is_gathered_than_may_be_while_the_peer_takes_nothing() {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(async {
            let (near, mut far) = duplex(1024);
            let (mut corked, _uncork) = cork(near);
            let piece = [7; 1000];
            let mut taken = 0;
            let full = poll_fn(|context| {
                loop {
                    match Pin::new(&mut corked).poll_write(context, &piece) {
                        Poll::Ready(len) => taken += len.unwrap(),
                        Poll::Pending => return Poll::Ready(taken),
                    }
                }
            });
            assert!(full.await <= BYTES_MAX + piece.len());
            tokio::join!(
                async {
                    corked.shutdown().await.unwrap();
                    drop(corked);
                },
                async {
                    let mut all = Vec::new();
                    let mut piece = [0; 4096];
                    while all.len() < taken {
                        let len = far.read(&mut piece).await.unwrap();
                        all.extend_from_slice(&piece[..len]);
                    }
                    assert!(all.iter().all(|byte| *byte == 7));
                }
            );
        });
    }
}
