//! The streams while the link runs: found or made, looked at again, and found to be another one.

use async_nats::Message;
use bytes::Bytes;
use serde_json::Value;

use super::event::{Event, Fault, Warning};
use super::headers::{HEADER_BYTES_MAX, Signer};
use super::state::{Ask, State, Subscribed, Suspicion};
use super::stream::{self, Info, StreamFault};
use super::wire::{self, ApiError};

/// How often a stream that is ready is looked at, and one that is not.
const CHECK_MS: u64 = 2000;
const RETRY_MS: u64 = 500;
/// A stream that is silent this often in a row is away.
const SILENCES_MAX: u32 = 2;
/// A second look at a stream that seems to have lost its end. Nodes look at different
/// moments, so that mostly one of them names the new history.
const SECOND_LOOK_MS: std::ops::Range<u64> = 200..700;
/// How long a stream with several replicas must have lacked its end before that counts as lost.
const SHORT_MS: u64 = 10_000;

impl State {
    /// Asks for the state of all streams.
    pub(super) fn look_at_streams(&mut self) {
        for number in 0..self.settings.streams {
            self.look_at(number);
        }
    }

    fn look_at(&mut self, number: u16) {
        let stream = &mut self.streams[usize::from(number)];
        if !std::mem::replace(&mut stream.is_asked, true) {
            let seen = stream.last;
            let ask = Ask::Info {
                stream: number,
                seen,
            };
            self.ask_api("STREAM.INFO", number, &Value::Null, ask);
        }
    }

    pub(super) fn tick_streams(&mut self, now_ms: u64) {
        if !self.is_connected {
            return;
        }
        for number in 0..self.settings.streams {
            if now_ms >= self.streams[usize::from(number)].check_ms {
                self.look_at(number);
            }
        }
    }

    pub(super) fn handle_info(&mut self, number: u16, seen: u64, message: &Message) {
        self.streams[usize::from(number)].is_asked = false;
        match wire::response::<Info>(message) {
            Ok(info) => self.judge(number, seen, &info),
            Err(error) if error.err_code == wire::NO_STREAM => self.make(number),
            Err(error) => self.fail(number, self.fault_of(number, error)),
        }
    }

    /// Makes a stream that is not there.
    fn make(&mut self, number: u16) {
        let (epoch, key) = (fastrand::u64(1..), random_key());
        let config = stream::wanted(&self.settings, number, epoch, &key);
        self.streams[usize::from(number)].is_asked = true;
        self.ask_api(
            "STREAM.CREATE",
            number,
            &config,
            Ask::Create { stream: number },
        );
    }

    /// Names the history of a stream that is there.
    fn renew(&mut self, number: u16, config: &Value, epoch: u64) {
        let config = stream::renewed(&self.settings, config, epoch, &random_key());
        self.streams[usize::from(number)].is_asked = true;
        self.ask_api(
            "STREAM.UPDATE",
            number,
            &config,
            Ask::Update { stream: number },
        );
    }

    pub(super) fn handle_made(&mut self, number: u16, message: &Message, is_new: bool) {
        self.streams[usize::from(number)].is_asked = false;
        match wire::response::<Info>(message) {
            Ok(_) => {
                if is_new {
                    let name = self.settings.stream_name(number);
                    self.tell(Event::Warned(Warning::StreamMade(name)));
                }
                // Two nodes may do this at once. What the stream says in the end holds.
                self.look_at(number);
            }
            // Another node was faster, perhaps with other words.
            Err(error) if is_new && error.err_code == 10058 => self.retry_soon(number),
            Err(error) => self.fail(number, self.fault_of(number, error)),
        }
    }

    pub(super) fn handle_stream_silence(&mut self, number: u16) {
        let stream = &mut self.streams[usize::from(number)];
        stream.is_asked = false;
        stream.silences += 1;
        if !self.is_connected {
            return;
        }
        // One answer may be late on a busy server; publishing goes on meanwhile.
        if stream.is_ready && stream.silences < SILENCES_MAX {
            return self.retry_soon(number);
        }
        self.fail(number, Fault::JetStream("no answer in time".into()));
    }

    fn judge(&mut self, number: u16, seen: u64, info: &Info) {
        let found = match stream::judge(&self.settings, number, &info.config) {
            Ok(found) => found,
            Err(fault) => return self.fail(number, fault.into()),
        };
        let wanted = self.settings.message_bytes_max + HEADER_BYTES_MAX;
        if self.max_payload < wanted {
            let found = self.max_payload;
            return self.fail(number, StreamFault::Payload { found, wanted }.into());
        }
        let (Some(epoch), Some(key)) = (found.epoch, found.key) else {
            let epoch = found.epoch.unwrap_or_else(|| fastrand::u64(1..));
            return self.renew(number, &info.config, epoch);
        };
        let is_known = self.streams[usize::from(number)].epoch == Some(epoch);
        if is_known && self.is_another(number, seen, info) {
            return;
        }
        if number == 0 && self.settings.secret.is_none() {
            self.signer = Signer::new(key.as_bytes(), &self.settings.homes);
        }
        let now_ms = self.now_ms();
        let stream = &mut self.streams[usize::from(number)];
        stream.silences = 0;
        // The one replica of a stream may have another name after each start of its server.
        let replicas = info.config["num_replicas"].as_u64().unwrap_or(1);
        self.replicas = self.replicas.max(replicas);
        // Between two leaders there is none.
        let is_led = replicas > 1 && !info.cluster.leader.is_empty();
        let had_another =
            is_led && !stream.leader.is_empty() && stream.leader != info.cluster.leader;
        if is_led {
            stream.leader.clone_from(&info.cluster.leader);
        }
        stream.created.clone_from(&info.created);
        stream.first = info.state.first_seq;
        stream.suspicion = Suspicion::None;
        stream.check_ms = now_ms + CHECK_MS;
        (stream.is_ready, stream.fault) = (true, None);
        if is_known {
            stream.last = stream.last.max(info.state.last_seq);
        } else {
            stream.last = info.state.last_seq;
            self.begin_history(number, epoch);
        }
        if had_another {
            self.counters().leader_changes.one();
            let stream = self.settings.stream_name(number);
            let leader = info.cluster.leader.clone();
            self.tell(Event::Warned(Warning::LeaderChanged { stream, leader }));
            self.doubt_all(Some(number));
        }
        self.tell_fault();
    }

    /// Whether the stream is another one or has lost its end, although its metadata names
    /// the history that is known. It is looked at again then, or gets a new epoch.
    fn is_another(&mut self, number: u16, seen: u64, info: &Info) -> bool {
        let now_ms = self.now_ms();
        let stream = &mut self.streams[usize::from(number)];
        let was_made_anew = stream.created != info.created;
        let is_short = info.state.last_seq < seen;
        // A leader of several may still be catching up with what it has agreed to store.
        let short_ms = if self.replicas > 1 { SHORT_MS } else { 0 };
        let is_confirmed = match stream.suspicion {
            Suspicion::Short(since_ms) => is_short && now_ms >= since_ms + short_ms,
            _ => false,
        };
        if was_made_anew || is_confirmed || stream.suspicion == Suspicion::Certain {
            stream.suspicion = Suspicion::None;
            // Not taken for known again before the answer.
            stream.last = info.state.last_seq;
            stream.created.clone_from(&info.created);
            stream.is_ready = false;
            let name = self.settings.stream_name(number);
            self.tell(Event::Warned(Warning::Rewound(name)));
            self.renew(number, &info.config, fastrand::u64(1..));
            return true;
        }
        if is_short {
            if !matches!(stream.suspicion, Suspicion::Short(_)) {
                stream.suspicion = Suspicion::Short(now_ms);
            }
            stream.check_ms = now_ms + fastrand::u64(SECOND_LOOK_MS);
        }
        is_short
    }

    /// A message proves that this stream has lost its end.
    pub(super) fn suspect(&mut self, number: u16) {
        let now_ms = self.now_ms();
        let stream = &mut self.streams[usize::from(number)];
        if stream.suspicion != Suspicion::Certain {
            stream.suspicion = Suspicion::Certain;
            stream.check_ms = now_ms + fastrand::u64(SECOND_LOOK_MS);
        }
    }

    /// The history of this stream is another one.
    fn begin_history(&mut self, number: u16, epoch: u64) {
        let stream = &mut self.streams[usize::from(number)];
        if stream.epoch.replace(epoch).is_some() {
            self.counters().epochs.one();
        }
        self.tell(Event::Epoch {
            stream: number,
            epoch,
        });
        self.begin_topics_anew(number);
    }

    fn fail(&mut self, number: u16, fault: Fault) {
        let stream = &mut self.streams[usize::from(number)];
        stream.is_ready = false;
        stream.fault = Some(fault);
        self.retry_soon(number);
        self.tell_fault();
    }

    fn retry_soon(&mut self, number: u16) {
        self.streams[usize::from(number)].check_ms = self.now_ms() + RETRY_MS;
    }

    fn fault_of(&self, number: u16, error: ApiError) -> Fault {
        match error {
            ApiError {
                code: 503,
                description,
                ..
            } => Fault::JetStream(description),
            error => Fault::Stream(StreamFault::Server {
                stream: self.settings.stream_name(number),
                words: error.description,
            }),
        }
    }

    /// Tries to publish where the server alone should: the server refuses it, or it is
    /// heard here.
    pub(super) fn check_permission(&mut self) {
        if self.forbidden.is_none() {
            let subject = self.subjects.forbidden(fastrand::u64(..));
            self.subscribe(subject.clone(), Subscribed::Forbidden);
            self.publish(&subject, None, None, Bytes::new());
            self.forbidden = Some(subject);
        }
    }

    pub(super) fn handle_forbidden(&mut self) {
        let subjects = format!("{}.out.>", self.settings.prefix);
        self.tell(Event::Warned(Warning::OutIsOpen(subjects)));
        self.unsubscribe(Subscribed::Forbidden);
    }
}

fn random_key() -> String {
    let mut bytes = [0; 32];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes)
        .expect("the system has random numbers");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
