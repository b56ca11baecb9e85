//! Connections are taken up where another process left them.

use std::sync::Arc;

use super::super::conn::{Conn, Drain, Extra, Flags, Pause, Phase, Unpublished, Wait};
use super::super::lane::After;
use super::super::link::SavedLink;
use super::super::peer::Rate;
use super::super::reactor::State;
use super::super::streams::Stands;
use super::super::subs::{SubId, Subscription};
use super::{KEPT, SavedBytes, SavedConn, SavedPlace, SavedSub};
use crate::hub::Origin;
use crate::log::Topic;
use crate::protocol::dialect::Dialect;
use crate::protocol::dialect::session::Client;
use crate::protocol::encoding::Format;
use crate::protocol::event_stream::Place;
use crate::protocol::reason::CloseReason;
use crate::protocol::ws::Reader;
use crate::protocol::ws::deflate::Inflater;

impl State {
    pub(super) fn restore(
        &mut self,
        saved: SavedConn,
        link: Option<SavedLink>,
        topics: Vec<Option<Arc<Topic>>>,
    ) -> Result<u32, String> {
        if saved.has_tls() != link.is_some() {
            return Err("its keys are missing".into());
        }
        let reader = Reader::restore(saved.reader).ok_or("its reader's state makes no sense")?;
        let dialect = Dialect::from_number(saved.dialect).ok_or("a dialect is unknown")?;
        let is_open = saved.drain.is_none() && !saved.closing;
        if saved.session.is_some() != (dialect.has_sessions() && is_open)
            || saved.own.is_some() != (dialect == Dialect::Pusher && is_open)
        {
            return Err("its session does not go with its dialect".into());
        }
        let drain = match saved.drain {
            None => None,
            Some((reason, code)) => Some(Box::new(Drain {
                until: Vec::new(),
                reason: CloseReason::all()
                    .nth(reason.into())
                    .ok_or("its close reason is unknown")?,
                code,
                words: saved.farewell,
            })),
        };
        let mut flags = Flags::default();
        flags.set(saved.flags & KEPT);
        let phase = match (saved.closing, &drain) {
            (true, _) => Phase::Closing,
            (false, Some(_)) => Phase::Draining,
            (false, None) => Phase::Open,
        };
        let pause = (saved.unpublished.is_some() || !saved.unread.is_empty()).then(|| Pause {
            unpublished: saved.unpublished.map(|(text, payload)| Unpublished {
                since_ms: self.patience_ms,
                looked_ms: 0,
                wait: Wait::Room(None),
                text,
                payload,
            }),
            unread: saved.unread,
            ..Pause::default()
        });
        let paused = pause.is_some();
        let held = reader.buffered_bytes() + pause.as_ref().map_or(0, Pause::held_bytes);
        let extra = Extra {
            rights: saved.rights.map(Arc::new),
            drain,
            deadline_ms: saved.deadline_in_ms.map(|ms| self.patience_ms + ms),
            inflater: saved
                .window
                .map(|window| Box::new(Inflater::resume(&window))),
            pause: pause.map(Box::new),
            ..Extra::default()
        };
        let conn = Conn {
            sub: Subscription::NONE,
            heard_ms: (self.patience_ms as u32).wrapping_sub(saved.silent_ms),
            begun_ms: (self.patience_ms as u32).wrapping_sub(saved.begun_ms),
            stalled_ms: 0,
            offered: 0,
            rate: Rate::default(),
            flags,
            unreleased: 0,
            peer: saved.peer.into(),
            phase,
            dialect,
            pings: saved.pings,
            window_bits: saved.window_bits,
            reader,
            extra: Some(Box::new(extra)),
        };
        // All that can fail comes before anything is counted.
        let link = link.map(|link| link.restore()).transpose()?;
        for (sub, topic) in saved.subs.iter().zip(&topics) {
            let topic = topic.as_ref().ok_or("a topic of it is missing")?;
            let format = Format::from_index(sub.format).ok_or("a format is unknown")?;
            if topic.resume(format, sub.cursor).is_none() {
                return Err("its cursor lies outside a log".into());
            }
        }
        let slot = self
            .conns
            .insert(conn)
            .ok_or("there are more connections than slots")?;
        if let Some(link) = link {
            self.hub.account_partial(0, link.buffered_bytes());
            self.links.put(slot, link);
        }
        self.hub.account_partial(0, held);
        self.hub.admission().resume(saved.peer.ip());
        if paused {
            self.paused.push(slot);
        }
        if let Some(session) = saved.session {
            if let Client::Socket { node, connection } = session.client() {
                let origin = Origin { node, connection };
                self.hub.cluster().take_up_origin(origin);
            }
            let mut own = saved.own;
            if let Some(own) = &mut own {
                self.hub.app_connections().enter(&own.key);
                if let Some(app) = self.hub.settings().app_by_key(&own.key) {
                    // All connections of an app share one text.
                    own.key = app.key.clone();
                }
            }
            self.resume_session(slot, session, own);
        }
        if phase == Phase::Open {
            self.enlist(slot);
        }
        let mut ids = Vec::with_capacity(saved.subs.len());
        for (sub, topic) in saved.subs.into_iter().zip(topics) {
            let topic = topic.ok_or("a connection's topic is missing")?;
            if !sub.leaving {
                self.appear(slot, &topic);
            }
            ids.push(self.restore_sub(slot, sub, topic)?);
        }
        self.carry(slot, saved.proposed, saved.origin)?;
        if !saved.together.is_empty() {
            let restored = saved
                .together
                .iter()
                .map(|place| restore_place(*place, &ids));
            let order: Option<Vec<Stands>> = restored.collect();
            self.go_on_together(slot, order.ok_or("a topic of its stream is missing")?);
        }
        let conn = self.conns.at(slot);
        for (bytes, after) in saved.lane {
            let SavedBytes::Here(bytes) = bytes else {
                return Err("what many are sent is missing".into());
            };
            let after = after.and_then(|(at, position)| {
                let sub = *ids.get(at as usize)?;
                Some(After { sub, position })
            });
            conn.extra().lane.push_shared(bytes, after);
        }
        if saved.lane_begun {
            conn.extra().lane.set_begun();
        }
        if conn.extra().wants_attention() {
            conn.flags.set(Flags::ATTENTION);
        }
        conn.tidy();
        self.watch(slot);
        self.metrics().connections.set(self.conns.len() as u64);
        Ok(slot)
    }

    fn restore_sub(
        &mut self,
        slot: u32,
        saved: SavedSub,
        topic: Arc<Topic>,
    ) -> Result<SubId, String> {
        let format = Format::from_index(saved.format).ok_or("a format is unknown")?;
        let conn = self.conns.at(slot);
        let id = if saved.first {
            SubId::first(slot)
        } else {
            conn.flags.set(Flags::MANY);
            let many = conn.extra().many.get_or_insert_default();
            self.subs.add(&mut many.list, slot)
        };
        let raw = saved
            .since
            .map(|since| (since, topic.start_held(Format::Raw, since)));
        let seat = self
            .feeds
            .resume(self.core, topic, format, id, saved.cursor);
        self.take_seat(id, seat.ok_or("a cursor lies outside its log")?);
        match raw {
            None => {}
            // Memory does not hold that, or its own messages are known by their offsets alone:
            // it comes from the store.
            Some((since, raw)) if since < raw.offset || !saved.own_stored.is_empty() => {
                self.catch_up(id, since);
            }
            Some((_, raw)) => self.reach_back(id, raw),
        }
        for (start, end) in saved.own_stored {
            self.note_own_stored(id, start..end);
        }
        let conn = self.conns.at(slot);
        if saved.current {
            conn.set_current(id);
        }
        let extra = conn.extra();
        let own = saved.own.iter().map(|(start, end)| (id, *start..*end));
        extra.own.extend(own);
        if let Some(drain) = &mut extra.drain {
            drain.until.push((id, saved.until));
        }
        if saved.leaving {
            extra.leaving.push(id);
        }
        self.make_ready(slot, id);
        Ok(id)
    }
}

fn restore_place(saved: SavedPlace, ids: &[SubId]) -> Option<Stands> {
    Some(match saved {
        SavedPlace::With(at) => Stands::With(*ids.get(at as usize)?),
        SavedPlace::At { epoch, offset } => Stands::At(Place { epoch, offset }),
    })
}
