//! Names of channels, and what a name says of its channel.
//!
//! A channel is a topic: the app's prefix, and the channel's name behind it. A prefix is empty
//! or ends with a character that no channel's name has, so that the name is found again.

use crate::protocol::topic::NAME_BYTES_MAX;

/// The longest name of a channel. Pusher itself allows 164, its server libraries 200.
pub const CHANNEL_BYTES_MAX: usize = 200;
/// The longest id of a user that has a channel.
pub const USER_BYTES_MAX: usize = 200;
/// What the names of users' channels begin with; the user's id follows. No client names one.
pub const USER_CHANNEL: &str = "#server-to-user-";
/// The longest prefix of an app: its longest channel is a topic still.
pub const APP_PREFIX_BYTES_MAX: usize = NAME_BYTES_MAX - USER_CHANNEL.len() - USER_BYTES_MAX;
const _: () = assert!(APP_PREFIX_BYTES_MAX + CHANNEL_BYTES_MAX <= NAME_BYTES_MAX);

/// Who may subscribe to a channel, as its name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    Public,
    /// Who has a signature.
    Private,
    /// The same. Messages are encrypted by those who send and hear them.
    Encrypted,
    /// Who has a signature, which says who they are; all are told who is there.
    Presence,
    /// The connections of one user; only servers publish there.
    User,
}

/// What a name says of its channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChannelKind {
    pub access: Access,
    /// Newcomers are sent the newest message.
    pub is_cache: bool,
}

impl ChannelKind {
    /// What `channel`, a name that need not be a valid one, says.
    pub fn of(channel: &str) -> Self {
        const PREFIXES: [(&str, Access); 4] = [
            (USER_CHANNEL, Access::User),
            ("presence-", Access::Presence),
            // Before private-, with which it begins.
            ("private-encrypted-", Access::Encrypted),
            ("private-", Access::Private),
        ];
        let mut prefixes = PREFIXES.into_iter();
        let found =
            prefixes.find_map(|(prefix, access)| Some((access, channel.strip_prefix(prefix)?)));
        let (access, rest) = found.unwrap_or((Access::Public, channel));
        ChannelKind {
            access,
            is_cache: access != Access::User && rest.starts_with("cache-"),
        }
    }

    /// Nobody subscribes without having shown that they may.
    pub fn is_guarded(self) -> bool {
        self.access != Access::Public
    }

    /// Clients may publish there, where the app lets them.
    pub fn takes_client_events(self) -> bool {
        matches!(self.access, Access::Private | Access::Presence)
    }
}

/// Why a text names no channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChannelFault {
    #[error("a channel's name must not be empty")]
    Empty,
    #[error("a channel's name has at most {CHANNEL_BYTES_MAX} characters")]
    TooLong,
    #[error("a channel's name consists of letters, digits and _ - = @ , . ;")]
    Character,
    #[error("a user's id has at most {USER_BYTES_MAX} bytes")]
    UserTooLong,
    #[error("a user's id must not be empty or contain control characters")]
    User,
}

/// Whether a client may name a channel so.
///
/// # Errors
/// See [`ChannelFault`].
pub fn check_channel(channel: &str) -> Result<(), ChannelFault> {
    match channel {
        "" => Err(ChannelFault::Empty),
        _ if channel.len() > CHANNEL_BYTES_MAX => Err(ChannelFault::TooLong),
        _ if !channel.bytes().all(is_of_channels) => Err(ChannelFault::Character),
        _ => Ok(()),
    }
}

/// Whether a server may publish to a channel of that name: users' channels are among them.
///
/// # Errors
/// See [`ChannelFault`].
pub fn check_target(channel: &str) -> Result<(), ChannelFault> {
    match channel.strip_prefix(USER_CHANNEL) {
        None => check_channel(channel),
        Some(user) if user.len() > USER_BYTES_MAX => Err(ChannelFault::UserTooLong),
        Some(user) if user.is_empty() || user.chars().any(char::is_control) => {
            Err(ChannelFault::User)
        }
        Some(_) => Ok(()),
    }
}

/// The channel's name within the topic of an app's channel.
pub fn channel_of(topic: &str) -> &str {
    // A user's id may hold anything; a prefix holds no #.
    if let Some(at) = topic.find(USER_CHANNEL) {
        return &topic[at..];
    }
    let is_none = |c: char| !c.is_ascii() || !is_of_channels(c as u8);
    match topic.rfind(is_none) {
        Some(at) => {
            let len = topic[at..].chars().next().map_or(0, char::len_utf8);
            &topic[at + len..]
        }
        None => topic,
    }
}

/// Whether an app's prefix may end with that character.
pub fn may_end_a_prefix(c: char) -> bool {
    !(c == '#' || c.is_control() || c.is_ascii() && is_of_channels(c as u8))
}

fn is_of_channels(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-=@,.;".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_who_may_subscribe_and_whether_the_newest_is_sent() {
        for (channel, access, is_cache) in [
            ("news", Access::Public, false),
            ("cache-news", Access::Public, true),
            ("privateer", Access::Public, false),
            ("x-private-a", Access::Public, false),
            ("private-a", Access::Private, false),
            ("private-cache-a", Access::Private, true),
            ("private-encrypted-a", Access::Encrypted, false),
            ("private-encrypted-cache-a", Access::Encrypted, true),
            ("private-encrypted", Access::Private, false),
            ("presence-a", Access::Presence, false),
            ("presence-cache-a", Access::Presence, true),
            ("#server-to-user-cache-1", Access::User, false),
        ] {
            let kind = ChannelKind::of(channel);
            assert_eq!(kind, ChannelKind { access, is_cache }, "{channel}");
            assert_eq!(kind.is_guarded(), access != Access::Public);
        }
        assert!(ChannelKind::of("private-a").takes_client_events());
        assert!(!ChannelKind::of("private-encrypted-a").takes_client_events());
    }

    #[test]
    fn a_channel_is_named_by_few_characters_and_not_too_many() {
        for channel in ["a", "private-A_z=9@,.;-", &"x".repeat(200)] {
            assert_eq!(check_channel(channel), Ok(()));
        }
        for (channel, fault) in [
            ("", ChannelFault::Empty),
            (&*"x".repeat(201), ChannelFault::TooLong),
            ("a b", ChannelFault::Character),
            ("a/b", ChannelFault::Character),
            ("a:b", ChannelFault::Character),
            ("é", ChannelFault::Character),
            ("#server-to-user-1", ChannelFault::Character),
            ("a\0", ChannelFault::Character),
        ] {
            assert_eq!(check_channel(channel), Err(fault), "{channel:?}");
        }
    }

    #[test]
    fn servers_publish_to_users_too_whatever_their_ids_hold() {
        for channel in ["news", "#server-to-user-1", "#server-to-user-a/b é"] {
            assert_eq!(check_target(channel), Ok(()));
        }
        let long = format!("{USER_CHANNEL}{}", "x".repeat(201));
        for (channel, fault) in [
            ("#server-to-user-", ChannelFault::User),
            ("#server-to-user-a\n", ChannelFault::User),
            ("#server-to-all", ChannelFault::Character),
            (&*long, ChannelFault::UserTooLong),
        ] {
            assert_eq!(check_target(channel), Err(fault), "{channel:?}");
        }
    }

    #[test]
    fn the_channel_is_found_behind_any_prefix() {
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..10_000 {
            let mut word = |letters: &[char], most: usize| -> String {
                let len = random.usize(0..=most);
                (0..len).map(|_| *random.choice(letters).unwrap()).collect()
            };
            let begin = word(&['a', '-', '/', ':', 'é', ' '], 5);
            let channel = format!("c{}", word(&['a', '-', '.', '@', ';', '_'], 5));
            let user = format!("{USER_CHANNEL}x{}", word(&['/', '#', 'é', 'b'], 5));
            let end = *random.choice(&['/', ':', 'é', ' ', '|']).unwrap();
            for prefix in [String::new(), format!("{begin}{end}")] {
                assert!(prefix.chars().last().is_none_or(may_end_a_prefix));
                for channel in [&channel, &user] {
                    assert_eq!(channel_of(&format!("{prefix}{channel}")), channel);
                }
            }
        }
        assert!(!may_end_a_prefix('-') && !may_end_a_prefix('#') && !may_end_a_prefix('\n'));
    }
}
