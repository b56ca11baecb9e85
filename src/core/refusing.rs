//! How the acceptor parts from whom it does not hand on: the answer, a refusal or
//! a page, and a little patience so that it arrives.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;
use tokio_uring::buf::BoundedBuf;
use tokio_uring::net::TcpStream;

use super::acceptor::{Acceptor, READ_BYTES};
use super::asking::Asks;
use crate::config::ProxyHeader;
use crate::protocol::event_stream::shown_refusal;
use crate::protocol::http::{Reject, Terms, response, wants_head_only};
use crate::protocol::proxy;

/// How long a peer that has been refused may go on sending: closing on unread
/// bytes would make the kernel take the answer back.
const LINGER: Duration = Duration::from_millis(1000);
/// How long one that is refused unread may take to say how it asks. Then it is
/// answered whatever it wants: silent peers shall not take up the patience that
/// others are owed.
const ASKING_TIME: Duration = Duration::from_millis(200);
/// Refused peers that are waited for at a time. Beyond: they are just closed.
const LINGERING_MAX: usize = 512;

impl Acceptor {
    /// Refuses a request. Where it is not known whether that asks with `HEAD`, as
    /// it was refused before it was read, it is read so far first.
    pub(super) async fn refuse(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        reject: Reject,
        asks: Asks,
    ) {
        self.metrics().note_reject(reject);
        tracing::debug!(%peer, reason = reject.name(), "request refused");
        let part = async |stream: &TcpStream| {
            let (head_only, page) = match asks {
                Asks::Read { head_only, page } => (head_only, page),
                Asks::Unread(begin) => (self.asks_with_head(stream, peer, begin).await, None),
            };
            let fields = page.as_ref().map(shown_refusal).unwrap_or_default();
            let terms = Terms {
                head_only,
                now_s: self.hub.unix_s(),
            };
            let retry_after_s = self.hub.settings().retry_after_s as u32;
            send_and_linger(stream, response(reject, &fields, retry_after_s, terms)).await
        };
        // On the heap, here and below: the task of each handshake would be as large.
        Box::pin(self.part(stream, part)).await;
    }

    /// Sends a whole answer and parts from the peer so that it arrives.
    pub(super) async fn answer(&self, stream: TcpStream, answer: Bytes) {
        let part = async |stream: &TcpStream| send_and_linger(stream, answer).await;
        Box::pin(self.part(stream, part)).await;
    }

    /// Does the last that is done with a peer, if there is room for that.
    async fn part(&self, stream: TcpStream, part: impl AsyncFnOnce(&TcpStream) -> io::Result<()>) {
        if self.lingering.get() < LINGERING_MAX {
            self.lingering.set(self.lingering.get() + 1);
            // A peer that takes neither the answer nor the hint is cut off.
            let _ = timeout(ASKING_TIME + LINGER, part(&stream)).await;
            self.lingering.set(self.lingering.get() - 1);
        }
        // Ends a read or write that the time limit has left behind.
        let _ = stream.shutdown(Shutdown::Both);
    }

    /// Reads a request on that begins with `bytes`, as far as the method. `peer` may
    /// be a proxy, which says first who asks.
    async fn asks_with_head(
        &self,
        stream: &TcpStream,
        peer: SocketAddr,
        mut bytes: Vec<u8>,
    ) -> bool {
        let mut proxy_header = self.hub.settings().proxy_header_of(peer.ip());
        bytes.reserve(READ_BYTES);
        let read = async {
            while bytes.len() < READ_BYTES {
                let had = bytes.len();
                let (read, slice) = stream.read(bytes.slice(had..)).await;
                bytes = slice.into_inner();
                if !matches!(read, Ok(1..)) {
                    break;
                }
                if proxy_header == ProxyHeader::ProxyProtocol {
                    match proxy::parse(&bytes) {
                        Ok(None) => continue,
                        Ok(Some((_, len))) => drop(bytes.drain(..len)),
                        Err(proxy::NoHeader) => {}
                    }
                    proxy_header = ProxyHeader::None;
                }
                if let Some(head_only) = wants_head_only(&bytes) {
                    return head_only;
                }
            }
            false
        };
        timeout(ASKING_TIME, read).await.unwrap_or(false)
    }
}

async fn send_and_linger(stream: &TcpStream, answer: Bytes) -> io::Result<()> {
    let (sent, _) = stream.write_all(answer).await;
    sent?;
    stream.shutdown(Shutdown::Write)?;
    let linger = async {
        let mut scrap = Vec::with_capacity(READ_BYTES);
        loop {
            let (read, buffer) = stream.read(scrap).await;
            scrap = buffer;
            if !matches!(read, Ok(1..)) {
                return;
            }
        }
    };
    let _ = timeout(LINGER, linger).await;
    Ok(())
}
