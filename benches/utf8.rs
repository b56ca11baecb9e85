//! Is it UTF-8? Plain ASCII, and text of all lengths of characters.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};

use crate::cpu_time::CpuTime;

const SIZES: [usize; 5] = [16, 256, 4 << 10, 64 << 10, 1 << 20];

pub(crate) fn bench(c: &mut Criterion<CpuTime>) {
    for (kind, sample) in [("ascii", "plain text "), ("mixed", "Füße 走る 🚀 ok ")] {
        let mut group = c.benchmark_group(format!("utf8/{kind}"));
        for len in SIZES {
            let text = sample.repeat(len.div_ceil(sample.len()));
            let bytes = text.as_bytes();
            group.throughput(Throughput::Bytes(bytes.len() as u64));
            group.bench_function(BenchmarkId::new("fanfare (simdutf8)", len), |b| {
                b.iter(|| simdutf8::basic::from_utf8(black_box(bytes)).is_ok());
            });
            group.bench_function(BenchmarkId::new("std", len), |b| {
                b.iter(|| std::str::from_utf8(black_box(bytes)).is_ok());
            });
            group.bench_function(BenchmarkId::new("sockudo-ws", len), |b| {
                b.iter(|| sockudo_ws::utf8::validate_utf8(black_box(bytes)));
            });
        }
    }
}
