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

/// Headers that every answer with an [`Asset`] carries, beside its own `Content-Type`,
/// `Content-Length` and `ETag`, and the [`policy`].
///
/// Revalidating on each load keeps the files of one version together when the daemon is
/// replaced by a newer one.
pub const HEADERS: [(&str, &str); 3] = [
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-cache"),
];

/// The value of `Content-Security-Policy` for a client that has called the server `host`.
///
/// It allows the page its own script, style and sockets and nothing else; `data:` is for the
/// icon. To Safari before 15.4 `'self'` does not include WebSockets, so they are named: those
/// over TLS alone where the page goes `over_tls`, else both, as a proxy may speak TLS.
pub fn policy(host: &str, over_tls: bool) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    let sockets = if !host.is_empty() && host.bytes().all(plain) {
        match over_tls {
            true => format!(" wss://{host}"),
            false => format!(" ws://{host} wss://{host}"),
        }
    } else {
        String::new()
    };
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'{sockets}; \
         img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

/// The file of the page at `path` of a request target, without its query.
pub fn find(path: &str) -> Option<&'static Asset> {
    let place = PATHS.iter().position(|known| *known == path)?;
    Some(&ASSETS[place])
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

/// FNV-1a: distinguishes the versions of one file; need not resist an attacker.
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
                let own = find(&format!("/{target}")).is_some() || target.starts_with("data:");
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
    fn each_file_has_a_tag_of_its_own() {
        assert_ne!(find("/").unwrap().etag, find("/fanfare.js").unwrap().etag);
    }

    #[test]
    fn over_tls_the_policy_names_no_socket_in_the_clear() {
        let policy = policy("a.example", true);
        assert!(
            policy.contains("connect-src 'self' wss://a.example;"),
            "{policy}"
        );
    }

    #[test]
    fn the_policy_names_the_sockets_of_the_host_and_of_no_other() {
        let connect = |host: &str| {
            let policy = policy(host, false);
            let mut parts = policy.split("; ").map(str::to_owned);
            parts.find(|part| part.starts_with("connect-src ")).unwrap()
        };
        assert_eq!(
            connect("[::1]:8000"),
            "connect-src 'self' ws://[::1]:8000 wss://[::1]:8000"
        );
        for odd in ["", "a;script-src *", "a b", "a'", "a,b"] {
            assert_eq!(connect(odd), "connect-src 'self'", "{odd}");
        }
    }

    #[test]
    fn the_page_works_below_any_path_and_in_older_browsers() {
        let (html, script) = (text("/"), text("/fanfare.js"));
        for word in ["src=\"/", "href=\"/"] {
            assert!(!html.contains(word), "{word} leaves the folder of the page");
        }
        // Safari has it from 15.4 on.
        assert!(!script.contains(".at("));
    }
}
