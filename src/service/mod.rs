//! The daemon as a whole: makes sockets, hub, cores and threads from the settings,
//! runs until a signal, and ends in order.
//!
//! It does no work of a connection; that is `core`. Called by `main` for `fanfare
//! serve` and `fanfare probe`.

mod activation;
mod announce;
mod container;
mod housekeeping;
mod listen;
mod memory;
mod notify;
mod probing;
mod restart;
mod signals;
mod watchdog;

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::SigSet;

use self::housekeeping::Housekeeping;
use self::notify::Notifier;
pub use self::probing::probe;
use self::watchdog::Watchdog;
use crate::admin;
use crate::bind::SocketFile;
use crate::config::{self, Place, Reload, Settings};
use crate::core::{Arrived, Core, Inheritance, Listeners, Plan, Remote, slots};
use crate::handover::store::{Passed, Stored};
use crate::handover::{self, Predecessor, Successor};
use crate::hub::Hub;
use crate::ring::{Abilities, LockedMemory, Probe};

/// Time to answer who asked for a handover.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// Where topics and connections come from that another process had.
enum Origin {
    Process(Successor),
    Store(Stored),
}

/// Serves until a signal says to stop, and everybody has been told.
///
/// # Errors
/// A sentence that says what cannot be had, and what to do.
pub fn serve(settings: Settings, reload: Reload) -> Result<(), String> {
    let Passed { sockets, stored } = handover::store::passed()?;
    let origin = match handover::inherit()? {
        Some(successor) => Some(Origin::Process(successor)),
        None => stored.map(Origin::Store),
    };
    run(settings, reload, origin, sockets)
}

fn run(
    settings: Settings,
    reload: Reload,
    mut origin: Option<Origin>,
    passed: Vec<OwnedFd>,
) -> Result<(), String> {
    let begun = begin(&settings, origin.as_mut(), passed);
    let Begun {
        kernel,
        signals,
        places,
        listeners,
        files,
        activated,
        admin,
        notifier,
    } = begun.inspect_err(|sentence| origin.iter().for_each(|origin| origin.fail(sentence)))?;
    let hub = Hub::new(settings)?;
    for sentence in hub.settings().unused() {
        tracing::warn!("{sentence}");
    }
    if activated
        && hub
            .settings()
            .listen
            .iter()
            .any(|place| !places.contains(place))
    {
        tracing::warn!("listen is not used: the service manager has opened other addresses");
    }
    memory::tell(hub.settings(), config::memory());
    warn_of_capacity(&hub);
    let remotes = Remote::to_all(&hub);
    let predecessor = Predecessor {
        hub: hub.clone(),
        cores: remotes.clone(),
        addresses: places.iter().filter_map(Place::tcp).collect(),
        listeners: listen::share(&listeners).map_err(|error| error.to_string())?,
        activated,
        admin: admin.sockets().map_err(|error| error.to_string())?,
        program: program(),
        before_go: {
            let notifier = notifier.clone();
            Box::new(move |successor| notifier.main_pid(successor))
        },
    };
    let started = start_cores(
        &hub,
        remotes,
        listeners,
        activated,
        kernel.abilities,
        origin,
    )?;
    for name in handover::store::NAMES {
        notifier.unstore(name);
    }
    let housekeeping = Housekeeping::start(hub.clone())
        .map_err(|error| format!("cannot start a thread: {error}"))?;
    let admin = admin.start(hub.clone())?;
    hub.set_ready();
    announce::announce(&places, hub.settings().log_format);
    let watchdog = watch(&hub, &notifier)?;
    let predecessor = Arc::new(predecessor);
    allow_upgrade(predecessor.clone(), kernel.installs);
    let restart = put_away_on_restart(predecessor, notifier.clone(), kernel.installs);
    signals::obey(signals, hub.clone(), notifier.clone(), reload, restart)?;
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
    drop(files);
    tracing::info!("stopped");
    Ok(())
}

/// Starts all cores and, where there is a predecessor, takes over from it.
fn start_cores(
    hub: &Arc<Hub>,
    remotes: Vec<Remote>,
    listeners: Vec<Listeners>,
    activated: bool,
    abilities: Abilities,
    origin: Option<Origin>,
) -> Result<Vec<Core>, String> {
    let (seated, all_seated) = mpsc::channel();
    let (mut arrivals, mut gates) = (Vec::new(), Vec::new());
    let mut started = Vec::new();
    for (core, (listeners, remote)) in listeners.into_iter().zip(remotes).enumerate() {
        let inheritance = origin.as_ref().map(|_| {
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
            remote,
            listeners,
            activated,
            abilities,
            inheritance,
        };
        let started_core = Core::start(plan);
        let cores = hub.settings().cores;
        started.push(started_core.map_err(|error| why_no_core(&error, cores, core))?);
    }
    if let Some(origin) = origin {
        let connections = origin.take_over(hub, arrivals, &all_seated)?;
        tracing::info!(connections, "taken over");
    }
    // The cores go on once their gates are closed.
    drop(gates);
    Ok(started)
}

impl Origin {
    /// Tells a predecessor that this process will not serve.
    fn fail(&self, sentence: &str) {
        if let Origin::Process(successor) = self {
            successor.fail(sentence);
        }
    }

    fn take_over(
        self,
        hub: &Hub,
        cores: Vec<mpsc::Sender<Arrived>>,
        seated: &mpsc::Receiver<Result<(), String>>,
    ) -> Result<usize, String> {
        match self {
            Origin::Process(successor) => successor
                .take_over(hub, cores, seated)
                .inspect_err(|sentence| successor.fail(sentence)),
            Origin::Store(stored) => stored.take_over(hub, cores, seated),
        }
    }
}

/// What is made before anything runs.
struct Begun {
    kernel: Probe,
    signals: SigSet,
    places: Vec<Place>,
    listeners: Vec<Listeners>,
    /// Of public Unix sockets, removed with the daemon.
    files: Vec<SocketFile>,
    activated: bool,
    admin: admin::Listeners,
    notifier: Arc<Notifier>,
}

fn begin(
    settings: &Settings,
    origin: Option<&mut Origin>,
    passed: Vec<OwnedFd>,
) -> Result<Begun, String> {
    let kernel = Probe::run().map_err(|missing| missing.to_string())?;
    let signals = signals::block()?;
    let notifier = Arc::new(Notifier::from_env());
    raise_descriptor_limit();
    let (inherited, activated, admin) = match origin {
        None => (Vec::new(), false, Vec::new()),
        Some(Origin::Process(from)) => {
            let listeners = std::mem::take(&mut from.listeners);
            (listeners, from.activated, std::mem::take(&mut from.admin))
        }
        Some(Origin::Store(from)) => (
            std::mem::take(&mut from.listeners),
            false,
            std::mem::take(&mut from.admin),
        ),
    };
    let activated = activated || !passed.is_empty();
    let sockets: Vec<OwnedFd> = passed.into_iter().chain(inherited).collect();
    let cores = settings.cores;
    let bound = if sockets.is_empty() {
        listen::listen(&settings.listen, cores).map_err(|error| error.to_string())?
    } else {
        activation::adopt(sockets, activated, &settings.listen, cores)?
    };
    let admin = admin::Listeners::bind(settings, admin)?;
    Ok(Begun {
        kernel,
        signals,
        places: bound.places,
        listeners: bound.listeners,
        files: bound.files,
        activated,
        admin,
        notifier,
    })
}

/// Asked to stop by a service manager that will start it again, the daemon has
/// it keep everything meanwhile.
fn put_away_on_restart(
    predecessor: Arc<Predecessor>,
    notifier: Arc<Notifier>,
    installs: bool,
) -> signals::Restart {
    Box::new(move || {
        let hub = &predecessor.hub;
        if !installs || !restart::is_expected(hub.admission().connections()) {
            return false;
        }
        let own = match predecessor.activated {
            true => &[][..],
            false => &predecessor.listeners,
        };
        let admin = &predecessor.admin;
        let keep = |name: &str, files: &[OwnedFd]| notifier.store(name, files);
        let settle = || notifier.barrier();
        match handover::store::put_away(hub, &predecessor.cores, own, admin, &keep, &settle) {
            Ok(connections) => {
                tracing::info!(
                    connections,
                    "restarting: the service manager keeps everything"
                );
                true
            }
            Err(sentence) => {
                tracing::error!("cannot keep connections over the restart: {sentence}");
                false
            }
        }
    })
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
fn allow_upgrade(predecessor: Arc<Predecessor>, installs: bool) {
    let hub = predecessor.hub.clone();
    let under_way = Mutex::new(());
    hub.on_upgrade(Box::new(move || {
        if !installs {
            return Err("this kernel cannot hand connections over: Linux 6.8 is needed".into());
        }
        if let Some(sentence) = container::why_irreplaceable() {
            return Err(sentence);
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

/// Why a core could not be started, after so many others.
fn why_no_core(error: &io::Error, cores: usize, made: usize) -> String {
    match LockedMemory::from_error(error, cores, made) {
        Some(short) => short.to_string(),
        None => format!("cannot start a core: {error}"),
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
