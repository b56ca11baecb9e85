//! What goes over the connection to NATS: how it is made, and JetStream's answers.

use async_nats::{ConnectOptions, HeaderMap, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use std::time::Duration;

use super::chain::Place;
use super::event::StartError;
use super::settings::{Credentials, Settings};

/// A server that does not answer two of these is left.
const PING_MS: u64 = 5000;

/// What the connection is made with.
pub(super) fn options(settings: &Settings) -> Result<ConnectOptions, StartError> {
    let mut options = ConnectOptions::new()
        .name(format!("fanfare {}", settings.node))
        .retry_on_initial_connect()
        .subscription_capacity(settings.unread_messages_max)
        .ping_interval(Duration::from_millis(PING_MS));
    let read = |path: &std::path::Path| {
        std::fs::read_to_string(path).map_err(|error| StartError::File {
            file: path.display().to_string(),
            error,
        })
    };
    options = match &settings.credentials {
        Credentials::None => options,
        Credentials::Password { user, password } => {
            options.user_and_password(user.clone(), password.clone())
        }
        Credentials::Token(token) => options.token(token.clone()),
        Credentials::File(path) => {
            let text = read(path)?;
            options
                .credentials(&text)
                .map_err(|error| StartError::Credentials {
                    file: path.display().to_string(),
                    words: error.to_string(),
                })?
        }
        Credentials::NkeyFile(path) => {
            let seed = read(path)?;
            let seed = seed.trim();
            if !seed.starts_with("SU") {
                return Err(StartError::Credentials {
                    file: path.display().to_string(),
                    words: "a user's seed begins with SU".into(),
                });
            }
            options.nkey(seed.to_owned())
        }
    };
    let tls = &settings.tls;
    // Whoever names certificates does not want to speak without them.
    let has_files = tls.ca_file.is_some() || tls.identity.is_some();
    options = options.require_tls(tls.required || has_files);
    if let Some(ca_file) = &tls.ca_file {
        read(ca_file)?;
        options = options.add_root_certificates(ca_file.clone());
    }
    if let Some((certificate, key)) = &tls.identity {
        read(certificate)?;
        read(key)?;
        options = options.add_client_certificate(certificate.clone(), key.clone());
    }
    Ok(options)
}

/// What the server says went wrong.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct ApiError {
    #[serde(default)]
    pub(super) code: u64,
    #[serde(default)]
    pub(super) err_code: u64,
    #[serde(default)]
    pub(super) description: String,
}

pub(super) const NO_MESSAGE: u64 = 10037;
pub(super) const NO_STREAM: u64 = 10059;
pub(super) const NO_ROLLUP: u64 = 10111;
/// Bytes, messages, resources of the account and of the server.
pub(super) const FULL: [u64; 7] = [10077, 10047, 10002, 10023, 10028, 10110, 10120];
pub(super) const TOO_LARGE: u64 = 10054;
/// Another stream is expected, the stream is sealed, a header is not allowed, the request is wrong.
pub(super) const FOR_GOOD: [u64; 4] = [10060, 10109, 10166, 10003];

/// What an answer of the JetStream API says if it is an error.
#[derive(Debug, Deserialize)]
struct Complaint {
    error: Option<ApiError>,
}

/// Reads an answer, or what kept it from coming.
pub(super) fn response<T: for<'a> Deserialize<'a>>(
    message: &async_nats::Message,
) -> Result<T, ApiError> {
    if message.status == Some(StatusCode::NO_RESPONDERS) {
        return Err(ApiError {
            code: 503,
            err_code: 0,
            description: "nobody answers".into(),
        });
    }
    let unreadable = |error: serde_json::Error| ApiError {
        code: 500,
        err_code: 0,
        description: format!("an answer that cannot be read: {error}"),
    };
    // Twice over a few bytes is cheaper than once with whatever else may be in them.
    let read: Complaint = serde_json::from_slice(&message.payload).map_err(unreadable)?;
    match read.error {
        Some(error) => Err(error),
        None => serde_json::from_slice(&message.payload).map_err(unreadable),
    }
}

/// The acknowledgement of a publish.
#[derive(Debug, Deserialize)]
pub(super) struct Ack {
    pub(super) seq: u64,
    #[serde(default)]
    pub(super) duplicate: bool,
}

/// A message as `STREAM.MSG.GET` gives it.
#[derive(Debug, Deserialize)]
pub(super) struct Got {
    message: GotMessage,
}

#[derive(Debug, Deserialize)]
struct GotMessage {
    seq: u64,
    #[serde(default)]
    hdrs: String,
    #[serde(default)]
    data: String,
    #[serde(default)]
    time: String,
}

/// A message of the stream with its headers.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) place: Place,
    pub(super) headers: Option<HeaderMap>,
    pub(super) payload: Bytes,
}

impl Got {
    pub(super) fn stored(self) -> Option<Stored> {
        let GotMessage {
            seq,
            hdrs,
            data,
            time,
        } = self.message;
        let headers = STANDARD.decode(hdrs).ok()?;
        Some(Stored {
            place: Place {
                offset: seq,
                time_ms: time_ms(&time)?,
            },
            headers: (!headers.is_empty()).then(|| parse_headers(&headers)),
            payload: STANDARD.decode(data).ok()?.into(),
        })
    }
}

/// Where a message stands that the server published again or gave by a direct get.
pub(super) fn place(headers: &HeaderMap) -> Option<Place> {
    let offset = number(headers, "Nats-Sequence")?;
    let time_ms = time_ms(said_by_server(headers, "Nats-Time-Stamp")?)?;
    Some(Place { offset, time_ms })
}

/// The number that a header of the server's holds.
pub(super) fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    said_by_server(headers, name)?.parse().ok()
}

/// The server puts its headers behind those of the publisher, who may have used the same names.
fn said_by_server<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    Some(headers.get_last(name)?.as_str())
}

fn time_ms(text: &str) -> Option<u64> {
    let time: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(time.as_millisecond()).ok()
}

/// Headers as they stand in the stream: a line of the version, then `Name: value` lines.
fn parse_headers(bytes: &[u8]) -> HeaderMap {
    let text = String::from_utf8_lossy(bytes);
    let mut headers = HeaderMap::new();
    for line in text.split("\r\n").skip(1) {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        let fits = |text: &str| !text.contains(['\r', '\n']);
        if let Ok(name) = name.parse::<async_nats::HeaderName>()
            && fits(value)
        {
            headers.append(name, value.trim());
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(status: Option<StatusCode>, payload: &'static str) -> async_nats::Message {
        async_nats::Message {
            subject: "s".into(),
            reply: None,
            payload: Bytes::from_static(payload.as_bytes()),
            headers: None,
            status,
            description: None,
            length: 0,
        }
    }

    #[test]
    fn answers_are_read_and_errors_are_named() {
        let ack: Ack = response(&message(
            None,
            r#"{"stream":"F","seq":8,"duplicate": true}"#,
        ))
        .unwrap();
        assert_eq!((ack.seq, ack.duplicate), (8, true));
        let words = r#"{"error":{"code":400,"err_code":10077,"description":"full"},"seq":0}"#;
        let error = response::<Ack>(&message(None, words)).unwrap_err();
        assert!(FULL.contains(&error.err_code) && error.description == "full");
        let nobody = Some(StatusCode::NO_RESPONDERS);
        assert_eq!(response::<Ack>(&message(nobody, "")).unwrap_err().code, 503);
        assert_eq!(response::<Ack>(&message(None, "[]")).unwrap_err().code, 500);
        assert_eq!(response::<Ack>(&message(None, "")).unwrap_err().code, 500);
    }

    #[test]
    fn a_publisher_cannot_say_where_its_message_stands() {
        let mut headers = HeaderMap::new();
        for (offset, time) in [
            ("777", "2020-01-01T00:00:00Z"),
            ("1", "1970-01-01T00:00:01Z"),
        ] {
            headers.append("Nats-Sequence", offset);
            headers.append("Nats-Time-Stamp", time);
        }
        let (offset, time_ms) = (1, 1000);
        assert_eq!(place(&headers), Some(Place { offset, time_ms }));
    }

    #[test]
    fn a_message_got_from_the_leader_has_its_headers() {
        let words = r#"{"message":{"subject":"f.in.a","seq":9,
            "hdrs":"TkFUUy8xLjANCk5hdHMtTXNnLUlkOiBtOTkNCg0K","data":"eHg=",
            "time":"2026-11-29T03:08:49.067258394Z"}}"#;
        let got: Got = response(&message(None, words)).unwrap();
        let stored = got.stored().unwrap();
        let place = Place {
            offset: 9,
            time_ms: 1_795_921_729_067,
        };
        assert_eq!((stored.place, &stored.payload[..]), (place, &b"xx"[..]));
        let headers = stored.headers.unwrap();
        assert_eq!(headers.get("Nats-Msg-Id").unwrap().as_str(), "m99");
    }
}
