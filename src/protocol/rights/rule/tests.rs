//! Who may do what, by rules, tokens and `anonymous`.

use super::*;

fn pattern(text: &str) -> Pattern {
    Pattern::new(text).unwrap()
}

fn rule(text: &str, subscribe: Option<Who>) -> Rule {
    Rule {
        pattern: pattern(text),
        subscribe,
        publish: None,
        presence: None,
        history: None,
    }
}

fn lists(subscribe: Option<&[&str]>) -> Rights {
    let mut rights = Rights::default();
    let patterns = subscribe.map(|texts| texts.iter().map(|text| pattern(text)).collect());
    rights.patterns.subscribe = patterns;
    rights
}

const SUBSCRIBE: Action = Action::Subscribe;

#[test]
fn without_anything_said_everything_is_open() {
    let rules = Rules::default();
    for action in Action::ALL {
        assert_eq!(rules.may(None, action, "a"), Ok(()));
    }
    // A rule that says nothing of who leaves it so.
    let rules = Rules::new(vec![rule("**", None)], Vec::new(), false);
    assert_eq!(rules.may(None, SUBSCRIBE, "a"), Ok(()));
}

#[test]
fn the_first_rule_that_names_a_topic_decides() {
    let rules = Rules::new(
        vec![
            rule("a.open", Some(Who::Anyone)),
            rule("a.*", Some(Who::Token)),
            rule("a.**", Some(Who::Nobody)),
        ],
        Vec::new(),
        true,
    );
    let any = lists(None);
    assert_eq!(rules.may(None, SUBSCRIBE, "a.open"), Ok(()));
    assert_eq!(rules.may(None, SUBSCRIBE, "a.b"), Err(Denied::NeedsToken));
    assert_eq!(rules.may(Some(&any), SUBSCRIBE, "a.b"), Ok(()));
    let forbidden = Err(Denied::Forbidden);
    assert_eq!(rules.may(Some(&any), SUBSCRIBE, "a.b.c"), forbidden);
    let all = lists(Some(&["**"]));
    assert_eq!(rules.may(Some(&all), SUBSCRIBE, "a.b.c"), forbidden);
    // It says nothing of publishing, and of other topics.
    assert_eq!(rules.may(Some(&any), Action::Publish, "a.b"), forbidden);
    assert_eq!(rules.may(None, SUBSCRIBE, "b"), Err(Denied::NeedsToken));
}

#[test]
fn a_list_of_the_token_narrows_what_a_rule_leaves_to_tokens_and_widens_the_rest() {
    let rules = Rules::new(vec![rule("a.*", Some(Who::Token))], Vec::new(), true);
    let some = lists(Some(&["a.b", "c"]));
    for (topic, may) in [("a.b", true), ("a.x", false), ("c", true), ("d", false)] {
        assert_eq!(rules.may(Some(&some), SUBSCRIBE, topic).is_ok(), may);
    }
    let none = lists(Some(&[]));
    assert!(rules.may(Some(&none), SUBSCRIBE, "a.b").is_err());
    // A token that lists nothing gets what rules leave to tokens, and nothing else.
    assert!(rules.may(Some(&lists(None)), SUBSCRIBE, "c").is_err());
}

fn everything() -> Grant {
    Grant {
        pattern: pattern("**"),
        subscribe: true,
        publish: true,
        presence: true,
        history: true,
    }
}

const GUARDED: [&str; 6] = [
    "app/private-a",
    "app/private-a/b",
    "app/private-encrypted-a",
    "app/presence-a",
    "app/presence-cache-a",
    "app/#server-to-user-1",
];

#[test]
fn guarded_channels_of_an_app_take_a_token_whatever_is_open_else() {
    let anyone = Rule {
        publish: Some(Who::Anyone),
        presence: Some(Who::Anyone),
        history: Some(Who::Anyone),
        ..rule("**", Some(Who::Anyone))
    };
    let prefixes = || [Box::from("app/")];
    for keyed in [true, false] {
        let nothing_said = Rules::new(Vec::new(), Vec::new(), keyed);
        let granted = Rules::new(Vec::new(), vec![everything()], keyed);
        let ruled = Rules::new(vec![anyone.clone()], Vec::new(), keyed);
        for (rules, rule_lets_tokens_in) in [(nothing_said, false), (granted, false), (ruled, true)]
        {
            let rules = rules.with_apps(prefixes());
            for topic in GUARDED {
                for action in Action::ALL {
                    assert!(rules.may(None, action, topic).is_err(), "{topic}");
                    let any = rules.may(Some(&lists(None)), action, topic);
                    assert_eq!(any.is_ok(), rule_lets_tokens_in, "{topic}");
                }
                let named = lists(Some(&["app/**"]));
                assert_eq!(rules.may(Some(&named), SUBSCRIBE, topic), Ok(()));
                let other = lists(Some(&["app/public"]));
                assert!(rules.may(Some(&other), SUBSCRIBE, topic).is_err());
                let told = rules.describe(topic);
                assert!(!told.contains("anyone"), "{told}");
            }
        }
    }
    let nobody = rule("app/**", Some(Who::Nobody));
    let rules = Rules::new(vec![nobody], Vec::new(), true).with_apps(prefixes());
    let all = lists(Some(&["**"]));
    assert_eq!(
        rules.may(Some(&all), SUBSCRIBE, GUARDED[0]),
        Err(Denied::Forbidden)
    );
    assert!(rules.forbid(SUBSCRIBE, GUARDED[0]));
}

#[test]
fn a_public_channel_of_an_app_is_heard_by_all_and_published_to_by_who_may() {
    let apps = |rules: Rules| rules.with_apps([Box::from("app/")]);
    let rules = apps(Rules::default());
    assert!(!rules.are_open());
    for action in [SUBSCRIBE, Action::History] {
        assert_eq!(rules.may(None, action, "app/news"), Ok(()));
    }
    for action in [Action::Publish, Action::Presence] {
        assert_eq!(rules.may(None, action, "app/news"), Err(Denied::Forbidden));
    }
    // Of other topics nothing is said, so that they are for nobody.
    for topic in ["news", "app", "app/no channel", "other/news"] {
        assert_eq!(rules.may(None, SUBSCRIBE, topic), Err(Denied::Forbidden));
    }
    let rules = apps(Rules::new(Vec::new(), vec![everything()], false));
    assert_eq!(rules.may(None, Action::Publish, "app/news"), Ok(()));
    let rules = apps(Rules::new(
        vec![rule("app/*", Some(Who::Token))],
        Vec::new(),
        true,
    ));
    assert_eq!(
        rules.may(None, SUBSCRIBE, "app/news"),
        Err(Denied::NeedsToken)
    );
    assert!(
        rules
            .describe("app/news")
            .contains("a public channel of an app")
    );
}

#[test]
fn what_anonymous_grants_is_for_those_that_no_rule_is_about() {
    let grant: Grant = Grant {
        pattern: pattern("**"),
        subscribe: true,
        publish: false,
        presence: false,
        history: true,
    };
    let rules = Rules::new(vec![rule("a", Some(Who::Nobody))], vec![grant], false);
    assert_eq!(rules.may(None, SUBSCRIBE, "b"), Ok(()));
    assert_eq!(rules.may(None, Action::History, "b"), Ok(()));
    let forbidden = Err(Denied::Forbidden);
    assert_eq!(rules.may(None, SUBSCRIBE, "a"), forbidden);
    // Without keys nobody is sent for a token.
    assert_eq!(rules.may(None, Action::Publish, "b"), forbidden);
    assert!(rules.describe("a").contains("rule 1 of topics"));
    assert!(rules.describe("b").contains("publish: nobody"));
}
