//! Topics that a cluster keeps: joins the hub with the link to the cluster's NATS servers.
//!
//! What the link tells comes on its own thread and is passed on at once. A second thread does
//! what is not brought about by news: it looks for room, and forgets what was awaited for
//! too long.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::linked::{copy_counts, link_settings};
use super::nats::{self, Call, Event, Kind, Link, News, Page};
use super::said;
use crate::hub::{
    self, Accepted, Answers, At, Heard, Hub, PageEnds, Proposal, Turn, Unproposed, Unreadable,
};
use crate::protocol::encoding::{Extras, Message};

/// How often it is looked for room while some topic waits for it,
const LOOK: Duration = Duration::from_millis(5);
/// and at everything else.
const REST: Duration = Duration::from_millis(500);
/// How long a page of history is awaited. The link asks several times.
const PAGE_TIME: Duration = Duration::from_secs(10);
/// How long a message that is stored is awaited. Then its publisher is known by its origin alone,
/// if that was said with it.
const HEARD_TIME: Duration = Duration::from_secs(15);
/// Messages of a page.
const PAGE_MESSAGES: usize = 256;

/// Answers what another node asks, or that it does not know what that is.
pub(super) type Answerer =
    fn(Arc<Hub>, Option<Vec<u8>>) -> Pin<Box<dyn Future<Output = Vec<u8>> + Send + 'static>>;

/// The only kind of calls that there is: what other nodes ask is the answerer's matter.
const QUESTION: u16 = 1;
/// Questions that may wait; who asks hears from this node no more.
const QUESTIONS_MAX: usize = 1024;
/// Questions that are being answered; the others wait.
const ANSWERS_MAX: usize = 256;

/// The way to a cluster, while the daemon runs.
pub struct Cluster {
    common: Arc<Common>,
    threads: [JoinHandle<()>; 2],
}

/// What the threads have in common.
struct Common {
    hub: Arc<Hub>,
    link: RwLock<Option<Arc<Link>>>,
    asked: Mutex<HashMap<u64, Sender<Page>>>,
    /// Topics of which it is asked how far back they are to be had.
    looking_back: Mutex<HashMap<u64, Arc<str>>>,
    /// Who waits for the answers of other nodes.
    asking: Mutex<HashMap<u64, oneshot::Sender<Answers>>>,
    questions: Mutex<Option<tokio::sync::mpsc::Sender<Call>>>,
    tickets: AtomicU64,
    doze: Mutex<bool>,
    wake: Condvar,
}

impl Cluster {
    /// Starts the link that the settings ask for, if they do. Returns before there is a
    /// connection.
    ///
    /// # Errors
    /// A sentence on what is wrong with the settings.
    pub fn start(hub: &Arc<Hub>, answerer: Answerer) -> Result<Option<Cluster>, String> {
        let Some(mut settings) = link_settings(hub.settings())? else {
            return Ok(None);
        };
        settings.homes = hub.cluster().homes();
        let (questions, asked) = tokio::sync::mpsc::channel(QUESTIONS_MAX);
        let common = Arc::new(Common {
            hub: hub.clone(),
            link: RwLock::default(),
            asked: Mutex::default(),
            looking_back: Mutex::default(),
            asking: Mutex::default(),
            questions: Mutex::new(Some(questions)),
            tickets: AtomicU64::new(1),
            doze: Mutex::new(false),
            wake: Condvar::new(),
        });
        hub.cluster_figures().set_connected(false);
        let told = common.clone();
        let link = Link::start(settings, move |events| {
            let mut turn = told.hub.turn();
            events
                .drain(..)
                .for_each(|event| told.handle(&mut turn, event));
        });
        let link = link.map_err(|error| error.to_string())?;
        *common.link.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(link));
        hub.link(Arc::new(Way(common.clone())), Arc::new(Way(common.clone())));
        let (works, answers) = (common.clone(), common.clone());
        let threads = [
            spawn("cluster", move || works.work())?,
            spawn("cluster-asked", move || answers.answer(asked, answerer))?,
        ];
        Ok(Some(Cluster { common, threads }))
    }

    /// Tells the other nodes that this one goes.
    pub fn stop(self) {
        *lock(&self.common.doze) = true;
        self.common.wake.notify_all();
        drop(lock(&self.common.questions).take());
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the cluster's has panicked");
            }
        }
        let link = self.common.link.write();
        drop(link.unwrap_or_else(PoisonError::into_inner).take());
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, String> {
    let thread = thread::Builder::new().name(name.into());
    let spawned = thread.spawn(run);
    spawned.map_err(|error| format!("cannot start a thread: {error}"))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Common {
    fn link(&self) -> Option<Arc<Link>> {
        let link = self.link.read().unwrap_or_else(PoisonError::into_inner);
        link.clone()
    }

    fn ticket(&self) -> u64 {
        self.tickets.fetch_add(1, Ordering::Relaxed)
    }

    /// What the link tells. Does not block.
    fn handle(&self, turn: &mut Turn<'_>, event: Event) {
        let hub = &self.hub;
        match event {
            Event::Away { why } => {
                hub.cluster_figures().set_connected(false);
                tracing::error!("the cluster is away, publishers to its topics wait: {why}");
            }
            Event::Back => {
                hub.cluster_figures().set_connected(true);
                tracing::info!("the cluster is there");
            }
            Event::Epoch { stream, epoch } => {
                tracing::info!(stream, epoch, "the history of a stream of the cluster");
            }
            Event::Following {
                topic,
                last,
                newest,
                epoch,
            } => {
                hub.following(&topic, last, epoch);
                self.look_back(topic, newest);
            }
            Event::Oldest { ticket, offset } => {
                let topic = lock(&self.looking_back).remove(&ticket);
                if let Some(topic) = topic {
                    // Rather more than the rule says than too little.
                    hub.open_topic(&topic, offset.unwrap_or(1));
                }
            }
            Event::Committed(committed) => {
                self.commit(turn, &committed);
                if hub.cluster().set_aside_len() > 0 {
                    self.wake.notify_all();
                }
            }
            Event::Gap { topic, from, to } => {
                tracing::warn!(%topic, from, to, "messages of a topic are gone from the cluster");
                hub.missing(&topic, from, to);
            }
            Event::Stored {
                ticket,
                offset,
                epoch,
                duplicate,
            } => {
                let accepted = Accepted {
                    offset,
                    epoch,
                    duplicate,
                };
                hub.settle(turn, ticket, Ok(accepted));
            }
            Event::Failed { ticket, why } => hub.settle(turn, ticket, Err(failure(&why))),
            Event::History { ticket, page } => {
                if let Some(asked) = lock(&self.asked).remove(&ticket) {
                    // Who has asked may have stopped waiting.
                    let _ = asked.send(page);
                }
            }
            Event::Warned(warning) => tracing::warn!("{warning}"),
            Event::News(news) => self.hear(news),
            Event::Called(call) => {
                if let Some(questions) = &*lock(&self.questions)
                    && questions.try_send(call).is_err()
                {
                    tracing::warn!("other nodes ask faster than this one answers");
                }
            }
            Event::Answered {
                ticket,
                answers,
                missing,
            } => {
                if let Some(asking) = lock(&self.asking).remove(&ticket) {
                    let answers = answers.into_iter();
                    // Who has asked may have stopped waiting.
                    let _ = asking.send(Answers {
                        answers: answers.map(|answer| answer.bytes.to_vec()).collect(),
                        missing: missing.len(),
                    });
                }
            }
        }
    }

    /// Asks how far back a topic is to be had by its rule.
    fn look_back(&self, topic: Arc<str>, newest: u64) {
        let count = self.hub.policy_named(&topic).retention.messages_max;
        match self.link() {
            Some(link) if newest > 0 && count > 0 => {
                let ticket = self.ticket();
                lock(&self.looking_back).insert(ticket, topic.clone());
                link.oldest_of_newest(topic, count, ticket);
            }
            _ => self.hub.open_topic(&topic, newest + 1),
        }
    }

    fn commit(&self, turn: &mut Turn<'_>, committed: &nats::Committed) {
        let tags = said::tags(&committed.message);
        let heard = Heard {
            topic: &committed.topic,
            offset: committed.offset,
            time_ms: committed.time_ms,
            text: committed.message.kind == Kind::Text,
            payload: &committed.message.payload,
            extras: said::extras(&committed.message, &tags),
            ticket: committed.ticket,
            origin: said::origin(&committed.message),
        };
        self.hub.commit(turn, &heard);
    }

    fn hear(&self, news: News) {
        match news {
            News::Joined { name, .. } => tracing::info!(name, "another node is there"),
            News::Left { node, name } => {
                tracing::info!(name, "another node is gone");
                self.hub.note_node_gone(node);
            }
            News::Entry {
                node,
                topic,
                key,
                value,
            } => match u128::from_str_radix(&key, 16) {
                Ok(client) => self.hub.note_guest(node, &topic, client, value.as_deref()),
                // A later version may tell of others than clients.
                Err(_) => tracing::debug!(key, "another node tells of something unknown"),
            },
        }
    }

    /// Answers what other nodes ask, until the daemon stops.
    fn answer(&self, mut asked: tokio::sync::mpsc::Receiver<Call>, answerer: Answerer) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => return tracing::error!(%error, "no other node will be answered"),
        };
        runtime.block_on(async {
            let mut answers = tokio::task::JoinSet::new();
            while let Some(call) = asked.recv().await {
                while answers.len() >= ANSWERS_MAX {
                    answers.join_next().await;
                }
                while answers.try_join_next().is_some() {}
                let (hub, Some(link)) = (self.hub.clone(), self.link()) else {
                    continue;
                };
                // One may take a while: an order waits for the cores.
                answers.spawn(async move {
                    let question = (call.kind == QUESTION).then(|| call.bytes.to_vec());
                    let bytes = answerer(hub, question).await;
                    link.reply(call, bytes.into());
                });
            }
        });
    }

    fn work(&self) {
        let mut stop = lock(&self.doze);
        while !*stop {
            drop(stop);
            self.hub.look_for_room();
            self.hub.forget_unheard(HEARD_TIME);
            self.hub.forget_guests();
            if let Some(link) = self.link() {
                copy_counts(&link.counts(), &self.hub.cluster_figures().link);
            }
            stop = lock(&self.doze);
            let time = match self.hub.cluster().set_aside_len() {
                0 => REST,
                _ => LOOK,
            };
            if !*stop {
                let waited = self.wake.wait_timeout(stop, time);
                stop = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }

    /// Has the link answer with a page of the history with this epoch, and waits for it.
    fn page(
        &self,
        of: u64,
        ask: impl FnOnce(&Link, u64),
    ) -> Result<Vec<nats::Committed>, Unreadable> {
        let failed = |sentence: &str| Err(Unreadable::Failed(sentence.into()));
        let Some(link) = self.link() else {
            return failed("there is no way to the cluster yet");
        };
        let ticket = self.ticket();
        let (asked, answer): (_, Receiver<Page>) = mpsc::channel();
        lock(&self.asked).insert(ticket, asked);
        ask(&link, ticket);
        let answer = answer.recv_timeout(PAGE_TIME);
        lock(&self.asked).remove(&ticket);
        match answer {
            Ok(Page::Found {
                messages, epoch, ..
            }) if epoch == of => Ok(messages),
            Ok(Page::Found { .. }) => failed("the cluster has another history by now"),
            Ok(Page::Failed) => failed("the cluster does not hand out history at present"),
            Err(_) => failed("the cluster does not answer"),
        }
    }
}

/// The hub's way to the link.
struct Way(Arc<Common>);

impl hub::Link for Way {
    fn propose(&self, proposal: Proposal) -> Result<(), Unproposed> {
        let link = self.0.link().ok_or(Unproposed::NoLink)?;
        let extras = Extras::decode(&proposal.extras).unwrap_or_default();
        let message = said::message(proposal.text, proposal.payload, &extras, proposal.origin);
        let proposed = link.propose(nats::Proposal {
            ticket: proposal.ticket,
            topic: proposal.topic,
            message,
            publisher: proposal.publisher,
            idempotency: proposal.key,
            id: proposal.id,
        });
        proposed.map_err(|failure| match failure {
            nats::Failure::TooLarge => Unproposed::TooBig,
            _ => Unproposed::NoRoom,
        })
    }

    fn follow(&self, topic: &Arc<str>, since: Option<u64>) {
        if let Some(link) = self.0.link() {
            link.follow(topic.clone(), since);
        }
    }

    fn unfollow(&self, topic: &Arc<str>) {
        if let Some(link) = self.0.link() {
            link.unfollow(topic.clone());
        }
    }

    fn present(&self, topic: &Arc<str>, client: u128, info: Option<Vec<u8>>) {
        if let Some(link) = self.0.link() {
            let key = format!("{client:032x}");
            link.present(topic.clone(), key, info.map(Bytes::from));
        }
    }

    fn ask(&self, question: Vec<u8>, told: oneshot::Sender<Answers>) {
        if let Some(link) = self.0.link() {
            let ticket = self.0.ticket();
            lock(&self.0.asking).insert(ticket, told);
            link.call(QUESTION, question.into(), ticket);
        }
    }
}

impl hub::Archive for Way {
    fn page(
        &self,
        topic: &str,
        epoch: u64,
        at: At,
        show: &mut dyn FnMut(&Message<'_>),
    ) -> Result<Option<PageEnds>, Unreadable> {
        let messages = match at {
            At::Holding(offset) => self.0.page(epoch, |link, ticket| {
                let since = offset.saturating_sub(1);
                link.history(topic.into(), since, PAGE_MESSAGES, ticket);
            })?,
            At::Before(offset) => self.0.page(epoch, |link, ticket| {
                link.history_before(topic.into(), offset, PAGE_MESSAGES, ticket);
            })?,
        };
        let (Some(first), Some(last)) = (messages.first(), messages.last()) else {
            return Ok(None);
        };
        for committed in &messages {
            let tags = said::tags(&committed.message);
            show(&Message {
                topic,
                epoch,
                offset: committed.offset,
                time_ms: committed.time_ms,
                text: committed.message.kind == Kind::Text,
                payload: &committed.message.payload,
                extras: said::extras(&committed.message, &tags),
            });
        }
        Ok(Some((first.offset, last.offset + 1)))
    }
}

fn failure(why: &nats::Failure) -> hub::Failure {
    let sentence = why.to_string();
    match why {
        nats::Failure::TooLarge => hub::Failure::TooBig(sentence),
        nats::Failure::Unknown => hub::Failure::Unknown(sentence),
        _ => hub::Failure::NotStored(sentence),
    }
}
