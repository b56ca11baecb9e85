//! History on disk: a crash loses nothing that was synced, and no offset is given twice.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use fastrand::Rng;
use tempfile::TempDir;

use super::super::scribe::by_hand::ByHand;
use super::{Keeper, TOPICS, Time, Truth, hand_over, lock, play_all, publish_here, settings};
use crate::config::{Keep, Settings};
use crate::hub::Hub;

struct Disk {
    time: Time,
    settings: Settings,
    hub: Arc<Hub>,
    /// `None` for a moment, between two processes.
    scribe: Option<ByHand>,
    room: TempDir,
    /// How often the folder was copied.
    copies: usize,
}

impl Disk {
    fn folder(&self) -> PathBuf {
        self.room.path().join(format!("store-{}", self.copies))
    }

    fn scribe(&mut self) -> &mut ByHand {
        self.scribe.as_mut().expect("it is there")
    }

    /// What is not synced may be lost.
    fn lose(&self, truth: &Mutex<Truth>) {
        let mut truth = lock(truth);
        for name in TOPICS {
            if let Some(topic) = self.hub.find_topic(name) {
                let stored = topic.kept().map_or(0, |kept| kept.stored());
                truth.lose(name, topic.epoch(), stored..);
            }
        }
    }

    fn begin(&mut self, hub: Arc<Hub>) {
        self.hub = hub;
        self.scribe = Some(ByHand::open(&self.hub, &self.folder()));
    }
}

impl Keeper for Disk {
    fn hubs(&self) -> Vec<Arc<Hub>> {
        vec![self.hub.clone()]
    }

    fn publish(&mut self, topic: &str, truth: &Mutex<Truth>, _: &mut Rng) {
        publish_here(&self.hub, topic, truth);
    }

    fn step(&mut self, _: &Mutex<Truth>, rng: &mut Rng) {
        match rng.u8(..4) {
            0 => self.scribe().step(),
            1 => self.scribe().sync(),
            2 => self.scribe().tidy(),
            // Memory lets go of what is stored.
            _ => {
                for topic in self.hub.all_topics() {
                    topic.shed(0);
                }
            }
        }
    }

    fn restart(&mut self, truth: &Mutex<Truth>, rng: &mut Rng) {
        let scribe = self.scribe.take().expect("it is there");
        let next = match rng.u8(..4) {
            0 => {
                scribe.end();
                self.time.hub(&self.settings)
            }
            1 => {
                scribe.end();
                hand_over(&self.hub, &self.time, &self.settings)
            }
            2 => {
                self.lose(truth);
                drop(scribe);
                self.time.hub(&self.settings)
            }
            _ => {
                // As a power cut leaves the files that were written.
                self.lose(truth);
                let from = self.folder();
                self.copies += 1;
                copy(&from, &self.folder());
                drop(scribe);
                self.time.hub(&self.settings)
            }
        };
        self.begin(next);
    }

    fn settle(&mut self, _: &Mutex<Truth>, _: &mut Rng) {
        self.scribe().sync();
        for topic in self.hub.all_topics() {
            topic.shed(0);
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a folder");
    fs::set_permissions(to, fs::Permissions::from_mode(0o700)).expect("it is ours");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        match entry.file_type().expect("it has one").is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).expect("a file")),
        }
    }
}

#[test]
fn each_reader_has_a_part_of_one_order_from_disk_through_any_crash() {
    play_all(60, |time, rng| {
        let settings = settings(Keep::Disk, rng);
        let hub = time.hub(&settings);
        let room = TempDir::new().expect("a folder");
        let mut disk = Disk {
            time: time.clone(),
            settings,
            hub: hub.clone(),
            scribe: None,
            room,
            copies: 0,
        };
        disk.begin(hub);
        Box::new(disk)
    });
}
