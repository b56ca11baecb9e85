use super::*;

const PLAIN: Policy = Policy {
    client_takeover: false,
};

fn answer(extensions: &str) -> Option<String> {
    negotiate(extensions, PLAIN).map(|agreement| agreement.answer())
}

#[test]
fn an_offer_is_answered_with_what_holds() {
    let base = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    for offer in [
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate ; client_max_window_bits=8",
        "permessage-deflate; client_max_window_bits=\"10\"; server_no_context_takeover",
        "foo, permessage-deflate; client_no_context_takeover",
        "permessage-deflate; server_max_window_bits=8, permessage-deflate",
        "permessage-deflate; mode=\"a,b;c\", permessage-deflate",
    ] {
        assert_eq!(answer(offer).as_deref(), Some(base), "{offer}");
    }
    let narrow = answer("permessage-deflate; server_max_window_bits=10").unwrap();
    assert!(narrow.ends_with("; server_max_window_bits=10"), "{narrow}");
}

#[test]
fn an_offer_with_a_bad_parameter_is_declined() {
    for offer in [
        "",
        "x-webkit-deflate-frame",
        "permessage-deflate; unknown",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; client_max_window_bits; client_max_window_bits=9",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=",
        "permessage-deflate; server_max_window_bits=\"\"",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; server_max_window_bits=010",
        "permessage-deflate; server_max_window_bits=8",
        "permessage-deflate; client_max_window_bits=16",
    ] {
        assert_eq!(answer(offer), None, "{offer}");
    }
}

#[test]
fn a_client_keeps_its_window_only_where_both_want_it() {
    let keep = Policy {
        client_takeover: true,
    };
    let agreed = negotiate("permessage-deflate", keep).unwrap();
    assert!(agreed.client_takeover);
    assert!(!agreed.answer().contains("client_no_context_takeover"));
    let offer = "permessage-deflate; client_no_context_takeover";
    assert!(!negotiate(offer, keep).unwrap().client_takeover);
}

#[test]
fn what_is_deflated_inflates_to_the_same_in_every_window() {
    let mut random = fastrand::Rng::with_seed(7);
    let mut inflater = Inflater::default();
    let mut out = Vec::new();
    for level in [1, 6, 9] {
        let mut deflater = Deflater::new(level);
        for round in 0..60 {
            let words = ["offset", "epoch", "{\"a\":", "1234", "é", "\n"];
            let text: String = (0..random.usize(1..4000))
                .map(|_| words[random.usize(..words.len())])
                .collect();
            let bits = WINDOW_BITS_MIN + round % 7;
            let Some(small) = deflater.deflate(text.as_bytes(), bits) else {
                continue;
            };
            assert!(small.len() < text.len());
            inflater.reset();
            inflater.inflate(small, text.len(), &mut out).unwrap();
            assert!(out == text.as_bytes());
        }
    }
}

#[test]
fn what_does_not_shrink_goes_out_plain() {
    let mut random = fastrand::Rng::with_seed(8);
    let noise: Vec<u8> = (0..5000).map(|_| random.u8(..)).collect();
    let mut deflater = Deflater::new(6);
    assert_eq!(deflater.deflate(&noise, 15), None);
    assert_eq!(deflater.deflate(b"", 15), None);
    assert_eq!(deflater.deflate(b"x", 15), None);
    // And the next one is none the worse for it.
    assert!(deflater.deflate(&[b'a'; 500], 15).is_some());
}

#[test]
fn the_examples_of_the_rfc_inflate() {
    let mut inflater = Inflater::resume(&[]);
    let mut out = Vec::new();
    // Section 7.2.3.1, and 7.2.3.2 with the window of the first.
    for payload in [
        &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..],
        &[0xf2, 0x00, 0x11, 0x00, 0x00],
        // 7.2.3.3 without compression, 7.2.3.4 with a final block, 7.2.3.5.
        &[
            0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00,
        ],
        &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
        &[
            0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00,
        ],
    ] {
        inflater.inflate(payload, 100, &mut out).unwrap();
        assert_eq!(out, b"Hello", "{payload:x?}");
    }
}

#[test]
fn a_message_that_breaks_off_is_a_fault() {
    let mut out = Vec::new();
    let whole = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    for len in 1..whole.len() - 1 {
        let verdict = Inflater::default().inflate(&whole[..len], 100, &mut out);
        assert_eq!(verdict, Err(Fault::Deflate), "{len}");
    }
}

#[test]
fn a_final_block_empties_the_window() {
    let mut inflater = Inflater::resume(b"before");
    let mut out = Vec::new();
    let payload = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
    inflater.inflate(&payload, 100, &mut out).unwrap();
    assert_eq!(out, b"Hello");
    assert_eq!(inflater.window(), b"");
}

#[test]
fn a_bomb_stops_at_the_limit() {
    let zeros = vec![0; 50 << 20];
    let mut deflater = Deflater::new(9);
    let bomb = deflater.deflate(&zeros, 15).unwrap().to_vec();
    assert!(bomb.len() < 60_000);
    let mut out = Vec::new();
    let verdict = Inflater::default().inflate(&bomb, 100_000, &mut out);
    assert_eq!(verdict, Err(Fault::TooBig));
    assert!(out.len() <= 100_000 && out.capacity() <= 200_000);
    let mut exact = Inflater::default();
    assert_eq!(exact.inflate(&bomb, zeros.len(), &mut out), Ok(()));
}

#[test]
fn noise_is_a_fault_or_a_message_but_never_more() {
    let mut random = fastrand::Rng::with_seed(9);
    let mut out = Vec::new();
    let mut faults = 0;
    for _ in 0..20_000 {
        let noise: Vec<u8> = (0..random.usize(..64)).map(|_| random.u8(..)).collect();
        let verdict = Inflater::default().inflate(&noise, 4096, &mut out);
        faults += usize::from(verdict == Err(Fault::Deflate));
        assert!(out.len() <= 4096);
    }
    assert!(faults > 1000, "{faults}");
}

#[test]
fn a_window_goes_on_in_another_process() {
    // Section 7.2.3.2: the second message refers to the first.
    let mut first = Inflater::resume(&[]);
    let mut out = Vec::new();
    let payload = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    first.inflate(&payload, 100, &mut out).unwrap();
    let mut second = Inflater::resume(first.window());
    for _ in 0..3 {
        let payload = [0xf2, 0x00, 0x11, 0x00, 0x00];
        second.inflate(&payload, 100, &mut out).unwrap();
        assert_eq!(out, b"Hello");
    }
    assert_eq!(second.window(), b"HelloHelloHelloHello");
    let long: Vec<u8> = (0..100_000u32).map(|n| (n % 251) as u8).collect();
    second.keep(&long);
    assert_eq!(second.window(), &long[100_000 - 32_768..]);
    assert_eq!(Inflater::resume(second.window()).window(), second.window());
}

#[test]
fn messages_that_do_not_shrink_leave_nothing_behind() {
    let mut random = fastrand::Rng::with_seed(11);
    for len in [1, 100, 1024, 5_000, 70_000] {
        for bits in [9, WINDOW_BITS_MAX] {
            let mut deflater = Deflater::new(1 + random.u32(..9));
            for _ in 0..300 {
                let message: Vec<u8> = (0..len).map(|_| random.u8(..)).collect();
                assert!(deflater.deflate(&message, bits).is_none(), "{len} bytes");
            }
            let repeated = vec![b'a'; len + 50];
            assert!(deflater.deflate(&repeated, bits).is_some());
        }
    }
}
