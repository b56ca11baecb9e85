//! Both directions of a connection, taken over from rustls at the end of a handshake.

use std::fmt;

use rustls::{ConnectionTrafficSecrets, ProtocolVersion, ServerConnection};
use serde::{Deserialize, Serialize};

use super::incoming::Incoming;
use super::logged::Logged;
use super::suite::Suite;
use super::traffic::Traffic;

/// Both directions, once a handshake is over.
#[derive(Serialize, Deserialize)]
pub struct Session {
    /// Records of the handshake that go before all else: tickets. None where they have been sent.
    pub unsent: Vec<u8>,
    pub send: Traffic,
    pub receive: Incoming,
}

/// Why a connection cannot be taken over.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ExtractError {
    /// rustls refuses; its own words say why.
    #[error("rustls does not give its secrets away: {0}")]
    Refused(rustls::Error),
    /// What rustls has to send would be lost.
    #[error("records of the handshake have not been sent")]
    Unsent,
    /// What came behind the handshake was given to rustls.
    #[error("rustls has received more than the handshake")]
    Received,
    /// The suite is none of [`Suite`], or the version none of 1.2 and 1.3.
    #[error("this version or cipher of TLS is not known")]
    Unknown,
    /// The key log of another connection, or none.
    #[error("the secrets of this connection were not logged")]
    NotLogged,
}

impl Session {
    /// Takes over `conn` when its handshake is over, all that it wanted to send has been sent, and
    /// it was given nothing that came behind the handshake. `secrets` is what it was told to log
    /// to; its `enable_secret_extraction` is set. What was taken from it to be sent and has not been
    /// is for the caller to put into `unsent`.
    ///
    /// # Errors
    /// One of these does not hold. The connection is lost then.
    pub fn extract(mut conn: ServerConnection, secrets: &Logged) -> Result<Session, ExtractError> {
        let state = conn.process_new_packets().map_err(ExtractError::Refused)?;
        if state.plaintext_bytes_to_read() > 0 || state.peer_has_closed() {
            return Err(ExtractError::Received);
        }
        if conn.is_handshaking() {
            return Err(ExtractError::Refused(rustls::Error::HandshakeNotComplete));
        }
        if conn.wants_write() {
            return Err(ExtractError::Unsent);
        }
        let version = conn.protocol_version();
        let extracted = conn.dangerous_extract_secrets();
        let extracted = extracted.map_err(ExtractError::Refused)?;
        let heard = secrets.take();
        let (send, receive) = match version {
            Some(ProtocolVersion::TLSv1_3) => (
                tls13(extracted.tx, heard.server.bytes())?,
                tls13(extracted.rx, heard.client.bytes())?,
            ),
            Some(ProtocolVersion::TLSv1_2) => (tls12(extracted.tx)?, tls12(extracted.rx)?),
            _ => return Err(ExtractError::Unknown),
        };
        let receive = Incoming::new(receive);
        Ok(Session {
            unsent: Vec::new(),
            send,
            receive,
        })
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("unsent_bytes", &self.unsent.len())
            .field("send", &self.send)
            .field("receive", &self.receive)
            .finish()
    }
}

/// rustls gives away key and iv, the log has the secret that they are derived from.
fn tls13(
    (next, extracted): (u64, ConnectionTrafficSecrets),
    secret: &[u8],
) -> Result<Traffic, ExtractError> {
    let (suite, key, iv) = parts(&extracted)?;
    let traffic = Traffic::tls13(suite, secret, next).ok_or(ExtractError::NotLogged)?;
    // They differ if the secret is another connection's, or if rustls has answered a KeyUpdate:
    // then it was given what came behind the handshake.
    if traffic.keys().are(key, iv) {
        Ok(traffic)
    } else {
        Err(ExtractError::NotLogged)
    }
}

fn tls12((next, extracted): (u64, ConnectionTrafficSecrets)) -> Result<Traffic, ExtractError> {
    let (suite, key, iv) = parts(&extracted)?;
    let iv = iv.try_into().map_err(|_| ExtractError::Unknown)?;
    Traffic::tls12(suite, key, iv, next).ok_or(ExtractError::Unknown)
}

fn parts(secrets: &ConnectionTrafficSecrets) -> Result<(Suite, &[u8], &[u8]), ExtractError> {
    Ok(match secrets {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv } => {
            (Suite::Aes128Gcm, key.as_ref(), iv.as_ref())
        }
        ConnectionTrafficSecrets::Aes256Gcm { key, iv } => {
            (Suite::Aes256Gcm, key.as_ref(), iv.as_ref())
        }
        ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => {
            (Suite::ChaCha20Poly1305, key.as_ref(), iv.as_ref())
        }
        _ => return Err(ExtractError::Unknown),
    })
}
