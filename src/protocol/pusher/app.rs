//! An app: who may publish to the channels of a prefix and let others in, and what limits hold.

use std::path::PathBuf;
use std::sync::Arc;

use super::channel::check_target;
use super::secrets::Secrets;
use super::socket_id::SocketId;
use super::webhook::{HookEvent, Webhook};

/// One app, as the settings have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct App {
    /// As it stands in the paths of the HTTP API.
    pub id: Box<str>,
    /// As it stands in the path that clients connect to, and in signatures; no secret.
    /// Shared by its connections.
    pub key: Arc<str>,
    /// Where its secrets are, the one that signs first.
    pub secret_files: Vec<PathBuf>,
    pub secrets: Secrets,
    /// What the topics of its channels begin with.
    pub prefix: Box<str>,
    /// Clients may publish to private and presence channels that they are in.
    pub client_events: bool,
    /// From one connection; 0 is no limit.
    pub client_events_per_s_max: u64,
    /// 0 is none but the server's.
    pub connections_max: usize,
    /// Size of an event's data.
    pub event_bytes_max: usize,
    /// Channels that one event goes to.
    pub event_channels_max: usize,
    pub batch_events_max: usize,
    /// Users in one presence channel.
    pub presence_members_max: usize,
    /// Size of what the others in a presence channel are told of a user.
    pub presence_user_bytes_max: usize,
    /// Where its servers are told what happens in its channels.
    pub webhooks: Vec<Webhook>,
}

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthFault {
    #[error("auth must be the app's key, a colon and a signature")]
    Form,
    #[error("auth is by another key than that of the app")]
    Key,
    #[error("the signature in auth does not fit")]
    Signature,
}

impl App {
    /// Whether `auth`, which a client got from its own server, lets the connection subscribe
    /// to a channel, as who `channel_data` says.
    ///
    /// # Errors
    /// See [`AuthFault`].
    pub fn check_channel(
        &self,
        auth: &str,
        socket_id: SocketId,
        channel: &str,
        channel_data: Option<&str>,
    ) -> Result<(), AuthFault> {
        self.check_auth(
            auth,
            &match channel_data {
                Some(data) => format!("{socket_id}:{channel}:{data}"),
                None => format!("{socket_id}:{channel}"),
            },
        )
    }

    /// Whether `auth` says that the user of the connection is who `user_data` says.
    ///
    /// # Errors
    /// See [`AuthFault`].
    pub fn check_signin(
        &self,
        auth: &str,
        socket_id: SocketId,
        user_data: &str,
    ) -> Result<(), AuthFault> {
        self.check_auth(auth, &format!("{socket_id}::user::{user_data}"))
    }

    fn check_auth(&self, auth: &str, message: &str) -> Result<(), AuthFault> {
        let (key, signature) = auth.split_once(':').ok_or(AuthFault::Form)?;
        if key != &*self.key {
            return Err(AuthFault::Key);
        }
        match self.secrets.verify(message.as_bytes(), signature) {
            true => Ok(()),
            false => Err(AuthFault::Signature),
        }
    }

    /// The topic of one of its channels.
    pub fn topic_of(&self, channel: &str) -> String {
        format!("{}{channel}", self.prefix)
    }

    /// A topic is a channel of it, or of one of its users.
    pub fn has_topic(&self, topic: &str) -> bool {
        let channel = topic.strip_prefix(&*self.prefix);
        channel.is_some_and(|channel| check_target(channel).is_ok())
    }

    /// Some server of it is to be told of such an event.
    pub fn is_told_of(&self, event: HookEvent) -> bool {
        let mut hooks = self.webhooks.iter();
        hooks.any(|hook| hook.events.contains(&event))
    }
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    pub(in crate::protocol::pusher) const KEY: &str = "278d425bdf160c739803";

    /// The app of the examples in the protocol's documentation.
    pub(crate) fn app() -> App {
        App {
            id: "3".into(),
            key: KEY.into(),
            secret_files: Vec::new(),
            secrets: Secrets::new(["7ad3773142a6692b25b8".to_owned()]),
            prefix: "".into(),
            client_events: false,
            client_events_per_s_max: 10,
            connections_max: 0,
            event_bytes_max: 10 << 10,
            event_channels_max: 100,
            batch_events_max: 10,
            presence_members_max: 100,
            presence_user_bytes_max: 1 << 10,
            webhooks: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{KEY, app};
    use super::*;

    const ID: SocketId = SocketId {
        node: 1234,
        connection: 1234,
    };
    const PRIVATE: &str = "58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4";
    const PRESENCE: &str = "31935e7d86dba64c2a90aed31fdc61869f9b22ba9d8863bba239c03ca481bc80";
    const SIGNIN: &str = "4708d583dada6a56435fb8bc611c77c359a31eebde13337c16ab43aa6de336ba";

    #[test]
    fn with_another_prefix_its_channels_are_other_topics() {
        let with = |prefix: &str| App {
            prefix: prefix.into(),
            ..app()
        };
        let prefixes = ["", "a/", "a/b/", "b:"];
        for channel in ["news", "presence-x", "#server-to-user-x/y"] {
            for one in prefixes {
                let topic = with(one).topic_of(channel);
                for other in prefixes {
                    assert_eq!(with(other).has_topic(&topic), one == other, "{topic}");
                }
            }
        }
    }

    #[test]
    fn the_documentations_signatures_let_in() {
        let auth = |signature: &str| format!("{KEY}:{signature}");
        let private = app().check_channel(&auth(PRIVATE), ID, "private-foobar", None);
        assert_eq!(private, Ok(()));
        let who = r#"{"user_id":10,"user_info":{"name":"Mr. Channels"}}"#;
        let presence = app().check_channel(&auth(PRESENCE), ID, "presence-foobar", Some(who));
        assert_eq!(presence, Ok(()));
        let signin = app().check_signin(&auth(SIGNIN), ID, r#"{"id":"12345"}"#);
        assert_eq!(signin, Ok(()));
    }

    #[test]
    fn a_signature_is_for_one_connection_one_channel_and_one_user() {
        let private =
            |auth: &str, id, channel: &str, data| app().check_channel(auth, id, channel, data);
        let auth = format!("{KEY}:{PRIVATE}");
        let other = SocketId {
            node: 1234,
            connection: 1235,
        };
        for told in [
            private(&auth, other, "private-foobar", None),
            private(&auth, ID, "private-foobaz", None),
            private(&auth, ID, "private-foobar", Some("")),
            private(&auth[..auth.len() - 1], ID, "private-foobar", None),
            private(&format!("{KEY}:"), ID, "private-foobar", None),
            app().check_signin(&format!("{KEY}:{SIGNIN}"), ID, r#"{"id":"12346"}"#),
        ] {
            assert_eq!(told, Err(AuthFault::Signature));
        }
        let form = private(PRIVATE, ID, "private-foobar", None);
        assert_eq!(form, Err(AuthFault::Form));
        let key = private(&format!("x{auth}"), ID, "private-foobar", None);
        assert_eq!(key, Err(AuthFault::Key));
    }
}
