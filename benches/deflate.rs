//! Compressing a message once, for each level, and inflating it again. What is
//! left of the message stands in the name: times alone decide nothing.

use std::fmt::Write;
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use fanfare::protocol::ws::deflate::{Deflater, Inflater, WINDOW_BITS_MAX};

use crate::cpu_time::CpuTime;

const SIZES: [usize; 3] = [256, 1 << 10, 16 << 10];

/// JSON of at least `len` bytes as feeds send it: few names, many numbers.
fn json(len: usize) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(len as u64);
    let mut text = String::from("{\"type\":\"snapshot\",\"channel\":\"prices\",\"rows\":[");
    while text.len() < len {
        let symbol = ["EURUSD", "BTCUSD", "AAPL", "MSFT", "NVDA", "XAUUSD"][rng.usize(..6)];
        let side = ["buy", "sell"][rng.usize(..2)];
        let (price, size) = (rng.u32(10_000..9_999_999), rng.u32(1..5000));
        let time_ms = 1_760_000_000_000_u64 + rng.u64(..100_000);
        let _ = write!(
            text,
            "{{\"symbol\":\"{symbol}\",\"side\":\"{side}\",\"price\":{}.{:02},\"size\":{size},\
             \"time_ms\":{time_ms},\"id\":\"{:016x}\"}},",
            price / 100,
            price % 100,
            rng.u64(..),
        );
    }
    text.pop();
    text.push_str("]}");
    text.into_bytes()
}

pub(crate) fn bench(c: &mut Criterion<CpuTime>) {
    let mut group = c.benchmark_group("deflate");
    for len in SIZES {
        let message = json(len);
        group.throughput(Throughput::Bytes(message.len() as u64));
        for level in 1..=9 {
            let mut deflater = Deflater::new(level);
            let out = deflater.deflate(&message, WINDOW_BITS_MAX);
            let percent = out.expect("it is shorter").len() * 100 / message.len();
            let name = format!("level {level}, {percent} %");
            group.bench_function(BenchmarkId::new(name, len), |b| {
                b.iter(|| {
                    let out = deflater.deflate(black_box(&message), WINDOW_BITS_MAX);
                    black_box(out.map(<[u8]>::len))
                });
            });
        }
        let mut deflater = Deflater::new(4);
        let payload = deflater.deflate(&message, WINDOW_BITS_MAX);
        let payload = payload.expect("it is shorter").to_vec();
        let (mut inflater, mut out) = (Inflater::default(), Vec::new());
        group.bench_function(BenchmarkId::new("inflate", len), |b| {
            b.iter(|| {
                inflater.reset();
                inflater.inflate(black_box(&payload), 1 << 20, &mut out)
            });
        });
    }
}
