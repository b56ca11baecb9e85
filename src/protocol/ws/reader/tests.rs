use super::super::testing::{client_frame, whole};
use super::*;

const LIMITS: Limits = Limits {
    message_bytes_max: 1000,
    deflate: false,
};

/// An event that owns its bytes, unmasked and checked as the log would do it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Deflated(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
    Fault(Fault),
}

fn seen_message(text: bool, deflated: bool, bytes: Vec<u8>) -> Seen {
    match (text, deflated) {
        (_, true) => Seen::Deflated(bytes),
        (true, false) => String::from_utf8(bytes).map_or(Seen::Fault(Fault::Utf8), Seen::Text),
        (false, false) => Seen::Binary(bytes),
    }
}

fn seen(event: Event<'_>) -> Seen {
    match event {
        Event::Ping(control) => Seen::Ping(control.bytes().to_vec()),
        Event::Pong(control) => Seen::Pong(control.bytes().to_vec()),
        Event::Close(close) => Seen::Close(close.map(|c| (c.code, c.reason.into()))),
        Event::Message(message) => {
            let bytes = match message.payload {
                Payload::Whole(bytes) => bytes.to_vec(),
                Payload::Masked { bytes, key } => {
                    let mut bytes = bytes.to_vec();
                    mask::unmask(&mut bytes, key);
                    bytes
                }
            };
            seen_message(message.text, message.deflated, bytes)
        }
    }
}

/// Feeds one input; false when the connection is over.
fn feed(reader: &mut Reader, mut input: &[u8], limits: &Limits, into: &mut Vec<Seen>) -> bool {
    loop {
        match reader.next(&mut input, limits) {
            Ok(Some(event)) => into.push(seen(event)),
            Ok(None) => break,
            Err(fault) => into.push(Seen::Fault(fault)),
        }
        if matches!(into.last(), Some(Seen::Fault(_))) {
            return false;
        }
    }
    assert!(input.is_empty(), "None means that the input is used up");
    true
}

fn read(pieces: &[&[u8]], limits: &Limits) -> Vec<Seen> {
    let (mut reader, mut all) = (Reader::new(), Vec::new());
    for piece in pieces {
        if !feed(&mut reader, piece, limits, &mut all) {
            break;
        }
    }
    all
}

fn read_by_bytes(bytes: &[u8], limits: &Limits) -> Vec<Seen> {
    read(&bytes.chunks(1).collect::<Vec<_>>(), limits)
}

/// The same in the plainest way, with the whole stream at hand.
fn model(mut bytes: &[u8], limits: &Limits) -> Vec<Seen> {
    let mut all = Vec::new();
    let mut open: Option<(bool, bool, Vec<u8>)> = None;
    loop {
        let (header, len) = match frame::decode(bytes, limits.deflate) {
            Ok(Some(found)) => found,
            Ok(None) => return all,
            Err(fault) => return [all, vec![Seen::Fault(fault)]].concat(),
        };
        let declared = header.payload_len as u128;
        let before = open.as_ref().map_or(0, |m| m.2.len()) as u128;
        let is_data = !header.opcode.is_control();
        // What is compressed may arrive a little longer than it is.
        let deflated = open.as_ref().map_or(header.rsv1, |m| m.1);
        let bytes_max = match limits.message_bytes_max as u128 {
            max if deflated => max + max / 16 + 64,
            max => max,
        };
        let fault = match header.opcode {
            Opcode::Continuation if open.is_none() => Some(Fault::UnexpectedContinuation),
            Opcode::Text | Opcode::Binary if open.is_some() => Some(Fault::ExpectedContinuation),
            Opcode::Close if declared == 1 => Some(Fault::ClosePayload),
            _ if is_data && before + declared > bytes_max => Some(Fault::TooBig),
            _ => None,
        };
        if let Some(fault) = fault {
            all.push(Seen::Fault(fault));
            return all;
        }
        let rest = &bytes[len..];
        let there = rest.len().min(declared as usize);
        let complete = there == declared as usize;
        let payload: Vec<u8> = (rest[..there].iter().enumerate())
            .map(|(i, b)| b ^ header.key[i % 4])
            .collect();
        bytes = &rest[there..];
        if is_data {
            let fresh = || (header.opcode == Opcode::Text, header.rsv1, Vec::new());
            let mut message = open.take().unwrap_or_else(fresh);
            message.2.extend_from_slice(&payload);
            let fails_early = message.0
                && !message.1
                && std::str::from_utf8(&message.2).is_err_and(|e| e.error_len().is_some());
            if fails_early {
                all.push(Seen::Fault(Fault::Utf8));
                return all;
            }
            if complete && header.fin {
                all.push(seen_message(message.0, message.1, message.2));
                if matches!(all.last(), Some(Seen::Fault(_))) {
                    return all;
                }
            } else {
                open = Some(message);
            }
        } else if complete {
            all.push(match (header.opcode, close::parse(&payload)) {
                (Opcode::Ping, _) => Seen::Ping(payload),
                (Opcode::Pong, _) => Seen::Pong(payload),
                (_, Ok(close)) => Seen::Close(close.map(|c| (c.code, c.reason.into()))),
                (_, Err(fault)) => Seen::Fault(fault),
            });
            if matches!(all.last(), Some(Seen::Close(_) | Seen::Fault(_))) {
                return all;
            }
        }
        if !complete {
            return all;
        }
    }
}

fn random_text(rng: &mut fastrand::Rng) -> Vec<u8> {
    let chars = ['a', 'é', '€', '🎺', '\0', '\u{10FFFF}'];
    let len = rng.usize(..60);
    let text: String = (0..len).map(|_| chars[rng.usize(..chars.len())]).collect();
    text.into_bytes()
}

/// A client's stream: mostly in order, sometimes damaged, sometimes cut off.
fn random_stream(rng: &mut fastrand::Rng, deflate: bool) -> Vec<u8> {
    let (mut stream, mut starts) = (Vec::new(), Vec::new());
    for _ in 0..rng.usize(1..8) {
        let (opcode, payload) = match rng.u8(..3) {
            0 => (Opcode::Binary, vec![rng.u8(..); rng.usize(..300)]),
            _ => (Opcode::Text, random_text(rng)),
        };
        let rsv1 = deflate && rng.bool();
        let mut rest = &payload[..];
        let mut opcode = Some(opcode);
        for left in (0..rng.usize(1..5)).rev() {
            let take = if left == 0 {
                rest.len()
            } else {
                rng.usize(..=rest.len())
            };
            let (piece, tail) = rest.split_at(take);
            rest = tail;
            let first = opcode.is_some();
            let opcode = opcode.take().unwrap_or(Opcode::Continuation);
            starts.push(stream.len());
            stream.extend(client_frame(left == 0, first && rsv1, opcode, piece));
            if rng.u8(..4) == 0 {
                let control = [Opcode::Ping, Opcode::Pong][rng.usize(..2)];
                starts.push(stream.len());
                stream.extend(whole(control, &vec![1; rng.usize(..126)]));
            }
        }
    }
    if rng.bool() {
        let payload = &b"\x03\xe8bye"[..[0, 1, 2, 5][rng.usize(..4)]];
        stream.extend(whole(Opcode::Close, payload));
        stream.extend(whole(Opcode::Text, b"too late"));
    }
    if rng.bool() {
        // One bit of a payload, or a byte of a header, where the rules are.
        let at = rng.usize(..stream.len());
        stream[at] ^= 1 << rng.u8(..8);
        let start = starts[rng.usize(..starts.len())];
        match rng.u8(..7) {
            0 => stream[start] = rng.u8(..),
            1 => stream[start] &= 0x7F,
            5 => stream[start] &= 0xF0,
            2 => stream[start + 1] = rng.u8(..),
            3 => stream
                .splice(start + 1..start + 3, [0xFE, 0])
                .for_each(drop),
            4 => stream
                .splice(start + 1..start + 3, [0xFF, rng.u8(..)])
                .for_each(drop),
            _ => {}
        }
    }
    if rng.u8(..3) == 0 {
        stream.truncate(rng.usize(..=stream.len()));
    }
    stream
}

#[test]
fn any_split_of_the_stream_gives_what_the_plain_model_gives() {
    let mut faults = std::collections::HashSet::new();
    for seed in 0..3000 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let limits = Limits {
            message_bytes_max: [200, 1000][rng.usize(..2)],
            deflate: rng.bool(),
        };
        let stream = random_stream(&mut rng, limits.deflate);
        let want = model(&stream, &limits);
        if let Some(Seen::Fault(fault)) = want.last() {
            faults.insert(*fault);
        }
        assert_eq!(read(&[&stream], &limits), want, "seed {seed}, one piece");
        assert_eq!(read_by_bytes(&stream, &limits), want, "seed {seed}, bytes");
        for _ in 0..4 {
            let (mut pieces, mut rest) = (Vec::new(), &stream[..]);
            while !rest.is_empty() {
                let (piece, tail) = rest.split_at(rng.usize(..=rest.len().min(40)));
                pieces.push(piece);
                rest = tail;
            }
            assert_eq!(read(&pieces, &limits), want, "seed {seed}, pieces");
        }
    }
    // Inflating comes behind the reader.
    let missed: Vec<_> = (Fault::ALL.iter())
        .filter(|f| **f != Fault::Deflate && !faults.contains(f))
        .collect();
    assert!(missed.is_empty(), "the streams never met {missed:?}");
}

#[test]
fn a_frame_that_lies_wholly_in_the_input_is_handed_out_where_it_lies() {
    let stream = [
        whole(Opcode::Text, b"one"),
        whole(Opcode::Binary, b""),
        whole(Opcode::Ping, b"p"),
    ]
    .concat();
    let mut reader = Reader::new();
    let mut input = &stream[..];
    for len in [3, 0] {
        match reader.next(&mut input, &LIMITS).unwrap().unwrap() {
            Event::Message(Message {
                payload: Payload::Masked { bytes, .. },
                deflated: false,
                ..
            }) => assert_eq!(bytes.len(), len),
            other => panic!("{other:?}"),
        }
        assert_eq!(reader.buffered_bytes(), 0);
    }
    let ping = reader.next(&mut input, &LIMITS).unwrap();
    assert!(matches!(ping, Some(Event::Ping(control)) if control.bytes() == b"p"));
    assert_eq!(reader.next(&mut input, &LIMITS), Ok(None));
    assert_eq!(reader.buffered_bytes(), 0);
}

#[test]
fn the_memory_of_a_message_is_freed_by_the_next_call() {
    let frame = whole(Opcode::Binary, &[7; 500]);
    let (mut reader, mut all) = (Reader::new(), Vec::new());
    assert!(feed(&mut reader, &frame[..300], &LIMITS, &mut all));
    assert!(reader.buffered_bytes() > 290);
    assert!(feed(&mut reader, &frame[300..], &LIMITS, &mut all));
    assert_eq!(all, [Seen::Binary(vec![7; 500])]);
    assert_eq!(reader.buffered_bytes(), 0);
}

#[test]
fn the_buffer_grows_with_what_came_and_not_with_what_was_declared() {
    let limits = Limits {
        message_bytes_max: 1 << 30,
        deflate: false,
    };
    let mut frame = vec![0x82, 0xFF];
    frame.extend_from_slice(&(1_u64 << 30).to_be_bytes());
    frame.extend_from_slice(&[0; 4 + 100]);
    let (mut reader, mut all) = (Reader::new(), Vec::new());
    assert!(feed(&mut reader, &frame, &limits, &mut all));
    assert!(reader.buffered_bytes() < 1000);
}

#[test]
fn a_message_of_the_limit_passes_and_one_byte_more_fails_by_its_header() {
    let longest = whole(Opcode::Binary, &[0; 1000]);
    assert_eq!(read(&[&longest], &LIMITS), [Seen::Binary(vec![0; 1000])]);
    let too_long = whole(Opcode::Binary, &[0; 1001]);
    assert_eq!(
        read(&[&too_long[..8]], &LIMITS),
        [Seen::Fault(Fault::TooBig)]
    );

    // Also over several fragments, and with a length near the end of the numbers.
    let first = client_frame(false, false, Opcode::Text, &[b'a'; 600]);
    let second = client_frame(true, false, Opcode::Continuation, &[b'a'; 401]);
    assert_eq!(
        read(&[&first, &second[..8]], &LIMITS),
        [Seen::Fault(Fault::TooBig)]
    );
    let mut endless = vec![0x80, 0xFF, 0x7F];
    endless.extend_from_slice(&[0xFF; 7 + 4]);
    assert_eq!(
        read(&[&first, &endless], &LIMITS),
        [Seen::Fault(Fault::TooBig)]
    );
}

#[test]
fn control_frames_may_come_between_fragments_but_messages_may_not() {
    let stream = [
        client_frame(false, false, Opcode::Text, b"a\xe2"),
        whole(Opcode::Ping, b"1"),
        client_frame(false, false, Opcode::Continuation, b"\x82"),
        whole(Opcode::Pong, b""),
        client_frame(true, false, Opcode::Continuation, b"\xac!"),
    ]
    .concat();
    let want = [
        Seen::Ping(b"1".to_vec()),
        Seen::Pong(Vec::new()),
        Seen::Text("a€!".into()),
    ];
    assert_eq!(read(&[&stream], &LIMITS), want);
    assert_eq!(read_by_bytes(&stream, &LIMITS), want);

    let first = client_frame(false, false, Opcode::Text, b"a");
    let second = whole(Opcode::Text, b"b");
    assert_eq!(
        read(&[&first, &second], &LIMITS),
        [Seen::Fault(Fault::ExpectedContinuation)]
    );
    let lone = whole(Opcode::Continuation, b"b");
    assert_eq!(
        read(&[&lone], &LIMITS),
        [Seen::Fault(Fault::UnexpectedContinuation)]
    );
}

#[test]
fn invalid_text_fails_by_the_byte_that_proves_it() {
    // U+D800 as UTF-8: its second byte proves it.
    let fragments = client_frame(false, false, Opcode::Text, b"ok\xed\xa0\x80 and more");
    let whole_frame = whole(Opcode::Text, b"ok\xed\xa0\x80 and more");
    for stream in [fragments, whole_frame] {
        let proof = 6 + 4;
        assert_eq!(read_by_bytes(&stream[..proof - 1], &LIMITS), []);
        assert_eq!(
            read_by_bytes(&stream[..proof], &LIMITS),
            [Seen::Fault(Fault::Utf8)]
        );
    }
    let open_end = client_frame(false, false, Opcode::Text, b"\xe2\x82");
    let end = whole(Opcode::Continuation, b"");
    assert_eq!(
        read(&[&open_end, &end], &LIMITS),
        [Seen::Fault(Fault::Utf8)]
    );
}

#[test]
fn after_a_close_or_a_fault_nothing_is_read() {
    for last in [whole(Opcode::Close, b""), vec![0x83]] {
        let (mut reader, mut all) = (Reader::new(), Vec::new());
        feed(&mut reader, &last, &LIMITS, &mut all);
        assert!(reader.is_closed());
        assert_eq!(all.len(), 1);
        let late = whole(Opcode::Text, b"late");
        assert!(feed(&mut reader, &late, &LIMITS, &mut Vec::new()));
        assert_eq!(all.len(), 1);
        assert_eq!(reader.buffered_bytes(), 0);
    }
}

#[test]
fn a_bad_close_is_a_fault() {
    for (payload, fault) in [
        (&b"\x03"[..], Fault::ClosePayload),
        (b"\x03\xed", Fault::CloseCode),
        (b"\x03\xe8\xc3", Fault::Utf8),
    ] {
        let stream = whole(Opcode::Close, payload);
        assert_eq!(read(&[&stream], &LIMITS), [Seen::Fault(fault)]);
        assert_eq!(read_by_bytes(&stream, &LIMITS), [Seen::Fault(fault)]);
    }
}

#[test]
fn compressed_messages_are_handed_on_as_they_are() {
    let limits = Limits {
        deflate: true,
        ..LIMITS
    };
    let stream = [
        client_frame(false, true, Opcode::Text, b"\xff\xfe"),
        whole(Opcode::Continuation, b"\x00"),
        client_frame(true, true, Opcode::Text, b"\xff"),
        whole(Opcode::Text, b"plain"),
    ]
    .concat();
    assert_eq!(
        read(&[&stream], &limits),
        [
            Seen::Deflated(b"\xff\xfe\x00".to_vec()),
            Seen::Deflated(b"\xff".to_vec()),
            Seen::Text("plain".into())
        ]
    );
}

#[test]
fn a_message_at_the_limit_may_arrive_a_little_longer_by_being_compressed() {
    let limits = Limits {
        deflate: true,
        ..LIMITS
    };
    let longest = limits.message_bytes_max + limits.message_bytes_max / 16 + 64;
    let payload = vec![b'x'; longest + 1];
    for (rsv1, len, fits) in [
        (true, longest, true),
        (true, longest + 1, false),
        (false, limits.message_bytes_max, true),
        (false, limits.message_bytes_max + 1, false),
    ] {
        let one = client_frame(true, rsv1, Opcode::Text, &payload[..len]);
        let two = [
            client_frame(false, rsv1, Opcode::Text, &payload[..100]),
            whole(Opcode::Continuation, &payload[100..len]),
        ]
        .concat();
        for stream in [one, two] {
            let seen = read(&[&stream], &limits);
            assert_eq!(seen != [Seen::Fault(Fault::TooBig)], fits, "{rsv1} {len}");
        }
    }
}

#[test]
fn a_million_fragments_of_one_byte_cost_a_million_small_steps() {
    const COUNT: usize = 1_000_000;
    let limits = Limits {
        message_bytes_max: COUNT,
        deflate: false,
    };
    let (mut reader, mut all) = (Reader::new(), Vec::new());
    let more = client_frame(false, false, Opcode::Continuation, b"a").repeat(1000);
    let first = client_frame(false, false, Opcode::Text, b"a");
    assert!(feed(&mut reader, &first, &limits, &mut all));
    for _ in 0..(COUNT - 1) / 1000 {
        assert!(feed(&mut reader, &more, &limits, &mut all));
    }
    assert!(all.is_empty());
    // The bytes themselves and little else; quadratic work would never get here.
    assert!(reader.buffered_bytes() <= COUNT + 1000);
    let last = whole(Opcode::Continuation, b"");
    assert!(feed(&mut reader, &last, &limits, &mut all));
    assert!(matches!(&all[..], [Seen::Text(text)] if text.len() == COUNT - 999));
}
