//! Ordinary traffic, in which nothing may be found: code, documents, lock files, registries, git, and talk about
//! the very things that the rules look for.

use std::path::Path;

use divulge::engine::rules::{RuleSet, examples};
use divulge::engine::{DecodeLimits, Part, Unit, walk};

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
