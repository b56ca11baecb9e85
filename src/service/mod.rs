//! The daemon as a whole: from settings to a running service and its end.

mod housekeeping;
mod listen;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};

use self::housekeeping::Housekeeping;
use crate::admin;
use crate::config::Settings;
use crate::core::{Core, slots};
use crate::hub::Hub;
use crate::ring::Probe;

/// Serves until a signal says to stop, and everybody has been told.
///
/// # Errors
/// A sentence that says what cannot be had, and what to do.
pub fn serve(settings: Settings) -> Result<(), String> {
    let kernel = Probe::run().map_err(|missing| missing.to_string())?;
    // Threads inherit the mask, so this comes before all of them.
    let signals = block_signals()?;
    raise_descriptor_limit();
    let cores = settings.cores;
    let (addresses, listeners) =
        listen::listen(&settings.listen, cores).map_err(|error| error.to_string())?;
    let admin = admin::Listener::bind(&settings)?;
    let hub = Hub::new(settings)?;
    warn_of_capacity(&hub);
    let started: io::Result<Vec<Core>> = listeners
        .into_iter()
        .enumerate()
        .map(|(core, listeners)| Core::start(core, hub.clone(), listeners, kernel.reports_usage))
        .collect();
    let started = started.map_err(|error| format!("cannot start a core: {error}"))?;
    let housekeeping = Housekeeping::start(hub.clone())
        .map_err(|error| format!("cannot start a thread: {error}"))?;
    let admin = admin
        .map(|listener| listener.start(hub.clone()))
        .transpose()?;
    hub.set_ready();
    announce(&addresses)?;
    stop_on_signals(signals, hub.clone())?;
    for core in started {
        core.join()
            .map_err(|error| format!("a core has failed: {error}"))?;
    }
    // To the last moment one could ask how the stopping goes.
    if let Some(admin) = admin {
        admin.stop();
    }
    housekeeping.stop();
    tracing::info!("stopped");
    Ok(())
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

fn block_signals() -> Result<SigSet, String> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGINT);
    signals
        .thread_block()
        .map_err(|error| format!("cannot block signals: {error}"))?;
    Ok(signals)
}

/// The first signal makes the daemon stop in order, the second at once.
fn stop_on_signals(signals: SigSet, hub: Arc<Hub>) -> Result<(), String> {
    let wait = move || {
        let first = signals.wait();
        tracing::info!(signal = ?first, "stopping");
        hub.stop();
        let second = signals.wait();
        tracing::warn!(signal = ?second, "stopping at once");
        std::process::exit(1);
    };
    let spawned = std::thread::Builder::new()
        .name("signals".into())
        .spawn(wait);
    match spawned {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("cannot start a thread: {error}")),
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
