//! How a proxy in front names the client whose connection it passes on: the PROXY
//! protocol, versions 1 and 2 (HAProxy's proxy-protocol.txt), and
//! `X-Forwarded-For`.
//!
//! Whether a proxy is to be believed is for the caller to know: the acceptor.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest line of version 1, its end included (section 2.1).
const LINE_BYTES_MAX: usize = 107;
/// How version 2 begins (section 2.2).
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The signature, version and command, family, and the length of the rest.
const FIXED_BYTES: usize = 16;
/// Addresses take up to 216 bytes; the rest are notes that nobody here reads.
/// Proxies send a few hundred bytes of them, the most with a client certificate.
const REST_BYTES_MAX: usize = 4096;

/// The start of the connection is no PROXY header, or a broken one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no PROXY protocol header")]
pub struct NoHeader;

/// Reads the PROXY header at the start of `bytes`. Returns the client's address,
/// or `None` where the proxy speaks for itself (a health check) or of something
/// without one, and the header's length in bytes; `None` while it is not whole.
///
/// # Errors
/// There is no such header. The protocol forbids to guess then.
pub fn parse(bytes: &[u8]) -> Result<Option<(Option<SocketAddr>, usize)>, NoHeader> {
    let same = |start: &[u8]| bytes.iter().zip(start).all(|(a, b)| a == b);
    if same(SIGNATURE) {
        parse_binary(bytes)
    } else if same(b"PROXY ") {
        parse_line(bytes)
    } else {
        Err(NoHeader)
    }
}

fn parse_line(bytes: &[u8]) -> Result<Option<(Option<SocketAddr>, usize)>, NoHeader> {
    let window = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let Some(end) = window.windows(2).position(|pair| pair == b"\r\n") else {
        let full = window.len() == LINE_BYTES_MAX;
        return if full { Err(NoHeader) } else { Ok(None) };
    };
    let line = str::from_utf8(&bytes[..end]).map_err(|_| NoHeader)?;
    let words: Vec<&str> = line.split(' ').collect();
    let source = match words[..] {
        ["PROXY", "UNKNOWN", ..] => None,
        ["PROXY", "TCP4", source, target, port, target_port] => {
            target.parse::<Ipv4Addr>().map_err(|_| NoHeader)?;
            read_port(target_port)?;
            let ip: Ipv4Addr = source.parse().map_err(|_| NoHeader)?;
            Some(SocketAddr::new(ip.into(), read_port(port)?))
        }
        ["PROXY", "TCP6", source, target, port, target_port] => {
            target.parse::<Ipv6Addr>().map_err(|_| NoHeader)?;
            read_port(target_port)?;
            let ip: Ipv6Addr = source.parse().map_err(|_| NoHeader)?;
            Some(SocketAddr::new(ip.to_canonical(), read_port(port)?))
        }
        _ => return Err(NoHeader),
    };
    Ok(Some((source, end + 2)))
}

fn read_port(word: &str) -> Result<u16, NoHeader> {
    // `parse` alone would take a plus sign.
    if !word.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NoHeader);
    }
    word.parse().map_err(|_| NoHeader)
}

fn parse_binary(bytes: &[u8]) -> Result<Option<(Option<SocketAddr>, usize)>, NoHeader> {
    let Some(fixed) = bytes.first_chunk::<FIXED_BYTES>() else {
        return Ok(None);
    };
    let (command, family) = (fixed[12], fixed[13]);
    let rest_len = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if !matches!(command, 0x20 | 0x21) || rest_len > REST_BYTES_MAX {
        return Err(NoHeader);
    }
    let len = FIXED_BYTES + rest_len;
    let Some(rest) = bytes.get(FIXED_BYTES..len) else {
        return Ok(None);
    };
    let proxied = command == 0x21;
    let source = match family {
        // TCP over IPv4: two addresses, then two ports.
        0x11 if proxied => {
            let rest: &[u8; 12] = rest.first_chunk().ok_or(NoHeader)?;
            let ip = Ipv4Addr::new(rest[0], rest[1], rest[2], rest[3]);
            let port = u16::from_be_bytes([rest[8], rest[9]]);
            Some(SocketAddr::new(ip.into(), port))
        }
        // The same over IPv6.
        0x21 if proxied => {
            let rest: &[u8; 36] = rest.first_chunk().ok_or(NoHeader)?;
            let ip: [u8; 16] = *rest.first_chunk().ok_or(NoHeader)?;
            let port = u16::from_be_bytes([rest[32], rest[33]]);
            Some(SocketAddr::new(Ipv6Addr::from(ip).to_canonical(), port))
        }
        _ => None,
    };
    Ok(Some((source, len)))
}

/// Whose request it is by `X-Forwarded-For`, whose `elements` come in their
/// order, when `proxy` has sent it: the last address that no trusted proxy has,
/// as all before it may be made up. Without a port there, it is the proxy's own,
/// which tells connections of one address apart.
pub fn forwarded_for<'a>(
    elements: impl IntoIterator<Item = &'a str>,
    proxy: SocketAddr,
    is_trusted: impl Fn(IpAddr) -> bool,
) -> SocketAddr {
    let elements: Vec<_> = elements.into_iter().collect();
    let mut client = proxy;
    for element in elements.into_iter().rev() {
        let Some((ip, port)) = read_element(element) else {
            break;
        };
        client = SocketAddr::new(ip, port.unwrap_or(proxy.port()));
        if !is_trusted(ip) {
            break;
        }
    }
    client
}

/// `192.0.2.1`, `2001:db8::1`, `[2001:db8::1]`, each perhaps with a port.
fn read_element(element: &str) -> Option<(IpAddr, Option<u16>)> {
    if let Ok(address) = element.parse::<SocketAddr>() {
        return Some((address.ip().to_canonical(), Some(address.port())));
    }
    let bare = element.strip_prefix('[').and_then(|e| e.strip_suffix(']'));
    let ip: IpAddr = bare.unwrap_or(element).parse().ok()?;
    Some((ip.to_canonical(), None))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend_from_slice(&[command, family]);
        bytes.extend_from_slice(&(rest.len() as u16).to_be_bytes());
        bytes.extend_from_slice(rest);
        bytes
    }

    /// Both versions with all that is right about them.
    fn headers() -> Vec<(Vec<u8>, Option<SocketAddr>)> {
        let mut four = vec![192, 0, 2, 7, 198, 51, 100, 1];
        four.extend_from_slice(&[0x1f, 0x90, 0x01, 0xbb]);
        let mut noted = four.clone();
        noted.extend_from_slice(&[0x04, 0, 2, 9, 9]);
        let mut six = Ipv6Addr::LOCALHOST.octets().to_vec();
        six.extend_from_slice(&[0; 16]);
        six.extend_from_slice(&[0x1f, 0x90, 0x01, 0xbb]);
        let line = |text: &str| text.as_bytes().to_vec();
        vec![
            (
                line("PROXY TCP4 192.0.2.7 198.51.100.1 8080 443\r\n"),
                Some(address("192.0.2.7:8080")),
            ),
            (
                line("PROXY TCP6 2001:db8::7 2001:db8::1 8080 443\r\n"),
                Some(address("[2001:db8::7]:8080")),
            ),
            (line("PROXY UNKNOWN\r\n"), None),
            (line("PROXY UNKNOWN ff:: ff:: 1 2\r\n"), None),
            (binary(0x21, 0x11, &four), Some(address("192.0.2.7:8080"))),
            (binary(0x21, 0x11, &noted), Some(address("192.0.2.7:8080"))),
            (binary(0x21, 0x21, &six), Some(address("[::1]:8080"))),
            (binary(0x20, 0x00, &[]), None),
            (binary(0x20, 0x11, &four), None),
            (binary(0x21, 0x31, &[0; 216]), None),
        ]
    }

    #[test]
    fn the_client_is_who_the_header_names() {
        for (header, source) in headers() {
            let mut bytes = header.clone();
            bytes.extend_from_slice(b"GET / HTTP/1.1\r\n");
            assert_eq!(parse(&bytes), Ok(Some((source, header.len()))));
        }
    }

    #[test]
    fn a_header_in_pieces_is_waited_for() {
        for (header, _) in headers() {
            for len in 0..header.len() {
                assert_eq!(parse(&header[..len]), Ok(None), "{:?}", &header[..len]);
            }
        }
    }

    #[test]
    fn what_is_no_header_is_refused_at_once() {
        let mut four = binary(0x21, 0x11, &[1; 11]);
        let mut long = binary(0x21, 0x11, &[1; 12]);
        long[14..16].copy_from_slice(&[0xff, 0xff]);
        let lines = [
            "GET / HTTP/1.1\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 8080\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 +80 443\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 80 65536\r\n",
            "PROXY TCP4 2001:db8::7 198.51.100.1 80 443\r\n",
            "PROXY TCP6 192.0.2.7 198.51.100.1 80 443\r\n",
            "PROXY TCP4  192.0.2.7 198.51.100.1 80 443\r\n",
            "PROXY UDP4 192.0.2.7 198.51.100.1 80 443\r\n",
        ];
        let mut all: Vec<Vec<u8>> = lines.iter().map(|line| line.as_bytes().to_vec()).collect();
        all.push([b"PROXY UNKNOWN ".as_slice(), &[b'x'; 100]].concat());
        all.push(long);
        all.push(binary(0x11, 0x11, &[1; 12]));
        all.push(binary(0x22, 0x11, &[1; 12]));
        all.append(&mut vec![std::mem::take(&mut four)]);
        for bytes in all {
            assert_eq!(parse(&bytes), Err(NoHeader), "{bytes:?}");
        }
    }

    #[test]
    fn any_bytes_are_survived() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..20_000 {
            let mut bytes = headers()[random.usize(..10)].0.clone();
            let at = random.usize(..bytes.len());
            bytes[at] = random.u8(..);
            bytes.truncate(random.usize(..=bytes.len()));
            if let Ok(Some((_, len))) = parse(&bytes) {
                assert!(len <= bytes.len());
            }
        }
    }

    #[test]
    fn only_what_trusted_proxies_have_added_is_believed() {
        let proxy = address("10.0.0.1:4000");
        let trusted = |ip: IpAddr| matches!(ip, IpAddr::V4(v4) if v4.octets()[0] == 10);
        let client =
            |elements: &[&str]| forwarded_for(elements.iter().copied(), proxy, trusted).to_string();
        assert_eq!(client(&["192.0.2.7"]), "192.0.2.7:4000");
        assert_eq!(client(&["6.6.6.6", "192.0.2.7"]), "192.0.2.7:4000");
        assert_eq!(
            client(&["6.6.6.6", "192.0.2.7", "10.9.9.9"]),
            "192.0.2.7:4000"
        );
        assert_eq!(client(&["192.0.2.7:81", "10.9.9.9:82"]), "192.0.2.7:81");
        assert_eq!(client(&["[2001:db8::7]"]), "[2001:db8::7]:4000");
        assert_eq!(client(&["::ffff:192.0.2.7"]), "192.0.2.7:4000");
        // A proxy's own request, and one whose header means nothing.
        assert_eq!(client(&[]), "10.0.0.1:4000");
        assert_eq!(client(&["10.9.9.9"]), "10.9.9.9:4000");
        assert_eq!(client(&["192.0.2.7", "unknown"]), "10.0.0.1:4000");
    }
}
