//! Who takes part in a run: which connections there are, on which topics they
//! listen, and which publish.
//!
//! Called by the scenarios before a run.

use std::time::Duration;

use crate::args::Load;
use crate::shared::{Group, Member};

/// A crowd that returns at once is back within a fraction of a second: its course takes finer
/// points than what goes on for long.
pub(super) const RETURN_INTERVAL: Duration = Duration::from_millis(20);

/// About three hundred points for a run of that length, neither finer than 100 ms nor coarser
/// than 10 s.
fn interval(length: Duration) -> Duration {
    (length / 300).clamp(Duration::from_millis(100), Duration::from_secs(10))
}

/// Who takes part in a run, and how closely its course is looked at.
pub(super) struct Cast {
    pub(super) scenario: &'static str,
    pub(super) members: Vec<Member>,
    pub(super) publisher_topics: Vec<u32>,
    pub(super) topics: u64,
    pub(super) load: Option<Load>,
    pub(super) message_bytes: u64,
    /// From one point of the run's course to the next.
    pub(super) interval: Duration,
    /// So many of the first members live on threads of their own, where the work for
    /// the others does not delay them.
    pub(super) apart: usize,
    /// Publishes what those who come and go miss, and recover.
    pub(super) burst: Option<u32>,
}

impl Cast {
    /// Subscribers dealt out over the topics, the last `share` percent of them
    /// in another group than the steady ones, and the publishers.
    pub(super) fn of_load(
        scenario: &'static str,
        load: &Load,
        subscribers: u64,
        others: Option<(Group, f64)>,
        length: Duration,
    ) -> Cast {
        let publishers = load.publishers();
        let other_count = others.map_or(0, |(_, share)| {
            ((subscribers as f64 * share / 100.0).round() as u64).max(1)
        });
        let steady = subscribers - other_count.min(subscribers);
        let mut members: Vec<Member> = (0..subscribers)
            .map(|number| Member {
                topic: (number % load.topics) as u32,
                publisher: (load.echo && number < publishers).then_some(number as u32),
                group: match others {
                    Some((group, _)) if number >= steady.max(publishers * u64::from(load.echo)) => {
                        group
                    }
                    _ => Group::Steady,
                },
                thread: 0,
                source: None,
            })
            .collect();
        let publisher_topics: Vec<u32> =
            (0..publishers).map(|p| (p % load.topics) as u32).collect();
        if !load.echo {
            members.extend((0..publishers).map(|number| Member {
                topic: (number % load.topics) as u32,
                publisher: Some(number as u32),
                group: Group::Steady,
                thread: 0,
                source: None,
            }));
        }
        Cast {
            scenario,
            members,
            publisher_topics,
            topics: load.topics,
            message_bytes: load.size,
            load: Some(load.clone()),
            interval: interval(length),
            apart: 0,
            burst: None,
        }
    }

    /// Connections that only listen and, if wanted, one publisher per topic besides.
    pub(super) fn silent(
        scenario: &'static str,
        connections: u64,
        topics: u64,
        with_publishers: bool,
        length: Duration,
    ) -> Cast {
        let publishers = if with_publishers { topics } else { 0 };
        let member = |topic: u64, publisher| Member {
            topic: topic as u32,
            publisher,
            group: Group::Steady,
            thread: 0,
            source: None,
        };
        let connections = (0..connections).map(|number| member(number % topics, None));
        let speaking = (0..publishers).map(|topic| member(topic, Some(topic as u32)));
        Cast {
            scenario,
            members: connections.chain(speaking).collect(),
            publisher_topics: (0..publishers as u32).collect(),
            topics,
            load: None,
            message_bytes: crate::stamp::STAMP_BYTES as u64,
            interval: interval(length),
            apart: 0,
            burst: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    fn load(extra: &str) -> (Load, u64) {
        let line = format!("x fanout --url ws://h/{{topic}} {extra}");
        let Command::Fanout(args) = Cli::parse_from(line.split_whitespace()).command else {
            unreachable!()
        };
        (args.load, args.subscribers)
    }

    #[test]
    fn with_echo_the_first_subscribers_publish_on_their_own_topics() {
        let (load, subscribers) = load("-n 6 -t 2 -p 4 --echo");
        let cast = Cast::of_load("fanout", &load, subscribers, None, Duration::ZERO);
        assert_eq!(cast.members.len(), 6);
        for member in &cast.members {
            if let Some(publisher) = member.publisher {
                assert_eq!(cast.publisher_topics[publisher as usize], member.topic);
            }
        }
    }

    #[test]
    fn without_echo_publishers_are_extra_and_a_share_comes_and_goes() {
        let (load, subscribers) = load("-n 10 -p 2");
        let others = Some((Group::Coming, 20.0));
        let cast = Cast::of_load("soak", &load, subscribers, others, Duration::ZERO);
        assert_eq!(cast.members.len(), 12);
        let coming = cast.members.iter().filter(|m| m.group == Group::Coming);
        assert_eq!(coming.count(), 2);
        assert!(
            cast.members
                .iter()
                .all(|m| m.publisher.is_none() || m.group == Group::Steady)
        );
    }
}
