use super::*;

const LIMITS: HeadLimits = HeadLimits {
    bytes_max: 8192,
    fields_max: 64,
};

const HEAD: &str =
    "GET /a/b?c=d HTTP/1.1\r\nHost: localhost:8000\r\nX-List: a, b ,,c\r\nx-list:d\r\n\r\n";

fn reject(text: &str) -> Option<Reject> {
    match parse(text.as_bytes(), LIMITS) {
        Ok(Some((request, _))) => request.check_plain().err(),
        outcome => outcome.err(),
    }
}

#[test]
fn a_head_gives_the_same_split_at_any_byte_and_leaves_what_follows() {
    let stream = [HEAD.as_bytes(), b"\x81\x80\r\n\r\n"].concat();
    for cut in 0..=stream.len() {
        let mut reader = HeadReader::default();
        let early = reader.parse(&stream[..cut], LIMITS).unwrap();
        assert_eq!(early.is_some(), cut >= HEAD.len(), "cut at {cut}");
        let (request, len) = reader.parse(&stream, LIMITS).unwrap().unwrap();
        assert_eq!(len, HEAD.len());
        assert_eq!(request.path(), "/a/b");
        assert_eq!(request.query(), Some("c=d"));
        assert_eq!(request.host(), "localhost:8000");
        assert!(request.is_http_1_1() && !request.is_head());
    }
}

#[test]
fn a_head_that_comes_by_single_bytes_is_found_at_its_last_one() {
    for text in [
        HEAD.to_owned(),
        HEAD.replace("\r\n", "\n"),
        format!("\r\n{HEAD}"),
    ] {
        let mut reader = HeadReader::default();
        for end in 0..text.len() {
            assert!(
                reader
                    .parse(&text.as_bytes()[..end], LIMITS)
                    .unwrap()
                    .is_none()
            );
            assert!(reader.searched + 3 >= end, "no byte is searched often");
        }
        assert!(reader.parse(text.as_bytes(), LIMITS).unwrap().is_some());
    }
}

#[test]
fn lists_run_over_repeated_fields() {
    let (request, _) = parse(HEAD.as_bytes(), LIMITS).unwrap().unwrap();
    let elements: Vec<_> = request.elements("X-LIST").collect();
    assert_eq!(elements, ["a", "b", "c", "d"]);
    assert_eq!(request.single("x-list"), Err(Repeated));
    assert_eq!(request.single("x-none"), Ok(None));
}

#[test]
fn the_limit_counts_the_head_and_not_what_follows() {
    let max = HEAD.len();
    let limits = |bytes_max| HeadLimits {
        bytes_max,
        ..LIMITS
    };
    let too_long = |max| Some(Reject::HeadBytes { max });
    let followed = format!("{HEAD}{}", "x".repeat(1000));
    assert!(parse(followed.as_bytes(), limits(max)).unwrap().is_some());
    let result = parse(followed.as_bytes(), limits(max - 1));
    assert_eq!(result.err(), too_long(max - 1));
    let unfinished = &HEAD.as_bytes()[..max - 2];
    assert!(parse(unfinished, limits(max)).unwrap().is_none());
    let result = parse(unfinished, limits(max - 2));
    assert_eq!(result.err(), too_long(max - 2));
    let empty_lines = b"\r\n".repeat(100);
    let result = parse(&empty_lines, limits(100));
    assert_eq!(result.err(), too_long(100));
}

#[test]
fn too_many_fields_are_told_from_too_many_bytes() {
    let with = |more| {
        format!(
            "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
            "A: b\r\n".repeat(more)
        )
    };
    assert_eq!(reject(&with(63)), None);
    let text = with(64);
    assert_eq!(reject(&text), Some(Reject::HeadFields { max: 64 }));
}

#[test]
fn other_protocols_are_told_by_their_first_bytes() {
    for bytes in [
        &b"\x16\x03\x01\x02\x00"[..],
        b"\0",
        b"\xff\xfe",
        b" GET",
        b"{\"a\":1}",
        b"\x81\x85",
        &[b'A'; 40],
    ] {
        assert_eq!(
            parse(bytes, LIMITS).err(),
            Some(Reject::NotHttp),
            "{bytes:?}"
        );
    }
    for start in ["", "G", "\r\n", "GET", "GET ", "M-SEARCH "] {
        assert!(parse(start.as_bytes(), LIMITS).unwrap().is_none());
    }
}

#[test]
fn a_head_that_is_no_request_is_refused() {
    for (text, cause) in [
        ("SSH-2.0 OpenSSH\n\n", Reject::NotHttp),
        ("GET /\r\n\r\n", Reject::NotHttp),
        ("GET / HTTP/1.1\r\nno colon\r\n\r\n", Reject::NotHttp),
        ("GET / HTTP/1.1\r\nA : b\r\n\r\n", Reject::NotHttp),
        ("GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", Reject::NotHttp),
        ("GET / HTTP/1.1\r\nA: \0\r\n\r\n", Reject::NotHttp),
        ("GET /\x01 HTTP/1.1\r\n\r\n", Reject::NotHttp),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Reject::HttpVersion),
        ("GET / HTTP/3.0\r\n\r\n", Reject::HttpVersion),
        ("POST / HTTP/1.1\r\nHost: a\r\n\r\n", Reject::Method),
        ("get / HTTP/1.1\r\nHost: a\r\n\r\n", Reject::Method),
        ("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", Reject::Method),
        ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", Reject::Target),
        ("GET a HTTP/1.1\r\nHost: a\r\n\r\n", Reject::Target),
        ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", Reject::Target),
        ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", Reject::Target),
        ("GET / HTTP/1.1\r\n\r\n", Reject::MissingHost),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", Reject::MissingHost),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nHOST: a\r\n\r\n",
            Reject::DuplicateHost,
        ),
    ] {
        assert_eq!(reject(text), Some(cause), "{text:?}");
    }
}

#[test]
fn a_request_with_a_body_is_refused() {
    for field in [
        "Content-Length: 5",
        "Content-Length: 00",
        "Content-Length: x",
        "Content-Length: 0\r\nContent-Length: 7",
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: identity",
    ] {
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n");
        assert_eq!(reject(&text), Some(Reject::Body), "{field}");
    }
    let none = "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(reject(none), None);
}

#[test]
fn what_is_for_the_server_api_has_any_method_and_a_body() {
    let text = "POST /api/info HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}";
    let (request, len) = parse(text.as_bytes(), LIMITS).unwrap().unwrap();
    assert_eq!(
        (request.method(), request.path()),
        (Method::Other, "/api/info")
    );
    assert_eq!(&text[len..], "{}");
}

#[test]
fn a_target_may_be_a_whole_url() {
    for (target, path, query) in [
        ("http://a/b?c", "/b", Some("c")),
        ("WS://a:80/", "/", None),
        ("http://a", "/", None),
        ("http://a?c", "/", Some("c")),
        ("/?", "/", Some("")),
        ("/a?b?c", "/a", Some("b?c")),
    ] {
        assert_eq!(split_target(target), Some((path, query)), "{target}");
    }
}

#[test]
fn http_1_0_may_come_without_host() {
    let (request, _) = parse(b"HEAD / HTTP/1.0\r\n\r\n", LIMITS).unwrap().unwrap();
    assert!(request.is_head() && !request.is_http_1_1());
    assert_eq!(request.host(), "");
}

#[test]
fn noise_never_panics_and_splits_never_matter() {
    let words = [
        "GET ",
        "/",
        " HTTP/1.1",
        "\r\n",
        "\n",
        "Host",
        ": ",
        "a",
        "\r",
        " ",
        "\t",
        ",",
        "%",
        "?",
        "\u{80}",
        "HEAD ",
    ];
    for seed in 0..20_000 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let count = rng.usize(..30);
        let mut text = String::new();
        if rng.bool() {
            text.push_str("GET / HTTP/1.1\r\nHost: a\r\n");
        }
        text.extend((0..count).map(|_| words[rng.usize(..words.len())]));
        let outcome = |r: Result<Option<(Request<'_>, usize)>, Reject>| {
            r.map(|found| found.map(|(_, len)| len))
        };
        let want = outcome(parse(text.as_bytes(), LIMITS));
        let mut reader = HeadReader::default();
        let mut got = Ok(None);
        for end in 0..=text.len() {
            got = outcome(reader.parse(&text.as_bytes()[..end], LIMITS));
            if got != Ok(None) {
                break;
            }
        }
        assert_eq!(got, want, "seed {seed}: {text:?}");
    }
}

#[test]
fn a_health_check_of_the_kind_that_haproxy_sends_is_read() {
    for (text, path) in [
        ("OPTIONS / HTTP/1.0\r\n\r\n", "/"),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "*"),
    ] {
        let (request, _) = parse(text.as_bytes(), LIMITS).unwrap().unwrap();
        assert_eq!((request.method(), request.path()), (Method::Options, path));
    }
}

#[test]
fn a_head_request_is_known_however_broken_it_is() {
    for (bytes, is_so) in [
        ("HEAD / HTTP/1.1\r\n\r\n", Some(true)),
        ("\r\nHEAD * nonsense", Some(true)),
        ("HEAD ", Some(true)),
        ("HEADS / HTTP/1.1", Some(false)),
        ("GET /HEAD ", Some(false)),
        ("G", Some(false)),
        ("\r\nHEAD", None),
        ("H", None),
        ("\r\n", None),
        ("", None),
    ] {
        assert_eq!(wants_head_only(bytes.as_bytes()), is_so, "{bytes}");
    }
}
