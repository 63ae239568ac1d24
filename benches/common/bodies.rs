//! Engines, requests and bodies that the benches share.

use std::io::Write;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use divulge::engine::{DecodeLimits, Engine, EngineParts, Fact, Facts, OnError, Policy, Request, RuleSet};
use divulge::wire::head::RequestHead;

pub const LARGE: usize = 1024 * 1024;

/// One that works everything out anew: what a request costs that was never sent before.
pub fn engine(policy: &str, facts: Facts) -> Arc<Engine> {
    Arc::new(remembering(policy, facts).without_memory())
}

/// One that knows again what it has seen, as in the proxy.
pub fn remembering(policy: &str, facts: Facts) -> Engine {
    with_rules(policy, facts, RuleSet::builtin())
}

/// The same with other rules.
pub fn with_rules(policy: &str, facts: Facts, rules: RuleSet) -> Engine {
    Engine::new(EngineParts {
        rules,
        facts,
        policy: Policy::preset(policy).expect("a preset"),
        digest_key: [7; 32],
        limits: DecodeLimits::default(),
        on_error: OnError::Open,
    })
}

/// As many as a machine has; a few of them stand in the request.
pub fn facts() -> Vec<Fact> {
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

pub fn request(length: usize) -> Arc<Request> {
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
pub fn body(size: usize, tell: bool) -> Bytes {
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

/// The turns of a conversation, each wrapped as a client wraps what it hands on: in turn as JSON in a string, that in a string
/// once more, base64, percent-encoding, and gzip in base64.
pub fn wrapped(size: usize) -> Bytes {
    let whole: serde_json::Value = serde_json::from_slice(&body(size, true)).expect("it is JSON");
    let mut turns = Vec::new();
    let mut length = 0;
    for (number, turn) in whole["messages"].as_array().expect("a list").iter().enumerate() {
        let text = turn.to_string();
        let payload = match number / 2 % 5 {
            0 => text,
            1 => serde_json::json!({ "message": text }).to_string(),
            2 => STANDARD.encode(text),
            3 => text.bytes().fold(String::new(), |mut out, byte| {
                match byte {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
                    _ => out.push_str(&format!("%{byte:02X}")),
                }
                out
            }),
            _ => STANDARD.encode(gzip(text.as_bytes())),
        };
        length += payload.len();
        turns.push(serde_json::json!({"event": "turn", "payload": payload}));
        if length >= size {
            break;
        }
    }
    serde_json::json!({ "events": turns }).to_string().into()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

/// The turns of a conversation, each packed into gzip and base64.
pub fn nested(size: usize) -> Bytes {
    let whole: serde_json::Value = serde_json::from_slice(&body(size * 3, true)).expect("it is JSON");
    let mut turns = Vec::new();
    let mut length = 0;
    for turn in whole["messages"].as_array().expect("a list") {
        let packed = STANDARD.encode(gzip(turn.to_string().as_bytes()));
        length += packed.len();
        turns.push(serde_json::json!({"event": "turn", "payload": packed}));
        if length >= size {
            break;
        }
    }
    serde_json::json!({ "events": turns }).to_string().into()
}

/// The same full of what detectors have to look at: paths of a stranger's home folder, numbers, signs, escapes, every few words.
pub fn dense(size: usize) -> Bytes {
    const WORDS: [&str; 16] = [
        "the", "function", "returns", "value", "error", "config", "request", "handler", "option", "schema", "user",
        "token", "refactor", "naïve", "größe", "path",
    ];
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
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
                1 => out.push_str("\"quoted\""),
                2 => out.push_str("/home/dev/project/src/main.rs:42 "),
                3 => out.push_str("0x7ffd3c2a "),
                4 => out.push_str("{ key: value }, "),
                5 => out.push_str("\t// comment\n"),
                _ => {
                    out.push_str(WORDS[draw(WORDS.len())]);
                    out.push(' ');
                }
            }
        }
        out
    };
    let user = "user_5f2c9d10b7a4e863_account_3f1c2a9e-77b1-4c1e-9d1d-0c9ab8f1d2e3_session_7b0b1f5e-1c2d-4e3f-8a9b-0c1d2e3f4a5b";
    let system = [
        serde_json::json!({"type": "text", "text": text((size / 20).clamp(200, 20_000))}),
        serde_json::json!({"type": "text", "text": "<env>Working directory: /home/dev/project\nPlatform: linux\nOS Version: Linux 6.1.0\nToday's date: 2026-01-01</env>"}),
    ];
    let mut messages = Vec::new();
    let mut length = 700 + (size / 20).clamp(200, 20_000);
    for turn in 0.. {
        if length + 100 >= size {
            break;
        }
        let words = text([900, 500, 3000, 1500][turn % 4].min(size - length));
        length += words.len() + 100;
        let role = ["user", "assistant"][turn % 2];
        messages.push(serde_json::json!({"role": role, "content": [{"type": "text", "text": words}]}));
    }
    let document = serde_json::json!({
        "model": "example-large-1", "max_tokens": 32000, "stream": true, "metadata": {"user_id": user},
        "system": system, "messages": messages,
    });
    document.to_string().into()
}

/// A body like `body` with all of its texts, and yet another one.
pub fn turn_of(body: &[u8], number: u32) -> Bytes {
    let mut next = body.strip_suffix(b"}").unwrap_or(body).to_vec();
    next.extend_from_slice(format!(",\"turn\":{}}}", 10_000_000 + number).as_bytes());
    next.into()
}
