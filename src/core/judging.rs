//! What becomes of a request, as the settings, the rules and its token say, whichever half of
//! the core has read it.

use std::net::IpAddr;

use crate::config::{self, Deflate, Switch};
use crate::hub::Hub;
use crate::page;
use crate::protocol::event_stream::Page;
use crate::protocol::http::hosts::Via;
use crate::protocol::http::{Document, Reject, Request};
use crate::protocol::opening::{Check, Opening, Settings, TopicTerms, opening, page_that_reads};
use crate::protocol::ws::deflate;

/// Whose request it is, and where it has come in.
pub(super) struct Asker {
    pub(super) ip: IpAddr,
    pub(super) via: Via,
    /// Whose it is is known.
    pub(super) is_named: bool,
    /// It has come over TLS.
    pub(super) tls: bool,
    /// The server API is served there.
    pub(super) api: bool,
}

/// By what way somebody comes from that address.
pub(super) fn via(settings: &config::Settings, ip: IpAddr) -> Via {
    match ip {
        ip if settings.is_trusted_proxy(ip) => Via::Proxy,
        ip if ip.is_loopback() => Via::Loopback,
        _ => Via::Network,
    }
}

/// What becomes of a request, and the page that may read its refusal.
pub(super) fn judge(
    hub: &Hub,
    request: &Request<'_>,
    asker: &Asker,
    check: &Check<'_>,
) -> (Result<Opening, Reject>, Option<Page>) {
    let spoils_it = hub.uncompressed().holds(asker.ip, hub.now_ms());
    let deflate = (!spoils_it).then_some(deflate::Policy {
        client_takeover: hub.settings().deflate == Deflate::Takeover,
    });
    let is_app = |key: &str| hub.settings().app_by_key(key).is_some();
    let settings = Settings {
        origins: match asker.tls {
            true => hub.origins_over_tls(),
            false => hub.origins(),
        },
        hosts: hub.hosts(),
        via: asker.via,
        is_named: asker.is_named,
        api: asker.api,
        centrifugo: hub.settings().centrifugo == Switch::On,
        event_streams: hub.settings().event_streams == Switch::On,
        mercure: hub.settings().mercure == Switch::On,
        topics_max: hub.settings().topics_per_connection_max,
        apps: (!hub.settings().apps.is_empty()).then_some(&is_app),
        rules: hub.rules(),
        cookie: hub.settings().token_cookie.as_deref(),
        check,
        topics: &|topic| {
            let policy = hub.policy_named(topic.as_str());
            TopicTerms {
                deflate: policy.deflate,
                chat: policy.chat,
                page: policy.page,
            }
        },
        deflate,
        deflates_somewhere: hub.deflates_somewhere(),
        documents: match asker.tls {
            true => page_over_tls,
            false => page_in_the_clear,
        },
    };
    let opened = opening(request, &settings, hub.unix_s());
    (opened, page_that_reads(request, &settings))
}

fn page_over_tls(path: &str, host: &str) -> Option<Document> {
    page_at(path, host, true)
}

fn page_in_the_clear(path: &str, host: &str) -> Option<Document> {
    page_at(path, host, false)
}

/// The file of the page at `path`, for a client that has called the server `host`.
fn page_at(path: &str, host: &str, over_tls: bool) -> Option<Document> {
    let asset = page::find(path)?;
    let fixed = page::HEADERS.map(|(name, value)| (name, value.into()));
    let mut headers = vec![(
        "Content-Security-Policy",
        page::policy(host, over_tls).into(),
    )];
    headers.extend(fixed);
    Some(Document {
        content_type: asset.content_type,
        body: asset.body,
        etag: Some(&asset.etag),
        headers,
    })
}
