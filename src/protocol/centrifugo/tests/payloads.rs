//! How payloads reach their readers.

use super::*;

#[test]
fn json_readers_get_every_payload_as_json() {
    let table: [(bool, &[u8], &str); 12] = [
        (true, b"{\"a\": 1e400}", "{\"a\": 1e400}"),
        (true, b"\r\n[1,\n 2]\n", "[1, 2]"),
        (true, b"\"a\\nb\"", "\"a\\nb\""),
        (true, b"null", "null"),
        (true, b"Kick-off!", "\"Kick-off!\""),
        (true, b"a\nb\"\\\x01\x7f", "\"a\\nb\\\"\\\\\\u0001\x7f\""),
        (true, b"1 2", "\"1 2\""),
        (true, b"[", "\"[\""),
        (true, b"", "\"\""),
        (false, b"", "\"\""),
        (false, b"\xff\x00", "\"/wA=\""),
        (false, b"{}", "\"e30=\""),
    ];
    for (text, payload, data) in table {
        let line = published(Coding::Json, &message(text, payload));
        let expected = format!(
            "{{\"push\":{{\"channel\":\"news\",\"pub\":{{\"data\":{data},\"offset\":42}}}}}}\n"
        );
        assert_eq!(String::from_utf8(line).unwrap(), expected);
    }
}

#[test]
fn long_bytes_are_one_run_of_base64() {
    use base64::Engine as _;
    let payload: Vec<u8> = (0..5000).map(|n| n as u8).collect();
    let line = published(Coding::Json, &message(false, &payload));
    let whole = base64::engine::general_purpose::STANDARD.encode(&payload);
    assert!(
        String::from_utf8(line)
            .unwrap()
            .contains(&format!("\"{whole}\""))
    );
}

#[test]
fn info_and_tags_go_with_a_publication() {
    let info = encode_info(&ClientInfo {
        user: "u".to_owned(),
        client: "x".to_owned(),
        ..ClientInfo::default()
    });
    let extras = Extras {
        info: &info,
        tags: "{\"b\":\"\\u0031\", \"a\":\"\"}",
        ..Extras::default()
    };
    let with_extras = Message {
        extras: Some(extras),
        ..message(true, b"1")
    };
    let line = published(Coding::Json, &with_extras);
    let expected = r#"{"push":{"channel":"news","pub":{"data":1,"info":{"user":"u","client":"x"},"offset":42,"tags":{"a":"","b":"1"}}}}"#;
    assert_eq!(String::from_utf8(line).unwrap(), format!("{expected}\n"));
    for tags in ["{}", "[]", "{\"a\":1}", "{\"a\":\"b\"} x", "null"] {
        let extras = Some(Extras {
            info: b"\xff",
            tags,
            ..extras
        });
        let none = Message {
            extras,
            ..with_extras
        };
        let line = published(Coding::Json, &none);
        assert_eq!(
            line,
            published(Coding::Json, &message(true, b"1")),
            "{tags}"
        );
    }
}

#[test]
fn a_publication_in_a_reply_is_the_one_that_was_pushed() {
    let info = encode_info(&ClientInfo {
        user: "u".to_owned(),
        ..ClientInfo::default()
    });
    let extras = Extras {
        info: &info,
        tags: "{\"a\":\"b\"}",
        ..Extras::default()
    };
    let payloads: [(bool, &[u8]); 5] = [
        (true, b"{ }"),
        (true, b"x"),
        (true, b""),
        (false, b""),
        (false, b"\x80"),
    ];
    for (text, payload) in payloads {
        let message = Message {
            extras: Some(extras),
            ..message(text, payload)
        };
        let push = String::from_utf8(published(Coding::Json, &message)).unwrap();
        let (_, push) = push.split_once("\"pub\":").unwrap();
        let mut reply = Vec::new();
        let history = Reply::History {
            publications: &[publication(&message)],
            epoch: "",
            offset: 0,
        };
        write_reply(Coding::Json, 1, &history, &mut reply);
        let reply = String::from_utf8(reply).unwrap();
        let inner = push.strip_suffix("}}\n").unwrap();
        assert!(reply.contains(&format!("[{inner}]")), "{reply} {inner}");
    }
}
