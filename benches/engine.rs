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
//! | `dense-1m` | full of what detectors have to look at: paths, numbers, escapes, every few words |
//! | `wrapped-1m` | the same conversation, each turn in an encoding: JSON in strings to two depths, base64, percent, gzip |
//! | `nested-1m` | the same conversation in base64 and gzip inside JSON, turn by turn |

#[path = "common/bodies.rs"]
mod bodies;
#[path = "common/cpu_time.rs"]
mod cpu_time;

use std::hint::black_box;
use std::sync::Arc;

use bodies::{LARGE, body, dense, engine, facts, nested, remembering, request, turn_of, wrapped};
use cpu_time::CpuTime;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use divulge::engine::visit::{Leaf, Place, Visitor};
use divulge::engine::{DecodeLimits, Facts, Part, Unit, walk};

const BODY: usize = 200 * 1024;

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
    for (name, body) in [
        ("conversation-1m", body(LARGE, true)),
        ("no-hit-1m", body(LARGE, false)),
        ("dense-1m", dense(LARGE)),
        ("wrapped-1m", wrapped(LARGE)),
        ("nested-1m", nested(LARGE)),
    ] {
        let request = request(body.len());
        let mut group = criterion.benchmark_group(name);
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
        group.bench_function("audit", |bencher| {
            bencher.iter(|| {
                let mut flow = engine.open("bench".to_owned(), request.clone());
                let audit = flow.audit(Part::Document(black_box(body.clone())));
                assert_eq!(audit.bytes_read, body.len() as u64);
                (audit, flow.close())
            });
        });
        // The texts of the turn before, in a body that is another one.
        let remembering = Arc::new(remembering("audit", Facts::new(facts())));
        let mut number = 0;
        group.bench_function("turn", |bencher| {
            bencher.iter(|| {
                number += 1;
                let body = turn_of(&body, number);
                let mut flow = remembering.open("bench".to_owned(), request.clone());
                let audit = flow.audit(Part::Document(black_box(body)));
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
