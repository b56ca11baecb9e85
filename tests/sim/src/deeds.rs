//! What clients do: the good and the bad, as bytes on the wire.

use fastrand::Rng;
use flate2::Compress;

use crate::client::{Client, Fate, Said};
use crate::codec::{client_frame, compressor, deflate};
use crate::truth::tag;

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;

/// Everything that a client may do wrong, with the close code that answers it.
/// Each is done to the letter of the section that forbids it.
const WRONGS: [(&str, u16); 18] = [
    ("unmasked", 1002),
    ("reserved bit", 1002),
    ("reserved opcode", 1002),
    ("fragmented control", 1002),
    ("long control", 1002),
    ("continuation of nothing", 1002),
    ("message inside a message", 1002),
    ("16-bit length of 5", 1002),
    ("64-bit length of 5", 1002),
    ("top bit of the length", 1002),
    ("too big", 1009),
    ("bad text", 1007),
    ("bad text across fragments", 1007),
    ("close code 1005", 1002),
    ("one byte of a close", 1002),
    ("no deflate data", 1007),
    ("a bomb", 1009),
    ("bad text, compressed", 1007),
];

impl Client {
    /// Queues bytes that do something, good or bad by the client's nature.
    pub(crate) fn act(&mut self, rng: &mut Rng, message_bytes_max: usize) {
        if self.fate != Fate::Open || self.outbox.len() > 2 * message_bytes_max {
            return;
        }
        match rng.u8(..) {
            0..=170 => self.say(rng, message_bytes_max),
            171..=200 => self.ping(rng),
            201..=210 => self.put(&client_frame(FIN | PONG, key(rng), b"still here")),
            211..=222 if self.nature.rogue => self.do_wrong(rng, message_bytes_max),
            223..=230 if self.nature.rogue => {
                self.fate = if rng.bool() {
                    Fate::HalfClosed
                } else {
                    Fate::Reset
                };
            }
            231..=236 => self.close(rng),
            237..=239 if self.chat => {
                let end: &[u8] = [&b"quit"[..], b"quit\r\n"][rng.usize(..2)];
                self.put(&client_frame(FIN | TEXT, key(rng), end));
                self.fate = Fate::Quit;
            }
            240..=242 if self.chat && self.nature.rogue => {
                self.put(&client_frame(FIN | BINARY, key(rng), b"bin"));
                self.fate = Fate::Wrong(1003, "binary in a chat");
            }
            _ => {}
        }
    }

    fn say(&mut self, rng: &mut Rng, message_bytes_max: usize) {
        let text = self.chat || rng.bool();
        let mut payload = tag(self.id, self.said.len()).into_bytes();
        let len = match rng.u8(..) {
            0..=150 => rng.usize(..100),
            151..=180 => rng.usize(100..140),
            181..=240 => rng.usize(..2000),
            _ => rng.usize(..message_bytes_max),
        };
        // A chat line is longer than what was said.
        let len = len.max(payload.len()).min(message_bytes_max - 80);
        while payload.len() < len {
            match rng.u8(..) {
                byte if !text => payload.push(byte),
                byte @ 0..=200 => payload.push(b' ' + byte % 90),
                _ if len - payload.len() >= 4 => payload.extend("🎺".as_bytes()),
                _ => payload.push(b'.'),
            }
        }
        if len > 300 && rng.bool() {
            // What repeats from afar is what a compressor looks for.
            let start: Vec<u8> = payload[..100].iter().map(|b| b & 0x7F).collect();
            let mut end = payload.len() - 100;
            while text && payload[end] & 0xC0 == 0x80 {
                end += 1;
            }
            payload.truncate(end);
            payload.extend(start);
        }
        let opcode = if text { TEXT } else { BINARY };
        let (rsv1, wire) = self.encode(rng, &payload, message_bytes_max);
        if rng.u8(..) < 60 {
            self.say_in_pieces(rng, rsv1 | opcode, &wire);
        } else {
            self.put(&client_frame(FIN | rsv1 | opcode, key(rng), &wire));
        }
        self.said.push(Said {
            opcode,
            payload,
            end: self.queued,
        });
    }

    /// A message as it goes over the wire, and whether RSV1 is set.
    fn encode(&mut self, rng: &mut Rng, payload: &[u8], bytes_max: usize) -> (u8, Vec<u8>) {
        let Some(agreed) = self.deflate.as_mut().filter(|_| rng.u8(..) < 200) else {
            return (0, payload.to_vec());
        };
        if !agreed.takeover || rng.u8(..) < 20 {
            agreed.compressor.as_mut().map(Compress::reset);
        }
        let wire = deflate(agreed.compressor.get_or_insert_with(compressor), payload);
        if wire.len() > bytes_max {
            // It is as good as not sent, so what follows may not refer to it.
            agreed.compressor = None;
            return (0, payload.to_vec());
        }
        (RSV1, wire)
    }

    fn say_in_pieces(&mut self, rng: &mut Rng, opcode: u8, payload: &[u8]) {
        let (mut opcode, mut rest) = (opcode, payload);
        loop {
            let len = rng.usize(..=rest.len());
            let last = len == rest.len() && rng.bool();
            let fin = if last { FIN } else { 0 };
            self.put(&client_frame(fin | opcode, key(rng), &rest[..len]));
            (opcode, rest) = (CONTINUATION, &rest[len..]);
            if last {
                return;
            }
            if rng.u8(..) < 50 {
                self.ping(rng);
            }
        }
    }

    fn ping(&mut self, rng: &mut Rng) {
        let mut payload = vec![0; [0, 4, 125][rng.usize(..3)]];
        rng.fill(&mut payload);
        self.put(&client_frame(FIN | PING, key(rng), &payload));
        self.pings.push_back((payload, self.queued));
        self.new_marks.push(self.queued);
    }

    fn close(&mut self, rng: &mut Rng) {
        let code = match rng.u8(..) {
            0..=90 => None,
            _ => Some([1000, 1001, 1011, 3000, 4999][rng.usize(..5)]),
        };
        self.say_close(rng, code);
        self.fate = Fate::SentClose(code);
    }

    pub(crate) fn say_close(&mut self, rng: &mut Rng, code: Option<u16>) {
        let mut payload = Vec::new();
        if let Some(code) = code {
            payload.extend(code.to_be_bytes());
            payload.extend("tschüß".as_bytes());
        }
        self.put(&client_frame(FIN | CLOSE, key(rng), &payload));
    }

    fn do_wrong(&mut self, rng: &mut Rng, message_bytes_max: usize) {
        let mut which = rng.usize(..WRONGS.len());
        if self.deflate.is_none() {
            which %= WRONGS.len() - 3;
        }
        let (name, code) = WRONGS[which];
        let key = key(rng);
        let big = (message_bytes_max as u64 + 1).max(65536).to_be_bytes();
        let bytes: Vec<u8> = match name {
            "unmasked" => vec![FIN | TEXT, 2, b'h', b'i'],
            "reserved bit" => {
                client_frame(FIN | TEXT | [0x10, 0x20, 0x30][rng.usize(..3)], key, b"hi")
            }
            "reserved opcode" => client_frame(FIN | [3, 7, 11, 15][rng.usize(..4)], key, b"hi"),
            "fragmented control" => client_frame(PING, key, b"hi"),
            "long control" => client_frame(FIN | PING, key, &[7; 126]),
            "continuation of nothing" => client_frame(FIN, key, b"hi"),
            "message inside a message" => [
                client_frame(TEXT, key, b"hi"),
                client_frame(FIN | TEXT, key, b"hi"),
            ]
            .concat(),
            "16-bit length of 5" => [&[FIN | TEXT, 0xFE, 0, 5][..], &key, b"hello"].concat(),
            "64-bit length of 5" => [
                &[FIN | TEXT, 0xFF, 0, 0, 0, 0, 0, 0, 0, 5][..],
                &key,
                b"hello",
            ]
            .concat(),
            "top bit of the length" => vec![FIN | BINARY, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0],
            "too big" => [&[FIN | BINARY, 0xFF][..], &big, &key, b"bytes"].concat(),
            "bad text" => client_frame(FIN | TEXT, key, b"\xE2\x28\xA1 is no text"),
            "bad text across fragments" => [
                client_frame(TEXT, key, b"caf\xC3"),
                client_frame(FIN, key, b"e"),
            ]
            .concat(),
            "close code 1005" => client_frame(FIN | CLOSE, key, &1005_u16.to_be_bytes()),
            "one byte of a close" => client_frame(FIN | CLOSE, key, b"\x03"),
            "no deflate data" => client_frame(FIN | RSV1 | BINARY, key, &[0xFF; 40]),
            "a bomb" => {
                let bomb = deflate(&mut compressor(), &vec![0; 100 * message_bytes_max]);
                let bomb = &bomb[..bomb.len().min(message_bytes_max)];
                client_frame(FIN | RSV1 | BINARY, key, bomb)
            }
            "bad text, compressed" => {
                let bytes = deflate(&mut compressor(), b"caf\xC3");
                client_frame(FIN | RSV1 | TEXT, key, &bytes)
            }
            other => unreachable!("{other}"),
        };
        self.put(&bytes);
        self.fate = Fate::Wrong(code, name);
        // Whoever is at it goes on, to no effect.
        for _ in 0..rng.usize(..3) {
            self.put(&client_frame(FIN | TEXT, key, b"m0.0;never heard"));
        }
    }

    fn put(&mut self, bytes: &[u8]) {
        self.outbox.extend(bytes);
        self.queued += bytes.len() as u64;
    }
}

fn key(rng: &mut Rng) -> [u8; 4] {
    rng.u32(..).to_le_bytes()
}
