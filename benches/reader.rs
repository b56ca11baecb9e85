//! A client's stream of frames in, checked plain messages out, as a server
//! reads it: in pieces of 16 KiB. All unmask all payloads and check all text.

use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use criterion::{BenchmarkId, Criterion, Throughput};
use fanfare::mask;
use fanfare::protocol::ws::frame::{self, SERVER_HEADER_BYTES_MAX};
use fanfare::protocol::ws::{Event, Limits, Opcode, Payload, Reader};

use crate::cpu_time::CpuTime;
use crate::tape::{READ_BYTES, Tape};

const MESSAGE_BYTES_MAX: usize = 4 << 20;

fn push(stream: &mut Vec<u8>, fin: bool, opcode: Opcode, payload: &[u8]) {
    let mut head = [0; SERVER_HEADER_BYTES_MAX];
    let len = frame::encode(&mut head, opcode, false, payload.len());
    head[1] |= 0x80;
    if !fin {
        head[0] &= 0x7f;
    }
    let key = (stream.len() as u32 ^ 0x9e37_79b9).to_le_bytes();
    stream.extend_from_slice(&head[..len]);
    stream.extend_from_slice(&key);
    mask::append_unmasked(stream, payload, key);
}

/// `bytes` of messages of one size.
fn uniform(len: usize, bytes: usize) -> Vec<u8> {
    let payload = vec![b'x'; len];
    let mut stream = Vec::new();
    while stream.len() < bytes {
        push(&mut stream, true, Opcode::Text, &payload);
    }
    stream
}

/// Many small messages, some large ones, fragments, and pings between them.
fn mixed(bytes: usize) -> Vec<u8> {
    let payload = "Füße 走る, plain text ".repeat(3000);
    let mut rng = fastrand::Rng::with_seed(7);
    let mut stream = Vec::new();
    while stream.len() < bytes {
        let len_max = [64, 64, 64, 256, 256, 1 << 10, 4 << 10, 32 << 10][rng.usize(..8)];
        let mut len = rng.usize(..len_max);
        while !payload.is_char_boundary(len) {
            len -= 1;
        }
        let text = &payload.as_bytes()[..len];
        match rng.u32(..20) {
            0 => {
                // Cut anywhere, through characters too.
                let (first, last) = text.split_at(rng.usize(..=len));
                push(&mut stream, false, Opcode::Text, first);
                push(&mut stream, true, Opcode::Ping, b"still there?");
                push(&mut stream, true, Opcode::Continuation, last);
            }
            1 => push(&mut stream, true, Opcode::Ping, b"still there?"),
            2..8 => push(&mut stream, true, Opcode::Binary, text),
            _ => push(&mut stream, true, Opcode::Text, text),
        }
    }
    stream
}

/// Messages in the stream; the payloads go to one scratch, as ours do to a log.
fn fanfare(stream: &[u8]) -> usize {
    let limits = Limits {
        message_bytes_max: MESSAGE_BYTES_MAX,
        deflate: false,
    };
    let (mut reader, mut scratch, mut messages) = (Reader::new(), Vec::new(), 0);
    for mut piece in stream.chunks(READ_BYTES) {
        while let Some(event) = reader.next(&mut piece, &limits).unwrap() {
            let Event::Message(message) = event else {
                continue;
            };
            messages += 1;
            scratch.clear();
            match message.payload {
                Payload::Masked { bytes, key } => {
                    mask::append_unmasked(&mut scratch, bytes, key);
                    assert!(!message.text || simdutf8::basic::from_utf8(&scratch).is_ok());
                }
                Payload::Whole(bytes) => scratch.extend_from_slice(bytes),
            }
            black_box(&scratch);
        }
    }
    messages
}

fn sockudo(stream: &[u8]) -> usize {
    let role = sockudo_ws::Role::Server;
    let mut protocol =
        sockudo_ws::protocol::Protocol::new(role, MESSAGE_BYTES_MAX, MESSAGE_BYTES_MAX);
    let (mut buffer, mut out, mut messages) = (BytesMut::new(), Vec::new(), 0);
    for piece in stream.chunks(READ_BYTES) {
        // Others read from the tape as well.
        buffer.extend_from_slice(piece);
        protocol.process_into(&mut buffer, &mut out).unwrap();
        messages += out.drain(..).filter(|m| !m.is_control()).count();
    }
    messages
}

fn tungstenite(stream: &[u8]) -> usize {
    use tungstenite::protocol::{Role, WebSocket};
    let mut socket = WebSocket::from_raw_socket(Tape::new(stream), Role::Server, None);
    let mut messages = 0;
    while let Ok(message) = socket.read() {
        messages += usize::from(message.is_text() || message.is_binary());
    }
    messages
}

fn fastwebsockets(stream: &[u8]) -> usize {
    use fastwebsockets::{FragmentCollector, OpCode, Role, WebSocket};
    let socket = WebSocket::after_handshake(Tape::new(stream), Role::Server);
    let mut socket = FragmentCollector::new(socket);
    let mut context = Context::from_waker(Waker::noop());
    let mut messages = 0;
    loop {
        let frame = pin!(socket.read_frame()).poll(&mut context);
        let Poll::Ready(frame) = frame else {
            unreachable!("a tape is always ready");
        };
        let Ok(frame) = frame else {
            return messages;
        };
        // The collector checks only text that it has put together.
        assert!(frame.opcode != OpCode::Text || frame.is_utf8());
        messages += usize::from(matches!(frame.opcode, OpCode::Text | OpCode::Binary));
    }
}

type Reading = fn(&[u8]) -> usize;

pub(crate) fn bench(c: &mut Criterion<CpuTime>) {
    let mut group = c.benchmark_group("reader");
    let streams = [
        ("mixed", mixed(1 << 20)),
        ("16 B", uniform(16, 256 << 10)),
        ("256 B", uniform(256, 1 << 20)),
        ("4 KiB", uniform(4 << 10, 1 << 20)),
        ("64 KiB", uniform(64 << 10, 4 << 20)),
        ("1 MiB", uniform(1 << 20, 4 << 20)),
    ];
    let readings: [(&str, Reading); 4] = [
        ("fanfare", fanfare),
        ("fastwebsockets", fastwebsockets),
        ("sockudo-ws", sockudo),
        ("tungstenite", tungstenite),
    ];
    for (name, stream) in &streams {
        group.throughput(Throughput::Bytes(stream.len() as u64));
        let messages = fanfare(stream);
        for (who, reading) in readings {
            assert_eq!(reading(stream), messages, "{who} hears all of {name}");
            group.bench_function(BenchmarkId::new(who, name), |b| {
                b.iter(|| reading(black_box(stream)));
            });
        }
    }
}
