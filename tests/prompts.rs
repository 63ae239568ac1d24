//! Blocks in which assistants tell a model about the machine, in many wordings: each value is found, without any fact
//! being known.
//!
//! `tests/prompts/<name>.txt` is the block, `<name>.expect` a line for each value: `kind=value`, kinds in the order of
//! preference joined by `|`, `~` for a space, the value left out where how much of it belongs to the finding is free.

use std::path::Path;
use std::sync::Arc;

use divulge::engine::{DecodeLimits, Engine, EngineParts, Facts, OnError, Part, Policy, Request, RuleSet};
use divulge::wire::head::RequestHead;

fn found(engine: &Arc<Engine>, body: String) -> Vec<(String, String)> {
    let fields = [("host", "api.example.com"), ("content-type", "application/json")];
    let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    let head = RequestHead::from_parts("POST", "/v1/messages", fields);
    let request = Arc::new(Request { host: "api.example.com".into(), port: 443, secure: true, head });
    let audit = engine.open("1".to_owned(), request).audit(Part::Document(body.into()));
    audit.findings.iter().map(|finding| (finding.kind.to_string(), finding.value.to_string())).collect()
}

#[test]
fn every_value_of_a_block_is_found_whatever_its_wording() {
    let engine = Arc::new(Engine::new(EngineParts {
        rules: RuleSet::builtin(),
        facts: Facts::default(),
        policy: Policy::preset("audit").expect("a preset"),
        digest_key: [7; 32],
        limits: DecodeLimits::default(),
        on_error: OnError::Open,
    }));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/prompts");
    let mut failures = Vec::new();
    let (mut wanted, mut blocks) = (0, 0);
    for entry in std::fs::read_dir(folder).expect("tests/prompts is there").map(|entry| entry.expect("an entry").path())
    {
        if entry.extension().is_none_or(|extension| extension != "txt") {
            continue;
        }
        blocks += 1;
        let block = std::fs::read_to_string(&entry).expect("a block");
        let expected = std::fs::read_to_string(entry.with_extension("expect")).expect("what is in it");
        let name = entry.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        for (place, body) in [
            ("system", serde_json::json!({"model": "m", "system": [{"type": "text", "text": block}], "messages": []})),
            (
                "message",
                serde_json::json!({"model": "m", "messages": [{"role": "user", "content": format!("<system-reminder>\n{block}\n</system-reminder>\nhello")}]}),
            ),
        ] {
            let found = found(&engine, body.to_string());
            for line in expected.lines() {
                let mut kinds: Vec<&str> = line.split('|').collect();
                let mut value = None;
                for kind in &mut kinds {
                    if let Some((name, text)) = kind.split_once('=') {
                        (*kind, value) = (name, Some(text.replace('~', " ")));
                    }
                }
                wanted += 1;
                let hit = found.iter().any(|(kind, text)| {
                    kinds.contains(&kind.as_str())
                        && value.as_ref().is_none_or(|value| text == value || kinds[0] != *kind)
                });
                if !hit {
                    failures.push(format!("{name} in a {place}: no {line} in {found:?}"));
                }
            }
        }
    }
    assert!(blocks >= 15, "only {blocks} blocks");
    let missed = failures.len();
    assert!(failures.is_empty(), "{missed} of {wanted} values are missed:\n{}", failures.join("\n"));
}
