//! What clients write.

use super::*;

fn one(id: u32, command: Command) -> Result<Vec<Request>, BadRequest> {
    Ok(vec![Request { id, command }])
}

fn decoded(line: &str) -> Result<Vec<Request>, BadRequest> {
    decode(Coding::Json, line.as_bytes())
}

fn channel() -> String {
    "c".to_owned()
}

#[test]
fn each_command_is_read_from_json() {
    let table = [
        ("{}", 0, Command::Pong),
        (r#" { "id" : 0 } "#, 0, Command::Pong),
        (r#"{"connect":null}"#, 0, Command::Pong),
        (r#"{"newer":1}"#, 0, Command::Pong),
        (
            r#"{"id":1,"connect":{}}"#,
            1,
            Command::Connect(Connect::default()),
        ),
        (
            r#"{"connect":{"token":"t","data":{"a": 1},"name":"js","version":"5","headers":{"x":"y"},
            "flag":1,"subs":{"c":{"recover":true,"epoch":"e","offset":3}}},"id":4294967295}"#,
            u32::MAX,
            Command::Connect(Connect {
                token: "t".to_owned(),
                data: json(r#"{"a": 1}"#),
                name: "js".to_owned(),
                version: "5".to_owned(),
                subs: vec![(
                    channel(),
                    Subscribe {
                        recover: true,
                        epoch: "e".to_owned(),
                        offset: 3,
                        ..Subscribe::default()
                    },
                )],
            }),
        ),
        (
            r#"{"id":2,"subscribe":{"channel":"c","token":"t","data":[1],"recover":true,"offset":18446744073709551615,
            "epoch":"x","positioned":true,"recoverable":true,"join_leave":true,"delta":"fossil","tf":{"op":"and"},
            "flag":-3,"type":1}}"#,
            2,
            Command::Subscribe(Subscribe {
                channel: channel(),
                token: "t".to_owned(),
                recover: true,
                epoch: "x".to_owned(),
                offset: u64::MAX,
                positioned: true,
                recoverable: true,
                join_leave: true,
                flag: -3,
                delta: "fossil".to_owned(),
                tf: true,
                kind: 1,
            }),
        ),
        (
            r#"{"id":3,"unsubscribe":{"channel":"c"}}"#,
            3,
            Command::Unsubscribe { channel: channel() },
        ),
        (
            r#"{"id":4,"publish":{"channel":"c","data":{"n":1e400,"m":123456789012345678901234567890,"s":"\ud800"}}}"#,
            4,
            Command::Publish {
                channel: channel(),
                data: json(r#"{"n":1e400,"m":123456789012345678901234567890,"s":"\ud800"}"#),
            },
        ),
        (
            r#"{"id":4,"publish":{"channel":"c","data":null}}"#,
            4,
            Command::Publish {
                channel: channel(),
                data: json("null"),
            },
        ),
        (
            r#"{"id":4,"publish":{"channel":"c"}}"#,
            4,
            Command::Publish {
                channel: channel(),
                data: Data::default(),
            },
        ),
        (
            r#"{"id":4,"publish":{"channel":"c","type":1,"key":"k"}}"#,
            4,
            Command::Unknown,
        ),
        (
            r#"{"id":5,"presence":{"channel":"c"}}"#,
            5,
            Command::Presence { channel: channel() },
        ),
        (
            r#"{"id":6,"presence_stats":{"channel":"c"}}"#,
            6,
            Command::PresenceStats { channel: channel() },
        ),
        (
            r#"{"id":7,"history":{"channel":"c","limit":-1,"since":{"offset":5,"epoch":"e"},"reverse":true}}"#,
            7,
            Command::History {
                channel: channel(),
                limit: -1,
                since: Some((5, "e".to_owned())),
                reverse: true,
            },
        ),
        (
            r#"{"id":7,"history":{"channel":"c","since":null}}"#,
            7,
            Command::History {
                channel: channel(),
                limit: 0,
                since: None,
                reverse: false,
            },
        ),
        (r#"{"id":8,"rpc":{"method":"m","data":1}}"#, 8, Command::Rpc),
        (
            r#"{"id":8,"rpc":{"channel":1,"type":{},"token":[],"limit":""}}"#,
            8,
            Command::Rpc,
        ),
        (
            r#"{"send":{"data":1}}"#,
            0,
            Command::Send { data: json("1") },
        ),
        (
            r#"{"id":9,"refresh":{"token":"t"}}"#,
            9,
            Command::Refresh {
                token: "t".to_owned(),
            },
        ),
        (
            r#"{"id":9,"sub_refresh":{"channel":"c","token":"t"}}"#,
            9,
            Command::SubRefresh {
                channel: channel(),
                token: "t".to_owned(),
            },
        ),
        (
            r#"{"id":9,"sub_refresh":{"channel":"c","type":1,"track":[]}}"#,
            9,
            Command::Unknown,
        ),
        (r#"{"id":9,"ping":{}}"#, 9, Command::Unknown),
        (r#"{"id":9,"newer":{"channel":"c"}}"#, 9, Command::Unknown),
    ];
    for (line, id, command) in table {
        let line = line.replace('\n', "\r");
        assert_eq!(decoded(&line), one(id, command), "{line}");
    }
}

#[test]
fn the_last_of_several_members_counts_and_the_first_of_several_commands() {
    let unsubscribe = |channel: &str| Command::Unsubscribe {
        channel: channel.to_owned(),
    };
    let table = [
        (
            r#"{"id":1,"id":2,"unsubscribe":{"channel":"a","channel":"b"}}"#,
            one(2, unsubscribe("b")),
        ),
        (
            r#"{"id":1,"unsubscribe":{"channel":"a"},"unsubscribe":{"channel":"b"}}"#,
            one(1, unsubscribe("b")),
        ),
        (
            r#"{"id":1,"unsubscribe":{"channel":"a"},"unsubscribe":null,"id":null}"#,
            one(1, unsubscribe("a")),
        ),
        (
            r#"{"id":1,"rpc":{},"unsubscribe":{"channel":"a"},"send":{}}"#,
            one(1, unsubscribe("a")),
        ),
        (
            r#"{"id":1,"publish":{"channel":"a","data":1,"data":[2]}}"#,
            one(
                1,
                Command::Publish {
                    channel: "a".to_owned(),
                    data: json("[2]"),
                },
            ),
        ),
    ];
    for (line, requests) in table {
        assert_eq!(decoded(line), requests, "{line}");
    }
}

#[test]
fn escapes_in_names_and_strings_are_read() {
    let line = r#"{"\u0069d":1,"unsubscribe":{"channel":"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00é"}}"#;
    let channel = "\"\\/\u{8}\u{c}\n\r\té😀é".to_owned();
    assert_eq!(decoded(line), one(1, Command::Unsubscribe { channel }));
}

#[test]
fn lines_are_read_in_order_and_empty_ones_skipped() {
    let lines = "\n{\"id\":1,\"rpc\":{}}\n\r\n{}\n{\"id\":2,\"rpc\":{}}\n";
    let ids: Vec<u32> = decoded(lines).unwrap().iter().map(|r| r.id).collect();
    assert_eq!(ids, [1, 0, 2]);
}

#[test]
fn what_is_no_command_is_refused() {
    let lines = [
        "",
        "\n",
        "\u{c}",
        " ",
        "{",
        "}",
        "{}}",
        "{} {}",
        "[]",
        "null",
        "\"\"",
        "{\"id\":1}",
        "{\"id\":1,\"connect\":null}",
        "{\"id\":1,\"newer\":null}",
        "{\"connect\":{}}",
        "{\"id\":0,\"subscribe\":{}}",
        "{\"id\":\"1\",\"rpc\":{}}",
        "{\"id\":1.0,\"rpc\":{}}",
        "{\"id\":1e0,\"rpc\":{}}",
        "{\"id\":-1,\"rpc\":{}}",
        "{\"id\":01,\"rpc\":{}}",
        "{\"id\":4294967296,\"rpc\":{}}",
        "{\"id\":true,\"rpc\":{}}",
        "{\"id\":1,\"rpc\":[]}",
        "{\"id\":1,\"connect\":1}",
        "{\"id\":1,\"connect\":{\"subs\":[]}}",
        "{\"id\":1,\"connect\":{\"subs\":{\"c\":1}}}",
        "{\"id\":1,\"subscribe\":{\"channel\":1}}",
        "{\"id\":1,\"subscribe\":{\"channel\":\"\\ud800\"}}",
        "{\"id\":1,\"subscribe\":{\"channel\":\"\\ud800\\u0041\"}}",
        "{\"id\":1,\"subscribe\":{\"channel\":\"\\udc00\"}}",
        "{\"id\":1,\"subscribe\":{\"recover\":1}}",
        "{\"id\":1,\"subscribe\":{\"offset\":18446744073709551616}}",
        "{\"id\":1,\"subscribe\":{\"offset\":-1}}",
        "{\"id\":1,\"subscribe\":{\"tf\":1}}",
        "{\"id\":1,\"history\":{\"limit\":2147483648}}",
        "{\"id\":1,\"history\":{\"since\":1}}",
        "{\"id\":1,\"publish\":{\"data\":}}",
        "{\"id\":1,\"publish\":{\"data\":tru}}",
        "{\"id\":1,\"publish\":{\"data\":\"\t\"}}",
        "{\"id\":1,\"publish\":{\"data\":1.}}",
        "{\"id\":1,\"newer\":.5}",
        "{\"id\":1,\"rpc\":{},}",
        "{\"id\":1 \"rpc\":{}}",
        "{\"id\":1,\n\"rpc\":{}}",
        "{\"id\":1,\"rpc\":{}}\n{",
    ];
    for line in lines {
        assert_eq!(decoded(line), Err(BadRequest), "{line}");
    }
    let no_text = b"{\"id\":1,\"publish\":{\"data\":\"\xff\"}}";
    assert_eq!(decode(Coding::Json, no_text), Err(BadRequest));
}

#[test]
fn commands_are_read_up_to_one_that_cannot_be() {
    let json = b"\n{\"id\":1,\"rpc\":{}}\n{}\n\xff{}\n{\"id\":2,\"rpc\":{}}";
    let protobuf = b"\x04\x08\x01\x6a\x00\x00\x02\x0f\x01\x04\x08\x02\x6a\x00";
    let request = |id, command| Ok(Request { id, command });
    let read = [
        request(1, Command::Rpc),
        request(0, Command::Pong),
        Err(BadRequest),
    ];
    for (coding, message) in [(Coding::Json, &json[..]), (Coding::Protobuf, protobuf)] {
        let requests: Vec<_> = Requests::of(coding, message).collect();
        assert_eq!(requests, read, "{coding:?}");
    }
}

#[test]
fn what_has_not_been_read_begins_with_the_next_command() {
    let json = b"{\"id\":1,\"rpc\":{}}\n\n{\"id\":2,\"rpc\":{}}\n";
    let protobuf = b"\x04\x08\x01\x6a\x00\x04\x08\x02\x6a\x00";
    for (coding, message) in [(Coding::Json, &json[..]), (Coding::Protobuf, protobuf)] {
        let mut requests = Requests::of(coding, message);
        assert_eq!(requests.left(), message.len());
        assert!(requests.next().is_some());
        let rest = &message[message.len() - requests.left()..];
        let ids: Vec<_> = Requests::of(coding, rest)
            .map(|r| r.map(|r| r.id))
            .collect();
        assert_eq!(ids, [Ok(2)], "{coding:?}");
        assert_eq!((requests.count(), requests_left(coding, message)), (1, 0));
    }
}

fn requests_left(coding: Coding, message: &[u8]) -> usize {
    let mut requests = Requests::of(coding, message);
    requests.by_ref().for_each(drop);
    requests.left()
}
