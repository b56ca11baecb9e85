//! README, index, comparison and changelog: their links lead somewhere, and what they say of other
//! pages stands there.

mod reading;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use reading::{files, slug, text};

const TOP: &str = env!("CARGO_MANIFEST_DIR");

/// All that people read first: (where it lies below the top, what it says).
fn pages() -> Vec<(String, String)> {
    let guide = files("docs", ".md").into_iter();
    let others = ["README.md", "CONTRIBUTING.md", "loadtest/README.md"];
    guide
        .map(|path| below_top(&path))
        .chain(others.map(String::from))
        .map(|path| (path.clone(), text(&path)))
        .collect()
}

fn below_top(path: &Path) -> String {
    let path = path.strip_prefix(TOP).expect("it is of this repository");
    path.to_string_lossy().into_owned()
}

/// A page without its blocks of code.
fn prose(text: &str) -> String {
    let parts = text.split("\n```").step_by(2);
    // The line that ends a block begins the part behind it.
    parts.collect::<Vec<_>>().join("\n")
}

/// What the links of a page lead to. What stands between backticks is none.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for paragraph in prose(text).split("\n\n") {
        let plain: Vec<&str> = paragraph.split('`').step_by(2).collect();
        let plain = plain.concat();
        for rest in plain.split("](").skip(1) {
            let target = rest.split(')').next().expect("a part");
            found.push(target.to_owned());
        }
    }
    found
}

fn anchors(text: &str) -> HashSet<String> {
    let lines = prose(text);
    let headings = lines.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| slug(line.trim_start_matches('#').trim()))
        .collect()
}

#[test]
fn each_link_leads_to_a_file_and_a_heading_that_are_there() {
    let mut seen = 0;
    for (page, text) in pages() {
        let folder = Path::new(TOP).join(&page);
        let folder = folder.parent().expect("a folder");
        for target in links(&text) {
            if target.contains("://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let path = match file {
                "" => Path::new(TOP).join(&page),
                _ => folder.join(file),
            };
            assert!(path.exists(), "{page}: {target} leads nowhere");
            if !anchor.is_empty() {
                let there = std::fs::read_to_string(&path).expect("text");
                let known = anchors(&there);
                assert!(
                    known.contains(anchor),
                    "{page}: {target} has no such heading"
                );
            }
            seen += 1;
        }
    }
    assert!(seen > 200, "{seen}");
}

#[test]
fn the_index_of_the_guide_has_each_of_its_pages() {
    let named: HashSet<PathBuf> = links(&text("docs/README.md"))
        .iter()
        .filter_map(|target| target.split('#').next())
        .map(|file| Path::new(TOP).join("docs").join(file))
        .collect();
    let is_shown_elsewhere = |path: &Path| {
        let name = below_top(path);
        name.starts_with("docs/pictures/") || name.ends_with(".svg") || name == "docs/README.md"
    };
    let mut seen = 0;
    for path in files("docs", "") {
        if !is_shown_elsewhere(&path) {
            assert!(named.contains(&path), "docs/README.md lacks {path:?}");
            seen += 1;
        }
    }
    assert!(seen > 25, "{seen}");
}

/// The numbers that a text names, as they are written.
fn numbers(text: &str) -> impl Iterator<Item = &str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == ',';
    text.split(move |c| !is_part(c))
        .map(|word| word.trim_matches([',', '.']))
        .filter(|word| word.starts_with(|c: char| c.is_ascii_digit()))
}

/// Rows of the tables that set Fanfare's figures beside another system's, without the command at
/// the end of each.
fn measured_rows(page: &str) -> Vec<String> {
    let mut rows = Vec::new();
    let mut measured = false;
    for line in page.lines() {
        if !line.starts_with('|') {
            measured = false;
        } else if line.starts_with("|---") {
            continue;
        } else if line.ends_with("| how |") {
            measured = true;
        } else if measured {
            let cells: Vec<&str> = line.trim_matches('|').split(" | ").collect();
            rows.push(cells[..cells.len() - 1].join(" | "));
        }
    }
    rows
}

#[test]
fn figures_that_are_compared_stand_where_they_were_measured() {
    let measured = text("docs/performance.md");
    let known: HashSet<&str> = numbers(&measured).collect();
    let readme = text("README.md");
    let (_, promises) = readme.split_once("\n- **").expect("a list");
    let (promises, _) = promises.split_once("\n\n").expect("it ends");
    let mut claims = measured_rows(&text("docs/compare.md"));
    assert!(claims.len() > 25, "{}", claims.len());
    claims.push(promises.to_owned());
    for claim in &claims {
        for number in numbers(claim) {
            assert!(
                known.contains(number),
                "docs/performance.md has no {number}: {claim}"
            );
        }
    }
}

#[test]
fn each_place_that_names_the_version_names_this_one() {
    let version = env!("CARGO_PKG_VERSION");
    let has = |path: &str, words: String| {
        assert!(text(path).contains(&words), "{path} has no {words}");
    };
    let (_, newest) = text("docs/changelog.md")
        .split_once("\n## ")
        .map(|(head, rest)| (head.to_owned(), rest.to_owned()))
        .expect("a version");
    assert!(newest.starts_with(&format!("[{version}] - ")), "changelog");
    let package = text("packaging/changelog");
    assert!(
        package.starts_with(&format!("fanfare ({version}-1) ")),
        "{package}"
    );
    has("docs/openapi.json", format!("\"version\": \"{version}\""));
    has("docs/pictures/top.svg", format!(">fanfare {version} <"));
    for package in ["loadtest", "tests/sim"] {
        has(
            &format!("{package}/Cargo.toml"),
            format!("\nversion = \"{version}\"\n"),
        );
    }
}
