//! Every setting of the daemon, written once.
//!
//! The table below is the only place that names a setting. From it come the fields
//! of [`Settings`], the keys of the TOML file, the command-line options, `--help`,
//! and `docs/configuration.md`. Values are laid over one another: defaults, then
//! the file, then the command line.
//!
//! What a setting does is up to the modules that ask for it. `cli` reads them,
//! `service` starts with them, and the hub keeps those in force.

mod apps;
mod check;
mod cluster;
mod docs;
mod fault;
mod file;
mod keepalive;
mod keys;
mod kind;
mod load;
mod log_filter;
mod memory;
mod names;
mod nearest;
mod place;
mod policy;
mod public;
mod reload;
mod roles;
mod secrets;
mod tls;
mod topics;
mod traces;
mod units;
mod unused;
mod value;
mod webhooks;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::IpNet;

use crate::protocol::http::{Hosts, Origins, ServerUrl};
use crate::protocol::pusher::App;
use crate::protocol::rights::{Grant, Rules};

pub use docs::{markdown, sample, summary};
pub use fault::ConfigError;
pub use keepalive::Probes;
pub use keys::KeyFile;
pub use kind::{Kind, MemoryShare, Size};
pub use load::{CONFIG_OPTION, Loaded, check_file, from_matches, load, of_running, options};
pub use memory::{Memory, memory};
pub use place::{Place, Roles};
pub use policy::{Implied, Joins, Policy};
pub use public::StartError;
pub use reload::{Changes, Reload};
pub use secrets::token_in;
pub use tls::{Certificates, Clients, Shown, Stamp, TlsCertificate};
pub use topics::TopicRule;
pub use traces::{Header, Ratio};
pub use value::{
    ClientAuth, ClusterStorage, ClusterTls, Deflate, ErrorMode, Keep, Keepalive, LagPolicy,
    LogFormat, ProxyHeader, RingHandshakes, Switch, TlsVersion, Zerocopy,
};

use kind::Kind::*;
use value::{Given, Value};

/// What the table knows about one setting.
#[derive(Debug)]
pub struct Row {
    /// The name of the field; the option is the same with dashes.
    pub key: &'static str,
    pub heading: &'static str,
    pub kind: Kind,
    /// The default as one would write it on the command line.
    pub default: &'static str,
    pub effect: Effect,
    pub help: &'static str,
}

/// When a changed setting of the file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// From the next reload on.
    Reload,
    /// From the next start on: it shapes what is made once.
    Restart,
}

impl Effect {
    /// As the documentation calls it.
    pub fn name(self) -> &'static str {
        match self {
            Effect::Reload => "reload",
            Effect::Restart => "restart",
        }
    }
}

impl Row {
    /// `message_bytes_max` is `--message-bytes-max`; this is the part after `--`.
    pub fn option(&self) -> String {
        self.key.replace('_', "-")
    }

    /// The key in the file.
    pub fn file_key(&self) -> String {
        file_key(self.key)
    }
}

/// The key in the file of the setting whose field has that name: those of the cluster stand in a
/// table of their own.
fn file_key(key: &str) -> String {
    match key.strip_prefix(CLUSTER) {
        Some(rest) => format!("cluster.{rest}"),
        None => key.to_owned(),
    }
}

/// What the names of the settings in the file's table `[cluster]` begin with.
const CLUSTER: &str = "cluster_";

macro_rules! settings {
    ($( $heading:literal { $( $name:ident: $type:ty = $default:literal, $kind:expr, $effect:ident, $help:literal; )* } )*) => {
        /// The settings as the daemon uses them: checked, and within their ranges.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Settings { $($( #[doc = $help] pub $name: $type, )*)* }

        /// All settings in the order in which help and documentation show them.
        pub const TABLE: &[Row] = &[ $($( Row {
            key: stringify!($name), heading: $heading, kind: $kind, default: $default,
            effect: Effect::$effect, help: $help,
        }, )*)* ];

        impl Default for Settings {
            fn default() -> Self {
                Settings { $($( $name: <$type as Value>::read(&Given::from($default), &$kind)
                    .expect("a default is within its own range"), )*)* }
            }
        }

        impl Settings {
            /// Sets the field named `key`. The error is the end of a sentence: what is
            /// wrong with the value and what is allowed instead.
            fn set(&mut self, key: &str, given: &Given) -> Result<(), String> {
                match key {
                    $($( stringify!($name) => self.$name = Value::read(given, &$kind)?, )*)*
                    _ => unreachable!("{key} comes from the table"),
                }
                Ok(())
            }

            /// Whether the field named `key` is another one in `other`.
            fn differs(&self, key: &str, other: &Settings) -> bool {
                match key {
                    $($( stringify!($name) => self.$name != other.$name, )*)*
                    _ => unreachable!("{key} comes from the table"),
                }
            }

            /// Copies the field named `key`.
            fn take(&mut self, key: &str, from: &Settings) {
                match key {
                    $($( stringify!($name) => self.$name = from.$name.clone(), )*)*
                    _ => unreachable!("{key} comes from the table"),
                }
            }
        }
    };
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;
/// The greatest of `publish_wait_ms_max`.
pub const PUBLISH_WAIT_MS_MAX: u64 = 60_000;
const DAY_MS: u64 = 24 * 60 * 60 * 1000;
const DAY_S: u64 = 24 * 60 * 60;

/// Half-received messages: at least one of the default's greatest.
const PARTIAL: MemoryShare = MemoryShare {
    min: KIB,
    max: 64 * GIB,
    part: 8,
    least: MIB,
    most: 256 * MIB,
};
/// History and what is on its way: at least one log of the default's size.
const LOGS: MemoryShare = MemoryShare {
    min: 64 * KIB,
    max: TIB,
    part: 4,
    least: 16 * MIB,
    most: GIB,
};

settings! {
    "Addresses" {
        listen: Vec<Place> = "127.0.0.1:8000", AddressesOrOff, Restart,
            "Addresses that subscribers, publishers and browsers connect to";
        listen_tls: Vec<Place> = "off", AddressesOrOff, Restart,
            "The same over TLS, for wss:// and https://; needs tls_certificates";
        admin: Vec<Place> = "127.0.0.1:8001", AddressesOrOff, Restart,
            "Addresses for everything else: health, metrics, topics, publishing, upgrades";
        api: Vec<Place> = "off", AddressesOrOff, Restart,
            "Addresses for health, topics, publishing and the server API alone; may be among the others', those of listen and listen_tls too";
        metrics: Vec<Place> = "off", AddressesOrOff, Restart,
            "Addresses for health and metrics alone, read without a token; may be among the others'";
        admin_token_file: Option<PathBuf> = "", File, Restart,
            "File whose trimmed content, as it is at the time, is the token that requests to admin and api must bear";
        api_key_file: Option<PathBuf> = "", File, Restart,
            "File whose trimmed content, as it is at the time, is the key that requests to the server API may bear";
        origins: Origins = "", Origins, Reload,
            "Origins whose pages may connect; if empty, only pages from the host itself";
        hosts: Hosts = "", Hosts, Reload,
            "Names in Host that are answered to, beside localhost and IP addresses; if empty, any from other machines";
        trusted_proxies: Vec<IpNet> = "", Networks, Reload,
            "Proxies in front, whose word on the address of a client is taken";
        proxy_header: ProxyHeader = "none", Choice(&["none", "proxy-protocol", "x-forwarded-for"]), Reload,
            "How the trusted proxies tell it; with proxy-protocol (v1 or v2) they all must";
    }
    "TLS" {
        tls_certificates: Vec<TlsCertificate> = "", Kind::Certificates, Reload,
            "Certificates that are shown, each by the names that it is for, the first where no other fits; their files are read again with each reload, and when they have changed";
        tls_client_ca: Option<PathBuf> = "", File, Reload,
            "File with the certificates of the authorities (PEM) that sign those of clients, which have to show one then; read again as the others";
        tls_client_auth: ClientAuth = "required", Choice(&["required", "optional"]), Reload,
            "Whether clients without a certificate are let in all the same; a wrong one never is";
        tls_version_min: TlsVersion = "1.2", Choice(&["1.2", "1.3"]), Reload,
            "The oldest version of TLS that is spoken";
        hsts_max_age_s: u64 = "0", Seconds(0, 10 * 365 * DAY_S), Reload,
            "For how long browsers that came over TLS are to use nothing else for the host (Strict-Transport-Security); 0 does not say it";
        admin_tls: Switch = "off", Choice(&["on", "off"]), Restart,
            "Whether the addresses of admin, api and metrics speak TLS, with the same certificates; Unix sockets never do";
    }
    "Running" {
        cores: usize = "auto", Cores, Restart,
            "Threads, each with its own listener and rings; may exceed the processors";
        log: String = "info", LogFilter, Reload,
            "What is logged to standard error";
        log_format: LogFormat = "auto", Choice(&["auto", "text", "json", "journal"]), Restart,
            "Form of the log lines; auto is the journal with its fields where there is one, else text";
        drain_ms_max: u64 = "5000", Millis(0, 600_000), Reload,
            "How long stopping waits for subscribers to be sent what is still theirs";
        receive_buffers: u16 = "512", PowerOfTwo(16, 32_768), Restart,
            "Receive buffers of 16 KiB each per core";
        spin_us: u64 = "0", Micros(0, 1_000_000), Reload,
            "How long a core goes on looking for something to do before it sleeps, with a whole processor to itself; 0 is not at all";
        ring_handshakes: RingHandshakes = "auto", Choice(&["auto", "never"]), Reload,
            "Whether connections are accepted and opened inside a core's ring, without a descriptor or a task of their own; auto does so from Linux 6.8 on, where neither TLS is spoken nor proxies say whose they are";
        zerocopy: Zerocopy = "auto", Choice(&["auto", "always", "never"]), Reload,
            "Whether large sends skip the kernel's copy; auto stops where the kernel copies anyway";
        zerocopy_bytes_min: usize = "64KiB", Bytes(1, GIB), Reload,
            "Sends of at least this size are tried without a copy";
    }
    "Connections" {
        connections_max: usize = "100000", Count(1, 10_000_000), Reload,
            "Connections in total; beyond it the answer is 503 with Retry-After";
        connections_per_address_max: usize = "10000", Count(1, 10_000_000), Reload,
            "Connections from one IP address";
        handshakes_max: usize = "4096", Count(1, 1_000_000), Reload,
            "Connections whose opening handshake is not finished yet";
        handshakes_per_address_max: usize = "1024", Count(1, 1_000_000), Reload,
            "The same from one IP address";
        handshake_ms_max: u64 = "5000", Millis(10, 600_000), Reload,
            "Time for the whole opening handshake";
        defer_accept: Switch = "on", Choice(&["on", "off"]), Reload,
            "Whether the kernel keeps a new connection until its first bytes are there, for a second at most (TCP_DEFER_ACCEPT), which makes handshakes cheaper; with off, who connects and says nothing is seen at once";
        head_bytes_max: usize = "32KiB", Bytes(256, MIB), Reload,
            "Size of an HTTP request head; beyond it the answer is 431";
        head_fields_max: usize = "128", Count(8, 4096), Reload,
            "Header fields of an HTTP request; beyond it the answer is 431";
        idle_ms_max: u64 = "120000", Millis(20, DAY_MS), Reload,
            "A connection that has been silent for this long is closed";
        ping_interval_ms: u64 = "30000", Millis(10, DAY_MS), Reload,
            "A connection that has been silent for this long is asked whether it lives";
        keepalive: Keepalive = "ping", Choice(&["ping", "kernel"]), Reload,
            "How it is asked: with a WebSocket ping, or by the kernel with TCP's keepalive, which wakes nobody; clients of Centrifugo's and Pusher's protocols and streams of events have the pings of theirs either way";
        stall_ms_max: u64 = "60000", Millis(20, DAY_MS), Reload,
            "How long a connection's socket may take nothing of what it is sent before the lag policy applies";
        unsent_bytes_max: usize = "256KiB", Bytes(4 * KIB, GIB), Reload,
            "Bytes of one connection that the kernel may hold unsent; the rest waits in the shared log";
        api_connections_max: usize = "256", Count(1, 100_000), Reload,
            "Connections that ask the server API on addresses of listen; beyond it the answer is 503 with Retry-After";
        retry_after_s: u64 = "2", Seconds(1, 3600), Reload,
            "Seconds in the Retry-After header of a 503 answer";
    }
    "Protocols" {
        centrifugo: Switch = "on", Choice(&["on", "off"]), Reload,
            "Centrifugo's client protocol on /connection/websocket";
        event_streams: Switch = "on", Choice(&["on", "off"]), Reload,
            "Server-Sent Events: a topic on its own path, many on /events";
        mercure: Switch = "on", Choice(&["on", "off"]), Reload,
            "Mercure's protocol (0.x) on /.well-known/mercure: streams of exact topics, and updates of one topic where the server API is";
        refresh_ms_max: u64 = "25000", Millis(0, DAY_MS), Reload,
            "How long a client of Centrifugo's protocol may take to send another token when one has expired";
        topics_per_connection_max: usize = "128", Count(1, 1_000_000), Reload,
            "Topics that one connection may follow, where its protocol knows more than one";
        commands_per_message_max: usize = "4096", Count(1, 1_000_000), Reload,
            "Commands of Centrifugo's protocol in one message; beyond it the connection is closed with 3501";
        answers_bytes_max: usize = "16MiB", Bytes(64 * KIB, GIB), Reload,
            "Size of the answers to commands that wait for one client of Centrifugo's protocol, beyond which it is closed with 3008, and of those to a batch of its server API, beyond which the rest is not done";
        token_checks_waiting_max: usize = "4096", Count(1, 1_000_000), Reload,
            "Tokens that wait to be checked by a helper thread; beyond it a token waits with its connection";
        rosters_bytes_max: usize = "64MiB", Bytes(64 * KIB, 64 * GIB), Reload,
            "Size of the lists of members that are on their way to clients of apps which join presence channels; beyond it they wait for one another, up to publish_wait_ms_max (1 s at least), and are then refused";
        presence: Switch = "off", Choice(&["on", "off"]), Reload,
            "Whether clients may ask who follows a topic; on costs some 200 bytes for each who does";
    }
    "Messages" {
        message_bytes_max: usize = "1MiB", Bytes(1, 64 * MIB), Reload,
            "Size of one message; beyond it the connection is closed with 1009";
        partial_bytes_max: usize = "auto", Kind::MemoryShare(PARTIAL), Reload,
            "Size of all half-received messages together";
        message_ms_max: u64 = "60000", Millis(20, DAY_MS), Reload,
            "Time for one message to arrive; beyond it the connection is closed with 1008";
        inbound_messages_per_s_max: u64 = "1000000", Count(0, 1_000_000_000), Reload,
            "Messages per second from one connection; 0 is no limit";
        inbound_bytes_per_s_max: u64 = "1GiB", Bytes(0, TIB), Reload,
            "Bytes per second from one connection; 0 is no limit";
    }
    "Publishing over HTTP" {
        publish_wait_ms_max: u64 = "5000", Millis(0, PUBLISH_WAIT_MS_MAX), Reload,
            "How long a message waits for room or for cores that are behind, if it comes over HTTP or by a command of Centrifugo's protocol; then it is refused";
        batch_lines_max: usize = "10000", Count(1, 1_000_000), Reload,
            "Lines of a batch; beyond it the answer is 413";
        batch_bytes_max: usize = "8MiB", Bytes(KIB, GIB), Reload,
            "Size of a batch; beyond it the answer is 413";
        delivery_acks_max: usize = "64", Count(1, 10_000), Reload,
            "Publishers that may wait at a time to be told how a message was delivered; beyond it the answer is 503";
        idempotency_ms_max: u64 = "300000", Millis(0, DAY_MS), Reload,
            "How long an answer is kept for the request with the same Idempotency-Key, or the message with the same idempotency_key";
        idempotency_keys_max: usize = "65536", Count(1, 1_000_000), Reload,
            "Answers that are kept so, of at most 16 MiB together; then the oldest go early";
        api_items_max: usize = "4096", Count(1, 1_000_000), Reload,
            "Calls in a batch of Centrifugo's server API, channels of a broadcast, clients that a disconnect spares; beyond it the answer is 413";
        api_error_mode: ErrorMode = "body", Choice(&["body", "transport"]), Reload,
            "Where errors of Centrifugo's server API are told: in the body of an answer with status 200, or by a status too";
    }
    "Compression" {
        deflate: Deflate = "on", Choice(&["on", "takeover", "off"]), Reload,
            "permessage-deflate; takeover lets clients refer to earlier messages, at 32 KiB each";
        deflate_level: u64 = "4", Count(1, 9), Reload,
            "From 1, fast, to 9, small";
        deflate_bytes_min: usize = "256", Bytes(0, GIB), Reload,
            "Messages below this size go out as they are";
    }
    "Rights" {
        topics: Vec<TopicRule> = "", Kind::Rules, Reload,
            "Who may do what with the topics of a pattern, and what holds for them in place of the settings; the first that matches decides";
        anonymous: Vec<Grant> = "", Grants, Reload,
            "What those without a token may do where no rule says it";
        token_keys: Vec<KeyFile> = "", Keys, Reload,
            "Files with the keys that tokens are checked with: PEM, a JWK or a set, or a secret; read again with each reload";
        token_audience: Vec<String> = "", Words, Reload,
            "A token must be for one of these (aud); if empty, that is not looked at";
        token_issuer: Vec<String> = "", Words, Reload,
            "A token must come from one of these (iss); if empty, that is not looked at";
        token_cookie: Option<String> = "", CookieName, Reload,
            "Cookie that may bear the token of pages whose origin is listed";
        apps: Vec<Arc<App>> = "", Kind::Apps, Reload,
            "Apps of the Pusher Channels protocol: who publishes to the topics of a prefix over /apps and lets clients of /app in; their secrets are read again with each reload";
    }
    "Topics" {
        topics_max: usize = "200000", Count(1, 10_000_000), Reload,
            "Topics that exist at one time";
        log_bytes_max: usize = "16MiB", Bytes(64 * KIB, 16 * GIB), Reload,
            "Size of the log of one topic";
        log_bytes_total_max: usize = "auto", Kind::MemoryShare(LOGS), Reload,
            "Size of the logs of all topics together";
        ahead_bytes_max: usize = "1MiB", Bytes(KIB, 16 * GIB), Reload,
            "How far publishers may be ahead of any core; then they are read from no further for a while";
        retain_messages_max: usize = "1000", Count(0, 100_000_000), Reload,
            "Messages that a topic keeps for those who come back";
        retain_bytes_max: usize = "1MiB", Bytes(0, TIB), Reload,
            "Bytes that a topic keeps for those who come back";
        retain_ms_max: u64 = "300000", Millis(0, 30 * DAY_MS), Reload,
            "How long a topic keeps a message for those who come back, and is known to them when it keeps none";
        keep: Keep = "memory", Choice(&["memory", "disk", "cluster"]), Reload,
            "What keeps a topic's messages: memory; the folder named by store as well, so that history outlives the process; or the cluster's NATS servers";
        history_page_messages_max: usize = "1000", Count(1, 1_000_000), Reload,
            "Messages in one page of history, as clients and the server API ask for it";
        history_page_bytes_max: usize = "1MiB", Bytes(1, GIB), Reload,
            "Size of one page of history, which ends with the message that reaches it";
        pace_ms: u64 = "0", Millis(0, 60_000), Reload,
            "A topic's subscribers are sent what is new at most this often, all of it together; 0 is at once";
        lag_bytes_max: usize = "8MiB", Bytes(KIB, 16 * GIB), Reload,
            "How far a subscriber may fall behind before the lag policy applies";
        lag_policy: LagPolicy = "close", Choice(&["close", "skip", "latest"]), Reload,
            "A subscriber that lags is closed with 1013, or with a notice goes on behind the newest message (skip) or with it (latest)";
    }
    "Store" {
        store: Option<PathBuf> = "", File, Restart,
            "Folder in which the topics are kept that are to be kept on disk; made with mode 0700 if there is none";
        store_sync_ms: u64 = "100", Millis(0, 60_000), Reload,
            "How long what is written to the store may wait to be safe from a loss of power, unless a publisher waits for it (ack=stored)";
        store_read_bytes_max: usize = "64MiB", Bytes(4 * MIB, 64 * GIB), Reload,
            "Size of the history that is being read from the store for those who come back; beyond it they wait for one another";
    }
    "Traces" {
        otlp_endpoint: Option<ServerUrl> = "", Collector, Restart,
            "Collector that is told of traces (OTLP over HTTP), as http://127.0.0.1:4318; none is no traces";
        otlp_headers_file: Option<PathBuf> = "", File, Restart,
            "File with further headers of requests to the collector, a line Name: value for each, as what it asks for of a secret";
        trace_sample_ratio: Ratio = "0", Kind::Ratio, Reload,
            "Part of all messages and opening handshakes that is traced; a message with a sampled traceparent is in any case, one with another traceparent never";
        trace_ms_max: u64 = "10000", Millis(10, 600_000), Reload,
            "How long a traced message is followed to the sockets of its topic's subscribers";
    }
    "Cluster" {
        cluster_nats: Vec<String> = "", Servers, Restart,
            "NATS servers whose JetStream keeps topics for several machines; others of their cluster are learnt. None is no cluster";
        cluster_user: Option<String> = "", Word, Restart,
            "User that this node is to the NATS servers; its password is in password_file";
        cluster_password_file: Option<PathBuf> = "", File, Restart,
            "File whose trimmed content is the password of user";
        cluster_token_file: Option<PathBuf> = "", File, Restart,
            "File whose trimmed content is a token for the NATS servers, in place of user and password";
        cluster_credentials_file: Option<PathBuf> = "", File, Restart,
            "File of credentials for the NATS servers as nsc writes it, with a JWT and a seed, in place of user and password";
        cluster_nkey_file: Option<PathBuf> = "", File, Restart,
            "File with the seed of an NKey for the NATS servers, in place of user and password";
        cluster_tls: ClusterTls = "auto", Choice(&["auto", "on"]), Restart,
            "TLS to the NATS servers: where the address (tls://) or the server asks for it or a file below is named, or always";
        cluster_ca_file: Option<PathBuf> = "", File, Restart,
            "File with the certificates of the authorities (PEM) that sign those of the NATS servers, in place of the system's";
        cluster_cert_file: Option<PathBuf> = "", File, Restart,
            "File with this node's certificate (PEM), for NATS servers that ask for one";
        cluster_key_file: Option<PathBuf> = "", File, Restart,
            "File with the private key (PEM) of that certificate";
        cluster_stream: String = "FANFARE", StreamName, Restart,
            "Name of the stream; with several, -0, -1 and so on follow";
        cluster_streams: u16 = "1", Count(1, 64), Restart,
            "Streams among which the topics are divided; never to be changed while the streams live";
        cluster_prefix: String = "fanfare", SubjectPrefix, Restart,
            "What the cluster's subjects begin with; several clusters may share NATS servers under several";
        cluster_replicas: u16 = "1", Count(1, 5), Restart,
            "NATS servers that each keep every message: 1, 3 or 5; for a stream that is made";
        cluster_storage: ClusterStorage = "file", Choice(&["file", "memory"]), Restart,
            "Where the NATS servers keep messages; for a stream that is made";
        cluster_topic_messages_max: u64 = "10000", Count(0, 100_000_000), Restart,
            "Messages of each topic in a stream that is made; no rule may retain more; 0 is no limit";
        cluster_bytes_max: u64 = "10GiB", Bytes(0, 1024 * TIB), Restart,
            "Size of a stream that is made, beyond which it takes no more messages; 0 is no limit";
        cluster_age_ms_max: u64 = "86400000", Millis(0, 3650 * DAY_MS), Restart,
            "How long a stream that is made keeps a message; no rule may retain for longer; 0 is no limit";
        cluster_duplicates_ms: u64 = "300000", Millis(300_000, 7 * DAY_MS), Restart,
            "How long a stream that is made knows a message that is sent again";
        cluster_tail_check_ms: u64 = "5000", Millis(100, 600_000), Restart,
            "How often the stream is asked whether a topic's newest message has been heard";
        cluster_answer_ms_max: u64 = "2000", Millis(100, 60_000), Restart,
            "How long an answer of the NATS servers is awaited before they are asked again";
        cluster_propose_ms_max: u64 = "10000", Millis(100, 600_000), Restart,
            "How long a message may wait to be stored, with the NATS servers away or not; then its publisher gets an error";
        cluster_proposed_bytes_max: usize = "64MiB", Bytes(64 * KIB, 16 * GIB), Restart,
            "Size of all messages that wait to be stored; beyond it publishers wait";
        cluster_node: Option<String> = "", Word, Restart,
            "Name of this node, for people; if none, that of the host";
        cluster_secret_file: Option<PathBuf> = "", File, Restart,
            "File whose trimmed content all nodes and nobody else know, by which they believe one another; without it whoever may read the stream's configuration can pass for a node";
        cluster_ready: Switch = "off", Choice(&["on", "off"]), Reload,
            "Whether /readyz answers 503 while the NATS servers are away";
    }
}

impl Settings {
    /// The longest silence before a ping: nobody is idle who was not asked in time.
    pub fn ping_ms(&self) -> u64 {
        self.ping_interval_ms.min(self.idle_ms_max / 2).max(1)
    }

    /// Who may do what.
    pub fn rules(&self) -> Rules {
        let keyed = !self.token_keys.is_empty();
        let rules = self.topics.iter().map(|rule| rule.who.clone()).collect();
        let prefixes = self.apps.iter().map(|app| app.prefix.clone());
        Rules::new(rules, self.anonymous.clone(), keyed).with_apps(prefixes)
    }

    /// How the peer at `ip` tells whose connection it passes on, if it is a proxy
    /// that is trusted to.
    pub fn proxy_header_of(&self, ip: IpAddr) -> ProxyHeader {
        if self.is_trusted_proxy(ip) {
            self.proxy_header
        } else {
            ProxyHeader::None
        }
    }

    pub fn is_trusted_proxy(&self, ip: IpAddr) -> bool {
        self.trusted_proxies
            .iter()
            .any(|network| network.contains(&ip))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_within_their_ranges_and_fit_together() {
        let settings = Settings::default();
        assert_eq!(settings.listen, [Place::parse("127.0.0.1:8000").unwrap()]);
        assert_eq!(settings.message_bytes_max, 1 << 20);
        assert!((1..=256).contains(&settings.cores));
        assert_eq!(check::conflicts(&settings), []);
    }

    #[test]
    fn units_come_last_in_names() {
        for row in TABLE {
            let unit = match row.kind {
                Bytes(..) | Kind::MemoryShare(..) => row.key.contains("_bytes_"),
                Micros(..) => row.key.ends_with("_us"),
                Millis(..) => row.key.ends_with("_ms") || row.key.ends_with("_ms_max"),
                Seconds(..) => row.key.ends_with("_s"),
                _ => !["_bytes_", "_ms"].iter().any(|unit| row.key.contains(unit)),
            };
            assert!(unit, "{} does not name its unit", row.key);
        }
    }
}
