//! Audits what was sent and counts what was found of what was planted.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use divulge::engine::rules::RuleSet;
use divulge::engine::{DecodeLimits, Detector, Engine, EngineParts, Facts, Finding, OnError, Outgoing, Part, Policy};
use divulge::session::raw::Captured;

use crate::carrier::{Pieces, Sent};
use crate::machine::Known;

/// An engine that knows this machine, with all built-in rules, under the default policy.
pub fn engine(facts: &[Known]) -> Arc<Engine> {
    Arc::new(knowing(facts))
}

/// An engine that knows no machine.
pub fn bare() -> Engine {
    knowing(&[])
}

/// The same under the policy that hides most.
pub fn strict(facts: &[Known]) -> Arc<Engine> {
    Arc::new(under("strict", facts))
}

fn knowing(facts: &[Known]) -> Engine {
    under("audit", facts)
}

fn under(policy: &str, facts: &[Known]) -> Engine {
    Engine::new(EngineParts {
        rules: RuleSet::builtin(),
        facts: Facts::of(facts.iter().map(|known| (known.kind.to_owned(), known.value.clone()))),
        policy: Policy::preset(policy).expect("a preset"),
        digest_key: [7; 32],
        limits: DecodeLimits::default(),
        on_error: OnError::Open,
    })
}

/// The units that a request comes in.
fn parts(captured: &Captured, sent: &Sent) -> Vec<Part> {
    let framed = |list: &[Vec<u8>], part: fn(u64, Bytes) -> Part| {
        let pieces = (0..).zip(list).map(|(index, bytes)| part(index, Bytes::copy_from_slice(bytes)));
        std::iter::once(Part::Head).chain(pieces).collect()
    };
    match &sent.pieces {
        Pieces::Whole => vec![captured.part()],
        Pieces::Messages(list) => {
            let message = |(index, text, bytes): &(u64, bool, Vec<u8>)| Part::Message {
                index: *index,
                text: *text,
                bytes: Bytes::copy_from_slice(bytes),
            };
            std::iter::once(Part::Head).chain(list.iter().map(message)).collect()
        }
        Pieces::Frames(list) => framed(list, |index, bytes| Part::Frame { index, bytes }),
        Pieces::Lines(list) => framed(list, |index, bytes| Part::Line { index, bytes }),
    }
}

/// All that is found in a request.
pub fn audit(engine: &Arc<Engine>, sent: &Sent) -> Vec<Finding> {
    let captured = Captured::read(Bytes::copy_from_slice(&sent.raw)).expect("a generated head is well formed");
    let mut flow = engine.open("0".into(), captured.request.clone());
    parts(&captured, sent).into_iter().flat_map(|part| flow.audit(part).findings).collect()
}

/// What is found, and the request as it leaves; none where it is withheld.
pub fn leaves(engine: &Arc<Engine>, sent: &Sent) -> (Vec<Finding>, Option<Sent>) {
    let captured = Captured::read(Bytes::copy_from_slice(&sent.raw)).expect("a generated head is well formed");
    let mut flow = engine.open("0".into(), captured.request.clone());
    let mut findings = Vec::new();
    let mut raw = sent.raw.clone();
    let mut pieces = Vec::new();
    for (number, part) in parts(&captured, sent).into_iter().enumerate() {
        let audit = flow.audit(part);
        findings.extend(audit.findings);
        if number == 0 {
            let Some(bytes) = captured.outgoing(&audit.outgoing) else { return (findings, None) };
            raw = bytes.to_vec();
            continue;
        }
        match audit.outgoing {
            Outgoing::Unchanged(bytes) => pieces.push(bytes.to_vec()),
            Outgoing::Rewritten(rewritten) => pieces.push(rewritten.payload.to_vec()),
            Outgoing::Withheld(_) => return (findings, None),
        }
    }
    let pieces = match &sent.pieces {
        Pieces::Whole => Pieces::Whole,
        Pieces::Messages(list) => {
            let numbers = list.iter().map(|(index, text, _)| (*index, *text));
            Pieces::Messages(numbers.zip(pieces).map(|((index, text), bytes)| (index, text, bytes)).collect())
        }
        Pieces::Frames(_) => Pieces::Frames(pieces),
        Pieces::Lines(_) => Pieces::Lines(pieces),
    };
    (findings, Some(Sent { raw, pieces, places: sent.places.clone() }))
}

/// A value at a known place.
pub struct Plant {
    pub case: u64,
    pub known: Known,
    /// Kinds of facts with the same value.
    pub kinds: Vec<&'static str>,
    pub encoding: &'static str,
    pub further: bool,
    /// It stands there as anybody can read it.
    pub readable: bool,
    pub carrier: &'static str,
    pub wraps: Vec<&'static str>,
    pub steps: usize,
    /// Any one is right; the first is by the letter.
    pub places: Vec<String>,
}

/// What became of a plant.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Outcome {
    Missed,
    /// Found, but somewhere else.
    Misplaced,
    Placed,
}

impl Plant {
    /// Whether a finding can be this plant: of its kind, or of a longer fact that it is a part of.
    fn is_found_by(&self, finding: &Finding) -> bool {
        self.kinds.contains(&&*finding.kind) || self.is_within(&finding.value)
    }

    fn is_within(&self, other: &str) -> bool {
        other.to_lowercase().contains(&self.known.value.to_lowercase())
    }

    pub fn outcome(&self, findings: &[Finding]) -> Outcome {
        let found = findings.iter().filter(|finding| self.is_found_by(finding));
        let at = found.map(|finding| match self.places.contains(&without_window(&finding.location.to_string())) {
            true => Outcome::Placed,
            false => Outcome::Misplaced,
        });
        at.max().unwrap_or(Outcome::Missed)
    }

    /// Whether a finding of a fact is owed to this plant.
    fn explains(&self, finding: &Finding) -> bool {
        let inside = |value: &str| self.known.value.to_lowercase().contains(&value.to_lowercase());
        self.is_found_by(finding) || inside(&finding.value)
    }
}

/// A location without a trailing `@a-b`.
pub fn without_window(location: &str) -> String {
    let mut place = String::with_capacity(location.len());
    for (index, piece) in location.split('@').enumerate() {
        // In names `@` is written `~3`, so each one opens a window.
        let digits = piece.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'-').count();
        place.push_str(if index == 0 { piece } else { piece.get(digits..).unwrap_or_default() });
    }
    place
}

#[derive(Clone, Copy, Default)]
pub struct Count {
    pub planted: usize,
    pub found: usize,
    pub placed: usize,
}

impl Count {
    pub fn add(&mut self, outcome: Outcome) {
        self.planted += 1;
        self.found += usize::from(outcome != Outcome::Missed);
        self.placed += usize::from(outcome == Outcome::Placed);
    }

    pub fn recall(&self) -> f64 {
        share(self.placed, self.planted)
    }

    /// Of what was found, how much at its place.
    pub fn exact(&self) -> f64 {
        share(self.placed, self.found)
    }
}

pub fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 1.0 } else { part as f64 / whole as f64 }
}

type Table = BTreeMap<String, Count>;

/// What a run came to.
#[derive(Default)]
pub struct Score {
    pub main: Count,
    pub further: Count,
    pub weak: Count,
    /// Short or common values that cannot be read at sight: for information.
    pub weak_encoded: Count,
    pub by_kind: Table,
    pub by_encoding: Table,
    pub by_further: Table,
    pub by_carrier: Table,
    pub by_steps: Table,
    pub by_wrap: Table,
    /// More steps than three.
    pub deep: Count,
    pub fact_findings: usize,
    pub false_findings: usize,
    pub misses: Vec<String>,
    pub false_list: Vec<String>,
}

impl Score {
    pub fn add(&mut self, plants: &[Plant], findings: &[Finding]) {
        for plant in plants {
            let outcome = plant.outcome(findings);
            if outcome != Outcome::Placed {
                self.misses.push(miss(plant, outcome, findings));
            }
            if plant.further {
                self.further.add(outcome);
                self.by_further.entry(plant.encoding.into()).or_default().add(outcome);
                continue;
            }
            if plant.known.is_weak() && !plant.readable {
                self.weak_encoded.add(outcome);
                continue;
            }
            self.by_steps.entry(plant.steps.to_string()).or_default().add(outcome);
            if plant.steps > 3 {
                self.deep.add(outcome);
                continue;
            }
            self.main.add(outcome);
            if plant.known.is_weak() {
                self.weak.add(outcome);
            }
            if plant.known.value.chars().count() >= 6 {
                self.by_kind.entry(plant.known.kind.into()).or_default().add(outcome);
                self.by_encoding.entry(plant.encoding.into()).or_default().add(outcome);
            }
            self.by_carrier.entry(plant.carrier.into()).or_default().add(outcome);
            for wrap in &plant.wraps {
                self.by_wrap.entry((*wrap).into()).or_default().add(outcome);
            }
        }
        for finding in findings.iter().filter(|finding| finding.detector == Detector::Fact) {
            self.fact_findings += 1;
            if !plants.iter().any(|plant| plant.explains(finding)) {
                self.false_findings += 1;
                let case = plants.first().map_or(0, |plant| plant.case);
                self.false_list.push(format!("case {case}: {}", told(finding)));
            }
        }
    }

    pub fn precision(&self) -> f64 {
        1.0 - self.false_findings as f64 / self.fact_findings.max(1) as f64
    }

    /// The row with the least recall of those large enough to tell.
    pub fn worst(table: &Table, least: usize) -> Option<(&String, &Count)> {
        let large = table.iter().filter(|(_, count)| count.planted >= least);
        large.min_by(|(_, a), (_, b)| a.recall().total_cmp(&b.recall()))
    }

    pub fn print(&self) {
        for (title, table) in [
            ("kind", &self.by_kind),
            ("encoding", &self.by_encoding),
            ("further encoding", &self.by_further),
            ("carrier", &self.by_carrier),
            ("steps", &self.by_steps),
            ("around it", &self.by_wrap),
        ] {
            println!("\n{title:24} {:>8} {:>8} {:>8} {:>8}", "planted", "found", "placed", "recall");
            for (name, count) in table {
                println!("{name:24} {:8} {:8} {:8} {:8.4}", count.planted, count.found, count.placed, count.recall());
            }
        }
        println!();
        for (name, count) in [
            ("main list", self.main),
            ("further list", self.further),
            ("short or common", self.weak),
            ("the same, encoded", self.weak_encoded),
        ] {
            let (recall, exact) = (count.recall(), count.exact());
            println!(
                "{name:24} {:8} {:8} {:8} {recall:8.4}   exact among found {exact:.4}",
                count.planted, count.found, count.placed
            );
        }
        println!(
            "precision of `fact`      {:8.4}   ({} of {} false)",
            self.precision(),
            self.false_findings,
            self.fact_findings
        );
    }
}

/// As in the report of a false finding.
pub fn told(finding: &Finding) -> String {
    let observed = finding.observed.as_deref().map(|text| format!(" spelled {text:.60?}")).unwrap_or_default();
    format!(
        "{} {:?} at {} ({:?}, {:.2}){observed}",
        finding.kind, finding.value, finding.location, finding.detector, finding.confidence
    )
}

fn miss(plant: &Plant, outcome: Outcome, findings: &[Finding]) -> String {
    let found: Vec<String> = findings
        .iter()
        .filter(|finding| plant.is_found_by(finding))
        .map(|finding| finding.location.to_string())
        .collect();
    let other: Vec<String> = findings.iter().map(|finding| format!("{}@{}", finding.kind, finding.location)).collect();
    let found =
        if found.is_empty() { format!("others: {}", other.join(" ")) } else { format!("found at {}", found.join(" ")) };
    format!(
        "case {}: {outcome:?} {} {:?} as {} in {} wrapped {:?}: expected {}; {found:.300}",
        plant.case, plant.known.kind, plant.known.value, plant.encoding, plant.carrier, plant.wraps, plant.places[0]
    )
}
