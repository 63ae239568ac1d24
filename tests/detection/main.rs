//! How much is found, and how often falsely: figures from requests that a seeded generator makes.
//!
//! ```text
//! seed -> machine -> value -> encoding -> sentence or document -> encodings around it -> carrier -> request
//!                                                                                   audit -> score -> tables
//! ```
//!
//! `cargo test --test detection -- --nocapture` prints the tables. `DIVULGE_DETECTION_CASES` says how many requests
//! (12,000), `DIVULGE_DETECTION_SEED` which ones (1), `DIVULGE_DETECTION_CASE` that only this one is made and printed,
//! `DIVULGE_DETECTION_MISSES` how many misses are listed (30). The generator shares no code with the engine: encoders and
//! locations are its own.

mod carrier;
mod covert;
mod decoy;
mod document;
mod encode;
mod envelope;
mod harness;
mod load;
mod machine;
mod proto;
mod random;
mod score;
mod strict;
mod telemetry;

use std::collections::BTreeMap;
use std::sync::Arc;

use divulge::engine::{Detector, Engine};
use sha2::Digest;

use carrier::{Carrier, Sent};
use encode::Encoded;
use load::Load;
use machine::Known;
use random::Rng;
use score::{Plant, Score};

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// One machine serves so many requests: engines are costly to build.
const CASES_PER_MACHINE: u64 = 400;

struct Run {
    seed: u64,
    cases: Vec<u64>,
    verbose: bool,
}

impl Run {
    fn new(share: u64) -> Self {
        let seed = setting("DIVULGE_DETECTION_SEED", 1);
        let all = setting("DIVULGE_DETECTION_CASES", 12_000);
        match std::env::var("DIVULGE_DETECTION_CASE").ok().and_then(|text| text.parse().ok()) {
            Some(case) => Self { seed, cases: vec![case], verbose: true },
            None => Self { seed, cases: (0..all / share).collect(), verbose: false },
        }
    }

    /// Calls `each` with every case, its generator, and its machine with the engine that knows it.
    fn each(&self, mut each: impl FnMut(u64, Rng, &[Known], &Arc<Engine>)) {
        let mut current: Option<(u64, Vec<Known>, Arc<Engine>)> = None;
        for &case in &self.cases {
            let number = case / CASES_PER_MACHINE;
            if !matches!(current, Some((held, ..)) if held == number) {
                let facts = machine::machine(&mut Rng::of_case(self.seed, u64::MAX - number));
                let engine = score::engine(&facts);
                current = Some((number, facts, engine));
            }
            if let Some((_, facts, engine)) = &current {
                each(case, Rng::of_case(self.seed, case), facts, engine);
            }
        }
    }
}

/// Common ones three times out of four.
fn any_carrier(rng: &mut Rng) -> &'static Carrier {
    let list = if rng.percent(75) { carrier::CARRIERS } else { envelope::CARRIERS };
    &list[rng.below(list.len())]
}

/// A request with values planted in it.
fn planted(
    rng: &mut Rng,
    case: u64,
    facts: &[Known],
    disguise: impl Fn(&mut Rng, &Encoded) -> Vec<u8>,
) -> (Sent, Vec<Plant>) {
    let carrier = any_carrier(rng);
    let count = rng.between(1, carrier.loads);
    let mut loads: Vec<Load> = Vec::new();
    let mut plants = Vec::new();
    // What a carrier does not take is drawn again.
    for _ in 0..500 {
        if loads.len() == count {
            break;
        }
        let mut known = &facts[rng.below(facts.len())];
        let encoded = match rng.below(100) {
            _ if known.is_weak() => encode::weak(rng, &known.value),
            0..=19 => {
                let which = match carrier.is_binary() && rng.percent(30) {
                    true => encode::FURTHER - 1,
                    false => rng.below(encode::FURTHER),
                };
                // The last two are forms of a few kinds alone.
                let kinds: &[&str] = match which {
                    14 => &["path.home", "path.cwd", "path.project", "path.exec"],
                    15 => &["net.mac", "git.remote"],
                    _ => &[],
                };
                if !kinds.is_empty() {
                    let kind = rng.pick(kinds);
                    known = facts.iter().find(|other| other.kind == kind).unwrap_or(known);
                }
                let Some(encoded) = encode::further(rng, which, known) else { continue };
                encoded
            }
            _ => {
                let which = rng.below(encode::MAIN);
                encode::main(rng, which, &known.value)
            }
        };
        let encoded = Encoded { bytes: disguise(rng, &encoded), ..encoded };
        let wraps = *[0, 0, 0, 0, 1, 1, 1, 2, 2, 3].get(rng.below(10)).unwrap_or(&0);
        let load = load::load(rng, known, &encoded, wraps);
        if !(carrier.takes)(&load) || (load.is_binary && !carrier.is_binary()) {
            continue;
        }
        let folded = known.value.to_lowercase();
        let equal = facts.iter().filter(|other| other.value.to_lowercase() == folded).map(|other| other.kind);
        plants.push(Plant {
            case,
            known: known.clone(),
            kinds: equal.chain(encoded.also.iter().copied()).collect(),
            encoding: encoded.name,
            further: encoded.further,
            readable: encoded.readable,
            carrier: carrier.name,
            wraps: load.wraps.clone(),
            steps: load.inner[0].matches('!').count(),
            places: Vec::new(),
        });
        loads.push(load);
    }
    if loads.is_empty() {
        return (carrier::whole(carrier::request("GET /", "api.example.com", "", b""), Vec::new()), plants);
    }
    let sent = (carrier.carry)(rng, &loads);
    for ((plant, load), places) in plants.iter_mut().zip(&loads).zip(&sent.places) {
        plant.places =
            places.iter().flat_map(|place| load.inner.iter().map(move |inner| format!("{place}{inner}"))).collect();
    }
    (sent, plants)
}

/// Failures of several figures, told together.
fn demand(figures: &[(&str, f64, f64)]) {
    let short: Vec<String> = figures
        .iter()
        .filter(|(_, reached, wanted)| reached < wanted)
        .map(|(name, reached, wanted)| format!("{name}: {reached:.4}, wanted at least {wanted}"))
        .collect();
    assert!(short.is_empty(), "\n{}", short.join("\n"));
}

#[test]
fn what_is_planted_is_found_at_its_place() {
    let run = Run::new(1);
    let mut score = Score::default();
    run.each(|case, mut rng, facts, engine| {
        let (sent, plants) = planted(&mut rng, case, facts, |_, encoded| encoded.bytes.clone());
        let findings = score::audit(engine, &sent);
        if run.verbose {
            println!("{}\n", String::from_utf8_lossy(&sent.raw));
            findings.iter().for_each(|finding| println!("{}", score::told(finding)));
        }
        score.add(&plants, &findings);
    });
    score.print();
    let listed = setting("DIVULGE_DETECTION_MISSES", 30) as usize;
    println!("\nmisses (seed {}):", run.seed);
    spread(&score.misses, listed).for_each(|miss| println!("  {miss}"));
    println!("\nfalse findings:");
    spread(&score.false_list, listed).for_each(|finding| println!("  {finding}"));
    let kind = Score::worst(&score.by_kind, 100);
    let encoding = Score::worst(&score.by_encoding, 100);
    println!("\nworst kind {:?}, worst encoding {:?}", kind.map(|(name, _)| name), encoding.map(|(name, _)| name));
    if run.verbose {
        return;
    }
    demand(&[
        ("recall of the main list, placed", score.main.recall(), 0.99),
        ("recall of the further list, placed", score.further.recall(), 0.90),
        ("recall of the worst kind", kind.map_or(1.0, |(_, count)| count.recall()), 0.95),
        ("recall of the worst encoding", encoding.map_or(1.0, |(_, count)| count.recall()), 0.95),
        ("precision", score.precision(), 0.99),
        ("exact location among hits", score.main.exact(), 0.98),
    ]);
}

/// Some of a list, from all of it.
fn spread(list: &[String], count: usize) -> impl Iterator<Item = &String> {
    let step = list.len().div_ceil(count.max(1)).max(1);
    list.iter().step_by(step)
}

#[test]
fn values_that_are_salted_or_masked_are_not_claimed_to_be_found() {
    let run = Run::new(4);
    let mut wrong = Vec::new();
    run.each(|case, mut rng, facts, engine| {
        let (sent, _) = planted(&mut rng, case, facts, |rng, encoded| {
            let salt = rng.bytes(16);
            match rng.below(3) {
                0 => encode::hex(&sha2::Sha256::digest([&salt[..], &encoded.bytes].concat())).into_bytes(),
                1 => {
                    encode::hex(&encoded.bytes.iter().zip(salt.iter().cycle()).map(|(a, b)| a ^ b).collect::<Vec<_>>())
                        .into_bytes()
                }
                _ => encode::hex(&md5::Md5::digest([&encoded.bytes[..], &salt].concat())).into_bytes(),
            }
        });
        let found = score::audit(engine, &sent);
        let found = found.iter().filter(|finding| finding.detector == Detector::Fact);
        wrong.extend(found.map(|finding| format!("case {case}: {}", score::told(finding))));
    });
    assert!(wrong.is_empty(), "{} claims:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn little_is_found_where_there_is_nothing() {
    let run = Run::new(2);
    let mut by_decoy: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let mut by_detector = GUESSING.map(|detector| (detector, 0));
    let mut wrong = Vec::new();
    run.each(|case, mut rng, facts, engine| {
        let (sent, decoys) = decoy::request(&mut rng, facts);
        let mut findings = score::audit(engine, &sent);
        if run.verbose {
            println!("{}\n", String::from_utf8_lossy(&sent.raw));
        }
        findings.retain(|finding| GUESSING.contains(&finding.detector));
        if let [decoy] = decoys[..] {
            let row = by_decoy.entry(decoy).or_default();
            row.0 += 1;
            row.1 += usize::from(!findings.is_empty());
        }
        for (detector, count) in &mut by_detector {
            *count += usize::from(findings.iter().any(|finding| finding.detector == *detector));
        }
        if !findings.is_empty() {
            let told: Vec<String> = findings.iter().map(score::told).collect();
            wrong.push(format!("case {case}, {}:\n      {}", decoys.join(" + "), told.join("\n      ")));
        }
    });
    println!("\n{:28} {:>8} {:>8}", "decoy, alone", "requests", "wrong");
    for (decoy, (all, wrong)) in &by_decoy {
        println!("{decoy:28} {all:8} {wrong:8}");
    }
    for (detector, count) in by_detector {
        println!("requests in which {detector:?} finds something: {count} of {}", run.cases.len());
    }
    let clean = 1.0 - score::share(wrong.len(), run.cases.len());
    println!("clean requests with nothing found: {clean:.4}\nfalse findings:");
    spread(&wrong, setting("DIVULGE_DETECTION_MISSES", 30) as usize).for_each(|text| println!("  {text}"));
    demand(&[("clean requests in which nothing is found", clean, 0.98)]);
}

/// Detectors that conclude rather than read a field that a rule names.
const GUESSING: [Detector; 4] = [Detector::Fact, Detector::Prompt, Detector::Covert, Detector::Template];
