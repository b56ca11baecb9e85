//! What the guide, the alerts and the dashboard name is there.

use std::collections::HashSet;
use std::fs;

fn text(path: &str) -> String {
    fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).expect(path)
}

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
