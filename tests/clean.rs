//! Ordinary traffic, in which nothing may be found: code, documents, lock files, registries, git, and talk about
//! the very things that the rules look for.

use std::path::Path;
use std::sync::Arc;

use divulge::engine::rules::{RuleSet, examples};
use divulge::engine::{DecodeLimits, Detector, Engine, EngineParts, Fact, Facts, OnError, Part, Policy, Unit, walk};

#[test]
fn nothing_is_found_in_ordinary_traffic() {
    let rules = RuleSet::builtin();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clean");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 30, "only {} files", files.len());
    let mut wrong = Vec::new();
    for file in &files {
        let name = file.file_name().unwrap().to_string_lossy();
        let text = std::fs::read_to_string(file).unwrap();
        let Some((request, body)) = examples::parse(&text) else {
            wrong.push(format!("{name} is no request"));
            continue;
        };
        let part = if body.is_empty() { Part::Head } else { Part::Document(body) };
        let client = rules.client_of(&request);
        let mut inspector = rules.inspector(&request, client.as_ref().map(|(pack, _)| &**pack));
        walk(&Unit { request: &request, part }, &DecodeLimits::default(), &mut inspector);
        wrong.extend(inspector.finish().iter().map(|finding| {
            let rule = finding.rule.as_deref().unwrap_or_default();
            let (kind, value, confidence) = (&finding.kind, &finding.value, finding.confidence);
            format!("{name}: {rule} takes {value:?} at {} for {kind} (confidence {confidence:.2})", finding.location)
        }));
    }
    assert!(wrong.is_empty(), "{} false findings in {} files:\n{}", wrong.len(), files.len(), wrong.join("\n"));
}

#[test]
fn no_mark_is_seen_in_ordinary_text_of_any_language() {
    let engine = Arc::new(Engine::new(EngineParts {
        rules: RuleSet::builtin(),
        facts: Facts::default(),
        policy: Policy::preset("audit").expect("a preset"),
        digest_key: [7; 32],
        limits: DecodeLimits::default(),
        on_error: OnError::Open,
    }));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clean");
    let mut wrong = Vec::new();
    for file in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let text = std::fs::read_to_string(&file).unwrap();
        let Some((request, body)) = examples::parse(&text) else { continue };
        let part = if body.is_empty() { Part::Head } else { Part::Document(body) };
        let mut flow = engine.open("clean".to_owned(), Arc::new(request));
        let found = flow.audit(part).findings;
        let marks = found.iter().filter(|finding| matches!(finding.detector, Detector::Covert | Detector::Template));
        wrong.extend(marks.map(|mark| format!("{}: {} at {}", file.display(), mark.kind, mark.location)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The kinds found in `text`, said in a system prompt of a machine that has `facts`.
fn found_in_prompt(facts: &[(&str, &str)], text: &str) -> Vec<String> {
    let facts = facts.iter().map(|(kind, value)| Fact::new(kind, value)).collect();
    let engine = Arc::new(Engine::new(EngineParts {
        rules: RuleSet::builtin(),
        facts: Facts::new(facts),
        policy: Policy::preset("audit").expect("a preset"),
        digest_key: [7; 32],
        limits: DecodeLimits::default(),
        on_error: OnError::Open,
    }));
    let body = serde_json::json!({"model": "m", "system": [{"type": "text", "text": text}], "messages": []});
    let request =
        format!("POST /v1/messages HTTP/1.1\nhost: api.example.com\ncontent-type: application/json\n\n{body}");
    let (request, body) = examples::parse(&request).expect("a request");
    let audit = engine.open("prompt".to_owned(), Arc::new(request)).audit(Part::Document(body));
    audit.findings.iter().map(|finding| finding.kind.to_string()).collect()
}

#[test]
fn what_a_machine_shares_with_another_is_not_found_in_that_one_s_description() {
    let facts = [("os.distro", "Ubuntu"), ("locale.posix", "en_US.UTF-8"), ("net.gateway", "192.168.6.1")];
    let facts = [&facts[..], &[("host.name", "kestrel-ws-4471"), ("user.name", "dev")]].concat();
    let report = |host: &str| {
        format!(
            "You are a careful engineer.\nBug report from a customer:\n\n    Hostname: {host}\n    Time zone: \
             America/Denver\n    IP: 192.168.6.14\n    OS: Ubuntu 22.04.5 LTS\n    User: jsmith\n    Home: /home/jsmith\n    \
             Locale: en_US.UTF-8\n\nThe crash is at line 42."
        )
    };
    assert_eq!(found_in_prompt(&facts, &report("build-omega-76")), Vec::<String>::new());
    let ours = found_in_prompt(&facts, &report("kestrel-ws-4471"));
    for kind in ["host.name", "os.distro", "locale.posix"] {
        assert!(ours.iter().any(|found| found == kind), "{kind} is not in {ours:?}");
    }
}

#[test]
fn manuals_show_settings_and_describe_no_machine() {
    let table = "You are a careful engineer.\n## Configuration\n\n| key | default | example |\n|---|---|---|\n| `locale` | \
                 `en-US` | e.g. `pt-BR` |\n| `shell` | `/bin/sh` | e.g. `/bin/zsh` |\n";
    let sentence = "You are a careful engineer.\nClone it.\n\nSet `TZ=Europe/Berlin` if your cron jobs need it.\n";
    for text in [table, sentence] {
        assert_eq!(found_in_prompt(&[], text), Vec::<String>::new(), "{text}");
    }
    let described = "You are a careful engineer.\n<env>\n| Locale | en-US |\n| Shell | /bin/sh |\n</env>";
    assert!(found_in_prompt(&[], described).len() >= 2);
}
