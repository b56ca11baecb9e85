//! What a peer can do wrong over TLS once its handshake is over, each with its alert and its
//! label.

use super::alert::Alert;

/// A violation by the peer; it ends the connection with [`Fault::alert`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Fault {
    /// RFC 8446 sections 5.1, 5.2 and 5.4, RFC 5246 section 6.2.3.
    #[error("a TLS record is longer than it may be")]
    TooLong,
    /// It has no room for what its cipher adds.
    #[error("a TLS record is too short for its cipher")]
    TooShort,
    /// RFC 8446 section 5.2: it was changed, replayed, reordered, or sealed with other keys.
    #[error("a TLS record could not be opened: its tag is wrong")]
    BadTag,
    /// RFC 8446 section 5.2: always 0x0303 once the handshake is over.
    #[error("a TLS record is of another version")]
    Version,
    /// Unknown, unencrypted, or a heartbeat.
    #[error("a TLS record is of a type that may not come now")]
    ContentType,
    /// RFC 8446 section 5.4: nothing but padding.
    #[error("a TLS record holds zeros alone and no content type")]
    NoContent,
    /// RFC 8446 section 5: none may come after the handshake.
    #[error("change_cipher_spec came after the handshake")]
    ChangeCipherSpec,
    /// RFC 8446 section 5.4: only application data may be empty.
    #[error("a handshake message or an alert is empty")]
    Empty,
    /// More records without content on end than [`Fault::EMPTY_RECORDS_MAX`].
    #[error("too many empty TLS records came on end")]
    EmptyFlood,
    /// More key updates without data between them than [`Fault::KEY_UPDATES_MAX`].
    #[error("too many key updates came without data between them")]
    KeyUpdateFlood,
    /// More warnings in all than [`Fault::WARNINGS_MAX`].
    #[error("too many warnings came")]
    AlertFlood,
    /// RFC 5746 section 4.4: asked for again though it was refused.
    #[error("renegotiation was asked for again")]
    Renegotiation,
    /// RFC 8446 section 4.6: only KeyUpdate may come from a client.
    #[error("a handshake message came that may not come after the handshake")]
    Handshake,
    /// RFC 8446 section 5.1: other records must not come between those of one message.
    #[error("another record came inside a fragmented handshake message")]
    Interleaved,
    /// RFC 8446 section 5.1: what changes keys must end its record.
    #[error("more came in one record behind a key update")]
    KeyChange,
    /// The length of an alert or of a KeyUpdate.
    #[error("an alert or a key update is not of its length")]
    Decode,
    /// RFC 8446 section 4.6.3 and 6: a KeyUpdate's request, an alert's level.
    #[error("an alert or a key update has a value that it must not have")]
    Illegal,
    /// RFC 8446 section 6.2; `Incoming::peer_alert` has its number.
    #[error("the peer has ended the connection with a TLS alert")]
    PeerAlert,
    /// RFC 8446 sections 5.5 and 5.3: more records than one key may seal, or than there are numbers.
    #[error("the peer has sealed more TLS records than one key is good for")]
    AfterLimit,
}

impl Fault {
    /// Empty records on end: they cost work and say nothing. Some libraries send one before
    /// each record, as they once had to. BoringSSL has the same bound.
    pub const EMPTY_RECORDS_MAX: u8 = 32;
    /// Key updates without data between them: each costs new keys. BoringSSL and rustls have
    /// the same bound.
    pub const KEY_UPDATES_MAX: u8 = 32;
    /// Warnings of a connection's whole life. BoringSSL and rustls have the same bound.
    pub const WARNINGS_MAX: u8 = 4;

    /// Every fault once, for the registration of metrics.
    pub const ALL: [Self; 19] = [
        Self::TooLong,
        Self::TooShort,
        Self::BadTag,
        Self::Version,
        Self::ContentType,
        Self::NoContent,
        Self::ChangeCipherSpec,
        Self::Empty,
        Self::EmptyFlood,
        Self::KeyUpdateFlood,
        Self::AlertFlood,
        Self::Renegotiation,
        Self::Handshake,
        Self::Interleaved,
        Self::KeyChange,
        Self::Decode,
        Self::Illegal,
        Self::PeerAlert,
        Self::AfterLimit,
    ];

    /// The alert to answer with; none after an alert of the peer's own.
    pub fn alert(&self) -> Option<Alert> {
        Some(match self {
            Self::TooLong => Alert::RecordOverflow,
            Self::TooShort | Self::BadTag => Alert::BadRecordMac,
            Self::Version => Alert::ProtocolVersion,
            Self::Decode => Alert::DecodeError,
            Self::Illegal => Alert::IllegalParameter,
            Self::PeerAlert => return None,
            Self::ContentType
            | Self::NoContent
            | Self::ChangeCipherSpec
            | Self::Empty
            | Self::EmptyFlood
            | Self::KeyUpdateFlood
            | Self::AlertFlood
            | Self::Renegotiation
            | Self::Handshake
            | Self::Interleaved
            | Self::KeyChange
            | Self::AfterLimit => Alert::UnexpectedMessage,
        })
    }

    /// The fault as the label of a metric.
    pub fn name(&self) -> &'static str {
        match self {
            Self::TooLong => "tls_too_long",
            Self::TooShort => "tls_too_short",
            Self::BadTag => "tls_bad_tag",
            Self::Version => "tls_version",
            Self::ContentType => "tls_content_type",
            Self::NoContent => "tls_no_content",
            Self::ChangeCipherSpec => "tls_change_cipher_spec",
            Self::Empty => "tls_empty_message",
            Self::EmptyFlood => "tls_empty_flood",
            Self::KeyUpdateFlood => "tls_key_update_flood",
            Self::AlertFlood => "tls_alert_flood",
            Self::Renegotiation => "tls_renegotiation",
            Self::Handshake => "tls_handshake_message",
            Self::Interleaved => "tls_interleaved",
            Self::KeyChange => "tls_key_change",
            Self::Decode => "tls_decode",
            Self::Illegal => "tls_illegal",
            Self::PeerAlert => "tls_peer_alert",
            Self::AfterLimit => "tls_after_limit",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn each_fault_has_its_own_name_and_a_sentence() {
        let names: HashSet<_> = Fault::ALL.iter().map(Fault::name).collect();
        assert_eq!(names.len(), Fault::ALL.len());
        let sentences: HashSet<_> = Fault::ALL.iter().map(Fault::to_string).collect();
        assert_eq!(sentences.len(), Fault::ALL.len());
        for fault in Fault::ALL {
            // It fits a close frame, should it be said there.
            assert!(fault.to_string().len() <= 123, "{fault}");
        }
    }

    #[test]
    fn no_alert_answers_an_alert_and_a_fatal_one_answers_all_else() {
        for fault in Fault::ALL {
            let alert = fault.alert();
            assert_eq!(alert.is_none(), fault == Fault::PeerAlert, "{fault}");
            assert!(alert.is_none_or(|alert| !alert.is_warning()), "{fault}");
        }
    }
}
