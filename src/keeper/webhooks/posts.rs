//! The outboxes of all addresses, and the requests that are under way.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use tokio::task::{Id, JoinSet};

use super::outbox::Outbox;
use super::told;
use crate::hub::{HookFigures, Hub, SavedOutbox};
use crate::keeper::client::{Client, Failure, Tls};
use crate::protocol::http::ServerUrl;
use crate::protocol::pusher::{App, HookEvent};

/// One address of one app.
type Address = (Box<str>, ServerUrl);

/// All addresses that there is something for.
#[derive(Default)]
pub(super) struct Posts {
    posts: HashMap<Address, Post>,
    requests: JoinSet<(Client, Result<(), Failure>)>,
    tls: Tls,
}

struct Post {
    outbox: Outbox,
    /// `None` while a request is under way.
    client: Option<Client>,
    /// The request that is under way.
    request: Option<Id>,
}

/// A request has come to its end.
pub(super) struct Done {
    request: Id,
    /// None is left where the request has panicked.
    client: Option<Client>,
    posted: Result<(), Failure>,
}

impl Posts {
    /// Takes up what another process has left, as far as the settings still have the address.
    pub(super) fn restore(&mut self, hub: &Hub, saved: Vec<SavedOutbox>) {
        for SavedOutbox {
            app,
            url,
            failures,
            rest_ms,
            events,
        } in saved
        {
            if let Ok(url) = ServerUrl::parse(&url) {
                let outbox = Outbox::restore(events, (failures, rest_ms), hub.now_ms());
                let post = self.post((app.into(), url));
                post.outbox = outbox;
            }
        }
    }

    /// What another process is to go on with.
    pub(super) fn save(&self, hub: &Hub) -> Vec<SavedOutbox> {
        let full = self.posts.iter().filter(|(_, post)| post.outbox.len() > 0);
        let save = |((app, url), post): (&Address, &Post)| {
            let (events, rest_ms) = post.outbox.save(hub.now_ms());
            SavedOutbox {
                app: app.to_string(),
                url: url.text(),
                failures: post.outbox.failures(),
                rest_ms,
                events,
            }
        };
        full.map(save).collect()
    }

    fn post(&mut self, address: Address) -> &mut Post {
        let url = address.1.clone();
        self.posts.entry(address).or_insert_with(|| Post {
            outbox: Outbox::default(),
            client: Some(Client::new(url)),
            request: None,
        })
    }

    /// The servers of an app are to be told of an event, as far as they want to.
    pub(super) fn push(&mut self, hub: &Hub, app: &App, what: HookEvent, text: &str) {
        let figures = &hub.hooks().figures;
        let hooks = app.webhooks.iter();
        for hook in hooks.filter(|hook| hook.events.contains(&what)) {
            let address = (app.id.clone(), hook.url.clone());
            let post = self.post(address);
            figures.events.fetch_add(1, Ordering::Relaxed);
            if !post.outbox.push(what, text, hub.now_ms()) {
                figures.dropped_full.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Makes the requests that are due.
    pub(super) fn send(&mut self, hub: &Hub) {
        let now_ms = hub.now_ms();
        let figures = &hub.hooks().figures;
        if hub.hooks().is_held() {
            return self.count(figures);
        }
        for ((id, _), post) in &mut self.posts {
            let late = post.outbox.expire(now_ms) as u64;
            figures.dropped_late.fetch_add(late, Ordering::Relaxed);
            let Some(app) = hub.settings().app_by_id(id) else {
                continue;
            };
            if post.client.is_none() {
                continue;
            }
            let Some(events) = post.outbox.batch(now_ms) else {
                continue;
            };
            let letter = told::letter(app, hub.unix_ms(now_ms), &events);
            let mut client = post.client.take().expect("there is one");
            client.trust(&self.tls);
            let request = self.requests.spawn(async move {
                let posted = client.post(&letter).await;
                (client, posted)
            });
            post.request = Some(request.id());
        }
        self.count(figures);
    }

    /// The next request that has come to its end; never if there are none.
    pub(super) async fn next_done(&mut self) -> Done {
        match self.requests.join_next_with_id().await {
            Some(Ok((request, (client, posted)))) => Done {
                request,
                client: Some(client),
                posted,
            },
            Some(Err(error)) => Done {
                request: error.id(),
                client: None,
                posted: Err(error.into()),
            },
            None => std::future::pending().await,
        }
    }

    pub(super) fn note_done(&mut self, hub: &Hub, done: Done) {
        let Done {
            request,
            client,
            posted,
        } = done;
        let (now_ms, figures) = (hub.now_ms(), &hub.hooks().figures);
        let mut posts = self.posts.iter_mut();
        // Its address may be gone from the settings, or be there again.
        let Some((address, post)) = posts.find(|(_, post)| post.request == Some(request)) else {
            return;
        };
        match posted {
            Ok(()) => {
                if post.outbox.failures() > 0 {
                    tracing::info!(app = %address.0, url = %address.1, "a webhook works again");
                }
                let told = post.outbox.note_taken(now_ms) as u64;
                figures.told.fetch_add(told, Ordering::Relaxed);
            }
            Err(why) => {
                post.outbox.note_failed(now_ms, fastrand::u64(..));
                figures.failures.fetch_add(1, Ordering::Relaxed);
                let line = &hub.complaints().webhooks;
                if let Some(held_back) = line.admit(now_ms) {
                    let (app, url, waiting) = (&address.0, &address.1, post.outbox.len());
                    tracing::warn!(%app, %url, waiting, held_back, "a webhook fails: {why}");
                }
            }
        }
        post.request = None;
        post.client = Some(client.unwrap_or_else(|| Client::new(address.1.clone())));
    }

    /// Lets go of addresses that the settings do not have any more.
    pub(super) fn look_at_settings(&mut self, hub: &Hub) {
        let settings = hub.settings();
        self.posts.retain(|(id, url), _| {
            let app = settings.app_by_id(id);
            app.is_some_and(|app| app.webhooks.iter().any(|hook| hook.url == *url))
        });
        // The certificates of authorities may be others too.
        self.tls = Tls::default();
    }

    /// When something is to be done.
    pub(super) fn next_ms(&self) -> Option<u64> {
        let outboxes = self.posts.values();
        outboxes.filter_map(|post| post.outbox.next_ms()).min()
    }

    /// All has been told, but to those who fail.
    pub(super) fn are_done(&self) -> bool {
        let mut outboxes = self.posts.values().map(|post| &post.outbox);
        self.requests.is_empty() && outboxes.all(|of| of.len() == 0 || of.failures() > 0)
    }

    fn count(&self, figures: &HookFigures) {
        let waiting: usize = self.posts.values().map(|post| post.outbox.len()).sum();
        figures.waiting.store(waiting as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    #[tokio::test]
    async fn an_address_whose_request_panics_is_told_again_later() {
        let hub = Hub::new(Settings::default()).unwrap();
        let mut posts = Posts::default();
        let url = ServerUrl::parse("http://localhost/").unwrap();
        let address: Address = ("1".into(), url);
        let post = posts.post(address.clone());
        assert!(post.outbox.push(HookEvent::ChannelOccupied, "{}", 0));
        assert!(post.outbox.batch(u64::MAX).is_some());
        post.client = None;
        let request = posts.requests.spawn(async { panic!("a fault of ours") });
        posts.post(address.clone()).request = Some(request.id());
        let done = posts.next_done().await;
        posts.note_done(&hub, done);
        let post = posts.post(address);
        assert!(post.client.is_some() && post.request.is_none());
        assert_eq!((post.outbox.len(), post.outbox.failures()), (1, 1));
        assert!(post.outbox.batch(u64::MAX).is_some());
    }
}
