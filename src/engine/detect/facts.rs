//! Finds the facts of this very machine, however they are spelled.
//!
//! ```text
//! facts -> one automaton of the values, one table of their digests   once
//! leaf  -> overlapping matches -> boundary -> support -> longest     for every leaf
//!       -> tokens as long as a digest -> table
//! ```
//!
//! What can be undone is undone by the walk; what cannot, a digest, is computed here beforehand. Digests
//! stay out of the automaton: their random beginnings would make it branch at every letter of every text.

use std::collections::HashMap;
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
use crate::engine::line::hex;
use crate::engine::location::Step;
use crate::engine::visit::{Leaf, LeafKind, Place};

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

/// All facts, ready to be found.
pub struct Matcher {
    /// The values as they are, in any ASCII case; pattern and fact share their number.
    automaton: AhoCorasick,
    facts: Vec<Known>,
    /// SHA-256 in lower-case hex or unpadded base64 of either alphabet, of the value as it is or in lower
    /// case, and the fact it is of.
    digests: HashMap<Box<[u8]>, u32>,
}

/// Characters of SHA-256 in hex and in base64.
const HEX: usize = 64;
const BASE64: usize = 43;

/// A match that counts.
struct Hit {
    fact: u32,
    range: Range<usize>,
    confidence: f32,
}

impl Matcher {
    /// None where there is nothing to find.
    pub(in crate::engine) fn new(facts: &[Fact]) -> Option<Self> {
        let known: Vec<Known> = facts
            .iter()
            .map(|fact| Known {
                kind: fact.kind.clone(),
                value: fact.value.trim().into(),
                strength: strength(&fact.kind, fact.value.trim()),
                severity: severity(&fact.kind),
            })
            .collect();
        if known.is_empty() {
            return None;
        }
        let mut digests = HashMap::new();
        for (index, fact) in (0u32..).zip(&known) {
            let lower = fact.value.to_lowercase();
            for spelling in [&*fact.value, &lower] {
                let digest = Sha256::digest(spelling.as_bytes());
                for text in [hex(&digest), STANDARD_NO_PAD.encode(digest), URL_SAFE_NO_PAD.encode(digest)] {
                    digests.entry(text.into_bytes().into()).or_insert(index);
                }
            }
        }
        let automaton = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            // Every match is looked at: the longest may fail at its boundary where a shorter one holds.
            .match_kind(MatchKind::Standard)
            .kind((known.len() < 1024).then_some(AhoCorasickKind::DFA))
            .build(known.iter().map(|fact| &*fact.value))
            .ok()?;
        Some(Self { automaton, facts: known, digests })
    }

    /// Adds to `found` every fact that `leaf` holds.
    pub(in crate::engine) fn inspect(&self, leaf: &Leaf<'_>, place: &dyn Place, found: &mut Vec<RawFinding>) {
        if leaf.kind == LeafKind::Method || leaf.text.is_empty() {
            return;
        }
        let mut hits: Vec<Hit> = Vec::new();
        for matched in self.automaton.find_overlapping_iter(leaf.text) {
            let (fact, range) = (matched.pattern().as_u32(), matched.range());
            if let Some(confidence) = self.facts[fact as usize].confidence(leaf, place, &range) {
                keep_longest(&mut hits, Hit { fact, range, confidence });
            }
        }
        for run in long_tokens(leaf.text) {
            self.digests_in(leaf.text, run, &mut hits);
        }
        found.extend(hits.into_iter().map(|hit| self.finding(hit, leaf, place)));
    }

    /// Digests that are tokens of their own in `run`.
    fn digests_in(&self, text: &[u8], run: Range<usize>, hits: &mut Vec<Hit>) {
        let mut take = |range: Range<usize>, fact: Option<&u32>| {
            if let Some(&fact) = fact {
                keep_longest(hits, Hit { fact, range, confidence: 0.99 });
            }
        };
        if run.len() == BASE64 {
            take(run.clone(), self.digests.get(&text[run]));
            return;
        }
        // Hex may have neighbours that base64 counts as its own: `sha256-<hex>`, `/blobs/<hex>/raw`.
        let mut start = run.start;
        for part in text[run].split(|byte| !byte.is_ascii_alphanumeric()) {
            let range = start..start + part.len();
            start = range.end + 1;
            if part.len() == HEX && part.iter().all(u8::is_ascii_hexdigit) {
                take(range, self.digests.get(part.to_ascii_lowercase().as_slice()));
            }
        }
    }

    fn finding(&self, hit: Hit, leaf: &Leaf<'_>, place: &dyn Place) -> RawFinding {
        let known = &self.facts[hit.fact as usize];
        let whole = hit.range.len() == leaf.text.len();
        let mut location = place.location();
        if !whole {
            location.steps.push(Step::Window(hit.range.start as u32, hit.range.end as u32));
        }
        let text = String::from_utf8_lossy(&leaf.text[hit.range.clone()]);
        let as_it_stands = *text == *known.value;
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

/// The runs of base64 characters that are long enough for a digest.
fn long_tokens(text: &[u8]) -> impl Iterator<Item = Range<usize>> + '_ {
    let belongs = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_');
    let mut start = 0;
    std::iter::from_fn(move || {
        loop {
            // From the far end of the shortest run back: a space there rules out all that stands before it.
            let window = text.get(start..start + BASE64)?;
            if let Some(gap) = window.iter().rposition(|&byte| !belongs(byte)) {
                start += gap + 1;
                continue;
            }
            let rest = &text[start + BASE64..];
            let end = start + BASE64 + rest.iter().position(|&byte| !belongs(byte)).unwrap_or(rest.len());
            let run = start..end;
            start = end + 1;
            return Some(run);
        }
    })
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
