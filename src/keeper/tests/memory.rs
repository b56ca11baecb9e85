//! History in memory: it goes over in a handover, and ends in a crash.

use std::sync::{Arc, Mutex};

use fastrand::Rng;

use super::{Keeper, Time, Truth, hand_over, play_all, publish_here, settings};
use crate::config::{Keep, Settings};
use crate::hub::Hub;

struct Memory {
    time: Time,
    settings: Settings,
    hub: Arc<Hub>,
}

impl Keeper for Memory {
    fn hubs(&self) -> Vec<Arc<Hub>> {
        vec![self.hub.clone()]
    }

    fn publish(&mut self, topic: &str, truth: &Mutex<Truth>, _: &mut Rng) {
        publish_here(&self.hub, topic, truth);
    }

    fn step(&mut self, _: &Mutex<Truth>, _: &mut Rng) {
        self.hub.expire();
    }

    fn restart(&mut self, _: &Mutex<Truth>, rng: &mut Rng) {
        self.hub = match rng.bool() {
            true => hand_over(&self.hub, &self.time, &self.settings),
            false => self.time.hub(&self.settings),
        };
    }

    fn settle(&mut self, _: &Mutex<Truth>, _: &mut Rng) {}
}

#[test]
fn each_reader_has_a_part_of_one_order_from_memory() {
    play_all(300, |time, rng| {
        let settings = settings(Keep::Memory, rng);
        let hub = time.hub(&settings);
        let time = time.clone();
        Box::new(Memory {
            time,
            settings,
            hub,
        })
    });
}
