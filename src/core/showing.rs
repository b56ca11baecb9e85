//! What browsers read at the public listeners: the files of the built-in page, and what the
//! page is told of this server, so that it shows only what would work.
//!
//! The files are in `page`. Called by `judging` for a plain GET.

use std::borrow::Cow;
use std::net::SocketAddr;

use serde::Serialize;

use super::asker::Asker;
use crate::config::{Settings, Switch};
use crate::page::{self, OFFER_PATH};
use crate::protocol::http::Document;
use crate::protocol::http::hosts::Via;

/// Apps that the page is told of; more are named to whoever runs them.
const APPS_MAX: usize = 256;
/// What stands for a key that is not told.
const HIDDEN_KEY: &str = "APP_KEY";

/// What this server offers to clients of a topic.
#[derive(Debug, Serialize)]
struct Offer<'a> {
    centrifugo: bool,
    event_streams: bool,
    apps: Vec<AppOffer<'a>>,
    /// How messages are published over HTTP, where the page's reader gets there.
    http: Option<HttpOffer>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct AppOffer<'a> {
    key: &'a str,
    prefix: &'a str,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct HttpOffer {
    /// With the slash at its end. Relative where it is the page's own server.
    url: String,
    /// What a request must bear: `key`, `token`, or nothing.
    secret: Option<&'static str>,
}

/// What is to be read at `path`, for somebody who has called the server `host`.
pub(super) fn document(
    settings: &Settings,
    path: &str,
    host: &str,
    asker: &Asker,
) -> Option<Document> {
    let (content_type, body, etag) = match page::find(path) {
        Some(asset) => (
            asset.content_type,
            Cow::Borrowed(asset.body),
            Some(asset.etag.as_str()),
        ),
        None if path == OFFER_PATH => {
            // Only who is at this machine is told what is at this machine.
            let is_own = asker.via == Via::Loopback && settings.is_for_this_machine();
            let offer = offer(settings, asker.api, is_own);
            let body = simd_json::to_vec(&offer).expect("it is made of what JSON has");
            ("application/json", Cow::Owned(body), None)
        }
        None => return None,
    };
    let policy = page::policy(host, asker.tls);
    let mut headers = vec![("Content-Security-Policy", policy.into())];
    headers.extend(page::HEADERS.map(|(name, value)| (name, value.into())));
    Some(Document {
        content_type,
        body,
        etag,
        headers,
    })
}

/// `api`: the server API is where the guest asks; `is_own`: the guest is of this machine, and
/// nobody else gets there.
fn offer(settings: &Settings, api: bool, is_own: bool) -> Offer<'_> {
    let apps = settings.apps.iter().map(|app| AppOffer {
        key: &app.key,
        prefix: &app.prefix,
    });
    let apps = match is_own {
        true => apps.take(APPS_MAX).collect(),
        // Whose they are, and where their topics begin, is none of a stranger's business. Told of
        // one whose topics are its channels as they are, nothing else is needed but its key.
        false if settings.apps.iter().any(|app| app.prefix.is_empty()) => vec![AppOffer {
            key: HIDDEN_KEY,
            prefix: "",
        }],
        false => Vec::new(),
    };
    let url = match (api, is_own) {
        (true, _) => Some("./".to_owned()),
        (false, true) => back_address(settings).map(|address| match settings.admin_tls {
            Switch::On => format!("https://{address}/"),
            Switch::Off => format!("http://{address}/"),
        }),
        (false, false) => None,
    };
    Offer {
        centrifugo: settings.centrifugo == Switch::On,
        event_streams: settings.event_streams == Switch::On,
        apps,
        http: url.map(|url| HttpOffer {
            url,
            secret: secret(settings),
        }),
    }
}

/// Where programs of this machine publish over HTTP. What port a 0 has become is not known here.
fn back_address(settings: &Settings) -> Option<SocketAddr> {
    let places = settings.admin.iter().chain(&settings.api);
    let mut addresses = places.filter_map(|place| place.tcp());
    addresses.find(|address| address.ip().is_loopback() && address.port() != 0)
}

fn secret(settings: &Settings) -> Option<&'static str> {
    if settings.api_key_file.is_some() {
        Some("key")
    } else {
        settings.admin_token_file.as_ref().map(|_| "token")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Place;

    fn settings() -> Settings {
        Settings {
            admin: vec![Place::parse("unix:/a").unwrap(), place("127.0.0.1:8001")],
            ..Settings::default()
        }
    }

    fn place(word: &str) -> Place {
        Place::parse(word).unwrap()
    }

    #[test]
    fn who_is_at_this_machine_is_told_where_to_publish() {
        let settings = settings();
        let url = |api, is_own| offer(&settings, api, is_own).http.map(|http| http.url);
        assert_eq!(url(false, true).unwrap(), "http://127.0.0.1:8001/");
        assert_eq!(url(false, false), None);
        for is_own in [true, false] {
            assert_eq!(url(true, is_own).unwrap(), "./");
        }
    }

    #[test]
    fn an_address_without_a_port_is_none() {
        let settings = Settings {
            admin: vec![place("127.0.0.1:0"), place("10.0.0.1:8001")],
            ..Settings::default()
        };
        assert!(offer(&settings, false, true).http.is_none());
    }

    #[test]
    fn what_a_request_must_bear_is_told_and_no_secret_is() {
        let open = settings();
        assert_eq!(secret(&open), None);
        let guarded = Settings {
            admin_token_file: Some("/etc/token".into()),
            ..settings()
        };
        assert_eq!(secret(&guarded), Some("token"));
        let keyed = Settings {
            api_key_file: Some("/etc/key".into()),
            ..guarded
        };
        let told = simd_json::to_string(&offer(&keyed, false, true)).unwrap();
        assert!(told.contains(r#""secret":"key""#), "{told}");
        assert!(!told.contains("/etc"), "{told}");
    }

    #[test]
    fn strangers_are_not_told_whose_apps_there_are() {
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("secret");
        std::fs::write(&secret, "a secret of more than thirty-two bytes").unwrap();
        let with = |prefix: &str| {
            let app = format!(
                "[[apps]]\nid = \"1\"\nkey = \"of-anna\"\nprefix = {prefix:?}\nsecret_files = {secret:?}\n"
            );
            let file = folder.path().join("fanfare.toml");
            std::fs::write(&file, app).unwrap();
            crate::config::check_file(&file).unwrap()
        };
        for (prefix, to_strangers) in [
            ("", Some(HIDDEN_KEY)),
            // Its topics cannot be told from others, and lines for those would lead nowhere.
            ("anna/", None),
        ] {
            let settings = with(prefix);
            let apps = |is_own| offer(&settings, false, is_own).apps;
            let whole = AppOffer {
                key: "of-anna",
                prefix,
            };
            assert_eq!(apps(true), [whole]);
            let hidden = to_strangers.map(|key| AppOffer { key, prefix: "" });
            assert_eq!(apps(false), Vec::from_iter(hidden));
        }
        assert!(offer(&Settings::default(), false, false).apps.is_empty());
    }
}
