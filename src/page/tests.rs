//! What holds for the files of both pages.

use std::str;

use super::*;

type Find = fn(&str) -> Option<&'static Asset>;

/// Each page: how its files are found, its scripts, and its style.
const PAGES: [(Find, &[&str], &str); 2] = [
    (find, &["/fanfare.js", "/fanfare-use.js"], "/fanfare.css"),
    (
        dashboard::find,
        &["/dashboard.js", "/drawing.js", "/figures.js", "/guide.js"],
        "/dashboard.css",
    ),
];

fn text(find: Find, path: &str) -> &'static str {
    str::from_utf8(find(path).expect(path).body).unwrap()
}

/// What stands in quotes behind each of `words`.
fn quoted(text: &'static str, words: &[&str]) -> Vec<&'static str> {
    let behind = |word: &&str| text.split(*word).skip(1).collect::<Vec<_>>();
    let parts = words.iter().flat_map(behind);
    parts.map(|rest| rest.split('"').next().unwrap()).collect()
}

#[test]
fn the_page_is_found_by_path_and_nothing_else_is() {
    assert!(find("/").unwrap().content_type.starts_with("text/html"));
    for path in ["", "/lobby", "/fanfare", "/../fanfare.js", "fanfare.js"] {
        assert!(find(path).is_none(), "{path}");
    }
    assert!(find(OFFER_PATH).is_none());
}

#[test]
fn the_pages_ask_for_their_own_files_only() {
    for (find, scripts, style) in PAGES {
        for target in quoted(text(find, "/"), &["src=\"", "href=\""]) {
            let own = find(&format!("/{target}")).is_some() || target.starts_with("data:");
            assert!(own, "{target} is not part of the page");
        }
        for script in scripts {
            for target in quoted(text(find, script), &[" from \""]) {
                let own = target.strip_prefix('.').and_then(find).is_some();
                assert!(own, "{script}: {target} is not part of the page");
            }
        }
        assert!(!text(find, style).contains("url("));
        assert!(!text(find, style).contains("@import"));
    }
}

#[test]
fn nothing_in_the_pages_runs_or_styles_inline() {
    for (find, ..) in PAGES {
        let html = text(find, "/");
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
}

#[test]
fn user_text_never_becomes_html() {
    for (find, scripts, _) in PAGES {
        for script in scripts {
            for word in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "setAttribute(\"style\"",
            ] {
                assert!(!text(find, script).contains(word), "{script}: {word}");
            }
        }
    }
}

#[test]
fn each_file_has_a_tag_of_its_own() {
    assert_ne!(find("/").unwrap().etag, find("/fanfare.js").unwrap().etag);
    assert_ne!(find("/").unwrap().etag, dashboard::find("/").unwrap().etag);
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
fn the_pages_work_below_any_path_and_in_older_browsers() {
    for (find, scripts, _) in PAGES {
        let html = text(find, "/");
        for word in ["src=\"/", "href=\"/"] {
            assert!(!html.contains(word), "{word} leaves the folder of the page");
        }
        for script in scripts {
            // Safari has these from 15.4 and 16.4 on.
            for word in [".at(", "(?<!", "(?<="] {
                assert!(!text(find, script).contains(word), "{script}: {word}");
            }
            for word in ["fetch(\"/", "fetch(`/"] {
                assert!(!text(find, script).contains(word), "{script}: {word}");
            }
        }
    }
}
