//! `docs/unsafe.md` against the source: every place that says `unsafe` is there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The folders whose source is built into anything.
const FOLDERS: [&str; 5] = ["src", "benches", "loadtest", "tests", "fuzz/fuzz_targets"];

/// In two pieces, so that this file has no place of its own.
const PAGE: &str = concat!("docs/un", "safe.md");

fn top() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// How many places each file has.
fn in_source() -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    let mut waiting: Vec<PathBuf> = FOLDERS.iter().map(|folder| top().join(folder)).collect();
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("a folder can be read");
            waiting.extend(entries.map(|entry| entry.expect("an entry").path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let places = places(&fs::read_to_string(&path).expect("source is text"));
            if places > 0 {
                found.insert(name(&path), places);
            }
        }
    }
    found
}

fn name(path: &Path) -> String {
    let name = path.strip_prefix(top()).expect("it lies below");
    name.to_str().expect("names are plain").to_owned()
}

/// The keyword in code: a block, a function, a type or an implementation. The page's own name is
/// none.
fn places(source: &str) -> usize {
    let keyword = concat!("un", "safe");
    let source = source.replace(concat!("\"un", "safe.md\""), "");
    let code = source.lines().map(|line| line.split("//").next().unwrap());
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    code.flat_map(|line| line.split(|c| !is_part(c)))
        .filter(|word| *word == keyword)
        .count()
}

/// How many places the page says each file has, and how many it describes.
fn on_the_page() -> BTreeMap<String, (usize, usize)> {
    let page = fs::read_to_string(top().join(PAGE)).expect("the page is there");
    let mut found = BTreeMap::new();
    let mut file = None;
    for line in page.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            file = heading.strip_prefix('`').map(|heading| {
                let (name, count) = heading.split_once("`: ").expect("a name and a number");
                let count = count.parse().expect("a number");
                found.insert(name.to_owned(), (count, 0));
                name.to_owned()
            });
        } else if let Some(file) = &file
            && line.starts_with("| ")
            && !line.starts_with("| where |")
        {
            found.get_mut(file).expect("inserted").1 += 1;
        }
    }
    found
}

#[test]
fn the_page_lists_every_place_and_no_other() {
    let (source, page) = (in_source(), on_the_page());
    for (file, places) in &source {
        let listed = page.get(file).copied().unwrap_or_default();
        assert_eq!(
            listed,
            (*places, *places),
            "{file} has {places} places; {PAGE} counts and describes these many"
        );
    }
    for file in page.keys() {
        assert!(source.contains_key(file), "{file} has none any more");
    }
}

#[test]
fn comments_and_longer_words_are_no_places() {
    let keyword = concat!("un", "safe");
    assert_eq!(places(&format!("let a = {keyword} {{ b }};")), 1);
    assert_eq!(places(&format!("a({keyword}{{b}}) // {keyword}\n")), 1);
    assert_eq!(places(&format!("#![forbid({keyword}_code)]")), 0);
    assert_eq!(places(&format!("/// {keyword} {{")), 0);
    assert_eq!(places(&format!("guide!(\"{keyword}.md\"),")), 0);
}
