//! In whose name publishers use an HTTP API, if they do.

use std::path::PathBuf;

use clap::Args;

use crate::api::App;
use crate::target::Target;

const HEADING: &str = "Publishing over HTTP";

#[derive(Clone, Debug, Args)]
pub struct Posting {
    /// Publish over the HTTP API of the Pusher Channels protocol, as the app with this id; topics
    /// are named as by --channel
    #[arg(long, value_name = "ID", requires = "app_secret_file", help_heading = HEADING)]
    pub app: Option<String>,
    /// The app's key [default: that of the --url, where its path is /app/KEY]
    #[arg(long, value_name = "KEY", requires = "app", help_heading = HEADING)]
    pub app_key: Option<String>,
    /// A file with the app's secret
    #[arg(long, value_name = "FILE", requires = "app", help_heading = HEADING)]
    pub app_secret_file: Option<PathBuf>,
}

impl Posting {
    /// The app; `must` it be there, it is an error if it is not.
    pub fn app(&self, target: &Target, must: bool) -> Result<Option<App>, String> {
        let (Some(id), Some(file)) = (&self.app, &self.app_secret_file) else {
            return match must {
                true => Err(
                    "--dialect pusher: publishers use the HTTP API; name their app by --app ID \
                     and --app-secret-file FILE"
                        .into(),
                ),
                false => Ok(None),
            };
        };
        let key = self.app_key.as_deref().or(target.app_key());
        let key = key.ok_or("--app: the --url does not tell the app's key; add --app-key KEY")?;
        let plain = |clean: char| clean.is_ascii_alphanumeric() || "-_.".contains(clean);
        for (option, value) in [("--app", &id[..]), ("--app-key", key)] {
            if value.is_empty() || !value.chars().all(plain) {
                return Err(format!("{option} {value}: letters, digits and -_. only"));
            }
        }
        let secret = std::fs::read(file)
            .map_err(|error| format!("--app-secret-file {}: {error}", file.display()))?;
        let secret = secret.trim_ascii();
        if secret.is_empty() {
            return Err(format!("--app-secret-file {}: it is empty", file.display()));
        }
        Ok(Some(App::new(id, key, secret)))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command, FanoutArgs};
    use crate::dialect::Dialect;

    #[test]
    fn an_app_has_an_id_a_key_and_a_secret() {
        let folder = tempfile::tempdir().unwrap();
        let (full, empty) = (folder.path().join("full"), folder.path().join("empty"));
        std::fs::write(&full, "secret\n").unwrap();
        std::fs::write(&empty, "\n").unwrap();
        let app_error = |path: &str, extra: &str| {
            let line = format!("fanfare-loadtest fanout --url ws://127.0.0.1:1/{path} {extra}");
            let cli = Cli::try_parse_from(line.split_whitespace()).unwrap();
            let Command::Fanout(FanoutArgs { common, .. }) = cli.command else {
                unreachable!()
            };
            let target = Target::new(&common.url, None, &[]).unwrap();
            common
                .posting
                .app(&target, common.dialect == Dialect::Pusher)
                .err()
                .unwrap_or_default()
        };
        let with = |id: &str, file: &Path| {
            format!(
                "--dialect pusher --app {id} --app-secret-file {}",
                file.display()
            )
        };
        assert_eq!(app_error("app/k", &with("1", &full)), "");
        assert_eq!(app_error("x", &(with("1", &full) + " --app-key k")), "");
        assert_eq!(app_error("x", ""), "");
        assert!(app_error("app/k", "--dialect pusher").contains("--app ID"));
        assert!(app_error("x", &with("1", &full)).contains("--app-key KEY"));
        assert!(app_error("app/k", &with("a/b", &full)).contains("letters, digits"));
        assert!(app_error("app/k", &with("1", &empty)).contains("it is empty"));
        let missing = folder.path().join("missing");
        assert!(app_error("app/k", &with("1", &missing)).contains("--app-secret-file"));
    }
}
