//! What the engine remembers of earlier requests saves time and changes nothing: with its memory off, the findings are the same.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use divulge::engine::{
    DecodeLimits, Engine, EngineParts, Facts, LineContext, OnError, Outgoing, Policy, RuleSet, finding_line, flow_line,
};
use divulge::session::raw::Captured;

fn engine(policy: &str) -> Engine {
    let facts = [
        ("user.name", "anderson"),
        ("path.home", "/home/anderson"),
        ("path.cwd", "/home/anderson/src/billing"),
        ("tz.iana", "Asia/Shanghai"),
        ("host.name", "build-box-17"),
        ("git.email", "ann@acme.example"),
    ];
    Engine::new(EngineParts {
        rules: RuleSet::builtin(),
        facts: Facts::of(facts.map(|(kind, value)| (kind.to_owned(), value.to_owned()))),
        policy: Policy::preset(policy).expect("a preset"),
        digest_key: [7; 32],
        limits: DecodeLimits::default(),
        on_error: OnError::Open,
    })
}

/// All that an audit says, and what leaves.
fn audit(engine: &Arc<Engine>, captured: &Captured) -> Vec<String> {
    let mut flow = engine.open("flow".to_owned(), captured.request.clone());
    let client = flow.client().map(|(client, version)| (client.to_owned(), version.map(str::to_owned)));
    let audited = flow.audit(captured.part());
    let findings = audited.findings;
    let mut said = vec![match audited.outgoing {
        Outgoing::Unchanged(bytes) => format!("{bytes:?}"),
        Outgoing::Rewritten(rewritten) => format!("{rewritten:?}"),
        Outgoing::Withheld(refusal) => format!("{refusal:?}"),
    }];
    let path = flow.path(false);
    let context = LineContext {
        time: "",
        session: "",
        flow: "flow",
        host: &captured.request.host,
        method: None,
        path: Some(&path),
        client: client.as_ref().map(|(client, _)| &**client),
        client_version: client.as_ref().and_then(|(_, version)| version.as_deref()),
        id: None,
        user: None,
        group: None,
        reveal: false,
        digest_key: &[7; 32],
    };
    said.extend(findings.iter().map(|finding| finding_line(finding, &context)));
    said.extend(findings.iter().map(|finding| finding_line(finding, &LineContext { reveal: true, ..context })));
    said.push(flow_line(&flow.close(), &context));
    said
}

/// Every request of the tests that is kept as raw HTTP.
fn requests() -> Vec<(PathBuf, Captured)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut waiting = vec![root.join("cases"), root.join("clean"), root.join("prompts"), root.join("roundtrip")];
    let mut found = Vec::new();
    while let Some(folder) = waiting.pop() {
        for path in std::fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())) {
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|end| end == "http") {
                let bytes = std::fs::read(&path).expect("a file of the tests");
                if let Ok(captured) = Captured::read(bytes.into()) {
                    found.push((path, captured));
                }
            }
        }
    }
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    found
}

#[test]
fn every_request_says_the_same_the_second_time() {
    let requests = requests();
    assert!(requests.len() > 40, "only {} requests", requests.len());
    for policy in ["audit", "balanced", "strict"] {
        let (with, without) = (Arc::new(engine(policy)), Arc::new(engine(policy).without_memory()));
        for round in 0..2 {
            for (path, captured) in &requests {
                let expected = audit(&without, captured);
                assert_eq!(audit(&with, captured), expected, "{policy}, round {round}: {}", path.display());
            }
        }
    }
}

/// A conversation as a client sends it: all of it again with every turn.
fn turn(turns: usize) -> Captured {
    let words =
        "Let me look at the handlers in src/handlers/request.rs first, then run the tests of the module.\n".repeat(8);
    let told = [
        "<env>\nWorking directory: /home/anderson/src/billing\nPlatform: linux\n</env>\n",
        "",
        "It says `TZ=Asia/Shanghai` there, and ann@acme.example is the author.\n",
        "A\u{200b}\u{200b}\u{200b}B stands in the file, and MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7.\n",
    ];
    let messages: Vec<serde_json::Value> = (0..turns)
        .map(|number| {
            let text = format!("{}{words}", told[number % told.len()]);
            let content = match number % 3 {
                0 => serde_json::json!(text),
                1 => serde_json::json!([{"type": "text", "text": text}]),
                _ => serde_json::json!([{"type": "tool_result", "content": [{"type": "text", "text": text}]}]),
            };
            let role = ["user", "assistant"][number % 2];
            serde_json::json!({"role": role, "content": content})
        })
        .collect();
    let system = format!("You are a coding assistant.\nWorking directory: /home/anderson/src/billing\n{words}");
    let body = serde_json::json!({"model": "m", "system": system, "messages": messages}).to_string();
    let head = "POST /v1/messages HTTP/1.1\r\nhost: api.anthropic.com\r\ncontent-type: application/json\r\n";
    let request = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    Captured::read(request.into_bytes().into()).expect("a request")
}

#[test]
fn a_conversation_says_the_same_turn_by_turn() {
    for policy in ["audit", "strict"] {
        let (with, without) = (Arc::new(engine(policy)), Arc::new(engine(policy).without_memory()));
        for turns in 1..12 {
            let captured = turn(turns);
            let expected = audit(&without, &captured);
            assert!(expected.len() > 3, "{expected:?}");
            assert_eq!(audit(&with, &captured), expected, "{policy}, turn {turns}");
        }
    }
}
