//! The log's publish and read protocol under every interleaving of its threads
//! that the memory model allows.

// The very files that the daemon is built from.
#[path = "../src/log/head.rs"]
pub mod head;
#[path = "../src/log/interest.rs"]
pub mod interest;

/// What the files find beside themselves: the model checker's atomics.
mod sync {
    pub(super) use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
}

use std::sync::OnceLock;

use head::{Extent, Head, Told};
use interest::{Listener, Waiting};
use loom::cell::UnsafeCell;
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

/// A segment of two bytes. What is written without atomics, the bytes and the
/// link, is a cell that finds races by being looked at; it needs no content.
struct Segment {
    head: Head,
    bytes: [UnsafeCell<()>; 2],
    link: UnsafeCell<()>,
    next: OnceLock<Arc<Segment>>,
}

impl Segment {
    fn new() -> Arc<Self> {
        Arc::new(Segment {
            head: Head::new(0, 0),
            bytes: Default::default(),
            link: UnsafeCell::new(()),
            next: OnceLock::new(),
        })
    }

    /// Writes the byte at `at` and publishes it.
    fn append(&self, at: usize) {
        self.bytes[at].with_mut(|_| ());
        // A message of one byte each.
        self.head.publish(at as u32 + 1, at as u32 + 1);
    }

    fn seal(&self, next: Arc<Segment>) {
        self.link.with_mut(|_| ());
        assert!(self.next.set(next).is_ok());
        self.head.seal();
    }

    /// How many bytes are published from here on, over the link as well.
    fn read(&self) -> u32 {
        let Extent { len, count, sealed } = self.head.load();
        assert_eq!(len, count, "both are of one moment");
        for byte in &self.bytes[..len as usize] {
            byte.with(|_| ());
        }
        if !sealed {
            return len;
        }
        self.link.with(|_| ());
        len + self.next.get().expect("linked before sealed").read()
    }
}

#[test]
fn readers_see_only_what_is_written_and_only_ever_more() {
    loom::model(|| {
        let segment = Segment::new();
        let reader = {
            let segment = segment.clone();
            thread::spawn(move || {
                let first = segment.read();
                assert!(first <= segment.read());
            })
        };
        segment.append(0);
        segment.append(1);
        reader.join().unwrap();
        assert_eq!(segment.read(), 2);
    });
}

#[test]
fn a_sealed_segment_is_final_and_leads_to_the_next() {
    loom::model(|| {
        let segment = Segment::new();
        let reader = {
            let segment = segment.clone();
            thread::spawn(move || {
                let first = segment.head.load();
                let all = segment.read();
                assert!(all >= first.len);
                assert!(!first.sealed || (first.len == 2 && segment.head.load() == first));
            })
        };
        segment.append(0);
        segment.append(1);
        let next = Segment::new();
        segment.seal(next.clone());
        next.append(0);
        reader.join().unwrap();
        assert_eq!(segment.read(), 3);
    });
}

/// What wakes a core: readable from the first write on, until it is taken.
#[derive(Default)]
struct Wake {
    written: Mutex<bool>,
    grown: Condvar,
}

impl Wake {
    fn write(&self) {
        *self.written.lock().unwrap() = true;
        self.grown.notify_one();
    }

    fn wait(&self) {
        let mut written = self.written.lock().unwrap();
        while !*written {
            written = self.grown.wait(written).unwrap();
        }
        *written = false;
    }
}

/// Lets a core look at segments that others grow, `each` bytes in each, until
/// it has seen all. Were a growth untold, it would wait for ever, and the model
/// would say so.
fn look_while_told(publishers: usize, each: usize) {
    let told = Arc::new(Told::new());
    let wake = Arc::new(Wake::default());
    let segments: Vec<_> = (0..publishers).map(|_| Segment::new()).collect();
    let threads: Vec<_> = segments
        .iter()
        .map(|segment| {
            let (segment, told, wake) = (segment.clone(), told.clone(), wake.clone());
            thread::spawn(move || {
                for at in 0..each {
                    segment.append(at);
                    if told.tell() {
                        wake.write();
                    }
                }
            })
        })
        .collect();
    let mut seen = 0;
    while seen < (publishers * each) as u32 {
        wake.wait();
        told.heard();
        let all = segments.iter().map(|segment| segment.read()).sum();
        assert!(all >= seen);
        seen = all;
    }
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn no_growth_goes_untold_however_fast_one_publishes() {
    loom::model(|| look_while_told(1, 2));
}

#[test]
fn no_growth_goes_untold_however_many_publish() {
    let mut model = loom::model::Builder::new();
    // All interleavings with up to three switches that nobody had to make.
    model.preemption_bound = Some(3);
    model.check(|| look_while_told(2, 1));
}

#[test]
fn who_joins_while_somebody_publishes_sees_the_message_or_is_told() {
    loom::model(|| {
        let segment = Segment::new();
        let listener = Arc::new(Listener::default());
        let lock = Arc::new(Mutex::new(()));
        let wake = Arc::new(Wake::default());
        let publisher = {
            let (segment, listener) = (segment.clone(), listener.clone());
            let (lock, wake) = (lock.clone(), wake.clone());
            thread::spawn(move || {
                let locked = lock.lock().unwrap();
                segment.append(0);
                drop(locked);
                if let Some(place) = listener.tell() {
                    assert_eq!(place, 7, "the number comes before the count");
                    wake.write();
                }
            })
        };
        listener.join(7);
        // Where a subscriber begins is found under the topic's lock.
        let locked = lock.lock().unwrap();
        let mut seen = segment.read();
        drop(locked);
        while seen == 0 {
            wake.wait();
            listener.told.heard();
            seen = segment.read();
        }
        publisher.join().unwrap();
    });
}

#[test]
fn a_publisher_that_waits_is_woken_by_the_core_that_catches_up() {
    loom::model(|| {
        let (listener, waiting) = (Arc::new(Listener::default()), Arc::new(Waiting::new()));
        listener.join(0);
        listener.pass(0);
        let wake = Arc::new(Wake::default());
        let core = {
            let (listener, waiting, wake) = (listener.clone(), waiting.clone(), wake.clone());
            thread::spawn(move || {
                listener.pass(1);
                if waiting.is_set() {
                    waiting.clear();
                    wake.write();
                }
            })
        };
        loop {
            waiting.wait();
            if listener.behind(1) == 0 {
                break;
            }
            wake.wait();
        }
        core.join().unwrap();
    });
}
