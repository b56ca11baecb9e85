//! Settings that are given and have no effect beside the others, so that the user
//! can be told.
//!
//! They are no errors: nothing is refused for them. Called by `cli`.

use super::{CLUSTER, Deflate, ProxyHeader, Settings, TABLE, Zerocopy, file_key};

impl Settings {
    /// A sentence for each setting that has been changed and means nothing beside
    /// the others.
    pub fn unused(&self) -> Vec<String> {
        let standard = Settings::default();
        let mut found = Vec::new();
        let mut without = |is_off: bool, why: &str, keys: &[&str]| {
            let given = keys.iter().filter(|key| self.differs(key, &standard));
            found.extend(
                given
                    .filter(|_| is_off)
                    .map(|key| format!("{} is not used: {why}", file_key(key))),
            );
        };
        without(
            self.zerocopy == Zerocopy::Never,
            "zerocopy is never",
            &["zerocopy_bytes_min"],
        );
        without(
            self.deflate == Deflate::Off,
            "deflate is off",
            &["deflate_level", "deflate_bytes_min"],
        );
        without(
            self.retain_messages_max == 0,
            "retain_messages_max is 0, so that topics keep nothing",
            &["retain_bytes_max", "retain_ms_max"],
        );
        without(
            self.admin.is_empty() && self.api.is_empty(),
            "admin and api are off",
            &[
                "admin_token_file",
                "api_key_file",
                "api_connections_max",
                "batch_lines_max",
                "batch_bytes_max",
                "delivery_acks_max",
                "idempotency_ms_max",
                "idempotency_keys_max",
            ],
        );
        without(
            !self.speaks_tls(),
            "listen_tls and admin_tls are off, so that no TLS is spoken",
            &["tls_certificates", "tls_client_ca", "tls_version_min"],
        );
        without(
            self.tls_client_ca.is_none(),
            "tls_client_ca names no authority, so that clients show no certificates",
            &["tls_client_auth"],
        );
        without(
            self.listen_tls.is_empty(),
            "listen_tls is off",
            &["hsts_max_age_s"],
        );
        without(
            self.token_keys.is_empty(),
            "token_keys names no key, so that there are no tokens",
            &["token_audience", "token_issuer", "token_cookie"],
        );
        without(
            self.proxy_header == ProxyHeader::None,
            "proxy_header is none, so that all clients of a proxy count as one address",
            &["trusted_proxies"],
        );
        without(
            self.otlp_endpoint.is_none(),
            "otlp_endpoint names no collector",
            &["otlp_headers_file", "trace_sample_ratio", "trace_ms_max"],
        );
        let cluster = TABLE.iter().map(|row| row.key);
        let cluster: Vec<_> = cluster.filter(|key| key.starts_with(CLUSTER)).collect();
        without(
            self.cluster_nats.is_empty(),
            "cluster.nats names no server",
            &cluster,
        );
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_all_used() {
        assert_eq!(Settings::default().unused(), [""; 0]);
    }

    #[test]
    fn what_means_nothing_beside_the_others_is_named_with_the_reason() {
        let settings = Settings {
            zerocopy: Zerocopy::Never,
            zerocopy_bytes_min: 1,
            deflate: Deflate::Off,
            deflate_level: 9,
            retain_messages_max: 0,
            retain_ms_max: 1,
            admin: Vec::new(),
            admin_token_file: Some("/token".into()),
            api_key_file: Some("/key".into()),
            token_cookie: Some("session".into()),
            trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
            trace_ms_max: 10,
            cluster_replicas: 3,
            ..Settings::default()
        };
        let found = settings.unused();
        let keys: Vec<_> = found
            .iter()
            .filter_map(|note| note.split(' ').next())
            .collect();
        assert_eq!(
            keys,
            [
                "zerocopy_bytes_min",
                "deflate_level",
                "retain_ms_max",
                "admin_token_file",
                "api_key_file",
                "token_cookie",
                "trusted_proxies",
                "trace_ms_max",
                "cluster.replicas"
            ]
        );
        assert_eq!(
            found[0],
            "zerocopy_bytes_min is not used: zerocopy is never"
        );
        let used = Settings {
            zerocopy: Zerocopy::Auto,
            ..settings
        };
        assert_eq!(used.unused().len(), 8);
    }
}
