//! The daemon as a whole: from settings to a running service and its end.

mod activation;
mod housekeeping;
mod listen;
mod notify;
mod signals;
mod watchdog;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use self::housekeeping::Housekeeping;
use self::notify::Notifier;
use self::watchdog::Watchdog;
use crate::admin;
use crate::config::{Reload, Settings};
use crate::core::{Core, Plan, slots};
use crate::hub::Hub;
use crate::ring::Probe;

/// Serves until a signal says to stop, and everybody has been told.
///
/// # Errors
/// A sentence that says what cannot be had, and what to do.
pub fn serve(settings: Settings, reload: Reload) -> Result<(), String> {
    let kernel = Probe::run().map_err(|missing| missing.to_string())?;
    let signals = signals::block()?;
    let notifier = Arc::new(Notifier::from_env());
    raise_descriptor_limit();
    let cores = settings.cores;
    let (addresses, listeners) = match activation::passed(cores)? {
        Some(passed) => passed,
        None => listen::listen(&settings.listen, cores).map_err(|error| error.to_string())?,
    };
    let admin = admin::Listener::bind(&settings)?;
    let hub = Hub::new(settings)?;
    warn_of_capacity(&hub);
    let started: io::Result<Vec<Core>> = listeners
        .into_iter()
        .enumerate()
        .map(|(core, listeners)| {
            Core::start(Plan {
                core,
                hub: hub.clone(),
                listeners,
                reports_usage: kernel.reports_usage,
                inheritance: None,
            })
        })
        .collect();
    let started = started.map_err(|error| format!("cannot start a core: {error}"))?;
    let housekeeping = Housekeeping::start(hub.clone())
        .map_err(|error| format!("cannot start a thread: {error}"))?;
    let admin = admin
        .map(|listener| listener.start(hub.clone()))
        .transpose()?;
    hub.set_ready();
    announce(&addresses)?;
    let watchdog = watch(&hub, &notifier)?;
    signals::obey(signals, hub.clone(), notifier.clone(), reload)?;
    notifier.ready(&watchdog::status(&hub, &[]));
    for core in started {
        core.join()
            .map_err(|error| format!("a core has failed: {error}"))?;
    }
    // To the last moment one could ask how the stopping goes.
    if let Some(admin) = admin {
        admin.stop();
    }
    housekeeping.stop();
    if let Some(watchdog) = watchdog {
        watchdog.stop();
    }
    tracing::info!("stopped");
    Ok(())
}

/// Starts to tell the service manager how we are, if there is one.
fn watch(hub: &Arc<Hub>, notifier: &Arc<Notifier>) -> Result<Option<Watchdog>, String> {
    if !notifier.is_heard() {
        return Ok(None);
    }
    let watchdog = Watchdog::start(hub.clone(), notifier.clone(), notify::watchdog());
    watchdog
        .map(Some)
        .map_err(|error| format!("cannot start a thread: {error}"))
}

/// What `fanfare probe` prints.
///
/// # Errors
/// What is missing, and the cure.
pub fn probe() -> Result<String, String> {
    match Probe::run() {
        Ok(probe) => Ok(probe.to_string()),
        Err(missing) => Err(missing.to_string()),
    }
}

/// Connections need entries in file tables that are bounded like descriptors.
fn raise_descriptor_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}

fn warn_of_capacity(hub: &Hub) {
    let capacity = slots() as usize * hub.settings().cores;
    let wanted = hub.settings().connections_max;
    if capacity < wanted {
        tracing::info!(
            capacity,
            connections_max = wanted,
            "the limit of open files (LimitNOFILE) or the number of cores allows fewer \
             connections than connections_max"
        );
    }
}

/// The one line on standard output.
fn announce(addresses: &[SocketAddr]) -> Result<(), String> {
    let mut out = io::stdout().lock();
    for address in addresses {
        writeln!(out, "listening on http://{address}/")
            .and_then(|()| out.flush())
            .map_err(|error| format!("cannot write to standard output: {error}"))?;
    }
    Ok(())
}
