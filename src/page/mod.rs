//! The built-in pages, embedded in the binary: a chat box and a live view of a
//! topic here, the admin listener's dashboard in [`dashboard`].
//!
//! HTML, style and script lie beside this file; no file is read at run time. Called
//! by `core` for a browser's GET.

mod asset;
pub mod dashboard;

use std::sync::LazyLock;

pub use asset::Asset;

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

/// Where the page reads what this server offers, which is no file: the settings say it.
pub const OFFER_PATH: &str = "/fanfare.json";

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
    let known = FILES.iter().find(|(known, _)| *known == path);
    known.map(|(_, asset)| asset)
}

static FILES: LazyLock<[(&str, Asset); 4]> = LazyLock::new(|| {
    [
        ("/", Asset::html(include_bytes!("index.html"))),
        ("/fanfare.js", Asset::script(include_bytes!("fanfare.js"))),
        (
            "/fanfare-use.js",
            Asset::script(include_bytes!("fanfare-use.js")),
        ),
        ("/fanfare.css", Asset::style(include_bytes!("fanfare.css"))),
    ]
});

#[cfg(test)]
mod tests;
