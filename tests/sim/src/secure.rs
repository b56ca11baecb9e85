//! TLS on a simulated socket. What the client reads and writes is plain, the server has ciphertext: a
//! record of it may come and go in any parts. Every record of the server is opened, in its order: one that was
//! sealed again with other content, or skipped, or sent twice, cannot be.

use std::collections::VecDeque;

use fanfare::protocol::tls::{
    ContentType, Event, HEADER_BYTES, Incoming, PLAIN_BYTES_MAX, Session, Suite, Traffic,
};
use fastrand::Rng;

/// So many records may one key of AES-GCM seal (RFC 8446 section 5.5).
const RECORDS_MAX: u64 = 1 << 24;
/// With fewer left the server takes new keys.
const RECORDS_LEFT_MIN: u64 = 1 << 16;
/// close_notify, as a warning.
const CLOSE_NOTIFY: [u8; 2] = [1, 0];

/// The client's end.
#[derive(Debug)]
pub(crate) struct Tls {
    send: Traffic,
    receive: Incoming,
    /// Ciphertext to the server that it has not received, and how much content that holds.
    pub(crate) inbound: VecDeque<u8>,
    content: usize,
    /// A record of the server that has come in part.
    record: Vec<u8>,
    /// How much content that has.
    begun: u64,
    /// The server has said that no more comes.
    has_ended: bool,
    rng: Rng,
    says_bye: bool,
    /// So many more times it asks for new keys: it would call too many a flood itself.
    key_updates: u8,
    /// It has asked for new keys of the server, and has not seen them.
    pub(crate) awaits_keys: bool,
    /// It has been asked for new keys of its own.
    owes_key_update: bool,
    /// It may be asked so once, or told to come back, as a key is used up.
    pub(crate) may_be_asked: bool,
    pub(crate) may_be_told: bool,
    pub(crate) was_asked: bool,
}

impl Tls {
    /// Both ends of a connection whose handshake is over.
    pub(crate) fn pair(rng: &mut Rng) -> (Tls, Session) {
        let suites = [Suite::Aes128Gcm, Suite::Aes256Gcm, Suite::ChaCha20Poly1305];
        let suite = suites[rng.usize(..3)];
        let is_new = rng.bool();
        // In some connections the client, or the server, has soon used up its keys.
        let soon = rng.u64(1..30);
        let (client_first, server_first) = match rng.u8(..) {
            0..40 => (RECORDS_MAX - soon, 0),
            40..60 => (0, RECORDS_MAX - RECORDS_LEFT_MIN - soon),
            _ => (0, 0),
        };
        let has_limit = suite != Suite::ChaCha20Poly1305;
        let mut direction = |first| {
            let mut bytes = [0; 48];
            rng.fill(&mut bytes);
            let iv = *bytes.last_chunk().expect("12 bytes");
            let traffic = || {
                if is_new {
                    let len = if suite == Suite::Aes256Gcm { 48 } else { 32 };
                    return Traffic::tls13(suite, &bytes[..len], first);
                }
                let len = if suite == Suite::Aes128Gcm { 16 } else { 32 };
                Traffic::tls12(suite, &bytes[..len], iv, first + 1)
            };
            (
                traffic().expect("of its length"),
                traffic().expect("of its length"),
            )
        };
        let (to, from_client) = direction(client_first);
        let (mut send, from_server) = direction(server_first);
        // What has waited for the answer, as tickets do: any record of the server's.
        let mut unsent = Vec::new();
        if is_new && rng.bool() {
            send.key_update(&mut unsent);
        }
        let client = Tls {
            send: to,
            receive: Incoming::new(from_server),
            inbound: VecDeque::new(),
            content: 0,
            record: Vec::new(),
            begun: 0,
            has_ended: false,
            says_bye: rng.bool(),
            key_updates: 20,
            awaits_keys: false,
            owes_key_update: false,
            may_be_asked: is_new && has_limit && client_first > 0,
            may_be_told: !is_new && has_limit && client_first + server_first > 0,
            was_asked: false,
            rng: rng.fork(),
        };
        let server = Session {
            unsent,
            send,
            receive: Incoming::new(from_client),
        };
        (client, server)
    }

    /// Seals something of what the client has written, unless something sealed is under way.
    pub(crate) fn seal(&mut self, plain: &mut VecDeque<u8>) {
        if !self.inbound.is_empty() || plain.is_empty() {
            return;
        }
        let mut out = Vec::new();
        let updates = self.send.can_update() && self.key_updates > 0;
        if std::mem::take(&mut self.owes_key_update) {
            self.send.key_update(&mut out);
        } else if updates && self.rng.u8(..) < 10 {
            self.key_updates -= 1;
            self.awaits_keys = true;
            self.send.request_key_update(&mut out);
        }
        let len = match self.rng.u8(..) {
            0..8 => 1,
            8..40 => 20,
            _ => PLAIN_BYTES_MAX,
        };
        let len = len.min(plain.len());
        let content: Vec<u8> = plain.drain(..len).collect();
        self.send
            .seal(ContentType::ApplicationData, &content, &mut out);
        self.content = len;
        self.inbound.extend(out);
    }

    /// Moves some ciphertext into `buffer`. Returns how much content the server has with that.
    pub(crate) fn deliver(&mut self, buffer: &mut [u8]) -> (usize, usize) {
        let len = self.rng.usize(1..=buffer.len().min(self.inbound.len()));
        for (to, from) in buffer.iter_mut().zip(self.inbound.drain(..len)) {
            *to = from;
        }
        let content = match self.inbound.is_empty() {
            true => std::mem::take(&mut self.content),
            false => 0,
        };
        (len, content)
    }

    /// Says that no more comes, as some clients do. True if that is to be delivered now.
    pub(crate) fn say_bye(&mut self) -> bool {
        let says = std::mem::take(&mut self.says_bye);
        if says {
            let mut out = Vec::new();
            self.send.seal(ContentType::Alert, &CLOSE_NOTIFY, &mut out);
            self.inbound.extend(out);
        }
        says
    }

    /// Takes ciphertext of the server; what can be opened goes to `plain`. The server has offered `rest`
    /// as well.
    pub(crate) fn open(&mut self, bytes: &[u8], rest: &[u8], plain: &mut VecDeque<u8>) {
        self.take(bytes, plain);
        let mut begun = self.record.iter().chain(rest).copied();
        let header: Vec<u8> = begun.by_ref().take(HEADER_BYTES).collect();
        self.begun = match (self.record.is_empty(), &header[..]) {
            (false, [_, _, _, high, low]) => {
                let len = usize::from(u16::from_be_bytes([*high, *low]));
                (len + HEADER_BYTES - self.send.overhead()) as u64
            }
            _ => 0,
        };
    }

    fn take(&mut self, mut bytes: &[u8], plain: &mut VecDeque<u8>) {
        while !bytes.is_empty() {
            let wanted = match self.announced() {
                None => HEADER_BYTES,
                Some(len) => HEADER_BYTES + len,
            };
            let taken = bytes.len().min(wanted - self.record.len());
            self.record.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            let is_whole =
                self.announced().map(|len| HEADER_BYTES + len) == Some(self.record.len());
            if is_whole {
                let mut record = std::mem::take(&mut self.record);
                self.open_record(&mut record, plain);
            }
        }
    }

    fn open_record(&mut self, mut record: &mut [u8], plain: &mut VecDeque<u8>) {
        assert!(!self.has_ended, "a record comes behind the last one");
        loop {
            let event = self.receive.next(&mut record);
            match event.expect("a record of the server can be opened") {
                None => return,
                Some(Event::Data(content)) => plain.extend(content.iter()),
                Some(Event::KeyUpdate { requested: false }) => self.awaits_keys = false,
                Some(Event::KeyUpdate { requested: true }) => {
                    self.awaits_keys = false;
                    assert!(std::mem::take(&mut self.may_be_asked), "its keys are good");
                    (self.owes_key_update, self.was_asked) = (true, true);
                }
                Some(Event::CloseNotify) => self.has_ended = true,
                Some(Event::Refused(alert)) => panic!("the server asks what it refuses: {alert:?}"),
            }
        }
    }

    /// Content that comes with the rest of the record that is begun.
    pub(crate) fn begun(&self) -> u64 {
        self.begun
    }

    fn announced(&self) -> Option<usize> {
        let [_, _, _, high, low] = *self.record.first_chunk::<HEADER_BYTES>()?;
        Some(usize::from(u16::from_be_bytes([high, low])))
    }
}
