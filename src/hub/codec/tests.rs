use super::*;
use crate::hub::compressors::COMPRESSORS_MAX;

const EFFORT: Effort = Effort {
    level: 1,
    bytes_min: 16,
};

fn written(mut encoder: Encoder<'_>, format: Format, payload: &[u8]) -> Vec<u8> {
    let message = Message {
        topic: "t",
        epoch: 1,
        offset: 1,
        time_ms: 1,
        text: true,
        payload,
        extras: None,
    };
    let mut out = vec![0; encoder.bound(format, &message)];
    let len = encoder.write(format, &message, &mut out);
    assert_eq!(len, out.len(), "the bound is exact");
    out
}

#[test]
fn what_was_prepared_goes_out_compressed_and_nothing_else_does() {
    let mut codec = Codec::default();
    let (nine, fifteen) = (
        Format::Deflated(Plain::Raw, 9),
        Format::Deflated(Plain::Raw, 15),
    );
    let mut formats = Formats::default();
    formats.insert(nine);
    let message = b"once more, once more, once more, once more";
    codec.prepare(formats, true, message, EFFORT);
    assert_eq!(codec.saved_bytes().count(), 1);
    let compressed = written(codec.prepared(), nine, message);
    assert_eq!(compressed[0], 0xC1);
    assert!(compressed.len() < message.len());
    // Its reader has come since.
    let plain = written(codec.prepared(), fifteen, message);
    assert_eq!(plain, [&[0x81, message.len() as u8][..], message].concat());
    // Nor does a message for which nothing has been prepared.
    assert_eq!(written(codec.plain(), nine, b"another")[2..], *b"another");
    // What is too short, or does not shrink, goes as it is.
    codec.prepare(formats, true, b"short", EFFORT);
    assert_eq!(written(codec.prepared(), nine, b"short")[0], 0x81);
    assert_eq!(codec.saved_bytes().count(), 0);
}

#[test]
fn a_changed_level_holds_from_the_next_message_on() {
    let words = (0..4000).map(|n| format!("word {} of {} ", n % 613, n % 97));
    let message: String = words.collect();
    let mut codec = Codec::default();
    let mut len = |level| {
        let effort = Effort {
            level,
            bytes_min: 0,
        };
        written(
            codec.afresh(effort),
            Format::Deflated(Plain::Raw, 15),
            message.as_bytes(),
        )
        .len()
    };
    let (fast, small) = (len(1), len(9));
    assert!(small < fast, "{small} is not less than {fast}");
    assert_eq!(len(1), fast);
}

#[test]
fn afresh_each_message_is_compressed_on_the_spot() {
    let mut codec = Codec::default();
    for number in 0..5u8 {
        let message = [number; 100];
        for bits in [9, 12, 15] {
            let format = Format::Deflated(Plain::Raw, bits);
            let bytes = written(codec.afresh(EFFORT), format, &message);
            assert_eq!(bytes[0], 0xC1);
            let mut plain = Vec::new();
            let mut inflater = Inflater::default();
            inflater.inflate(&bytes[2..], 1000, &mut plain).unwrap();
            assert_eq!(plain, message);
        }
    }
    assert_eq!(codec.compressors.len(), COMPRESSORS_MAX);
}

/// The payload of the one frame in `bytes`, plain, and whether it came compressed.
fn opened(bytes: &[u8]) -> (Vec<u8>, bool) {
    let (header_len, compressed) = match bytes[1] {
        126 => (4, bytes[0] & 0x40 != 0),
        len => (2, {
            assert!(len < 126);
            bytes[0] & 0x40 != 0
        }),
    };
    let payload = &bytes[header_len..];
    if !compressed {
        return (payload.to_vec(), false);
    }
    let mut plain = Vec::new();
    let mut inflater = Inflater::default();
    inflater.inflate(payload, 1 << 20, &mut plain).unwrap();
    (plain, true)
}

fn envelope(mut encoder: Encoder<'_>, format: Format, text: bool, payload: &[u8]) -> Vec<u8> {
    let message = Message {
        topic: "matches/berlin",
        epoch: 1,
        offset: 41,
        time_ms: 1,
        text,
        payload,
        extras: None,
    };
    let mut out = vec![0; encoder.bound(format, &message)];
    let len = encoder.write(format, &message, &mut out);
    out.truncate(len);
    out
}

#[test]
fn an_envelope_comes_out_as_it_would_without_compression() {
    let json = format!("[{}]", vec![r#"{"score":"2:1","minute":61}"#; 30].join(","));
    let payloads = [
        (true, json.clone().into_bytes()),
        (true, json.replace(',', ",\n").into_bytes()),
        (true, "Kick-off! \"Now\" ".repeat(40).into_bytes()),
        (false, vec![7; 900]),
    ];
    let plains = [
        Plain::CentrifugoJson,
        Plain::CentrifugoProtobuf,
        Plain::Numbered,
        Plain::Pusher,
    ];
    let mut formats = Formats::default();
    for plain in plains {
        formats.insert(Format::Deflated(plain, 12));
    }
    formats.insert(Format::Deflated(Plain::Raw, 12));
    let mut codec = Codec::default();
    for (text, payload) in payloads {
        codec.prepare(formats, text, &payload, EFFORT);
        assert_eq!(codec.saved_bytes().count(), 5);
        for plain in plains {
            let format = Format::Deflated(plain, 12);
            let as_it_is = envelope(codec.plain(), plain.format(), text, &payload);
            let (wanted, compressed) = opened(&as_it_is);
            assert!(!compressed);
            let prepared = envelope(codec.prepared(), format, text, &payload);
            assert!(prepared.len() < as_it_is.len() / 2);
            assert_eq!(opened(&prepared), (wanted.clone(), true));
            // Nobody read it compressed when it was prepared.
            let late = envelope(codec.plain(), format, text, &payload);
            assert_eq!(late, as_it_is);
        }
        // History is written so.
        for plain in plains {
            let format = Format::Deflated(plain, 12);
            let (wanted, _) = opened(&envelope(codec.plain(), plain.format(), text, &payload));
            let afresh = envelope(codec.afresh(EFFORT), format, text, &payload);
            assert_eq!(opened(&afresh), (wanted, true));
        }
    }
}

#[test]
fn an_envelope_whose_payload_is_short_or_does_not_shrink_goes_as_it_is() {
    let mut codec = Codec::default();
    let format = Format::Deflated(Plain::CentrifugoJson, 15);
    let mut formats = Formats::default();
    formats.insert(format);
    let noise: Vec<u8> = (0..300u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    for (text, payload) in [(true, &b"12"[..]), (false, &noise)] {
        codec.prepare(formats, text, payload, EFFORT);
        let prepared = envelope(codec.prepared(), format, text, payload);
        let plain = envelope(codec.plain(), Format::CentrifugoJson, text, payload);
        let (wanted, _) = opened(&plain);
        assert_eq!(opened(&prepared).0, wanted);
    }
    assert_eq!(envelope(codec.prepared(), format, true, b"12")[0], 0x81);
}
