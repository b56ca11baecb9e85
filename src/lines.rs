//! Log lines on their way out. Whoever logs puts a line into a bounded queue and
//! goes on; a thread writes. A reader of the log that is slow, stuck or away costs
//! lines, which are counted, and never a core's time.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock};
use std::thread;
use std::time::Duration;

use nix::sys::signal::SigSet;

/// Lines that wait to be written, in bytes. Beyond, new ones are dropped.
const QUEUE_BYTES_MAX: usize = 1 << 20;
/// What a line costs in the queue besides its bytes.
const LINE_BYTES: usize = 64;

/// Lines that were dropped since the process started.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// How many log lines were dropped since the process started, as their queue was
/// full or they could not be written.
pub fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// The queue, and a handle to put lines into it.
#[derive(Clone)]
pub struct Lines(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
    emptied: Condvar,
}

#[derive(Default)]
struct Queue {
    lines: VecDeque<Box<[u8]>>,
    bytes: usize,
    /// A line has been taken out and is being written.
    writing: bool,
    /// Lines dropped that the log does not tell of yet.
    untold: u64,
}

impl Lines {
    /// Starts the thread, which hands each line to `sink`. That may take as long
    /// as it likes.
    ///
    /// # Errors
    /// Those of starting a thread.
    pub fn start(sink: impl FnMut(&[u8]) -> io::Result<()> + Send + 'static) -> io::Result<Lines> {
        let lines = Lines(Arc::new(Shared {
            queue: Mutex::default(),
            filled: Condvar::new(),
            emptied: Condvar::new(),
        }));
        let written = lines.clone();
        thread::Builder::new()
            .name("log".into())
            .spawn(move || written.write_on(sink))?;
        Ok(lines)
    }

    /// Puts a line into the queue, or drops it.
    pub fn push(&self, line: &[u8]) {
        let mut queue = self.lock();
        let bytes = queue.bytes + line.len() + LINE_BYTES;
        if bytes > QUEUE_BYTES_MAX {
            queue.drop_line();
            return;
        }
        queue.bytes = bytes;
        queue.lines.push_back(line.into());
        drop(queue);
        self.0.filled.notify_one();
    }

    /// Makes these the lines that [`exit`] waits for.
    pub fn keep(&self) {
        // The first log of a process is its only one.
        let _ = LOG.set(self.clone());
    }

    /// Waits until all lines are written, but not for longer than `patience`.
    pub fn flush(&self, patience: Duration) {
        let unwritten = |queue: &mut Queue| queue.writing || !queue.lines.is_empty();
        let waited = self
            .0
            .emptied
            .wait_timeout_while(self.lock(), patience, unwritten);
        drop(waited.expect("nothing panics inside the lock"));
    }

    fn write_on(self, mut sink: impl FnMut(&[u8]) -> io::Result<()>) {
        // The main thread takes signals, and may only be about to say so.
        if let Err(error) = SigSet::all().thread_block() {
            tracing::warn!(%error, "the thread that writes the log cannot block signals");
        }
        loop {
            let line = self.take();
            let written = sink(&line);
            let mut queue = self.lock();
            queue.writing = false;
            if written.is_err() {
                queue.drop_line();
            }
            let untold = match written {
                Ok(()) => std::mem::take(&mut queue.untold),
                Err(_) => 0,
            };
            let empty = queue.lines.is_empty();
            drop(queue);
            if untold > 0 {
                tracing::warn!(
                    lines = untold,
                    "log lines were dropped: whoever reads the log was too slow, or away"
                );
            }
            if empty {
                self.0.emptied.notify_all();
            }
        }
    }

    fn take(&self) -> Box<[u8]> {
        let empty = |queue: &mut Queue| queue.lines.is_empty();
        let filled = self.0.filled.wait_while(self.lock(), empty);
        let mut queue = filled.expect("nothing panics inside the lock");
        let line = queue.lines.pop_front().expect("it is not empty");
        queue.bytes -= line.len() + LINE_BYTES;
        queue.writing = true;
        line
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.queue.lock().expect("nothing panics inside the lock")
    }
}

impl Queue {
    fn drop_line(&mut self) {
        self.untold += 1;
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

/// One whole line for each write.
impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes to standard error what is to be said at the very end, but does not wait
/// longer than `patience` for a reader that has stopped.
pub fn last_words(text: String, patience: Duration) {
    let (done, waiting) = std::sync::mpsc::channel();
    let write = move || {
        let written = io::stderr().write_all(text.as_bytes());
        // Nobody may wait any more, and a failure has nowhere to be told.
        let _ = done.send(written);
    };
    match thread::Builder::new()
        .name("last-words".into())
        .spawn(write)
    {
        Ok(_) => drop(waiting.recv_timeout(patience)),
        Err(error) => tracing::error!(%error, "cannot start a thread"),
    }
}

/// The log of this process, once it has one.
static LOG: OnceLock<Lines> = OnceLock::new();
/// How long the end of the process waits for its last lines.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Ends the process once its last lines are written, as far as somebody takes them.
pub fn exit(status: i32) -> ! {
    if let Some(lines) = LOG.get() {
        lines.flush(LAST_WORDS);
    }
    std::process::exit(status)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn lines_come_out_in_order_and_whole() {
        let (sink, written) = mpsc::channel();
        let lines = Lines::start(move |line| sink.send(line.to_vec()).map_err(io::Error::other));
        let lines = lines.unwrap();
        for n in 0..500 {
            writeln!(lines.clone(), "line").unwrap();
            lines.push(n.to_string().as_bytes());
        }
        lines.flush(PATIENCE);
        let all: Vec<Vec<u8>> = written.try_iter().collect();
        assert_eq!(all.concat().len(), 500 * 5 + 10 + 180 + 1200);
        assert_eq!(all.last().unwrap(), b"499");
    }

    #[test]
    fn a_reader_that_has_stopped_costs_lines_and_no_time() {
        let (go, gate) = mpsc::channel::<()>();
        let (sink, written) = mpsc::channel();
        let lines = Lines::start(move |line| {
            // Until the gate's other end is dropped.
            let _ = gate.recv();
            sink.send(line.to_vec()).map_err(io::Error::other)
        });
        let lines = lines.unwrap();
        let before = dropped();
        let line = [b'x'; 1000];
        for _ in 0..2000 {
            lines.push(&line);
        }
        lines.flush(Duration::from_millis(1));
        let lost = dropped() - before;
        let fit = (QUEUE_BYTES_MAX / (line.len() + LINE_BYTES)) as u64;
        // One may be with the writer.
        assert!((2000 - fit - 1..=2000 - fit).contains(&lost), "{lost}");
        drop(go);
        lines.flush(PATIENCE);
        let heard = written.try_iter().count() as u64;
        assert_eq!(heard + lost, 2000);
        assert_eq!(lines.lock().untold, 0, "the log tells of them");
    }

    #[test]
    fn a_line_that_cannot_be_written_is_counted_and_the_next_one_is_tried() {
        let (sink, written) = mpsc::channel();
        let lines = Lines::start(move |line| match line {
            b"bad" => Err(io::ErrorKind::BrokenPipe.into()),
            _ => sink.send(line.to_vec()).map_err(io::Error::other),
        });
        let lines = lines.unwrap();
        let before = dropped();
        lines.push(b"bad");
        lines.push(b"good");
        lines.flush(PATIENCE);
        assert!(dropped() > before);
        assert_eq!(written.try_iter().next().unwrap(), b"good");
    }
}
