//! What backends order to be done with clients' sessions, through the server API.

use tungstenite::Message;

use crate::apps::Apps;
use crate::common::{self, Client, hear_close};
use crate::speaking::{
    PATH, ask, call, connect_as, connected, epoch, hear, lives, order, push, say, subscribe,
};
use crate::tokens::{now_s, token};
use crate::world::World;

const RULES: &str = r#"
presence = "on"
cores = 3
[[topics]]
match = "open.**"
subscribe = "anyone"
publish = "anyone"
history = "anyone"
presence = "anyone"
"#;

/// So many that they are on several cores.
fn crowd(world: &World, user: &str) -> Vec<Client> {
    let claims = format!(r#"{{"sub":"{user}"}}"#);
    (0..6).map(|_| connected(&world.daemon, &claims)).collect()
}

/// The name of a client that has just connected with a token.
fn named(world: &World, token: &str) -> (Client, String) {
    let mut client = world.daemon.connect(PATH);
    let line = format!(r#"{{"id":1,"connect":{{"token":"{token}"}}}}"#);
    let answer = ask(&mut client, &line);
    let (_, rest) = answer.split_once(r#""client":""#).expect(&answer);
    let name = rest.split_once('"').unwrap().0.to_owned();
    (client, name)
}

#[test]
fn all_sessions_of_a_user_follow_a_channel_and_leave_it_when_they_are_told_to() {
    let world = World::new(RULES);
    let daemon = &world.daemon;
    let (mut anna, mut ben) = (crowd(&world, "anna"), crowd(&world, "ben"));
    let body = r#"{"user":"anna","channel":"room","data":{"hi":1},"info":{"seat":3}}"#;
    order(daemon, "subscribe", body);
    for client in &mut anna {
        let heard = hear(client);
        assert!(
            heard.starts_with(
                r#"{"push":{"channel":"room","subscribe":{"recoverable":true,"epoch":""#
            ),
            "{heard}"
        );
        assert!(
            heard.ends_with(r#""positioned":true,"data":{"hi":1}}}}"#),
            "{heard}"
        );
    }
    // Again it changes nothing.
    order(daemon, "subscribe", body);
    call(daemon, "publish", r#"{"channel":"room","data":1}"#);
    for client in &mut anna {
        assert_eq!(hear(client), push("room", "1", 1));
    }
    let stats = call(daemon, "presence_stats", r#"{"channel":"room"}"#);
    assert_eq!(stats, r#"{"result":{"num_clients":6,"num_users":1}}"#);
    let list = call(daemon, "presence", r#"{"channel":"room"}"#);
    assert_eq!(
        list.matches(r#""chan_info":{"seat":3}"#).count(),
        6,
        "{list}"
    );
    let users = call(daemon, "info", "");
    assert!(
        users.contains(r#""num_clients":12,"num_users":2,"#),
        "{users}"
    );
    order(daemon, "unsubscribe", r#"{"user":"anna","channel":"room"}"#);
    call(daemon, "publish", r#"{"channel":"room","data":2}"#);
    for client in &mut anna {
        assert_eq!(
            hear(client),
            r#"{"push":{"channel":"room","unsubscribe":{"code":2000,"reason":"server unsubscribe"}}}"#
        );
        lives(client);
    }
    ben.iter_mut().for_each(lives);
}

#[test]
fn an_order_may_be_for_one_client_alone() {
    let world = World::new(RULES);
    let daemon = &world.daemon;
    let anna = token(r#"{"sub":"anna"}"#);
    let (mut first, one) = named(&world, &anna);
    let (mut second, _) = named(&world, &anna);
    let subscribe_one = |more: &str| {
        let body = format!(r#"{{"user":"anna","channel":"room",{more}}}"#);
        order(daemon, "subscribe", &body);
    };
    subscribe_one(&format!(r#""client":"{one}""#));
    assert!(hear(&mut first).contains(r#""subscribe":"#));
    // These are nobody's.
    subscribe_one(r#""client":"nonsense""#);
    subscribe_one(r#""session":"any""#);
    let body = format!(r#"{{"user":"ben","channel":"room","client":"{one}"}}"#);
    order(daemon, "unsubscribe", &body);
    lives(&mut second);
    lives(&mut first);
    // Those without a name are one user.
    let (mut nobody, _) = connect_as(daemon);
    order(daemon, "subscribe", r#"{"user":"","channel":"room"}"#);
    assert!(hear(&mut nobody).contains(r#""subscribe":"#));
    lives(&mut second);
    let body = format!(r#"{{"user":"anna","whitelist":["{one}"]}}"#);
    order(daemon, "disconnect", &body);
    assert_eq!(hear_close(&mut second), (3503, "force disconnect".into()));
    lives(&mut first);
    daemon.await_reason("disconnected");
}

#[test]
fn a_disconnect_reaches_all_that_a_user_has_with_the_code_that_is_asked_for() {
    let world = World::new(RULES);
    let daemon = &world.daemon;
    let mut others = crowd(&world, "ben");
    let anna = token(r#"{"sub":"anna"}"#);
    let mut sessions = crowd(&world, "anna");
    let mut raw = daemon.connect(&format!("/open.a?token={anna}"));
    let mut nobody = daemon.connect("/open.a");
    let body = r#"{"user":"anna","disconnect":{"code":4321,"reason":"come back later"}}"#;
    order(daemon, "disconnect", body);
    for client in sessions.iter_mut().chain([&mut raw]) {
        assert_eq!(hear_close(client), (4321, "come back later".into()));
    }
    // A name that is free again.
    let mut raw = daemon.connect(&format!("/open.a?token={anna}"));
    order(daemon, "disconnect", r#"{"user":"anna"}"#);
    assert_eq!(hear_close(&mut raw), (1008, "force disconnect".into()));
    others.iter_mut().for_each(lives);
    nobody.send(Message::text("still here")).unwrap();
    let info = call(daemon, "info", "");
    assert!(info.contains(r#""num_users":1,"#), "{info}");
}

#[test]
fn a_refresh_has_sessions_expire_later_or_now() {
    let world = World::new(&format!("refresh_ms_max = 4000\n{RULES}"));
    let daemon = &world.daemon;
    let short = format!(r#"{{"sub":"anna","exp":{}}}"#, now_s() + 3);
    let mut client = connected(daemon, &short);
    let mut other = connected(daemon, &short.replace("anna", "ben"));
    subscribe(&mut client, 2, "open.a");
    order(daemon, "refresh", r#"{"user":"anna","info":{"name":"A"}}"#);
    assert_eq!(hear(&mut client), r#"{"push":{"refresh":{}}}"#);
    let list = call(daemon, "presence", r#"{"channel":"open.a"}"#);
    assert!(list.contains(r#""conn_info":{"name":"A"}"#), "{list}");
    assert_eq!(hear_close(&mut other).0, 3005);
    lives(&mut client);
    let body = format!(r#"{{"user":"anna","expire_at":{}}}"#, now_s() + 3600);
    order(daemon, "refresh", &body);
    let heard = hear(&mut client);
    assert!(
        heard.starts_with(r#"{"push":{"refresh":{"expires":true,"ttl":3"#),
        "{heard}"
    );
    order(daemon, "refresh", r#"{"user":"anna","expired":true}"#);
    assert_eq!(hear_close(&mut client).0, 3005);
    let mut client = connected(daemon, r#"{"sub":"anna"}"#);
    order(daemon, "refresh", r#"{"user":"anna","expire_at":1}"#);
    assert_eq!(hear_close(&mut client).0, 3005);
}

#[test]
fn a_subscription_that_the_server_began_recovers_expires_and_is_the_servers() {
    let world = World::new(&format!(
        "refresh_ms_max = 0\ntopics_per_connection_max = 2\n{RULES}"
    ));
    let daemon = &world.daemon;
    for n in 1..=3 {
        call(
            daemon,
            "publish",
            &format!(r#"{{"channel":"room","data":{n}}}"#),
        );
    }
    let history = call(daemon, "history", r#"{"channel":"room"}"#);
    let epoch = epoch(&history);
    let mut client = connected(daemon, r#"{"sub":"anna"}"#);
    let body = format!(
        r#"{{"user":"anna","channel":"room","recover_since":{{"offset":1,"epoch":"{epoch}"}}}}"#
    );
    order(daemon, "subscribe", &body);
    assert!(hear(&mut client).contains(r#""offset":1,"#));
    for n in 2..=3 {
        assert_eq!(hear(&mut client), push("room", &n.to_string(), n));
    }
    // Its client may leave it, but not refresh it.
    let refresh = r#"{"id":3,"sub_refresh":{"channel":"room","token":"t"}}"#;
    let mut other = connected(daemon, r#"{"sub":"ben"}"#);
    order(daemon, "subscribe", r#"{"user":"ben","channel":"room"}"#);
    hear(&mut other);
    say(&mut other, refresh);
    assert_eq!(hear_close(&mut other).0, 3501);
    // More than it may follow.
    for topic in ["a", "b"] {
        let body = format!(r#"{{"user":"anna","channel":"{topic}"}}"#);
        let answer = call(daemon, "subscribe", &body);
        let full = r#"{"error":{"code":106,"message":"limit exceeded"}}"#;
        assert_eq!(answer == full, topic == "b", "{answer}");
    }
    assert!(hear(&mut client).contains(r#""channel":"a","subscribe""#));
    order(daemon, "unsubscribe", r#"{"user":"anna","channel":"a"}"#);
    assert!(hear(&mut client).contains(r#""channel":"a","unsubscribe""#));
    let end_s = now_s() + 2;
    let body = format!(r#"{{"user":"anna","channel":"a","expire_at":{end_s}}}"#);
    order(daemon, "subscribe", &body);
    let heard = common::hear(&mut client);
    assert!(heard.contains(r#""subscribe":"#), "{heard}");
    assert_eq!(hear_close(&mut client).0, 3006);
}

#[test]
fn a_client_of_an_app_is_in_the_channels_that_it_has_asked_for_alone() {
    let apps = Apps::new("", "");
    let mut ann = apps.connect();
    let daemon = apps.daemon();
    let of_all = r#"{"user":"","channel":"news"}"#;
    order(daemon, "subscribe", of_all);
    let of_one = format!(r#"{{"user":"","client":"{}","channel":"news"}}"#, ann.id);
    let told = call(daemon, "subscribe", &of_one);
    assert!(told.contains(r#""code":108"#), "{told}");
    ann.subscribe("news");
    order(daemon, "unsubscribe", of_all);
    let ended = common::hear(&mut ann.client);
    assert!(
        ended.starts_with(r#"{"event":"pusher:subscription_error""#)
            && ended.contains(r#""type":"SubscriptionEnded""#),
        "{ended}"
    );
    ann.subscribe("news");
}
