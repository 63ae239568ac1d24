//! What inspection costs: `cargo bench --bench engine`.
//!
//! The engine with every built-in pack and a hundred facts, beside `serde_json` parsing the same bytes to a tree in the same
//! run, in time that the thread had a core: the share is what to compare.
//!
//! | body | what it is |
//! |---|---|
//! | `request-200k` | a request of an assistant; `balanced` and `strict` also write the edits |
//! | `conversation-1m` | a long conversation, mostly code and prose, with a few facts in it |
//! | `no-hit-1m` | the same without anything to find |
//! | `nested-1m` | the same conversation in base64 and gzip inside JSON, turn by turn |

#[path = "common/cpu_time.rs"]
mod cpu_time;

use std::hint::black_box;
use std::io::Write;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use cpu_time::CpuTime;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use divulge::engine::visit::{Leaf, Place, Visitor};
use divulge::engine::{DecodeLimits, Engine, EngineParts, Fact, Facts, OnError, Part, Policy, Request, RuleSet};
use divulge::engine::{Unit, walk};
use divulge::wire::head::RequestHead;

const BODY: usize = 200 * 1024;
const LARGE: usize = 1024 * 1024;

fn engine(policy: &str, facts: Facts) -> Arc<Engine> {
    Arc::new(Engine::new(EngineParts {
        rules: RuleSet::builtin(),
        facts,
        policy: Policy::preset(policy).expect("a preset"),
        digest_key: [7; 32],
        limits: DecodeLimits::default(),
        on_error: OnError::Open,
    }))
}

/// As many as a machine has; a few of them stand in the request.
fn facts() -> Vec<Fact> {
    let mut facts = vec![
        ("user.name", "anderson".to_owned()),
        ("path.home", "/home/anderson".to_owned()),
        ("path.cwd", "/home/anderson/src/billing".to_owned()),
        ("git.email", "ann@acme.example".to_owned()),
        ("host.name", "build-box-17".to_owned()),
        ("tz.iana", "Asia/Shanghai".to_owned()),
        ("os.kernel", "6.1.0-18-amd64".to_owned()),
    ];
    for index in 0..93 {
        facts.push(("net.hostname_dns", format!("node-{index:03}.internal.example.org")));
    }
    facts.into_iter().map(|(kind, value)| Fact::new(kind, &value)).collect()
}

fn request(length: usize) -> Arc<Request> {
    let length = length.to_string();
    let fields: [(&str, &str); 7] = [
        ("host", "api.anthropic.com"),
        ("user-agent", "claude-cli/2.1.169 (external, cli)"),
        ("x-api-key", "sk-ant-dummy-0123456789abcdef"),
        ("anthropic-version", "2023-06-01"),
        ("x-claude-code-session-id", "3b1f8a52-7c3f-4b1e-8a2f-eaa0c55ad015"),
        ("content-type", "application/json"),
        ("content-length", &length),
    ];
    let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    let head = RequestHead::from_parts("POST", "/v1/messages?beta=true", fields);
    Arc::new(Request { host: "api.anthropic.com".into(), port: 443, secure: true, head })
}

/// A long conversation about code: system text, tool definitions, turns with tool calls and their results.
fn body(size: usize, tell: bool) -> Bytes {
    const WORDS: [&str; 24] = [
        "the", "function", "returns", "value", "error", "let", "config", "match", "request", "handler", "result", "=>",
        "parse", "assert", "file", "module", "struct", "impl", "while", "index", "schema", "column", "größe", "naïve",
    ];
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut draw = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed >> 33) as usize % below
    };
    let mut text = |length: usize| {
        let mut out = String::with_capacity(length + 32);
        while out.len() < length {
            match draw(40) {
                0 => out.push_str("\n    "),
                1 => out.push_str("\"quoted\" "),
                2 => out.push_str("src/handlers/request.rs:42 "),
                3 => out.push_str("{ key: value }, "),
                _ => {
                    out.push_str(WORDS[draw(WORDS.len())]);
                    out.push(' ');
                }
            }
        }
        out
    };
    let environment = match tell {
        true => {
            "<env>\nWorking directory: /home/anderson/src/billing\nPlatform: linux\nOS Version: Linux 6.1.0-18-amd64\n</env>"
        }
        false => "Please look at the handlers and tell what could be simpler.",
    };
    let file = if tell { "/home/anderson/src/billing/src/main.rs" } else { "src/main.rs" };
    let mut messages = vec![serde_json::json!({"role": "user", "content": [{"type": "text", "text": environment}]})];
    let mut length = 0;
    for turn in 0.. {
        let answer = text(1500);
        let source = text(4000);
        length += answer.len() + source.len() + 500;
        messages.push(serde_json::json!({"role": "assistant", "content": [
            {"type": "text", "text": answer},
            {"type": "tool_use", "id": format!("toolu_{turn:024}"), "name": "Read",
             "input": {"file_path": file, "limit": 2000}}]}));
        messages.push(serde_json::json!({"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": format!("toolu_{turn:024}"), "content": source, "is_error": false}]}));
        if length >= size {
            break;
        }
    }
    let device = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    let user = format!("{{\"device_id\":\"{device}\",\"session_id\":\"3b1f8a52-7c3f-4b1e-8a2f-eaa0c55ad015\"}}");
    let document = serde_json::json!({
        "model": "claude-sonnet-4-5", "max_tokens": 32000, "stream": true,
        "metadata": {"user_id": if tell { user } else { "none".to_owned() }},
        "system": [{"type": "text", "text": "You are a coding assistant.", "cache_control": {"type": "ephemeral"}}],
        "messages": messages,
    });
    document.to_string().into()
}

/// The turns of a conversation, each packed into gzip and base64.
fn nested(size: usize) -> Bytes {
    let whole: serde_json::Value = serde_json::from_slice(&body(size * 3, true)).expect("it is JSON");
    let mut turns = Vec::new();
    let mut length = 0;
    for turn in whole["messages"].as_array().expect("a list") {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(turn.to_string().as_bytes()).expect("memory");
        let packed = STANDARD.encode(encoder.finish().expect("memory"));
        length += packed.len();
        turns.push(serde_json::json!({"event": "turn", "payload": packed}));
        if length >= size {
            break;
        }
    }
    serde_json::json!({ "events": turns }).to_string().into()
}

/// Sees every value and looks at none.
struct Blind;

impl Visitor for Blind {
    fn leaf(&mut self, leaf: &Leaf<'_>, _: &dyn Place) {
        black_box(leaf.text);
    }

    fn unread(&mut self, _: &dyn Place, _: &[u8], _: &'static str) {}
}

fn inspection(criterion: &mut Criterion<CpuTime>) {
    let body = body(BODY, true);
    let request = request(body.len());
    let mut group = criterion.benchmark_group("request-200k");
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("serde_json", |bencher| {
        bencher.iter(|| serde_json::from_slice::<serde_json::Value>(black_box(&body)).map(|tree| tree.is_object()));
    });
    group.bench_function("decode alone", |bencher| {
        bencher.iter(|| {
            let unit = Unit { request: &request, part: Part::Document(black_box(body.clone())) };
            walk(&unit, &DecodeLimits::default(), &mut Blind).bytes_read
        });
    });
    for (name, policy, facts) in [
        ("audit without facts", "audit", Facts::default()),
        ("audit", "audit", Facts::new(facts())),
        ("balanced", "balanced", Facts::new(facts())),
        ("strict", "strict", Facts::new(facts())),
    ] {
        let engine = engine(policy, facts);
        group.bench_function(BenchmarkId::new("engine", name), |bencher| {
            bencher.iter(|| {
                let mut flow = engine.open("bench".to_owned(), request.clone());
                let audit = flow.audit(Part::Document(black_box(body.clone())));
                assert_eq!(audit.bytes_read, body.len() as u64);
                (audit, flow.close())
            });
        });
    }
    group.finish();
}

fn large(criterion: &mut Criterion<CpuTime>) {
    let engine = engine("audit", Facts::new(facts()));
    for (name, body) in
        [("conversation-1m", body(LARGE, true)), ("no-hit-1m", body(LARGE, false)), ("nested-1m", nested(LARGE))]
    {
        let request = request(body.len());
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function("serde_json", |bencher| {
            bencher.iter(|| serde_json::from_slice::<serde_json::Value>(black_box(&body)).map(|tree| tree.is_object()));
        });
        group.bench_function("audit", |bencher| {
            bencher.iter(|| {
                let mut flow = engine.open("bench".to_owned(), request.clone());
                let audit = flow.audit(Part::Document(black_box(body.clone())));
                assert_eq!(audit.bytes_read, body.len() as u64);
                (audit, flow.close())
            });
        });
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime);
    targets = inspection, large
}
criterion_main!(benches);
