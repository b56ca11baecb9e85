//! Our records against rustls', both ways, with the same keys.

use fanfare::protocol::tls::{Alert, ContentType, Incoming, PLAIN_BYTES_MAX, Traffic};

use super::{Told, read};
use crate::targets::{pieces, split};
use crate::tls::content::{ALERT, DATA, HANDSHAKE};
use crate::tls::naive::Naive;
use crate::tls::theirs::Theirs;
use crate::tls::{KINDS, Kind, NUMBERS};

/// Byte 0 chooses version, suite and first number, bytes 1 to 3 cut what rustls sends; the rest says what is
/// said, and by whom.
pub fn tls_seal(data: &[u8]) {
    let (steering, plan) = split(data, 4);
    let first = steering.first().copied().unwrap_or(0);
    let kind = KINDS[usize::from(first & 0x1F) % KINDS.len()];
    let number = NUMBERS[usize::from(first >> 5 & 3)];
    let cuts = steering.get(1..).unwrap_or_default();
    let mut pair = Pair::new(kind, number, cuts);
    for deed in plan.chunks_exact(3) {
        let &[deed, a, b] = deed else { continue };
        // Most are short, so that much is tried in little time.
        let len = if deed >= 0xE0 {
            usize::from(a) * usize::from(b)
        } else {
            usize::from(a)
        };
        match deed & 7 {
            0 | 1 => pair.we_say(len, b),
            2 => pair.we_say_twice(len % (PLAIN_BYTES_MAX + 1), b),
            3 | 4 => pair.they_say(len, b),
            5 if kind.is_13 => pair.we_update(),
            6 if kind.is_13 => pair.they_update(b & 1),
            _ => pair.we_warn(),
        }
    }
    pair.end();
}

/// Both directions, each with both sides.
struct Pair<'a> {
    cuts: &'a [u8],
    sending: Traffic,
    sending_naive: Naive,
    /// What rustls would send in our place.
    their_sending: Theirs,
    their_reading: Theirs,
    their_writing: Theirs,
    incoming: Incoming,
}

/// Seeds of the two directions.
const OURS: u8 = 1;
const THEIRS: u8 = 2;

impl<'a> Pair<'a> {
    fn new(kind: Kind, number: u64, cuts: &'a [u8]) -> Pair<'a> {
        let naive = |seed| {
            let mut naive = Naive::new(kind, seed);
            naive.number = number;
            naive
        };
        let theirs = |seed| {
            let mut theirs = Theirs::new(kind, seed);
            theirs.number = number;
            theirs
        };
        let sending_naive = naive(OURS);
        Pair {
            cuts,
            sending: sending_naive.ours(),
            sending_naive,
            their_sending: theirs(OURS),
            their_reading: theirs(OURS),
            their_writing: theirs(THEIRS),
            incoming: Incoming::new(naive(THEIRS).ours_receiving()),
        }
    }

    /// What goes out for good, in as many records as it takes.
    fn we_say(&mut self, len: usize, salt: u8) {
        let content = content(len, salt);
        let mut sealed = Vec::new();
        self.sending
            .seal(ContentType::ApplicationData, &content, &mut sealed);
        let mut wanted = Vec::new();
        for content in content.chunks(PLAIN_BYTES_MAX) {
            wanted.extend(self.wanted(DATA, content));
        }
        assert_eq!(sealed, wanted, "a record is as rustls' would be");
    }

    /// A record that is sealed again after a short write, its content gathered otherwise.
    fn we_say_twice(&mut self, len: usize, salt: u8) {
        let content = content(len, salt);
        let (number, kind) = (self.sending.next(), ContentType::ApplicationData);
        let mut sealed = vec![salt; 3];
        let sealer = self.sending.sealer();
        sealer.seal(number, kind, &mut sealed, |out| {
            out.extend_from_slice(&content);
        });
        assert_eq!(sealed.len(), 3 + len + self.sending.overhead());
        let mut again = Vec::new();
        self.sending.sealer().seal(number, kind, &mut again, |out| {
            for piece in pieces(&content, self.cuts) {
                out.extend_from_slice(piece);
            }
        });
        assert_eq!(sealed[3..], again, "the same content gives the same bytes");
        assert_eq!(self.sending.next(), number, "nothing was counted");
        self.sending.advance(1);
        let wanted = self.wanted(DATA, &content);
        assert_eq!(again, wanted, "a record is as rustls' would be");
    }

    fn they_say(&mut self, len: usize, salt: u8) {
        let content = content(len, salt);
        let (mut sealed, mut wanted) = (Vec::new(), Vec::new());
        for content in content.chunks(PLAIN_BYTES_MAX) {
            sealed.extend(self.their_writing.seal(DATA, content));
            wanted.push(Told::Data(content.to_vec()));
        }
        self.hear(&sealed, &wanted);
    }

    fn we_update(&mut self) {
        let mut sealed = Vec::new();
        self.sending.key_update(&mut sealed);
        assert_eq!(sealed, self.wanted(HANDSHAKE, &[24, 0, 0, 1, 0]));
        self.sending_naive.update();
        self.their_sending.update();
        self.their_reading.update();
        assert_eq!(self.sending.next(), 0);
    }

    fn they_update(&mut self, request: u8) {
        let sealed = self.their_writing.seal(HANDSHAKE, &[24, 0, 0, 1, request]);
        self.their_writing.update();
        let requested = request == 1;
        // Data between updates, as so many without it are a flood.
        let data = self.their_writing.seal(DATA, b"x");
        let told = [Told::KeyUpdate { requested }, Told::Data(b"x".to_vec())];
        self.hear(&[sealed, data].concat(), &told);
    }

    /// no_renegotiation is the only warning that goes out before the end.
    fn we_warn(&mut self) {
        let mut sealed = Vec::new();
        self.sending.alert(Alert::NoRenegotiation, &mut sealed);
        assert_eq!(sealed, self.wanted(ALERT, &[1, 100]));
    }

    fn end(&mut self) {
        let mut sealed = Vec::new();
        self.sending.alert(Alert::CloseNotify, &mut sealed);
        assert_eq!(sealed, self.wanted(ALERT, &[1, 0]));
        let sealed = self.their_writing.seal(ALERT, &[1, 0]);
        self.hear(&sealed, &[Told::Close]);
        assert!(self.incoming.has_ended());
    }

    /// The next record with that content by rustls, which reads it too.
    fn wanted(&mut self, kind: u8, content: &[u8]) -> Vec<u8> {
        let record = self.their_sending.seal(kind, content);
        let naive = self.sending_naive.seal(kind, content, 0);
        assert_eq!(record, naive, "rustls goes by the letter");
        let opened = self.their_reading.open(&record);
        let (found, opened) = opened.expect("rustls opens it");
        assert_eq!(found, kind);
        assert_eq!(opened, content);
        record
    }

    fn hear(&mut self, sealed: &[u8], wanted: &[Told]) {
        let told = read(&mut self.incoming, &pieces(sealed, self.cuts));
        assert_eq!(told, wanted);
    }
}

fn content(len: usize, salt: u8) -> Vec<u8> {
    (0..len).map(|at| (at as u8).wrapping_mul(salt)).collect()
}
