//! Settings that contradict each other: each rule here is about two or more of
//! them.
//!
//! The range of a single setting stands in the table and is checked in `value`.
//! Called by `load` once all values are there.

use super::kind::Size;
use super::{Keep, Place, ProxyHeader, Settings};

/// Two settings that contradict each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Conflict {
    /// The settings involved, the one to change first.
    pub keys: Vec<&'static str>,
    /// A whole sentence.
    pub sentence: String,
}

/// Everything that does not fit together, empty if all is well.
pub(super) fn conflicts(settings: &Settings) -> Vec<Conflict> {
    let mut found = Vec::new();
    let mut require = |holds: bool, keys: &[&'static str], sentence: &dyn Fn() -> String| {
        if !holds {
            found.push(Conflict {
                keys: keys.to_vec(),
                sentence: sentence(),
            });
        }
    };
    let Settings {
        log_bytes_max,
        lag_bytes_max,
        message_bytes_max,
        ..
    } = *settings;
    let size = |bytes: usize| Size(bytes as u64).to_string();

    // The log must still hold what the slowest allowed subscriber has yet to be sent.
    let log_bytes_min = lag_bytes_max.saturating_add(message_bytes_max);
    // And the longest message in each format that a topic's readers may ask for: as it
    // is, compressed with two windows, and as a chat's line.
    let views_bytes_min = message_bytes_max.saturating_mul(4);
    require(
        log_bytes_max >= views_bytes_min,
        &["log_bytes_max", "message_bytes_max"],
        &|| {
            format!(
                "log_bytes_max ({}) must be at least four times message_bytes_max ({})",
                size(log_bytes_max),
                size(views_bytes_min)
            )
        },
    );
    require(
        log_bytes_max >= log_bytes_min,
        &["log_bytes_max", "lag_bytes_max", "message_bytes_max"],
        &|| {
            format!(
                "log_bytes_max ({}) must be at least lag_bytes_max + message_bytes_max ({})",
                size(log_bytes_max),
                size(log_bytes_min)
            )
        },
    );
    require(
        settings.log_bytes_total_max >= log_bytes_max,
        &["log_bytes_total_max", "log_bytes_max"],
        &|| {
            format!(
                "log_bytes_total_max ({}) must be at least log_bytes_max ({})",
                size(settings.log_bytes_total_max),
                size(log_bytes_max)
            )
        },
    );
    require(
        settings.store.is_some() || settings.keep != Keep::Disk,
        &["keep", "store"],
        &|| "keep = \"disk\" needs store, the folder for it".into(),
    );
    // The store may hold more than memory.
    require(
        settings.keep == Keep::Disk || settings.retain_bytes_max <= log_bytes_max,
        &["retain_bytes_max", "log_bytes_max"],
        &|| {
            format!(
                "retain_bytes_max ({}) must be at most log_bytes_max ({})",
                size(settings.retain_bytes_max),
                size(log_bytes_max)
            )
        },
    );
    for (at, rule) in settings.topics.iter().enumerate() {
        let policy = settings.policy(Some(rule));
        require(
            settings.store.is_some() || policy.keep != Keep::Disk || settings.keep == Keep::Disk,
            &["topics", "store"],
            &|| {
                format!(
                    "topics, number {}: keep = \"disk\" needs store, the folder for it",
                    at + 1
                )
            },
        );
        let retain_bytes_max = policy.retain_bytes_max;
        // Where the rule leaves both out, what is said above is enough.
        let is_said = retain_bytes_max == settings.retain_bytes_max && policy.keep == settings.keep;
        let fits = policy.keep == Keep::Disk || retain_bytes_max <= log_bytes_max || is_said;
        require(fits, &["topics", "log_bytes_max"], &|| {
            format!(
                "topics, number {}: retain_bytes_max ({}) must be at most log_bytes_max ({})",
                at + 1,
                size(retain_bytes_max),
                size(log_bytes_max)
            )
        });
    }
    require(
        settings.partial_bytes_max >= message_bytes_max,
        &["partial_bytes_max", "message_bytes_max"],
        &|| {
            format!(
                "partial_bytes_max ({}) must be at least message_bytes_max ({})",
                size(settings.partial_bytes_max),
                size(message_bytes_max)
            )
        },
    );
    // A peer that is never pinged before its time is up would be closed for being quiet.
    require(
        settings.ping_interval_ms < settings.idle_ms_max,
        &["ping_interval_ms", "idle_ms_max"],
        &|| {
            format!(
                "ping_interval_ms ({}) must be less than idle_ms_max ({})",
                settings.ping_interval_ms, settings.idle_ms_max
            )
        },
    );
    require(
        settings.proxy_header == ProxyHeader::None || !settings.trusted_proxies.is_empty(),
        &["proxy_header", "trusted_proxies"],
        &|| "proxy_header needs trusted_proxies: nobody else's word is taken".into(),
    );
    let open = |places: &[Place]| places.iter().any(|place| !place.is_local());
    let tokenless = settings.admin_token_file.is_none();
    require(
        !(tokenless && open(&settings.admin)),
        &["admin", "admin_token_file"],
        &|| {
            "admin beyond loopback needs admin_token_file, a file with a secret token \
             (metrics alone needs none)"
                .into()
        },
    );
    require(
        settings.guards_api() || !open(&settings.api),
        &["api", "api_key_file", "admin_token_file"],
        &|| {
            "api beyond loopback needs api_key_file or admin_token_file, a file with a secret \
             (metrics alone needs none)"
                .into()
        },
    );
    found.extend(overlaps(settings));
    found.extend(settings.tls_conflicts());
    found.extend(settings.cluster_conflicts());
    found.extend(settings.app_conflicts());
    found.extend(settings.openness());
    found.extend(settings.api_openness());
    found
}

/// Addresses that cannot all be had. Those beside the public ones may have
/// several roles, and the public ones that of the server API; they are served together.
fn overlaps(settings: &Settings) -> Vec<Conflict> {
    let roles = [
        ("listen", &settings.listen),
        ("listen_tls", &settings.listen_tls),
        ("admin", &settings.admin),
        ("api", &settings.api),
        ("metrics", &settings.metrics),
    ];
    let all: Vec<(&'static str, &Place)> = roles
        .into_iter()
        .flat_map(|(key, places)| places.iter().map(move |place| (key, place)))
        .collect();
    let mut found = Vec::new();
    for (at, (key, place)) in all.iter().enumerate() {
        for (other_key, other) in &all[..at] {
            let is_public = other_key.starts_with("listen");
            let roles_fit = !is_public || *key == "api";
            let may_share = key != other_key && roles_fit && place == other;
            if may_share || !place.overlaps(other) {
                continue;
            }
            let sentence = match (key == other_key, place == other) {
                (true, true) => format!("{key} names {place} twice"),
                (true, false) => {
                    format!("{key} names {place} and {other}, of which one is in the other")
                }
                (false, _) => format!(
                    "{key} ({place}) and {other_key} ({other}) cannot share a port: give {key} another"
                ),
            };
            found.push(Conflict {
                keys: vec![key, other_key],
                sentence,
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::rights::Grant;

    fn sentences(change: impl FnOnce(&mut Settings)) -> Vec<String> {
        let mut settings = Settings::default();
        change(&mut settings);
        conflicts(&settings)
            .into_iter()
            .map(|conflict| conflict.sentence)
            .collect()
    }

    #[test]
    fn a_log_smaller_than_the_allowed_lag_is_a_conflict() {
        assert_eq!(
            sentences(|settings| settings.log_bytes_max = 8 << 20),
            ["log_bytes_max (8 MiB) must be at least lag_bytes_max + message_bytes_max (9 MiB)"]
        );
    }

    #[test]
    fn each_pair_of_limits_is_checked() {
        assert_eq!(
            sentences(|settings| {
                settings.message_bytes_max = 5 << 20;
                settings.partial_bytes_max = 5 << 20;
            }),
            ["log_bytes_max (16 MiB) must be at least four times message_bytes_max (20 MiB)"]
        );
        assert_eq!(
            sentences(|settings| settings.ping_interval_ms = settings.idle_ms_max),
            ["ping_interval_ms (120000) must be less than idle_ms_max (120000)"]
        );
        assert_eq!(
            sentences(|settings| settings.retain_bytes_max = settings.log_bytes_max + 1),
            ["retain_bytes_max (16777217) must be at most log_bytes_max (16 MiB)"]
        );
        assert_eq!(
            sentences(|settings| settings.log_bytes_total_max = 1 << 20),
            ["log_bytes_total_max (1 MiB) must be at least log_bytes_max (16 MiB)"]
        );
        assert_eq!(
            sentences(|settings| settings.partial_bytes_max = 1 << 10),
            ["partial_bytes_max (1 KiB) must be at least message_bytes_max (1 MiB)"]
        );
    }

    #[test]
    fn what_is_kept_on_disk_needs_a_store_and_may_be_more_than_memory_holds() {
        let rule = |words: &str| vec![toml::from_str(&format!("match = \"a\"\n{words}")).unwrap()];
        let on_disk = "keep = \"disk\"\nretain_bytes_max = \"1TiB\"";
        assert_eq!(
            sentences(|settings| settings.keep = Keep::Disk),
            ["keep = \"disk\" needs store, the folder for it"]
        );
        assert_eq!(
            sentences(|settings| settings.topics = rule(on_disk)),
            ["topics, number 1: keep = \"disk\" needs store, the folder for it"]
        );
        let with_store = sentences(|settings| {
            settings.store = Some("/store".into());
            settings.topics = rule(on_disk);
        });
        assert_eq!(with_store, [""; 0]);
        let in_memory = sentences(|settings| {
            settings.store = Some("/store".into());
            settings.keep = Keep::Disk;
            settings.retain_bytes_max = 1 << 40;
            settings.topics = rule("keep = \"memory\"");
        });
        assert_eq!(in_memory.len(), 1);
        assert!(in_memory[0].starts_with("topics, number 1: retain_bytes_max (1 TiB)"));
    }

    #[test]
    fn a_proxy_header_needs_a_proxy() {
        let alone = sentences(|settings| settings.proxy_header = ProxyHeader::ProxyProtocol);
        assert_eq!(alone.len(), 1);
        let with_proxy = sentences(|settings| {
            settings.proxy_header = ProxyHeader::ProxyProtocol;
            settings.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
            settings.anonymous = everything();
        });
        assert_eq!(with_proxy, [""; 0]);
    }

    /// Says who may do what.
    fn everything() -> Vec<Grant> {
        let grant = toml::from_str("match = \"**\"");
        vec![grant.unwrap()]
    }

    fn places(words: &[&str]) -> Vec<Place> {
        let place = |word: &&str| Place::parse(word).unwrap();
        words.iter().map(place).collect()
    }

    #[test]
    fn who_may_publish_from_beyond_loopback_needs_a_token() {
        let open = places(&["0.0.0.0:8001"]);
        let of_admin = sentences(|settings| settings.admin = open.clone());
        assert_eq!(of_admin.len(), 1);
        assert!(of_admin[0].starts_with("admin ") && of_admin[0].contains("admin_token_file"));
        let of_api = sentences(|settings| {
            settings.admin = places(&["unix:/a"]);
            settings.api = open.clone();
        });
        assert!(of_api[0].starts_with("api ") && of_api.len() == 1);
        let with_key = sentences(|settings| {
            settings.admin = places(&["unix:/a"]);
            settings.api = open.clone();
            settings.api_key_file = Some("key".into());
        });
        assert_eq!(with_key, [""; 0]);
        let with_token = sentences(|settings| {
            settings.admin = open.clone();
            settings.admin_token_file = Some("token".into());
        });
        assert_eq!(with_token, [""; 0]);
        let figures_alone = sentences(|settings| {
            settings.admin.clear();
            settings.metrics = open;
        });
        assert_eq!(figures_alone, [""; 0]);
        for loopback in ["[::1]:1", "[::ffff:127.0.0.1]:1", "127.9.9.9:1", "unix:/a"] {
            let admin = places(&[loopback]);
            assert_eq!(sentences(|settings| settings.admin = admin), [""; 0]);
        }
    }

    #[test]
    fn the_server_api_on_a_public_address_needs_a_secret_where_others_get_in() {
        let public = |change: fn(&mut Settings)| {
            sentences(|settings| {
                settings.api = settings.listen.clone();
                settings.anonymous = everything();
                change(settings);
            })
        };
        assert_eq!(public(|_| {}), [""; 0]);
        let proxied = public(|settings| {
            settings.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
        });
        assert_eq!(proxied.len(), 1);
        assert!(proxied[0].contains("trusted_proxies") && proxied[0].contains("api_key_file"));
        let with_key = public(|settings| {
            settings.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
            settings.api_key_file = Some("key".into());
        });
        assert_eq!(with_key, [""; 0]);
    }

    #[test]
    fn addresses_that_cannot_all_be_had_are_conflicts() {
        let shared = sentences(|settings| settings.admin = settings.listen.clone());
        assert_eq!(
            shared,
            [
                "admin (127.0.0.1:8000) and listen (127.0.0.1:8000) cannot share a port: \
              give admin another"
            ]
        );
        let twice = sentences(|settings| settings.listen = places(&["unix:/a", "unix:/a"]));
        assert_eq!(twice, ["listen names unix:/a twice"]);
        let public = |words: &[&str]| {
            sentences(|settings| {
                settings.listen = places(words);
                settings.anonymous = everything();
            })
        };
        let wild = public(&["127.0.0.1:1", "0.0.0.0:1"]);
        assert_eq!(
            wild,
            ["listen names 0.0.0.0:1 and 127.0.0.1:1, of which one is in the other"]
        );
        let both_families = public(&["0.0.0.0:1", "[::]:1"]);
        assert_eq!(both_families, [""; 0]);
        let several_roles = sentences(|settings| settings.metrics = settings.admin.clone());
        assert_eq!(several_roles, [""; 0]);
    }
}
