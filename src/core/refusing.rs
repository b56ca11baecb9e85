//! How the acceptor parts from whom it does not hand on: the answer, a refusal or
//! a page, and a little patience so that it arrives.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::acceptor::Acceptor;
use super::asking::Asks;
use super::stream::{READ_BYTES, Shaken, Stream};
use super::traced::Traced;
use crate::config::ProxyHeader;
use crate::protocol::event_stream::shown_refusal;
use crate::protocol::http::{Reject, Terms, demand_tls, response, wants_head_only};
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
    /// Refuses a request, and ends its trace. Where it is not known whether that asks with `HEAD`, as
    /// it was refused before it was read, it is read so far first.
    pub(super) async fn refuse(
        &self,
        stream: &Stream,
        peer: SocketAddr,
        reject: Reject,
        asks: Asks,
        traced: Traced,
    ) {
        traced.refused(reject.name());
        self.metrics().note_reject(reject);
        tracing::debug!(%peer, reason = reject.name(), "request refused");
        let part = async || {
            if stream.is_unshaken() && is_of_handshakes(reject) {
                // To shake hands first would be what there is too much, or no time of.
                self.decline(stream).await;
                stream.end().await?;
                return linger(stream).await;
            }
            let (head_only, page) = match asks {
                Asks::Read { head_only, page } => (head_only, page),
                Asks::Unread(begin) => (self.asks_with_head(stream, peer, begin).await, None),
            };
            if stream.is_mute() {
                stream.end().await?;
                return linger(stream).await;
            }
            let fields = page.as_ref().map(shown_refusal).unwrap_or_default();
            let terms = Terms {
                head_only,
                now_s: self.hub.unix_s(),
            };
            let retry_after_s = self.hub.settings().retry_after_s as u32;
            self.send_and_linger(stream, response(reject, &fields, retry_after_s, terms))
                .await
        };
        // On the heap, here and below: the task of each handshake would be as large.
        Box::pin(self.part(stream, part)).await;
    }

    /// Sends a whole answer and parts from the peer so that it arrives.
    pub(super) async fn answer(&self, stream: &Stream, answer: Bytes) {
        let part = async || self.send_and_linger(stream, answer).await;
        Box::pin(self.part(stream, part)).await;
    }

    /// Parts from a peer that has been told all it can be told.
    pub(super) async fn see_off(&self, stream: &Stream) {
        let part = async || {
            stream.end().await?;
            linger(stream).await
        };
        Box::pin(self.part(stream, part)).await;
    }

    /// Does the last that is done with a peer, if there is room for that.
    async fn part(&self, stream: &Stream, part: impl AsyncFnOnce() -> io::Result<()>) {
        if self.lingering.get() < LINGERING_MAX {
            self.lingering.set(self.lingering.get() + 1);
            // A peer that takes neither the answer nor the hint is cut off.
            let _ = timeout(ASKING_TIME + LINGER, part()).await;
            self.lingering.set(self.lingering.get() - 1);
        }
        // Ends a read or write that the time limit has left behind.
        stream.cut();
    }

    /// Reads a request on that begins with `bytes`, as far as the method, and shakes hands
    /// before it where that is to be. `peer` may be a proxy, which says first who asks.
    async fn asks_with_head(&self, stream: &Stream, peer: SocketAddr, mut bytes: Vec<u8>) -> bool {
        let mut proxy_header = self.hub.settings().proxy_header_of(peer.ip());
        // Hands are shaken over several ways there and back.
        let time = match stream.is_unshaken() {
            true => LINGER,
            false => ASKING_TIME,
        };
        let read = async {
            loop {
                if proxy_header == ProxyHeader::ProxyProtocol && !bytes.is_empty() {
                    match proxy::parse(&bytes) {
                        Ok(None) => {}
                        Ok(Some((_, len))) => {
                            bytes.drain(..len);
                            proxy_header = ProxyHeader::None;
                        }
                        Err(proxy::NoHeader) => proxy_header = ProxyHeader::None,
                    }
                }
                let is_next = proxy_header != ProxyHeader::ProxyProtocol;
                if stream.is_unshaken() && is_next {
                    let begun = std::mem::take(&mut bytes);
                    match self.shake(stream, peer, begun).await {
                        Shaken::Over => {}
                        Shaken::Failed => return false,
                        Shaken::Plain(begun) => bytes = begun,
                    }
                }
                if is_next && let Some(head_only) = wants_head_only(&bytes) {
                    return head_only;
                }
                if bytes.len() >= READ_BYTES {
                    return false;
                }
                let read;
                (read, bytes) = stream.read(std::mem::take(&mut bytes)).await;
                if !matches!(read, Ok(1..)) {
                    return false;
                }
            }
        };
        timeout(time, read).await.unwrap_or(false)
    }

    async fn send_and_linger(&self, stream: &Stream, answer: Bytes) -> io::Result<()> {
        let answer = match stream.is_sealed() {
            true => {
                let mut answer = answer.to_vec();
                demand_tls(&mut answer, self.hub.settings().hsts_max_age_s);
                answer.into()
            }
            false => answer,
        };
        stream.write_all(answer).await?;
        stream.end().await?;
        linger(stream).await
    }
}

/// It is refused as there are too many handshakes, or as one took too long.
fn is_of_handshakes(reject: Reject) -> bool {
    matches!(
        reject,
        Reject::HandshakesMax | Reject::AddressHandshakesMax | Reject::Timeout
    )
}

/// Takes what still comes, unread.
async fn linger(stream: &Stream) -> io::Result<()> {
    let linger = async {
        let mut scrap = Vec::with_capacity(READ_BYTES);
        loop {
            let (read, buffer) = stream.read_raw(scrap).await;
            scrap = buffer;
            scrap.clear();
            if !matches!(read, Ok(1..)) {
                return;
            }
        }
    };
    let _ = timeout(LINGER, linger).await;
    Ok(())
}
