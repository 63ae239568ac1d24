use super::*;

fn ask(policy: &Policy, subject: Subject<'_>, kind: &str, location: &Location) -> Decision {
    let question = Question { kind, location, severity: Severity::Medium, confidence: 0.9, proposed: Action::Warn };
    policy.decide(&subject, &question)
}

fn body() -> Location {
    Location { root: crate::engine::Root::Body, steps: vec![crate::engine::Step::Json("/a".into())] }
}

fn header(name: &str) -> Location {
    Location { root: crate::engine::Root::Header { name: name.into(), repeat: 0 }, steps: Vec::new() }
}

fn policy(text: &str) -> Policy {
    Policy::parse("test.toml", text).unwrap()
}

#[test]
fn the_presets_parse_and_contradict_themselves_nowhere() {
    for (name, text) in PRESETS {
        let policy = Policy::parse(name, text).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(policy.name(), *name);
        assert_eq!(policy.warnings(), Vec::<String>::new());
    }
}

#[test]
fn the_first_matching_rule_decides() {
    let policy = policy(
        "[[rule]]\nkind = 'id.device'\nhost = '*.example.com'\naction = 'strip'\n\n\
         [[rule]]\nkind = 'id.*'\naction = 'redact'\n",
    );
    let at_example = Subject { host: "api.example.com", ..Subject::default() };
    let elsewhere = Subject { host: "example.org", ..Subject::default() };

    assert_eq!(ask(&policy, at_example, "id.device", &body()).action, Action::Strip);
    let decision = ask(&policy, elsewhere, "id.device", &body());
    assert_eq!((decision.action, decision.by.as_deref()), (Action::Redact, Some("test:6")));
    assert_eq!(
        ask(&policy, elsewhere, "tz.iana", &body()),
        Decision { action: Action::Warn, by: None, folders: false },
        "the pack's proposal"
    );
}

#[test]
fn every_condition_of_a_rule_must_hold() {
    let policy = policy(
        "[[rule]]\nclient = 'claude-code'\nclient_version = '>=2.1, <3'\ngroup = ['dev', 'ops']\n\
         location = 'header:*'\nmin_confidence = 0.5\nseverity = 'medium'\naction = 'block'\n",
    );
    let subject = Subject {
        host: "api.example.com",
        client: Some("claude-code"),
        client_version: Some("2.1.169"),
        group: Some("ops"),
    };
    let action = |subject, location: &Location| ask(&policy, subject, "id.device", location).action;

    assert_eq!(action(subject, &header("x-device")), Action::Block);
    assert_eq!(action(subject, &body()), Action::Warn, "location");
    assert_eq!(action(Subject { client: None, ..subject }, &header("x")), Action::Warn, "client");
    assert_eq!(action(Subject { client_version: Some("3.0"), ..subject }, &header("x")), Action::Warn, "version");
    assert_eq!(action(Subject { group: Some("guest"), ..subject }, &header("x")), Action::Warn, "group");
    let unsure = Question {
        kind: "id.device",
        location: &header("x"),
        severity: Severity::High,
        confidence: 0.4,
        proposed: Action::Log,
    };
    assert_eq!(policy.decide(&subject, &unsure).action, Action::Log, "confidence");
}

#[test]
fn what_binds_the_body_is_never_edited() {
    let policy = policy("[[rule]]\naction = 'strip'\n");
    assert_eq!(ask(&policy, Subject::default(), "integrity.cch", &body()).action, Action::Log);
    assert_eq!(ask(&policy, Subject::default(), "audit.unread", &body()).action, Action::Log);
    assert_eq!(ask(&policy, Subject::default(), "id.device", &body()).action, Action::Strip);
}

#[test]
fn a_mistake_is_named_with_its_line_and_what_was_expected() {
    for (text, line, says) in [
        ("mode = 'audit'\n[[rule]]\nhots = 'x'\naction = 'log'\n", 3, "`hots`, expected one of"),
        ("[[rule]]\nkind = 'id.*'\naction = 'delete'\n", 3, "`delete`, expected one of"),
        ("[[rule]]\n\nkind = ['id.*', 'ids.device']\naction = 'log'\n", 3, "`ids.device` is no kind"),
        ("[[rule]]\nkind = 3\naction = 'log'\n", 2, "a glob such as"),
        ("[[rule]]\nkind = []\naction = 'log'\n", 2, "an empty list"),
        ("[[rule]]\nkind = 'id.*'\n", 1, "missing field `action`"),
        ("[[rule]]\nmin_confidence = 80\naction = 'log'\n", 2, "from 0 to 1"),
        ("[[rule]]\nclient_version = '>latest'\naction = 'log'\n", 2, "no range of versions"),
        ("[[rule]]\nfolders = true\naction = 'redact'\n", 2, "belongs to the action `pseudonym`"),
        ("restore_to = []\n", 1, "an empty list"),
        ("on_integrity = 'pass'\n", 1, "`log`, `block`, `edit`"),
        ("name = 'x'\n[[rule\n", 2, ""),
    ] {
        let error = Policy::parse("own.toml", text).expect_err(text);
        assert_eq!(error.line, line, "{error}\n{text}");
        assert!(error.to_string().starts_with("own.toml:"), "{error}");
        assert!(error.message.contains(says), "{error} does not say {says}");
    }
}

#[test]
fn only_a_policy_that_can_reach_an_edit_may_change_a_request() {
    let api = Subject { host: "api.example.com", ..Subject::default() };
    for (text, expected) in [
        ("[[rule]]\naction = 'log'\n", false),
        ("mode = 'audit'\n[[rule]]\naction = 'block'\n", false),
        ("[[rule]]\nhost = 'api.example.com'\naction = 'log'\n[[rule]]\naction = 'strip'\n", false),
        ("[[rule]]\nhost = 'other.example.com'\naction = 'log'\n[[rule]]\naction = 'strip'\n", true),
        ("[[rule]]\nclient = 'codex'\naction = 'redact'\n[[rule]]\naction = 'log'\n", true),
        ("[[rule]]\nkind = 'id.*'\naction = 'log'\n", true),
    ] {
        assert_eq!(policy(text).may_change(&api), expected, "{text}");
    }
}

#[test]
fn only_a_policy_that_can_reach_a_warning_may_warn() {
    let api = Subject { host: "api.example.com", ..Subject::default() };
    for (text, proposed, expected) in [
        ("[[rule]]\naction = 'log'\n", true, false),
        ("[[rule]]\naction = 'warn'\n", false, true),
        ("mode = 'audit'\n[[rule]]\naction = 'warn'\n", true, false),
        ("[[rule]]\naction = 'log'\n[[rule]]\naction = 'warn'\n", true, false),
        ("[[rule]]\nhost = 'other.example.com'\naction = 'warn'\n", false, false),
        ("[[rule]]\nclient = 'codex'\naction = 'warn'\n[[rule]]\naction = 'log'\n", false, true),
        ("[[rule]]\nkind = 'id.*'\naction = 'log'\n", true, true),
        ("[[rule]]\nkind = 'id.*'\naction = 'log'\n", false, false),
    ] {
        assert_eq!(policy(text).may_warn(&api, proposed), expected, "{text}");
    }
}

#[test]
fn a_policy_says_whether_and_to_which_hosts_values_are_restored() {
    let policy = policy("restore_to = ['*.acme.example']\n[[rule]]\nkind = 'path.*'\naction = 'pseudonym'\n");
    assert!(policy.may_restore());
    assert!(policy.restores_to("git.acme.example") && !policy.restores_to("acme.example"));
    assert!(!Policy::preset("audit").unwrap().may_restore());
}

#[test]
fn contradictions_and_dead_rules_are_warned_about() {
    let policy = policy(
        "[[rule]]\nkind = ['tz.*']\naction = 'generalize'\n[[rule]]\naction = 'log'\n[[rule]]\naction = 'block'\n",
    );
    let warnings = policy.warnings();
    assert!(warnings.iter().any(|warning| warning.contains("time.local is kept")), "{warnings:?}");
    assert!(warnings.iter().any(|warning| warning.contains("line 6 never decides")), "{warnings:?}");
}

#[test]
fn presets_keep_what_the_assistant_needs_and_hide_the_person() {
    let subject = Subject { host: "api.example.com", ..Subject::default() };
    let at = |preset: &str, kind: &str, location: &Location| {
        ask(&Policy::preset(preset).unwrap(), subject, kind, location).action
    };
    for preset in ["balanced", "strict"] {
        for name in ["authorization", "x-api-key", "x-goog-api-key", "cookie", "api-key"] {
            assert_eq!(at(preset, "secret.api_key", &header(name)), Action::Allow, "{preset} {name}");
        }
        assert!(at(preset, "secret.api_key", &body()).edits());
        assert!(!at(preset, "host.name", &header("authorization")).edits());
        for kind in ["id.device", "user.name", "path.home", "tz.iana", "git.email", "os.kernel", "hw.cpu"] {
            assert!(at(preset, kind, &body()).edits(), "{preset} {kind}");
        }
        assert!(!at(preset, "sw.client_version", &header("user-agent")).edits());
    }
    assert_eq!(at("balanced", "id.session", &body()), Action::Log);
    assert_eq!(at("audit", "id.device", &body()), Action::Log);
}
