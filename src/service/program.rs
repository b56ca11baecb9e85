//! How this program was started, so that a successor can be started alike.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The program and its arguments.
///
/// The path is the one that it was called by: a package replaces the file there,
/// and where it leads through a symbolic link, as `/opt/fanfare/current`, the link
/// may lead to another release by then. It is made whole, as the folder that it
/// begins in may be another one's later, but no link in it is followed.
pub(super) fn program() -> Vec<OsString> {
    let mut arguments = env::args_os();
    let called = arguments.next().unwrap_or_default();
    let this = env::current_exe().ok();
    let path = whole(&called, this.as_deref());
    let path = path.or(this).map_or(called, OsString::from);
    std::iter::once(path).chain(arguments).collect()
}

/// The path that `called` stands for, if it leads to `this`, the program that runs.
/// Whoever calls a program may give it any name.
fn whole(called: &OsStr, this: Option<&Path>) -> Option<PathBuf> {
    let this = identity(this?)?;
    let leads_here = |path: &PathBuf| identity(path) == Some(this);
    if called.as_bytes().contains(&b'/') {
        return Some(folder()?.join(called)).filter(leads_here);
    }
    // As a shell finds it.
    let folders = env::var_os("PATH")?;
    let mut found = env::split_paths(&folders).map(|folder| folder.join(called));
    found.find(|path| path.is_absolute() && leads_here(path))
}

/// The folder that this process is in, by the name that the shell knows it by: that
/// may lead through a link as well.
fn folder() -> Option<PathBuf> {
    let here = env::current_dir().ok()?;
    let named = env::var_os("PWD").map(PathBuf::from);
    let named = named.filter(|named| named.is_absolute() && identity(named) == identity(&here));
    named.or(Some(here))
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let found = fs::metadata(path).ok()?;
    Some((found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_on_the_way_to_the_program_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (release, current) = (folder.path().join("1.0"), folder.path().join("current"));
        fs::create_dir(&release).unwrap();
        symlink(&release, &current).unwrap();
        let (real, linked) = (release.join("fanfare"), current.join("fanfare"));
        fs::write(&real, "").unwrap();
        assert_eq!(whole(linked.as_os_str(), Some(&real)), Some(linked));
        // A name that somebody has made up.
        assert_eq!(whole(OsStr::new("fanfare: main"), Some(&real)), None);
        assert_eq!(whole(OsStr::new("/bin/sh"), Some(&real)), None);
    }

    #[test]
    fn a_name_is_looked_up_as_the_shell_does() {
        let real = fs::canonicalize("/bin/sh").unwrap();
        let found = whole(OsStr::new("sh"), Some(&real)).unwrap();
        assert!(found.is_absolute() && found.ends_with("sh"), "{found:?}");
    }
}
