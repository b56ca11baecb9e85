//! The repository's own pages, read by the tests that hold them to what is there.

use std::fs;
use std::path::PathBuf;

pub(crate) fn text(path: &str) -> String {
    fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).expect(path)
}

/// The files below a folder of the repository whose names end so.
pub(crate) fn files(folder: &str, end: &str) -> Vec<PathBuf> {
    let mut folders = vec![PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(folder)];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("it is there") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => folders.push(path),
                false if path.to_string_lossy().ends_with(end) => found.push(path),
                false => {}
            }
        }
    }
    found
}

/// The anchor that a heading has where such pages are read.
pub(crate) fn slug(heading: &str) -> String {
    let is_kept = |c: &char| c.is_alphanumeric() || " _-".contains(*c);
    let kept: String = heading.to_lowercase().chars().filter(is_kept).collect();
    kept.replace(' ', "-")
}
