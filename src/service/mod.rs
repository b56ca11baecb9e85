//! The daemon as a whole: from settings to a running service and its end.

mod housekeeping;
mod listen;

use std::ffi::OsString;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};

use self::housekeeping::Housekeeping;
use crate::admin;
use crate::config::Settings;
use crate::core::{Core, Inheritance, Listeners, Plan, slots};
use crate::handover::{self, Predecessor, Successor};
use crate::hub::Hub;
use crate::ring::Probe;

/// Time to answer who asked for a handover.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// Serves until a signal says to stop, and everybody has been told.
///
/// # Errors
/// A sentence that says what cannot be had, and what to do.
pub fn serve(settings: Settings) -> Result<(), String> {
    let from = handover::inherit()?;
    let outcome = run(settings, from.as_ref());
    if let (Err(sentence), Some(from)) = (&outcome, &from) {
        from.fail(sentence);
    }
    outcome
}

fn run(settings: Settings, from: Option<&Successor>) -> Result<(), String> {
    let kernel = Probe::run().map_err(|missing| missing.to_string())?;
    // Threads inherit the mask, so this comes before all of them.
    let signals = block_signals()?;
    raise_descriptor_limit();
    let cores = settings.cores;
    let (addresses, listeners) = match from {
        Some(from) => listen::inherit(from, &settings.listen, cores)?,
        None => listen::listen(&settings.listen, cores).map_err(|error| error.to_string())?,
    };
    let admin = match from.and_then(|from| from.admin.as_ref()) {
        Some(socket) => {
            let socket = socket.try_clone().map_err(|error| error.to_string())?;
            admin::Listener::inherit(&settings, socket)?
        }
        None => admin::Listener::bind(&settings)?,
    };
    let hub = Hub::new(settings)?;
    warn_of_capacity(&hub);
    let predecessor = Predecessor {
        hub: hub.clone(),
        addresses: addresses.clone(),
        listeners: listen::share(&listeners).map_err(|error| error.to_string())?,
        admin: admin.as_ref().and_then(|admin| admin.socket().ok()),
        program: program(),
        before_go: |_| {},
    };
    let started = start_cores(&hub, listeners, kernel.reports_usage, from)?;
    let housekeeping = Housekeeping::start(hub.clone())
        .map_err(|error| format!("cannot start a thread: {error}"))?;
    let admin = admin
        .map(|listener| listener.start(hub.clone()))
        .transpose()?;
    hub.set_ready();
    announce(&addresses)?;
    allow_upgrade(predecessor, kernel.installs);
    obey_signals(signals, hub.clone())?;
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

/// Starts all cores and, where there is a predecessor, takes over from it.
fn start_cores(
    hub: &Arc<Hub>,
    listeners: Vec<Listeners>,
    reports_usage: bool,
    from: Option<&Successor>,
) -> Result<Vec<Core>, String> {
    let (seated, all_seated) = mpsc::channel();
    let (mut arrivals, mut gates) = (Vec::new(), Vec::new());
    let mut started = Vec::new();
    for (core, listeners) in listeners.into_iter().enumerate() {
        let inheritance = from.map(|_| {
            let (arrival, arriving) = mpsc::channel();
            let (gate, closed) = mpsc::channel();
            arrivals.push(arrival);
            gates.push(gate);
            Inheritance {
                arrivals: arriving,
                seated: seated.clone(),
                gate: closed,
            }
        });
        let plan = Plan {
            core,
            hub: hub.clone(),
            listeners,
            reports_usage,
            inheritance,
        };
        let core = Core::start(plan);
        started.push(core.map_err(|error| format!("cannot start a core: {error}"))?);
    }
    if let Some(from) = from {
        let connections = from.take_over(hub, arrivals, &all_seated)?;
        tracing::info!(connections, "taken over");
    }
    // The cores go on once their gates are closed.
    drop(gates);
    Ok(started)
}

/// How this program was started. The path is the one that a package replaces,
/// so that a successor is the new version.
fn program() -> Vec<OsString> {
    let mut arguments = std::env::args_os();
    let called = arguments.next();
    let path = std::env::current_exe().ok().map(OsString::from);
    path.or(called).into_iter().chain(arguments).collect()
}

/// Lets `fanfare upgrade` and SIGUSR2 start a successor, one at a time.
fn allow_upgrade(predecessor: Predecessor, installs: bool) {
    let hub = predecessor.hub.clone();
    let under_way = Mutex::new(());
    hub.on_upgrade(Box::new(move || {
        if !installs {
            return Err("this kernel cannot hand connections over: Linux 6.8 is needed".into());
        }
        let Ok(_alone) = under_way.try_lock() else {
            return Err("a handover is under way already".into());
        };
        handover::hand_over(&predecessor).inspect_err(|sentence| {
            tracing::error!("handover failed, going on as before: {sentence}");
        })?;
        // Everything is somewhere else now; only who asked is still to be
        // answered. No destructor may touch what has been handed over.
        std::thread::spawn(|| {
            std::thread::sleep(LAST_WORDS);
            std::process::exit(0);
        });
        Ok(())
    }));
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
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGUSR2] {
        signals.add(signal);
    }
    signals
        .thread_block()
        .map_err(|error| format!("cannot block signals: {error}"))?;
    Ok(signals)
}

/// The first SIGTERM or SIGINT makes the daemon stop in order, the second at
/// once. SIGUSR2 makes it hand over to a successor.
fn obey_signals(signals: SigSet, hub: Arc<Hub>) -> Result<(), String> {
    let obey = move || {
        loop {
            match signals.wait() {
                Ok(Signal::SIGUSR2) => {
                    let hub = hub.clone();
                    // It logs its own failure.
                    std::thread::spawn(move || hub.upgrade());
                }
                signal if hub.is_stopping() => {
                    tracing::warn!(?signal, "stopping at once");
                    std::process::exit(1);
                }
                signal => {
                    tracing::info!(?signal, "stopping");
                    hub.stop();
                }
            }
        }
    };
    let spawned = std::thread::Builder::new()
        .name("signals".into())
        .spawn(obey);
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
