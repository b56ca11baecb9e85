//! The frames of a server, which is asked whether it lives when nothing comes: a connection counts
//! what comes over it, so that a long message on its way is not taken for silence.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Error as SocketError;
use tokio_tungstenite::tungstenite::{Bytes, Message as Frame};

use crate::client::Stream;

/// A server of which nothing comes for so long is asked whether it lives.
pub(super) const PING_AFTER: Duration = Duration::from_secs(20);

pub(super) type Socket = WebSocketStream<Counted>;

/// The next frame, which may take its time while some of it comes: what is asked meanwhile is
/// answered behind it.
///
/// # Errors
/// A sentence on why no more comes.
pub(super) async fn next_frame(socket: &mut Socket, ping_after: Duration) -> Result<Frame, String> {
    let mut read_bytes = socket.get_ref().read_bytes;
    let mut is_asked = false;
    loop {
        match timeout(ping_after, socket.next()).await {
            Ok(None) => return Err("the connection broke off".into()),
            Ok(Some(frame)) => return frame.map_err(|error| broken_off(&error)),
            Err(_) if socket.get_ref().read_bytes > read_bytes => {
                read_bytes = socket.get_ref().read_bytes;
                is_asked = false;
            }
            Err(_) if is_asked => return Err("the server is silent".into()),
            Err(_) => {
                is_asked = true;
                let sent = socket.send(Frame::Ping(Bytes::new())).await;
                sent.map_err(|error| broken_off(&error))?;
            }
        }
    }
}

fn broken_off(error: &SocketError) -> String {
    format!("the connection broke off: {error}")
}

/// A connection, and how much has come over it.
pub(super) struct Counted {
    stream: Box<dyn Stream>,
    read_bytes: u64,
}

impl Counted {
    pub(super) fn new(stream: Box<dyn Stream>) -> Self {
        Counted {
            stream,
            read_bytes: 0,
        }
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, into))?;
        self.read_bytes += (into.filled().len() - before) as u64;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
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
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio_tungstenite::tungstenite::protocol::Role;

    use super::*;

    /// What is heard of a server that does so.
    fn heard(serve: impl AsyncFnOnce(DuplexStream)) -> Result<Frame, String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(async {
            let (near, far) = duplex(1024);
            let near = Counted::new(Box::new(near));
            let mut socket = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
            let hear = next_frame(&mut socket, Duration::from_millis(50));
            tokio::join!(hear, serve(far)).0
        })
    }

    /// A ping, masked and empty.
    async fn await_ping(server: &mut DuplexStream) {
        let mut ping = [0; 6];
        server.read_exact(&mut ping).await.unwrap();
        assert_eq!(ping[..2], [0x89, 0x80]);
    }

    #[test]
    fn a_message_may_take_its_time_while_some_of_it_comes() {
        let frame = heard(async |mut server| {
            server.write_all(&[0x81, 4]).await.unwrap();
            for letter in b"slow" {
                // It is asked each time that nothing has come for a while.
                await_ping(&mut server).await;
                server.write_all(&[*letter]).await.unwrap();
            }
        });
        assert_eq!(frame, Ok(Frame::text("slow")));
    }

    #[test]
    fn a_server_that_does_not_answer_is_left() {
        let mut held = None;
        let frame = heard(async |mut server| {
            await_ping(&mut server).await;
            held = Some(server);
        });
        assert_eq!(frame, Err("the server is silent".into()));
    }
}
