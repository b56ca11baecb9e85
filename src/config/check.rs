//! Settings that only make sense together.

use super::value::Size;
use super::{Admin, ProxyHeader, Settings};

/// Two settings that contradict each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Conflict {
    /// The settings involved, the one to change first.
    pub keys: &'static [&'static str],
    /// A whole sentence.
    pub sentence: String,
}

/// Everything that does not fit together, empty if all is well.
pub(super) fn conflicts(settings: &Settings) -> Vec<Conflict> {
    let mut found = Vec::new();
    let mut require =
        |holds: bool, keys: &'static [&'static str], sentence: &dyn Fn() -> String| {
            if !holds {
                found.push(Conflict {
                    keys,
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
        settings.retain_bytes_max <= log_bytes_max,
        &["retain_bytes_max", "log_bytes_max"],
        &|| {
            format!(
                "retain_bytes_max ({}) must be at most log_bytes_max ({})",
                size(settings.retain_bytes_max),
                size(log_bytes_max)
            )
        },
    );
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
    require(
        !admin_is_open(settings) || settings.admin_token_file.is_some(),
        &["admin", "admin_token_file"],
        &|| {
            "an admin listener beyond loopback needs admin_token_file, a file with a secret token"
                .into()
        },
    );
    found
}

fn admin_is_open(settings: &Settings) -> bool {
    matches!(settings.admin, Admin::Tcp(address) if !address.ip().to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_proxy_header_needs_a_proxy() {
        let alone = sentences(|settings| settings.proxy_header = ProxyHeader::ProxyProtocol);
        assert_eq!(alone.len(), 1);
        let with_proxy = sentences(|settings| {
            settings.proxy_header = ProxyHeader::ProxyProtocol;
            settings.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
        });
        assert_eq!(with_proxy, [""; 0]);
    }

    #[test]
    fn an_admin_listener_beyond_loopback_needs_a_token() {
        let open = Admin::Tcp("0.0.0.0:8001".parse().unwrap());
        let only_open = sentences(|settings| settings.admin = open.clone());
        assert_eq!(only_open.len(), 1);
        assert!(only_open[0].contains("admin_token_file"));
        let with_token = sentences(|settings| {
            settings.admin = open;
            settings.admin_token_file = Some("token".into());
        });
        assert_eq!(with_token, [""; 0]);
        for loopback in ["[::1]:1", "[::ffff:127.0.0.1]:1", "127.9.9.9:1"] {
            let admin = Admin::Tcp(loopback.parse().unwrap());
            assert_eq!(sentences(|settings| settings.admin = admin), [""; 0]);
        }
    }
}
