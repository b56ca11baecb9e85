//! The thread of a core: pinned, with the acceptor's runtime and the reactor's
//! ring on it.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::Shutdown;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use socket2::Socket;
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::acceptor::Acceptor;
use super::reactor::Reactor;
use crate::hub::Hub;
use crate::ring::{SLOTS_MAX, Source, Uring, Wake};

/// How often the clocks of connections are looked at.
const TICK: Duration = Duration::from_millis(250);

/// One listening socket for each address.
pub type Listeners = Vec<Socket>;

/// A running core.
pub struct Core {
    thread: JoinHandle<io::Result<()>>,
}

impl Core {
    /// Starts core `core` and returns once it listens.
    ///
    /// # Errors
    /// What kept its ring or its thread from being made.
    pub fn start(
        core: usize,
        hub: Arc<Hub>,
        listeners: Listeners,
        reports_usage: bool,
    ) -> io::Result<Core> {
        let (ready, started) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name(format!("core-{core}"))
            .spawn(move || {
                let outcome = run(core, hub, listeners, reports_usage, &ready);
                if let Err(error) = &outcome {
                    tracing::error!(core, %error, "core has failed");
                }
                outcome
            })?;
        match started.recv() {
            Ok(()) => Ok(Core { thread }),
            Err(_) => match thread.join() {
                Ok(Err(error)) => Err(error),
                _ => Err(io::Error::other("the core's thread died")),
            },
        }
    }

    /// Waits until the core has ended.
    ///
    /// # Errors
    /// What made it end before it was told to.
    pub fn join(self) -> io::Result<()> {
        self.thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the core's thread panicked")))
    }
}

/// Connections that one core can hold: each is an entry in its ring's file
/// table, which is bounded like the descriptors of a process.
pub fn slots() -> u32 {
    use nix::sys::resource::{Resource, getrlimit};
    let files = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft);
    files.min(u64::from(SLOTS_MAX)) as u32
}

fn run(
    core: usize,
    hub: Arc<Hub>,
    listeners: Listeners,
    reports_usage: bool,
    ready: &mpsc::Sender<()>,
) -> io::Result<()> {
    pin(core);
    let slots = slots();
    let buffers = hub.settings().receive_buffers;
    let ring = Uring::new(slots, buffers, hub.mailbox(core).wake_fd(), reports_usage)?;
    let reactor = Reactor::new(core, hub.clone(), ring, slots);
    let runtime = tokio_uring::Runtime::new(tokio_uring::builder().entries(512))?;
    runtime.block_on(serve(core, hub, listeners, reactor, ready))
}

async fn serve(
    core: usize,
    hub: Arc<Hub>,
    listeners: Listeners,
    reactor: Reactor<Uring>,
    ready: &mpsc::Sender<()>,
) -> io::Result<()> {
    let acceptor = Rc::new(Acceptor {
        core,
        hub: hub.clone(),
        reactor: Rc::new(RefCell::new(reactor)),
        nudge: Rc::new(Notify::new()),
        lingering: Cell::new(0),
    });
    for listener in &listeners {
        listener.set_nonblocking(true)?;
        let listener = Source::watch(listener.try_clone()?.into())?;
        tokio_uring::spawn(acceptor.clone().accept(listener));
    }
    let wake = Wake::watch(hub.mailbox(core).wake_fd())?;
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut deadline = None;
    acceptor.reactor.borrow_mut().start();
    // Nobody waits any more if the daemon has given up starting.
    let _ = ready.send(());
    loop {
        let mut ticked = false;
        tokio::select! {
            biased;
            woken = wake.wait() => woken?,
            () = acceptor.nudge.notified() => {}
            _ = tick.tick() => ticked = true,
        }
        let mut reactor = acceptor.reactor.borrow_mut();
        if ticked {
            reactor.tick();
        }
        if hub.is_stopping() && deadline.is_none() {
            for listener in &listeners {
                // Ends the accept that is under way.
                let _ = listener.shutdown(Shutdown::Both);
            }
            reactor.drain();
            let drain = Duration::from_millis(hub.settings().drain_ms_max);
            deadline = Some(Instant::now() + drain + 2 * TICK);
        }
        if reactor.turn()? {
            // Not a mere yield: the runtime submits the acceptor's requests
            // only when it is about to wait.
            hub.mailbox(core).wake();
        }
        if deadline.is_some_and(|deadline| reactor.is_empty() || deadline <= Instant::now()) {
            return Ok(());
        }
    }
}

/// Pins the thread to one of the processors that the process may use. Without
/// the right to do so it runs where it is put.
fn pin(core: usize) {
    let this_thread = Pid::from_raw(0);
    let Ok(allowed) = sched_getaffinity(this_thread) else {
        return;
    };
    let processors: Vec<usize> = (0..CpuSet::count())
        .filter(|cpu| allowed.is_set(*cpu).unwrap_or(false))
        .collect();
    let mut mine = CpuSet::new();
    let Some(cpu) = processors.get(core % processors.len().max(1)) else {
        return;
    };
    if mine.set(*cpu).is_ok()
        && let Err(error) = sched_setaffinity(this_thread, &mine)
    {
        tracing::warn!(core, cpu, %error, "cannot pin the core to its processor");
    }
}
