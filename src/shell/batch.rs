//! Lines on their way from standard input to the server: a bounded queue between the thread that
//! reads and the task that posts. While it is full, nothing more is read.

use std::collections::VecDeque;
use std::io::{self, BufRead, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use tokio::sync::Notify;

/// Bytes that wait; beyond it the reader does. One line may be longer.
const BYTES_MAX: usize = 1 << 20;
/// A longer line is no message that any server would take.
const LINE_BYTES_MAX: usize = 64 << 20;

/// A line, and its number in the input, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Numbered {
    pub(super) number: u64,
    pub(super) bytes: Vec<u8>,
}

/// What the reader has come to.
#[derive(Debug)]
pub(super) enum Input {
    Line(Numbered),
    /// This one is too long, and is passed over.
    TooLong(u64),
    Failed(io::Error),
}

#[derive(Default)]
struct Waiting {
    inputs: VecDeque<Input>,
    bytes: usize,
    has_ended: bool,
    /// Nobody takes any more.
    is_left: bool,
}

/// The queue.
#[derive(Default)]
pub(super) struct Lines {
    waiting: Mutex<Waiting>,
    room: Condvar,
    grown: Notify,
}

impl Lines {
    /// Reads lines to the end of `from`, as fast as they are taken.
    pub(super) fn read(self: &Arc<Self>, mut from: impl BufRead) {
        for number in 1.. {
            let mut bytes = Vec::new();
            let read = (&mut from)
                .take(LINE_BYTES_MAX as u64 + 1)
                .read_until(b'\n', &mut bytes);
            let input = match read {
                Ok(0) => break,
                Ok(_) if bytes.len() > LINE_BYTES_MAX && bytes.last() != Some(&b'\n') => {
                    match from.skip_until(b'\n') {
                        Ok(_) => Input::TooLong(number),
                        Err(error) => Input::Failed(error),
                    }
                }
                Ok(_) => {
                    if bytes.last() == Some(&b'\n') {
                        bytes.pop();
                    }
                    // An empty line is no message.
                    if bytes.is_empty() {
                        continue;
                    }
                    Input::Line(Numbered { number, bytes })
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Input::Failed(error),
            };
            let is_last = matches!(input, Input::Failed(_));
            if !self.put(input) || is_last {
                break;
            }
        }
        self.lock().has_ended = true;
        self.grown.notify_one();
    }

    /// Takes in one message, whatever is in it.
    pub(super) fn read_one(&self, bytes: Vec<u8>) {
        self.put(Input::Line(Numbered { number: 1, bytes }));
        self.lock().has_ended = true;
        self.grown.notify_one();
    }

    /// Waits for room; false if nobody takes any more.
    fn put(&self, input: Input) -> bool {
        let mut waiting = self.lock();
        while waiting.bytes >= BYTES_MAX && !waiting.is_left {
            waiting = self
                .room
                .wait(waiting)
                .expect("nothing panics inside the lock");
        }
        waiting.bytes += len(&input);
        waiting.inputs.push_back(input);
        self.grown.notify_one();
        !waiting.is_left
    }

    /// Takes what has come, at least something and at most so many; none at the end.
    pub(super) async fn take(&self, most: usize) -> Vec<Input> {
        loop {
            {
                let mut waiting = self.lock();
                let count = waiting.inputs.len().min(most);
                if count > 0 || waiting.has_ended {
                    let taken: Vec<Input> = waiting.inputs.drain(..count).collect();
                    waiting.bytes -= taken.iter().map(len).sum::<usize>();
                    self.room.notify_one();
                    return taken;
                }
            }
            self.grown.notified().await;
        }
    }

    /// Lets go of the reader.
    pub(super) fn leave(&self) {
        self.lock().is_left = true;
        self.room.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().expect("nothing panics inside the lock")
    }
}

fn len(input: &Input) -> usize {
    match input {
        Input::Line(line) => line.bytes.len(),
        Input::TooLong(_) | Input::Failed(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn run<T>(test: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(test)
    }

    fn texts(inputs: Vec<Input>) -> Vec<(u64, String)> {
        let text = |input| match input {
            Input::Line(Numbered { number, bytes }) => (number, String::from_utf8(bytes).unwrap()),
            other => panic!("{other:?}"),
        };
        inputs.into_iter().map(text).collect()
    }

    #[test]
    fn lines_come_in_order_with_their_numbers_and_empty_ones_not_at_all() {
        let lines = Arc::new(Lines::default());
        lines.read(&b"a\n\nb\r\nlast"[..]);
        let all = run(async {
            let mut all = texts(lines.take(2).await);
            all.extend(texts(lines.take(9).await));
            assert!(lines.take(9).await.is_empty());
            all
        });
        let wanted = [(1, "a"), (3, "b\r"), (4, "last")].map(|(n, text)| (n, text.to_owned()));
        assert_eq!(all, wanted);
    }

    #[test]
    fn the_reader_waits_while_the_queue_is_full() {
        let lines = Arc::new(Lines::default());
        let count = 5 * BYTES_MAX / 1000;
        let reader = {
            let lines = lines.clone();
            let text = format!("{}\n", "x".repeat(999)).repeat(count);
            thread::spawn(move || lines.read(text.as_bytes()))
        };
        let taken = run(async {
            let mut taken = 0;
            loop {
                let some = lines.take(100).await.len();
                assert!(lines.lock().bytes < BYTES_MAX + 1000);
                if some == 0 {
                    return taken;
                }
                taken += some;
            }
        });
        assert_eq!(taken, count);
        reader.join().unwrap();
    }

    #[test]
    fn a_line_of_the_greatest_length_is_taken_and_a_longer_one_passed_over() {
        let lines = Arc::new(Lines::default());
        let reader = {
            let lines = lines.clone();
            let longest = vec![b'x'; LINE_BYTES_MAX];
            let text = [&longest, &b"\nbehind\n"[..], &longest, b"x\nlast\n"].concat();
            thread::spawn(move || lines.read(&text[..]))
        };
        let came = run(async {
            let mut came = Vec::new();
            loop {
                let some = lines.take(1).await;
                if some.is_empty() {
                    return came;
                }
                came.extend(some.into_iter().map(|input| match input {
                    Input::Line(line) => (line.number, line.bytes.len()),
                    Input::TooLong(number) => (number, 0),
                    Input::Failed(error) => panic!("{error}"),
                }));
            }
        });
        reader.join().unwrap();
        assert_eq!(came, [(1, LINE_BYTES_MAX), (2, 6), (3, 0), (4, 4)]);
    }

    #[test]
    fn a_reader_whose_lines_nobody_takes_ends() {
        let lines = Arc::new(Lines::default());
        lines.leave();
        let text = "x\n".repeat(10);
        lines.read(text.as_bytes());
        assert!(lines.lock().inputs.len() <= 1);
    }
}
