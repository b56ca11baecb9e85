//! What a request becomes: a WebSocket, a stream of events, an answer, or a refusal.
//!
//! The decision alone, without I/O and clock: whoever reads requests asks here, and does as
//! it is told. New ways to talk hook in here.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;

use super::event_stream::{
    EventStream, Page, Wanted, asks_for_events, is_preflight, negotiate_events, preflight,
};
use super::http::bearer;
use super::http::hosts::Via;
use super::http::{
    APP_PATH, CENTRIFUGO_PATH, Document, Hosts, Method, Origins, Reject, Request, Terms, Upgrade,
    is_upgrade, negotiate, negotiate_app, negotiate_centrifugo, options_response,
};
use super::mercure::{MERCURE_PATH, asks_for_updates, is_update, negotiate_mercure};
use super::rights::{Action, Denied, Rights, Rules, TokenFault};
use super::topic::TopicName;
use super::ws::deflate;

/// Where load balancers ask whether the server lives.
const HEALTH_PATH: &str = "/healthz";

/// What the decision depends on beside the request.
pub struct Settings<'a> {
    /// Which pages may connect.
    pub origins: &'a Origins,
    /// Which names in `Host` are answered to.
    pub hosts: &'a Hosts,
    /// How the request has come.
    pub via: Via,
    /// Whose request it is is known. It is not where a trusted proxy has left out to say so:
    /// then it may ask how the server does, and read what is the same for all.
    pub is_named: bool,
    /// The server API is served here too.
    pub api: bool,
    /// Centrifugo's client protocol is spoken.
    pub centrifugo: bool,
    /// Topics are to be had as Server-Sent Events.
    pub event_streams: bool,
    /// Mercure's protocol is spoken.
    pub mercure: bool,
    /// As many of them may be had as one stream.
    pub topics_max: usize,
    /// Whether there is an app with a key, if there are apps.
    pub apps: Option<&'a Apps<'a>>,
    /// Who may do what with topics.
    pub rules: &'a Rules,
    /// The cookie that may bear a token.
    pub cookie: Option<&'a str>,
    /// Checks a token; without keys each is [`TokenFault::NoKeys`].
    pub check: &'a Check<'a>,
    /// What holds for the topic of that name.
    pub topics: &'a Topics<'a>,
    /// How permessage-deflate is spoken where the topic has it, if at all with this client.
    pub deflate: Option<deflate::Policy>,
    /// There may be a topic that has it. A client that names its topics later is told before.
    pub deflates_somewhere: bool,
    /// What is there to be read at a path, for a client that has called the server so.
    pub documents: &'a Documents<'a>,
}

/// Tells what a token gives.
pub type Check<'a> = dyn Fn(&[u8]) -> Result<Arc<Rights>, TokenFault> + 'a;

/// Tells whether there is an app of the Pusher Channels protocol with that key.
pub type Apps<'a> = dyn Fn(&str) -> bool + 'a;

/// Tells what is there to be read at a path, for a client that has called the server so.
pub type Documents<'a> = dyn Fn(&str, &str) -> Option<Document> + 'a;

/// Tells what holds for a topic.
pub type Topics<'a> = dyn Fn(&TopicName) -> TopicTerms + 'a;

/// How a topic may be opened, whoever asks.
#[derive(Debug, Clone, Copy)]
pub struct TopicTerms {
    /// permessage-deflate may be agreed on.
    pub deflate: bool,
    /// People may talk there.
    pub chat: bool,
    /// The built-in page may open it.
    pub page: bool,
}

/// What a request becomes.
#[derive(Debug)]
pub enum Opening {
    /// A WebSocket. Its 101 says where it begins, which is for the topic to tell.
    WebSocket(Upgrade),
    /// A stream of events. Its head, too, says where it begins.
    EventStream(Box<EventStream>),
    /// The answer, which ends the connection.
    Answer(Bytes),
    /// Something that the server API answers: the connection is for its thread from here on.
    Api,
}

/// Decides what becomes of the request that `head` is; `now_s` is the time in seconds since
/// 1970.
///
/// # Errors
/// The refusal to answer with.
pub fn opening(head: &Request<'_>, settings: &Settings<'_>, now_s: u64) -> Result<Opening, Reject> {
    let terms = Terms {
        head_only: head.is_head(),
        now_s,
    };
    let opens = is_upgrade(head);
    let is_update = settings.mercure && is_update(head);
    let for_api = settings.api && !opens && (is_for_api(head.path()) || is_update);
    if !for_api {
        head.check_plain()?;
    }
    // These say nothing about anybody. Who asks is often a machine without a name for us.
    if head.method() == Method::Options && !opens && !for_api {
        let is_hub = settings.mercure && head.path() == MERCURE_PATH;
        let methods = match settings.api && is_hub {
            true => "GET, POST",
            false => "GET",
        };
        let page = page_of(head, settings).filter(|_| settings.event_streams || is_hub);
        return Ok(Opening::Answer(match page {
            Some(page) if is_preflight(head) => preflight(&page, methods, terms),
            _ => options_response(terms),
        }));
    }
    if head.path() == HEALTH_PATH && !opens {
        return Ok(Opening::Answer(
            HEALTHY.response(head.values("if-none-match"), terms),
        ));
    }
    // Without any Host it was no browser.
    if !head.host().is_empty() && !settings.hosts.allow(head.host(), settings.via) {
        return Err(Reject::Host);
    }
    let subscribes = !opens && !for_api && subscribes(head, settings);
    let streams = !opens && !for_api && streams(head, settings);
    if (opens || for_api || streams) && !settings.is_named {
        return Err(Reject::ProxyHeader);
    }
    if for_api {
        return Ok(Opening::Api);
    }
    if opens {
        let key = head.path().strip_prefix(APP_PATH);
        if let (Some(key), Some(apps)) = (key, settings.apps) {
            let (origins, deflate) = (settings.origins, settings.deflate);
            let mut upgrade = negotiate_app(head, origins, deflate, key, apps)?;
            if !settings.deflates_somewhere {
                upgrade.deflate = None;
            }
            return Ok(Opening::WebSocket(upgrade));
        }
        let upgrade = match head.path() {
            CENTRIFUGO_PATH if settings.centrifugo => {
                negotiate_centrifugo(head, settings.origins, settings.deflate)
            }
            _ => negotiate(head, settings.origins, settings.deflate),
        };
        return authorize(head, upgrade?, settings).map(Opening::WebSocket);
    }
    if streams {
        let negotiate = match subscribes {
            true => negotiate_mercure,
            false => negotiate_events,
        };
        let stream = negotiate(head, settings.origins, settings.topics_max)?;
        let stream = authorize_stream(head, stream, settings)?;
        return Ok(Opening::EventStream(Box::new(stream)));
    }
    if let Some(document) = (settings.documents)(head.path(), head.host()) {
        return Ok(Opening::Answer(
            document.response(head.values("if-none-match"), terms),
        ));
    }
    match TopicName::from_path(head.path()) {
        // A topic is there for those who say how they want it.
        Ok(_) => Err(Reject::NoUpgrade {
            streams: settings.event_streams,
        }),
        Err(_) => Err(Reject::NotFound),
    }
}

/// The page of another origin that asks for a stream, if it may read what is answered: it is to
/// see why it is refused, too.
pub fn page_that_reads(head: &Request<'_>, settings: &Settings<'_>) -> Option<Page> {
    let is_reader = !is_upgrade(head) && streams(head, settings);
    is_reader.then(|| page_of(head, settings)).flatten()
}

/// It asks for a stream, by one of the protocols that have some.
fn streams(head: &Request<'_>, settings: &Settings<'_>) -> bool {
    settings.event_streams && asks_for_events(head) || subscribes(head, settings)
}

fn subscribes(head: &Request<'_>, settings: &Settings<'_>) -> bool {
    settings.mercure && asks_for_updates(head)
}

/// The path belongs to the server API, wherever that is served.
pub fn is_for_api(path: &str) -> bool {
    matches!(
        path,
        "/topics" | "/messages" | "/connections" | "/openapi.json"
    ) || path.starts_with("/topics/")
        || path.starts_with("/api/")
        || path.starts_with("/apps/")
}

/// Gives an opening the rights of the token that it bears, and sees whether they suffice.
fn authorize(
    head: &Request<'_>,
    mut upgrade: Upgrade,
    settings: &Settings<'_>,
) -> Result<Upgrade, Reject> {
    upgrade.rights = rights_borne(head, settings)?;
    let Some(topic) = &upgrade.topic else {
        if !settings.deflates_somewhere {
            upgrade.deflate = None;
        }
        return Ok(upgrade);
    };
    let rights = upgrade.rights.as_deref();
    let may = |action| settings.rules.may(rights, action, topic.as_str());
    let need = |action| may(action).map_err(|denied| refusal(action, denied));
    need(Action::Subscribe)?;
    if upgrade.since.is_some() {
        need(Action::History)?;
    }
    let terms = (settings.topics)(topic);
    if upgrade.from_page && !terms.page {
        return Err(Reject::Page);
    }
    if !terms.deflate {
        upgrade.deflate = None;
    }
    let may_publish = may(Action::Publish).is_ok();
    upgrade.read_only = !upgrade.dialect.may_speak(may_publish, terms.chat);
    Ok(upgrade)
}

/// The same for a stream of events.
fn authorize_stream(
    head: &Request<'_>,
    mut stream: EventStream,
    settings: &Settings<'_>,
) -> Result<EventStream, Reject> {
    stream.rights = rights_borne(head, settings)?;
    stream.page = page_of(head, settings);
    let rights = stream.rights.as_deref();
    for wanted in &mut stream.wanted {
        let Wanted { topic, since, .. } = &*wanted;
        let need = |action| {
            let may = settings.rules.may(rights, action, topic.as_str());
            may.map_err(|denied| refusal(action, denied))
        };
        need(Action::Subscribe)?;
        if since.is_some() {
            match need(Action::History) {
                // Browsers come back of their own accord, and would never again after a
                // refusal.
                Err(_) if stream.comes_back => wanted.withheld = true,
                may => may?,
            }
        }
    }
    Ok(stream)
}

/// What the token gives that a request bears, if it bears one.
fn rights_borne(
    head: &Request<'_>,
    settings: &Settings<'_>,
) -> Result<Option<Arc<Rights>>, Reject> {
    let borne = match settings.mercure && head.path() == MERCURE_PATH {
        true => bearer::mercure_token(head, settings.origins, settings.cookie)?,
        false => bearer::token(head, settings.origins, settings.cookie)?,
    };
    let Some(borne) = borne else {
        return Ok(None);
    };
    match (settings.check)(&borne.token) {
        Ok(rights) => Ok(Some(rights)),
        Err(TokenFault::NoKeys) if borne.by_header => Ok(None),
        Err(fault) => Err(Reject::Token(fault)),
    }
}

fn refusal(action: Action, denied: Denied) -> Reject {
    match denied {
        Denied::NeedsToken => Reject::TokenMissing { action },
        Denied::Forbidden => Reject::Denied { action },
    }
}

/// The page of another origin that asks, if it may read answers.
fn page_of(head: &Request<'_>, settings: &Settings<'_>) -> Option<Page> {
    let origin = head.single("origin").ok()??;
    let (origins, host) = (settings.origins, head.host());
    let is_let_in = origins.allow(origin, host) && settings.hosts.allow(host, settings.via);
    Some(Page {
        origin: str::from_utf8(origin)
            .ok()
            .filter(|_| is_let_in)?
            .to_owned(),
        credentials: (settings.cookie.is_some() || settings.mercure && head.path() == MERCURE_PATH)
            && origins.name(origin, host),
    })
}

static HEALTHY: std::sync::LazyLock<Document> = std::sync::LazyLock::new(|| Document {
    content_type: "text/plain; charset=utf-8",
    body: Cow::Borrowed(b"ok\n"),
    etag: None,
    headers: vec![("Cache-Control", "no-store".into())],
});

#[cfg(test)]
mod tests;
