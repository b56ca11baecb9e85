//! The dashboard of the admin listener: what the daemon does, live, in a browser.
//!
//! Its files lie in the folder beside this one. They are the same for all and tell nothing: the
//! figures come from `GET /overview`, for who may ask. Some files of the guide come along, as
//! the dashboard shows what they say of a warning. Called by `admin`.

use std::sync::LazyLock;

use super::asset::Asset;

/// The value of `Content-Security-Policy`: the page's own files and the daemon's answers, and
/// nothing else; `data:` is for the icon.
pub const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The file of the dashboard at `path` of a request target, without its query.
pub fn find(path: &str) -> Option<&'static Asset> {
    let known = FILES.iter().find(|(known, _)| *known == path);
    known.map(|(_, asset)| asset)
}

/// Where there are files.
pub fn paths() -> impl Iterator<Item = &'static str> {
    FILES.iter().map(|(path, _)| *path)
}

/// A file of the guide.
macro_rules! guide {
    ($name:literal) => {
        (
            concat!("/docs/", $name),
            Asset::words(include_bytes!(concat!("../../docs/", $name))),
        )
    };
}

static FILES: LazyLock<[(&str, Asset); 17]> = LazyLock::new(|| {
    [
        ("/", Asset::html(include_bytes!("dashboard/index.html"))),
        (
            "/dashboard.js",
            Asset::script(include_bytes!("dashboard/dashboard.js")),
        ),
        (
            "/drawing.js",
            Asset::script(include_bytes!("dashboard/drawing.js")),
        ),
        (
            "/figures.js",
            Asset::script(include_bytes!("dashboard/figures.js")),
        ),
        (
            "/guide.js",
            Asset::script(include_bytes!("dashboard/guide.js")),
        ),
        (
            "/dashboard.css",
            Asset::style(include_bytes!("dashboard/dashboard.css")),
        ),
        // What warnings refer to, and what the pages refer to from there.
        guide!("abuse.md"),
        guide!("api.md"),
        guide!("operating.md"),
        guide!("configuration.md"),
        guide!("cluster.md"),
        guide!("handover.md"),
        guide!("history.md"),
        guide!("pusher-api.md"),
        guide!("tls.md"),
        guide!("tokens.md"),
        guide!("topics.md"),
    ]
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dashboard_is_found_by_path_and_nothing_else_is() {
        assert!(find("/").unwrap().content_type.starts_with("text/html"));
        assert!(find("/docs/operating.md").is_some());
        for path in ["", "/docs", "/docs/", "/docs/../dashboard.js", "/overview"] {
            assert!(find(path).is_none(), "{path}");
        }
    }

    #[test]
    fn its_policy_lets_nothing_in_from_elsewhere() {
        for source in POLICY.split([' ', ';']).filter(|word| word.contains(':')) {
            assert_eq!(source, "data:");
        }
        assert!(!POLICY.contains("-inline") && !POLICY.contains("-eval"));
        assert!(!POLICY.contains('*'));
    }
}
