//! All of `client.proto` that this codec writes or reads, as prost would write and
//! read it.

use std::collections::BTreeMap;

use prost::Message;

macro_rules! messages {
    ($($name:ident { $($tag:literal $field:ident: $kind:ident $type:ty;)* })*) => {$(
        messages!(@one $name [$($tag $field $kind $type;)*] []);
    )*};
    (@one $name:ident [] [$($fields:tt)*]) => {
        #[derive(Clone, PartialEq, Message)]
        pub(super) struct $name { $($fields)* }
    };
    (@one $name:ident [$tag:literal $field:ident bytes $type:ty; $($rest:tt)*] [$($fields:tt)*]) => {
        messages!(@one $name [$($rest)*] [
            $($fields)* #[prost(bytes = "vec", tag = $tag)] pub(super) $field: $type,
        ]);
    };
    (@one $name:ident [$tag:literal $field:ident one $type:ty; $($rest:tt)*] [$($fields:tt)*]) => {
        messages!(@one $name [$($rest)*] [
            $($fields)* #[prost(message, optional, tag = $tag)] pub(super) $field: Option<$type>,
        ]);
    };
    (@one $name:ident [$tag:literal $field:ident many $type:ty; $($rest:tt)*] [$($fields:tt)*]) => {
        messages!(@one $name [$($rest)*] [
            $($fields)* #[prost(message, repeated, tag = $tag)] pub(super) $field: Vec<$type>,
        ]);
    };
    (@one $name:ident [$tag:literal $field:ident by_name $type:ty; $($rest:tt)*] [$($fields:tt)*]) => {
        messages!(@one $name [$($rest)*] [
            $($fields)* #[prost(btree_map = "string, message", tag = $tag)]
            pub(super) $field: BTreeMap<String, $type>,
        ]);
    };
    (@one $name:ident [$tag:literal $field:ident texts $type:ty; $($rest:tt)*] [$($fields:tt)*]) => {
        messages!(@one $name [$($rest)*] [
            $($fields)* #[prost(btree_map = "string, string", tag = $tag)] pub(super) $field: $type,
        ]);
    };
    (@one $name:ident [$tag:literal $field:ident $kind:ident $type:ty; $($rest:tt)*] [$($fields:tt)*]) => {
        messages!(@one $name [$($rest)*] [
            $($fields)* #[prost($kind, tag = $tag)] pub(super) $field: $type,
        ]);
    };
}

messages! {
    Command {
        "1" id: uint32 u32;
        "4" connect: one ConnectRequest;
        "5" subscribe: one SubscribeRequest;
        "6" unsubscribe: one Channel;
        "7" publish: one PublishRequest;
        "8" presence: one Channel;
        "9" presence_stats: one Channel;
        "10" history: one HistoryRequest;
        "11" ping: one Nothing;
        "12" send: one Payload;
        "13" rpc: one RpcRequest;
        "14" refresh: one RefreshRequest;
        "15" sub_refresh: one SubRefreshRequest;
        "99" newer: one Nothing;
    }
    ConnectRequest {
        "1" token: string String;
        "2" data: bytes Vec<u8>;
        "3" subs: by_name SubscribeRequest;
        "4" name: string String;
        "5" version: string String;
        "6" headers: texts BTreeMap<String, String>;
        "7" flag: int64 i64;
        "8" dict: string String;
        "9" profile: string String;
    }
    SubscribeRequest {
        "1" channel: string String;
        "2" token: string String;
        "3" recover: bool bool;
        "6" epoch: string String;
        "7" offset: uint64 u64;
        "8" data: bytes Vec<u8>;
        "9" positioned: bool bool;
        "10" recoverable: bool bool;
        "11" join_leave: bool bool;
        "12" delta: string String;
        "13" tf: one FilterNode;
        "14" flag: int64 i64;
        "15" kind: int32 i32;
        "16" phase: int32 i32;
        "17" cursor: string String;
        "18" limit: int32 i32;
        "19" asc: bool bool;
    }
    FilterNode {
        "1" op: string String;
        "6" nodes: many FilterNode;
    }
    Channel {
        "1" channel: string String;
    }
    PublishRequest {
        "1" channel: string String;
        "2" data: bytes Vec<u8>;
        "3" kind: int32 i32;
        "4" key: string String;
    }
    HistoryRequest {
        "1" channel: string String;
        "7" limit: int32 i32;
        "8" since: one StreamPosition;
        "9" reverse: bool bool;
    }
    StreamPosition {
        "1" offset: uint64 u64;
        "2" epoch: string String;
    }
    RpcRequest {
        "1" data: bytes Vec<u8>;
        "2" method: string String;
    }
    RefreshRequest {
        "1" token: string String;
    }
    SubRefreshRequest {
        "1" channel: string String;
        "2" token: string String;
        "3" kind: int32 i32;
    }
    Nothing {}
    Payload {
        "1" data: bytes Vec<u8>;
    }

    Reply {
        "1" id: uint32 u32;
        "2" error: one Error;
        "4" push: one Push;
        "5" connect: one ConnectResult;
        "6" subscribe: one SubscribeResult;
        "7" unsubscribe: one Nothing;
        "8" publish: one Nothing;
        "9" presence: one PresenceResult;
        "10" presence_stats: one PresenceStatsResult;
        "11" history: one HistoryResult;
        "14" refresh: one RefreshResult;
        "15" sub_refresh: one Expiry;
    }
    Error {
        "1" code: uint32 u32;
        "2" message: string String;
        "3" temporary: bool bool;
    }
    Push {
        "1" id: int64 i64;
        "2" channel: string String;
        "4" publication: one Publication;
        "5" join: one Info;
        "6" leave: one Info;
        "7" unsubscribe: one Unsubscribe;
        "8" message: one Payload;
        "9" subscribe: one Subscribe;
        "11" disconnect: one Disconnect;
        "12" refresh: one Expiry;
    }
    ClientInfo {
        "1" user: string String;
        "2" client: string String;
        "3" conn_info: bytes Vec<u8>;
        "4" chan_info: bytes Vec<u8>;
    }
    Publication {
        "4" data: bytes Vec<u8>;
        "5" info: one ClientInfo;
        "6" offset: uint64 u64;
        "7" tags: texts BTreeMap<String, String>;
        "8" delta: bool bool;
        "9" time: int64 i64;
        "10" channel: string String;
    }
    Info {
        "1" info: one ClientInfo;
    }
    Unsubscribe {
        "2" code: uint32 u32;
        "3" reason: string String;
    }
    Subscribe {
        "1" recoverable: bool bool;
        "4" epoch: string String;
        "5" offset: uint64 u64;
        "6" positioned: bool bool;
        "7" data: bytes Vec<u8>;
    }
    Disconnect {
        "1" code: uint32 u32;
        "2" reason: string String;
        "3" reconnect: bool bool;
    }
    Expiry {
        "1" expires: bool bool;
        "2" ttl: uint32 u32;
    }
    ConnectResult {
        "1" client: string String;
        "2" version: string String;
        "3" expires: bool bool;
        "4" ttl: uint32 u32;
        "5" data: bytes Vec<u8>;
        "6" subs: by_name SubscribeResult;
        "7" ping: uint32 u32;
        "8" pong: bool bool;
        "12" flag: int64 i64;
    }
    SubscribeResult {
        "1" expires: bool bool;
        "2" ttl: uint32 u32;
        "3" recoverable: bool bool;
        "6" epoch: string String;
        "7" publications: many Publication;
        "8" recovered: bool bool;
        "9" offset: uint64 u64;
        "10" positioned: bool bool;
        "11" data: bytes Vec<u8>;
        "12" was_recovering: bool bool;
        "13" delta: bool bool;
        "14" id: int64 i64;
    }
    PresenceResult {
        "1" presence: by_name ClientInfo;
    }
    PresenceStatsResult {
        "1" num_clients: uint32 u32;
        "2" num_users: uint32 u32;
    }
    HistoryResult {
        "1" publications: many Publication;
        "2" epoch: string String;
        "3" offset: uint64 u64;
    }
    RefreshResult {
        "1" client: string String;
        "2" version: string String;
        "3" expires: bool bool;
        "4" ttl: uint32 u32;
    }
}
