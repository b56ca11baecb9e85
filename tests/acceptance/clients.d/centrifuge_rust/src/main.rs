//! `centrifuge-client` from crates.io, in JSON or Protobuf; the words are those of
//! `meeting.py`.

use std::collections::HashMap;
use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use centrifuge::{Client, Error, HistoryOptions, Protocol, State, SubState, Subscription};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::mpsc;

fn say(value: &Value) {
    let mut out = std::io::stdout().lock();
    // Whoever started this program reads until it ends.
    writeln!(out, "{value}")
        .and_then(|()| out.flush())
        .expect("somebody listens");
}

fn read(data: &[u8]) -> Value {
    serde_json::from_slice(data).unwrap_or_else(|_| json!({"bytes": STANDARD.encode(data)}))
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().expect("the URL");
    let protocol = match arguments.next().as_deref() {
        Some("protobuf") => Protocol::Protobuf,
        _ => Protocol::Json,
    };
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut session: Option<Session> = None;
    while let Some(line) = lines.next_line().await.expect("lines of text") {
        let command: Value = serde_json::from_str(&line).expect("JSON");
        let answer = match (command["do"].as_str(), &mut session) {
            (Some("connect"), _) => match Session::connect(&url, protocol, &command).await {
                Ok(opened) => {
                    session = Some(opened);
                    Ok(json!({}))
                }
                Err(error) => Err(error),
            },
            (Some(verb), Some(session)) => session.obey(verb, &command).await,
            _ => panic!("no command: {line}"),
        };
        let mut answer = match answer {
            Ok(answer) => answer,
            Err(Failure(error)) => json!({"error": error}),
        };
        answer["reply"] = command["id"].clone();
        say(&answer);
    }
}

/// A code of the server's, or what else went wrong.
struct Failure(Value);

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure(match error {
            Error::Server(error) => json!(error.code),
            other => json!(other.to_string()),
        })
    }
}

struct Session {
    client: Client,
    subscriptions: HashMap<String, Subscription>,
}

impl Session {
    async fn connect(url: &str, protocol: Protocol, command: &Value) -> Result<Session, Failure> {
        let fresh = text(command, "fresh");
        let client = Client::builder(url)
            .protocol(protocol)
            .token(text(command, "token"))
            .get_token(move |_| {
                let fresh = fresh.clone();
                async move { Ok(Some(fresh)) }
            })
            .on_connecting(|_, e| say(&json!({"event": "connecting", "code": e.code})))
            .on_connected(|_, _| say(&json!({"event": "connected"})))
            .on_disconnected(|_, e| say(&json!({"event": "disconnected", "code": e.code})))
            .build()?;
        client.connect()?;
        client.ready(None).await?;
        assert_eq!(client.state(), State::Connected);
        Ok(Session {
            client,
            subscriptions: HashMap::new(),
        })
    }

    async fn obey(&mut self, verb: &str, command: &Value) -> Result<Value, Failure> {
        let channel = text(command, "channel");
        match verb {
            "subscribe" => self.subscribe(channel, text(command, "token")).await,
            "unsubscribe" => {
                self.subscriptions[&channel].unsubscribe();
                Ok(json!({}))
            }
            "publish" => {
                let data = command["data"].to_string();
                self.client.publish(&channel, data).await?;
                Ok(json!({}))
            }
            "presence" => {
                let members = self.client.presence(&channel).await?.clients;
                let users: Vec<String> = members.into_values().map(|info| info.user).collect();
                Ok(json!({"users": users}))
            }
            "presence_stats" => {
                let stats = self.client.presence_stats(&channel).await?;
                Ok(json!({"clients": stats.num_clients, "users": stats.num_users}))
            }
            "history" => {
                let options = HistoryOptions::new().all();
                let page = self.client.history(&channel, options).await?;
                let publications: Vec<Value> = (page.publications.iter())
                    .map(|publication| json!([publication.offset, read(&publication.data)]))
                    .collect();
                Ok(json!({
                    "publications": publications, "epoch": page.epoch, "offset": page.offset
                }))
            }
            _ => panic!("no such verb: {verb}"),
        }
    }

    async fn subscribe(&mut self, channel: String, token: String) -> Result<Value, Failure> {
        let (refuse, mut refused) = mpsc::unbounded_channel();
        let named = |key: &'static str| (key, channel.clone());
        let ((_, subscribed), (_, heard), (_, joined)) = (named("s"), named("h"), named("j"));
        let mut builder = self.client.new_subscription(channel.clone());
        if !token.is_empty() {
            builder = builder.token(token);
        }
        let subscription = builder
            .recoverable(true)
            .join_leave(true)
            .on_subscribed(move |_, e| {
                say(&json!({
                    "event": "subscribed", "channel": subscribed,
                    "was_recovering": e.was_recovering, "recovered": e.recovered
                }));
            })
            .on_unsubscribed(move |_, e| {
                // Nobody waits for it once the subscription has come about.
                let _ = refuse.send(e.code);
            })
            .on_publication(move |_, e| {
                say(&json!({
                    "event": "heard", "channel": heard, "data": read(&e.data), "offset": e.offset
                }));
            })
            .on_join(move |_, e| {
                say(&json!({"event": "join", "channel": joined, "user": e.info.user}));
            })
            .build()?;
        subscription.subscribe();
        tokio::select! {
            code = refused.recv() => return Err(Failure(json!(code))),
            ready = subscription.ready(None) => match ready {
                Ok(()) => {}
                // The reason comes with the event.
                Err(Error::SubscriptionUnsubscribed) => {
                    return Err(Failure(json!(refused.recv().await)));
                }
                Err(error) => return Err(error.into()),
            },
        }
        assert_eq!(subscription.state(), SubState::Subscribed);
        self.subscriptions.insert(channel, subscription);
        Ok(json!({}))
    }
}
