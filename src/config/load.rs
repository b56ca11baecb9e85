//! Makes [`Settings`] of the defaults, the file and the command line, each laid
//! over the one before, and collects all that is wrong with them.
//!
//! Called by `cli` at the start and by `check-config`, and by `service` for a
//! reload.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, ValueHint};

use super::fault::{ConfigError, Fault};
use super::secrets::{check_readable, token_in};
use super::value::Given;
use super::{Kind, Settings, TABLE, check, file, file_key};

/// The id of the option that names the file.
pub const CONFIG_OPTION: &str = "config";

/// The options of the command line: one for each setting, and `--config`.
pub fn options() -> Vec<Arg> {
    let config = Arg::new(CONFIG_OPTION)
        .long(CONFIG_OPTION)
        .value_name("FILE")
        .value_hint(ValueHint::FilePath)
        .value_parser(clap::value_parser!(PathBuf))
        .help("TOML file with settings; options on the command line overrule it");
    let settings = TABLE.iter().map(|row| {
        let repeatable = if row.kind.is_list() {
            "; repeatable"
        } else {
            ""
        };
        let default = if row.default.is_empty() {
            "none"
        } else {
            row.default
        };
        let hint = match row.kind {
            Kind::File => ValueHint::FilePath,
            _ => ValueHint::Other,
        };
        Arg::new(row.key)
            .long(row.option())
            .value_name(row.kind.value_name())
            .value_hint(hint)
            .help_heading(row.heading)
            .action(if row.kind.is_list() {
                ArgAction::Append
            } else {
                ArgAction::Set
            })
            // So that `--cores -1` is told the range, not that there is no option -1.
            .allow_negative_numbers(true)
            .help(format!(
                "{} [default: {default}] [allowed: {}{repeatable}]",
                row.help, row.kind
            ))
    });
    std::iter::once(config).chain(settings).collect()
}

/// Settings, and what the file says besides.
#[derive(Debug)]
pub struct Loaded {
    pub settings: Settings,
    /// Settings that the file has and the command line has otherwise.
    pub overruled: Vec<&'static str>,
}

/// The settings that the command line asks for, with those of its `--config` file
/// below them.
pub fn load(matches: &ArgMatches) -> Result<Loaded, ConfigError> {
    let path = matches.get_one::<PathBuf>(CONFIG_OPTION);
    let mut loader = Loader::default();
    if let Some(path) = path {
        loader.lay_file(path);
    }
    let file = loader.settings.clone();
    let mut overruled = loader.lay_options(matches);
    overruled.retain(|key| loader.settings.differs(key, &file));
    let settings = loader.finish(path.map(PathBuf::as_path))?;
    Ok(Loaded {
        settings,
        overruled,
    })
}

/// As [`load`], without what the file says besides.
pub fn from_matches(matches: &ArgMatches) -> Result<Settings, ConfigError> {
    load(matches).map(|loaded| loaded.settings)
}

/// As [`from_matches`], of a command that asks a daemon which runs already: where
/// neither a file nor its address is named, it is the one that the package set up.
pub fn of_running(matches: &ArgMatches, installed: &Path) -> Result<Settings, ConfigError> {
    let named = |id| matches.value_source(id) == Some(ValueSource::CommandLine);
    // Whoever may not look into the folder is to be told so when the file is read.
    let is_installed = installed.try_exists().unwrap_or(true);
    if named(CONFIG_OPTION) || named("admin") || !is_installed {
        return from_matches(matches);
    }
    let mut loader = Loader::default();
    loader.lay_file(installed);
    loader.lay_options(matches);
    loader.finish(Some(installed))
}

/// The settings of one file over the defaults.
pub fn check_file(path: &Path) -> Result<Settings, ConfigError> {
    let mut loader = Loader::default();
    loader.lay_file(path);
    loader.finish(Some(path))
}

impl Loaded {
    /// A sentence for each setting of the file that another one stands in for.
    pub fn unused(&self) -> impl Iterator<Item = String> {
        self.overruled.iter().map(|key| {
            let option = key.replace('_', "-");
            let key = file_key(key);
            format!("the file's {key} is not used: --{option} on the command line overrules it")
        })
    }
}

#[derive(Default)]
struct Loader {
    settings: Settings,
    /// The line of the file that set a key, for those not overruled by an option.
    lines: HashMap<&'static str, usize>,
    faults: Vec<Fault>,
}

impl Loader {
    fn lay_file(&mut self, path: &Path) {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(cause) => {
                return self.faults.push(Fault::Unreadable {
                    path: path.to_owned(),
                    cause,
                });
            }
        };
        let (entries, faults) = file::read(path, &text);
        self.faults.extend(faults);
        for entry in entries {
            let (key, line) = (entry.row.key, entry.line);
            self.lines.insert(key, line);
            if let Err(problem) = self.settings.set(key, &entry.given) {
                self.faults.push(Fault::InFile {
                    path: path.to_owned(),
                    line,
                    key,
                    problem,
                });
            }
        }
    }

    /// Lays the options of the command line over what is there, and returns those
    /// that the file had set.
    fn lay_options(&mut self, matches: &ArgMatches) -> Vec<&'static str> {
        let mut overruled = Vec::new();
        for row in TABLE {
            if matches.value_source(row.key) != Some(ValueSource::CommandLine) {
                continue;
            }
            let words = matches.get_many::<String>(row.key).into_iter().flatten();
            overruled.extend(self.lines.remove(row.key).map(|_| row.key));
            if let Err(problem) = self.settings.set(row.key, &Given(words.cloned().collect())) {
                self.faults.push(Fault::OnCommandLine {
                    key: row.key,
                    problem,
                });
            }
        }
        overruled
    }

    fn finish(mut self, path: Option<&Path>) -> Result<Settings, ConfigError> {
        // A refused value has left its default in place: what that contradicts says nothing.
        let refused: Vec<_> = self.faults.iter().filter_map(Fault::key).collect();
        let mut conflicts = check::conflicts(&self.settings);
        conflicts.retain(|conflict| !conflict.keys.iter().any(|key| refused.contains(key)));
        for conflict in conflicts {
            let sentence = conflict.sentence;
            let line = conflict.keys.iter().find_map(|key| self.lines.get(key));
            self.faults.push(match (path, line) {
                (Some(path), Some(&line)) => Fault::ConflictInFile {
                    path: path.to_owned(),
                    line,
                    sentence,
                },
                _ => Fault::Conflict { sentence },
            });
        }
        let mut read: Vec<_> = self
            .settings
            .secrets()
            .map(|(key, file)| (key, token_in(file).map(drop)))
            .collect();
        let files = self.settings.files();
        read.extend(files.map(|(key, file)| (key, check_readable(file))));
        read.push(("otlp_headers_file", self.settings.otlp_headers().map(drop)));
        read.push(("token_keys", self.settings.keys().map(drop)));
        read.push(("apps", self.settings.read_app_secrets()));
        read.push((
            "tls_certificates",
            self.settings.own_certificates().map(drop),
        ));
        read.push((
            "tls_client_ca",
            self.settings.client_authorities().map(drop),
        ));
        for (key, read) in read {
            let Err(ConfigError(faults)) = read else {
                continue;
            };
            let line = self.lines.get(key);
            self.faults
                .extend(faults.into_iter().map(|fault| match (path, line) {
                    (Some(path), Some(&line)) => Fault::InFile {
                        path: path.to_owned(),
                        line,
                        key,
                        problem: fault.to_string(),
                    },
                    _ => fault,
                }));
        }
        if self.faults.is_empty() {
            return Ok(self.settings);
        }
        self.faults.sort_by_key(Fault::line);
        Err(ConfigError(self.faults))
    }
}

#[cfg(test)]
mod tests;
