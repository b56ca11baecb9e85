//! The link as its caller sees it: what it is asked, and what it tells.
//!
//! A link runs on a thread of its own, with a runtime of its own. It tells what happens by
//! calling its caller's closure there, which must not block. What has happened at once is told
//! at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::counts::{Counters, Counts};
use super::event::{Command, Event, Failure, Proposal, StartError, Ticket, Topic, cost};
use super::headers::HEADER_BYTES_MAX;
use super::nodes::Call;
use super::session;
use super::settings::Settings;
use super::state::Shared;
use super::wire;
use super::wish::Wish;

/// A link to the NATS servers. It stops when it is dropped.
#[derive(Debug)]
pub struct Link {
    /// Without a bound of its own: the thread takes what comes whether there is a connection or
    /// not, so that only what comes during one turn of it waits here. What it has to keep then has
    /// bounds: proposals by their bytes, questions for history by their number, changes that
    /// cannot be told by theirs, and topics by how many there may be.
    commands: UnboundedSender<Command>,
    /// Bytes of proposals that wait, counted when they are put into the channel.
    proposed: Arc<AtomicUsize>,
    proposed_bytes_max: usize,
    message_bytes_max: usize,
    counters: Arc<Counters>,
    thread: Option<JoinHandle<()>>,
    incarnation: u64,
}

impl Link {
    /// Starts a link. Returns before there is a connection: [`Event::Back`] tells of it,
    /// [`Event::Away`] of what is in its way.
    pub fn start(
        settings: Settings,
        told: impl FnMut(&mut Vec<Event>) + Send + 'static,
    ) -> Result<Link, StartError> {
        settings.check()?;
        let options = wire::options(&settings)?;
        let runtime = session::new_runtime().map_err(StartError::Thread)?;
        let (commands, received) = unbounded_channel();
        let proposed = Arc::new(AtomicUsize::new(0));
        let counters = Arc::new(Counters::default());
        let proposed_bytes_max = settings.proposed_bytes_max;
        let message_bytes_max = settings.message_bytes_max;
        let incarnation = fastrand::u64(1..);
        let shared = Shared {
            proposed: Arc::clone(&proposed),
            counters: Arc::clone(&counters),
            incarnation,
        };
        let told = Box::new(told);
        let run = move || session::run(settings, &options, shared, received, told, runtime);
        let thread = thread::Builder::new()
            .name("nats".into())
            .spawn(run)
            .map_err(StartError::Thread)?;
        Ok(Link {
            commands,
            proposed,
            proposed_bytes_max,
            message_bytes_max,
            counters,
            thread: Some(thread),
            incarnation,
        })
    }

    /// How this node is known to the others since it was started.
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// Bytes that may be proposed now.
    pub fn room(&self) -> usize {
        let proposed = self.proposed.load(Ordering::Relaxed);
        self.proposed_bytes_max.saturating_sub(proposed)
    }

    /// Proposes a message. Its ticket comes back with [`Event::Stored`] or
    /// [`Event::Failed`], and with [`Event::Committed`] where its topic is followed.
    ///
    /// Refuses at once what is too large, or beyond [`room`](Self::room).
    pub fn propose(&self, proposal: Proposal) -> Result<(), Failure> {
        let message = &proposal.message;
        let bytes = cost(message);
        let payload = message.payload.len();
        if payload > self.message_bytes_max || bytes > payload + HEADER_BYTES_MAX {
            return Err(Failure::TooLarge);
        }
        let before = self.proposed.fetch_add(bytes, Ordering::Relaxed);
        if before + bytes > self.proposed_bytes_max {
            self.proposed.fetch_sub(bytes, Ordering::Relaxed);
            return Err(Failure::NoRoom);
        }
        self.send(Command::Propose(Box::new(proposal)));
        Ok(())
    }

    /// Follows a topic, from behind `since` or from its end. Following it again begins anew.
    pub fn follow(&self, topic: Topic, since: Option<u64>) {
        self.send(Command::Follow { topic, since });
    }

    pub fn unfollow(&self, topic: Topic) {
        self.send(Command::Unfollow { topic });
    }

    /// Asks for at most `limit` messages behind `since`. The answer is an
    /// [`Event::History`](Event::History).
    pub fn history(&self, topic: Topic, since: u64, limit: usize, ticket: Ticket) {
        self.look_back(topic, ticket, Wish::After { since, limit });
    }

    /// Asks for the last `limit` messages before the offset `before`, in their order; for fewer
    /// of them where they are long. The answer is an [`Event::History`](Event::History).
    pub fn history_before(&self, topic: Topic, before: u64, limit: usize, ticket: Ticket) {
        self.look_back(topic, ticket, Wish::Before { before, limit });
    }

    /// Asks which is the oldest of a topic's `count` newest messages. The answer is an
    /// [`Event::Oldest`](Event::Oldest). Messages that are stored meanwhile may count or not.
    pub fn oldest_of_newest(&self, topic: Topic, count: u64, ticket: Ticket) {
        self.look_back(topic, ticket, Wish::OldestOf { count });
    }

    fn look_back(&self, topic: Topic, ticket: Ticket, wish: Wish) {
        self.send(Command::History {
            topic,
            ticket,
            wish,
        });
    }

    /// Tells the other nodes who is on a topic here: an entry, such as a member's, or
    /// `None` when it is gone. They know until this node stops or vanishes.
    pub fn present(&self, topic: Topic, key: String, value: Option<Bytes>) {
        self.send(Command::Present { topic, key, value });
    }

    /// Asks all other nodes. Their answers come with [`Event::Answered`].
    pub fn call(&self, kind: u16, bytes: Bytes, ticket: Ticket) {
        self.send(Command::Call {
            kind,
            bytes,
            ticket,
        });
    }

    /// Answers another node's call.
    pub fn reply(&self, call: Call, bytes: Bytes) {
        self.send(Command::Reply { call, bytes });
    }

    /// Makes a new connection.
    pub fn reconnect(&self) {
        self.send(Command::Reconnect);
    }

    pub fn counts(&self) -> Counts {
        Counts {
            proposed_bytes: self.proposed.load(Ordering::Relaxed) as u64,
            ..self.counters.read()
        }
    }

    fn send(&self, command: Command) {
        // The thread ends when it is told to, so a closed channel means just that.
        let _ = self.commands.send(command);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.send(Command::Stop);
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != thread::current().id()
        {
            let _ = thread.join();
        }
    }
}
