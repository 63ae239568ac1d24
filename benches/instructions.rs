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

use bodies::{LARGE, body, dense, engine, facts, nested, remembering, request, turn_of};
use bytes::Bytes;
use divulge::engine::{Facts, Part};

fn main() {
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    let (Some(case), Some(count)) = (words.next(), words.next().and_then(|count| count.parse::<u32>().ok())) else {
        eprintln!("instructions: needs a case and how often: `small-2k 100` (`instructions.sh` knows the cases)");
        return;
    };
    let (name, memory) = case.split_once('+').unwrap_or((&case, ""));
    let (name, policy) = name.split_once('/').unwrap_or((name, "audit"));
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
    let engine = if !memory.is_empty() { Arc::new(remembering(policy, facts)) } else { engine(policy, facts) };
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

/// The body that is sent next: the same `again`, or with other digits at its end, all of its texts those of the `turn` before.
fn next(body: &Bytes, memory: &str, turn: &Cell<u32>) -> Bytes {
    if memory != "turn" {
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
