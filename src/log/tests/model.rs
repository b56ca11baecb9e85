//! Anything in any order, against a log that is a list.

use super::*;

struct Sent {
    offset: u64,
    time_ms: u64,
    payload: Vec<u8>,
    extras_len: usize,
}

/// One core's window on a view, and one cursor in it.
struct Reader {
    format: Format,
    /// Keeps the view.
    _interest: Interest,
    window: Window,
    position: u64,
    /// The next message it gets has at least this offset.
    next: u64,
}

struct Play {
    random: Rng,
    arenas: Arc<Arenas>,
    topic: Arc<Topic>,
    retention: Retention,
    now_ms: u64,
    sent: Vec<Sent>,
    readers: Vec<Reader>,
}

#[test]
fn random_deeds_are_as_on_a_list() {
    for seed in 0..rounds(300).into() {
        let mut random = Rng::with_seed(seed);
        let (topic, arenas) = topic();
        let choices = [64 << 10, 256 << 10, 8 << 20];
        let mut play = Play {
            retention: Retention {
                messages_max: *random.choice(&[0, 5, 1000]).unwrap(),
                bytes_max: *random.choice(&[0, 3000, 1 << 20]).unwrap(),
                age_ms_max: 1000,
                bounds: Bounds {
                    log_bytes_max: *random.choice(&choices).unwrap(),
                    log_bytes_total_max: 4 << 20,
                },
            },
            random,
            arenas,
            topic,
            now_ms: 1,
            sent: Vec::new(),
            readers: Vec::new(),
        };
        for _ in 0..if cfg!(miri) { 60 } else { 400 } {
            play.act();
            let max = play.retention.bounds.log_bytes_max;
            assert!(play.topic.log_bytes() <= max, "seed {seed}");
            assert_eq!(play.topic.log_bytes(), play.arenas.held_bytes());
        }
        let Play {
            arenas,
            topic,
            readers,
            ..
        } = play;
        drop((topic, readers));
        assert_eq!(arenas.held_bytes(), 0, "a log that is gone holds nothing");
    }
}

impl Play {
    fn act(&mut self) {
        match self.random.u8(..20) {
            0..=6 => self.publish(),
            7 => self.fail(),
            8..=9 => self.subscribe(),
            10..=13 => self.read(),
            14 => {
                self.now_ms += self.random.u64(..400);
                self.expire();
            }
            15 if !self.readers.is_empty() => {
                let gone = self.random.usize(..self.readers.len());
                self.readers.swap_remove(gone);
            }
            16 => _ = self.topic.shed(self.random.u64(..200_000)),
            17 if self.random.u8(..3) == 0 => {
                self.now_ms += 10_000;
                self.expire();
            }
            18 if cfg!(not(miri)) && self.random.u8(..3) == 0 => self.hand_over(),
            _ => self.arenas.tidy(),
        }
    }

    fn next(&self) -> u64 {
        self.topic.summary(&self.retention).offset + 1
    }

    fn publish(&mut self) {
        let mut payload = random_payload(&mut self.random);
        if self.retention.bounds.log_bytes_max < 1 << 20 {
            payload.truncate(6000);
        }
        let info = vec![0; self.random.usize(..300)];
        let extras = Extras {
            info: &info,
            ..Extras::default()
        };
        let offset = self.next() + *self.random.choice(&[0, 0, 0, 3]).unwrap();
        let draft = Draft {
            offset: Some(offset),
            now_ms: self.now_ms,
            extras: (self.random.u8(..4) == 0).then_some(extras),
            ..draft(0)
        };
        match publish_as(&self.topic, draft, &payload, &self.retention) {
            Ok(committed) => {
                // One that failed may have been a little later.
                assert!((self.now_ms..=self.now_ms + 5).contains(&committed.time_ms));
                self.sent.push(Sent {
                    offset,
                    time_ms: committed.time_ms,
                    payload,
                    extras_len: draft.extras.map_or(0, |extras| extras.encoded_len()),
                });
            }
            Err(AppendError::LogFull(_) | AppendError::TotalFull(_)) => {
                // Only readers can keep it full.
                assert!(!self.readers.is_empty(), "nobody reads");
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn fail(&mut self) {
        let len = self.random.usize(..5000);
        let retention = self.retention;
        let draft = Draft {
            now_ms: self.now_ms + 5,
            ..draft(len)
        };
        let outcome = self.topic.publish(&draft, &retention, &mut Plain, |room| {
            room.fill(0xEE);
            Err("bad")
        });
        assert!(outcome.is_err());
    }

    fn expire(&mut self) {
        self.topic.expire(self.now_ms, &self.retention);
        let first = self.topic.summary(&self.retention).first_offset;
        let kept = self.sent.iter().filter(|sent| sent.offset >= first);
        let oldest_ms = self.now_ms.saturating_sub(1000);
        assert!(kept.clone().all(|sent| sent.time_ms >= oldest_ms));
        assert!(kept.count() as u64 <= self.retention.messages_max);
        let formats = self.topic.formats();
        for reader in &self.readers {
            assert!(reader.format == Format::Raw || formats.contains(reader.format));
        }
    }

    fn subscribe(&mut self) {
        if self.readers.len() == 5 {
            return;
        }
        let wanted = *self.random.choice(&[Format::Raw, SMALL, LARGE]).unwrap();
        let (format, _kept) = self.topic.attach(wanted).unwrap();
        assert_eq!(format, wanted);
        let next = self.next();
        let since = self.random.bool().then(|| self.random.u64(..=next));
        let topic = self.topic.clone();
        let retention = self.retention;
        let (format, start) = match topic.start(format, since, &retention) {
            Ok(start) => (format, start),
            Err(OutOfReach::Stored(_)) => unreachable!("nothing is stored elsewhere"),
            Err(OutOfReach::Raw(raw)) => {
                let mut run = topic.reach(format, &raw).unwrap();
                let step = self.random.usize(1..5000);
                loop {
                    match run.step(&mut Plain, step, &retention.bounds) {
                        Reached::Done(start) if start.offset == raw.offset => {
                            break (format, start);
                        }
                        Reached::Done(_) => break (Format::Raw, raw),
                        Reached::NotYet if self.random.u8(..50) == 0 => return,
                        Reached::NotYet => self.publish(),
                    }
                }
            }
        };
        let floor = topic.summary(&retention).first_offset;
        match since {
            None => assert_eq!(start.offset, next),
            Some(since) => {
                assert!(start.offset >= since.min(next));
                if wanted == Format::Raw {
                    assert_eq!(start.offset, since.max(floor).min(next));
                }
            }
        }
        let (_, interest) = topic.attach(format).unwrap();
        self.readers.push(Reader {
            format,
            _interest: interest,
            window: Window::new(start.segments),
            position: start.position,
            next: start.offset,
        });
    }

    /// A reader goes on, in the middle of a message too.
    fn read(&mut self) {
        if self.readers.is_empty() {
            return;
        }
        let (topic, random) = (&self.topic, &mut self.random);
        let reader = random.usize(..self.readers.len());
        let reader = &mut self.readers[reader];
        let end = reader.window.advance();
        // What it has not got, from the beginning of a message on.
        let (first, next) = (reader.position, reader.next);
        let rest: Vec<u8> = self
            .sent
            .iter()
            .filter(|sent| sent.offset >= next)
            .flat_map(|sent| sent.written(reader.format))
            .collect();
        assert!(
            read(&mut reader.window, first) == rest,
            "{:?}",
            reader.format
        );
        let somewhere = first + random.u64(..=end - first);
        let (boundary, offset) = reader.window.boundary(somewhere);
        assert!(boundary >= somewhere && boundary <= end);
        let mut unsaid = self
            .sent
            .iter()
            .filter(|s| (offset..next).contains(&s.offset));
        assert!(
            unsaid.next().is_none(),
            "only offsets of no message come again"
        );
        let after = self.sent.iter().filter(|sent| sent.offset >= offset);
        let len: usize = after.map(|sent| sent.written(reader.format).len()).sum();
        assert_eq!(end - boundary, len as u64, "the offset at a boundary");
        let between = self
            .sent
            .iter()
            .filter(|s| (next..offset).contains(&s.offset));
        let counted = reader.window.messages_before(boundary);
        let counted = counted - reader.window.messages_before(first);
        // What is nothing right where the reader stands counts as got.
        let here = between
            .clone()
            .take_while(|s| s.written(reader.format).is_empty());
        assert_eq!(counted as usize, between.count() - here.count());
        (reader.position, reader.next) = (boundary, offset);
        reader.window.release(boundary);
        assert!(topic.resume(reader.format, boundary).is_some() || boundary < end);
    }

    /// Everything goes to another process, and back to nobody.
    fn hand_over(&mut self) {
        let saved = postcard::to_stdvec(&self.topic.save()).unwrap();
        let saved = postcard::from_bytes(&saved).unwrap();
        let arenas = Arenas::new();
        arenas.inherit(self.arenas.files().unwrap()).unwrap();
        let topic = Arc::new(Topic::restore(&saved, 1, arenas.clone()).unwrap());
        let readers = std::mem::take(&mut self.readers);
        let standing: Vec<_> = readers
            .iter()
            .map(|reader| (reader.format, reader.position, reader.next))
            .collect();
        drop(readers);
        (self.topic, self.arenas) = (topic, arenas);
        if self.random.bool() {
            self.arenas.own();
        }
        for (format, position, next) in standing {
            let (_, interest) = self.topic.attach(format).unwrap();
            let start = self.topic.resume(format, position).unwrap();
            let between = start.offset.min(next)..start.offset.max(next);
            let mut between = self.sent.iter().filter(|s| between.contains(&s.offset));
            let nothing = between.all(|sent| sent.written(format).is_empty());
            assert!(nothing, "nothing is skipped and nothing comes again");
            self.readers.push(Reader {
                format,
                _interest: interest,
                window: Window::new(start.segments),
                position,
                next,
            });
        }
        self.arenas.own();
    }
}

impl Sent {
    fn written(&self, format: Format) -> Vec<u8> {
        if format == Format::Raw {
            return frame_of(&self.payload);
        }
        let info = vec![
            0;
            self.extras_len
                .saturating_sub(Extras::default().encoded_len())
        ];
        let extras = Extras {
            info: &info,
            ..Extras::default()
        };
        written(
            format,
            &Message {
                topic: "t",
                epoch: 7,
                offset: self.offset,
                time_ms: self.time_ms,
                text: false,
                payload: &self.payload,
                extras: (self.extras_len > 0).then_some(extras),
            },
        )
    }
}
