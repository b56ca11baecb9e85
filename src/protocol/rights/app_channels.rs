//! Which topics are channels of apps, and what their names say.

use crate::protocol::pusher::{ChannelKind, check_channel};

/// What the topics of all apps begin with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct AppChannels {
    prefixes: Vec<Box<str>>,
}

impl AppChannels {
    pub(super) fn new(prefixes: impl IntoIterator<Item = Box<str>>) -> Self {
        AppChannels {
            prefixes: prefixes.into_iter().collect(),
        }
    }

    /// There are no apps.
    pub(super) fn is_empty(&self) -> bool {
        self.prefixes.is_empty()
    }

    /// What the name of an app's channel says of it. Of several prefixes the longest counts.
    pub(super) fn kind(&self, topic: &str) -> Option<ChannelKind> {
        let prefixes = self.prefixes.iter();
        let channels = prefixes.filter_map(|prefix| topic.strip_prefix(&**prefix));
        let channel = channels.min_by_key(|channel| channel.len())?;
        let kind = ChannelKind::of(channel);
        // A name that no client of an app can say still has to be guarded from all others.
        (kind.is_guarded() || check_channel(channel).is_ok()).then_some(kind)
    }

    /// A topic is that of a channel for which everybody has to show that they may.
    pub(super) fn guard(&self, topic: &str) -> bool {
        self.kind(topic).is_some_and(ChannelKind::is_guarded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::pusher::Access;

    #[test]
    fn the_longest_prefix_says_whose_channel_a_topic_is() {
        let prefixes = ["", "a/", "a/b/"].map(Box::from);
        let channels = AppChannels::new(prefixes);
        let access = |topic| channels.kind(topic).map(|kind| kind.access);
        for topic in ["private-x", "a/private-x", "a/b/private-x"] {
            assert_eq!(access(topic), Some(Access::Private));
        }
        assert_eq!(access("a/b/news"), Some(Access::Public));
        assert_eq!(access("c/news"), None);
        // Not a prefix of an app: no client of one could say it.
        assert_eq!(access("c/private-x"), None);
    }
}
