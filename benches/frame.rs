//! Frame headers: a client's decoded, the server's encoded, each length form;
//! and a client's whole frame on its own.

use std::hint::black_box;
use std::io::Cursor;

use bytes::BytesMut;
use criterion::{BenchmarkId, Criterion, Throughput};
use fanfare::mask;
use fanfare::protocol::ws::frame::{self, SERVER_HEADER_BYTES_MAX};
use fanfare::protocol::ws::{Event, Limits, Opcode, Payload, Reader};
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::cpu_time::CpuTime;

/// One for each form of the length: in the second byte, in two more, in eight.
const PAYLOADS: [usize; 3] = [100, 1000, 100_000];

/// The head of a client's frame. Behind it the payload begins, as it does in a
/// receive buffer.
fn client_head(payload_len: usize) -> Vec<u8> {
    let mut head = [0; SERVER_HEADER_BYTES_MAX];
    let len = frame::encode(&mut head, Opcode::Binary, false, payload_len);
    let mut bytes = head[..len].to_vec();
    bytes[1] |= 0x80;
    bytes.extend_from_slice(&[1, 2, 3, 4]);
    bytes.resize(64, 0);
    bytes
}

pub(crate) fn bench(c: &mut Criterion<CpuTime>) {
    decode(c);
    encode(c);
    whole(c);
}

fn decode(c: &mut Criterion<CpuTime>) {
    let mut group = c.benchmark_group("frame/decode");
    for payload_len in PAYLOADS {
        let bytes = client_head(payload_len);
        group.bench_function(BenchmarkId::new("fanfare", payload_len), |b| {
            b.iter(|| frame::decode(black_box(&bytes), false));
        });
        group.bench_function(BenchmarkId::new("tungstenite", payload_len), |b| {
            b.iter(|| FrameHeader::parse(&mut Cursor::new(black_box(&bytes))));
        });
    }
}

fn encode(c: &mut Criterion<CpuTime>) {
    let mut group = c.benchmark_group("frame/encode");
    for payload_len in PAYLOADS {
        group.bench_function(BenchmarkId::new("fanfare", payload_len), |b| {
            let mut out = [0; SERVER_HEADER_BYTES_MAX];
            b.iter(|| {
                let len = frame::encode(&mut out, Opcode::Binary, false, black_box(payload_len));
                black_box(&out);
                len
            });
        });
        group.bench_function(BenchmarkId::new("tungstenite", payload_len), |b| {
            let header = FrameHeader {
                opcode: OpCode::Data(Data::Binary),
                ..FrameHeader::default()
            };
            let mut out = [0; SERVER_HEADER_BYTES_MAX];
            b.iter(|| {
                let done = header.format(black_box(payload_len) as u64, &mut &mut out[..]);
                black_box(&out);
                done
            });
        });
        group.bench_function(BenchmarkId::new("sockudo-ws", payload_len), |b| {
            let mut out = BytesMut::with_capacity(64);
            b.iter(|| {
                out.clear();
                let (opcode, len) = (sockudo_ws::OpCode::Binary, black_box(payload_len));
                sockudo_ws::frame::encode_frame_header(&mut out, opcode, len, true, None);
                black_box(&out);
            });
        });
        group.bench_function(BenchmarkId::new("fastwebsockets", payload_len), |b| {
            let payload = vec![0; payload_len];
            let mut out = [0; 16];
            b.iter(|| {
                let payload = fastwebsockets::Payload::Borrowed(black_box(&payload));
                let len = fastwebsockets::Frame::binary(payload).fmt_head(&mut out);
                black_box(&out);
                len
            });
        });
    }
}

/// From the bytes of one frame in a receive buffer to its plain payload in
/// memory that outlives it: fanfare unmasks while it copies, sockudo-ws copies
/// and then unmasks in place.
fn whole(c: &mut Criterion<CpuTime>) {
    const PAYLOAD_BYTES_MAX: usize = 1 << 20;
    let mut group = c.benchmark_group("frame/whole");
    for payload_len in [16, 100, 1000, 16_000, PAYLOAD_BYTES_MAX] {
        let mut bytes = client_head(payload_len);
        bytes.truncate(frame::header_len(payload_len) + 4);
        bytes.resize(bytes.len() + payload_len, 0x5a);
        group.throughput(Throughput::Bytes(payload_len as u64));
        group.bench_function(BenchmarkId::new("fanfare", payload_len), |b| {
            let limits = Limits {
                message_bytes_max: PAYLOAD_BYTES_MAX,
                deflate: false,
            };
            let (mut reader, mut out) = (Reader::new(), Vec::new());
            b.iter(|| {
                let mut rest = &black_box(&bytes)[..];
                let event = reader.next(&mut rest, &limits);
                let Ok(Some(Event::Message(message))) = event else {
                    unreachable!("the frame is right and whole");
                };
                let Payload::Masked { bytes, key } = message.payload else {
                    unreachable!("it came in one piece");
                };
                out.clear();
                mask::append_unmasked(&mut out, bytes, key);
                black_box(&out);
            });
        });
        group.bench_function(BenchmarkId::new("sockudo-ws", payload_len), |b| {
            let mut parser = sockudo_ws::frame::FrameParser::new(PAYLOAD_BYTES_MAX, true);
            let mut buffer = BytesMut::new();
            b.iter(|| {
                buffer.extend_from_slice(black_box(&bytes));
                let frame = parser.parse(&mut buffer);
                frame.expect("the frame is right").expect("and whole")
            });
        });
    }
}
