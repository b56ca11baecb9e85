//! The command lines of `fanfare subscribe`, `fanfare publish` and `fanfare top`: what is asked
//! for in words, and where the daemon is if nothing says so.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::client::{Patience, Secret, Server, Tls};
use crate::config::{self, Place, Settings, Switch};
use crate::shell::{End, Publish, Since, Subscribe, Wanted};
use crate::top::Top;

/// The variables that secrets may be in, where no file is named.
const TOKEN: &str = "FANFARE_TOKEN";
const KEY: &str = "FANFARE_API_KEY";

pub(super) fn commands() -> [Command; 3] {
    let subscribe = Command::new("subscribe")
        .about("Write what is published to topics to standard output, a line for each message")
        .after_help(SUBSCRIBE_HELP)
        .arg(
            Arg::new("topic")
                .value_name("TOPIC")
                .required(true)
                .num_args(1..)
                .help("Names of topics, or URLs that name both server and topic: wss://HOST/TOPIC"),
        )
        .arg(server("the first of `listen`"))
        .arg(
            Arg::new("since")
                .long("since")
                .value_name("[EPOCH-]OFFSET")
                .value_parser(value_parser!(Since))
                .help("Begin with this message, as far as it is kept; 1 is all there is [default: what comes]"),
        )
        .arg(
            Arg::new("count")
                .long("count")
                .short('n')
                .value_name("N")
                .value_parser(value_parser!(u64).range(1..))
                .help("End after so many messages [default: never]"),
        )
        .arg(flag(
            "json",
            "Write JSON: topic, epoch, offset, event if it has one, and data, text or b64data",
        ))
        .args(ways("the variable FANFARE_TOKEN"));
    let publish = Command::new("publish")
        .about("Publish each line of standard input to a topic, or one message")
        .after_help(PUBLISH_HELP)
        .arg(
            Arg::new("topic")
                .value_name("TOPIC")
                .required(true)
                .help("The name of the topic"),
        )
        .arg(
            Arg::new("message")
                .value_name("MESSAGE")
                .help("The only message [default: each line of standard input is one]"),
        )
        .arg(server("the first of `admin` or `api`"))
        .arg(flag(
            "json",
            "Read JSON: one of data, text and b64data, and event and tags as wanted",
        ))
        .arg(
            Arg::new("key-file")
                .long("key-file")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help(
                    "File with the key of the server API [default: the variable FANFARE_API_KEY]",
                ),
        )
        .args(ways(OF_SETTINGS));
    let top = Command::new("top")
        .about("Show what a daemon does: rates, topics, slow connections, cores, limits, warnings")
        .after_help(TOP_HELP)
        .arg(server("the first of `admin`"))
        .arg(
            Arg::new("interval-ms")
                .long("interval-ms")
                .value_name("MS")
                .default_value("1000")
                .value_parser(value_parser!(u64).range(500..=60_000))
                .help("How often the daemon is asked, 500 to 60000"),
        )
        .args(secure(OF_SETTINGS));
    [subscribe, publish, top]
}

fn server(default: &str) -> Arg {
    Arg::new("server")
        .long("server")
        .value_name("URL")
        .help(format!(
            "Where the daemon is: ws://, wss://, http:// or https://HOST[:PORT], or unix:/PATH \
             [default: {default} in /etc/fanfare/fanfare.toml, else on this machine]"
        ))
}

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .action(ArgAction::SetTrue)
        .help(help)
}

/// What both who publish and who are subscribed may say.
fn ways(default_token: &str) -> impl Iterator<Item = Arg> {
    let quiet = flag(
        "quiet",
        "Say nothing of connections that break off and come back",
    )
    .short('q');
    let retry = Arg::new("retry-s")
        .long("retry-s")
        .value_name("SECONDS")
        .value_parser(value_parser!(u64))
        .help(
            "Give up so long after the first failure \
             [default: at once at the beginning, never later]",
        );
    secure(default_token).chain([retry, quiet])
}

/// Where a token is that no file is named for.
const OF_SETTINGS: &str = "of a daemon that the settings name, their admin_token_file; \
                           else the variable FANFARE_TOKEN";

/// Who asks, and whom they trust.
fn secure(default_token: &str) -> impl Iterator<Item = Arg> {
    let file = |name: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
    };
    let token = file("token-file").help(format!(
        "File with the token to bear, read anew for each connection [default: {default_token}]"
    ));
    let ca = file("ca").help(
        "File with certificates of authorities to trust beside those of this machine, in PEM",
    );
    let insecure = flag(
        "insecure",
        "Trust any certificate: for trying things out alone",
    );
    [token, ca, insecure].into_iter()
}

const SUBSCRIBE_HELP: &str = "\
Where a connection breaks off, another one goes on where it was; messages that
are not kept any more are told as a gap on standard error. While nobody reads
standard output, nothing is read from the daemon.

Exit codes: 0 ended as asked, 1 refused, 2 the command line is wrong,
3 the daemon cannot be reached, 4 standard output fails. docs/shell.md says more.";

const PUBLISH_HELP: &str = "\
Publishes by the server API, in order, none twice: when it ends with 0, the
daemon has taken every message. Empty lines are none.

Exit codes: 0 all is published, 1 refused, 2 the command line is wrong,
3 the daemon cannot be reached, 4 standard input fails. docs/shell.md says more.";

const TOP_HELP: &str = "\
Keys: s sorts topics by another column, / filters them, p or space holds still,
arrows scroll, tab changes the page, q quits. NO_COLOR switches colours off.
It asks GET /overview of an admin listener.";

/// What `fanfare subscribe` asks for.
pub(super) fn read_subscribe(matches: &ArgMatches, installed: &Path) -> Result<Subscribe, End> {
    let texts = matches.get_many::<String>("topic").into_iter().flatten();
    let mut default = None;
    let mut topics = Vec::new();
    for text in texts {
        let wanted = match Server::with_topic(text) {
            Some(Ok((server, topic))) => Wanted { server, topic },
            Some(Err(error)) => return Err(End::Usage(error.to_string())),
            None => {
                if default.is_none() {
                    default = Some(find(matches, installed, public_of)?.0);
                }
                let server = default.clone().expect("it has just been found");
                let topic = text.clone();
                Wanted { server, topic }
            }
        };
        if topics.contains(&wanted) {
            return Err(End::Usage(format!("the topic {text:?} is named twice")));
        }
        topics.push(wanted);
    }
    let since = matches.get_one::<Since>("since").cloned();
    if topics.len() > 1 && since.as_ref().is_some_and(|since| since.epoch.is_some()) {
        let sentence = "--since with an epoch is for one topic: each has a history of its own";
        return Err(End::Usage(sentence.into()));
    }
    Ok(Subscribe {
        topics,
        since,
        count: matches.get_one("count").copied(),
        json: matches.get_flag("json"),
        quiet: matches.get_flag("quiet"),
        token: token(matches, None, TOKEN),
        tls: tls(matches),
        patience: patience(matches),
    })
}

/// What `fanfare publish` asks for.
pub(super) fn read_publish(matches: &ArgMatches, installed: &Path) -> Result<Publish, End> {
    let (server, secret) = find(matches, installed, api_of)?;
    let key = matches.get_one::<PathBuf>("key-file").cloned();
    Ok(Publish {
        server,
        topic: text(matches, "topic").expect("clap asks for it"),
        message: text(matches, "message"),
        json: matches.get_flag("json"),
        quiet: matches.get_flag("quiet"),
        token: token(matches, secret, TOKEN),
        key: Secret::find(key, KEY),
        tls: tls(matches),
        patience: patience(matches),
    })
}

/// What `fanfare top` asks for.
pub(super) fn read_top(matches: &ArgMatches, installed: &Path) -> Result<Top, End> {
    let (server, secret) = find(matches, installed, admin_of)?;
    let interval_ms = matches.get_one::<u64>("interval-ms");
    Ok(Top {
        server,
        token: token(matches, secret, TOKEN),
        tls: tls(matches),
        interval: Duration::from_millis(*interval_ms.expect("it has a default")),
    })
}

fn text(matches: &ArgMatches, name: &str) -> Option<String> {
    matches.get_one::<String>(name).cloned()
}

/// The one that is named, else that of the settings by which the daemon was found: a variable may
/// be meant for another daemon.
fn token(
    matches: &ArgMatches,
    of_settings: Option<Secret>,
    variable: &'static str,
) -> Option<Secret> {
    let file = matches.get_one::<PathBuf>("token-file").cloned();
    let named = file.map(Secret::File).or(of_settings);
    named.or_else(|| Secret::find(None, variable))
}

fn tls(matches: &ArgMatches) -> Tls {
    Tls {
        ca: matches.get_one("ca").cloned(),
        insecure: matches.get_flag("insecure"),
    }
}

fn patience(matches: &ArgMatches) -> Patience {
    match matches.get_one::<u64>("retry-s") {
        Some(seconds) => Patience::For(Duration::from_secs(*seconds)),
        None => Patience::FirstThenEver,
    }
}

/// A daemon of this machine, and the secret that its settings name for who asks there.
type Found = (Server, Option<Secret>);

/// The server that the command line names, else the one of the daemon that is installed here.
fn find(
    matches: &ArgMatches,
    installed: &Path,
    of: fn(&Settings) -> Result<Found, String>,
) -> Result<Found, End> {
    if let Some(url) = text(matches, "server") {
        let server = Server::parse(&url).map_err(|error| End::Usage(error.to_string()))?;
        return Ok((server, None));
    }
    let settings = match installed.try_exists() {
        Ok(false) => Ok(Settings::default()),
        _ => config::check_file(installed),
    };
    let settings =
        settings.map_err(|error| End::Usage(format!("{error}\nname it with --server")))?;
    of(&settings).map_err(End::Usage)
}

fn public_of(settings: &Settings) -> Result<Found, String> {
    match settings.listen.first() {
        Some(place) => Ok((at(place, false), None)),
        None => Err("the daemon listens over TLS alone: name it with --server wss://NAME".into()),
    }
}

fn admin_of(settings: &Settings) -> Result<Found, String> {
    let first = first_plain(&settings.admin, settings);
    let server = first.ok_or("the admin listener is off, or speaks TLS: name it with --server")?;
    let token = settings.admin_token_file.clone().map(Secret::File);
    Ok((server, token))
}

fn api_of(settings: &Settings) -> Result<Found, String> {
    if let Ok(found) = admin_of(settings) {
        return Ok(found);
    }
    let server = first_plain(&settings.api, settings);
    let server = server.ok_or("the server API is off, or speaks TLS: name it with --server")?;
    Ok((server, None))
}

/// The name that a certificate bears is not known here.
fn first_plain(places: &[Place], settings: &Settings) -> Option<Server> {
    let is_plain = |place: &&Place| settings.admin_tls == Switch::Off || place.tcp().is_none();
    places.iter().find(is_plain).map(|place| at(place, false))
}

fn at(place: &Place, tls: bool) -> Server {
    match place {
        Place::Unix(path) => Server::Unix(path.clone()),
        Place::Tcp(address) => {
            // Every address of this machine is one that it reaches itself by.
            let ip = match address {
                SocketAddr::V4(v4) if v4.ip().is_unspecified() => Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(v6) if v6.ip().is_unspecified() => Ipv6Addr::LOCALHOST.into(),
                address => address.ip(),
            };
            Server::Tcp {
                host: ip.to_string(),
                port: address.port(),
                tls,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(words: &[&str]) -> ArgMatches {
        let command = Command::new("fanfare").subcommands(commands());
        let all = [&["fanfare"], words].concat();
        let matches = command.try_get_matches_from(all).unwrap();
        matches.subcommand().unwrap().1.clone()
    }

    fn nowhere() -> &'static Path {
        Path::new("/no/such/file")
    }

    #[test]
    fn without_more_it_is_the_daemon_of_this_machine() {
        let subscribe = read_subscribe(&matches(&["subscribe", "a", "b"]), nowhere()).unwrap();
        let named: Vec<_> = subscribe
            .topics
            .iter()
            .map(|wanted| format!("{}/{}", wanted.server, wanted.topic))
            .collect();
        assert_eq!(named, ["127.0.0.1:8000/a", "127.0.0.1:8000/b"]);
        assert_eq!(subscribe.patience, Patience::FirstThenEver);
        let publish = read_publish(&matches(&["publish", "a", "hi"]), nowhere()).unwrap();
        assert_eq!(publish.server.to_string(), "127.0.0.1:8001");
        assert_eq!(publish.message.as_deref(), Some("hi"));
        let top = read_top(&matches(&["top"]), nowhere()).unwrap();
        assert_eq!(top.server.to_string(), "127.0.0.1:8001");
        assert_eq!(top.interval, Duration::from_secs(1));
    }

    #[test]
    fn the_settings_of_the_installed_daemon_say_where_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let (file, token) = (
            folder.path().join("fanfare.toml"),
            folder.path().join("token"),
        );
        std::fs::write(&token, "secret").unwrap();
        let text = format!(
            "listen = \"[::]:9\"\nadmin = \"unix:/run/there\"\nadmin_token_file = {token:?}\n\
             anonymous = [{{ match = \"**\" }}]\n"
        );
        std::fs::write(&file, text).unwrap();
        let subscribe = read_subscribe(&matches(&["subscribe", "a"]), &file).unwrap();
        assert_eq!(subscribe.topics[0].server.to_string(), "[::1]:9");
        let top = read_top(&matches(&["top"]), &file).unwrap();
        assert_eq!(top.server, Server::Unix("/run/there".into()));
        assert_eq!(top.token, Some(Secret::File(token)));
    }

    #[test]
    fn a_token_is_of_the_file_or_the_settings_or_the_variable() {
        let file = |name: &str| Some(Secret::File(name.into()));
        let named = matches(&["top", "--token-file", "a"]);
        let unnamed = matches(&["top"]);
        // Every test is run with this variable.
        assert_eq!(token(&named, file("b"), "PATH"), file("a"));
        assert_eq!(token(&unnamed, file("b"), "PATH"), file("b"));
        let of_variable = Some(Secret::Variable("PATH"));
        assert_eq!(token(&unnamed, None, "PATH"), of_variable);
    }

    #[test]
    fn topics_may_be_urls_and_are_named_once() {
        let words = [
            "subscribe",
            "wss://x/a%2Fb",
            "--since",
            "3",
            "--retry-s",
            "5",
        ];
        let subscribe = read_subscribe(&matches(&words), nowhere()).unwrap();
        assert_eq!(subscribe.topics[0].topic, "a/b");
        assert!(subscribe.topics[0].server.is_over_tls());
        assert_eq!(subscribe.patience, Patience::For(Duration::from_secs(5)));
        for words in [
            &["subscribe", "a", "a"][..],
            &["subscribe", "ws://x"],
            &["subscribe", "a", "--server", "nowhere"],
            &["subscribe", "a", "b", "--since", "0a-1"],
        ] {
            let read = read_subscribe(&matches(words), nowhere());
            assert!(matches!(read, Err(End::Usage(_))), "{words:?}");
        }
    }
}
