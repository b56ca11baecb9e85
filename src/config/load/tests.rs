use std::io::Write;

use tempfile::NamedTempFile;

use super::*;
use crate::config::{LagPolicy, Place};

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn load(words: &[&str]) -> Result<Settings, String> {
    let command = clap::Command::new("fanfare")
        .no_binary_name(true)
        .args(options());
    let matches = command
        .try_get_matches_from(words)
        .map_err(|error| error.to_string())?;
    from_matches(&matches).map_err(|error| error.to_string())
}

#[test]
fn options_go_before_the_file_and_the_file_before_defaults() {
    let file = file("cores = 3\nlag_policy = \"skip\"\nlisten = \"127.0.0.1:1\"\n");
    let path = file.path().to_str().unwrap();
    let settings = load(&[
        "--config",
        path,
        "--cores",
        "5",
        "--listen",
        "[::1]:2",
        "--listen",
        "0.0.0.0:3",
        "--anonymous",
        "match = '**'",
    ]);
    let settings = settings.unwrap();
    assert_eq!(settings.cores, 5);
    assert_eq!(settings.lag_policy, LagPolicy::Skip);
    assert_eq!(
        settings.listen,
        ["[::1]:2", "0.0.0.0:3"].map(|word| Place::parse(word).unwrap())
    );
    assert_eq!(settings.topics_max, 200_000);
}

#[test]
fn what_the_file_says_in_vain_is_named() {
    let file = file("cores = 3\nlag_policy = \"skip\"\ntopics_max = 9\n");
    let command = clap::Command::new("fanfare").no_binary_name(true);
    let path = file.path().to_str().unwrap();
    // The same value twice is no contradiction.
    let words = ["--config", path, "--cores", "5", "--topics-max", "9"];
    let loaded = super::load(&command.args(options()).get_matches_from(words)).unwrap();
    assert_eq!(loaded.settings.cores, 5);
    assert_eq!(
        loaded.unused().collect::<Vec<_>>(),
        ["the file's cores is not used: --cores on the command line overrules it"]
    );
}

#[test]
fn a_running_daemon_is_looked_for_where_the_package_put_it() {
    let installed = file("admin = \"unix:/run/there\"\n");
    let asked = |words: &[&str], installed: &Path| {
        let command = clap::Command::new("fanfare").no_binary_name(true);
        let matches = command.args(options()).get_matches_from(words);
        of_running(&matches, installed).unwrap().admin[0].to_string()
    };
    assert_eq!(asked(&[], installed.path()), "unix:/run/there");
    assert_eq!(
        asked(&["--cores", "1"], installed.path()),
        "unix:/run/there"
    );
    assert_eq!(asked(&["--admin", "[::1]:9"], installed.path()), "[::1]:9");
    let other = file("admin = \"unix:/run/elsewhere\"\n");
    let named = ["--config", other.path().to_str().unwrap()];
    assert_eq!(asked(&named, installed.path()), "unix:/run/elsewhere");
    assert_eq!(asked(&[], Path::new("/no/such/file")), "127.0.0.1:8001");
}

#[test]
fn file_and_options_read_values_alike() {
    let file = file("message_bytes_max = \"64KiB\"\n");
    let from_file = load(&["--config", file.path().to_str().unwrap()]).unwrap();
    assert_eq!(from_file, load(&["--message-bytes-max", "64KiB"]).unwrap());
    assert_eq!(from_file, load(&["--message-bytes-max=65_536"]).unwrap());
}

#[test]
fn rules_stand_in_tables_of_the_file_and_in_words_of_the_command_line() {
    let file = file(
        "anonymous = [{ match = \"a.*\", publish = true }]\n\n\
         [[topics]]\nmatch = \"say \\\"x\\\"\"\nsubscribe = \"token\"\n\n\
         [[topics]]\nmatch = \"**\"\npublish = \"nobody\"\n",
    );
    let from_file = load(&["--config", file.path().to_str().unwrap()]).unwrap();
    assert_eq!(from_file.topics.len(), 2);
    assert_eq!(from_file.topics[0].who.pattern.as_str(), "say \"x\"");
    let words = [
        "--topics",
        r#"match = 'say "x"', subscribe = "token""#,
        "--topics",
        r#"{ match = "**", publish = "nobody" }"#,
        "--anonymous",
        r#"match = "a.*", publish = true"#,
    ];
    assert_eq!(from_file, load(&words).unwrap());
}

#[test]
fn a_rule_that_is_not_right_is_told_by_its_number() {
    for (text, words) in [
        (
            "[[topics]]\nmatch = \"a\"\n[[topics]]\nmatch = \"a*\"\n",
            "number 2: in the pattern",
        ),
        (
            "[[topics]]\nsubscribe = \"token\"\n",
            "number 1: missing field `match`",
        ),
        (
            "[[topics]]\nmatch = \"a\"\nsubcribe = \"token\"\n",
            "unknown field `subcribe`",
        ),
        (
            "[[topics]]\nmatch = \"a\"\nsubscribe = \"all\"\n",
            "unknown variant `all`",
        ),
        ("topics = [\"a\"]\n", "number 1: "),
        (
            "token_keys = \"/no/such/key\"\n",
            "token_keys: cannot read /no/such/key",
        ),
        ("token_cookie = \"a b\"\n", "the name of a cookie"),
    ] {
        let file = file(text);
        let told = check_file(file.path()).unwrap_err().to_string();
        assert!(told.contains(words), "{told}");
    }
}

#[test]
fn every_fault_of_a_file_is_told_in_its_order() {
    let file = file("cores = 0\nfoo = 1\nlag_policy = \"drop\"\n");
    let path = file.path().display();
    let told = check_file(file.path()).unwrap_err().to_string();
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(
        lines[0],
        format!(
            "{path}, line 1: cores: 0 is not allowed, allowed: 1 to 256, or auto for one per processor"
        )
    );
    assert!(lines[1].starts_with(&format!("{path}, line 2: there is no setting \"foo\"")));
    assert_eq!(
        lines[2],
        format!(
            "{path}, line 3: lag_policy: \"drop\" is not allowed, allowed: close, skip, latest"
        )
    );
    assert_eq!(lines.len(), 3);
}

#[test]
fn a_bad_option_names_itself_and_what_is_allowed() {
    assert_eq!(
        load(&["--receive-buffers", "-1"]).unwrap_err(),
        "--receive-buffers: \"-1\" is not allowed, allowed: a power of two, 16 to 32768"
    );
    assert!(load(&["--no-such-option"]).is_err());
}

#[test]
fn a_conflict_names_the_line_that_made_it() {
    let file = file("# limits\nlag_bytes_max = \"16MiB\"\n");
    let path = file.path().display();
    let sentence =
        "log_bytes_max (16 MiB) must be at least lag_bytes_max + message_bytes_max (17 MiB)";
    let told = check_file(file.path()).unwrap_err().to_string();
    assert_eq!(told, format!("{path}, line 2: {sentence}"));
    assert_eq!(load(&["--lag-bytes-max", "16MiB"]).unwrap_err(), sentence);
}

#[test]
fn whatever_is_wrong_is_told_at_once() {
    let file = file(
        "admin = \"127.0.0.1:8000\"\nadmin_token_file = \"/no/such/token\"\n\
         lag_bytes_max = \"16MB\"\nping_interval_ms = 120000\n",
    );
    let told = check_file(file.path()).unwrap_err().to_string();
    let lines: Vec<_> = told.lines().collect();
    let path = file.path().display();
    assert_eq!(lines.len(), 4, "{told}");
    for (at, words) in [
        (0, "admin (127.0.0.1:8000) and listen (127.0.0.1:8000)"),
        (1, "admin_token_file: cannot read /no/such/token"),
        (2, "lag_bytes_max: \"16MB\" is not allowed"),
        (3, "ping_interval_ms (120000) must be less"),
    ] {
        let begin = format!("{path}, line {}: {words}", at + 1);
        assert!(lines[at].starts_with(&begin), "{told}");
    }
}

#[test]
fn a_file_that_is_not_there_is_told_by_name() {
    let told = check_file(Path::new("/no/such/fanfare.toml"))
        .unwrap_err()
        .to_string();
    assert!(
        told.starts_with("cannot read /no/such/fanfare.toml: No such file"),
        "{told}"
    );
}

#[test]
fn the_token_is_the_trimmed_content_of_its_file() {
    let full = file("  s3cret\n");
    assert_eq!(token_in(full.path()).unwrap(), "s3cret");
    let empty = file("\n");
    let told = token_in(empty.path()).unwrap_err().to_string();
    assert!(told.contains("is empty"), "{told}");
}

#[test]
fn a_secret_that_cannot_be_read_names_its_line() {
    for key in ["admin_token_file", "api_key_file"] {
        let file = file(&format!("# secrets\n{key} = \"/no/such/secret\"\n"));
        let told = check_file(file.path()).unwrap_err().to_string();
        let begin = format!("{}, line 2: {key}: cannot read", file.path().display());
        assert!(told.starts_with(&begin), "{told}");
    }
}
