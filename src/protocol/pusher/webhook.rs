//! Webhooks: of what an app's server wants to be told, and the address that it is told at.

use crate::protocol::http::ServerUrl;

/// What an app's server may be told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HookEvent {
    /// Somebody subscribes to a channel that nobody was subscribed to.
    ChannelOccupied,
    /// Nobody is subscribed to it any more.
    ChannelVacated,
    /// A user comes to a presence channel, with the first connection.
    MemberAdded,
    /// The user's last connection has left it.
    MemberRemoved,
    /// A client has published.
    ClientEvent,
    /// Somebody subscribes to a cache channel that holds nothing.
    CacheMiss,
}

/// One address, and what is told there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    pub url: ServerUrl,
    pub events: Vec<HookEvent>,
}

impl HookEvent {
    pub const ALL: [HookEvent; 6] = [
        HookEvent::ChannelOccupied,
        HookEvent::ChannelVacated,
        HookEvent::MemberAdded,
        HookEvent::MemberRemoved,
        HookEvent::ClientEvent,
        HookEvent::CacheMiss,
    ];

    /// As it is called in the settings and in what is told.
    pub fn name(self) -> &'static str {
        match self {
            HookEvent::ChannelOccupied => "channel_occupied",
            HookEvent::ChannelVacated => "channel_vacated",
            HookEvent::MemberAdded => "member_added",
            HookEvent::MemberRemoved => "member_removed",
            HookEvent::ClientEvent => "client_event",
            HookEvent::CacheMiss => "cache_miss",
        }
    }

    /// It changes who is there, as the server believes: what is lost of these leaves it wrong.
    /// Of the others a client can make as many as it likes.
    pub fn is_change(self) -> bool {
        match self {
            HookEvent::ChannelOccupied
            | HookEvent::ChannelVacated
            | HookEvent::MemberAdded
            | HookEvent::MemberRemoved => true,
            HookEvent::ClientEvent | HookEvent::CacheMiss => false,
        }
    }

    pub fn parse(name: &str) -> Option<HookEvent> {
        HookEvent::ALL.into_iter().find(|of| of.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_read_by_its_name() {
        for event in HookEvent::ALL {
            assert_eq!(HookEvent::parse(event.name()), Some(event));
        }
        assert_eq!(HookEvent::parse("subscription_count"), None);
    }
}
