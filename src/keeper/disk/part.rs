//! What is to be stored, as it lies in the log, and how it is divided into pages.

/// A page has at most so many bytes of frames and rare parts, but for a single longer message.
pub(super) const PAGE_BYTES_MAX: usize = 256 << 10;

/// Messages to be stored, borrowed from the log that they lie in.
#[derive(Debug, Clone, Copy)]
pub struct PageIn<'a> {
    /// The messages' frames, back to back.
    pub frames: &'a [u8],
    /// One for each message.
    pub slots: &'a [SlotIn],
    /// What `Extras::encode` wrote for the messages that have extras, back to back.
    pub rare: &'a [u8],
}

/// What is known of a message beside its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotIn {
    /// Where its frame ends within the frames.
    pub end: u32,
    pub offset: u64,
    pub time_ms: u64,
    /// What its frame has before the payload, in bytes.
    pub header_len: u8,
    /// The payload is UTF-8 text.
    pub text: bool,
    /// Length of its encoded extras; 0 if it has none.
    pub rare_len: u32,
}

/// A run of messages that makes one page on disk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part<'a> {
    pub(super) slots: &'a [SlotIn],
    pub(super) frames: &'a [u8],
    pub(super) rare: &'a [u8],
    /// Where its frames begin within those of the page it is of.
    pub(super) frames_at: u32,
}

impl<'a> PageIn<'a> {
    /// Says what is wrong with the page, if something is.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        let (mut end, mut rare, mut newest) = (0u32, 0u64, None);
        for slot in self.slots {
            let len = slot.end.checked_sub(end).ok_or("its messages overlap")?;
            if u32::from(slot.header_len) > len {
                return Err("the header of a message is longer than its frame");
            }
            if newest.is_some_and(|newest| slot.offset <= newest) {
                return Err("its offsets do not increase");
            }
            end = slot.end;
            rare += u64::from(slot.rare_len);
            newest = Some(slot.offset);
        }
        if end as usize != self.frames.len() {
            return Err("its messages do not end where its frames do");
        }
        match rare == self.rare.len() as u64 {
            true => Ok(()),
            false => Err("its rare parts are not as long as its messages say"),
        }
    }

    /// What is stored as one page each. Offsets and times within a part fit into a slot.
    pub(super) fn parts(self) -> impl Iterator<Item = Part<'a>> {
        let PageIn {
            mut slots,
            mut frames,
            mut rare,
        } = self;
        let mut frames_at = 0u32;
        std::iter::from_fn(move || {
            let first = slots.first()?;
            let (mut count, mut frames_len, mut rare_len) = (0, 0, 0);
            for slot in slots {
                let with_frames = (slot.end - frames_at) as usize;
                let with_rare = rare_len + slot.rare_len as usize;
                let fits = with_frames + with_rare <= PAGE_BYTES_MAX
                    && delta(slot.offset, first.offset).is_some()
                    && delta(slot.time_ms, first.time_ms).is_some();
                if count > 0 && !fits {
                    break;
                }
                (count, frames_len, rare_len) = (count + 1, with_frames, with_rare);
            }
            let part = Part {
                slots: &slots[..count],
                frames: &frames[..frames_len],
                rare: &rare[..rare_len],
                frames_at,
            };
            slots = &slots[count..];
            frames = &frames[frames_len..];
            rare = &rare[rare_len..];
            frames_at += frames_len as u32;
            Some(part)
        })
    }
}

/// How far `value` is behind `base`, as far as a slot can say it.
pub(super) fn delta(value: u64, base: u64) -> Option<u32> {
    // A time that goes back a little counts as the first one.
    u32::try_from(value.saturating_sub(base)).ok()
}
