use super::*;
use crate::protocol::rights::Action;

/// Keys and tokens made by another library: PyJWT 2, with keys of its own. All say that
/// `anna` may subscribe to `news.**`.
const TOKENS: &str = include_str!("signed/tokens");
const SECRET: &[u8] = include_bytes!("signed/secret");
const RSA: &[u8] = include_bytes!("signed/rsa.pem");
const SET: &[u8] = include_bytes!("signed/set.json");

const NOW_S: u64 = 1_800_000_000;

fn token_of(algorithm: Algorithm) -> &'static [u8] {
    let mut lines = TOKENS.lines().filter_map(|line| line.split_once(' '));
    let (_, token) = lines.find(|(name, _)| *name == algorithm.name()).unwrap();
    token.as_bytes()
}

fn keys(files: &[(&[u8], Option<Algorithm>)]) -> Keys {
    let mut keys = Keys::default();
    for (file, algorithm) in files {
        keys.add(file, *algorithm).unwrap();
    }
    keys
}

fn base64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A token of these parts, signed with [`SECRET`].
fn signed(header: &str, claims: impl AsRef<[u8]>) -> Vec<u8> {
    let message = format!("{}.{}", base64(header.as_bytes()), base64(claims.as_ref()));
    let secret = SECRET.strip_suffix(b"\n").unwrap();
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
    let tag = ring::hmac::sign(&key, message.as_bytes());
    format!("{message}.{}", base64(tag.as_ref())).into_bytes()
}

const HS256: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

fn hs256() -> Keys {
    keys(&[(SECRET, Some(Algorithm::Hs256))])
}

fn checked(claims: &str) -> Result<Rights, TokenFault> {
    let token = signed(HS256, claims);
    hs256().check(&token, NOW_S).map(|accepted| accepted.rights)
}

#[test]
fn tokens_of_every_algorithm_are_read_with_keys_in_every_form() {
    use Algorithm::*;
    let pems: [(Algorithm, &[u8]); 6] = [
        (Rs256, RSA),
        (Ps256, RSA),
        (Rs256, include_bytes!("signed/rsa-pkcs1.pem")),
        (Es256, include_bytes!("signed/p256.pem")),
        (Es384, include_bytes!("signed/p384.pem")),
        (EdDsa, include_bytes!("signed/ed25519.pem")),
    ];
    let secrets = [Hs256, Hs384, Hs512].map(|algorithm| (algorithm, SECRET));
    for (algorithm, file) in pems.into_iter().chain(secrets) {
        let token = token_of(algorithm);
        let rights = keys(&[(file, Some(algorithm))])
            .check(token, NOW_S)
            .unwrap()
            .rights;
        assert_eq!(&*rights.user, "anna");
        assert_eq!(rights.info.as_deref(), Some(r#"{"name":"Anna  B"}"#));
        assert_eq!(rights.lists(Action::Subscribe, "news.sport"), Some(true));
        let mut broken = token.to_vec();
        let at = broken.len() - 10;
        broken[at] = if broken[at] == b'A' { b'B' } else { b'A' };
        let found = keys(&[(file, Some(algorithm))]).check(&broken, NOW_S);
        assert_eq!(found, Err(TokenFault::Signature), "{algorithm:?}");
    }
    let set = keys(&[(SET, None)]);
    for algorithm in [Rs256, Ps256, Es256, Es384, EdDsa] {
        assert!(
            set.check(token_of(algorithm), NOW_S).is_ok(),
            "{algorithm:?}"
        );
    }
}

#[test]
fn a_key_checks_nothing_but_its_own_algorithms() {
    let rsa = keys(&[(RSA, None)]);
    assert!(rsa.check(token_of(Algorithm::Rs256), NOW_S).is_ok());
    for algorithm in [Algorithm::Ps256, Algorithm::Hs256, Algorithm::Es256] {
        let found = rsa.check(token_of(algorithm), NOW_S);
        assert_eq!(found, Err(TokenFault::Algorithm));
    }
    // The public key as everybody has it, taken for a secret.
    let message = format!("{}.{}", base64(HS256.as_bytes()), base64(b"{}"));
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, RSA);
    let tag = ring::hmac::sign(&key, message.as_bytes());
    let forged = format!("{message}.{}", base64(tag.as_ref()));
    for keys in [rsa, keys(&[(RSA, None), (SECRET, Some(Algorithm::Hs256))])] {
        assert!(keys.check(forged.as_bytes(), NOW_S).is_err());
    }
}

#[test]
fn a_token_may_not_name_its_own_key_nor_go_unsigned() {
    let none = format!("{}.{}.", base64(br#"{"alg":"none"}"#), base64(b"{}"));
    let found = hs256().check(none.as_bytes(), NOW_S);
    assert_eq!(found, Err(TokenFault::Algorithm));
    for (header, fault) in [
        (r#"{"alg":"HS256","kid":"other"}"#, None),
        (
            r#"{"alg":"HS256","jku":"https://a/keys","x5u":"https://a"}"#,
            None,
        ),
        (r#"{"alg":"HS512"}"#, Some(TokenFault::Algorithm)),
        (r#"{"alg":"hs256"}"#, Some(TokenFault::Algorithm)),
        (
            r#"{"alg":"HS256","crit":["exp"],"exp":1}"#,
            Some(TokenFault::Form),
        ),
        (r#"{"alg":"HS256","alg":"none"}"#, Some(TokenFault::Form)),
        ("{}", Some(TokenFault::Form)),
        ("", Some(TokenFault::Form)),
    ] {
        let found = hs256().check(&signed(header, "{}"), NOW_S);
        assert_eq!(found.err(), fault, "{header}");
    }
    let token = signed(r#"{"alg":"RS256","kid":"x"}"#, "{}");
    let found = keys(&[(SET, None)]).check(&token, NOW_S);
    assert_eq!(found, Err(TokenFault::Key));
}

#[test]
fn times_are_those_of_the_token_with_a_little_leeway() {
    for (claims, fault) in [
        (format!(r#"{{"exp":{}}}"#, NOW_S + 1), None),
        (format!(r#"{{"exp":{}.5}}"#, NOW_S - 1), None),
        (
            format!(r#"{{"exp":{}}}"#, NOW_S - LEEWAY_S),
            Some(TokenFault::Expired),
        ),
        (r#"{"exp":-1}"#.into(), Some(TokenFault::Expired)),
        (r#"{"exp":"1"}"#.into(), Some(TokenFault::Claims)),
        (r#"{"exp":1e300}"#.into(), None),
        (format!(r#"{{"nbf":{}}}"#, NOW_S + LEEWAY_S), None),
        (
            format!(r#"{{"nbf":{}}}"#, NOW_S + LEEWAY_S + 1),
            Some(TokenFault::NotYet),
        ),
    ] {
        assert_eq!(checked(&claims).err(), fault, "{claims}");
    }
}

#[test]
fn audience_and_issuer_count_where_they_are_set() {
    let claims = r#"{"aud":["a","b"],"iss":"i"}"#;
    assert!(checked(claims).is_ok());
    let with = |audience: &[&str], issuer: &[&str], claims: &str| {
        let owned = |words: &[&str]| words.iter().map(ToString::to_string).collect();
        let mut keys = Keys::new(owned(audience), owned(issuer));
        keys.add(SECRET, Some(Algorithm::Hs256)).unwrap();
        keys.check(&signed(HS256, claims), NOW_S).err()
    };
    assert_eq!(with(&["x", "b"], &["i"], claims), None);
    assert_eq!(with(&["b"], &[], r#"{"aud":"b"}"#), None);
    for claims in [r#"{"aud":"bb"}"#, r#"{"aud":[]}"#, "{}"] {
        assert_eq!(with(&["b"], &[], claims), Some(TokenFault::Audience));
    }
    for claims in [r#"{"iss":"j"}"#, "{}"] {
        assert_eq!(with(&[], &["i"], claims), Some(TokenFault::Issuer));
    }
}

#[test]
fn claims_are_read_as_they_are_meant_or_not_at_all() {
    let rights = checked(
        r#"{"sub":"u","jti":"j","exp":1900000000,"b64info":"eyJhIjoxfQ==","meta":{"x":[1]},
           "channels":["a","b"],"subs":{"b":{},"c":{"info":{},"b64data":"eyJhIjoxfQ=="}},"iat":7,"publish":["a.*"],"custom":{}}"#,
    );
    let rights = rights.unwrap();
    assert_eq!((&*rights.user, rights.id.as_deref()), ("u", Some("j")));
    assert_eq!(rights.info.as_deref(), Some(r#"{"a":1}"#));
    assert_eq!(rights.meta.as_deref(), Some(r#"{"x":[1]}"#));
    let names = rights.channels.iter().map(|channel| &*channel.name);
    assert_eq!(names.collect::<Vec<_>>(), ["a", "b", "c"]);
    let channel = rights.channel("c").unwrap();
    assert_eq!(channel.info.as_deref(), Some("{}"));
    assert_eq!(channel.data.as_deref(), Some(r#"{"a":1}"#));
    assert_eq!(rights.issued_s, 7);
    assert!(!rights.have_ended(1_900_000_000 + LEEWAY_S - 1));
    assert!(rights.have_ended(1_900_000_000 + LEEWAY_S));
    assert_eq!(rights.connection_expires_s(), Some(1_900_000_000));
    // The connection may end at another time than the token.
    for (expire_at, expires_s) in [(0, None), (1_950_000_000, Some(1_950_000_000))] {
        let rights = checked(&format!(r#"{{"exp":1900000000,"expire_at":{expire_at}}}"#));
        assert_eq!(rights.unwrap().connection_expires_s(), expires_s);
    }
    let many = format!(r#"{{"subscribe":[{}"a"]}}"#, r#""a","#.repeat(LIST_MAX));
    for claims in [
        r#"{"sub":7}"#,
        r#"{"sub":"a","sub":"b"}"#,
        r#"{"subscribe":["a*"]}"#,
        r#"{"subscribe":"a"}"#,
        r#"{"b64info":"!"}"#,
        r#"{"b64info":"eyJh"}"#,
        r#"{"channels":[""]}"#,
        r#"{"channels":["\u0007"]}"#,
        r#"{"subs":{"":{}}}"#,
        r#"{"subs":{"a":{"b64info":"!"}}}"#,
        r#"{"subs":{"a":[1]}}"#,
        "[]",
        "",
        &many,
    ] {
        assert_eq!(checked(claims).err(), Some(TokenFault::Claims), "{claims}");
    }
    let deep = format!(r#"{{"x":{}{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    // Whether it is read or not: nothing overflows.
    let _ = checked(&deep);
    // No text stands for nothing, also where nobody looks for anything.
    let token = signed(HS256, b"{\"x\":\"\xff\"}");
    assert_eq!(hs256().check(&token, NOW_S), Err(TokenFault::Claims));
}

#[test]
fn a_token_is_no_longer_than_64_kib_and_has_three_parts() {
    let long = signed(
        HS256,
        format!(r#"{{"x":"{}"}}"#, "y".repeat(TOKEN_BYTES_MAX)),
    );
    assert_eq!(hs256().check(&long, NOW_S), Err(TokenFault::TooLong));
    for text in ["", "a", "a.b", "a.b.c", "....", "a.b.c.d", "é.é.é"] {
        let found = hs256().check(text.as_bytes(), NOW_S);
        assert_eq!(found, Err(TokenFault::Form), "{text}");
    }
    let found = Keys::default().check(&signed(HS256, "{}"), NOW_S);
    assert_eq!(found, Err(TokenFault::NoKeys));
}

#[test]
fn a_subscription_token_is_no_connection_token() {
    let claims = r#"{"sub":"u","channel":"c","exp":1900000000,"expire_at":1950000000,"info":1}"#;
    assert_eq!(checked(claims).err(), Some(TokenFault::Purpose));
    let subscription = |claims: &str| hs256().check_subscription(&signed(HS256, claims), NOW_S);
    let found = subscription(claims).unwrap();
    assert_eq!((&*found.user, &*found.channel), ("u", "c"));
    assert_eq!(found.info.as_deref(), Some("1"));
    assert_eq!(found.expires_s, Some(1_950_000_000));
    assert_eq!(found.client, None);
    let narrow = subscription(r#"{"channel":"c","client":"x","jti":"j","iat":5}"#).unwrap();
    assert_eq!(narrow.client.as_deref(), Some("x"));
    assert_eq!((narrow.id.as_deref(), narrow.issued_s), (Some("j"), 5));
    let never = r#"{"channel":"c","exp":1900000000,"expire_at":0}"#;
    assert_eq!(subscription(never).unwrap().expires_s, None);
    assert_eq!(
        subscription(r#"{"sub":"u"}"#).err(),
        Some(TokenFault::Purpose)
    );
}

/// Whatever comes has an answer.
#[test]
fn no_bytes_make_it_stumble() {
    let mut random = fastrand::Rng::with_seed(3);
    let sound = signed(HS256, r#"{"sub":"u","subscribe":["a.*"],"exp":1900000000}"#);
    for _ in 0..20_000 {
        let mut token = sound.clone();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(..token.len());
            match random.u8(..3) {
                0 => token[at] = random.u8(..),
                1 => token.truncate(at.max(1)),
                _ => token.insert(at, b'.'),
            }
        }
        if token != sound {
            // Trailing bits of base64 are refused, so no other spelling passes either.
            assert!(hs256().check(&token, NOW_S).is_err());
        }
    }
}

#[test]
fn long_tokens_and_those_with_public_keys_are_costly() {
    let both = keys(&[
        (RSA, Some(Algorithm::Rs256)),
        (SECRET, Some(Algorithm::Hs256)),
    ]);
    assert!(both.is_costly(token_of(Algorithm::Rs256)));
    assert!(both.is_costly(token_of(Algorithm::Es384)));
    assert!(!both.is_costly(token_of(Algorithm::Hs256)));
    // That one is refused without a look at its signature.
    assert!(!hs256().is_costly(token_of(Algorithm::Rs256)));
    for nonsense in [&b""[..], b".", b"a.b.c", b"e30.e30.", b"\xff"] {
        assert!(!both.is_costly(nonsense));
    }
    assert!(hs256().is_costly(&[b'a'; TOKEN_BYTES_QUICK + 1]));
    assert!(!hs256().is_costly(&[b'a'; TOKEN_BYTES_MAX + 1]));
}
