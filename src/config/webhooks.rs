//! What `webhooks` of an app say: where its servers are told of which events.

use serde::Deserialize;

use crate::protocol::http::ServerUrl;
use crate::protocol::pusher::{HookEvent, Webhook};

/// The addresses that one app's servers are told at.
const WEBHOOKS_MAX: usize = 16;

/// A table as it stands in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenHook {
    url: String,
    events: Option<Vec<String>>,
}

/// The webhooks of an app. Where nothing is said of events, all are told.
pub(super) fn read_webhooks(written: Vec<WrittenHook>) -> Result<Vec<Webhook>, String> {
    if written.len() > WEBHOOKS_MAX {
        return Err(format!("webhooks: allowed: {WEBHOOKS_MAX} at most"));
    }
    let mut read = Vec::<Webhook>::new();
    for WrittenHook { url, events } in written {
        // What is wrong may be a password in it: it is not shown.
        let url = ServerUrl::parse(&url).map_err(|fault| {
            format!(
                "webhooks, number {}: url is not allowed: {fault}",
                read.len() + 1
            )
        })?;
        if read.iter().any(|known| known.url == url) {
            return Err(format!("webhooks: {url} is there twice with the same path"));
        }
        let events = match events {
            None => HookEvent::ALL.to_vec(),
            Some(names) => names
                .iter()
                .map(|name| event(name))
                .collect::<Result<_, _>>()?,
        };
        read.push(Webhook { url, events });
    }
    Ok(read)
}

fn event(name: &str) -> Result<HookEvent, String> {
    HookEvent::parse(name).ok_or_else(|| {
        let allowed = HookEvent::ALL.map(HookEvent::name).join(", ");
        format!("webhooks: events: {name:?} is not allowed, allowed: {allowed}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct App {
        webhooks: Vec<WrittenHook>,
    }

    fn read(webhooks: &str) -> Result<Vec<Webhook>, String> {
        let app = toml::from_str::<App>(&format!("webhooks = [{webhooks}]"));
        read_webhooks(app.map_err(|error| error.to_string())?.webhooks)
    }

    #[test]
    fn they_have_addresses_and_may_name_events() {
        let hooks = read(
            "{ url = \"https://a.example/x\" }, \
             { url = \"http://localhost:1/\", events = [\"cache_miss\"] }",
        );
        let hooks = hooks.unwrap();
        assert_eq!(hooks[0].url.text(), "https://a.example/x");
        assert_eq!(hooks[0].events, HookEvent::ALL);
        assert_eq!(hooks[1].events, [HookEvent::CacheMiss]);
        assert!(read("").unwrap().is_empty());
    }

    #[test]
    fn what_is_not_right_is_told_without_what_may_be_secret() {
        for (hooks, told) in [
            ("{}", "missing field `url`"),
            (
                "{ url = \"x\" }",
                "webhooks, number 1: url is not allowed: it must begin with",
            ),
            (
                "{ url = \"http://a.example/\" }",
                "http:// is for this machine alone",
            ),
            ("{ url = \"https://a:b@c/\" }", "no user and password"),
            (
                "{ url = \"https://a/x\" }, { url = \"https://a/x\" }",
                "https://a is there twice",
            ),
            (
                "{ url = \"https://a\", events = [\"subscription_count\"] }",
                "\"subscription_count\" is not allowed, allowed: channel_occupied,",
            ),
            (
                "{ url = \"https://a\", secret = \"s\" }",
                "unknown field `secret`",
            ),
        ] {
            let refused = read(hooks).unwrap_err();
            assert!(refused.contains(told), "{refused}");
            assert!(!refused.contains("a:b@"), "{refused}");
        }
        let many = (0..=WEBHOOKS_MAX).map(|at| format!("{{ url = \"https://a/{at}\" }}"));
        let many = read(&many.collect::<Vec<_>>().join(", ")).unwrap_err();
        assert!(many.contains("webhooks: allowed: 16 at most"), "{many}");
    }
}
