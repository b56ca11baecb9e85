//! What comes to the link's thread is handed on here: the server's words, commands, messages,
//! answers, and time.

use async_nats::{Client, Message, ServerError};
use tokio::sync::mpsc::UnboundedSender;

use super::event::{Command, Event, Fault, Warning};
use super::state::{Ask, Delayed, Out, State, Subscribed};

/// The oldest version of NATS servers that will do.
const VERSION_MIN: (i64, i64) = (2, 11);
/// How often dropped messages make all topics doubtful.
const DROPS_MS: u64 = 250;

impl State {
    pub(super) fn begin(&mut self) {
        let inbox = format!("{}.*", self.inbox);
        self.subscribe(inbox, Subscribed::Answers);
        self.begin_talking();
        self.tell_fault();
    }

    /// A connection is being made, on which all subscriptions are made again.
    pub(super) fn begin_session(&mut self, out: UnboundedSender<Out>) {
        self.out = out;
        for (what, subject) in self.subscribed.clone() {
            self.send(Out::Subscribe(subject, what));
        }
    }

    /// Older servers give no pages, and no times with what they republish.
    pub(super) fn look_at_version(&mut self, client: &Client) {
        // Known only a moment after the connection is.
        let Some(info) = client.try_server_info() else {
            return;
        };
        let (major, minor) = VERSION_MIN;
        let is_old = !client.is_server_compatible(major, minor, 0);
        let fault = is_old.then_some(Fault::Version(info.version));
        if self.connection_fault != fault {
            self.connection_fault = fault;
            self.tell_fault();
        }
    }

    pub(super) fn handle_client_event(&mut self, event: async_nats::Event) {
        use async_nats::Event as E;
        match event {
            // Seen by looking.
            E::Connected | E::Disconnected | E::Closed | E::Draining => {}
            E::SlowConsumer(_) | E::ServerError(ServerError::SlowConsumer(_)) => {
                self.counters().slow_consumers.one();
                self.has_dropped = true;
            }
            E::LameDuckMode => self.tell(Event::Warned(Warning::LameDuck)),
            E::ServerError(ServerError::AuthorizationViolation) => self.refused(),
            E::ServerError(ServerError::Other(words)) => self.handle_words(&words),
            E::ClientError(error) => self.handle_words(&error.to_string()),
        }
    }

    /// What the server says without being asked.
    fn handle_words(&mut self, words: &str) {
        let lower = words.to_lowercase();
        let is_refusal = [
            "authorization violation",
            "authentication",
            "failed signing",
        ];
        if is_refusal.iter().any(|refusal| lower.contains(refusal)) {
            self.refused();
        } else if lower.contains("permissions violation") {
            // That this subject may not be published on is as it should be.
            let is_right = self
                .forbidden
                .as_ref()
                .is_some_and(|it| words.contains(it.as_str()));
            if !is_right {
                self.tell(Event::Warned(Warning::Permissions(words.to_owned())));
            }
        } else {
            tracing::debug!(words, "NATS");
        }
    }

    fn refused(&mut self) {
        self.counters().refused_credentials.one();
        self.handle_disconnected(Fault::Credentials);
    }

    pub(super) fn handle_connected(&mut self, max_payload: usize) {
        self.counters().connects.one();
        self.max_payload = max_payload;
        self.is_connected = true;
        self.connection_fault = None;
        self.look_at_streams();
        self.check_permission();
    }

    pub(super) fn handle_disconnected(&mut self, why: Fault) {
        if std::mem::replace(&mut self.is_connected, false) {
            self.counters().disconnects.one();
        }
        self.connection_fault = Some(why);
        for stream in &mut self.streams {
            (stream.is_ready, stream.is_asked) = (false, false);
        }
        for ask in self.requests.take_all() {
            self.handle_silence(ask);
        }
        self.disconnect_lanes();
        self.doubt_all(None);
        self.tell_fault();
    }

    /// Tells why NATS is away, or that it is back, when that changes.
    pub(super) fn tell_fault(&mut self) {
        let of_streams = || self.streams.iter().find_map(|stream| stream.fault.clone());
        let fault = self.connection_fault.clone().or_else(of_streams);
        let is_ready = self.is_ready();
        if is_ready && !self.is_back {
            (self.is_back, self.told_fault) = (true, None);
            self.tell(Event::Back);
            self.doubt_all(None);
        } else if !is_ready && fault.is_some() && (self.is_back || fault != self.told_fault) {
            (self.is_back, self.told_fault) = (false, fault.clone());
            let why = fault.unwrap_or(Fault::Disconnected);
            self.tell(Event::Away { why });
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        let is_served = self.is_connected && self.connection_fault.is_none();
        is_served && self.streams.iter().all(|stream| stream.is_ready)
    }

    pub(super) fn handle_command(&mut self, command: Command) {
        match command {
            Command::Propose(proposal) => self.propose(*proposal),
            Command::Follow { topic, since } => self.follow(topic, since),
            Command::Unfollow { topic } => self.unfollow(&topic),
            Command::History {
                topic,
                ticket,
                wish,
            } => self.look_back(topic, ticket, wish),
            Command::Present { topic, key, value } => self.nodes.present(&topic, key, value),
            Command::Call {
                kind,
                bytes,
                ticket,
            } => self.call(kind, bytes, ticket),
            Command::Reply { call, bytes } => self.reply(&call, bytes),
            Command::Reconnect | Command::Stop => unreachable!("the session has ended"),
        }
    }

    pub(super) fn handle_message(&mut self, what: Subscribed, message: Message) {
        match what {
            Subscribed::Answers => self.handle_answer(message),
            Subscribed::Bucket(_) => self.handle_delivered(message),
            Subscribed::ToAll | Subscribed::ToMe => self.handle_told(&message),
            Subscribed::Forbidden => self.handle_forbidden(),
        }
    }

    fn handle_answer(&mut self, message: Message) {
        let number = message.subject.rsplit('.').next();
        let Some(number) = number.and_then(|number| number.parse().ok()) else {
            return;
        };
        // Some questions have several answers; they stay until the last one.
        if let Some(ask) = self.requests.get_mut(number)
            && !ask.handle_part(&message, &self.signer, &self.shared.counters)
        {
            return;
        }
        let Some(ask) = self.requests.take(number) else {
            return;
        };
        match ask {
            Ask::Info { stream, seen } => self.handle_info(stream, seen, &message),
            Ask::Create { stream } => self.handle_made(stream, &message, true),
            Ask::Update { stream } => self.handle_made(stream, &message, false),
            Ask::Publish {
                lane,
                ticket,
                is_probe,
            } => self.handle_ack(lane, ticket, is_probe, &message),
            Ask::Tail(topic, tail) => self.handle_tail(topic, tail, &message),
            Ask::Fetch(topic, fetch) => self.handle_fetched(topic, fetch, &message),
            Ask::History(past) => self.handle_past(past, &message),
            Ask::Call {
                ticket,
                answers,
                missing,
            } => self.handle_all_answered(ticket, answers, missing),
        }
    }

    /// A question that will not be answered.
    fn handle_silence(&mut self, ask: Ask) {
        self.counters().silences.one();
        match ask {
            Ask::Info { stream, .. } | Ask::Create { stream } | Ask::Update { stream } => {
                self.handle_stream_silence(stream);
            }
            Ask::Publish { lane, ticket, .. } => self.handle_no_ack(lane, ticket),
            Ask::Tail(topic, tail) => self.handle_no_tail(topic, tail),
            Ask::Fetch(topic, fetch) => self.handle_no_fetch(&topic, &fetch),
            Ask::History(past) => self.handle_no_past(past),
            Ask::Call {
                ticket,
                answers,
                missing,
            } => self.handle_all_answered(ticket, answers, missing),
        }
    }

    pub(super) fn handle_tick(&mut self) {
        let now_ms = self.now_ms();
        while let Some(ask) = self.requests.poll_timeout(now_ms) {
            self.handle_silence(ask);
        }
        self.tick_streams(now_ms);
        self.tick_publishing(now_ms);
        // Each dropped message says so, and all topics are doubted for one.
        if self.has_dropped && now_ms >= self.doubt_ms {
            (self.has_dropped, self.doubt_ms) = (false, now_ms + DROPS_MS);
            self.tell(Event::Warned(Warning::SlowConsumer));
            self.doubt_all(None);
        }
        self.tick_delayed(now_ms);
        self.tick_history(now_ms);
        self.tick_following(now_ms);
        let topics = self.topics.len() as u64;
        self.shared.counters.topics.set(topics);
        self.tick_nodes(now_ms);
    }

    fn tick_delayed(&mut self, now_ms: u64) {
        while let Some((due_ms, _)) = self.delayed.front()
            && *due_ms <= now_ms
        {
            match self.delayed.pop_front().expect("it is there").1 {
                Delayed::Tail(topic, generation) => self.tails.hurry((topic, generation)),
                Delayed::Fetch(topic, generation) => self.fetch_again(&topic, generation),
                Delayed::History(past) => self.pasts.push_back(past),
            }
        }
    }

    /// Sends what may be sent now.
    pub(super) fn pump(&mut self) {
        if self.is_ready() {
            self.pump_publishing();
            self.pump_tails();
            self.pump_fetches();
            self.pump_history();
        }
    }
}
