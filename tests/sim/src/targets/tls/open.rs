//! What a peer sends, right or wrong, against the model of it.

use fanfare::protocol::tls::{Fault, Incoming};

use super::model::Model;
use super::{Told, read};
use crate::targets::{pieces, split};
use crate::tls::content::{ALERT, CHANGE_CIPHER_SPEC, DATA, HANDSHAKE};
use crate::tls::naive::Naive;
use crate::tls::{KINDS, NUMBERS};

/// Byte 0 chooses version, suite and first number, and whether the receiver is carried to another process in
/// between; bytes 1 to 3 cut what is sent; the rest says what that is.
pub fn tls_open(data: &[u8]) {
    let (steering, plan) = split(data, 4);
    let first = steering.first().copied().unwrap_or(0);
    let kind = KINDS[usize::from(first & 0x1F) % KINDS.len()];
    let naive = || {
        let mut naive = Naive::new(kind, 7);
        naive.number = NUMBERS[usize::from(first >> 5 & 3)];
        naive
    };
    let mut peer = Peer {
        naive: naive(),
        model: Model::new(kind),
        last: Vec::new(),
        sent: Vec::new(),
        wanted: Vec::new(),
        end: End::None,
    };
    let incoming = || Incoming::new(naive().ours_receiving());
    peer.play(plan);

    let whole = read(&mut incoming(), &[&peer.sent[..]]);
    peer.judge(&whole, "in one piece");
    let cuts = steering.get(1..).unwrap_or_default();
    let pieces = pieces(&peer.sent, cuts);
    let mut by_pieces = incoming();
    let (before, after) = pieces.split_at(pieces.len() / 2);
    let mut told = read(&mut by_pieces, before);
    if first & 0x80 > 0 {
        let saved = postcard::to_stdvec(&by_pieces).expect("it can be saved");
        by_pieces = postcard::from_bytes(&saved).expect("it can be restored");
    }
    told.extend(read(&mut by_pieces, after));
    assert_eq!(told, whole, "in pieces");
}

/// A peer that sends what its plan says, and what that ought to tell.
struct Peer {
    naive: Naive,
    model: Model,
    /// The last record.
    last: Vec<u8>,
    sent: Vec<u8>,
    wanted: Vec<Told>,
    end: End,
}

/// How far what is sent can be foretold.
#[derive(PartialEq, Eq)]
enum End {
    None,
    /// By a close or a fault that is in `wanted`.
    Known,
    /// What follows must not open; which fault that is, if enough has come for one, depends.
    Broken,
}

impl Peer {
    fn play(&mut self, mut plan: &[u8]) {
        while let Some((&[deed, a, b], rest)) = plan.split_first_chunk() {
            plan = rest;
            // What follows in the plan, as content.
            let (bytes, behind) = plan.split_at(plan.len().min(usize::from(a & 0x0F)));
            match deed & 0x0F {
                0..=2 => self.send(DATA, &vec![b; usize::from(a)], usize::from(deed >> 4)),
                // Around the most that a record may hold.
                3 => {
                    let len = 16_384 - 8 + usize::from(a & 0x0F);
                    self.send(DATA, &vec![b; len], usize::from(deed >> 4));
                }
                4 => (0..=a & 0x1F).for_each(|_| self.send(DATA, &[], usize::from(b))),
                5 => (0..=a & 0x1F).for_each(|_| self.key_update(b & 1)),
                6 => {
                    self.send(HANDSHAKE, bytes, usize::from(deed >> 4));
                    plan = behind;
                }
                7 => self.send(ALERT, &[a, b], 0),
                8 => {
                    self.send(ALERT, bytes, 0);
                    plan = behind;
                }
                9 => self.send(a, &[b; 3], 0),
                10 => self.send_zeros(usize::from(a)),
                11 => self.send_changed(usize::from(a), b),
                12 => {
                    let again = self.last.clone();
                    self.send_broken(&again, Some(Fault::BadTag));
                }
                13 => {
                    self.send_broken(bytes, None);
                    plan = behind;
                }
                // In the clear, with any header.
                14 => {
                    let kind = CHANGE_CIPHER_SPEC + (a & 3);
                    let bad = [kind, 3, b & 3, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
                    let is_change = kind == CHANGE_CIPHER_SPEC;
                    self.send_broken(&bad, is_change.then_some(Fault::ChangeCipherSpec));
                }
                // Sealed, and lost on the way.
                _ => {
                    self.naive.seal(DATA, &[b], 0);
                    let late = self.naive.seal(DATA, &[b], 0);
                    self.send_broken(&late, Some(Fault::BadTag));
                }
            }
        }
    }

    fn key_update(&mut self, request: u8) {
        self.send(HANDSHAKE, &[24, 0, 0, 1, request], 0);
    }

    /// A record that opens.
    fn send(&mut self, kind: u8, content: &[u8], padding: usize) {
        // A type of zero is padding too, which the model does not know of.
        if kind == 0 && self.naive.kind.is_13 {
            return;
        }
        self.last = self.naive.seal(kind, content, padding);
        self.sent.extend(&self.last);
        if self.end != End::None {
            return;
        }
        let Some(told) = self.model.record(kind, content, padding) else {
            return;
        };
        match told {
            Told::KeyUpdate { .. } => self.naive.update(),
            Told::Close | Told::Fault(_) => self.end = End::Known,
            Told::Data(_) | Told::Refused => {}
        }
        self.wanted.push(told);
    }

    fn send_zeros(&mut self, len: usize) {
        let record = self.naive.seal_inner(DATA, vec![0; len]);
        if self.naive.kind.is_13 {
            self.send_broken(&record, Some(Fault::NoContent));
        } else {
            self.naive.number -= 1;
            self.send(DATA, &vec![0; len], 0);
        }
    }

    /// A record of which one byte is another than was sealed.
    fn send_changed(&mut self, at: usize, change: u8) {
        let mut record = self.naive.seal(DATA, &[change; 40], 0);
        let at = at % record.len();
        if change != 0 {
            record[at] ^= change;
            // A header may become that of a longer record, or of none.
            self.send_broken(&record, (at >= 5).then_some(Fault::BadTag));
        } else {
            self.naive.number -= 1;
            self.send(DATA, &[change; 40], 0);
        }
    }

    /// Bytes that do not open, with the fault if it is certain.
    fn send_broken(&mut self, bytes: &[u8], fault: Option<Fault>) {
        self.sent.extend(bytes);
        if self.end != End::None || bytes.is_empty() {
            return;
        }
        self.end = End::Broken;
        if let Some(fault) = fault {
            self.wanted.push(Told::Fault(fault));
            self.end = End::Known;
        }
    }

    fn judge(&self, told: &[Told], how: &str) {
        if self.end != End::Broken {
            assert_eq!(told, self.wanted, "{how}");
            return;
        }
        let (as_wanted, more) = told.split_at(self.wanted.len().min(told.len()));
        assert_eq!(as_wanted, self.wanted, "{how}");
        // At most a fault: nothing that was not sealed as the next record is ever told.
        let is_fault = matches!(more, [] | [Told::Fault(_)]);
        assert!(is_fault, "{how}: {more:?}");
    }
}
