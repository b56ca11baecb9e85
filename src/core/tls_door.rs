//! The handshake of TLS, between a connection and its request: rustls speaks it, over whole
//! records that it is handed one at a time, so that it holds nothing when it is over. Then the
//! session is taken from it.
//!
//! Signatures cost some 100 µs, for which a core's topics would wait: helpers do those steps.
//! Called by `acceptor` and `refusing`.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::{Error, ProtocolVersion, ServerConnection};
use tokio::sync::oneshot;

use super::acceptor::Acceptor;
use super::stream::{READ_BYTES, Shaken, Stream};
use crate::hub::{Busy, Served, TlsFailure};
use crate::protocol::tls::{Alert, ContentType, HEADER_BYTES, Logged, PLAIN_BYTES_MAX, Session};

/// What a client may send before hands are shaken. A chain of three certificates with keys of
/// RSA has some 6 KiB, and rustls takes no message of more than this.
const SHAKING_BYTES_MAX: usize = 64 << 10;
/// What a cipher of TLS 1.2 may make of a record, the most of all (RFC 5246 section 6.2.3).
const SEALED_BYTES_MAX: usize = PLAIN_BYTES_MAX + 2048;
/// The type of records with messages of the handshake.
const HANDSHAKE: u8 = ContentType::Handshake as u8;

/// A handshake under way.
struct Shaking {
    /// Away while a helper has it.
    conn: Option<Box<ServerConnection>>,
    logged: Arc<Logged>,
    /// Clients show certificates, whose signatures are looked at late.
    asks_clients: bool,
    clear: Clear,
}

/// Messages in the clear, which may come in many records each: rustls acts on whole ones.
#[derive(Default)]
struct Clear {
    /// The head of the one that has begun: its type and its length.
    head: Vec<u8>,
    /// So many bytes of it are still to come.
    left: usize,
}

impl Clear {
    /// Whether a message ends in this content of a record.
    fn ends_with(&mut self, mut content: &[u8]) -> bool {
        const HEAD_BYTES: usize = 4;
        let mut ends = false;
        while !content.is_empty() {
            if self.head.len() < HEAD_BYTES {
                let taken = content.len().min(HEAD_BYTES - self.head.len());
                self.head.extend_from_slice(&content[..taken]);
                content = &content[taken..];
                let &[_, high, middle, low] = &self.head[..] else {
                    break;
                };
                self.left = u32::from_be_bytes([0, high, middle, low]) as usize;
            }
            let taken = content.len().min(self.left);
            self.left -= taken;
            content = &content[taken..];
            if self.left == 0 {
                ends = true;
                self.head.clear();
            }
        }
        ends
    }
}

impl Shaking {
    fn begin(served: &Served) -> Result<Shaking, TlsFailure> {
        let (conn, logged) = served.begin().map_err(|_| TlsFailure::Internal)?;
        Ok(Shaking {
            conn: Some(conn),
            logged,
            asks_clients: served.asks_clients,
            clear: Clear::default(),
        })
    }

    fn conn(&mut self) -> Result<&mut ServerConnection, TlsFailure> {
        self.conn.as_deref_mut().ok_or(TlsFailure::Internal)
    }

    /// Hands are shaken, and what rustls wants to have sent can wait: tickets.
    fn only_owes_tickets(&mut self) -> Result<bool, TlsFailure> {
        let conn = self.conn()?;
        let is_newest = conn.protocol_version() == Some(ProtocolVersion::TLSv1_3);
        Ok(is_newest && !conn.is_handshaking())
    }

    /// What rustls wants to have sent.
    fn poll_transmit(&mut self) -> Result<Vec<u8>, TlsFailure> {
        let conn = self.conn()?;
        let mut out = Vec::new();
        while conn.wants_write() {
            conn.write_tls(&mut out).map_err(|_| TlsFailure::Internal)?;
        }
        Ok(out)
    }
}

/// A handshake and the record to act on, for whoever does that.
#[derive(Clone)]
struct Parcel(Arc<Mutex<Option<Step>>>);

type Step = (Box<ServerConnection>, Vec<u8>);
/// The handshake, and what came of it.
type Handled = (Box<ServerConnection>, Result<(), Error>);

impl Parcel {
    fn new(conn: Box<ServerConnection>, record: Vec<u8>) -> Parcel {
        Parcel(Arc::new(Mutex::new(Some((conn, record)))))
    }

    /// `None` if somebody else has done it.
    fn handle(&self) -> Option<Handled> {
        let mut place = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut conn, record) = place.take()?;
        drop(place);
        let handled = handle(&mut conn, &record);
        Some((conn, handled))
    }
}

impl Acceptor {
    /// Shakes hands with a peer that has sent `begun`.
    pub(super) async fn shake(&self, stream: &Stream, peer: SocketAddr, begun: Vec<u8>) -> Shaken {
        stream.mute();
        match self.try_to_shake(stream, begun).await {
            Ok(None) => Shaken::Over,
            Ok(Some(begun)) => {
                stream.make_plain();
                Shaken::Plain(begun)
            }
            Err(failure) => {
                self.note_tls_failure(peer, failure);
                Shaken::Failed
            }
        }
    }

    /// Tells and counts that hands could not be shaken.
    pub(super) fn note_tls_failure(&self, peer: SocketAddr, failure: TlsFailure) {
        self.metrics().tls.note_failure(failure);
        tracing::debug!(%peer, reason = failure.name(), "TLS handshake failed");
    }

    /// Tells a peer in the clear that the server cannot shake hands with it now.
    pub(super) async fn decline(&self, stream: &Stream) {
        stream.mute();
        // A peer that does not take it is gone.
        let _ = stream.write_raw(plain_alert(Alert::InternalError)).await;
    }

    /// `None` once hands are shaken, or what has come if that is HTTP in the clear.
    async fn try_to_shake(
        &self,
        stream: &Stream,
        mut bytes: Vec<u8>,
    ) -> Result<Option<Vec<u8>>, TlsFailure> {
        let served = self.hub.tls().served().ok_or(TlsFailure::Internal)?;
        let mut shaking = Shaking::begin(&served)?;
        let mut used = 0;
        loop {
            if used == 0 && bytes.first().is_some_and(|byte| *byte != HANDSHAKE) {
                if bytes[0].is_ascii_alphabetic() {
                    return Ok(Some(bytes));
                }
                let failure = TlsFailure::NotTls;
                return Err(give_up(stream, Alert::UnexpectedMessage, failure).await);
            }
            let record = record_bytes(&bytes);
            // Before they are sealed, records hold as much as content may have.
            let is_clear = bytes.first() == Some(&HANDSHAKE);
            let bytes_max = if is_clear {
                PLAIN_BYTES_MAX
            } else {
                SEALED_BYTES_MAX
            };
            if record > HEADER_BYTES + bytes_max || used + record > SHAKING_BYTES_MAX {
                let failure = TlsFailure::TooLong;
                return Err(give_up(stream, Alert::RecordOverflow, failure).await);
            }
            if bytes.len() < record {
                let missing = (record - bytes.len()).max(READ_BYTES);
                bytes.reserve(missing);
                let read;
                (read, bytes) = stream.read_raw(bytes).await;
                if !matches!(read, Ok(1..)) {
                    return Err(TlsFailure::Left);
                }
                continue;
            }
            used += record;
            let behind = bytes.split_off(record);
            let handled = self.step(&mut shaking, bytes).await?;
            bytes = behind;
            let mut out = shaking.poll_transmit()?;
            // A client that has begun to ask gets tickets with the answer, which is a send less.
            let may_wait = handled.is_ok() && !bytes.is_empty() && shaking.only_owes_tickets()?;
            if !out.is_empty() && !may_wait {
                let sent = stream.write_raw(std::mem::take(&mut out)).await;
                if handled.is_ok() && sent.is_err() {
                    return Err(TlsFailure::Left);
                }
            }
            handled.map_err(|error| TlsFailure::from(&error))?;
            if !shaking.conn()?.is_handshaking() {
                let taken = self.take_over(stream, shaking, out, bytes);
                return taken.map(|()| None);
            }
        }
    }

    /// Has rustls act on a record: elsewhere, if it may hold what takes long.
    async fn step(
        &self,
        shaking: &mut Shaking,
        record: Vec<u8>,
    ) -> Result<Result<(), Error>, TlsFailure> {
        // The messages that lead to a signature come before there are keys, but those with the
        // client's certificate. Of one in many records, only the last is worth the way.
        let is_costly = match record[0] {
            HANDSHAKE => shaking.clear.ends_with(&record[HEADER_BYTES..]),
            _ => shaking.asks_clients,
        };
        if !is_costly {
            return Ok(handle(shaking.conn()?, &record));
        }
        let conn = shaking.conn.take().ok_or(TlsFailure::Internal)?;
        let parcel = Parcel::new(conn, record);
        let (tell, outcome) = oneshot::channel();
        let theirs = parcel.clone();
        let aside = self.hub.shake_aside(move || {
            let handled = theirs.handle();
            // Who has asked may have left.
            let _ = tell.send(handled);
        });
        let handled = match aside {
            Ok(()) => {
                self.metrics().tls_steps_aside.add(1);
                outcome.await.ok()
            }
            Err(Busy) => {
                self.metrics().tls_steps_here.add(1);
                // A way through the ring, so that a burst holds up neither topics nor requests.
                tokio_uring::no_op().await.ok();
                Some(parcel.handle())
            }
        };
        let (conn, handled) = handled.flatten().ok_or(TlsFailure::Internal)?;
        shaking.conn = Some(conn);
        Ok(handled)
    }

    fn take_over(
        &self,
        stream: &Stream,
        shaking: Shaking,
        unsent: Vec<u8>,
        behind: Vec<u8>,
    ) -> Result<(), TlsFailure> {
        let Shaking { conn, logged, .. } = shaking;
        let conn = conn.ok_or(TlsFailure::Internal)?;
        let (version, kind) = (conn.protocol_version(), conn.handshake_kind());
        let mut session = Session::extract(*conn, &logged).map_err(|error| {
            tracing::error!("cannot take over a session of TLS: {error}");
            TlsFailure::Internal
        })?;
        session.unsent = unsent;
        self.metrics().tls.note_handshake(version, kind);
        stream.seal(session, behind);
        Ok(())
    }
}

/// Has rustls act on one whole record.
fn handle(conn: &mut ServerConnection, record: &[u8]) -> Result<(), Error> {
    let mut rest = record;
    while !rest.is_empty() {
        // It reads from memory; what it has no room for it says so.
        match conn.read_tls(&mut rest) {
            Ok(1..) => {}
            Ok(0) | Err(_) => return Err(Error::General("a record was not taken".into())),
        }
        conn.process_new_packets()?;
    }
    Ok(())
}

/// How long the record is that `bytes` begin with, as far as that is known: its header at least.
fn record_bytes(bytes: &[u8]) -> usize {
    match bytes {
        [_, _, _, high, low, ..] => HEADER_BYTES + usize::from(u16::from_be_bytes([*high, *low])),
        _ => HEADER_BYTES,
    }
}

async fn give_up(stream: &Stream, alert: Alert, failure: TlsFailure) -> TlsFailure {
    // A peer that does not take it is gone.
    let _ = stream.write_raw(plain_alert(alert)).await;
    failure
}

/// A fatal alert before there are keys (RFC 8446 section 6).
fn plain_alert(alert: Alert) -> Vec<u8> {
    vec![ContentType::Alert as u8, 3, 3, 0, 2, 2, alert as u8]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_ends_with_its_last_byte_however_it_is_cut() {
        let messages = [&[1, 0, 0, 3, 7, 7, 7][..], &[14, 0, 0, 0], &[16, 0, 1, 0]];
        let all = [&messages.concat()[..], &[7; 256]].concat();
        let ends = [7, 11, all.len()];
        for len in 1..all.len() {
            let (mut clear, mut at) = (Clear::default(), 0);
            for content in all.chunks(len) {
                let to = at + content.len();
                let wanted = ends.iter().any(|end| (at + 1..=to).contains(end));
                assert_eq!(clear.ends_with(content), wanted, "{at} to {to}");
                at = to;
            }
        }
        assert!(!Clear::default().ends_with(&[]));
    }
}
