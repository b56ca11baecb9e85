//! The pages that are made of the table of settings: `docs/configuration.md`, the
//! table in the README, and the installed `fanfare.toml`.
//!
//! A test compares them with the files, or writes the files with `UPDATE_DOCS=1`.
//! The daemon itself never calls this module; `cli::generated` makes the manual
//! page and completions.

use std::fmt::Write;

use super::{Effect, Kind, Row, TABLE};

const INTRODUCTION: &str = "\
# Settings

Each setting is a key of the TOML file that `--config FILE` names, and an option
of the same name with dashes: `message_bytes_max = \"8MiB\"` in the file is
`--message-bytes-max 8MiB` on the command line. Options overrule the file, the
file overrules the defaults. `fanfare check-config FILE` says what is wrong with a
file, with the line, and what is allowed.

Bytes are plain numbers (`65536`, `65_536`) or carry a suffix (`\"64KiB\"`, `\"8MiB\"`,
`\"1GiB\"`); times are plain numbers in the unit that the name ends with. In the file whatever is not a plain number
stands in quotes. Lists are arrays in the file (`listen = [\"127.0.0.1:8000\", \"[::1]:8000\"]`);
on the command line the option is repeated.

Keys that begin with `cluster.` stand in a table of the file, `nats = [\"nats://10.0.0.1:4222\"]` below `[cluster]`, which
comes behind all that stands at the top, or are written whole, `cluster.nats = [\"nats://10.0.0.1:4222\"]`. The option is `--cluster-nats`.

These must fit together: `log_bytes_max` holds at least `lag_bytes_max` +
`message_bytes_max`; `log_bytes_total_max` at least `log_bytes_max`;
`retain_bytes_max`, also that of a rule, is at most `log_bytes_max` for topics that are kept in memory alone;
`keep = \"disk\"` needs `store`; `keep = \"cluster\"` needs `cluster.nats`, and what is so kept may retain no more than
`cluster.topic_messages_max` and `cluster.age_ms_max`, while its `retain_bytes_max` counts what memory holds; `partial_bytes_max` is at least
`message_bytes_max`; `ping_interval_ms` is less than `idle_ms_max`; an `admin` address beyond loopback
needs `admin_token_file`, one of `api` that or `api_key_file`; `proxy_header` needs `trusted_proxies`; `listen_tls` and `admin_tls` need
`tls_certificates`; `listen` and `listen_tls` are not both off. Where others than
programs of this machine get in (an address of `listen` or `listen_tls` beyond loopback, `trusted_proxies`, names in `hosts` or `origins`
that are not this machine's), something must say who may do what: `anonymous`, a rule of `topics`, `token_keys`, or `apps`. No address may
be named twice or contain another, but those of `admin`, `api` and `metrics` may be the same, and `api` may name one of `listen` or
`listen_tls`: one with several
roles serves what each of them may. `admin` may everything, `api` health, topics, publishing and the server API, `metrics` health
and metrics.

`topics`, `anonymous`, `apps` and `tls_certificates` are tables: in the file as `[[topics]]` at its end, or as
`anonymous = [{ match = \"news.**\" }]`; on the command line as `--anonymous 'match = \"news.**\"'`. A pattern names
topics: its parts end at `.`, `/` or `:`, `*` is one part, and `**` at the end any rest. What rules say is in
[topics.md](topics.md), what tokens are for in [tokens.md](tokens.md). No secret is ever the value of a setting: they are in files.

`unix:/PATH` is a Unix socket. A public one is for all who get to its folder, those of `admin`, `api` and `metrics`
for the user that the daemon runs as, and for root. A client that comes over one counts as 127.0.0.1, with a running number for its port: where it is a proxy,
`trusted_proxies = [\"127.0.0.1\"]` lets it tell whose connection it passes on.

After `systemctl reload fanfare`, or SIGHUP, the file is read again and what has changed
in it holds from then on, but for the settings that are marked with restart below; the log names
what has changed and what will only then. Lowered limits hold for who comes next. A file that is not right changes nothing.
";

/// `docs/configuration.md`, as it should be.
pub fn markdown() -> String {
    let mut page = INTRODUCTION.to_owned();
    let mut heading = "";
    for row in TABLE {
        if row.heading != heading {
            heading = row.heading;
            write!(
                page,
                "\n## {heading}\n\n| key | default | allowed | change by | meaning |\n|---|---|---|---|---|\n"
            )
            .expect("a string takes all");
        }
        writeln!(
            page,
            "| `{}` | {} | {} | {} | {} |",
            row.file_key(),
            default(row),
            row.kind,
            row.effect.name(),
            row.help
        )
        .expect("a string takes all");
    }
    page
}

fn default(row: &Row) -> String {
    match row.default {
        "" => "none".to_owned(),
        text => format!("`{text}`"),
    }
}

/// The short table of all settings, for the README.
pub fn summary() -> String {
    let mut table = "| key | default | meaning |\n|---|---|---|\n".to_owned();
    for row in TABLE {
        let (key, default) = (row.file_key(), default(row));
        writeln!(table, "| `{key}` | {default} | {} |", row.help).expect("a string takes all");
    }
    table
}

const SAMPLE_INTRODUCTION: &str = "\
# The settings of Fanfare. Each line that begins with #key shows a default: take
# away its # and change it. `fanfare check-config` says whether the file is right;
# `systemctl reload fanfare` puts it in force without losing a connection.
# More on each: /usr/share/doc/fanfare/docs/configuration.md
#
# With fanfare.socket, as the package sets it up, the addresses of that unit come
# in place of `listen`: change them with `systemctl edit fanfare.socket`. Those of
# fanfare-tls.socket, if it is enabled, come in place of `listen_tls`.
";

/// What the package sets up otherwise than the defaults: on a machine with many
/// users only root and the daemon's own get to what is not for all.
const PACKAGED: [(&str, &str, &str); 3] = [
    ("admin", "\"unix:/run/fanfare/admin.sock\"", ""),
    ("metrics", "\"127.0.0.1:8001\"", ""),
    (
        "anonymous",
        "[{ match = \"**\" }]",
        "# As installed everybody may hear every topic, and nobody publish but over admin and api.\n\
         # With publish = true beside match, everybody who gets here may.\n",
    ),
];

/// `/etc/fanfare/fanfare.toml` as it is installed: every setting, commented out
/// where it is the default.
pub fn sample() -> String {
    let mut file = SAMPLE_INTRODUCTION.to_owned();
    let mut heading = "";
    for row in TABLE {
        if row.heading != heading {
            heading = row.heading;
            write!(file, "\n## {heading}\n").expect("a string takes all");
        }
        let restart = match row.effect {
            Effect::Restart => " A change takes a restart.",
            Effect::Reload => "",
        };
        let Row {
            key, kind, help, ..
        } = row;
        let packaged = PACKAGED.iter().find(|(packaged, ..)| packaged == key);
        let line = match packaged {
            Some((_, value, why)) => format!("{why}{key} = {value}"),
            None => format!("#{} = {}", row.file_key(), sample_value(row)),
        };
        write!(file, "\n# {help}.{restart}\n# Allowed: {kind}\n{line}\n")
            .expect("a string takes all");
    }
    file
}

fn sample_value(row: &Row) -> String {
    match (row.kind, row.default) {
        // Where the unit's StateDirectory is.
        _ if row.key == "store" => "\"/var/lib/fanfare\"".to_owned(),
        (Kind::File, "") => {
            let name = row.key.trim_end_matches("_file");
            format!("\"/etc/fanfare/{name}\"")
        }
        (kind, "") if kind.is_list() => "[]".to_owned(),
        (_, "off") => "\"off\"".to_owned(),
        (kind, text) if kind.is_list() => format!("[\"{text}\"]"),
        (kind, text) if kind.is_number() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
            text.to_owned()
        }
        (_, text) => format!("\"{text}\""),
    }
}

/// The pages are compared with the table; with `UPDATE_DOCS=1` set while these
/// tests run, they are written anew.
#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::{env, fs};

    use super::*;
    use crate::config::{LogFormat, Place, Settings, check_file};
    use crate::protocol::rights::Action;

    const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
    const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/fanfare.toml");
    const BEGIN: &str = "<!-- settings: written by a test, see src/config/docs.rs -->\n";
    const END: &str = "<!-- end of settings -->";

    fn assert_page(path: &str, is: &str, should: &str) {
        if env::var_os("UPDATE_DOCS").is_some() {
            fs::write(path, should).unwrap();
        } else {
            assert!(
                is == should,
                "{path} is out of date: run the tests once with UPDATE_DOCS=1"
            );
        }
    }

    #[test]
    fn the_documentation_lists_the_settings_as_they_are() {
        let page = fs::read_to_string(PAGE).unwrap_or_default();
        assert_page(PAGE, &page, &markdown());
    }

    #[test]
    fn the_readme_lists_the_settings_as_they_are() {
        let readme = fs::read_to_string(README).unwrap();
        let (before, rest) = readme
            .split_once(BEGIN)
            .expect("the README has a place for settings");
        let (_, after) = rest.split_once(END).expect("the place for settings ends");
        assert_page(
            README,
            &readme,
            &format!("{before}{BEGIN}{}{END}{after}", summary()),
        );
    }

    #[test]
    fn the_installed_file_shows_the_settings_as_they_are() {
        let file = fs::read_to_string(SAMPLE).unwrap_or_default();
        assert_page(SAMPLE, &file, &sample());
    }

    #[test]
    fn the_containers_file_is_right() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/packaging/container/fanfare.toml"
        );
        let settings = check_file(Path::new(path)).unwrap();
        assert!(settings.listen.iter().all(|place| !place.is_local()));
        let may = |action| settings.rules().may(None, action, "any.topic").is_ok();
        assert!(may(Action::Subscribe) && may(Action::History));
        assert!(!may(Action::Publish) && !may(Action::Presence));
        assert_eq!(settings.log_format, LogFormat::Json);
    }

    #[test]
    fn the_installed_file_means_the_defaults_with_and_without_its_comments() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fanfare.toml");
        let plain = |line: &str| match line.strip_prefix('#') {
            Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase()) => rest.to_owned(),
            _ => line.to_owned(),
        };
        // What it names in its examples is not there.
        let lines = sample().lines().map(plain).collect::<Vec<_>>();
        let lines: Vec<_> = lines
            .iter()
            .filter(|line| {
                !["= \"/etc/fanfare/", "= \"/var/lib/fanfare"]
                    .iter()
                    .any(|path| line.contains(path))
            })
            .collect();
        let all = lines
            .iter()
            .map(|line| format!("{line}\n"))
            .collect::<String>();
        let packaged = Settings {
            admin: vec![Place::parse("unix:/run/fanfare/admin.sock").unwrap()],
            metrics: vec![Place::parse("127.0.0.1:8001").unwrap()],
            anonymous: vec![toml::from_str("match = \"**\"").unwrap()],
            ..Settings::default()
        };
        for text in [sample(), all] {
            fs::write(&path, &text).unwrap();
            assert_eq!(check_file(&path).unwrap(), packaged);
        }
        assert!(lines.iter().any(|line| line.starts_with("lag_policy = ")));
    }
}
