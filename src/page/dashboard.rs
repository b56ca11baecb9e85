//! The dashboard of the admin listener: what the daemon does, live, in a browser.
//!
//! Its files lie in the folder beside this one. They are the same for all and tell nothing: the
//! figures come from `GET /overview`, for who may ask. The files of the guide come along, as
//! the dashboard shows what they say of a warning, and where their links lead. Called by `admin`.

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

static FILES: LazyLock<[(&str, Asset); 32]> = LazyLock::new(|| {
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
        // What warnings refer to, and what these files refer to in turn.
        guide!("abuse.md"),
        guide!("api.md"),
        guide!("centrifugo.md"),
        guide!("clients.md"),
        guide!("cluster.md"),
        guide!("configuration.md"),
        guide!("conformance.md"),
        guide!("dashboard.md"),
        guide!("event-streams.md"),
        guide!("going-public.md"),
        guide!("handover.md"),
        guide!("history.md"),
        guide!("mercure.md"),
        guide!("metrics.md"),
        guide!("operating.md"),
        guide!("performance.md"),
        guide!("pusher.md"),
        guide!("pusher-api.md"),
        guide!("running.md"),
        guide!("shell.md"),
        guide!("tls.md"),
        guide!("tokens.md"),
        guide!("topics.md"),
        guide!("tracing.md"),
        guide!("unsafe.md"),
        guide!("wire.md"),
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
    fn where_links_of_the_guide_lead_is_there_too() {
        let files = paths().filter(|path| path.ends_with(".md"));
        for path in files {
            let text = std::str::from_utf8(find(path).unwrap().body).unwrap();
            let links = text.split("](").skip(1);
            let links = links.map(|rest| rest.split([')', '#']).next().unwrap_or_default());
            // As in `guide.js`: others are none within the dashboard.
            let is_page = |link: &&str| link.ends_with(".md") && !link.contains('/');
            for link in links.filter(is_page) {
                assert!(find(&format!("/docs/{link}")).is_some(), "{path}: {link}");
            }
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
