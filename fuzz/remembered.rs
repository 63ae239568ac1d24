//! What the engine remembers changes nothing: a conversation of any messages says turn by turn what it says to an engine that
//! forgets, and teaches the same.

use std::io::Write as _;
use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use divulge::engine::{
    DecodeLimits, Engine, EngineParts, Facts, LineContext, OnError, Part, Policy, Request, RuleSet, Templates,
    finding_line,
};
use divulge::wire::RequestHead;
use flate2::Compression;
use flate2::write::GzEncoder;

/// Messages of one conversation.
const MOST: usize = 6;
/// Shorter ones are not remembered.
const PADDING: usize = 520;

struct Both {
    /// One that remembers and one that does not.
    engines: [Arc<Engine>; 2],
    /// What they know of their client at one time and at another.
    known: [Arc<Templates>; 2],
}

static BOTH: LazyLock<Both> = LazyLock::new(|| {
    let facts = [("user.name", "ann-example"), ("tz.iana", "Asia/Shanghai"), ("path.home", "/home/ann-example")];
    let engine = || {
        Engine::new(EngineParts {
            rules: RuleSet::builtin(),
            facts: Facts::of(facts.map(|(kind, value)| (kind.to_owned(), value.to_owned()))),
            policy: Policy::preset("audit").expect("the preset is there"),
            digest_key: [3; 32],
            limits: DecodeLimits { depth: 8, json_depth: 64, decoded_bytes: 1 << 20, ratio: 1000 },
            on_error: OnError::Open,
        })
    };
    let both =
        [engine(), engine().without_memory()].map(|engine| Arc::new(engine.with_templates(Arc::default(), true)));
    let mut templates = Templates::default();
    let mut earlier = Arc::default();
    for turn in 1..24 {
        let message =
            format!(r#"{{"role":"user","content":[{{"type":"text","text":"{}","n":{turn}}}]}}"#, "so. ".repeat(150));
        templates.learn(said(&both[1], &body(&vec![message.into_bytes(); turn % 5])).1, 1);
        if turn == 12 {
            earlier = Arc::new(templates.clone());
        }
    }
    Both { engines: both, known: [Arc::new(templates), earlier] }
});

/// The findings, and what is learned.
fn said(engine: &Arc<Engine>, body: &[u8]) -> (Vec<String>, divulge::engine::Lesson) {
    let fields = [("user-agent", "example-cli/1.2"), ("content-type", "application/json")];
    let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    let head = RequestHead::from_parts("POST", "/v1/messages", fields);
    let request = Arc::new(Request { host: "api.example.com".into(), port: 443, secure: true, head });
    let mut flow = engine.open("1".into(), request);
    let audit = flow.audit(Part::Document(Bytes::copy_from_slice(body)));
    let context = LineContext {
        time: "",
        session: "",
        flow: "1",
        host: "api.example.com",
        method: None,
        path: None,
        client: None,
        client_version: None,
        id: None,
        user: None,
        group: None,
        reveal: true,
        digest_key: &[3; 32],
    };
    let mut lines: Vec<String> = audit.findings.iter().map(|finding| finding_line(finding, &context)).collect();
    lines.extend(audit.unread.iter().map(|unread| format!("{}: {} {}", unread.location, unread.bytes, unread.reason)));
    lines.push(format!("{} of {}", audit.bytes_read, audit.bytes_sent));
    (lines, flow.close().lesson)
}

fn body(messages: &[Vec<u8>]) -> Vec<u8> {
    [br#"{"model":"m","messages":["#, &messages.join(&b","[..])[..], br#"],"stream":true}"#].concat()
}

/// `text` in an encoding, or in two.
fn wrapped(kind: u8, text: &str) -> String {
    let document = || serde_json::json!({"note": {"lines": [text, "and so on"]}}).to_string();
    let percent = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    match kind {
        1 => document(),
        2 => BASE64.encode(document()),
        3 => document().bytes().map(percent).collect(),
        4 => {
            let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
            packed.write_all(document().as_bytes()).expect("memory");
            format!("blob {} end", BASE64.encode(packed.finish().expect("memory")))
        }
        5 => serde_json::json!({ "inner": BASE64.encode(document()) }).to_string(),
        6 => BASE64.encode(text),
        _ => text.to_owned(),
    }
}

/// A message with `bytes` in it: as they are, in an encoding, as a text, or as the whole of it.
fn message(kind: u8, bytes: &[u8]) -> Vec<u8> {
    let text = wrapped(kind / 4 % 8, &String::from_utf8_lossy(bytes));
    let padding = "w ".repeat(PADDING / 2);
    match kind % 4 {
        0 => format!(r#"{{"role":"user","pad":"{padding}","content":{text}}}"#).into_bytes(),
        1 => {
            let content = serde_json::json!([{"type": "text", "text": text}]);
            format!(r#"{{"role":"assistant","content":{content},"pad":"{padding}"}}"#).into_bytes()
        }
        2 => format!(r#"{{"content":{},"pad":"{padding}","role":"user"}}"#, serde_json::Value::from(text)).into_bytes(),
        _ => bytes.to_vec(),
    }
}

/// The first byte of each message says how the rest of it, up to a zero, stands in it.
pub fn remembered(data: &[u8]) {
    let messages: Vec<Vec<u8>> = data
        .split(|&byte| byte == 0)
        .take(MOST)
        .filter_map(|part| part.split_first())
        .map(|(&kind, bytes)| message(kind, bytes))
        .collect();
    // As a conversation grows, then once more, and from its middle on.
    let turns = (1..=messages.len()).chain([messages.len()]).map(|turns| &messages[..turns]);
    let Both { engines, known } = &*BOTH;
    for (number, turn) in turns.chain([&messages[messages.len() / 2..]]).enumerate() {
        let body = body(turn);
        // Now and then more is known than when a message was remembered, or less.
        let known = &known[usize::from(number % 3 == 2)];
        let [with, without] = engines.each_ref().map(|engine| {
            engine.set_templates(known.clone());
            said(engine, &body)
        });
        assert_eq!(with.0, without.0);
        let learned = [with.1, without.1].map(|lesson| {
            let mut learned = Templates::default();
            learned.learn(lesson, 1);
            learned.to_json()
        });
        assert_eq!(learned[0], learned[1]);
    }
}
