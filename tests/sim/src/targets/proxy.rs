//! PROXY protocol headers, whole and in pieces.

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
        if let Some(line) = bytes[..len].strip_suffix(b"\r\n")
            && line.starts_with(b"PROXY TCP")
        {
            let line = std::str::from_utf8(line).expect("it is text");
            let client = client.expect("it names one");
            let words: Vec<&str> = line.split(' ').collect();
            assert_eq!(words[4].parse(), Ok(client.port()));
            let ip: std::net::IpAddr = words[2].parse().expect("an address");
            assert_eq!(ip.to_canonical(), client.ip());
        }
    }
}
