//! What the guide, the alerts and the dashboard name is there.

mod reading;

use std::collections::HashSet;
use std::fs;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use fanfare::protocol::rights::{Action, Algorithm, Keys, Rules};
use reading::{files, slug, text};

/// The words of `text` that begin as figures do.
fn figures(text: &str) -> HashSet<&str> {
    let is_part = |c: char| c.is_ascii_lowercase() || c == '_';
    text.split(|c| !is_part(c))
        .filter(|word| word.starts_with("fanfare_") || word.starts_with("process_"))
        .filter(|word| !word.ends_with('_'))
        .collect()
}

#[test]
fn alerts_and_dashboard_name_figures_that_exist() {
    let metrics = text("docs/metrics.md");
    let known = figures(&metrics);
    for path in ["docs/alerts.yml", "docs/grafana.json", "docs/operating.md"] {
        for name in figures(&text(path)) {
            let name = name.strip_suffix("_bucket").unwrap_or(name);
            assert!(known.contains(name), "{path}: {name}");
        }
    }
}

/// What is asked for when something is looked into, rather than watched.
const NOT_WATCHED: &[&str] = &[
    "fanfare_accept_pauses_total",
    "fanfare_cluster_repeated_messages_total",
    "fanfare_cluster_sent_messages_total",
    "fanfare_connections_per_address_max",
    "fanfare_core_cpu_seconds_total",
    "fanfare_deflate_saved_bytes_total",
    "fanfare_deflated_messages_total",
    "fanfare_encoded_messages_total",
    "fanfare_handshakes_max",
    "fanfare_latest_given_total",
    "fanfare_log_bytes_max",
    "fanfare_log_lines_dropped_total",
    "fanfare_message_bytes_max",
    "fanfare_pace_rests_total",
    "fanfare_pages_total",
    "fanfare_partial_bytes_max",
    "fanfare_pings_total",
    "fanfare_read_uncompressed_total",
    "fanfare_reliefs_total",
    "fanfare_ring_handed_on_total",
    "fanfare_ring_handshakes_total",
    "fanfare_ring_overflows_total",
    "fanfare_ring_refusals_total",
    "fanfare_room_tries_total",
    "fanfare_rosters_bytes",
    "fanfare_rosters_written_total",
    "fanfare_spin_seconds_total",
    "fanfare_stalled_connections",
    "fanfare_store_written_messages_total",
    "fanfare_tls_faults_total",
    "fanfare_tls_steps_aside_total",
    "fanfare_tls_steps_here_total",
    "fanfare_tls_truncated_total",
    "fanfare_trace_drops_total",
    "fanfare_trace_export_failures_total",
    "fanfare_traces_exported_total",
    "fanfare_traces_total",
    "fanfare_traces_under_way",
    "fanfare_zero_copy_copied_total",
    "fanfare_zero_copy_sends_total",
    // The dashboard has its buckets.
    "fanfare_turn_seconds",
];

#[test]
fn each_figure_is_watched_or_said_to_be_for_looking_into_things() {
    let metrics = text("docs/metrics.md");
    let (dashboard, alerts) = (text("docs/grafana.json"), text("docs/alerts.yml"));
    let watched: HashSet<_> = figures(&dashboard)
        .union(&figures(&alerts))
        .copied()
        .collect();
    let rows = metrics.lines().filter(|line| line.starts_with("| `"));
    for name in rows.filter_map(|row| row.split('`').nth(1)) {
        let not_watched = NOT_WATCHED.contains(&name);
        assert_ne!(watched.contains(name), not_watched, "{name}");
    }
}

#[test]
fn each_alert_is_tried_on_a_history() {
    let names = |text: &str, key| -> HashSet<String> {
        let behind = text.split(key).skip(1);
        behind
            .filter_map(|rest| rest.split([',', '\n']).next())
            .map(|name| name.trim().to_owned())
            .collect()
    };
    let alerts = names(&text("docs/alerts.yml"), "- alert:");
    let tried = names(&text("tests/monitoring/alerts.test.yml"), "alertname:");
    assert_eq!(alerts, tried);
}

#[test]
fn alerts_name_reasons_that_exist() {
    let metrics = text("docs/metrics.md");
    let alerts = text("docs/alerts.yml");
    for list in alerts.split("reason=~\"").skip(1) {
        let list = list.split('"').next().expect("it has a beginning");
        for reason in list.split('|') {
            assert!(metrics.contains(&format!("`{reason}`")), "{reason}");
        }
    }
}

/// All that stands in the tests, whatever runs them.
fn tests() -> String {
    let texts = files("tests", "").into_iter();
    texts
        .filter_map(|path| fs::read_to_string(path).ok())
        .collect()
}

#[test]
fn the_page_of_attacks_names_tests_that_exist() {
    let (page, tests) = (text("docs/abuse.md"), tests());
    let mut seen = 0;
    for row in page.lines().filter(|line| line.starts_with("| ")) {
        for word in row.split('`').skip(1).step_by(2) {
            let test = match word.rsplit_once("::") {
                // A module of the daemon: `cargo test` would say that nothing was run.
                _ if word.starts_with("cargo test ") => continue,
                Some((_, name)) if tests.contains(&format!("mod {name};")) => continue,
                Some((_, name)) => format!("fn {name}("),
                None => match word.strip_prefix("abuse ") {
                    Some(name) => format!("def {name}("),
                    None => continue,
                },
            };
            assert!(tests.contains(&test), "{word}");
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen}");
}

#[test]
fn the_page_on_tls_names_tests_that_exist() {
    let (page, mut tests) = (text("docs/tls.md"), tests());
    for file in [
        "core/link/tests.rs",
        "core/links/chunks.rs",
        "handover/secrets.rs",
    ] {
        tests.push_str(&text(&format!("src/{file}")));
    }
    let mut seen = 0;
    for row in page.lines().filter(|line| line.starts_with("| ")) {
        let Some((_, held_by)) = row.trim_end_matches(" |").rsplit_once(" | ") else {
            continue;
        };
        for word in held_by.split('`').skip(1).step_by(2) {
            let name = word.rsplit_once("::").map_or(word, |(_, name)| name);
            let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
            // Names of tests are sentences.
            if !word.starts_with("cargo ")
                && name.bytes().all(plain)
                && name.matches('_').count() > 2
            {
                assert!(tests.contains(&format!("fn {name}(")), "{word}");
                seen += 1;
            }
        }
    }
    assert!(seen > 60, "{seen}");
}

#[test]
fn the_guide_names_settings_that_exist() {
    let guide = text("docs/operating.md");
    let known: HashSet<_> = fanfare::config::TABLE.iter().map(|row| row.key).collect();
    for suffix in ["_max", "_ms", "_min", "_policy", "_header", "_proxies"] {
        for word in guide.split('`').skip(1).step_by(2) {
            let key = word.split(' ').next().unwrap_or_default();
            let plain = key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            if plain && key.ends_with(suffix) {
                assert!(known.contains(key), "{key}");
            }
        }
    }
}

/// What stands in the pages between lines that begin a block of this language and end it.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let begin = format!("```{language}\n");
    let parts = text.split(&begin).skip(1);
    parts
        .map(|part| part.split("```").next().expect("a part").to_owned())
        .collect()
}

#[test]
fn what_warnings_refer_to_is_in_the_guide_and_in_the_dashboard() {
    let mut seen = 0;
    for path in [files("src", ".rs"), files("src/page", ".html")].concat() {
        let text = fs::read_to_string(&path).expect("text");
        for place in text.split("\"docs/").skip(1) {
            let place = place.split('"').next().expect("a part");
            let Some((file, anchor)) = place.split_once(".md#") else {
                continue;
            };
            let page = format!("docs/{file}.md");
            let guide = reading::text(&page);
            let headings = guide.lines().filter_map(|line| line.strip_prefix("##"));
            let mut anchors = headings.map(|rest| slug(rest.trim_start_matches('#').trim()));
            assert!(anchors.any(|known| known == anchor), "{path:?}: {place}");
            let served = fanfare::page::dashboard::find(&format!("/{page}"));
            assert!(served.is_some(), "{path:?}: {page}");
            seen += 1;
        }
    }
    assert!(seen > 1, "{seen}");
}

#[test]
fn the_settings_that_pages_show_are_right() {
    let folder = tempfile::tempdir().expect("there is room");
    let secret = folder.path().join("secret");
    fs::write(&secret, "a secret of more than thirty-two bytes").expect("it is written");
    let names = ["live.example.com".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    let write = |name: &str, text: String| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("it is written");
        path.to_str().expect("text").to_owned()
    };
    let chain = write("chain", made.cert.pem());
    let key = write("key", made.signing_key.serialize_pem());
    let file = folder.path().join("fanfare.toml");
    let mut seen = 0;
    for page in [
        "docs/clients.md",
        "docs/cluster.md",
        "docs/going-public.md",
        "docs/mercure.md",
        "docs/operating.md",
        "docs/running.md",
        "docs/topics.md",
        "docs/tracing.md",
    ] {
        for block in blocks(&text(page), "toml") {
            let secret = secret.to_str().expect("text");
            let settings = block
                .replace("/etc/fanfare/tls/live.example.com.pem", &chain)
                .replace("/etc/fanfare/tls/live.example.com.key", &key)
                .replace("/etc/fanfare/secret", secret)
                .replace("/etc/fanfare/key", secret);
            fs::write(&file, settings).expect("it is written");
            let checked = fanfare::config::check_file(&file);
            assert!(checked.is_ok(), "{page}: {checked:?}\n{block}");
            seen += 1;
        }
    }
    assert!(seen >= 6, "{seen}");
}

#[test]
fn the_token_that_the_page_makes_with_a_shell_is_accepted() {
    let folder = tempfile::tempdir().expect("there is room");
    let secret = "a secret of more than thirty-two bytes";
    fs::write(folder.path().join("secret"), secret).expect("it is written");
    let script = blocks(&text("docs/tokens.md"), "sh").remove(0);
    let made = Command::new("sh")
        .args(["-euc", &script])
        .current_dir(folder.path())
        .output()
        .expect("there is a shell");
    assert!(made.status.success(), "it takes openssl: {made:?}");
    let token = String::from_utf8(made.stdout).expect("text");
    let mut keys = Keys::new(Vec::new(), Vec::new());
    keys.add(secret.as_bytes(), Some(Algorithm::Hs256))
        .expect("a key");
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).expect("now");
    let accepted = keys.check(token.trim().as_bytes(), now_s.as_secs());
    let rights = accepted.expect("it is signed").rights;
    assert_eq!(&*rights.user, "anna");
    assert!(rights.expires_s.is_some_and(|at| at > now_s.as_secs()));
    let rules = Rules::new(Vec::new(), Vec::new(), true);
    assert!(rights.may(Action::Publish, "room.a", &rules).is_ok());
    assert!(rights.may(Action::Publish, "hall.a", &rules).is_err());
}

#[test]
fn the_drop_in_for_lxc_takes_back_every_namespace_of_the_unit() {
    // systemd.exec(5): what is set up in namespaces of the unit's own.
    let takes_a_namespace = |key: &str| {
        let groups = ["Private", "Protect", "ProcSubset"];
        groups.iter().any(|start| key.starts_with(start)) && key != "ProtectClock"
    };
    let (unit, drop_in) = (text("systemd/fanfare.service"), text("docs/lxc.conf"));
    let keys = |text: &str| -> Vec<String> {
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        let keys = pairs.map(|(key, _)| key.to_owned());
        keys.filter(|key| takes_a_namespace(key)).collect()
    };
    assert_eq!(keys(&drop_in), keys(&unit));
}
