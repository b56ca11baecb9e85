//! How others reach a core: numbers of topics that have grown, and one eventfd
//! that wakes it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::checking::Checked;
use super::cluster::origins::Origin;
use super::cluster::outcome::Outcome;
use super::deliveries::Delivery;
use super::metrics::Metrics;
use super::older::{OlderAnswer, PastAnswer};
use super::orders::Ordered;
use crate::log::head::Told;
use crate::log::{Committed, Topic};

/// What a core is given to do by those who are no core.
#[derive(Debug)]
pub enum Task {
    Order(Ordered),
    /// It follows a message to its subscribers.
    Follow(Arc<Delivery>),
    /// A token has been checked that one of its connections came with.
    Checked(Checked),
    /// History that one of its connections wants has been read.
    Older(OlderAnswer),
    /// And a page of history.
    Past(PastAnswer),
    /// The cluster has decided on what the core has proposed under this number.
    Settled(u64, Outcome),
    /// Nothing comes of that number any more.
    Forget(u64),
    /// Publishers to a topic wait for its readers: these are sent at once what rests for their pace.
    Hurry(Arc<Topic>),
    /// A topic's history ends.
    End(Arc<Topic>),
    /// Somebody has come or gone, and there was no room to say so in this companion.
    MissJoin(Arc<Topic>),
}

/// What a core is to know before it reads a log any further.
#[derive(Debug)]
pub enum Mark {
    /// A message that it has proposed under this number lies there.
    Own { ticket: u64, committed: Committed },
    /// A message lies there that a connection with this origin has published, if the core has it.
    From {
        origin: Origin,
        topic: Arc<Topic>,
        committed: Committed,
    },
    /// Messages are missing at a position of the raw view.
    Gap {
        topic: Arc<Topic>,
        at: u64,
        from: u64,
        to: u64,
    },
}

/// One core's mailbox, and what it lets others know of itself.
pub struct Mailbox {
    wake: EventFd,
    /// The core has been woken and has not looked yet.
    told: Told,
    /// Topics that have grown, by the core's own numbers. Each topic is in it
    /// once at most, as [`crate::log::topic::Listener::told`] sees to.
    grown: Mutex<Vec<u32>>,
    /// Orders that the core has not taken yet.
    orders: Mutex<Vec<Task>>,
    /// There are some: cores ask often.
    is_ordered: AtomicBool,
    marks: Mutex<Vec<Mark>>,
    is_marked: AtomicBool,
    beat_ms: AtomicU64,
    pub metrics: Metrics,
}

impl Mailbox {
    /// A core that starts at `now_ms` has until its first turn as long as for
    /// any other.
    pub(super) fn new(now_ms: u64) -> io::Result<Self> {
        let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
        Ok(Mailbox {
            wake: EventFd::from_value_and_flags(0, flags)?,
            told: Told::new(),
            grown: Mutex::new(Vec::new()),
            orders: Mutex::default(),
            is_ordered: AtomicBool::new(false),
            marks: Mutex::default(),
            is_marked: AtomicBool::new(false),
            beat_ms: AtomicU64::new(now_ms),
            metrics: Metrics::default(),
        })
    }

    /// What becomes readable when there is something to do.
    pub fn wake_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// Says that the core's topic `place` has grown. It is to be woken for that.
    pub(super) fn post(&self, place: u32) {
        self.lock().push(place);
    }

    /// Wakes the core. Many calls before it looks are one write.
    pub fn wake(&self) {
        if self.told.tell() {
            // It fails only where the counter is full, and then it wakes too.
            let _ = self.wake.write(1);
        }
    }

    /// The core has been woken, and has not taken what has been posted since.
    #[inline]
    pub fn is_told(&self) -> bool {
        self.told.is_told()
    }

    /// The core takes what has been posted, in exchange for an empty list.
    pub fn collect(&self, into: &mut Vec<u32>) {
        self.told.heard();
        std::mem::swap(&mut *self.lock(), into);
    }

    /// Gives the core an order.
    pub(super) fn order(&self, order: Ordered) {
        self.give(Task::Order(order));
    }

    /// Has the core follow a message to its subscribers.
    pub(super) fn follow(&self, delivery: Arc<Delivery>) {
        self.give(Task::Follow(delivery));
    }

    /// Tells the core what has come of a token.
    pub(super) fn checked(&self, checked: Checked) {
        self.give(Task::Checked(checked));
    }

    /// Gives the core history that it has asked for.
    pub(super) fn older(&self, answer: OlderAnswer) {
        self.give(Task::Older(answer));
    }

    /// Gives the core a page of history that it has asked for.
    pub(super) fn past(&self, answer: PastAnswer) {
        self.give(Task::Past(answer));
    }

    /// Tells it that nothing will come of one any more.
    pub(super) fn forget_ticket(&self, ticket: u64) {
        self.give(Task::Forget(ticket));
    }

    /// Has the core send what rests of a topic for its pace.
    pub(super) fn hurry(&self, topic: Arc<Topic>) {
        self.give(Task::Hurry(topic));
    }

    /// Has the core part with a topic.
    pub(super) fn end_topic(&self, topic: Arc<Topic>) {
        self.give(Task::End(topic));
    }

    /// Has the core tell those who hear a companion that they have missed somebody.
    pub(super) fn miss_join(&self, companion: Arc<Topic>) {
        self.give(Task::MissJoin(companion));
    }

    /// Called before what it is about can be found in the log.
    pub(super) fn mark(&self, mark: Mark) {
        let mut marks = self.marks.lock().expect("nothing panics inside the lock");
        marks.push(mark);
        self.is_marked.store(true, Ordering::Release);
    }

    /// There are marks for what the core has just found in a log.
    #[inline]
    pub fn is_marked(&self) -> bool {
        self.is_marked.load(Ordering::Acquire)
    }

    /// The core takes its marks, in their order.
    pub fn take_marks(&self) -> Vec<Mark> {
        let mut marks = self.marks.lock().expect("nothing panics inside the lock");
        self.is_marked.store(false, Ordering::Release);
        std::mem::take(&mut *marks)
    }

    fn give(&self, order: Task) {
        self.lock_orders().push(order);
        self.is_ordered.store(true, Ordering::Release);
        self.wake();
    }

    /// Gives the core several orders, in their order.
    pub(super) fn give_all(&self, orders: &mut Vec<Task>) {
        self.lock_orders().append(orders);
        self.is_ordered.store(true, Ordering::Release);
        self.wake();
    }

    /// How many orders the core has not taken yet.
    pub(super) fn orders_len(&self) -> usize {
        self.lock_orders().len()
    }

    /// The core takes its orders, in their order.
    pub fn take_orders(&self) -> Vec<Task> {
        match self.is_ordered.swap(false, Ordering::AcqRel) {
            true => std::mem::take(&mut *self.lock_orders()),
            false => Vec::new(),
        }
    }

    /// The core takes what the cluster has decided, whatever else it is given to do: what became
    /// of a number, or that nothing will.
    pub fn take_settled(&self) -> Vec<(u64, Option<Outcome>)> {
        let mut orders = self.lock_orders();
        let is_settled = |task: &mut Task| matches!(task, Task::Settled(..) | Task::Forget(_));
        let settled = orders.extract_if(.., is_settled);
        let named = |task| match task {
            Task::Settled(ticket, outcome) => Some((ticket, Some(outcome))),
            Task::Forget(ticket) => Some((ticket, None)),
            _ => None,
        };
        settled.filter_map(named).collect()
    }

    /// The core's loop has turned.
    pub fn beat(&self, now_ms: u64) {
        self.beat_ms.store(now_ms, Ordering::Relaxed);
    }

    /// When the core's loop last turned.
    pub fn beat_ms(&self) -> u64 {
        self.beat_ms.load(Ordering::Relaxed)
    }

    fn lock_orders(&self) -> MutexGuard<'_, Vec<Task>> {
        self.orders.lock().expect("nothing panics inside the lock")
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u32>> {
        self.grown.lock().expect("nothing panics inside the lock")
    }
}
