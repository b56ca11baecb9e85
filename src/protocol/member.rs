//! Who publishes, comes and goes: the form in which messages hold that, whichever dialect it
//! comes from and goes to.

use prost::Message as _;

/// Who a connection is.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ClientInfo {
    #[prost(string, tag = "1")]
    pub user: String,
    #[prost(string, tag = "2")]
    pub client: String,
    /// Of the connection's token: JSON, or bytes. Empty: none.
    #[prost(bytes = "vec", tag = "3")]
    pub conn_info: Vec<u8>,
    /// Of the subscription's token.
    #[prost(bytes = "vec", tag = "4")]
    pub chan_info: Vec<u8>,
}

/// What a message's extras have as `info`: a Protobuf message, from which all
/// dialects write theirs.
pub fn encode_info(info: &ClientInfo) -> Vec<u8> {
    info.encode_to_vec()
}

/// The publisher that [`encode_info`] wrote; `None` if there is none.
pub fn decode_info(bytes: &[u8]) -> Option<ClientInfo> {
    match bytes.is_empty() {
        true => None,
        false => ClientInfo::decode(bytes).ok(),
    }
}

/// What has become of somebody in a topic: the first byte of a message; what follows is the
/// [`ClientInfo`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Membership {
    /// Gone, though the user has other connections there, or nobody counts them.
    Left = 0,
    /// Come, though the user had connections there before, or nobody counts them.
    Joined = 1,
    /// Gone, with the user's last connection.
    LastLeft = 2,
    /// Come, as the user's first connection.
    FirstJoined = 3,
}

impl Membership {
    pub(super) const ALL: [Membership; 4] = [
        Membership::Left,
        Membership::Joined,
        Membership::LastLeft,
        Membership::FirstJoined,
    ];

    pub fn joins(is_first: bool) -> Membership {
        match is_first {
            true => Membership::FirstJoined,
            false => Membership::Joined,
        }
    }

    pub fn leaves(is_last: bool) -> Membership {
        match is_last {
            true => Membership::LastLeft,
            false => Membership::Left,
        }
    }
}

/// A message that says that a client has come, or gone.
pub fn membership(what: Membership, info: &ClientInfo) -> Vec<u8> {
    let mut message = vec![what as u8];
    info.encode(&mut message).expect("a vector takes all");
    message
}

/// What such a message says.
pub(super) fn read_membership(payload: &[u8]) -> Option<(Membership, ClientInfo)> {
    let (what, info) = payload.split_first()?;
    let what = Membership::ALL.get(usize::from(*what))?;
    Some((*what, ClientInfo::decode(info).ok()?))
}
