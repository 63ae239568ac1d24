//! Ordinary traffic, in which nothing may be found: code, documents, lock files, registries, git, and talk about
//! the very things that the rules look for.

use std::path::Path;
use std::sync::Arc;

use divulge::engine::rules::{RuleSet, examples};
use divulge::engine::{DecodeLimits, Detector, Engine, EngineParts, Facts, OnError, Part, Policy, Unit, walk};

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
