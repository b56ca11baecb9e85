//! The daemon as a whole: makes sockets, hub, cores and threads from the settings,
//! runs until a signal, and ends in order.
//!
//! It does no work of a connection; that is `core`. Called by `main` for `fanfare
//! serve` and `fanfare probe`.

mod activation;
mod adoption;
mod announce;
mod certificates;
mod container;
mod course;
mod descriptors;
mod housekeeping;
mod listen;
mod memory;
mod notify;
mod probing;
mod program;
mod restart;
mod signals;
mod watchdog;

use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::{Arc, mpsc};

use self::adoption::Wanted;
use self::course::Course;
use self::housekeeping::Housekeeping;
use self::listen::Bound;
use self::notify::Notifier;
pub use self::probing::probe;
use self::signals::{Obedience, Signals};
use self::watchdog::Watchdog;
use crate::admin;
use crate::bind;
use crate::config::{self, Place, Reload, Settings, StartError};
use crate::core::{Core, Go, Inheritance, Listener, Plan, Remote, Room};
use crate::handover::store::{Passed, Stored};
use crate::handover::{self, Predecessor, Public, Seats, Sockets, Successor};
use crate::hub::{Hub, Lost};
use crate::keeper::webhooks::{self, Webhooks};
use crate::keeper::{Cluster, Scribe, Traces};
use crate::ring::{Abilities, LockedMemory, Probe};
use nix::sys::stat::{Mode, umask};

/// Where topics and connections come from that another process had.
enum Origin {
    Process(Successor),
    Store(Box<Stored>),
}

/// Serves until a signal says to stop, and everybody has been told.
///
/// # Errors
/// A sentence that says what cannot be had, and what to do.
pub fn serve(settings: Settings, reload: Reload) -> Result<(), StartError> {
    // What the daemon writes is nobody else's matter, nor what the store's index writes for it.
    // Unix sockets are given their modes by name.
    umask(Mode::from_bits_truncate(0o077));
    let Passed {
        sockets,
        tls,
        stored,
    } = handover::store::passed()?;
    let origin = match handover::inherit()? {
        Some(successor) => Some(Origin::Process(successor)),
        None => stored.map(|stored| Origin::Store(Box::new(stored))),
    };
    run(settings, reload, origin, (sockets, tls))
}

/// Sockets of the service manager, and those of them on which TLS is spoken.
type OfManager = (Vec<OwnedFd>, Vec<OwnedFd>);

fn run(
    settings: Settings,
    reload: Reload,
    mut origin: Option<Origin>,
    passed: OfManager,
) -> Result<(), StartError> {
    let begun = begin(&settings, origin.as_mut(), passed);
    let Begun {
        kernel,
        signals,
        mut bound,
        admin,
        notifier,
    } = begun.inspect_err(|sentence| origin.iter().for_each(|origin| origin.fail(sentence)))?;
    settings
        .check_places(&bound.all_places())
        .map_err(|sentence| {
            origin.iter().for_each(|origin| origin.fail(&sentence));
            StartError::Settings(sentence)
        })?;
    let keys = settings.keys().map_err(|error| error.to_string())?;
    if keys.are_weak() {
        tracing::warn!("token_keys: a secret has fewer than 32 bytes, and could be guessed");
    }
    let hub = Hub::new(settings)?;
    hub.set_keys(keys);
    let certificates = Arc::new(certificates::Watch::begin(&hub, &bound.tls_places)?);
    // Before there are any.
    let visitors = hub.await_visitors();
    for sentence in hub.settings().unused() {
        tracing::warn!("{sentence}");
    }
    let listeners = listen::share(&bound.listeners).map_err(|error| error.to_string())?;
    warn_of_activation(hub.settings(), &bound, &listeners);
    memory::tell(hub.settings(), config::memory());
    warn_of_capacity(&hub);
    let remotes = Remote::to_all(&hub);
    let predecessor = Predecessor {
        hub: hub.clone(),
        cores: remotes.clone(),
        listeners,
        admin: admin.sockets().map_err(|error| error.to_string())?,
        program: program::program(),
    };
    let traces = Traces::start(&hub)?;
    let Started {
        cores: started,
        scribe,
        cluster,
        webhooks,
    } = start_cores(&hub, remotes, &mut bound, kernel.abilities, origin)?;
    for name in handover::store::NAMES {
        notifier.unstore(name);
    }
    let housekeeping = Housekeeping::start(hub.clone(), certificates.clone())
        .map_err(|error| format!("cannot start a thread: {error}"))?;
    let admin = admin.start(hub.clone(), visitors)?;
    hub.set_ready();
    announce::announce(&bound.places, &bound.tls_places, hub.settings().log_format);
    let watchdog = watch(&hub, &notifier)?;
    let course = Course::new(hub.clone(), notifier.clone(), kernel.installs);
    course.begin(predecessor);
    let obedience = Obedience {
        hub: hub.clone(),
        notifier: notifier.clone(),
        reload,
        places: bound.all_places(),
        certificates,
        course,
    };
    obedience.begin(signals)?;
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
    if let Some(webhooks) = webhooks {
        webhooks.stop();
    }
    if let Some(traces) = traces {
        traces.stop();
    }
    if let Some(cluster) = cluster {
        cluster.stop();
    }
    if let Some(scribe) = scribe {
        scribe.stop();
    }
    if let Some(watchdog) = watchdog {
        watchdog.stop();
    }
    drop(bound);
    tracing::info!("stopped");
    Ok(())
}

/// Answers another node of the cluster.
fn answer_node(
    hub: Arc<Hub>,
    question: Option<Vec<u8>>,
) -> Pin<Box<dyn Future<Output = Vec<u8>> + Send + 'static>> {
    let webhooks = |question: &Vec<u8>| webhooks::answer(&hub, question);
    match question.as_ref().and_then(webhooks) {
        Some(answer) => Box::pin(std::future::ready(answer)),
        None => Box::pin(admin::answer_node(hub, question)),
    }
}

/// What runs.
struct Started {
    cores: Vec<Core>,
    scribe: Option<Scribe>,
    cluster: Option<Cluster>,
    webhooks: Option<Webhooks>,
}

/// Starts all cores and, where there is a predecessor, takes over from it. The store comes
/// before the first client, and behind what a predecessor knows.
fn start_cores(
    hub: &Arc<Hub>,
    remotes: Vec<Remote>,
    bound: &mut Bound,
    abilities: Abilities,
    origin: Option<Origin>,
) -> Result<Started, String> {
    let mut scribe = match origin {
        None => Scribe::start(hub, true)?,
        Some(_) => None,
    };
    let mut cluster = match origin {
        None => Cluster::start(hub, answer_node)?,
        Some(_) => None,
    };
    let mut webhooks = match origin {
        None => Some(Webhooks::start(hub)?),
        Some(_) => None,
    };
    let (seated, all_seated) = mpsc::channel();
    let (mut arrivals, mut gates) = (Vec::new(), Vec::new());
    let mut started = Vec::new();
    let listeners = std::mem::take(&mut bound.listeners);
    let mut left = bound.left.iter();
    for (core, (listeners, remote)) in listeners.into_iter().zip(remotes).enumerate() {
        let inheritance = origin.as_ref().map(|_| {
            let (arrival, arriving) = mpsc::channel();
            let (open, gate) = mpsc::channel();
            arrivals.push(arrival);
            gates.push(open);
            Inheritance {
                arrivals: arriving,
                seated: seated.clone(),
                gate,
            }
        });
        let plan = Plan {
            core,
            hub: hub.clone(),
            remote,
            listeners,
            // All to the first core.
            left: left
                .by_ref()
                .map(|left| {
                    let socket = left.socket.try_clone()?;
                    Ok(Listener { socket, ..*left })
                })
                .collect::<io::Result<_>>()
                .map_err(|error| error.to_string())?,
            abilities,
            inheritance,
        };
        let started_core = Core::start(plan).map_err(|error| {
            let sentence = why_no_core(&error, hub.settings().cores, core);
            origin.iter().for_each(|origin| origin.fail(&sentence));
            sentence
        });
        started.push(started_core?);
    }
    if let Some(origin) = origin {
        let seats = Seats::new(arrivals, all_seated, Room::of(hub.settings()).slots);
        let connections = origin.take_over(hub, seats)?;
        scribe = Scribe::start(hub, false)?;
        cluster = Cluster::start(hub, answer_node)?;
        // Who has been taken over is no news, who comes from now on is.
        webhooks = Some(Webhooks::start(hub)?);
        tracing::info!(connections, "taken over");
    }
    bound.take();
    hub.losses().add(Lost::Listener, bound.lost);
    for gate in gates {
        gate.send(Go).map_err(|_| "a core has ended")?;
    }
    Ok(Started {
        cores: started,
        scribe,
        cluster,
        webhooks,
    })
}

impl Origin {
    /// Tells a predecessor that this process will not serve.
    fn fail(&self, sentence: &str) {
        if let Origin::Process(successor) = self {
            successor.fail(sentence);
        }
    }

    fn take_over(self, hub: &Hub, seats: Seats) -> Result<usize, String> {
        match self {
            Origin::Process(successor) => successor
                .take_over(hub, seats)
                .inspect_err(|sentence| successor.fail(sentence)),
            Origin::Store(stored) => stored.take_over(hub, seats),
        }
    }
}

/// What is made before anything runs.
struct Begun {
    kernel: Probe,
    signals: Signals,
    bound: Bound,
    admin: admin::Listeners,
    notifier: Arc<Notifier>,
}

fn begin(
    settings: &Settings,
    mut origin: Option<&mut Origin>,
    (passed, passed_tls): OfManager,
) -> Result<Begun, String> {
    let kernel = Probe::run().map_err(|missing| missing.to_string())?;
    let signals = signals::block()?;
    let notifier = Arc::new(Notifier::from_env());
    descriptors::prepare();
    let (Public { plain, tls }, admin) = match origin.as_deref_mut() {
        None => Default::default(),
        Some(Origin::Process(from)) => (
            std::mem::take(&mut from.listeners),
            std::mem::take(&mut from.admin),
        ),
        Some(Origin::Store(from)) => (
            std::mem::take(&mut from.listeners),
            std::mem::take(&mut from.admin),
        ),
    };
    let inherited = plain.files.iter().chain(&tls.files);
    let others = bind::places_of(inherited.chain(&admin));
    let tolerant = matches!(origin, Some(Origin::Store(_)));
    let mut bound = Bound::new(settings.cores);
    bound.unsent_bytes_max = Some(settings.unsent_bytes_max as u32);
    bound.probes = settings.probes();
    let mut have = |passed: Vec<OwnedFd>, inherited: Sockets, places: &[Place], tls: bool| {
        let Sockets { files, activated } = inherited;
        if !passed.is_empty() {
            // They come in place of what this daemon had opened itself.
            activation::deal(&mut bound, passed, tls)?;
            bound.leave(files, tls);
            Ok(())
        } else if activated {
            activation::deal(&mut bound, files, tls)
        } else {
            let wanted = Wanted {
                places,
                tls,
                inherited: files,
            };
            adoption::adopt(&mut bound, wanted, &others, tolerant)
        }
    };
    have(passed, plain, &settings.listen, false)?;
    have(passed_tls, tls, &settings.listen_tls, true)?;
    let bound = bound.complete()?;
    let admin = admin::Listeners::bind(settings, admin, &others, &bound.all_places())?;
    Ok(Begun {
        kernel,
        signals,
        bound,
        admin,
        notifier,
    })
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

/// Addresses that the service manager has opened come in place of those of the settings.
fn warn_of_activation(settings: &Settings, bound: &Bound, listeners: &Public) {
    let kinds = [
        ("listen", &settings.listen, &bound.places, &listeners.plain),
        (
            "listen_tls",
            &settings.listen_tls,
            &bound.tls_places,
            &listeners.tls,
        ),
    ];
    for (key, wanted, places, sockets) in kinds {
        if sockets.activated && wanted.iter().any(|place| !places.contains(place)) {
            tracing::warn!("{key} is not used: the service manager has opened other addresses");
        }
    }
}

fn warn_of_capacity(hub: &Hub) {
    let capacity = Room::of(hub.settings()).slots as usize * hub.settings().cores;
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
