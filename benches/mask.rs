//! The mask: every width that the CPU has, in place and copying, beside memcpy
//! and the peers' in-place masks. That of tungstenite cannot be called from
//! outside; fastwebsockets has the same one.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use fanfare::mask;

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
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
/// Where a payload lies in practice: behind a client's header in a receive
/// buffer, and behind the server's header in the log.
const FROM: usize = 8;
const TO: usize = 4;
/// The log and a receive buffer are not at the same place of a page, where
/// loads would wait for stores that only look like theirs.
const PAGE_BYTES: usize = 4 << 10;

pub(crate) fn bench(c: &mut Criterion<CpuTime>) {
    copy(c);
    in_place(c);
}

fn copy(c: &mut Criterion<CpuTime>) {
    let mut group = c.benchmark_group("mask/copy");
    for len in SIZES {
        group.throughput(Throughput::Bytes(len as u64));
        let (src, mut dst) = (vec![0x5a; FROM + len], vec![0; PAGE_BYTES + TO + len]);
        let half_a_page_on = src.as_ptr().addr() + PAGE_BYTES / 2;
        let at = half_a_page_on.wrapping_sub(dst.as_ptr().addr()) % PAGE_BYTES + TO;
        let (src, dst) = (&src[FROM..], &mut dst[at..at + len]);
        group.bench_function(BenchmarkId::new("memcpy", len), |b| {
            b.iter(|| black_box(&mut *dst).copy_from_slice(black_box(src)));
        });
        for width in mask::available() {
            group.bench_function(BenchmarkId::new(width.name(), len), |b| {
                b.iter(|| width.copy_unmasked(black_box(&mut *dst), black_box(src), KEY));
            });
        }
    }
}

fn in_place(c: &mut Criterion<CpuTime>) {
    let mut group = c.benchmark_group("mask/in_place");
    for len in SIZES {
        group.throughput(Throughput::Bytes(len as u64));
        let mut bytes = vec![0x5a; FROM + len];
        let bytes = &mut bytes[FROM..];
        for width in mask::available() {
            group.bench_function(BenchmarkId::new(width.name(), len), |b| {
                b.iter(|| width.unmask(black_box(&mut *bytes), KEY));
            });
        }
        group.bench_function(BenchmarkId::new("fastwebsockets", len), |b| {
            b.iter(|| fastwebsockets::unmask(black_box(&mut *bytes), KEY));
        });
        group.bench_function(BenchmarkId::new("sockudo-ws", len), |b| {
            b.iter(|| sockudo_ws::simd::apply_mask(black_box(&mut *bytes), KEY));
        });
    }
}
