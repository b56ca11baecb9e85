//! What the link tells at once: each core is woken for it once, not for each message.

use crate::hub::Hub;
use crate::hub::mailbox::Task;
use crate::log::Topic;

/// What cores are told when it is dropped.
pub struct Turn<'a> {
    hub: &'a Hub,
    /// By core: whether it is to look what has changed, and what it is given to do.
    cores: Vec<(bool, Vec<Task>)>,
}

impl Hub {
    /// Begins one. What is done with it reaches the cores when it ends.
    pub fn turn(&self) -> Turn<'_> {
        let cores = self.cores.iter().map(|_| (false, Vec::new()));
        Turn {
            hub: self,
            cores: cores.collect(),
        }
    }
}

impl Turn<'_> {
    pub(super) fn give(&mut self, core: usize, task: Task) {
        self.cores[core].1.push(task);
    }

    /// A topic has grown.
    pub(super) fn announce(&mut self, topic: &Topic) {
        let wake = |core: usize| self.cores[core].0 = true;
        self.hub.post_growth(topic, None, wake);
    }

    /// Publishers may have waited for what is decided now.
    pub(super) fn wake_publishers(&mut self, topic: &Topic) {
        let wake = |core: usize| self.cores[core].0 = true;
        self.hub.find_publishers(topic, wake);
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        for (mailbox, (is_to_look, tasks)) in self.hub.cores.iter().zip(&mut self.cores) {
            match tasks.is_empty() {
                false => mailbox.give_all(tasks),
                true if *is_to_look => mailbox.wake(),
                true => {}
            }
        }
    }
}
