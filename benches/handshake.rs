//! The opening handshake: a request in, the 101 answer out.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion};
use fanfare::protocol::http::{Begins, HeadLimits, Origins, answer, negotiate, parse};
use fanfare::protocol::ws::deflate::Policy;
use sockudo_ws::handshake;

use crate::cpu_time::CpuTime;
use crate::tape::Tape;

const PLAIN: &str = "GET /prices HTTP/1.1\r\n\
    Host: example.org\r\n\
    Upgrade: websocket\r\n\
    Connection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\n\r\n";

/// As a present browser asks.
const BROWSER: &str = "GET /prices?since=1 HTTP/1.1\r\n\
    Host: example.org\r\n\
    Connection: Upgrade\r\n\
    Pragma: no-cache\r\n\
    Cache-Control: no-cache\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\n\
    Upgrade: websocket\r\n\
    Origin: https://example.org\r\n\
    Sec-WebSocket-Version: 13\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n\
    Cookie: session=0f3ad1c2b7e94b54a6f0c1d2e3f40516; theme=dark\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";

fn fanfare(request: &[u8], origins: &Origins) -> Vec<u8> {
    let policy = Policy {
        client_takeover: false,
    };
    let (request, _) = parse(request, HeadLimits::default()).unwrap().unwrap();
    let upgrade = negotiate(&request, origins, Some(policy)).unwrap();
    let begins = Begins {
        epoch: 0x1234_5678_9abc_def0,
        next: 17,
        newest: 16,
    };
    answer(&upgrade, Some(&begins))
}

fn sockudo(request: &[u8]) -> bytes::Bytes {
    let (request, _) = handshake::parse_request(request).unwrap().unwrap();
    let accept = handshake::generate_accept_key(request.key);
    handshake::build_response(&accept, None, None)
}

pub(crate) fn bench(c: &mut Criterion<CpuTime>) {
    let origins = Origins::same_host();
    let mut group = c.benchmark_group("handshake");
    for (name, request) in [("plain", PLAIN), ("browser", BROWSER)] {
        let request = request.as_bytes();
        group.bench_function(BenchmarkId::new("fanfare", name), |b| {
            b.iter(|| fanfare(black_box(request), &origins));
        });
        group.bench_function(BenchmarkId::new("sockudo-ws", name), |b| {
            b.iter(|| sockudo(black_box(request)));
        });
        group.bench_function(BenchmarkId::new("tungstenite", name), |b| {
            b.iter(|| tungstenite::accept(Tape::new(black_box(request))).is_ok());
        });
    }
}
