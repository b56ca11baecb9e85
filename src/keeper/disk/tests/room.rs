//! Disks that are full, or take no writes. They are small file systems in memory, which only
//! root may mount.

use std::process::Command;

use super::*;

/// A file system in memory, gone with this.
struct Small(TempDir);

impl Small {
    /// `None` where it cannot be mounted.
    fn mount(bytes: u64) -> Option<Small> {
        let at = room();
        let options = format!("size={bytes},mode=0700");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "none"])
            .arg(at.path())
            .output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Small(at));
        }
        println!("not tried: a small file system cannot be mounted here");
        None
    }

    fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        let mut command = Command::new("mount");
        command.args(["-o", &options]).arg(self.path());
        assert!(command.status().unwrap().success());
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

#[test]
fn a_full_disk_is_named_and_loses_nothing_that_was_synced() {
    let Some(disk) = Small::mount(600 << 10) else {
        return;
    };
    let mut random = Rng::with_seed(1);
    let folder = disk.path().join("store");
    let Opened { mut store, .. } = open(&folder);
    let archive = store.archive();
    let (mut synced, mut appended) = (Vec::new(), Vec::new());
    let error = loop {
        let messages = said(1 + appended.len() as u64, 10, &mut random);
        let pieces = Pieces::of(&messages);
        if let Err(error) = store.append("a", EPOCH, &pieces.page()) {
            break error;
        }
        appended.extend(messages);
        if random.u8(..4) == 0 {
            match store.sync() {
                Ok(()) => synced = appended.clone(),
                Err(error) => break error,
            }
        }
    };
    assert!(error.is_full(), "{error}");
    assert!(
        error.to_string().contains(folder.to_str().unwrap()),
        "{error}"
    );
    assert!(synced.len() > 100);
    // Readers go on; the writer does nothing more.
    assert!(all(&archive, "a") == synced);
    let pieces = Pieces::of(&said(1 << 20, 1, &mut random));
    let refused = store.append("a", EPOCH, &pieces.page());
    assert!(matches!(refused, Err(StoreError::Spent)));
    assert!(matches!(store.sync(), Err(StoreError::Spent)));
    store.note("a", EPOCH, 5, 5);
    store.trim("a", 5);
    assert!(matches!(store.tidy(), Err(StoreError::Spent)));
    assert!(store.close().is_err());
    // Opened anew it goes on, as soon as there is room.
    let ballast = disk.path().join("ballast");
    loop {
        let more = fs::read(&ballast).map_or(0, |bytes| bytes.len());
        if fs::write(&ballast, vec![1; more + 4096]).is_err() {
            break;
        }
    }
    match Store::open_sized(&folder, SHELF_BYTES) {
        Ok(opened) => drop(opened),
        Err(OpenError::Failed(error)) => assert!(error.is_full(), "{error}"),
        Err(error) => panic!("{error}"),
    }
    fs::remove_file(&ballast).unwrap();
    let Opened { mut store, .. } = open(&folder);
    assert!(all(&store.archive(), "a") == synced);
    store.retain("a", 50, u64::MAX, 0);
    store.tidy().unwrap();
    let rest = &appended[synced.len()..];
    if !rest.is_empty() {
        append(&mut store, "a", rest);
    }
    store.sync().unwrap();
    let kept = synced[synced.len() - 50..]
        .iter()
        .chain(rest)
        .cloned()
        .collect::<Vec<_>>();
    assert!(all(&store.archive(), "a") == kept);
}

#[test]
fn a_disk_that_takes_no_writes_is_named() {
    let Some(disk) = Small::mount(4 << 20) else {
        return;
    };
    let mut random = Rng::with_seed(2);
    let folder = disk.path().join("store");
    let Opened { mut store, .. } = open(&folder);
    append(&mut store, "a", &said(1, 10, &mut random));
    store.close().unwrap();
    disk.remount("ro");
    let refused = Store::open(&folder).map(drop).unwrap_err();
    let OpenError::Failed(error) = &refused else {
        panic!("{refused}");
    };
    assert!(error.is_read_only(), "{error}");
    let refused = Store::open(&disk.path().join("other"))
        .map(drop)
        .unwrap_err();
    assert!(
        refused.to_string().contains("Read-only file system"),
        "{refused}"
    );
    disk.remount("rw");
    let Opened { store, topics } = open(&folder);
    assert!(!topics[0].leapt);
    assert_eq!(all(&store.archive(), "a").len(), 10);
}
