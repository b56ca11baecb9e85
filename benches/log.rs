//! The log: messages appended by one publisher and by many at once, and a
//! core's window that follows them.

use std::convert::Infallible;
use std::hint::black_box;
use std::sync::Barrier;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use fanfare::hub::codec::Codec;
use fanfare::log::{Arenas, Bounds, Draft, Retention, Start, Topic, Window};
use fanfare::mask;
use fanfare::protocol::encoding::Format;

use crate::cpu_time::CpuTime;

const SIZES: [usize; 9] = [
    16,
    64,
    256,
    1 << 10,
    4 << 10,
    16 << 10,
    64 << 10,
    256 << 10,
    1 << 20,
];
const KEY: [u8; 4] = [1, 2, 3, 4];
/// As the daemon's defaults are, but for the memory of large messages.
const RETENTION: Retention = Retention {
    messages_max: 1000,
    bytes_max: 1 << 20,
    age_ms_max: 300_000,
    bounds: Bounds {
        log_bytes_max: 64 << 20,
        log_bytes_total_max: 1 << 30,
    },
};

fn topic() -> Topic {
    Topic::new("bench".into(), 1, 1, Arenas::new())
}

/// Where a subscriber begins that wants what is new.
fn begin(topic: &Topic) -> Start {
    let start = topic.start(Format::Raw, None, &RETENTION);
    start.expect("the end is in reach")
}

/// One message the way a core takes it in: unmasked into its place.
fn publish(topic: &Topic, payload: &[u8]) {
    let draft = Draft {
        text: false,
        len: payload.len(),
        now_ms: 1,
        offset: None,
        extras: None,
    };
    let mut codec = Codec::default();
    loop {
        let copied = topic.publish(&draft, &RETENTION, &mut codec.plain(), |room| {
            mask::copy_unmasked(room, payload, KEY);
            Ok::<_, Infallible>(())
        });
        match copied {
            Ok(published) => {
                black_box(published);
                break;
            }
            // Somebody who reads has been off the processor for long.
            Err(_) => std::thread::yield_now(),
        };
    }
}

pub(crate) fn bench(c: &mut Criterion<CpuTime>) {
    append(c);
    append_together(c);
    follow_together(c);
    advance(c);
    look(c);
}

fn append(c: &mut Criterion<CpuTime>) {
    let mut group = c.benchmark_group("log/append");
    for len in SIZES {
        let (topic, payload) = (topic(), vec![7; len]);
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(BenchmarkId::from_parameter(len), |b| {
            b.iter(|| publish(&topic, black_box(&payload)));
        });
    }
}

/// Processor time for `iterations` messages in all, shared out to `publishers`
/// threads, each of which does `work` for its share.
fn race(publishers: u64, iterations: u64, work: impl Fn(u64) + Sync) -> Duration {
    let start = Barrier::new(publishers as usize + 1);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..publishers)
            .map(|publisher| {
                let (start, work) = (&start, &work);
                let mine = iterations / publishers + u64::from(publisher < iterations % publishers);
                scope.spawn(move || {
                    start.wait();
                    work(mine);
                })
            })
            .collect();
        let began = CpuTime::now();
        start.wait();
        for thread in threads {
            thread.join().expect("a publisher does not panic");
        }
        CpuTime::now() - began
    })
}

fn append_together(c: &mut Criterion<CpuTime>) {
    for len in [64, 4 << 10] {
        let mut group = c.benchmark_group(format!("log/append_{len}_by_publishers"));
        group.throughput(Throughput::Elements(1));
        let payload = vec![7; len];
        for publishers in [1, 2, 4, 8] {
            let topic = topic();
            group.bench_function(BenchmarkId::from_parameter(publishers), |b| {
                b.iter_custom(|iterations| {
                    race(publishers, iterations, |mine| {
                        (0..mine).for_each(|_| publish(&topic, &payload));
                    })
                });
            });
        }
    }
}

/// As cores do it: each publishes, and follows everybody's messages with a
/// window and a cursor of its own, here after every sixteen.
fn follow_together(c: &mut Criterion<CpuTime>) {
    let mut group = c.benchmark_group("log/append_64_and_advance_by_publishers");
    group.throughput(Throughput::Elements(1));
    let payload = [7; 64];
    for publishers in [1, 2, 4, 8] {
        let topic = topic();
        group.bench_function(BenchmarkId::from_parameter(publishers), |b| {
            b.iter_custom(|iterations| {
                race(publishers, iterations, |mine| {
                    let start = begin(&topic);
                    let mut window = Window::new(start.segments);
                    let mut cursor = start.position;
                    for number in 0..mine {
                        publish(&topic, &payload);
                        if number % 16 == 15 {
                            take_all(&mut window, &mut cursor);
                        }
                    }
                })
            });
        });
    }
}

/// The cursor takes what there is, and the window forgets it.
fn take_all(window: &mut Window, cursor: &mut u64) {
    let end = window.advance();
    while *cursor < end {
        *cursor += u64::from(black_box(window.slice(*cursor, end)).len);
    }
    window.release(*cursor);
}

/// A burst is published, the window follows it, and one cursor takes it whole.
fn advance(c: &mut Criterion<CpuTime>) {
    let mut group = c.benchmark_group("log/publish_and_advance");
    for burst in [1_u64, 16, 256] {
        let (topic, payload) = (topic(), [7; 64]);
        let mut window = Window::new(begin(&topic).segments);
        let mut cursor = window.end();
        group.throughput(Throughput::Elements(burst));
        group.bench_function(BenchmarkId::from_parameter(burst), |b| {
            b.iter(|| {
                (0..burst).for_each(|_| publish(&topic, black_box(&payload)));
                take_all(&mut window, &mut cursor);
            });
        });
    }
}

/// What a core asks of its window for each subscriber.
fn look(c: &mut Criterion<CpuTime>) {
    let mut group = c.benchmark_group("log/window");
    let topic = topic();
    let mut window = Window::new(begin(&topic).segments);
    (0..4000).for_each(|_| publish(&topic, &[7; 64]));
    let end = window.advance();
    let (start, last) = (window.start(), end - 66);
    group.bench_function("advance with nothing new", |b| b.iter(|| window.advance()));
    for (name, cursor) in [("newest", last), ("oldest of 3 segments", start)] {
        group.bench_function(BenchmarkId::new("slice", name), |b| {
            b.iter(|| window.slice(black_box(cursor), black_box(end)).len);
        });
    }
    group.bench_function("messages_before", |b| {
        b.iter(|| window.messages_before(black_box(end)));
    });
}
