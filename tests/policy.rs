//! Profiles and dialplans as an administrator meets them: what the built-in files say, and what each mistake is answered with.

use ringway::policy::dialplan::{Caller, DEFAULT, Dialplan, Intent, Target};

fn default() -> Dialplan {
    Dialplan::parse(DEFAULT.0, DEFAULT.1).expect("the built-in dialplan reads")
}

fn error(text: &str) -> String {
    Dialplan::parse("plan.toml", text).expect_err(text).to_string()
}

#[test]
fn the_default_dialplan_passes_its_own_tests() {
    let outcomes = default().run_tests();
    assert!(outcomes.len() >= 5);
    for outcome in outcomes {
        assert!(outcome.passed(), "{outcome}");
    }
}

#[test]
fn a_decision_names_its_rule_with_file_and_line() {
    let decision = default().route(&Intent { dialled: "600", account: None, from: Caller::Account("alice") });
    assert_eq!(decision.target, Target::Echo);
    let line = 1 + DEFAULT.1.lines().position(|line| line == "[[rule]]").expect("there is a rule");
    assert_eq!(decision.because, format!("rule \"echo\", dialplan/default.toml:{line}"));
}

#[test]
fn what_no_rule_matches_is_not_found() {
    let decision = default().route(&Intent { dialled: "999", account: None, from: Caller::Peer("pbx") });
    assert_eq!(decision.target, Target::Refuse { status: 404 });
    assert_eq!(decision.because, "no rule of dialplan/default.toml matches");
}

#[test]
fn rules_look_at_who_calls_and_change_the_number() {
    let plan = r#"
        [[rule]]
        name = "from the pbx"
        dial = "0."
        from = "peer:pbx"
        to = "refuse:403"

        [[rule]]
        name = "outside"
        dial = "0."
        from = "account"
        to = "peer:pbx"
        strip = 1
        prepend = "+49"

        [[test]]
        dial = "0123"
        expect = "peer:pbx +49123"

        [[test]]
        dial = "0123"
        from = "peer:pbx"
        expect = "refuse:403"

        [[test]]
        dial = "0123"
        from = "peer:other"
        expect = "echo"
    "#;
    let plan = Dialplan::parse("plan.toml", plan).expect("it reads");
    let outcomes = plan.run_tests();
    assert_eq!(outcomes.iter().map(|outcome| outcome.passed()).collect::<Vec<_>>(), [true, true, false]);
    assert_eq!(outcomes[2].to_string(), "plan.toml:25: 0123: expected echo, found refuse:404, by no rule of plan.toml matches");
    assert_eq!(plan.peers_named().map(|(name, _)| name).collect::<Vec<_>>(), ["pbx", "pbx"]);
}

#[test]
fn an_account_rule_lets_numbers_of_no_account_pass_by() {
    let plan = "[[rule]]\nname = \"a\"\ndial = \"2XX\"\nto = \"account\"\n[[rule]]\nname = \"b\"\ndial = \"2.\"\nto = \"echo\"\n";
    let plan = Dialplan::parse("plan.toml", plan).expect("it reads");
    let to = |account| plan.route(&Intent { dialled: "200", account, from: Caller::Account("x") }).target;
    assert_eq!(to(Some("hall")), Target::Account("hall".to_owned()));
    assert_eq!(to(None), Target::Echo);
}

#[test]
fn the_directory_is_asked_only_where_a_rule_looks_at_accounts() {
    let asks = |dialled: &str| default().asks_for_account(dialled, Caller::Account("x"));
    assert!(asks("alice") && asks("999") && !asks("600"));
    let plan = "[[rule]]\nname = \"a\"\ndial = \"2XX\"\nto = \"account\"\n[[rule]]\nname = \"b\"\ndial = \".\"\nto = \"echo\"\n";
    let plan = Dialplan::parse("plan.toml", plan).expect("it reads");
    assert!(plan.asks_for_account("200", Caller::Peer("x")) && !plan.asks_for_account("300", Caller::Peer("x")));
}

#[test]
fn a_group_rings_whom_it_names_and_goes_on_to_others() {
    let plan = r#"
        [[rule]]
        name = "support"
        dial = "300"
        to = "group"
        members = ["account:Alice", "peer:pbx", "peer:pbx 0"]
        ring = "in turn"
        ring_secs = 15
        busy = "account:bob"
        no_answer = "peer:pbx 1"

        [[test]]
        dial = "300"
        expect = "group"
    "#;
    let plan = Dialplan::parse("plan.toml", plan).expect("it reads");
    assert!(plan.run_tests().iter().all(|outcome| outcome.passed()));
    let decision = plan.route(&Intent { dialled: "300", account: None, from: Caller::Account("x") });
    let peer = |number: &str| Target::Peer { peer: "pbx".into(), number: number.into() };
    let members = vec![Target::Account("alice".into()), peer("300"), peer("0")];
    assert_eq!(decision.target, Target::Group { members, order: ringway::policy::dialplan::Order::InTurn });
    assert_eq!((decision.ring_secs, decision.forward.no_answer), (Some(15), Some(peer("1"))));
    assert_eq!(decision.forward.busy, Some(Target::Account("bob".into())));
    assert_eq!(plan.peers_named().count(), 3, "each is looked up in the configuration");
}

#[test]
fn each_mistake_is_named_with_its_line() {
    let rule = |lines: &str| format!("# head\n[[rule]]\nname = \"x\"\n{lines}\n");
    let cases = [
        (rule("dial = \"6\"\nto = \"ecco\""), "plan.toml:5: rule.to: expected \"echo\", \"tone:440\""),
        (rule("dial = \"6\"\nto = \"tone:9000\""), "plan.toml:5: rule.to: expected"),
        (rule("dial = \"6 6\"\nto = \"echo\""), "plan.toml:4: rule.dial: expected a number such as"),
        (rule("dial = 600\nto = \"echo\""), "plan.toml:4: rule.dial: expected a number such as"),
        (rule("to = \"echo\""), "plan.toml:2: rule: expected either `dial` or `account = true`, found neither"),
        (rule("dial = \"6\"\nto = \"echo\"\nstrip = 1"), "plan.toml:6: rule.strip: expected it only beside"),
        (
            rule("dial = \"6\"\nto = \"peer:pbx\"\nstrip = \"one\""),
            "plan.toml:6: rule.strip: expected a whole number, found \"one\"",
        ),
        (rule("dial = \"6\"\nto = \"group\""), "plan.toml:2: rule: expected `members` (and `ring`) just beside"),
        (rule("dial = \"6\"\nto = \"group\"\nmembers = [\"alice\"]"), "plan.toml:6: rule.members: expected \"account:NAME\""),
        (rule("dial = \"6\"\nto = \"echo\"\nbusy = \"account:a\""), "plan.toml:2: rule: expected `ring_secs`, `prefer`, `busy`"),
        (rule("dail = \"6\"\nto = \"echo\""), "plan.toml:4: rule.dail: no such key; did you mean dial?"),
        (rule("dial = \"6\""), "plan.toml:2: rule.to: expected this key, found nothing"),
        (
            rule("dial = \"6\"\nfrom = \"pbx\"\nto = \"echo\""),
            "plan.toml:5: rule.from: expected \"any\", \"account\" or \"peer:NAME\", found \"pbx\"",
        ),
        ("[[test]]\ndial = \"6\"\nexpect = \"account\"\n".to_owned(), "plan.toml:3: test.expect: expected `account = \"NAME\"`"),
        ("[[rule]\n".to_owned(), "plan.toml:1: not valid TOML"),
    ];
    for (text, expected) in cases {
        let found = error(&text);
        assert!(found.starts_with(expected), "{text}\nexpected {expected}\nfound    {found}");
    }
    let twice = "[[rule]]\nname = \"x\"\naccount = true\nto = \"account\"\n".repeat(2);
    let expected = "plan.toml:5: rule.name: expected a name that no other rule has, found \"x\", which line 1 has too";
    assert_eq!(error(&twice), expected);
}
