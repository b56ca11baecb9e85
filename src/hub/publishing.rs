//! Publishing from outside the cores, and telling cores of what is new.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Hub;
use super::cluster::{self, Origin, Unproposed, Waits};
use super::compressors::Effort;
use super::keeping::StoreState;
use super::topics::TopicsFull;
use super::traces::Begun;
use crate::log::{AppendError, Committed, Draft, Topic};
use crate::protocol::encoding::Extras;
use crate::protocol::topic::TopicName;
use crate::protocol::ws::Opcode;

/// The protocol by which messages come from outside the cores, as traces name it.
pub const OVER_HTTP: &str = "http";

/// Why a message could not be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    #[error("{0}")]
    Topics(#[from] TopicsFull),
    #[error("the message is larger than this server accepts")]
    TooBig,
    #[error("the memory for this topic's log is used up")]
    LogFull,
    #[error("the topic's subscribers are far behind")]
    Ahead,
    #[error("the store cannot be written to, and there is no more memory for what waits for it")]
    Store,
    #[error("a newer fanfare is taking over: try again at once")]
    HandingOver,
    #[error("{0}")]
    Unproposed(#[from] Unproposed),
}

impl PublishError {
    /// It passes when subscribers have caught up, or have been cut: another try may do.
    pub fn passes(self) -> bool {
        matches!(
            self,
            PublishError::LogFull
                | PublishError::Ahead
                | PublishError::Store
                | PublishError::Unproposed(Unproposed::NoRoom)
        )
    }
}

impl Hub {
    /// How hard messages are compressed.
    pub fn effort(&self) -> Effort {
        let settings = self.settings();
        Effort {
            level: settings.deflate_level as u32,
            bytes_min: settings.deflate_bytes_min,
        }
    }

    /// Publishes one message from outside the cores and wakes those that serve
    /// the topic. Text must be valid UTF-8.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub fn publish(
        &self,
        name: &TopicName,
        opcode: Opcode,
        payload: &[u8],
        extras: Option<Extras<'_>>,
    ) -> Result<(Committed, u64), PublishError> {
        self.publish_from(name, opcode, payload, extras, None, None)
    }

    /// The same for all but the connection with that origin: it steps over the message, on
    /// whichever core it is. `trace` has been begun for the message, if that is traced.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub fn publish_from(
        &self,
        name: &TopicName,
        opcode: Opcode,
        payload: &[u8],
        extras: Option<Extras<'_>>,
        origin: Option<Origin>,
        trace: Option<Begun>,
    ) -> Result<(Committed, u64), PublishError> {
        if payload.len() > self.settings().message_bytes_max {
            return Err(PublishError::TooBig);
        }
        if self.frozen.load(Ordering::Acquire) {
            return Err(PublishError::HandingOver);
        }
        let topic = self.topic(name)?;
        assert!(!topic.is_shared(), "that is proposed");
        if self.is_far_ahead(&topic, 1) {
            self.hurry(&topic, None);
            return Err(self.no_room(&topic, PublishError::Ahead));
        }
        let mut codec = self.codec.lock().expect("nothing panics inside the lock");
        codec.prepare(
            topic.formats(),
            opcode == Opcode::Text,
            payload,
            self.effort(),
        );
        let draft = Draft {
            text: opcode == Opcode::Text,
            len: payload.len(),
            now_ms: self.unix_ms(self.now_ms()),
            offset: None,
            extras,
        };
        let mut publish = || {
            let write = |room: &mut [u8]| {
                room.copy_from_slice(payload);
                Ok::<_, Infallible>(())
            };
            let retention = self.retention(&topic);
            topic.commit(
                &draft,
                retention,
                &mut codec.prepared(),
                write,
                |committed| {
                    if let Some(origin) = origin {
                        self.mark_from(&topic, origin, committed);
                    }
                },
            )
        };
        let published = match publish() {
            Err(AppendError::TotalFull(_)) if self.make_room() => publish(),
            published => published,
        };
        self.encoded
            .fetch_add(codec.take_encoded(), Ordering::Relaxed);
        let published = published.map_err(|error| match error {
            AppendError::Payload(never) => match never {},
            AppendError::ExtrasTooBig => PublishError::TooBig,
            AppendError::LogFull(_) => {
                self.relief.ask(Some(topic.id()), self);
                self.no_room(&topic, PublishError::LogFull)
            }
            AppendError::TotalFull(_) => {
                self.relief.ask(None, self);
                PublishError::LogFull
            }
            AppendError::NoMemory(_) => PublishError::LogFull,
        })?;
        if let Some(begun) = trace {
            self.trace_message(begun, OVER_HTTP, (&topic, payload.len()), &published);
        }
        self.announce(&topic, None);
        self.posts.note_message();
        Ok((published, topic.epoch()))
    }

    /// Proposes a message to the cluster from outside the cores.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub fn post_shared(
        &self,
        topic: &Arc<Topic>,
        draft: cluster::Draft,
        waits: Waits,
    ) -> Result<(), PublishError> {
        if draft.payload.len() > self.settings().message_bytes_max {
            return Err(PublishError::TooBig);
        }
        if self.is_frozen() {
            return Err(PublishError::HandingOver);
        }
        if self.is_far_ahead(topic, 1) {
            self.hurry(topic, None);
            return Err(PublishError::Ahead);
        }
        match self.propose(topic, draft, waits) {
            Ok(_) => self.posts.note_message(),
            Err(Unproposed::TooBig) => return Err(PublishError::TooBig),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Why there is no room: it may be for a store that cannot be written to.
    fn no_room(&self, topic: &Topic, error: PublishError) -> PublishError {
        let is_failing = self.keeping().state() != StoreState::Working;
        match is_failing && topic.kept().is_some() {
            true => PublishError::Store,
            false => error,
        }
    }

    /// A publisher to the topic of that name has to wait, as it is further ahead of some core than
    /// one part in `parts` of what it may be.
    pub fn has_to_wait(&self, name: &TopicName, parts: usize) -> bool {
        let topic = self.find_topic(name.as_str());
        let ahead = topic.filter(|topic| self.is_far_ahead(topic, parts));
        ahead.inspect(|topic| self.hurry(topic, None)).is_some()
    }

    /// A publisher waits until cores have caught up with a topic: those other than `except` send
    /// at once what rests there for the topic's pace.
    pub fn hurry(&self, topic: &Arc<Topic>, except: Option<usize>) {
        if self.policy(topic).pace_ms == 0 {
            return;
        }
        let views: Vec<_> = topic.interests().collect();
        let reads = |core: usize| views.iter().any(|view| view[core].subscribers() > 0);
        for (core, mailbox) in self.cores.iter().enumerate() {
            if Some(core) != except && reads(core) {
                mailbox.hurry(topic.clone());
            }
        }
    }

    /// Publishers are further ahead of some core than one part in `parts` of what they may be,
    /// or than they may be of the store: what waits for it takes memory that readers may need.
    pub fn is_far_ahead(&self, topic: &Topic, parts: usize) -> bool {
        let settings = self.settings();
        let backlog = topic.backlog();
        // The scribe goes on meanwhile: who has waited for it goes on with it as soon as a sync
        // has made some room, or it would soon have nothing to write.
        let unstored_sixteenths = if parts == 1 { 6 } else { 5 };
        backlog.unread_bytes > (settings.ahead_bytes_max / parts) as u64
            || backlog.unstored_bytes > (settings.log_bytes_max / 16 * unstored_sixteenths) as u64
    }

    /// Messages that others than subscribers have published, written for views.
    pub fn encoded(&self) -> u64 {
        self.encoded.load(Ordering::Relaxed)
    }

    /// Tells the cores that serve `topic`, but for `except`, that it has grown, and who stores it.
    pub fn announce(&self, topic: &Topic, except: Option<usize>) {
        self.post_growth(topic, except, |core| self.cores[core].wake());
    }

    /// The same, where the caller wakes the cores.
    pub(super) fn post_growth(
        &self,
        topic: &Topic,
        except: Option<usize>,
        mut wake: impl FnMut(usize),
    ) {
        if let Some(kept) = topic.kept()
            && kept.tell()
        {
            self.keeping().post(topic.name());
        }
        for interest in topic.interests() {
            for (core, listener) in interest.iter().enumerate() {
                if Some(core) != except
                    && let Some(place) = listener.tell()
                {
                    self.cores[core].post(place);
                    wake(core);
                }
            }
        }
    }

    /// Wakes the cores on which a publisher may wait for others to catch up.
    pub fn wake_publishers(&self, topic: &Topic) {
        self.find_publishers(topic, |core| self.cores[core].wake());
    }

    /// The same, where the caller wakes the cores.
    pub(super) fn find_publishers(&self, topic: &Topic, mut wake: impl FnMut(usize)) {
        topic.waiting.clear();
        for interest in topic.interests() {
            for (core, listener) in interest.iter().enumerate() {
                if listener.subscribers() > 0 {
                    wake(core);
                }
            }
        }
    }
}
