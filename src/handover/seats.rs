//! Connections from another process find their cores.

use std::os::fd::OwnedFd;
use std::sync::mpsc;
use std::time::Duration;

use super::state::Topics;
use crate::core::{Arrived, SavedConn, SavedLink};

/// How long a core may take to seat its connections.
const STEP_TIME: Duration = Duration::from_secs(20);

/// The cores, which wait for what they are to take over.
pub struct Seats {
    cores: Vec<mpsc::Sender<Arrived>>,
    seated: mpsc::Receiver<Vec<String>>,
    /// Connections that each core has been given.
    given: Vec<u32>,
    slots: u32,
}

impl Seats {
    /// Each core takes at most `slots` connections, and tells by `seated` those that
    /// it could not take.
    pub fn new(
        cores: Vec<mpsc::Sender<Arrived>>,
        seated: mpsc::Receiver<Vec<String>>,
        slots: u32,
    ) -> Seats {
        Seats {
            given: vec![0; cores.len()],
            cores,
            seated,
            slots,
        }
    }

    /// Gives a connection, with its keys if it has TLS, to the core that it was on, or to another
    /// one if there is no such core any more or no room on it.
    pub(super) fn give(
        &mut self,
        topics: &Topics,
        (conn, link): (SavedConn, Option<SavedLink>),
        socket: OwnedFd,
    ) -> Result<(), String> {
        let core = self.find(conn.core as usize);
        let core = core.ok_or("there are more connections than slots (LimitNOFILE, cores)")?;
        let topics = topics.of(&conn);
        let arrived = Arrived {
            conn,
            link,
            socket,
            topics,
        };
        self.given[core] += 1;
        let sent = self.cores[core].send(arrived);
        sent.map_err(|_| "a core has ended".to_owned())
    }

    fn find(&self, wanted: usize) -> Option<usize> {
        let has_room = |core: &usize| self.given[*core] < self.slots;
        if wanted < self.cores.len() && has_room(&wanted) {
            return Some(wanted);
        }
        let emptiest = (0..self.cores.len()).min_by_key(|core| self.given[*core]);
        emptiest.filter(has_room)
    }

    /// Waits until the cores have seated what they were given; returns why some could
    /// not be.
    pub(super) fn settle(self) -> Result<Vec<String>, String> {
        let waiting = self.cores.len();
        // That is how they know that there are no more.
        drop(self.cores);
        let mut refused = Vec::new();
        for _ in 0..waiting {
            let outcome = self.seated.recv_timeout(STEP_TIME);
            refused.extend(outcome.map_err(|_| "a core does not take its connections")?);
        }
        Ok(refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seats(cores: usize, slots: u32) -> Seats {
        let (senders, _) = (0..cores)
            .map(|_| mpsc::channel())
            .unzip::<_, _, _, Vec<_>>();
        Seats::new(senders, mpsc::channel().1, slots)
    }

    #[test]
    fn a_connection_stays_on_its_core_while_there_is_room() {
        let mut seats = seats(3, 2);
        seats.given = vec![0, 1, 2];
        assert_eq!(seats.find(1), Some(1));
        assert_eq!(seats.find(2), Some(0));
        // There were more cores.
        assert_eq!(seats.find(7), Some(0));
        seats.given = vec![2, 2, 2];
        assert_eq!(seats.find(0), None);
    }
}
