//! The id of a connection, as clients and servers of the protocol tell it one another.

use std::fmt;

/// Names one connection among all of all nodes: two numbers, with a point between them. Both
/// are those of the connection's origin, so that any node can tell whose message it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId {
    /// The process that the connection was made in.
    pub node: u64,
    /// Among those of that process.
    pub connection: u64,
}

impl SocketId {
    /// Reads what [`fmt::Display`] writes, and nothing else: one id has one text, as it is the
    /// text that is signed.
    pub fn parse(text: &str) -> Option<SocketId> {
        let (node, connection) = text.split_once('.')?;
        Some(SocketId {
            node: number(node)?,
            connection: number(connection)?,
        })
    }
}

fn number(text: &str) -> Option<u64> {
    // `parse` alone would take a plus sign and leading zeros.
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let is_short = text == "0" || !text.starts_with('0');
    text.parse().ok().filter(|_| is_plain && is_short)
}

impl fmt::Display for SocketId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}", self.node, self.connection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written() {
        let mut random = fastrand::Rng::with_seed(5);
        let edges = [0, 1, 10, u64::MAX];
        let random = (0..1000).map(|_| (random.u64(..), random.u64(..)));
        let edges = edges.into_iter().flat_map(|a| edges.map(|b| (a, b)));
        for (node, connection) in random.chain(edges) {
            let id = SocketId { node, connection };
            assert_eq!(SocketId::parse(&id.to_string()), Some(id));
        }
    }

    #[test]
    fn whatever_else_is_none() {
        for text in [
            "",
            ".",
            "1",
            "1.",
            ".1",
            "1.2.3",
            "+1.2",
            "1.-2",
            "01.2",
            "1.02",
            "1 .2",
            "a.b",
            "1.18446744073709551616",
            "1,2",
            "١.٢",
        ] {
            assert_eq!(SocketId::parse(text), None, "{text}");
        }
    }
}
