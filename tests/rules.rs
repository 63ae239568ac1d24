//! The packs of this repository: they pass every check of the loader, and each rule proves itself.

use std::sync::Arc;

use divulge::engine::rules::{PackSource, RuleSet, examples};
use divulge::engine::{DecodeLimits, Engine, EngineParts, Facts, OnError, Part, Policy};

#[test]
fn the_built_in_packs_pass_every_check_of_the_loader() {
    if let Err(error) = RuleSet::load_only(RuleSet::builtin_sources()) {
        panic!("{error}");
    }
}

#[test]
fn every_rule_finds_what_its_examples_say_and_no_more() {
    let rules = RuleSet::builtin();
    for rule in rules.rules() {
        let finds = |finds: bool| rule.examples().iter().any(|example| example.expect.is_empty() != finds);
        assert!(finds(true) && finds(false), "{} has examples of both sorts", rule.id);
    }
    let failures: Vec<_> = examples::failures(&rules).iter().map(ToString::to_string).collect();
    assert!(failures.is_empty(), "{} examples fail:\n{}", failures.len(), failures.join("\n"));
}

/// A whole rule with one line in another's place.
fn rule_with(line: &str, instead: &str) -> String {
    let whole = r#"id = "test.device"
kind = "id.device"
title = "A device"
severity = "high"
why = "It links."
select = { part = "body", names = ["test_device"] }
match = { value = '^[0-9a-f]{8}$' }

[[example]]
name = "found"
expect = ["body!json:/testDevice"]
request = '''
POST /v1 HTTP/1.1
host: api.example.com
content-type: application/json

{"testDevice":"5f1d7a84"}
'''

[[example]]
name = "left alone"
expect = []
request = '''
GET /v1 HTTP/1.1
host: api.example.com
'''
"#;
    assert!(whole.contains(line), "{line}");
    whole.replacen(line, instead, 1)
}

fn refusal(text: &str) -> String {
    match RuleSet::load(&[PackSource { name: "mine/test.toml", text }]) {
        Ok(_) => "taken".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_refused_rule_is_told_with_its_file_line_and_expected_form() {
    let long = format!("match = {{ value = '{}' }}", "a".repeat(3000));
    // Within the length of a pattern, and too deep; alternatives that share their starts cost little.
    let nested = format!("'{}a{}'", "(".repeat(900), ")".repeat(900));
    let alternatives = format!("'^[0-9a-f]{{8}}$|{}'", vec!["aaaaaaaab"; 190].join("|"));
    let names: Vec<String> = (0..20_000).map(|number| format!("\"name_{number}\"")).collect();
    let needles = format!("names = [\"test_device\", {}]", names.join(", "));
    let table = [
        ("severity = \"high\"", "severity = \"grave\"", "mine/test.toml:4: unknown variant `grave`"),
        (
            "why = \"It links.\"",
            "why = \"It links.\"\nweight = 3",
            "mine/test.toml:6: unknown field `weight`, expected one of `id`",
        ),
        (
            "part = \"body\"",
            "part = \"bodies\"",
            "mine/test.toml:6: unknown part \"bodies\"; expected head, path, query, header",
        ),
        (
            "kind = \"id.device\"",
            "kind = \"id.devise\"",
            "mine/test.toml:2: unknown kind \"id.devise\"; expected one of ",
        ),
        ("'^[0-9a-f]{8}$'", "'^[0-9a-f{8}$'", "mine/test.toml:7: pattern does not compile: unclosed character class"),
        ("'^[0-9a-f]{8}$'", "'(?:\\w{900}){900}'", "mine/test.toml:7: pattern compiles to more than"),
        ("'^[0-9a-f]{8}$'", "'(?:(?:(?:a{50}){50}){50}){50}'", "mine/test.toml:7: pattern compiles to more than"),
        ("'^[0-9a-f]{8}$'", "'(a)\\1'", "mine/test.toml:7: pattern does not compile: backreferences are not supported"),
        ("'^[0-9a-f]{8}$'", "'a(?=b)'", "mine/test.toml:7: pattern does not compile: look-around"),
        ("'^[0-9a-f]{8}$'", &nested, "mine/test.toml:7: pattern does not compile: exceed the maximum number of nested"),
        ("'^[0-9a-f]{8}$'", &alternatives, "taken"),
        ("names = [\"test_device\"]", &needles, "mine/test.toml:1: a file of "),
        (
            "match = { value = '^[0-9a-f]{8}$' }",
            &long,
            "mine/test.toml:7: pattern of 3000 bytes; expected at most 2000",
        ),
        (
            "match = { value",
            "match = { validator = \"uid\", value",
            "mine/test.toml:7: unknown validator \"uid\"; expected one of iana_zone",
        ),
        (
            "match = { value",
            "match = { json_type = \"float\", value",
            "mine/test.toml:7: unknown JSON type \"float\"; expected string",
        ),
        (
            "expect = [\"body!json:/testDevice\"]",
            "expect = []",
            "mine/test.toml:1: rule test.device has no example that it finds",
        ),
        (
            "expect = []",
            "expect = [\"header:/host\"]",
            "mine/test.toml:1: rule test.device has no example that it leaves alone",
        ),
        ("GET /v1 HTTP/1.1", "GET /v1", "is no request; expected a request line such as"),
        (
            "id = \"test.device\"",
            "id = \"device.id\"",
            "mine/test.toml:1: rule device.id is already defined in rules/generic/device-id.toml",
        ),
        ("id = \"test.device\"", "id = \"a device\"", "mine/test.toml:1: id \"a device\" is no name; expected letters"),
        (
            "names = [\"test_device\"]",
            "names = [\"testDevice\"]",
            "mine/test.toml:6: name \"testDevice\" is not in words",
        ),
        ("names = [\"test_device\"]", "text = true", "mine/test.toml:6: a text rule without match.near or match.label"),
        (
            "[[example]]\nname = \"found\"",
            "[issuers]\n\"f\" = [\"*.example.com\"]\n[[example]]\nname = \"found\"",
            "mine/test.toml:10: \"f\" would begin",
        ),
        ("title = \"A device\"\n", "", "missing field `title`"),
        ("title = \"A device\"", "title = A device", "mine/test.toml:3: "),
        ("id = \"test.device\"", "id = \"test.device\" # fine", "taken"),
    ];
    let mut wrong = Vec::new();
    for (line, instead, expected) in table {
        let said = refusal(&rule_with(line, instead));
        if !said.contains(expected) {
            wrong.push(format!("{instead}: expected {expected:?}, found {said:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn auditing(rules: RuleSet) -> Arc<Engine> {
    Arc::new(Engine::new(EngineParts {
        rules,
        facts: Facts::default(),
        policy: Policy::preset("audit").expect("a preset"),
        digest_key: [7; 32],
        limits: DecodeLimits::default(),
        on_error: OnError::Open,
    }))
}

/// Patterns on which engines that try again take time that doubles with every character. Were one here that did, this
/// would not end.
#[test]
fn patterns_take_no_more_than_the_text_is_long() {
    for pattern in ["(a+)+$", "(a|a)*$", "(.*a){12}$", "(a?){20}a{20}$", "^(([a-z])+.)+[A-Z]([a-z])+$"] {
        let text = rule_with("'^[0-9a-f]{8}$'", &format!("'^[0-9a-f]{{8}}$|{pattern}'"));
        let rules = RuleSet::load(&[PackSource { name: "mine/test.toml", text: &text }]).expect("a rule");
        let value = "a".repeat(200_000);
        let request = format!(
            "POST /v1 HTTP/1.1\r\nhost: api.example.com\r\ncontent-type: application/json\r\n\r\n{{\"testDevice\":\"{value}!\"}}"
        );
        let (request, body) = examples::parse(&request).expect("a request");
        let engine = auditing(rules);
        let audit = engine.open("1".into(), Arc::new(request)).audit(Part::Document(body));
        assert!(audit.unread.iter().all(|unread| unread.reason != "inspector"), "{pattern}");
    }
}

/// A key that says nothing of its issuer may begin with any two characters.
#[test]
fn no_random_key_is_taken_for_somebody_elses() {
    let engine = auditing(RuleSet::builtin());
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut taken = Vec::new();
    for start in alphabet.chars().flat_map(|first| alphabet.chars().map(move |second| [first, second])) {
        let key: String = start.into_iter().chain("f2C90b17D8e4a6305B9c1d7E2f8a4630".chars()).collect();
        let request = format!("POST /v1 HTTP/1.1\r\nhost: api2.cursor.sh\r\nx-blob-encryption-key: {key}\r\n\r\n");
        let (request, body) = examples::parse(&request).expect("a request");
        let mut flow = engine.open("1".into(), Arc::new(request));
        let audit = flow.audit(Part::Document(body));
        if !audit.findings.iter().any(|finding| &*finding.kind == "secret.api_key") {
            taken.push(key);
        }
    }
    assert!(taken.is_empty(), "{taken:?}");
}

#[test]
fn a_name_is_read_however_it_is_written_and_in_other_languages() {
    let engine = auditing(RuleSet::builtin());
    let mut missed = Vec::new();
    for (kind, member) in [
        ("git.email", r#""gituseremail":"ann@acme.example""#),
        ("os.version", r#""operatingsystemversion":"14.7.2""#),
        ("tz.offset", r#""TZOFFSETMINUTES":-480"#),
        ("id.account", r#""app.accountuuid":"8a810370-fba9-4200-8544-8a53c8bef64f""#),
        ("net.mac", r#""MAC地址":"3c:c6:e9:39:f5:a4""#),
        ("host.name", r#""ホスト名":"ann-thinkpad""#),
        ("time.local", r#""heure_locale":"2026-12-13 07:41:00""#),
        ("host.serial", r#""Numéro de série":"VK0V2GC4AB0N""#),
        ("user.fullname", r#""Vollst\u00e4ndiger_Name":"Ann Example""#),
        ("tz.iana", r#""Часовой пояс":"Europe/Moscow""#),
        ("geo.city", r#""tools":[{"type":"web_search_20250305","user_location":{"city":"Hangzhou"}}]"#),
        ("tz.iana", r#""tools":[{"type":"web_search","user_location":{"timezone":"Asia/Shanghai"}}]"#),
    ] {
        let text =
            format!("POST /v1 HTTP/1.1\r\nhost: t.example.com\r\ncontent-type: application/json\r\n\r\n{{{member}}}");
        let (request, body) = examples::parse(&text).expect("a request");
        let found = engine.open("1".into(), Arc::new(request)).audit(Part::Document(body)).findings;
        if !found.iter().any(|finding| &*finding.kind == kind) {
            missed.push((kind, member));
        }
    }
    assert!(missed.is_empty(), "{missed:?}");
}

#[test]
fn a_rule_that_breaks_its_word_fails_with_a_sentence() {
    let text = rule_with("expect = [\"body!json:/testDevice\"]", "expect = [\"body!json:/device\"]");
    let rules = RuleSet::load_only(&[PackSource { name: "mine/test.toml", text: &text }]).unwrap();
    let failures: Vec<_> = examples::failures(&rules).iter().map(ToString::to_string).collect();
    let expected =
        "test.device / found: expected [\"body!json:/device\"], found [\"body!json:/testDevice\"] (mine/test.toml:9)";
    assert_eq!(failures, [expected]);
}

#[test]
fn a_bad_pack_is_told_with_its_file_and_line() {
    for (text, expected) in [
        (
            "id = \"mine\"\ntitle = \"Mine\"\nhosts = [\"https://api.example.com\"]",
            "mine/pack.toml:3: host \"https://api.example.com\" is no host name",
        ),
        ("id = \"mine\"\ntitle = \"Mine\"\nhost = []", "mine/pack.toml:3: unknown field `host`"),
        (
            "id = \"mine\"\ntitle = \"Mine\"\n[[client]]\nheader = \"user-agent\"\nvalue = '('",
            "mine/pack.toml:5: pattern does not compile",
        ),
    ] {
        let said = RuleSet::load(&[PackSource { name: "mine/pack.toml", text }]).unwrap_err().to_string();
        assert!(said.contains(expected), "expected {expected:?}, found {said:?}");
    }
}

#[test]
fn hosts_are_known_by_name_and_below_a_suffix() {
    let pack = "id = \"mine\"\ntitle = \"Mine\"\nhosts = [\"api.example.com\", \"*.ai.example.com\"]\ntelemetry = [\"log.example.com\"]";
    let rules = RuleSet::load_only(&[PackSource { name: "mine/pack.toml", text: pack }]).unwrap();
    for (host, known) in [
        ("api.example.com", true),
        ("API.example.com", true),
        ("a.b.ai.example.com", true),
        ("log.example.com", true),
        ("ai.example.com", false),
        ("api.example.com.evil.example", false),
        ("example.com", false),
    ] {
        assert_eq!(rules.is_ai_host(host), known, "{host}");
    }
    assert!(rules.is_telemetry_host("log.example.com") && !rules.is_telemetry_host("api.example.com"));
}

#[test]
fn a_client_is_known_by_its_header_with_its_version() {
    let rules = RuleSet::builtin();
    for (header, expected) in [
        ("user-agent: claude-cli/2.1.0 (external, cli)", Some(("claude-code", Some("2.1.0")))),
        ("x-service-name: claude-code", Some(("claude-code", None))),
        ("user-agent: not-claude-cli/2.1.0", None),
    ] {
        let text = format!("POST /v1/messages HTTP/1.1\nhost: api.example.com\n{header}\n\n{{}}");
        let (request, _) = examples::parse(&text).unwrap();
        let client = rules.client_of(&request);
        assert_eq!(client.as_ref().map(|(pack, version)| (&**pack, version.as_deref())), expected, "{header}");
    }
}

#[test]
fn the_page_about_the_rules_is_the_one_in_docs() {
    let written = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/rules.md")).unwrap();
    let page = divulge::engine::rules::document::markdown(&RuleSet::builtin());
    assert!(written == page, "docs/rules.md is old: write it with `divulge rules docs --out docs/rules.md`");
}
