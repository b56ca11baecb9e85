//! PROXY protocol headers, whole and in pieces.

use std::net::{IpAddr, SocketAddr};

use fanfare::protocol::proxy::parse;

use super::{pieces, split};

/// Bytes 0 to 2 cut the rest, which is what a proxy sends.
pub fn proxy(data: &[u8]) {
    let (cuts, bytes) = split(data, 3);
    let whole = parse(bytes);
    let mut had = 0;
    for piece in pieces(bytes, cuts) {
        had += piece.len();
        let so_far = parse(&bytes[..had]);
        if so_far != Ok(None) {
            assert_eq!(so_far, whole, "it is as in one piece");
            break;
        }
    }
    if let Ok(Some((client, len))) = whole {
        assert!(len <= bytes.len());
        // What follows is another's, and changes nothing.
        assert_eq!(parse(&bytes[..len]), whole);
        assert_eq!(parse(&bytes[..len - 1]), Ok(None));
        if bytes[0] == b'\r' {
            check_binary(&bytes[..len], client);
        } else if let Some(line) = bytes[..len].strip_suffix(b"\r\n")
            && line.starts_with(b"PROXY TCP")
        {
            let line = std::str::from_utf8(line).expect("it is text");
            let client = client.expect("it names one");
            let words: Vec<&str> = line.split(' ').collect();
            assert_eq!(words[4].parse(), Ok(client.port()));
            let ip: IpAddr = words[2].parse().expect("an address");
            assert_eq!(ip.to_canonical(), client.ip());
        }
    }
}

/// A header of version 2, by the offsets that section 2.2 of its specification
/// gives.
fn check_binary(header: &[u8], client: Option<SocketAddr>) {
    assert_eq!(&header[..12], b"\r\n\r\n\0\r\nQUIT\n");
    assert_eq!(header[12] >> 4, 2, "the version");
    let len = usize::from(header[14]) << 8 | usize::from(header[15]);
    assert_eq!(header.len(), 16 + len);
    let text = match (header[12] & 0xF, header[13]) {
        (1, 0x11) => {
            let [a, b, c, d] = [16, 17, 18, 19].map(|at| header[at]);
            format!("{a}.{b}.{c}.{d}")
        }
        (1, 0x21) => {
            let group = |at| format!("{:02x}{:02x}", header[at], header[at + 1]);
            let groups: Vec<String> = (16..32).step_by(2).map(group).collect();
            groups.join(":")
        }
        // The proxy itself, or what is no TCP.
        _ => return assert_eq!(client, None),
    };
    let client = client.expect("it names one");
    let ip: IpAddr = text.parse().expect("an address");
    assert_eq!(client.ip(), ip.to_canonical());
    let at = if header[13] == 0x11 { 24 } else { 48 };
    let port = u16::from(header[at]) << 8 | u16::from(header[at + 1]);
    assert_eq!(client.port(), port);
}
