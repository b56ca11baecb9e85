//! Why handshakes of TLS fail, as log and metrics name it.

use std::{fmt, io};

use rustls::{Error, InvalidMessage, PeerIncompatible};

/// One cause each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsFailure {
    /// It was not over in time.
    Timeout,
    /// The peer has left in the middle of it.
    Left,
    /// The first bytes are neither TLS nor HTTP.
    NotTls,
    /// More has come than any handshake needs.
    TooLong,
    /// No version is spoken by both.
    Version,
    /// No cipher, group or kind of signature is spoken by both.
    Cipher,
    /// The client offers other protocols than HTTP/1.1 only.
    Protocol,
    /// A client's certificate is asked for, and none came.
    CertificateMissing,
    /// The client's certificate is not believed.
    Certificate,
    /// The client has broken it off with an alert: most often it does not believe ours.
    Alert,
    /// What came is not what TLS has there.
    Misbehaved,
    /// Something has failed here.
    Internal,
}

impl TlsFailure {
    /// Each once, for the registration of metrics.
    pub const ALL: [Self; 12] = [
        Self::Timeout,
        Self::Left,
        Self::NotTls,
        Self::TooLong,
        Self::Version,
        Self::Cipher,
        Self::Protocol,
        Self::CertificateMissing,
        Self::Certificate,
        Self::Alert,
        Self::Misbehaved,
        Self::Internal,
    ];

    /// The cause as the label of a metric.
    pub fn name(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Left => "left",
            Self::NotTls => "not_tls",
            Self::TooLong => "too_long",
            Self::Version => "version",
            Self::Cipher => "cipher",
            Self::Protocol => "protocol",
            Self::CertificateMissing => "certificate_missing",
            Self::Certificate => "certificate",
            Self::Alert => "alert",
            Self::Misbehaved => "misbehaved",
            Self::Internal => "internal",
        }
    }
}

impl fmt::Display for TlsFailure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl From<&Error> for TlsFailure {
    fn from(error: &Error) -> Self {
        match error {
            Error::AlertReceived(_) => Self::Alert,
            Error::NoApplicationProtocol => Self::Protocol,
            Error::NoCertificatesPresented => Self::CertificateMissing,
            Error::InvalidCertificate(_) | Error::InvalidCertRevocationList(_) => Self::Certificate,
            Error::PeerSentOversizedRecord => Self::TooLong,
            Error::PeerIncompatible(
                PeerIncompatible::ServerDoesNotSupportTls12Or13
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
                | PeerIncompatible::SupportedVersionsExtensionRequired
                | PeerIncompatible::Tls12NotOffered
                | PeerIncompatible::Tls12NotOfferedOrEnabled,
            ) => Self::Version,
            Error::PeerIncompatible(_) => Self::Cipher,
            Error::InappropriateMessage { .. }
            | Error::InappropriateHandshakeMessage { .. }
            | Error::InvalidMessage(_)
            | Error::DecryptError
            | Error::PeerMisbehaved(_) => Self::Misbehaved,
            _ => Self::Internal,
        }
    }
}

impl From<&io::Error> for TlsFailure {
    /// Of a handshake that rustls has carried over a socket by itself.
    fn from(error: &io::Error) -> Self {
        let cause = error.get_ref();
        match cause.and_then(|cause| cause.downcast_ref::<Error>()) {
            Some(Error::InvalidMessage(InvalidMessage::InvalidContentType)) => Self::NotTls,
            Some(error) => Self::from(error),
            None => Self::Left,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_cause_has_a_name_and_a_place() {
        let names: HashSet<_> = TlsFailure::ALL.iter().map(|cause| cause.name()).collect();
        assert_eq!(names.len(), TlsFailure::ALL.len());
        for (place, cause) in TlsFailure::ALL.iter().enumerate() {
            assert_eq!(*cause as usize, place);
        }
    }
}
