//! What a client's bytes mean, read from RFC 6455 sections 5 and 7 without any
//! thought of speed.

/// Something whole that a client has sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meaning {
    Message {
        text: bool,
        deflated: bool,
        payload: Vec<u8>,
    },
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    /// The end: with this code, or none.
    Close(Option<u16>),
    /// The end, with the code that answers a violation.
    Fault(u16),
}

/// All of it, up to the end or the last whole thing.
pub(super) fn meanings(bytes: &[u8], message_bytes_max: usize, deflate: bool) -> Vec<Meaning> {
    let (mut rest, mut found) = (bytes, Vec::new());
    // Opcode, compressed, and what has come so far.
    let mut open: Option<(u8, bool, Vec<u8>)> = None;
    loop {
        let frame = match frame(rest, deflate) {
            Ok(Some(frame)) => frame,
            Ok(None) => return found,
            Err(()) => {
                found.push(Meaning::Fault(1002));
                return found;
            }
        };
        let mut end = |meaning| {
            found.push(meaning);
            std::mem::take(&mut found)
        };
        if frame.opcode >= 8 {
            if frame.opcode == 8 && frame.len == 1 {
                return end(Meaning::Fault(1002));
            }
        } else {
            let before = match (&open, frame.opcode) {
                (None, 0) | (Some(_), 1 | 2) => return end(Meaning::Fault(1002)),
                (Some((.., bytes)), _) => bytes.len(),
                (None, _) => 0,
            };
            let deflated = open
                .as_ref()
                .map_or(frame.rsv1, |(_, deflated, _)| *deflated);
            // What does not shrink grows a little.
            let slack = if deflated {
                message_bytes_max / 16 + 64
            } else {
                0
            };
            if before as u64 + frame.len > (message_bytes_max + slack) as u64 {
                return end(Meaning::Fault(1009));
            }
            if frame.opcode > 0 {
                open = Some((frame.opcode, frame.rsv1, Vec::new()));
            }
        }
        let here = &rest[frame.header..];
        let there = here.len().min(frame.len as usize);
        let payload: Vec<u8> = here[..there]
            .iter()
            .zip(frame.key.iter().cycle())
            .map(|(byte, key)| byte ^ key)
            .collect();
        let whole = there as u64 == frame.len;
        if frame.opcode < 8 {
            let (opcode, deflated, bytes) = open.as_mut().expect("it is open");
            bytes.extend(&payload);
            let text = *opcode == 1 && !*deflated;
            if text && !may_become_text(bytes, frame.fin && whole) {
                return end(Meaning::Fault(1007));
            }
        }
        if !whole {
            return found;
        }
        rest = &here[there..];
        match frame.opcode {
            8 => return end(close(&payload)),
            9 => found.push(Meaning::Ping(payload)),
            10 => found.push(Meaning::Pong(payload)),
            _ if frame.fin => {
                let (opcode, deflated, payload) = open.take().expect("it is open");
                found.push(Meaning::Message {
                    text: opcode == 1,
                    deflated,
                    payload,
                });
            }
            _ => {}
        }
    }
}

struct Frame {
    fin: bool,
    rsv1: bool,
    opcode: u8,
    key: [u8; 4],
    header: usize,
    len: u64,
}

/// The header at the start, or that it breaks a rule. As a violation is known
/// from the first byte that proves it, so it is here.
fn frame(bytes: &[u8], deflate: bool) -> Result<Option<Frame>, ()> {
    let byte = |at: usize| bytes.get(at).copied();
    let Some(first) = byte(0) else {
        return Ok(None);
    };
    let (fin, rsv1, opcode) = (first & 0x80 > 0, first & 0x40 > 0, first & 0x0F);
    let rsv1_fits = !rsv1 || (deflate && (opcode == 1 || opcode == 2));
    if ![0, 1, 2, 8, 9, 10].contains(&opcode) || first & 0x30 > 0 || !rsv1_fits {
        return Err(());
    }
    if opcode >= 8 && !fin {
        return Err(());
    }
    let Some(second) = byte(1) else {
        return Ok(None);
    };
    let short = second & 0x7F;
    if second & 0x80 == 0 || (opcode >= 8 && short > 125) {
        return Err(());
    }
    let extra = match short {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let mut len = u64::from(short);
    if extra > 0 {
        len = 0;
        for at in 2..2 + extra {
            let Some(next) = byte(at) else { break };
            if extra == 8 && at == 2 && next >= 0x80 {
                return Err(());
            }
            len = len << 8 | u64::from(next);
            let left = 1 + extra - at;
            // What is still to come cannot make it long enough.
            let largest = len << (8 * left) | ((1 << (8 * left)) - 1);
            let shorter_fits = if extra == 2 { 125 } else { 65535 };
            if largest <= shorter_fits {
                return Err(());
            }
        }
    }
    let header = 2 + extra + 4;
    let Some(key) = bytes.get(2 + extra..header) else {
        return Ok(None);
    };
    Ok(Some(Frame {
        fin,
        rsv1,
        opcode,
        key: key.try_into().expect("four bytes"),
        header,
        len,
    }))
}

fn close(payload: &[u8]) -> Meaning {
    let [high, low, reason @ ..] = payload else {
        return Meaning::Close(None);
    };
    let code = u16::from_be_bytes([*high, *low]);
    let fits = (1000..=1014).contains(&code) && ![1004, 1005, 1006].contains(&code);
    if !fits && !(3000..=4999).contains(&code) {
        return Meaning::Fault(1002);
    }
    match std::str::from_utf8(reason) {
        Ok(_) => Meaning::Close(Some(code)),
        Err(_) => Meaning::Fault(1007),
    }
}

fn may_become_text(bytes: &[u8], whole: bool) -> bool {
    match std::str::from_utf8(bytes) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none() && !whole,
    }
}
