//! `GET /metrics`: the figures in the format that Prometheus reads, or in its older
//! one.
//!
//! Which figures there are is in `families` and `process`. Called by `routes`.

mod clustering;
mod families;
mod family;
mod hooking;
pub(super) mod process;
mod sealing;
mod storing;
mod summing;
mod traced;
mod troubling;

use std::fmt;
use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::StatusCode;
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, VARY};
use axum::response::{IntoResponse, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::registry::Registry;

use self::family::{Family, Sample, Values};
use self::process::Process;
use crate::hub::Hub;

#[cfg(test)]
mod tests;

const OPEN_METRICS: &str = "application/openmetrics-text";
const OPEN_METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const CLASSIC_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Writes the figures of a hub.
#[derive(Debug)]
pub(super) struct Exposition(Registry);

impl Exposition {
    pub(super) fn new(hub: Arc<Hub>) -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Figures {
            hub,
            process: Process::new(),
        }));
        Exposition(registry)
    }

    /// OpenMetrics 1.0 text.
    fn open_metrics(&self) -> Result<String, fmt::Error> {
        let mut text = String::with_capacity(32 << 10);
        encode(&mut text, &self.0)?;
        Ok(text)
    }
}

/// Prometheus asks for OpenMetrics; others get the older format.
pub(super) async fn show(
    State(exposition): State<Arc<Exposition>>,
    headers: HeaderMap,
) -> Result<Response, StatusCode> {
    let text = exposition.open_metrics().map_err(|error| {
        tracing::error!(%error, "cannot write the metrics");
        StatusCode::INTERNAL_SERVER_ERROR
    })?;
    let mut accepted = headers.get_all(ACCEPT).iter();
    let open = accepted.any(|accept| {
        let accept = accept.to_str().unwrap_or_default();
        accept.contains(OPEN_METRICS)
    });
    let (content_type, text) = if open {
        (OPEN_METRICS_TYPE, text)
    } else {
        (CLASSIC_TYPE, classic(&text))
    };
    let headers = [
        (CONTENT_TYPE, content_type),
        (CACHE_CONTROL, "no-store"),
        (VARY, "Accept"),
    ];
    Ok((headers, text).into_response())
}

/// OpenMetrics text in the older format (Prometheus text 0.0.4): there a counter's
/// family is called as its samples are, and neither units nor an end are named.
fn classic(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    let mut help = "";
    for line in open_metrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            // Whether it is a counter is in the next line.
            help = rest;
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap_or((rest, "untyped"));
            let (_, help) = help.split_once(' ').unwrap_or_default();
            let total = if kind == "counter" { "_total" } else { "" };
            text += &format!("# HELP {name}{total} {help}\n# TYPE {name}{total} {kind}\n");
        } else if !line.starts_with('#') {
            text += line;
            text.push('\n');
        }
    }
    text
}

struct Figures {
    hub: Arc<Hub>,
    process: Process,
}

impl fmt::Debug for Figures {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Figures")
    }
}

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        for family in families::read(&self.hub, &self.process) {
            let Family {
                prefix,
                name,
                unit,
                help,
                ..
            } = family;
            let name = format!("{prefix}_{name}");
            let unit = unit.map(Into::into);
            let mut encoder =
                encoder.encode_descriptor(&name, help, unit.as_ref(), family.metric_type())?;
            match &family.values {
                Values::Counters(samples) => encode_all(&mut encoder, samples, |to, value| {
                    to.encode_counter::<NoLabelSet, _, u64>(value, None)
                }),
                Values::TimeCounters(samples) => encode_all(&mut encoder, samples, |to, value| {
                    to.encode_counter::<NoLabelSet, _, u64>(value, None)
                }),
                Values::Gauges(samples) => {
                    encode_all(&mut encoder, samples, |to, value| to.encode_gauge(value))
                }
                Values::Times(samples) => {
                    encode_all(&mut encoder, samples, |to, value| to.encode_gauge(value))
                }
                Values::Histograms(samples) => encode_all(&mut encoder, samples, |to, times| {
                    let count = times.buckets.iter().map(|(_, count)| count).sum();
                    to.encode_histogram::<NoLabelSet>(times.sum_s, count, &times.buckets, None)
                }),
            }?;
        }
        Ok(())
    }
}

fn encode_all<T>(
    encoder: &mut MetricEncoder<'_>,
    samples: &[Sample<T>],
    encode: impl Fn(&mut MetricEncoder<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for Sample { label, value } in samples {
        match label {
            Some(label) => encode(
                &mut encoder.encode_family(&std::slice::from_ref(label))?,
                value,
            )?,
            None => encode(encoder, value)?,
        }
    }
    Ok(())
}
