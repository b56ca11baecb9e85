//! `fanfare upgrade`: asks the running daemon, over its admin listener, to hand
//! over to a newer one, and prints the answer.
//!
//! The handover itself happens in the daemon. Called by `cli`.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::config::{Place, Settings, Switch};

/// Longer than a handover may take before it is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks by the first admin listener that the settings name, and returns what it said.
pub(super) fn upgrade(settings: &Settings) -> Result<String, String> {
    let token = settings.admin_token().map_err(|error| error.to_string())?;
    // This program is no client of TLS.
    let is_plain = |place: &&Place| settings.admin_tls == Switch::Off || place.tcp().is_none();
    if !settings.admin.is_empty() && !settings.admin.iter().any(|place| is_plain(&place)) {
        return Err(
            "the admin listener speaks TLS (admin_tls): give it an address unix:/PATH too, or \
             send SIGUSR2 to the daemon"
                .into(),
        );
    }
    let Some(place) = settings.admin.iter().find(is_plain) else {
        return Err("the admin listener is off: send SIGUSR2 to the daemon instead".into());
    };
    let answer = ask(place, token.as_deref())
        .map_err(|error| format!("cannot ask the daemon at {place}: {error}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    if head.starts_with("HTTP/1.1 200 ") {
        Ok(body.trim().to_owned())
    } else {
        let status = head.lines().next().unwrap_or_default();
        Err(format!(
            "the daemon goes on as it was: {} ({status})",
            body.trim()
        ))
    }
}

fn ask(place: &Place, token: Option<&str>) -> io::Result<String> {
    match place {
        Place::Tcp(address) => {
            let stream = TcpStream::connect(address)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            exchange(stream, &address.to_string(), token)
        }
        Place::Unix(path) => {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            exchange(stream, "localhost", token)
        }
    }
}

fn exchange(mut stream: impl Read + Write, host: &str, token: Option<&str>) -> io::Result<String> {
    let mut request = format!("POST /upgrade HTTP/1.1\r\nHost: {host}\r\n");
    if let Some(token) = token {
        request.push_str(&format!("Authorization: Bearer {token}\r\n"));
    }
    request.push_str("Content-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
