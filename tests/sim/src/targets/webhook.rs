//! The addresses of webhooks, or of a collector of traces, and the names of events, as settings
//! write them, read piece by piece.

use std::net::{Ipv4Addr, Ipv6Addr};

use fanfare::protocol::http::{ServerUrl, UrlFault};
use fanfare::protocol::pusher::HookEvent;

const URL_BYTES_MAX: usize = 2048;
const EVENTS: &str =
    "channel_occupied channel_vacated member_added member_removed client_event cache_miss";
/// What RFC 3986 has in paths and queries, and the square brackets that many write there.
const OF_TARGETS: &str = "/?:@!$&'()*+,;=-._~%[]";
const OF_NAMES: &str = ".-_";

/// Where it leads, and how.
#[derive(Debug, PartialEq, Eq)]
struct Parts {
    is_secure: bool,
    host: String,
    port: u16,
    target: String,
}

/// A line with an address, and the name of an event.
pub fn webhook(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (address, event) = text.split_once('\n').unwrap_or((text, ""));
    // Whatever comes may be called an address, line breaks and all.
    for text in [address, text] {
        url(text, ServerUrl::parse, true);
        url(text, ServerUrl::parse_any, false);
    }
    let known = HookEvent::parse(event).map(HookEvent::name);
    assert_eq!(known, EVENTS.split(' ').find(|known| *known == event));
}

type Parse = fn(&str) -> Result<ServerUrl, UrlFault>;

/// `is_near` is whether `http` leads to this machine alone.
fn url(text: &str, parse: Parse, is_near: bool) {
    let read = parse(text);
    let parts = |url: &ServerUrl| Parts {
        is_secure: url.is_secure(),
        host: url.host().to_owned(),
        port: url.port(),
        target: url.target().to_owned(),
    };
    assert_eq!(
        read.as_ref().ok().map(parts),
        model(text, is_near),
        "{text:?}"
    );
    let Ok(url) = read else { return };
    assert_eq!(parse(&url.text()), Ok(url.clone()));
    // It is written into a request as it is.
    let head = format!("POST {} HTTP/1.1{}", url.target(), url.authority());
    assert!(head.bytes().all(|byte| (b' '..0x7f).contains(&byte)));
    assert_eq!(head.matches(' ').count(), 2, "{head}");
    // A log shows the server alone.
    let scheme = if url.is_secure() { "https" } else { "http" };
    assert_eq!(url.to_string(), format!("{scheme}://{}", url.authority()));
}

fn model(text: &str, is_near: bool) -> Option<Parts> {
    let (scheme, rest) = text.split_once("://")?;
    let server: String = rest.chars().take_while(|c| !"/?".contains(*c)).collect();
    let target = &rest[server.len()..];
    let of_target = |c: char| c.is_ascii_alphanumeric() || OF_TARGETS.contains(c);
    if text.len() > URL_BYTES_MAX || !target.chars().all(of_target) {
        return None;
    }
    let (host, port, is_local) = match server.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            let ip: Ipv6Addr = address.parse().ok()?;
            (address, port, u128::from(ip) == 1)
        }
        None => {
            let host = server.split(':').next()?;
            let of_name = |c: char| c.is_ascii_alphanumeric() || OF_NAMES.contains(c);
            if host.is_empty() || !host.chars().all(of_name) {
                return None;
            }
            let ip = host.parse::<Ipv4Addr>();
            let is_local =
                ip.is_ok_and(|ip| ip.octets()[0] == 127) || host.eq_ignore_ascii_case("localhost");
            (host, &server[host.len()..], is_local)
        }
    };
    let (is_secure, standard) = match scheme {
        "https" => (true, 443),
        "http" if is_local || !is_near => (false, 80),
        _ => return None,
    };
    let port = match port {
        "" => standard,
        port => {
            let digits = port.strip_prefix(':')?;
            let is_number = !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit());
            let number = is_number.then(|| digits.trim_start_matches('0').parse().ok());
            number.flatten().filter(|port| *port > 0)?
        }
    };
    let slash = if target.starts_with('/') { "" } else { "/" };
    Some(Parts {
        is_secure,
        host: host.to_ascii_lowercase(),
        port,
        target: format!("{slash}{target}"),
    })
}
