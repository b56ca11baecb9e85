//! What signals ask for: SIGHUP to read the settings again, SIGUSR2 to hand over,
//! SIGTERM and SIGINT to stop, in order the first time and at once the second.
//!
//! A thread of its own waits for them; `service` starts it.

use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};

use super::notify::Notifier;
use super::watchdog::status;
use crate::config::Reload;
use crate::hub::Hub;

/// Puts everything away if the daemon is to be started again; true if it has.
pub(super) type Restart = Box<dyn Fn() -> bool + Send>;

/// What stopping may take beyond `drain_ms_max`.
const STOP_MARGIN: Duration = Duration::from_secs(10);

/// Keeps the signals from ending the process. Threads inherit this, so it comes
/// before all of them.
///
/// # Errors
/// A sentence.
pub(super) fn block() -> Result<SigSet, String> {
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
    Ok(signals)
}

/// Obeys signals from now on, on a thread that ends with the process.
///
/// # Errors
/// A sentence, when the thread cannot be had.
pub(super) fn obey(
    signals: SigSet,
    hub: Arc<Hub>,
    notifier: Arc<Notifier>,
    reload: Reload,
    restart: Restart,
) -> Result<(), String> {
    let spawned = std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || wait(&signals, &hub, &notifier, &reload, &restart));
    match spawned {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("cannot start a thread: {error}")),
    }
}

fn wait(signals: &SigSet, hub: &Arc<Hub>, notifier: &Notifier, reload: &Reload, restart: &Restart) {
    loop {
        match signals.wait() {
            Ok(Signal::SIGHUP | Signal::SIGUSR2) if hub.is_stopping() => {}
            Ok(Signal::SIGUSR2) => {
                let hub = hub.clone();
                // It logs its own failure.
                std::thread::spawn(move || hub.upgrade());
            }
            Ok(Signal::SIGHUP) => {
                notifier.reloading();
                reread(hub, reload);
                notifier.ready(&status(hub, &[]));
            }
            Ok(signal) if hub.is_stopping() => {
                tracing::warn!(?signal, "stopping at once");
                std::process::exit(1);
            }
            Ok(Signal::SIGTERM) if restart() => std::process::exit(0),
            Ok(signal) => {
                let connections = hub.admission().connections();
                tracing::info!(?signal, connections, "stopping");
                let drain = Duration::from_millis(hub.settings().drain_ms_max);
                notifier.stopping(
                    &format!("saying goodbye to {connections} connections"),
                    drain + STOP_MARGIN,
                );
                hub.stop();
            }
            Err(error) => tracing::error!(%error, "cannot wait for signals"),
        }
    }
}

/// Reads the settings again. What can change now changes; what cannot is named;
/// and with one fault anywhere nothing changes.
fn reread(hub: &Hub, reload: &Reload) {
    match (reload.read)() {
        Ok(new) => {
            let changes = hub.change(&new);
            (reload.log)(hub.settings());
            tracing::info!("settings read again: {changes}");
            for sentence in hub.settings().unused() {
                tracing::warn!("{sentence}");
            }
        }
        Err(error) => {
            for sentence in error.to_string().lines() {
                tracing::error!("settings unchanged: {sentence}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::config::{self, Settings};

    fn reload(text: &str) -> (Reload, mpsc::Receiver<String>, tempfile::NamedTempFile) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, text).unwrap();
        let path = file.path().to_owned();
        let (levels, logged) = mpsc::channel();
        let reload = Reload {
            read: Box::new(move || config::check_file(&path)),
            log: Box::new(move |settings| levels.send(settings.log.clone()).unwrap()),
        };
        (reload, logged, file)
    }

    #[test]
    fn a_good_file_is_applied() {
        let hub = Hub::new(Settings::default()).unwrap();
        let (reload, logged, _file) = reload("log = \"debug\"\nretain_messages_max = 3\n");
        reread(&hub, &reload);
        assert_eq!(hub.settings().retain_messages_max, 3);
        assert_eq!(hub.retention().messages_max, 3);
        assert_eq!(logged.recv().unwrap(), "debug");
    }

    #[test]
    fn a_bad_file_changes_nothing() {
        let hub = Hub::new(Settings::default()).unwrap();
        let (reload, logged, _file) = reload("retain_messages_max = 3\ntopics_max = 0\n");
        reread(&hub, &reload);
        assert_eq!(*hub.settings(), Settings::default());
        assert!(logged.try_recv().is_err());
    }
}
