//! What becomes of a request, as the settings, the rules and its token say, whichever half of
//! the core has read it.

use super::asker::Asker;
use super::showing::document;
use crate::config::{self, Deflate, Switch};
use crate::hub::Hub;
use crate::protocol::event_stream::Page;
use crate::protocol::http::{HeadLimits, Reject, Request};
use crate::protocol::opening::{Check, Opening, Settings, TopicTerms, opening, page_that_reads};
use crate::protocol::ws::deflate;

/// How much of its head is read.
pub(super) fn head_limits(settings: &config::Settings) -> HeadLimits {
    HeadLimits {
        bytes_max: settings.head_bytes_max,
        fields_max: settings.head_fields_max,
    }
}

/// What becomes of a request.
pub(super) fn judge(
    hub: &Hub,
    request: &Request<'_>,
    asker: &Asker,
    check: &Check<'_>,
) -> Result<Opening, Reject> {
    with_settings(hub, asker, check, |settings| {
        opening(request, settings, hub.unix_s())
    })
}

/// The same, and the page that may read its refusal.
pub(super) fn judge_and_tell(
    hub: &Hub,
    request: &Request<'_>,
    asker: &Asker,
    check: &Check<'_>,
) -> (Result<Opening, Reject>, Option<Page>) {
    with_settings(hub, asker, check, |settings| {
        let opened = opening(request, settings, hub.unix_s());
        (opened, page_that_reads(request, settings))
    })
}

fn with_settings<T>(
    hub: &Hub,
    asker: &Asker,
    check: &Check<'_>,
    decide: impl FnOnce(&Settings<'_>) -> T,
) -> T {
    let spoils_it = hub.uncompressed().holds(asker.ip, hub.now_ms());
    let deflate = (!spoils_it).then_some(deflate::Policy {
        client_takeover: hub.settings().deflate == Deflate::Takeover,
    });
    let is_app = |key: &str| hub.settings().app_by_key(key).is_some();
    decide(&Settings {
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
        documents: &|path, host| document(hub.settings(), path, host, asker),
    })
}
