//! The thread of a core: pinned, with the acceptor's runtime and the reactor's
//! ring on it.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::acceptor::Acceptor;
use super::entrances::{Entrances, end};
use super::handover::{SavedConn, SavedCore};
use super::leading::STEP_BACK;
use super::link::SavedLink;
use super::listener::Listeners;
use super::pinning::pin;
use super::reactor::Reactor;
use super::remote::{Command, Installed, Remote};
use super::rings::{Rings, Room};
use super::share::Share;
use super::time::{DELIVERY_LOOK, ROOM_LOOK, TICK, thread_cpu_us};
use crate::hub::{Hub, descriptors};
use crate::log::Topic;
use crate::ring::{Abilities, Alarm, Uring, Wake, handles_max};

/// A connection that comes from another process.
pub struct Arrived {
    pub conn: SavedConn,
    /// Its keys, where it has TLS.
    pub link: Option<SavedLink>,
    pub socket: OwnedFd,
    /// What it follows, as far as it is known here.
    pub topics: Vec<Option<Arc<Topic>>>,
}

/// What a core takes over before it serves.
pub struct Inheritance {
    pub arrivals: mpsc::Receiver<Arrived>,
    /// Told once all that came has been looked at: why some could not be seated.
    pub seated: mpsc::Sender<Vec<String>>,
    /// Says when the other process has let go. Closed without that word, the
    /// connections are still the other one's.
    pub gate: mpsc::Receiver<Go>,
}

/// The word that connections are this process's to serve.
pub struct Go;

/// What a core is made of.
pub struct Plan {
    pub core: usize,
    pub hub: Arc<Hub>,
    pub remote: Remote,
    pub listeners: Listeners,
    /// Those that are not listened on any more: who waits there is the last one.
    pub left: Listeners,
    pub abilities: Abilities,
    pub inheritance: Option<Inheritance>,
}

/// A running core.
pub struct Core {
    thread: JoinHandle<io::Result<()>>,
}

impl Core {
    /// Starts a core and returns once its rings are made. It accepts from then
    /// on, or once it has taken over what it inherits.
    ///
    /// # Errors
    /// What kept its ring or its thread from being made.
    pub fn start(plan: Plan) -> io::Result<Core> {
        let core = plan.core;
        let (ready, started) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name(format!("core-{core}"))
            .spawn(move || {
                let outcome = run(plan, ready);
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

fn run(plan: Plan, ready: mpsc::Sender<()>) -> io::Result<()> {
    let Plan {
        core,
        hub,
        remote,
        listeners,
        left,
        abilities,
        inheritance,
    } = plan;
    pin(core);
    let buffers = hub.settings().receive_buffers;
    let room = Room::of(hub.settings());
    let rings = Rings::make(buffers, room, hub.mailbox(core).wake_fd(), abilities)?;
    let reactor = Reactor::new(core, hub.clone(), rings.reactor, room.slots);
    let mut reactor = reactor.with_spare(room.spare);
    // Nobody waits any more if the daemon has given up starting.
    let _ = ready.send(());
    drop(ready);
    if let Some(inheritance) = inheritance
        && !inherit(&mut reactor, inheritance)
    {
        return Ok(());
    }
    let acceptor = Rc::new(Acceptor {
        core,
        hub: hub.clone(),
        reactor: Rc::new(RefCell::new(reactor)),
        nudge: Rc::new(Notify::new()),
        share: Share::default(),
        lingering: Cell::new(0),
        guests: Cell::new(0),
        kept_alive: Cell::new(false),
        guests_max: (guests_max(&hub, abilities) / hub.settings().cores).max(1),
    });
    let entrances = Entrances::new(acceptor.clone(), listeners, abilities.installs)?;
    rings
        .runtime
        .block_on(serve(acceptor, remote, entrances, left))
}

/// How many connections of all cores may have a descriptor that is not kept by a ring.
fn guests_max(hub: &Hub, abilities: Abilities) -> usize {
    let all = descriptors::guests_max(hub.settings().cores);
    match abilities.lends {
        true => all,
        false => all.saturating_sub(handles_max() as usize),
    }
}

/// Takes connections in and waits until they are this process's to serve. False if
/// they never are: then nothing may be done to any of them.
fn inherit(reactor: &mut Reactor<Uring>, from: Inheritance) -> bool {
    let seat = |arrived: Arrived| {
        let seated = reactor.restore(&arrived.socket, arrived.conn, arrived.link, arrived.topics);
        seated.err()
    };
    let refused = from.arrivals.iter().filter_map(seat).collect();
    // Nobody waits for this any more if the daemon has given up.
    let _ = from.seated.send(refused);
    let Ok(Go) = from.gate.recv() else {
        return false;
    };
    reactor.thaw();
    true
}

async fn serve(
    acceptor: Rc<Acceptor>,
    remote: Remote,
    mut entrances: Entrances,
    left: Listeners,
) -> io::Result<()> {
    let (core, hub) = (acceptor.core, acceptor.hub.clone());
    entrances.open(&mut acceptor.reactor.borrow_mut());
    for listener in left {
        listener.socket.set_nonblocking(true)?;
        acceptor.take_waiting(&listener, usize::MAX);
        end(&listener.socket);
    }
    let wake = Wake::watch(hub.mailbox(core).wake_fd())?;
    let alarm = Alarm::new()?;
    let mut alarm_us = None;
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut deadline = None;
    let mut moving = Moving::default();
    let (mut closing, mut awaits_room, mut owes_look) = (false, false, false);
    let mut pauses_at_a_door = false;
    acceptor.reactor.borrow_mut().start();
    loop {
        let mut ticked = false;
        tokio::select! {
            biased;
            woken = wake.wait() => woken?,
            rung = alarm.wait(), if alarm_us.is_some() => rung?,
            () = acceptor.nudge.notified() => {}
            _ = tick.tick() => ticked = true,
            () = sleep(ROOM_LOOK), if awaits_room => {}
            () = sleep(DELIVERY_LOOK), if owes_look => {}
            () = sleep(STEP_BACK), if pauses_at_a_door => {}
        }
        let mut reactor = acceptor.reactor.borrow_mut();
        for command in remote.take() {
            match command {
                Command::StopAccepting(reply) => {
                    entrances.shut(&mut reactor);
                    moving.answering = Some(reply);
                }
                Command::Freeze(reply) => {
                    reactor.freeze();
                    moving.freezing = Some(reply);
                }
                Command::Install(slots, reply) => {
                    reactor.install(&slots);
                    moving.installing = Some((slots.len(), Vec::new(), reply));
                }
                Command::Shed(keep, reply) => {
                    let drain = Duration::from_millis(hub.settings().drain_ms_max);
                    moving.shedding = Some((keep, Instant::now() + drain, reply));
                }
                Command::Thaw => {
                    moving = Moving::default();
                    reactor.thaw();
                    entrances.open(&mut reactor);
                }
                Command::Leave => return Ok(()),
            }
        }
        if ticked {
            hub.mailbox(core).metrics.cpu_us.set(thread_cpu_us());
        }
        if ticked && !reactor.is_frozen() {
            reactor.tick();
            entrances.look(&mut reactor);
        }
        if let Some((keep, end, _)) = &moving.shedding
            && !reactor.is_frozen()
        {
            reactor.shed(
                *keep,
                end.saturating_duration_since(Instant::now()).as_millis() as u64,
            );
        }
        if hub.is_stopping() && !reactor.is_frozen() && (ticked || deadline.is_none()) {
            let drain = Duration::from_millis(hub.settings().drain_ms_max);
            let now = Instant::now();
            let end = *deadline.get_or_insert_with(|| {
                if hub.is_followed() {
                    // Who comes now waits in the service manager's socket for the
                    // next daemon.
                    entrances.leave_to_next(&mut reactor);
                }
                now + drain + 2 * TICK
            });
            let left = end.saturating_duration_since(now + 2 * TICK);
            // The second half is for those to take their goodbye who are slow.
            let spread = left.saturating_sub(drain / 2);
            reactor.drain(spread.as_millis() as u64, left.as_millis() as u64);
        }
        let guests = acceptor.guests.get();
        reactor.note_guests(guests, acceptor.guests_max.saturating_sub(guests));
        let works = reactor.turn_and_spin()?;
        if acceptor.share.renew() || works {
            // Not a mere yield: the runtime submits the acceptor's requests
            // only when it is about to wait.
            hub.mailbox(core).wake();
        }
        let rests_until_us = reactor.rests_until_us();
        if let Some(until_us) = rests_until_us
            && rests_until_us != alarm_us
        {
            alarm.set(Duration::from_micros(until_us.saturating_sub(hub.now_us())))?;
        }
        alarm_us = rests_until_us;
        entrances.take_over(reactor.handed_on());
        pauses_at_a_door = reactor.pauses_at_a_door();
        awaits_room = reactor.awaits_room();
        owes_look = reactor.owes_delivery_look();
        moving.reply(&mut reactor, acceptor.guests.get());
        let Some(deadline) = deadline else { continue };
        let is_late = deadline <= Instant::now();
        if !closing && (is_late || reactor.is_empty()) {
            // Nobody is left to wait for, so nobody new is waited for either; who
            // has come by now is still told so.
            closing = true;
            entrances.end(&mut reactor);
            // What has been called off is yet to be told to the kernel.
            hub.mailbox(core).wake();
        }
        let nobody_comes = acceptor.guests.get() == 0 && reactor.has_no_newcomers();
        if is_late || (reactor.is_empty() && nobody_comes) {
            return Ok(());
        }
    }
}

/// What a core has been asked for on the way to another process.
#[derive(Default)]
struct Moving {
    answering: Option<mpsc::Sender<()>>,
    freezing: Option<mpsc::Sender<SavedCore>>,
    installing: Option<(usize, Vec<Installed>, mpsc::Sender<Vec<Installed>>)>,
    /// Connections to keep, until when the others may take their goodbye, and who
    /// is told when they have.
    shedding: Option<(usize, Instant, mpsc::Sender<()>)>,
}

impl Moving {
    /// Answers what can be answered by now. Who asked may have given up.
    fn reply(&mut self, reactor: &mut Reactor<Uring>, guests: usize) {
        if guests == 0
            && reactor.has_no_newcomers()
            && let Some(reply) = self.answering.take()
        {
            let _ = reply.send(());
        }
        if let Some((keep, end, reply)) = self.shedding.take() {
            if reactor.len() <= keep {
                let _ = reply.send(());
            } else {
                self.shedding = Some((keep, end, reply));
            }
        }
        if self.freezing.is_some() && reactor.is_still() {
            let reply = self.freezing.take().expect("it is there");
            let _ = reply.send(reactor.save());
        }
        if let Some((wanted, mut made, reply)) = self.installing.take() {
            made.extend(reactor.plain());
            if made.len() == wanted {
                let _ = reply.send(made);
            } else {
                self.installing = Some((wanted, made, reply));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::listener::Listener;
    use super::*;
    use crate::config::Settings;

    #[test]
    fn a_core_whose_gate_closes_without_a_word_serves_nobody() {
        let settings = Settings {
            cores: 1,
            ..Settings::default()
        };
        let hub = Hub::new(settings).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (arrival, arrivals) = mpsc::channel();
        let (seated, all_seated) = mpsc::channel();
        let (open, gate) = mpsc::channel();
        let core = Core::start(Plan {
            core: 0,
            remote: Remote::to_all(&hub).remove(0),
            hub,
            listeners: vec![Listener {
                socket: listener.into(),
                shared: false,
                tls: false,
                activated: false,
            }],
            left: Vec::new(),
            abilities: crate::ring::Probe::run().unwrap().abilities,
            inheritance: Some(Inheritance {
                arrivals,
                seated,
                gate,
            }),
        });
        drop(arrival);
        assert_eq!(all_seated.recv(), Ok(Vec::new()));
        // The daemon has failed to take over.
        drop(open);
        let (ended, end) = mpsc::channel();
        std::thread::spawn(move || ended.send(core.unwrap().join().is_ok()));
        assert_eq!(end.recv_timeout(Duration::from_secs(20)), Ok(true));
    }
}
