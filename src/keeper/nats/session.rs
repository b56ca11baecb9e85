//! The link's connections, one after the other.
//!
//! Each has a client and a runtime of its own, which end with it: what was on its way to a
//! lost connection must not reach the next one before it is known what the stream has.
//! The client library would send it there, and with it overtake what was lost.
//!
//! One task owns all state. Others do nothing but wait in its place: one writes to the
//! connection, and one for each subscription passes on what comes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use async_nats::connection::State as ConnectionState;
use async_nats::{Client, ConnectOptions, Message};
use futures_util::StreamExt as _;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{Sender, UnboundedReceiver, UnboundedSender, channel, unbounded_channel};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::MissedTickBehavior;

use super::event::{Command, Event, Fault};
use super::settings::Settings;
use super::state::{Out, Shared, State, Subscribed, TICK, Told};

/// What comes on a subscription is passed on in pieces of so many messages at most,
const PIECE_MAX: usize = 64;
/// of which so many may be on their way,
const PASSED_MAX: usize = 16;
/// and so many are taken in one turn, so that commands do not wait for a flood.
const TURN_PIECES_MAX: usize = 4;
const TURN_COMMANDS_MAX: usize = 256;
/// Longest time between two tries to connect.
const RECONNECT_MS_MAX: u64 = 1000;
/// A connection that was lost sooner than this counts as a try that failed.
const SHORT: Duration = Duration::from_secs(1);
/// For what is never to happen while a connection's client lives.
const NEVER: Duration = Duration::from_secs(1 << 30);

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Lost,
    Stopped,
}

/// Runs a link until it is told to stop.
pub(super) fn run(
    settings: Settings,
    options: &ConnectOptions,
    shared: Shared,
    mut commands: UnboundedReceiver<Command>,
    told: Told,
    mut runtime: Runtime,
) {
    let mut state = State::new(settings, shared, told);
    state.begin();
    state.end_turn();
    let tries = Arc::new(AtomicU32::new(0));
    loop {
        let options = options.clone();
        let session = session(&mut state, options, Arc::clone(&tries), &mut commands);
        let end = runtime.block_on(session);
        runtime.shutdown_background();
        if end == End::Stopped {
            return state.end_turn();
        }
        state.handle_disconnected(Fault::Disconnected);
        state.end_turn();
        runtime = match new_runtime() {
            Ok(runtime) => runtime,
            // Without descriptors or memory there is no going on; commands are not read any more.
            Err(error) => {
                let why = Fault::JetStream(error.to_string());
                state.tell(Event::Away { why });
                return state.end_turn();
            }
        };
    }
}

/// What a connection's tasks run on.
pub(super) fn new_runtime() -> std::io::Result<Runtime> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build()
}

/// Connects, and serves until the connection is lost.
async fn session(
    state: &mut State,
    options: ConnectOptions,
    tries: Arc<AtomicU32>,
    commands: &mut UnboundedReceiver<Command>,
) -> End {
    let (out, written) = unbounded_channel();
    let (pass, mut passed) = channel(PASSED_MAX);
    let (notice, mut notices) = unbounded_channel();
    let was_connected = Arc::new(AtomicBool::new(false));
    let (seen, before) = (Arc::clone(&was_connected), Arc::clone(&tries));
    let options = options
        .event_callback(move |event| {
            if event == async_nats::Event::Connected {
                seen.store(true, Ordering::Relaxed);
            }
            let notice: UnboundedSender<_> = notice.clone();
            async move {
                let _ = notice.send(event);
            }
        })
        .reconnect_delay_callback(move |_| match was_connected.load(Ordering::Relaxed) {
            // The next connection is another client's.
            true => NEVER,
            false => delay(before.fetch_add(1, Ordering::Relaxed)),
        });
    // With retries of the first connection this waits for none.
    let client = match options.connect(state.settings.servers.clone()).await {
        Ok(client) => client,
        Err(error) => {
            let why = Fault::JetStream(error.to_string());
            state.tell(Event::Away { why });
            return End::Stopped;
        }
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(write(client.clone(), written, pass));
    state.begin_session(out);

    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut asked, mut heard) = (Vec::new(), Vec::new());
    let mut since = None;
    let mut is_over = false;
    loop {
        tokio::select! {
            biased;
            Some(event) = notices.recv() => state.handle_client_event(event),
            count = commands.recv_many(&mut asked, TURN_COMMANDS_MAX) => {
                if count == 0 {
                    return End::Stopped;
                }
                for command in asked.drain(..) {
                    match command {
                        Command::Stop => {
                            stop(state, &client).await;
                            return End::Stopped;
                        }
                        Command::Reconnect => is_over = true,
                        command => state.handle_command(command),
                    }
                }
            }
            count = passed.recv_many(&mut heard, TURN_PIECES_MAX) => {
                assert!(count > 0, "the writing task holds a sender");
                for (what, messages) in heard.drain(..) {
                    for message in messages {
                        state.handle_message(what, message);
                    }
                }
            }
            _ = ticks.tick() => state.handle_tick(),
        }
        // The client library's events only say when to look: it drops those that come too fast.
        let is_connected = client.connection_state() == ConnectionState::Connected;
        match since {
            None if is_connected => {
                since = Some(Instant::now());
                state.handle_connected(client.max_payload());
            }
            Some(since) if !is_connected || is_over => {
                if since.elapsed() >= SHORT {
                    tries.store(0, Ordering::Relaxed);
                }
                return End::Lost;
            }
            _ => {}
        }
        if is_connected {
            state.look_at_version(&client);
        }
        state.pump();
        state.end_turn();
        // The connection's own task has its turn, however much is left to do here.
        tokio::task::yield_now().await;
    }
}

/// How long to wait before a try to connect.
fn delay(tries: u32) -> Duration {
    if tries == 0 {
        return Duration::ZERO;
    }
    let delay_ms = (4 << tries.min(10)).min(RECONNECT_MS_MAX);
    // Nodes that lost the same server do not come back at the same moment.
    Duration::from_millis(fastrand::u64(delay_ms / 2..=delay_ms))
}

/// Says goodbye, if there is anybody to hear it.
async fn stop(state: &State, client: &Client) {
    let told = state.goodbye();
    if let Some((subject, payload)) = told.filter(|_| state.is_connected) {
        let sent = async {
            client.publish(subject, payload).await.ok()?;
            client.flush().await.ok()
        };
        let _ = tokio::time::timeout(TICK * 10, sent).await;
    }
}

/// Writes to the connection what it is given. Waits while there is none.
async fn write(
    client: Client,
    mut written: UnboundedReceiver<Out>,
    pass: Sender<(Subscribed, Vec<Message>)>,
) {
    let mut passing: HashMap<Subscribed, AbortHandle> = HashMap::new();
    let mut tasks = JoinSet::new();
    while let Some(out) = written.recv().await {
        match out {
            Out::Publish(message) => {
                let has_headers = message.headers.is_some();
                let async_nats::message::OutboundMessage {
                    subject,
                    reply,
                    payload,
                    headers,
                } = message;
                let headers = headers.unwrap_or_default();
                // A message that is too large was refused before; a closed client sends nothing.
                let _ = match (reply, has_headers) {
                    (None, false) => client.publish(subject, payload).await,
                    (None, true) => client.publish_with_headers(subject, headers, payload).await,
                    (Some(reply), false) => {
                        client.publish_with_reply(subject, reply, payload).await
                    }
                    (Some(reply), true) => {
                        client
                            .publish_with_reply_and_headers(subject, reply, headers, payload)
                            .await
                    }
                };
            }
            Out::Subscribe(subject, what) => {
                if let Ok(subscriber) = client.subscribe(subject).await {
                    let task = tasks.spawn(pass_on(subscriber, what, pass.clone()));
                    passing.insert(what, task);
                }
            }
            Out::Unsubscribe(what) => {
                // The subscriber is dropped with its task, which unsubscribes.
                if let Some(task) = passing.remove(&what) {
                    task.abort();
                }
                while tasks.try_join_next().is_some() {}
            }
        }
    }
}

/// While the state has more than it can take, messages wait in the subscription, and the
/// client library drops those beyond its bound and says so.
async fn pass_on(
    subscriber: async_nats::Subscriber,
    what: Subscribed,
    pass: Sender<(Subscribed, Vec<Message>)>,
) {
    let mut pieces = subscriber.ready_chunks(PIECE_MAX);
    while let Some(messages) = pieces.next().await {
        if pass.send((what, messages)).await.is_err() {
            break;
        }
    }
}
