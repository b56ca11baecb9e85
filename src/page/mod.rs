//! The built-in page, embedded in the binary: a chat box and a live view of a
//! topic.
//!
//! HTML, style and script lie beside this file; no file is read at run time. Called
//! by `core` for a browser's GET.

use std::sync::LazyLock;

/// One file of the page.
#[derive(Debug)]
pub struct Asset {
    pub content_type: &'static str,
    pub body: &'static [u8],
    /// A strong entity tag with its quotes (RFC 9110 section 8.8.3): it changes
    /// when the body does.
    pub etag: String,
}

/// Headers that every answer with an [`Asset`] carries, beside its own
/// `Content-Type`, `Content-Length` and `ETag`.
///
/// The policy allows the page its own script, style and sockets and nothing else;
/// `data:` is for the icon. Revalidating on each load keeps the files of one
/// version together when the daemon is replaced by a newer one.
pub const HEADERS: &[(&str, &str)] = &[
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
         img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-cache"),
];

/// The file of the page at `path` of a request target, without its query.
pub fn find(path: &str) -> Option<&'static Asset> {
    let place = PATHS.iter().position(|known| *known == path)?;
    Some(&ASSETS[place])
}

impl Asset {
    /// Whether a request with this `If-None-Match` has the body already, and is
    /// answered with 304 (RFC 9110 section 13.1.2: a weak comparison).
    pub fn is_known_to(&self, if_none_match: &str) -> bool {
        let mut tags = if_none_match.split(',').map(str::trim);
        tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == self.etag)
    }
}

const PATHS: [&str; 3] = ["/", "/fanfare.js", "/fanfare.css"];

static ASSETS: LazyLock<[Asset; 3]> = LazyLock::new(|| {
    [
        asset("text/html; charset=utf-8", include_bytes!("index.html")),
        asset(
            "text/javascript; charset=utf-8",
            include_bytes!("fanfare.js"),
        ),
        asset("text/css; charset=utf-8", include_bytes!("fanfare.css")),
    ]
});

fn asset(content_type: &'static str, body: &'static [u8]) -> Asset {
    Asset {
        content_type,
        body,
        etag: format!("\"{:016x}\"", fnv1a(body)),
    }
}

/// FNV-1a: told apart must be the versions of one file, not the files of a foe.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use std::str;

    use super::*;

    fn text(path: &str) -> &'static str {
        str::from_utf8(find(path).unwrap().body).unwrap()
    }

    #[test]
    fn the_page_is_found_by_path_and_nothing_else_is() {
        assert!(find("/").unwrap().content_type.starts_with("text/html"));
        for path in ["", "/lobby", "/fanfare", "/../fanfare.js", "fanfare.js"] {
            assert!(find(path).is_none(), "{path}");
        }
    }

    #[test]
    fn the_page_asks_for_its_own_files_only() {
        let html = text("/");
        for word in ["src=\"", "href=\""] {
            for target in html
                .split(word)
                .skip(1)
                .map(|rest| rest.split('"').next().unwrap())
            {
                let own = find(target).is_some() || target.starts_with("data:");
                assert!(own, "{target} is not part of the page");
            }
        }
        assert!(!text("/fanfare.css").contains("url("));
        assert!(!text("/fanfare.css").contains("@import"));
    }

    #[test]
    fn nothing_in_the_page_runs_or_styles_inline() {
        let html = text("/");
        for word in [
            "<style",
            " style=",
            "<script>",
            " onclick=",
            " onload=",
            "javascript:",
        ] {
            assert!(!html.contains(word), "the policy forbids {word}");
        }
    }

    #[test]
    fn user_text_never_becomes_html() {
        let script = text("/fanfare.js");
        for word in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
        ] {
            assert!(!script.contains(word), "{word}");
        }
    }

    #[test]
    fn a_known_tag_needs_no_second_body() {
        let page = find("/").unwrap();
        assert!(page.is_known_to(&page.etag));
        assert!(page.is_known_to(&format!("\"x\", W/{}", page.etag)));
        assert!(page.is_known_to("*"));
        assert!(!page.is_known_to("\"x\""));
        assert_ne!(page.etag, find("/fanfare.js").unwrap().etag);
    }
}
