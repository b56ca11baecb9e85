//! One file of a page, as it lies in the binary.

/// One file of a page.
#[derive(Debug)]
pub struct Asset {
    pub content_type: &'static str,
    pub body: &'static [u8],
    /// A strong entity tag with its quotes (RFC 9110 section 8.8.3): it changes
    /// when the body does.
    pub etag: String,
}

impl Asset {
    pub(super) fn html(body: &'static [u8]) -> Self {
        Asset::new("text/html; charset=utf-8", body)
    }

    pub(super) fn script(body: &'static [u8]) -> Self {
        Asset::new("text/javascript; charset=utf-8", body)
    }

    pub(super) fn style(body: &'static [u8]) -> Self {
        Asset::new("text/css; charset=utf-8", body)
    }

    /// A file of the guide.
    pub(super) fn words(body: &'static [u8]) -> Self {
        Asset::new("text/markdown; charset=utf-8", body)
    }

    fn new(content_type: &'static str, body: &'static [u8]) -> Self {
        Asset {
            content_type,
            body,
            etag: format!("\"{:016x}\"", fnv1a(body)),
        }
    }
}

/// FNV-1a: distinguishes the versions of one file; need not resist an attacker.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}
