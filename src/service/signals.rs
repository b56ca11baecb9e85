//! What signals ask for: SIGHUP to read the settings again, SIGUSR2 to hand over,
//! SIGTERM and SIGINT to stop, in order the first time and at once the second.
//!
//! A thread of its own waits for them; `service` starts it.

use std::fs::{self, File};
use std::sync::Arc;

use nix::sys::signal::{SigSet, Signal};

use super::certificates;
use super::course::Course;
use super::notify::Notifier;
use super::watchdog::status;
use crate::config::{Place, Reload};
use crate::hub::{Hub, UpgradeError};

/// Keeps the signals from ending the process. Threads inherit this, so it comes
/// before all of them.
///
/// # Errors
/// A sentence.
pub(super) fn block() -> Result<Signals, String> {
    // When the terminal has gone it is too late to ask.
    let hangs_up = ends_with_its_terminal();
    let mut signals = SigSet::empty();
    for signal in [
        Signal::SIGHUP,
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGUSR2,
    ] {
        signals.add(signal);
    }
    signals
        .thread_block()
        .map_err(|error| format!("cannot block signals: {error}"))?;
    Ok(Signals {
        set: signals,
        hangs_up,
    })
}

/// Those that are obeyed.
pub(super) struct Signals {
    set: SigSet,
    /// SIGHUP may say that the terminal is gone which the daemon was started in.
    hangs_up: bool,
}

/// Who is asked to do what signals say.
pub(super) struct Obedience {
    pub(super) hub: Arc<Hub>,
    pub(super) notifier: Arc<Notifier>,
    pub(super) reload: Reload,
    /// Where the daemon serves the public.
    pub(super) places: Vec<Place>,
    pub(super) certificates: Arc<certificates::Watch>,
    pub(super) course: Arc<Course>,
}

impl Obedience {
    /// Obeys signals from now on, on a thread that ends with the process.
    ///
    /// # Errors
    /// A sentence, when the thread cannot be had.
    pub(super) fn begin(self, signals: Signals) -> Result<(), String> {
        let spawned = std::thread::Builder::new()
            .name("signals".into())
            .spawn(move || self.wait(&signals));
        match spawned {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("cannot start a thread: {error}")),
        }
    }

    fn wait(&self, signals: &Signals) {
        loop {
            match signals.set.wait() {
                Ok(Signal::SIGUSR2) => {
                    let hub = self.hub.clone();
                    // A failure of the handover itself has been logged by then.
                    std::thread::spawn(move || match hub.upgrade() {
                        Err(UpgradeError::Refused(sentence)) => {
                            tracing::warn!("no handover: {sentence}");
                        }
                        Err(UpgradeError::Failed(_)) | Ok(_) => {}
                    });
                }
                Ok(Signal::SIGHUP) if self.reload.has_file => self.reread(),
                Ok(Signal::SIGHUP) if signals.hangs_up => self.course.stop(Signal::SIGHUP),
                Ok(Signal::SIGHUP) => {
                    tracing::info!("there are no settings to read again: no file was named");
                }
                Ok(signal) => self.course.stop(signal),
                Err(error) => tracing::error!(%error, "cannot wait for signals"),
            }
        }
    }

    fn reread(&self) {
        if self.hub.is_stopping() {
            return tracing::info!("stopping: the settings are not read again");
        }
        self.notifier.reloading();
        reread(&self.hub, &self.reload, &self.places, &self.certificates);
        self.notifier.ready(&status(&self.hub, &[]));
    }
}

/// Whether SIGHUP may say that the terminal has been closed which this process was
/// started in. `nohup` has such a process ignore that.
fn ends_with_its_terminal() -> bool {
    let ignores = |status: String| {
        let mask = status
            .lines()
            .find_map(|line| line.strip_prefix("SigIgn:"))?;
        let mask = u64::from_str_radix(mask.trim(), 16).ok()?;
        Some(mask & (1 << (Signal::SIGHUP as u32 - 1)) != 0)
    };
    let status = fs::read_to_string("/proc/self/status").ok();
    // It can only be opened by who has a terminal (tty(4)).
    File::open("/dev/tty").is_ok() && !status.and_then(ignores).unwrap_or(false)
}

/// Reads the settings again. What can change now changes; what cannot is named;
/// and with one fault anywhere nothing changes.
fn reread(hub: &Hub, reload: &Reload, places: &[Place], certificates: &certificates::Watch) {
    match (reload.read)() {
        Ok(new) => {
            if let Err(sentence) = new.settings.check_places(places) {
                return unchanged(&sentence);
            }
            let keys = match new.settings.keys() {
                Ok(keys) => keys,
                Err(error) => return unchanged(&error.to_string()),
            };
            if let Err(sentences) = certificates.change(hub, &new.settings) {
                return unchanged(&sentences);
            }
            let changes = hub.change(&new.settings);
            if hub.set_keys(keys) {
                tracing::info!("token_keys: tokens are checked with other keys from now on");
            }
            (reload.log)(hub.settings());
            tracing::info!("settings read again: {changes}");
            for sentence in hub.settings().unused().into_iter().chain(new.unused()) {
                tracing::warn!("{sentence}");
            }
        }
        Err(error) => {
            if error.is_about(&["tls_certificates", "tls_client_ca"]) {
                hub.tls().note_failed_reload();
            }
            unchanged(&error.to_string());
        }
    }
}

fn unchanged(sentences: &str) {
    for sentence in sentences.lines() {
        tracing::error!("settings unchanged: {sentence}");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::config::{self, Loaded, Settings};

    fn reload(text: &str) -> (Reload, mpsc::Receiver<String>, tempfile::NamedTempFile) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, text).unwrap();
        let path = file.path().to_owned();
        let (levels, logged) = mpsc::channel();
        let reload = Reload {
            read: Box::new(move || {
                config::check_file(&path).map(|settings| Loaded {
                    settings,
                    overruled: Vec::new(),
                })
            }),
            log: Box::new(move |settings| levels.send(settings.log.clone()).unwrap()),
            has_file: true,
        };
        (reload, logged, file)
    }

    #[test]
    fn a_good_file_is_applied() {
        let hub = Hub::new(Settings::default()).unwrap();
        let (reload, logged, _file) = reload("log = \"debug\"\nretain_messages_max = 3\n");
        reread(&hub, &reload, &[], &certificates::Watch::default());
        assert_eq!(hub.settings().retain_messages_max, 3);
        assert_eq!(hub.policy_named("t").retention.messages_max, 3);
        assert_eq!(logged.recv().unwrap(), "debug");
    }

    #[test]
    fn a_bad_file_changes_nothing() {
        let hub = Hub::new(Settings::default()).unwrap();
        let (reload, logged, _file) = reload("retain_messages_max = 3\ntopics_max = 0\n");
        reread(&hub, &reload, &[], &certificates::Watch::default());
        assert_eq!(*hub.settings(), Settings::default());
        assert!(logged.try_recv().is_err());
    }
}
