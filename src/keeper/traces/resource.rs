//! What the collector is told of the process whose traces it gets.

use percent_encoding::percent_decode_str;

use crate::keeper::linked::host;
use crate::protocol::otlp::{Attribute, attribute};

const SERVICE_NAME: &str = "service.name";

/// Describes this process. The variables of the environment that OpenTelemetry names say more,
/// or otherwise: `OTEL_RESOURCE_ATTRIBUTES`, as `key=value,key=value`, and `OTEL_SERVICE_NAME`.
pub(super) fn describe(env: impl Fn(&str) -> Option<String>) -> Vec<Attribute> {
    let own = [
        (SERVICE_NAME, "fanfare".to_owned()),
        ("service.version", env!("CARGO_PKG_VERSION").to_owned()),
        // Tells this process from the one before and the next one.
        (
            "service.instance.id",
            format!("{:032x}", fastrand::u128(1..)),
        ),
        ("host.name", host()),
    ];
    let mut all: Vec<(String, String)> = own.map(|(key, value)| (key.to_owned(), value)).into();
    let given = env("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
    match pairs(&given) {
        Some(pairs) => pairs.into_iter().for_each(|pair| put(&mut all, pair)),
        None => {
            tracing::warn!("OTEL_RESOURCE_ATTRIBUTES is not used: it must be key=value,key=value")
        }
    }
    if let Some(name) = env("OTEL_SERVICE_NAME").filter(|name| !name.is_empty()) {
        put(&mut all, (SERVICE_NAME.to_owned(), name));
    }
    let attributes = all.iter().map(|(key, value)| attribute(key, &**value));
    attributes.collect()
}

fn put(all: &mut Vec<(String, String)>, (key, value): (String, String)) {
    match all.iter_mut().find(|(known, _)| *known == key) {
        Some((_, before)) => *before = value,
        None => all.push((key, value)),
    }
}

fn pairs(given: &str) -> Option<Vec<(String, String)>> {
    let pairs = given.split(',').map(str::trim);
    let pairs = pairs.filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=')?;
        let key = key.trim();
        let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
        (!key.is_empty()).then(|| (key.to_owned(), value.into_owned()))
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(variables: &[(&str, &str)]) -> Vec<Attribute> {
        describe(|key| {
            let mut all = variables.iter();
            let found = all.find(|(known, _)| *known == key);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn a_process_is_named_and_the_environment_may_say_otherwise_and_more() {
        let plain = described(&[]);
        assert!(plain.contains(&attribute("service.name", "fanfare")));
        assert!(plain.contains(&attribute("service.version", env!("CARGO_PKG_VERSION"))));
        assert_eq!(plain.len(), 4);
        let given = "service.name=a, deployment.environment.name=b%2Cc%3D ,host.name=d";
        let told = described(&[("OTEL_RESOURCE_ATTRIBUTES", given)]);
        for (key, value) in [
            ("service.name", "a"),
            ("deployment.environment.name", "b,c="),
            ("host.name", "d"),
        ] {
            assert!(told.contains(&attribute(key, value)), "{key}");
        }
        assert_eq!(told.len(), 5);
        let both = described(&[
            ("OTEL_RESOURCE_ATTRIBUTES", given),
            ("OTEL_SERVICE_NAME", "e"),
        ]);
        assert!(both.contains(&attribute("service.name", "e")) && both.len() == 5);
    }

    #[test]
    fn what_is_no_list_of_pairs_is_not_used_at_all() {
        for given in ["a", "a=b,=c", "a=b,c", "a=%ff"] {
            let told = described(&[("OTEL_RESOURCE_ATTRIBUTES", given)]);
            assert_eq!(told.len(), 4, "{given}");
        }
    }
}
