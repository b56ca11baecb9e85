//! Spans as a collector takes them: OTLP, in its binary coding (opentelemetry-proto 1, package
//! `opentelemetry.proto.collector.trace.v1`).
//!
//! Written here are the fields that this server has something for; a collector takes the others
//! for empty. Field numbers are those of the protocol's files.

use prost::Message;

/// What the spans' author is called.
const SCOPE: &str = "fanfare";

/// A span, as it is told.
#[derive(Clone, PartialEq, Message)]
pub struct Span {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(int32, tag = "6")]
    kind: i32,
    #[prost(fixed64, tag = "7")]
    start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<Attribute>,
}

/// Where a span belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ids {
    pub trace: u128,
    pub span: u64,
    pub parent: Option<u64>,
}

/// What a span is to those outside of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A step of something larger.
    Internal = 1,
    /// A request of somebody else.
    Server = 2,
}

#[derive(Clone, PartialEq, Message)]
pub struct Attribute {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(oneof = "Value", tags = "1, 2, 3")]
    value: Option<Value>,
}

/// What an attribute says.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Value {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(bool, tag = "2")]
    Flag(bool),
    #[prost(int64, tag = "3")]
    Number(i64),
}

#[derive(Clone, PartialEq, Message)]
struct ExportTraceServiceRequest {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Span>,
}

#[derive(Clone, PartialEq, Message)]
struct Scope {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    version: String,
}

/// A request that tells of spans of what `resource` describes.
pub fn request(resource: &[Attribute], spans: Vec<Span>) -> Vec<u8> {
    let scope = Scope {
        name: SCOPE.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let scope_spans = ScopeSpans {
        scope: Some(scope),
        spans,
    };
    let resource = Resource {
        attributes: resource.to_vec(),
    };
    let resource_spans = ResourceSpans {
        resource: Some(resource),
        scope_spans: vec![scope_spans],
    };
    let request = ExportTraceServiceRequest {
        resource_spans: vec![resource_spans],
    };
    request.encode_to_vec()
}

impl Span {
    /// Its times are nanoseconds since 1970.
    pub fn new(name: &str, kind: Kind, ids: Ids, (begin_ns, end_ns): (u64, u64)) -> Span {
        let parent = ids.parent.map(u64::to_be_bytes);
        Span {
            trace_id: ids.trace.to_be_bytes().into(),
            span_id: ids.span.to_be_bytes().into(),
            parent_span_id: parent.map(Vec::from).unwrap_or_default(),
            name: name.to_owned(),
            kind: kind as i32,
            start_time_unix_nano: begin_ns,
            end_time_unix_nano: end_ns.max(begin_ns),
            attributes: Vec::new(),
        }
    }

    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Span {
        self.attributes.push(attribute(key, value));
        self
    }
}

pub fn attribute(key: &str, value: impl Into<Value>) -> Attribute {
    Attribute {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(value.into()),
        }),
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(text.to_owned())
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Value::Flag(flag)
    }
}

/// The protocol has signed numbers alone.
impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Value::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest as Told;
    use serde_json::json;

    use super::*;

    const IDS: Ids = Ids {
        trace: 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c,
        span: 1,
        parent: None,
    };

    #[test]
    fn the_protocols_own_types_read_what_is_told_and_tell_it_in_its_json() {
        let ids = Ids {
            parent: Some(0xb7ad_6b71_6920_3331),
            ..IDS
        };
        let span = Span::new("publish", Kind::Server, ids, (1_000, 2_500))
            .with("messaging.destination.name", "a/b")
            .with("fanfare.offset", 7_u64)
            .with("fanfare.tls", true);
        let bytes = request(&[attribute("service.name", "fanfare")], vec![span]);
        let told = serde_json::to_value(Told::decode(&*bytes).unwrap()).unwrap();
        let all = &told["resourceSpans"][0];
        let text = |key, value| json!({ "key": key, "value": { "stringValue": value } });
        let resource = &all["resource"]["attributes"];
        assert_eq!(*resource, json!([text("service.name", "fanfare")]));
        let scope = &all["scopeSpans"][0]["scope"];
        assert_eq!(scope["name"], "fanfare");
        assert_eq!(scope["version"], env!("CARGO_PKG_VERSION"));
        let span = &all["scopeSpans"][0]["spans"][0];
        assert_eq!(span["traceId"], "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(span["spanId"], "0000000000000001");
        assert_eq!(span["parentSpanId"], "b7ad6b7169203331");
        assert_eq!(
            (&span["name"], &span["kind"]),
            (&json!("publish"), &json!(2))
        );
        assert_eq!(span["startTimeUnixNano"], "1000");
        assert_eq!(span["endTimeUnixNano"], "2500");
        let attributes = json!([
            text("messaging.destination.name", "a/b"),
            { "key": "fanfare.offset", "value": { "intValue": "7" } },
            { "key": "fanfare.tls", "value": { "boolValue": true } },
        ]);
        assert_eq!(span["attributes"], attributes);
    }

    #[test]
    fn a_span_without_a_parent_names_none_and_never_ends_before_it_begins() {
        let span = Span::new("handshake", Kind::Internal, IDS, (9, 8)).with("n", u64::MAX);
        let told = Told::decode(&*request(&[], vec![span])).unwrap();
        let span = &told.resource_spans[0].scope_spans[0].spans[0];
        assert!(span.parent_span_id.is_empty());
        assert_eq!((span.start_time_unix_nano, span.end_time_unix_nano), (9, 9));
        let value = serde_json::to_value(&span.attributes[0].value).unwrap();
        assert_eq!(value, json!({ "intValue": i64::MAX.to_string() }));
    }
}
