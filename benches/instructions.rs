//! One body audited a given number of times, for a counter of instructions: `benches/instructions.sh` runs it.
//!
//! Time is the whole machine's affair; the number of instructions is the program's own, the same in every run.

// Some of its bodies are for the other benchmarks alone.
#[allow(dead_code)]
#[path = "common/bodies.rs"]
mod bodies;

use std::cell::Cell;
use std::hint::black_box;
use std::sync::Arc;

use bodies::{LARGE, body, dense, engine, facts, nested, remembering, request, turn_of, with_rules};
use bytes::Bytes;
use divulge::engine::rules::PackSource;
use divulge::engine::{Engine, Facts, Part, RuleSet, Templates};

fn main() {
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    let (Some(case), Some(count)) = (words.next(), words.next().and_then(|count| count.parse::<u32>().ok())) else {
        eprintln!("instructions: needs a case and how often: `small-2k 100` (`instructions.sh` knows the cases)");
        return;
    };
    let (name, memory) = case.split_once('+').unwrap_or((&case, ""));
    let (name, policy) = name.split_once('/').unwrap_or((name, "audit"));
    if let Some(turns) = name.strip_prefix("session-").and_then(|turns| turns.parse().ok()) {
        return one_session(turns, memory == "alone", policy, count);
    }
    let rules = name.strip_prefix("rules-").and_then(|rules| rules.parse().ok());
    let name = if rules.is_some() { "small-2k" } else { name };
    let body = match name {
        "small-2k" => dense(2 * 1024),
        "quiet-6k" => body(2 * 1024, false),
        "dense-200k" => dense(200 * 1024),
        "request-200k" => body(200 * 1024, true),
        "no-hit-200k" => body(200 * 1024, false),
        "conversation-1m" => body(LARGE, true),
        "nested-200k" => nested(200 * 1024),
        "head" => Bytes::new(),
        _ => {
            eprintln!("instructions: no case is called `{name}`");
            std::process::exit(2);
        }
    };
    let facts = Facts::new(facts());
    let engine = if let Some(rules) = rules {
        Arc::new(with_rules(policy, facts, more_rules(rules)).without_memory())
    } else if memory == "learned" {
        learned(policy, facts, &body)
    } else if !memory.is_empty() {
        Arc::new(remembering(policy, facts))
    } else {
        engine(policy, facts)
    };
    let request = request(body.len());
    let turn = Cell::new(0u32);
    let once = || {
        let part = if body.is_empty() { Part::Head } else { Part::Document(next(&body, memory, &turn)) };
        let mut flow = engine.open("bench".to_owned(), request.clone());
        black_box((flow.audit(black_box(part)), flow.close()));
    };
    // Patterns make their tables when they are first tried, and buffers grow to what they need.
    (0..20).for_each(|_| once());
    warm_audits(count, &once);
}

/// An engine that has learned from requests like `body` how its client spells them, and goes on learning, as a proxy does.
fn learned(policy: &str, facts: Facts, body: &Bytes) -> Arc<Engine> {
    let engine = Arc::new(remembering(policy, facts).with_templates(Arc::default(), true));
    let mut templates = Templates::default();
    for turn in 0..40 {
        let body = turn_of(body, 1000 + turn);
        let mut flow = engine.open("bench".to_owned(), request(body.len()));
        flow.audit(Part::Document(body));
        templates.learn(flow.close().lesson, 1);
        engine.set_templates(Arc::new(templates.clone()));
    }
    engine
}

/// All turns of a conversation, one request after the other, by an engine that has seen other conversations.
fn one_session(turns: usize, alone: bool, policy: &str, count: u32) {
    let engine = Arc::new(remembering(policy, Facts::new(facts())));
    let all = |seed: usize| {
        for body in session(seed, turns, alone) {
            audit(&engine, body);
        }
    };
    (0..2).for_each(all);
    for number in 0..count {
        let bodies = session(100 + number as usize, turns, alone);
        let bodies = Cell::new(bodies);
        warm_audits(1, &|| bodies.take().into_iter().for_each(|body| audit(&engine, body)));
    }
}

fn audit(engine: &Arc<Engine>, body: Bytes) {
    let mut flow = engine.open("bench".to_owned(), request(body.len()));
    black_box((flow.audit(black_box(Part::Document(body))), flow.close()));
}

/// The body that is sent next: the same `again`, or with other digits at its end, all of its texts those of the `turn` before.
fn next(body: &Bytes, memory: &str, turn: &Cell<u32>) -> Bytes {
    if memory != "turn" && memory != "learned" {
        return body.clone();
    }
    turn.set(turn.get() + 1);
    turn_of(body, turn.get())
}

/// What is counted: `instructions.sh` knows it by its name.
#[inline(never)]
fn warm_audits(count: u32, once: &dyn Fn()) {
    (0..black_box(count)).for_each(|_| once());
}

/// A rule of a pack beside the built-in ones; `#` is its number.
const RULE: &str = r##"
id = "more.#"
kind = "id.request"
title = "Number #"
severity = "low"
action = "log"
why = "Invented, to see what rules cost."
select = { SELECT }
match = { MATCH }

[[example]]
name = "found"
expect = ["body!json:/PLACE"]
request = '''
POST / HTTP/1.1
host: api-#.example.com
content-type: application/json

{BODY}
'''

[[example]]
name = "nothing there"
expect = []
request = '''
POST / HTTP/1.1
host: api-#.example.com
content-type: application/json

{"n": 1}
'''
"##;

/// The built-in packs and `count` rules beside them: a quarter each by the names of fields, by these for a host of its own, and half
/// by what stands in a sentence.
fn more_rules(count: usize) -> RuleSet {
    const ID: &str = "9f86d081-884c-4d65-9a2f-eaa0c55ad015";
    let named = format!(r#""invented_#_id": "{ID}""#);
    let rule = |n: usize| {
        let number = n.to_string();
        let place = format!("text@{}-{}", 18 + number.len(), 54 + number.len());
        let said = format!(r#""text": "invented number #: {ID}""#);
        let [select, matching, place, body] = match n % 4 {
            0 => [r#"names = ["invented_#_id"]"#, r#"validator = "uuid""#, "invented_#_id", &named],
            1 => [
                r#"host = ["api-#.example.com"], names = ["invented_#_id"]"#,
                r#"validator = "uuid""#,
                "invented_#_id",
                &named,
            ],
            _ => [
                "text = true",
                r#"near = "invented number #:", value = 'invented number #: (?<value>[0-9a-f-]{36})', validator = "uuid""#,
                &place,
                &said,
            ],
        };
        let text =
            RULE.replace("SELECT", select).replace("MATCH", matching).replace("PLACE", place).replace("BODY", body);
        text.replace('#', &number)
    };
    let rules: Vec<String> = (0..count).map(rule).collect();
    let names: Vec<String> = (0..count).map(|n| format!("more/{n}.toml")).collect();
    let sources: Vec<PackSource<'_>> = names.iter().zip(&rules).map(|(name, text)| PackSource { name, text }).collect();
    match RuleSet::load(&sources) {
        Ok(rules) => rules,
        Err(error) => panic!("{error}"),
    }
}

/// A conversation of which no other `seed` has a text: each of its bodies holds all turns so far, a question and a file each.
/// `alone`: each holds its own turn and nothing else.
fn session(seed: usize, turns: usize, alone: bool) -> Vec<Bytes> {
    let whole: serde_json::Value = serde_json::from_slice(&body(turns * 6000, true)).expect("it is JSON");
    let pairs: Vec<Vec<serde_json::Value>> = whole["messages"].as_array().expect("a list")[1..]
        .chunks(2)
        .enumerate()
        .map(|(number, pair)| {
            let told = |message: &serde_json::Value| {
                let text = message.to_string().replace("the ", &format!("the {seed}:{number} "));
                serde_json::from_str(&text).expect("it is JSON")
            };
            pair.iter().map(told).collect()
        })
        .collect();
    (0..turns.min(pairs.len()))
        .map(|turn| {
            let from = if alone { turn } else { 0 };
            let messages: Vec<&serde_json::Value> = pairs[from..=turn].iter().flatten().collect();
            let document = serde_json::json!({
                "model": "claude-sonnet-4-5", "max_tokens": 32000, "stream": true,
                "system": [{"type": "text", "text": "You are a coding assistant."}],
                "messages": messages,
            });
            document.to_string().into()
        })
        .collect()
}
