//! Standard output: lines of a bounded queue, written by a thread of its own, so that a signal is
//! obeyed while nobody reads. While the queue is full, nothing more is read from the server.

use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;
use std::thread;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::oneshot;

/// Lines that wait to be written.
const LINES_MAX: usize = 64;

/// What has become of standard output.
#[derive(Debug)]
pub(super) enum Written {
    /// As many lines as were wanted, or all there were.
    All,
    /// Nobody reads any more.
    Closed,
    Failed(io::Error),
}

/// The queue, and how it ends.
pub(super) fn start(
    out: impl Write + Send + 'static,
    count: Option<u64>,
) -> io::Result<(Sender<Vec<u8>>, oneshot::Receiver<Written>)> {
    let (lines, waiting) = channel(LINES_MAX);
    let (told, end) = oneshot::channel();
    thread::Builder::new()
        .name("output".into())
        .spawn(move || {
            let written = match write(BufWriter::new(out), waiting, count) {
                Ok(()) => Written::All,
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Written::Closed,
                Err(error) => Written::Failed(error),
            };
            // Who waits for it may have left.
            let _ = told.send(written);
        })?;
    Ok((lines, end))
}

fn write(
    mut out: BufWriter<impl Write>,
    mut lines: Receiver<Vec<u8>>,
    count: Option<u64>,
) -> io::Result<()> {
    let mut left = count;
    while left != Some(0) {
        let line = match lines.try_recv() {
            Ok(line) => line,
            Err(_) => {
                // Nothing more comes at the moment.
                out.flush()?;
                match lines.blocking_recv() {
                    Some(line) => line,
                    None => return Ok(()),
                }
            }
        };
        out.write_all(&line)?;
        left = left.map(|left| left - 1);
    }
    out.flush()
}

/// Whether nobody can read what would be written, which no write would tell as long as nothing
/// is published.
pub(super) fn is_closed(out: impl AsFd) -> bool {
    let mut polled = [PollFd::new(out.as_fd(), PollFlags::empty())];
    let found = poll(&mut polled, PollTimeout::ZERO);
    let events = polled[0].revents().unwrap_or(PollFlags::empty());
    found.is_ok() && events.contains(PollFlags::POLLERR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_lines_are_written_and_no_more() {
        let (reader, writer) = io::pipe().unwrap();
        let (lines, end) = start(writer, Some(2)).unwrap();
        for line in ["a\n", "b\n", "c\n"] {
            // The third may find that nobody takes it any more.
            let _ = lines.blocking_send(line.into());
        }
        assert!(matches!(end.blocking_recv(), Ok(Written::All)));
        assert_eq!(io::read_to_string(reader).unwrap(), "a\nb\n");
    }

    #[test]
    fn a_pipe_that_nobody_reads_is_no_failure() {
        let (reader, writer) = io::pipe().unwrap();
        assert!(!is_closed(&writer));
        drop(reader);
        assert!(is_closed(&writer));
        let (lines, end) = start(writer, None).unwrap();
        lines.blocking_send(b"a\n".to_vec()).unwrap();
        assert!(matches!(end.blocking_recv(), Ok(Written::Closed)));
    }
}
