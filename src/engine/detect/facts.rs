//! Finds the facts of this very machine, however they are spelled.
//!
//! ```text
//! facts -> forms (as it is, its digests …) -> one automaton          once
//! leaf  -> overlapping matches -> boundary -> support -> longest     for every leaf
//! ```
//!
//! What can be undone is undone by the walk; what cannot, a digest, is computed here beforehand and
//! searched for like a value. A new form is a variant of `Form` and its patterns, nothing else.

use std::ops::Range;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

use super::RawFinding;
use super::support::{self, Support};
use crate::engine::facts::Fact;
use crate::engine::finding::{Detector, Severity};
use crate::engine::kinds::{self, Entropy};
use crate::engine::location::Step;
use crate::engine::visit::{Leaf, LeafKind, Place};

/// How a fact may be spelled.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Form {
    /// As it is, in any case.
    Raw,
    /// SHA-256 in hex of either case, of the value as it is or in lower case.
    Sha256Hex,
    /// SHA-256 in base64 of either alphabet, padding aside.
    Sha256Base64,
}

/// How much a value says on its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Strength {
    /// Nothing else looks like it: an address, a path, an identifier.
    Sure,
    /// A name of some length.
    Fair,
    /// From a public list, so that it occurs in code and documentation: a zone, a locale, a shell.
    Vocabulary,
    /// Short or common: counts only where name, position or neighbours support it.
    Weak,
}

struct Known {
    kind: Arc<str>,
    value: Arc<str>,
    strength: Strength,
    severity: Severity,
}

/// One automaton over every form of every fact.
pub struct Matcher {
    automaton: AhoCorasick,
    facts: Vec<Known>,
    /// For each pattern: the fact and the form.
    patterns: Vec<(u32, Form, String)>,
}

/// A match that counts.
struct Hit {
    fact: u32,
    form: Form,
    range: Range<usize>,
    confidence: f32,
}

impl Matcher {
    /// None where there is nothing to find.
    pub(in crate::engine) fn new(facts: &[Fact]) -> Option<Self> {
        let mut patterns = Vec::new();
        let mut known = Vec::with_capacity(facts.len());
        for fact in facts {
            let value = fact.value.trim();
            let index = known.len() as u32;
            known.push(Known {
                kind: fact.kind.clone(),
                value: value.into(),
                strength: strength(&fact.kind, value),
                severity: severity(&fact.kind),
            });
            patterns.push((index, Form::Raw, value.to_owned()));
            let lower = value.to_lowercase();
            let spellings = if lower == value { vec![value] } else { vec![value, lower.as_str()] };
            for spelling in spellings {
                let digest = Sha256::digest(spelling.as_bytes());
                patterns.push((index, Form::Sha256Hex, crate::engine::line::hex(&digest)));
                patterns.push((index, Form::Sha256Base64, STANDARD_NO_PAD.encode(digest)));
                patterns.push((index, Form::Sha256Base64, URL_SAFE_NO_PAD.encode(digest)));
            }
        }
        if patterns.is_empty() {
            return None;
        }
        let automaton = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            // Every match is looked at: the longest may fail at its boundary where a shorter one holds.
            .match_kind(MatchKind::Standard)
            .kind((patterns.len() < 4096).then_some(AhoCorasickKind::DFA))
            .build(patterns.iter().map(|(_, _, text)| text))
            .ok()?;
        Some(Self { automaton, facts: known, patterns })
    }

    /// Adds to `found` every fact that `leaf` holds.
    pub(in crate::engine) fn inspect(&self, leaf: &Leaf<'_>, place: &dyn Place, found: &mut Vec<RawFinding>) {
        if leaf.kind == LeafKind::Method || leaf.text.is_empty() {
            return;
        }
        let mut hits: Vec<Hit> = Vec::new();
        for matched in self.automaton.find_overlapping_iter(leaf.text) {
            let (fact, form, text) = &self.patterns[matched.pattern().as_usize()];
            let range = matched.range();
            let known = &self.facts[*fact as usize];
            let confidence = match form {
                Form::Raw => known.confidence(leaf, place, &range),
                // The automaton does not tell the cases of base64 apart.
                Form::Sha256Base64 if leaf.text[range.clone()] != *text.as_bytes() => None,
                Form::Sha256Hex | Form::Sha256Base64 => support::is_token(leaf.text, &range).then_some(0.99),
            };
            if let Some(confidence) = confidence {
                keep_longest(&mut hits, Hit { fact: *fact, form: *form, range, confidence });
            }
        }
        found.extend(hits.into_iter().map(|hit| self.finding(hit, leaf, place)));
    }

    fn finding(&self, hit: Hit, leaf: &Leaf<'_>, place: &dyn Place) -> RawFinding {
        let known = &self.facts[hit.fact as usize];
        let whole = hit.range.len() == leaf.text.len();
        let mut location = place.location();
        if !whole {
            location.steps.push(Step::Window(hit.range.start as u32, hit.range.end as u32));
        }
        let text = String::from_utf8_lossy(&leaf.text[hit.range.clone()]);
        let as_it_stands = hit.form == Form::Raw && *text == *known.value;
        RawFinding {
            kind: known.kind.clone(),
            location,
            detector: Detector::Fact,
            rule: None,
            severity: known.severity,
            confidence: hit.confidence,
            value: known.value.to_string(),
            observed: (!as_it_stands).then(|| text.into_owned()),
            target: leaf.target,
            window: (!whole).then_some(hit.range),
            action: None,
        }
    }
}

/// Of matches that hold one another the longest stays: the login name inside the home folder is the folder.
fn keep_longest(hits: &mut Vec<Hit>, new: Hit) {
    let holds = |outer: &Range<usize>, inner: &Range<usize>| outer.start <= inner.start && inner.end <= outer.end;
    for hit in hits.iter() {
        let same = hit.range == new.range;
        if holds(&hit.range, &new.range) && (!same || hit.confidence >= new.confidence) {
            return;
        }
    }
    hits.retain(|hit| !holds(&new.range, &hit.range));
    hits.push(new);
}

impl Known {
    /// How sure it is that these bytes are the fact; none where they only look alike.
    fn confidence(&self, leaf: &Leaf<'_>, place: &dyn Place, range: &Range<usize>) -> Option<f32> {
        if !support::stands_alone(leaf.text, range, &self.value) {
            return None;
        }
        if leaf.kind == LeafKind::JsonName && matches!(self.strength, Strength::Vocabulary | Strength::Weak) {
            // `linux_distro_id` names a field, on whatever system.
            return None;
        }
        let whole = leaf.text[..range.start].trim_ascii().is_empty() && leaf.text[range.end..].trim_ascii().is_empty();
        let support = Support::of(&self.kind, leaf, place, range);
        match self.strength {
            Strength::Sure => Some(if support.named { 0.99 } else { 0.95 }),
            Strength::Fair if whole || support.any() => Some(if support.any() { 0.95 } else { 0.85 }),
            Strength::Fair => Some(0.75),
            Strength::Vocabulary if whole && support.listed => None,
            Strength::Vocabulary if whole => Some(if support.named { 0.95 } else { 0.75 }),
            Strength::Vocabulary if support.any() => Some(0.85),
            Strength::Vocabulary => (!support::is_among_its_like(leaf.text, range, &self.kind)).then_some(0.6),
            Strength::Weak if whole && support.named && !support.listed => Some(0.8),
            Strength::Weak if support.neighbour => Some(0.7),
            Strength::Weak if support.named && leaf.text.len() <= 64 && !support.listed => Some(0.55),
            Strength::Weak => None,
        }
    }
}

fn severity(kind: &str) -> Severity {
    match kinds::find(kind).map(|kind| kind.entropy) {
        Some(Entropy::Unique) => Severity::High,
        Some(Entropy::Low) => Severity::Low,
        Some(Entropy::Mid) | None => Severity::Medium,
    }
}

fn strength(kind: &str, value: &str) -> Strength {
    let lower = value.to_ascii_lowercase();
    let digits = value.bytes().filter(u8::is_ascii_digit).count();
    let letters = value.chars().filter(|c| c.is_alphabetic()).count();
    // Counted in characters of which each says about as much as two letters of an alphabet.
    let weight = value.chars().map(|c| if c.is_alphabetic() && !c.is_ascii() { 2 } else { 1 }).sum::<usize>();
    if weight < 6 || support::is_common(&lower) || (letters == 0 && digits == value.len() && digits < 9) {
        return Strength::Weak;
    }
    if ["tz.", "locale.", "os.", "env.", "sw.", "hw.", "geo."].iter().any(|family| kind.starts_with(family)) {
        return match kind {
            // An exact build, model or list is as good as a name.
            "os.kernel" | "hw.cpu" | "hw.gpu" | "sw.packages" | "sw.processes" | "env.vars" | "geo.latlon"
                if digits > 0 =>
            {
                Strength::Sure
            }
            _ => Strength::Vocabulary,
        };
    }
    let structured = value.contains('@')
        || value.matches(['/', '\\']).count() >= 2
        || value.parse::<std::net::IpAddr>().is_ok()
        || value.matches([':', '-']).count() >= 5
        || (digits >= 2 && letters >= 2 && value.len() >= 8)
        || value.len() >= 16;
    if structured { Strength::Sure } else { Strength::Fair }
}

#[cfg(test)]
#[path = "facts_tests.rs"]
mod tests;
