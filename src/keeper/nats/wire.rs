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

/// What is read at once. glibc tidies all its small free pieces whenever a block of 64 KiB
/// or more becomes free.
const READ_BYTES: u16 = 32 << 10;

/// What the connection is made with.
pub(super) fn options(settings: &Settings) -> Result<ConnectOptions, StartError> {
    let mut options = ConnectOptions::new()
        .name(format!("fanfare {}", settings.node))
        .retry_on_initial_connect()
        .subscription_capacity(settings.unread_messages_max)
        .read_buffer_capacity(READ_BYTES)
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

/// Where a message stands, and the one before it on its topic, as the server says that hands on
/// what the stream has stored. One pass: to look for a header costs more than to see it.
pub(super) fn place_and_previous(headers: &HeaderMap) -> (Option<Place>, Option<u64>) {
    let (mut offset, mut time, mut previous) = (None, None, None);
    for (name, values) in headers.iter() {
        // The server puts its headers behind those of the publisher.
        let Some(value) = values.last() else {
            continue;
        };
        let name: &str = name.as_ref();
        match name {
            "Nats-Sequence" => offset = value.as_str().parse().ok(),
            "Nats-Time-Stamp" => time = time_ms(value.as_str()),
            "Nats-Last-Sequence" => previous = value.as_str().parse().ok(),
            _ => {}
        }
    }
    let place = offset.zip(time);
    let place = place.map(|(offset, time_ms)| Place { offset, time_ms });
    (place, previous)
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

/// Unix milliseconds of a time as servers write it.
fn time_ms(text: &str) -> Option<u64> {
    utc_ms(text.as_bytes()).or_else(|| any_time_ms(text))
}

/// The same of the form that they all write, as `2026-11-29T06:24:06.037696564Z`, which comes with
/// each message.
fn utc_ms(text: &[u8]) -> Option<u64> {
    let number = |digits: &[u8]| {
        let digit = |sum: u64, byte: &u8| {
            let value = byte.wrapping_sub(b'0');
            (value < 10).then_some(sum * 10 + u64::from(value))
        };
        digits.iter().try_fold(0, digit)
    };
    let (whole, rest) = text.split_at_checked(19)?;
    let fraction = match rest.strip_suffix(b"Z")? {
        [] => &[],
        [b'.', digits @ ..] if (1..=9).contains(&digits.len()) => digits,
        _ => return None,
    };
    let is_spelt = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if is_spelt.iter().any(|(at, byte)| whole[*at] != *byte) {
        return None;
    }
    let (year, month, day) = (
        number(&whole[..4])?,
        number(&whole[5..7])?,
        number(&whole[8..10])?,
    );
    let (hour, minute, second) = (
        number(&whole[11..13])?,
        number(&whole[14..16])?,
        number(&whole[17..])?,
    );
    // What is out of these is left to those who know all of the calendar.
    let fits =
        (1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=28).contains(&day);
    if !fits || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // Days since 1970, of years that begin with March so that the odd day is the last one.
    let (year, month) = match month {
        ..3 => (year - 1, month + 9),
        _ => (year, month - 3),
    };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    let seconds = (days.checked_sub(719_468)? * 24 + hour) * 3600 + minute * 60 + second;
    let fraction_digits = &fraction[..fraction.len().min(3)];
    let ms = number(fraction_digits)? * [1, 100, 10, 1][fraction_digits.len()];
    Some(seconds * 1000 + ms)
}

fn any_time_ms(text: &str) -> Option<u64> {
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
    fn times_are_read_as_the_calendar_has_them() {
        for _ in 0..20_000 {
            let ns = fastrand::i128(0..253_402_207_200 * 1_000_000_000);
            let time = jiff::Timestamp::from_nanosecond(ns).unwrap();
            for digits in [0, 1, 3, 6, 9] {
                let text = format!("{time:.digits$}");
                assert_eq!(time_ms(&text), any_time_ms(&text), "{text}");
                if !["29T", "30T", "31T"].iter().any(|end| text.contains(end)) {
                    assert_eq!(utc_ms(text.as_bytes()), any_time_ms(&text), "{text}");
                }
            }
        }
        for text in [
            "",
            "Z",
            "2026-11-29T06:24:06",
            "2026-11-29T06:24:06.Z",
            "2026-11-29T06:24:06.0376965641Z",
            "2026-11-28 06:24:06Z",
            "2026-11-28T24:24:06Z",
            "2026-1a-28T04:24:06Z",
            "2026-11-28T06:24:06+00:00Z",
        ] {
            assert_eq!(utc_ms(text.as_bytes()), None, "{text}");
        }
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
