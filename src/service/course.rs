//! The course that the daemon takes to its end, one at a time: it hands over to a
//! new process, has the service manager keep everything for the next one, or says
//! goodbye to everyone. Two at a time would be two owners of one state.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::notify::Notifier;
use super::{container, restart};
use crate::handover::{self, Consent, Predecessor};
use crate::hub::{Hub, UpgradeError};
use crate::lines;

/// Time to answer who asked for a handover.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// What stopping may take beyond `drain_ms_max`.
const STOP_MARGIN: Duration = Duration::from_secs(10);
/// Signals that come within this time after the first one ask for the same. A
/// terminal sends its own to a whole group of processes, and the shells and process
/// managers in that group send another one on.
const SAME_WISH: Duration = Duration::from_secs(1);

pub(super) struct Course {
    hub: Arc<Hub>,
    notifier: Arc<Notifier>,
    /// Set before anybody can ask for anything.
    predecessor: OnceLock<Predecessor>,
    /// The kernel makes plain descriptors of a ring's sockets.
    installs: bool,
    stage: Mutex<Stage>,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Serving,
    /// To a new process, which does not own anything yet. A signal to stop that
    /// comes meanwhile ends that.
    HandingOver {
        stop: Option<(Signal, Instant)>,
    },
    /// For the next process or for good.
    Stopping {
        since: Instant,
    },
    /// This process has everything now; ours is to end without a word.
    Gone(Pid),
}

impl Course {
    pub(super) fn new(hub: Arc<Hub>, notifier: Arc<Notifier>, installs: bool) -> Arc<Course> {
        Arc::new(Course {
            hub,
            notifier,
            predecessor: OnceLock::new(),
            installs,
            stage: Mutex::new(Stage::Serving),
        })
    }

    /// From now on handovers can be asked for; `hub` passes such wishes on.
    pub(super) fn begin(self: &Arc<Self>, predecessor: Predecessor) {
        let set = self.predecessor.set(predecessor).is_ok();
        assert!(set, "a course begins once");
        let course = self.clone();
        self.hub.on_upgrade(Box::new(move || course.upgrade()));
    }

    fn predecessor(&self) -> &Predecessor {
        let begun = self.predecessor.get();
        begun.expect("nobody asks before the course has begun")
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().expect("nothing panics inside the lock")
    }

    /// Starts a successor and hands everything over to it. Returns which process
    /// that is; this one ends soon.
    fn upgrade(self: &Arc<Self>) -> Result<Pid, UpgradeError> {
        if !self.installs {
            let sentence = "this kernel cannot hand connections over: Linux 6.8 is needed";
            return Err(UpgradeError::Refused(sentence.into()));
        }
        if let Some(sentence) = container::why_irreplaceable() {
            return Err(UpgradeError::Refused(sentence));
        }
        let mut stage = self.stage();
        let refused = match *stage {
            Stage::Serving => None,
            Stage::HandingOver { .. } => Some("a handover is under way already".to_owned()),
            Stage::Stopping { .. } => Some("the daemon is stopping: it hands over no more".into()),
            Stage::Gone(successor) => Some(format!("process {successor} has taken over already")),
        };
        if let Some(sentence) = refused {
            return Err(UpgradeError::Refused(sentence));
        }
        *stage = Stage::HandingOver { stop: None };
        drop(stage);
        let told_to_stop = || matches!(*self.stage(), Stage::HandingOver { stop: Some(_) });
        let consent = Consent {
            called_off: &told_to_stop,
            let_go: &|successor| self.let_go(successor),
        };
        let outcome = handover::hand_over(self.predecessor(), &consent);
        match outcome {
            Ok(successor) => {
                // Everything is somewhere else now; only who asked is still to be
                // answered. No destructor may touch what has been handed over.
                std::thread::spawn(|| {
                    std::thread::sleep(LAST_WORDS);
                    lines::exit(0);
                });
                Ok(successor)
            }
            Err(sentence) => {
                let mut stage = self.stage();
                let before = std::mem::replace(&mut *stage, Stage::Serving);
                self.hub.set_parted(false);
                drop(stage);
                // Who reads this may ask again at once.
                tracing::error!("handover failed, going on as before: {sentence}");
                match before {
                    Stage::HandingOver {
                        stop: Some((signal, _)),
                    } => self.stop(signal),
                    // It died when it had just been told to go on alone.
                    Stage::Gone(_) => self.notifier.main_pid(Pid::this()),
                    _ => {}
                }
                Err(UpgradeError::Failed(sentence))
            }
        }
    }

    /// The successor has all it needs: from here on it owns everything, unless this
    /// process has been told to stop. Then it does that itself, as the process
    /// that the service manager watches.
    fn let_go(&self, successor: Pid) -> Result<(), String> {
        let mut stage = self.stage();
        if let Stage::HandingOver {
            stop: Some((signal, _)),
        } = *stage
        {
            return Err(format!("{signal} has come meanwhile"));
        }
        *stage = Stage::Gone(successor);
        self.hub.set_parted(true);
        self.notifier.main_pid(successor);
        Ok(())
    }

    /// Obeys a signal to stop: in order the first time, at once the second.
    pub(super) fn stop(self: &Arc<Self>, signal: Signal) {
        let mut stage = self.stage();
        let first = match &mut *stage {
            Stage::Serving => {
                *stage = Stage::Stopping {
                    since: Instant::now(),
                };
                drop(stage);
                let course = self.clone();
                // On a thread of its own, so that a second signal is heard.
                let spawned = std::thread::Builder::new()
                    .name("stopping".into())
                    .spawn(move || course.stop_in_order(signal));
                if let Err(error) = spawned {
                    tracing::error!(%error, "cannot start a thread: stopping at once");
                    lines::exit(1);
                }
                return;
            }
            Stage::HandingOver { stop } => {
                let (_, since) = *stop.get_or_insert_with(|| {
                    tracing::info!(?signal, "stopping as soon as the handover is called off");
                    (signal, Instant::now())
                });
                since
            }
            Stage::Stopping { since } => *since,
            Stage::Gone(successor) => {
                let successor = *successor;
                drop(stage);
                tracing::info!(?signal, %successor, "passed on to the process that has taken over");
                match kill(successor, signal) {
                    Ok(()) | Err(Errno::ESRCH) => {}
                    Err(error) => tracing::error!(%error, "cannot pass a signal on"),
                }
                return;
            }
        };
        drop(stage);
        if first.elapsed() >= SAME_WISH {
            tracing::warn!(?signal, "stopping at once");
            lines::exit(1);
        }
    }

    fn stop_in_order(&self, signal: Signal) {
        let next = match signal {
            Signal::SIGTERM => restart::expected(),
            _ => None,
        };
        if let Some(next) = &next
            && self.put_away(next)
        {
            lines::exit(0);
        }
        let connections = self.hub.admission().connections();
        tracing::info!(?signal, connections, "stopping");
        let status = format!("saying goodbye to {connections} connections");
        self.notifier.stopping(&status, self.time_to_stop());
        self.hub.stop(next.is_some());
    }

    fn time_to_stop(&self) -> Duration {
        Duration::from_millis(self.hub.settings().drain_ms_max) + STOP_MARGIN
    }

    /// Has the service manager keep everything until the next start; true if it has.
    fn put_away(&self, next: &restart::Next) -> bool {
        let room = next.room();
        if !self.installs || room == 0 {
            return false;
        }
        let predecessor = self.predecessor();
        let connections = self.hub.admission().connections();
        if room < connections {
            tracing::warn!(
                room,
                connections,
                "FileDescriptorStoreMax is too small to keep all connections over the restart: \
                 the others are told to come back (`fanfare upgrade` keeps them all)"
            );
            let status = format!("saying goodbye to {} connections", connections - room);
            self.notifier.stopping(&status, self.time_to_stop());
        }
        let keep = |name: &str, files: &[OwnedFd]| self.notifier.store(name, files);
        let settle = |files| self.notifier.barrier().and_then(|()| next.verify(files));
        let kept = handover::store::put_away(
            &self.hub,
            &predecessor.cores,
            room,
            &predecessor.listeners,
            &predecessor.admin,
            &keep,
            &settle,
        );
        match kept {
            Ok(connections) => {
                tracing::info!(
                    connections,
                    "restarting: the service manager keeps everything"
                );
                true
            }
            Err(sentence) => {
                tracing::error!("cannot keep connections over the restart: {sentence}");
                for name in handover::store::NAMES {
                    self.notifier.unstore(name);
                }
                false
            }
        }
    }
}
