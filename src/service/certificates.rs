//! The certificates that are shown: read at the start, with each reload, and once their files
//! have changed, as tools that renew certificates do not all say so.
//!
//! What does not fit is told, and the old certificates stay. Called by `service` and by the
//! threads of signals and housekeeping.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::config::{Place, Settings, Stamp};
use crate::hub::{Hub, keep_memory_to_itself};

/// Whether the files of certificates have changed.
#[derive(Default)]
pub(super) struct Watch(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    /// TLS is spoken somewhere.
    is_on: bool,
    /// The files as they were when they were last read,
    read: Vec<File>,
    /// and at the last look.
    last: Vec<File>,
}

type File = (PathBuf, Option<Stamp>);

impl Watch {
    /// Has TLS served with what the files hold, where it is spoken, as at `places` by the
    /// service manager's wish.
    ///
    /// # Errors
    /// A sentence for each file that is not right.
    pub(super) fn begin(hub: &Hub, places: &[Place]) -> Result<Watch, String> {
        let settings = hub.settings();
        if let Some(place) = places.first()
            && settings.tls_certificates.is_empty()
        {
            return Err(format!(
                "there is no certificate for TLS on {place}: a table [[tls_certificates]] names one"
            ));
        }
        let watch = Watch::default();
        let is_on = settings.speaks_tls() || !places.is_empty();
        if is_on {
            keep_memory_to_itself();
        }
        watch.seen().is_on = is_on;
        watch.read(hub, settings)?;
        Ok(watch)
    }

    /// The settings are about to be others.
    ///
    /// # Errors
    /// Why TLS cannot be served as they say; it is served as before.
    pub(super) fn change(&self, hub: &Hub, settings: &Settings) -> Result<(), String> {
        if self.seen().is_on && settings.tls_certificates.is_empty() {
            hub.tls().note_failed_reload();
            return Err("tls_certificates: TLS is spoken here, and needs a certificate".into());
        }
        self.read(hub, settings).inspect_err(|_| {
            hub.tls().note_failed_reload();
            // Those of the settings that stay are shown on.
            self.seen().read = files(hub.settings());
        })
    }

    /// Reads the files again once they have changed, and have come to rest: a key may be
    /// written a moment after its certificate.
    pub(super) fn look(&self, hub: &Hub) {
        let settings = hub.settings();
        let mut seen = self.seen();
        if !seen.is_on || hub.is_stopping() {
            return;
        }
        let now = files(settings);
        let is_at_rest = now == seen.last;
        seen.last = now;
        if !is_at_rest || seen.last == seen.read {
            return;
        }
        drop(seen);
        match self.read(hub, settings) {
            Ok(()) => tracing::info!("the certificates of TLS have changed: these are shown now"),
            Err(sentences) => {
                hub.tls().note_failed_reload();
                for sentence in sentences.lines() {
                    tracing::error!("the certificates of TLS stay as they were: {sentence}");
                }
            }
        }
    }

    fn read(&self, hub: &Hub, settings: &Settings) -> Result<(), String> {
        let mut seen = self.seen();
        if !seen.is_on {
            return Ok(());
        }
        // Before they are read: what is written meanwhile is seen at the next look.
        seen.read = files(settings);
        seen.last = seen.read.clone();
        let certificates = settings.certificates().map_err(|error| error.to_string())?;
        for note in certificates.notes(hub.unix_s()) {
            tracing::warn!("{note}");
        }
        hub.tls().serve(settings, certificates, hub.unix_s())
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn files(settings: &Settings) -> Vec<File> {
    let stamp = |path: &Path| (path.to_owned(), Stamp::of(path));
    settings.tls_files().map(stamp).collect()
}
