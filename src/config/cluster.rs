//! What of the cluster's settings contradicts others.

use super::check::Conflict;
use super::{Keep, Policy, Settings};

/// What a message's headers may take beside its payload.
const HEADERS_BYTES_MAX: usize = 16 << 10;

/// Numbers of replicas that NATS can have a majority of.
const REPLICAS: [u16; 3] = [1, 3, 5];

impl Settings {
    /// Everything of the cluster's settings that does not fit together.
    pub(super) fn cluster_conflicts(&self) -> Vec<Conflict> {
        let mut found = self.unkept();
        if self.cluster_nats.is_empty() {
            return found;
        }
        found.extend(self.wanted_too_much());
        found.extend(self.credentials_unclear());
        let mut require = |holds: bool, keys: &[&'static str], sentence: String| {
            if !holds {
                let keys = keys.to_vec();
                found.push(Conflict { keys, sentence });
            }
        };
        require(
            REPLICAS.contains(&self.cluster_replicas),
            &["cluster_replicas"],
            format!(
                "cluster.replicas ({}) must be 1, 3 or 5: of another number no more may fail than of one less",
                self.cluster_replicas
            ),
        );
        require(
            self.cluster_cert_file.is_some() == self.cluster_key_file.is_some(),
            &["cluster_cert_file", "cluster_key_file"],
            "cluster.cert_file and cluster.key_file belong together: name both".into(),
        );
        let age_ms_max = self.cluster_age_ms_max;
        require(
            age_ms_max == 0 || self.cluster_duplicates_ms <= age_ms_max,
            &["cluster_duplicates_ms", "cluster_age_ms_max"],
            format!(
                "cluster.duplicates_ms ({}) must be at most cluster.age_ms_max ({age_ms_max}): \
                 a message is known no longer than it is kept",
                self.cluster_duplicates_ms
            ),
        );
        let proposed_bytes_min = self.message_bytes_max + HEADERS_BYTES_MAX;
        require(
            self.cluster_proposed_bytes_max >= proposed_bytes_min,
            &["cluster_proposed_bytes_max", "message_bytes_max"],
            format!(
                "cluster.proposed_bytes_max ({}) must hold one message with its headers ({proposed_bytes_min})",
                self.cluster_proposed_bytes_max
            ),
        );
        found
    }

    /// Where topics are to be kept by a cluster that is not there.
    fn unkept(&self) -> Vec<Conflict> {
        let without = |(key, what): (&'static str, String)| Conflict {
            keys: vec![key, "cluster_nats"],
            sentence: format!(
                "{what}keep = \"cluster\" needs cluster.nats, the addresses of NATS servers"
            ),
        };
        let kept = self.kept_in_cluster().map(|(key, what, _)| (key, what));
        match self.cluster_nats.is_empty() {
            true => kept.map(without).collect(),
            false => Vec::new(),
        }
    }

    /// Retention beyond that of the stream: it would be promised and not be kept.
    fn wanted_too_much(&self) -> Vec<Conflict> {
        let mut found = Vec::new();
        for (key, what, policy) in self.kept_in_cluster() {
            let limits = [
                (
                    "retain_messages_max",
                    policy.retain_messages_max as u64,
                    "cluster_topic_messages_max",
                    self.cluster_topic_messages_max,
                ),
                (
                    "retain_ms_max",
                    policy.retain_ms_max,
                    "cluster_age_ms_max",
                    self.cluster_age_ms_max,
                ),
            ];
            for (name, wanted, limit_key, limit) in limits {
                if limit == 0 || wanted <= limit {
                    continue;
                }
                let first = if what.is_empty() { name } else { key };
                let limit_name = limit_key.replacen('_', ".", 1);
                found.push(Conflict {
                    keys: vec![first, limit_key],
                    sentence: format!(
                        "{what}{name} ({wanted}) must be at most {limit_name} ({limit}), \
                         as the stream keeps no more"
                    ),
                });
            }
        }
        found
    }

    /// What says that topics are kept by the cluster, how a sentence about it begins, and what
    /// holds for these topics.
    fn kept_in_cluster(&self) -> impl Iterator<Item = (&'static str, String, Policy)> {
        let rules = self.topics.iter().enumerate().map(|(at, rule)| {
            let what = format!("topics, number {}: ", at + 1);
            ("topics", what, self.policy(Some(rule)))
        });
        let all = std::iter::once(("keep", String::new(), self.policy(None))).chain(rules);
        let standard = self.policy(None);
        all.filter(move |(key, _, policy)| {
            // Where a rule leaves it all out, what is said of the settings is enough.
            let is_said = *key == "topics"
                && standard.keep == policy.keep
                && standard.retain_messages_max == policy.retain_messages_max
                && standard.retain_ms_max == policy.retain_ms_max;
            policy.keep == Keep::Cluster && !is_said
        })
    }

    /// More than one way to be known to the servers, or half of one.
    fn credentials_unclear(&self) -> Vec<Conflict> {
        let ways = [
            ("cluster_user", self.cluster_user.is_some()),
            ("cluster_token_file", self.cluster_token_file.is_some()),
            (
                "cluster_credentials_file",
                self.cluster_credentials_file.is_some(),
            ),
            ("cluster_nkey_file", self.cluster_nkey_file.is_some()),
        ];
        let keys: Vec<_> = ways
            .into_iter()
            .filter_map(|(key, is_named)| is_named.then_some(key))
            .collect();
        let mut found = Vec::new();
        if keys.len() > 1 {
            let names: Vec<_> = keys.iter().map(|key| key.replacen('_', ".", 1)).collect();
            let sentence = format!(
                "{} cannot be used together: a node is known to the NATS servers in one way",
                names.join(" and ")
            );
            found.push(Conflict { keys, sentence });
        }
        if self.cluster_user.is_some() != self.cluster_password_file.is_some() {
            found.push(Conflict {
                keys: vec!["cluster_user", "cluster_password_file"],
                sentence: "cluster.user and cluster.password_file belong together: name both"
                    .into(),
            });
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ConfigError, check_file};

    fn sentences(change: impl FnOnce(&mut Settings)) -> Vec<String> {
        let mut settings = Settings {
            cluster_nats: vec!["nats://127.0.0.1:4222".into()],
            keep: Keep::Cluster,
            ..Settings::default()
        };
        change(&mut settings);
        let found = settings.cluster_conflicts().into_iter();
        found.map(|conflict| conflict.sentence).collect()
    }

    fn check(text: &str) -> Result<Settings, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f.toml");
        std::fs::write(&path, text).unwrap();
        check_file(&path)
    }

    #[test]
    fn topics_of_a_cluster_need_servers() {
        assert_eq!(sentences(|_| ()), [""; 0]);
        assert_eq!(
            sentences(|settings| settings.cluster_nats.clear()),
            ["keep = \"cluster\" needs cluster.nats, the addresses of NATS servers"]
        );
        let by_rule = "[[topics]]\nmatch = \"b\"\n[[topics]]\nmatch = \"a\"\nkeep = \"cluster\"\n";
        let told = check(by_rule).unwrap_err().to_string();
        let end = "line 1: topics, number 2: keep = \"cluster\" needs cluster.nats, \
                   the addresses of NATS servers";
        assert!(told.ends_with(end), "{told}");
    }

    #[test]
    fn no_rule_retains_more_than_the_stream() {
        assert_eq!(
            sentences(|settings| {
                settings.retain_messages_max = 10_001;
                settings.topics = vec![
                    toml::from_str("match = \"a\"\nretain_ms_max = 86400001").unwrap(),
                    toml::from_str("match = \"b\"\nretain_ms_max = 86400001\nkeep = \"memory\"")
                        .unwrap(),
                    toml::from_str("match = \"c\"").unwrap(),
                ];
            }),
            [
                "retain_messages_max (10001) must be at most cluster.topic_messages_max (10000), \
                 as the stream keeps no more",
                "topics, number 1: retain_messages_max (10001) must be at most \
                 cluster.topic_messages_max (10000), as the stream keeps no more",
                "topics, number 1: retain_ms_max (86400001) must be at most \
                 cluster.age_ms_max (86400000), as the stream keeps no more",
            ]
        );
        let unlimited = sentences(|settings| {
            settings.retain_messages_max = 1_000_000;
            settings.cluster_topic_messages_max = 0;
        });
        assert_eq!(unlimited, [""; 0]);
    }

    #[test]
    fn a_node_is_known_in_one_way() {
        assert_eq!(
            sentences(|settings| {
                settings.cluster_token_file = Some("/token".into());
                settings.cluster_nkey_file = Some("/seed".into());
            }),
            [
                "cluster.token_file and cluster.nkey_file cannot be used together: \
                 a node is known to the NATS servers in one way"
            ]
        );
        assert_eq!(
            sentences(|settings| settings.cluster_user = Some("a".into())),
            ["cluster.user and cluster.password_file belong together: name both"]
        );
        assert_eq!(
            sentences(|settings| settings.cluster_cert_file = Some("/cert".into())),
            ["cluster.cert_file and cluster.key_file belong together: name both"]
        );
    }

    #[test]
    fn what_nats_would_refuse_is_refused_before() {
        assert_eq!(
            sentences(|settings| settings.cluster_replicas = 2),
            [
                "cluster.replicas (2) must be 1, 3 or 5: of another number no more may fail than of one less"
            ]
        );
        assert_eq!(
            sentences(|settings| {
                settings.retain_ms_max = 1;
                settings.cluster_age_ms_max = 299_999;
            }),
            [
                "cluster.duplicates_ms (300000) must be at most cluster.age_ms_max (299999): \
                 a message is known no longer than it is kept"
            ]
        );
        assert_eq!(
            sentences(|settings| settings.cluster_proposed_bytes_max = 1 << 20),
            [
                "cluster.proposed_bytes_max (1048576) must hold one message with its headers (1064960)"
            ]
        );
    }

    #[test]
    fn the_cluster_has_a_table_of_its_own_in_the_file() {
        let settings = check(
            "keep = \"cluster\"\n[cluster]\nnats = [\"nats://a:4222\", \"tls://b\"]\nreplicas = 3\n",
        );
        let settings = settings.unwrap();
        assert_eq!(settings.cluster_nats, ["nats://a:4222", "tls://b"]);
        assert_eq!(settings.cluster_replicas, 3);
        assert_eq!(
            check("cluster.nats = \"nats://a\"")
                .unwrap()
                .cluster_nats
                .len(),
            1
        );
    }

    #[test]
    fn what_is_wrong_in_the_table_is_told_with_its_line() {
        let told = |text: &str| check(text).unwrap_err().to_string();
        for (text, end) in [
            (
                "\n[cluster]\nnat = \"nats://a\"",
                "line 3: there is no setting \"cluster.nat\": did you mean cluster.nats?",
            ),
            (
                "[cluster]\nlisten = \"127.0.0.1:1\"",
                "line 2: there is no setting \"cluster.listen\": listen stands above [cluster], at the top of the file",
            ),
            (
                "cluster_nats = \"nats://a\"",
                "line 1: there is no setting \"cluster_nats\": did you mean cluster.nats?",
            ),
            (
                "cluster = 1",
                "line 1: there is no setting \"cluster\": it is a table, [cluster], and its settings stand below it",
            ),
            (
                "[cluster]\nreplicas = \"2x\"",
                "line 2: cluster.replicas: \"2x\" is not allowed, allowed: 1 to 5",
            ),
            (
                "[cluster]\nnats = nats://a\n",
                "line 2: cluster.nats: put quotes around the value: nats = \"nats://a\"",
            ),
            (
                "cluster.nats = [\"nats://u:hidden@a\"]",
                "line 1: cluster.nats: \"a\" is not allowed, allowed: \
                 nats://HOST:PORT or tls://HOST:PORT, without user and password",
            ),
            (
                "[cluster]\nnats = \"nats://a\"\nreplicas = 4\n",
                "line 3: cluster.replicas (4) must be 1, 3 or 5: of another number no more may fail than of one less",
            ),
            (
                "[cluster]\nstream = \"a.b\"",
                "line 2: cluster.stream: \"a.b\" is not allowed, allowed: letters, digits, - and _, 64 at most",
            ),
            (
                "[cluster]\nnkey_file = \"/no/such/seed\"",
                "line 2: cluster.nkey_file: cannot read /no/such/seed: No such file or directory (os error 2)",
            ),
        ] {
            let told = told(text);
            assert!(told.ends_with(end), "{told}");
        }
    }
}
