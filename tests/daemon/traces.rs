//! Traces: a collector is told of messages and handshakes that are traced, and what is wrong with
//! it costs nobody anything.

use std::collections::HashMap;
use std::net::TcpListener;

use nix::sys::signal::Signal;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use serde_json::Value;

use crate::clustered::{self, TEXT, say};
use crate::common::{Daemon, Raw, eventually, hear, pass};
use crate::hook_server::{Answer, HookServer, Request, TAKEN};
use crate::nats_server::Server;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// A span, as it is told in the protocol's JSON.
struct Span {
    json: Value,
    /// Of the process.
    resource: HashMap<String, Value>,
}

impl Span {
    fn text(&self, key: &str) -> &str {
        self.json[key].as_str().unwrap_or_default()
    }

    fn ns(&self, key: &str) -> u64 {
        self.text(key).parse().expect("a number")
    }

    fn attributes(&self) -> HashMap<String, Value> {
        attributes(&self.json["attributes"])
    }
}

/// Numbers are told as text.
fn attributes(list: &Value) -> HashMap<String, Value> {
    let pairs = list.as_array().into_iter().flatten();
    let pairs = pairs.map(|pair| {
        let value = pair["value"].as_object().expect("a value");
        let value = value.values().next().expect("one of several kinds");
        (
            pair["key"].as_str().expect("text").to_owned(),
            value.clone(),
        )
    });
    pairs.collect()
}

fn spans_in(requests: &[Request]) -> Vec<Span> {
    let mut spans = Vec::new();
    for request in requests.iter().filter(|request| request.answer == TAKEN) {
        let told = ExportTraceServiceRequest::decode(&*request.body).expect("spans");
        let told = serde_json::to_value(told).expect("it has a JSON");
        for part in told["resourceSpans"].as_array().expect("a list") {
            let resource = attributes(&part["resource"]["attributes"]);
            for span in part["scopeSpans"][0]["spans"].as_array().expect("a list") {
                let (json, resource) = (span.clone(), resource.clone());
                spans.push(Span { json, resource });
            }
        }
    }
    spans
}

/// Waits until there are so many spans with that name, and returns all.
fn spans(collector: &HookServer, name: &str, count: usize) -> Vec<Span> {
    let named = |requests: &[Request]| {
        let all = spans_in(requests);
        all.iter().filter(|span| span.text("name") == name).count()
    };
    let what = format!("{count} spans {name:?}");
    spans_in(&collector.until(&what, |requests| named(requests) >= count))
}

fn named<'a>(spans: &'a [Span], name: &str) -> Vec<&'a Span> {
    let found = spans.iter().filter(|span| span.text("name") == name);
    found.collect()
}

fn endpoint(collector: &HookServer) -> String {
    format!("http://127.0.0.1:{}", collector.port())
}

fn traced(collector: &HookServer, options: &[&str]) -> Daemon {
    let url = endpoint(collector);
    Daemon::start(&[&["--otlp-endpoint", &url], options].concat())
}

/// Publishes over HTTP in the course of a trace.
#[track_caller]
fn post(daemon: &Daemon, topic: &str, text: &str, flags: &str) {
    let request = format!("POST /topics/{topic}/messages");
    let parent = format!("{TEXT}traceparent: 00-{TRACE}-{CALLER}-{flags}\r\n");
    let (head, answer) = daemon.ask_as(&request, &parent, text.as_bytes());
    assert!(head.starts_with("HTTP/1.1 200"), "{head} {answer}");
}

#[test]
fn a_message_is_traced_from_its_publisher_to_the_last_write() {
    let collector = HookServer::start(|_| TAKEN);
    let daemon = traced(&collector, &[]);
    let mut hearers = [
        daemon.connect("/news"),
        daemon.connect("/news?offsets=true"),
    ];
    post(&daemon, "news", "hush-hush", "01");
    assert_eq!(hear(&mut hearers[0]), "hush-hush");
    let told = spans(&collector, "publish", 1);
    assert_eq!(told.len(), 3, "no handshake is traced");
    let [publish, commit, deliver] =
        ["publish", "commit", "deliver"].map(|name| named(&told, name)[0]);
    assert!(told.iter().all(|span| span.text("traceId") == TRACE));
    assert_eq!(publish.text("parentSpanId"), CALLER);
    for part in [commit, deliver] {
        assert_eq!(part.text("parentSpanId"), publish.text("spanId"));
    }
    let times = [
        publish.ns("startTimeUnixNano"),
        commit.ns("endTimeUnixNano"),
        deliver.ns("endTimeUnixNano"),
    ];
    assert!(times.is_sorted(), "{times:?}");
    assert_eq!(commit.ns("startTimeUnixNano"), times[0]);
    assert_eq!(deliver.ns("startTimeUnixNano"), times[1]);
    assert_eq!(publish.ns("endTimeUnixNano"), times[2]);
    let of_publish = publish.attributes();
    for (key, value) in [
        ("messaging.destination.name", "news"),
        ("messaging.message.body.size", "9"),
        ("fanfare.offset", "1"),
        ("fanfare.dialect", "http"),
    ] {
        assert_eq!(of_publish[key], value, "{key}");
    }
    let of_deliver = deliver.attributes();
    assert_eq!(of_deliver["fanfare.subscribers"], "2");
    assert_eq!(of_deliver["fanfare.written"], "2");
    assert_eq!(of_deliver["fanfare.timed_out"], false);
    assert_eq!(publish.resource["service.name"], "fanfare");
    let request = &collector.requests(1)[0];
    assert_eq!(request.line, "POST /v1/traces HTTP/1.1");
    assert_eq!(request.header("content-type"), "application/x-protobuf");
    let holds = |what: &str| {
        let mut windows = request.body.windows(what.len());
        windows.any(|part| part == what.as_bytes())
    };
    assert!(holds("news") && !holds("hush"));
    eventually("all is counted", || {
        daemon.metric("fanfare_traces_exported_total") == 1
    });
    assert_eq!(daemon.metric("fanfare_traces_total"), 1);
    assert_eq!(daemon.metric("fanfare_traces_under_way"), 0);
}

#[test]
fn who_does_not_want_to_be_traced_is_not_and_all_others_are_by_the_ratio() {
    let collector = HookServer::start(|_| TAKEN);
    let daemon = traced(&collector, &["--trace-sample-ratio", "1"]);
    let (mut ann, mut bob) = (daemon.connect("/news"), daemon.connect("/news"));
    post(&daemon, "news", "untraced", "00");
    for client in [&mut ann, &mut bob] {
        assert_eq!(hear(client), "untraced");
    }
    pass(&mut ann, &mut bob, "traced");
    // One that is refused is traced too.
    let mut stranger = daemon.raw();
    let of_old = Raw::request("/news", "").replace("Version: 13", "Version: 12");
    stranger.send(of_old.as_bytes());
    assert_eq!(stranger.read_answer().status, 426);
    let told = spans(&collector, "publish", 1);
    let publish = named(&told, "publish")[0];
    assert_eq!(publish.text("parentSpanId"), "");
    assert_eq!(publish.attributes()["fanfare.dialect"], "raw");
    assert_eq!(publish.attributes()["fanfare.offset"], "2");
    let deliver = named(&told, "deliver")[0].attributes();
    // Who publishes counts among those who follow the topic.
    assert_eq!(deliver["fanfare.subscribers"], "2");
    let told = spans(&collector, "handshake", 3);
    let outcomes: Vec<_> = named(&told, "handshake")
        .iter()
        .map(|span| span.attributes()["fanfare.outcome"].clone())
        .collect();
    let count = |wanted: &str| outcomes.iter().filter(|of| *of == wanted).count();
    assert_eq!(
        (count("websocket"), count("refused")),
        (2, 1),
        "{outcomes:?}"
    );
    let refused = named(&told, "handshake").into_iter().find_map(|span| {
        let reason = span.attributes().remove("error.type")?;
        reason.as_str().map(str::to_owned)
    });
    daemon.await_reason(&refused.expect("it is named"));
    assert_eq!(named(&told, "publish").len(), 1);
}

#[test]
fn messages_of_every_protocol_are_traced() {
    let collector = HookServer::start(|_| TAKEN);
    let daemon = traced(&collector, &["--trace-sample-ratio", "1"]);
    let mut client = daemon.connect("/connection/websocket");
    say(&mut client, r#"{"id":1,"connect":{}}"#);
    hear(&mut client);
    say(
        &mut client,
        r#"{"id":2,"publish":{"channel":"news","data":{}}}"#,
    );
    hear(&mut client);
    let batch = "Content-Type: application/x-ndjson\r\n";
    let lines = b"{\"topic\":\"news\",\"text\":\"a\"}\n{\"topic\":\"news\",\"text\":\"b\"}\n";
    let (head, _) = daemon.ask_as("POST /messages", batch, lines);
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let told = spans(&collector, "publish", 3);
    let mut ways: Vec<_> = named(&told, "publish")
        .iter()
        .map(|span| span.attributes()["fanfare.dialect"].clone())
        .collect();
    ways.sort_by_key(Value::to_string);
    assert_eq!(ways, ["centrifugo_json", "http", "http"]);
}

#[test]
fn who_does_not_read_is_not_waited_for_for_ever() {
    let collector = HookServer::start(|_| TAKEN);
    let options = ["--trace-ms-max", "100", "--unsent-bytes-max", "4KiB"];
    let daemon = traced(&collector, &options);
    let narrow = daemon.narrow_stream();
    let (_stalled, _) = daemon.open_over(narrow, "/news", &[]).unwrap();
    let mut hearer = daemon.connect("/news");
    let long = "x".repeat(1 << 20);
    post(&daemon, "news", &long, "01");
    assert_eq!(hear(&mut hearer), long);
    let told = spans(&collector, "deliver", 1);
    let deliver = named(&told, "deliver")[0];
    let attributes = deliver.attributes();
    assert_eq!(attributes["fanfare.subscribers"], "2");
    assert_eq!(attributes["fanfare.timed_out"], true);
    let took_ns = deliver.ns("endTimeUnixNano") - deliver.ns("startTimeUnixNano");
    assert!(took_ns >= 100_000_000, "{took_ns}");
    assert_eq!(daemon.metric("fanfare_traces_under_way"), 0);
}

#[test]
fn without_a_collector_nothing_is_traced() {
    let daemon = Daemon::start(&["--trace-sample-ratio", "1"]);
    daemon.await_log("trace_sample_ratio is not used", 1);
    post(&daemon, "news", "x", "01");
    assert_eq!(daemon.metric("fanfare_traces_total"), 0);
}

#[test]
fn a_collector_that_is_away_costs_nobody_anything_and_is_told_of_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let url = format!("http://{address}");
    let daemon = Daemon::start(&["--otlp-endpoint", &url, "--trace-sample-ratio", "1"]);
    let (mut ann, mut bob) = (daemon.connect("/news"), daemon.connect("/news"));
    pass(&mut ann, &mut bob, "hello");
    eventually("requests fail", || {
        daemon.metric("fanfare_trace_export_failures_total") >= 2
    });
    pass(&mut bob, &mut ann, "hello yourself");
    assert_eq!(daemon.count_log("the collector does not take traces"), 1);
    // When it is there, it gets what has waited.
    let listener = TcpListener::bind(address).unwrap();
    let collector = HookServer::on(listener, |_| TAKEN, |stream| Some(Box::new(stream)));
    spans(&collector, "publish", 2);
    daemon.await_log("the collector takes traces again", 1);
}

#[test]
fn a_collector_that_is_busy_is_asked_again_and_one_that_refuses_is_not() {
    let answers = [
        Answer::Status("503 Later"),
        TAKEN,
        Answer::Status("400 Never"),
        TAKEN,
    ];
    let collector = HookServer::start(move |number| answers[number.min(3)]);
    let daemon = traced(&collector, &[]);
    post(&daemon, "news", "1", "01");
    let requests = collector.requests(2);
    assert_eq!(requests[0].body, requests[1].body);
    eventually("it is taken", || {
        daemon.metric("fanfare_traces_exported_total") == 1
    });
    post(&daemon, "news", "2", "01");
    eventually("it is refused", || {
        daemon.counter("fanfare_trace_drops_total", "refused") == 1
    });
    post(&daemon, "news", "3", "01");
    let told = spans(&collector, "publish", 2);
    let offsets = named(&told, "publish");
    let offsets: Vec<_> = offsets
        .iter()
        .map(|span| span.attributes()["fanfare.offset"].clone())
        .collect();
    assert_eq!(offsets, ["1", "3"]);
}

#[test]
fn the_collector_is_shown_the_headers_of_the_file() {
    let collector = HookServer::start(|_| TAKEN);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "Authorization: Basic c2VjcmV0\nx-scope: a\n").unwrap();
    let path = file.path().to_str().unwrap();
    let daemon = traced(&collector, &["--otlp-headers-file", path]);
    post(&daemon, "news", "x", "01");
    let request = &collector.requests(1)[0];
    assert_eq!(request.header("authorization"), "Basic c2VjcmV0");
    assert_eq!(request.header("x-scope"), "a");
    assert_eq!(daemon.count_log("c2VjcmV0"), 0);
}

#[test]
fn the_next_process_traces_on_and_a_stop_tells_what_is_left() {
    let collector = HookServer::start(|_| TAKEN);
    let mut daemon = traced(&collector, &[]);
    let mut hearer = daemon.connect("/news");
    post(&daemon, "news", "1", "01");
    assert_eq!(hear(&mut hearer), "1");
    spans(&collector, "publish", 1);
    daemon.hand_over(1);
    post(&daemon, "news", "2", "01");
    assert_eq!(hear(&mut hearer), "2");
    // It is under way by then, and waits for no others any more.
    daemon.signal(Signal::SIGTERM);
    let told = spans(&collector, "publish", 2);
    let processes: Vec<_> = named(&told, "publish")
        .iter()
        .map(|span| span.resource["service.instance.id"].clone())
        .collect();
    assert_ne!(processes[0], processes[1]);
}

#[test]
fn a_message_that_a_cluster_keeps_is_committed_when_it_comes_back() {
    let server = Server::start();
    let collector = HookServer::start(|_| TAKEN);
    let url = endpoint(&collector);
    let daemon = clustered::node(&server, &["--otlp-endpoint", &url]);
    let mut hearer = daemon.connect("/news");
    post(&daemon, "news", "x", "01");
    assert_eq!(hear(&mut hearer), "x");
    let told = spans(&collector, "publish", 1);
    assert_eq!(named(&told, "publish")[0].text("parentSpanId"), CALLER);
    let deliver = named(&told, "deliver")[0].attributes();
    assert_eq!(deliver["fanfare.written"], "1");
}
