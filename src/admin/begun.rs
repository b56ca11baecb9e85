//! A stream of which the beginning has been read already: that comes first, and then the rest.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The stream, and what has been read of it and not yet given out.
pub(super) struct Begun<S> {
    stream: S,
    begun: Vec<u8>,
    given: usize,
}

impl<S> Begun<S> {
    pub(super) fn new(begun: Vec<u8>, stream: S) -> Self {
        Begun {
            stream,
            begun,
            given: 0,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Begun<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let left = &self.begun[self.given..];
        if left.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, into);
        }
        let len = left.len().min(into.remaining());
        into.put_slice(&left[..len]);
        self.given += len;
        if self.given == self.begun.len() {
            (self.begun, self.given) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Begun<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[test]
    fn what_was_read_comes_first_in_whatever_pieces() {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(async {
            let mut stream = Begun::new(b"abc".to_vec(), &b"def"[..]);
            let mut read = Vec::new();
            let mut piece = [0; 2];
            loop {
                match stream.read(&mut piece).await.unwrap() {
                    0 => break,
                    len => read.extend_from_slice(&piece[..len]),
                }
            }
            assert_eq!(read, b"abcdef");
        });
    }
}
