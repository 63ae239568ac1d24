//! Finds the facts of this very machine, however they are spelled.
//!
//! ```text
//! facts -> their forms, their digests                                  once
//! leaf  -> forms that the scanner met -> boundary -> support -> longest  for every leaf
//!       -> tokens as long as a digest -> table
//!       -> a whole value that is one token -> undone (bare)
//! ```
//!
//! What can be undone is undone by the walk; what stands in the middle of something that cannot, and digests, are
//! computed here beforehand. A fact that is found inside what its leaf holds is reported there alone.

mod bare;
mod digests;
mod forms;
mod short;
mod strength;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use super::RawFinding;
use super::hash::ShortMap;
use super::scanner::FormHit;
use super::support::{self, Support};
use crate::engine::decode::{Layer, Origin, pairs};
use crate::engine::facts::Fact;
use crate::engine::finding::{Detector, Severity};
use crate::engine::kinds::{self, Entropy};
use crate::engine::location::Step;
use crate::engine::visit::{LayerId, Leaf, LeafKind, Place, Segment};
use crate::wire::span::Span;
use digests::Digests;
pub(crate) use forms::Form;
use forms::{Context, Forms, Spelling};
use short::Spelled;
use strength::{Strength, strength};

struct Known {
    kind: Arc<str>,
    value: Arc<str>,
    lower: Box<str>,
    strength: Strength,
    /// A setting that most machines have.
    everyday: bool,
    severity: Severity,
}

/// All facts, ready to be found.
pub struct Matcher {
    facts: Vec<Known>,
    forms: Vec<Form>,
    digests: Digests,
    /// Values in lower case.
    exact: ShortMap<Box<[u8]>, u32>,
    /// The same in UTF-16 of either byte order, as they are too.
    wide: ShortMap<Box<[u8]>, u32>,
    /// Short and common ones in every encoding.
    short: Spelled,
}

/// A match that counts.
struct Hit {
    fact: u32,
    range: Range<usize>,
    confidence: f32,
    /// Short or common, so that other facts, or the sign of a description, must stand near it in a long text.
    weak: bool,
    /// A name, a path, an address: it says whose machine it is.
    telling: bool,
    /// Spelled in a way that the walk may undo as well.
    encoded: bool,
    /// And where it is undone, that says all there is to say.
    undone: bool,
    /// Counts only where another member of its document says whose it is.
    pending: bool,
}

impl Hit {
    fn of_digest(fact: u32, range: Range<usize>) -> Self {
        Self { fact, range, confidence: 0.99, weak: false, telling: true, encoded: true, undone: false, pending: false }
    }
}

/// A leaf and where it stands.
#[derive(Clone, Copy)]
struct At<'a> {
    leaf: &'a Leaf<'a>,
    place: &'a dyn Place,
    /// The text before, in the list that it stands in.
    beside: &'a [u8],
}

/// What is known of a leaf beside its text.
pub(in crate::engine) struct Met<'a> {
    /// What the scanner met.
    pub forms: &'a [FormHit],
    /// Where a description of the machine is announced.
    pub signs: &'a [usize],
    /// Whether people, models and files speak here, not the client alone: asked only where it matters.
    pub shared: &'a dyn Fn() -> bool,
}

/// What was found in one unit.
#[derive(Default)]
pub struct FactFindings {
    found: Vec<Found>,
    hits: Vec<Hit>,
    /// The last short text of a list.
    beside: Vec<u8>,
}

struct Found {
    fact: u32,
    encoded: bool,
    undone: bool,
    telling: bool,
    pending: bool,
    finding: RawFinding,
}

impl Matcher {
    /// None where there is nothing to find.
    pub(in crate::engine) fn new(facts: &[Fact]) -> Option<Self> {
        let known: Vec<Known> = facts
            .iter()
            .map(|fact| Known {
                kind: fact.kind.clone(),
                value: fact.value.trim().into(),
                lower: fact.value.trim().to_lowercase().into(),
                strength: strength(&fact.kind, fact.value.trim()),
                everyday: support::is_everyday(&fact.value.trim().to_ascii_lowercase()),
                severity: severity(&fact.kind),
            })
            .collect();
        if known.is_empty() {
            return None;
        }
        let (mut forms, mut digests) = (Forms::default(), Digests::default());
        let (mut exact, mut wide, mut short) = (ShortMap::default(), ShortMap::default(), Spelled::default());
        for (number, fact) in (0u32..).zip(&known) {
            forms.of(number, &fact.kind, &fact.value, fact.strength);
            digests.add(number, &fact.kind, &fact.value, fact.strength);
            if fact.strength == Strength::Weak {
                short.add(number, &fact.value);
            }
            for cased in [&*fact.value, &fact.lower] {
                for order in [u16::to_le_bytes, u16::to_be_bytes] {
                    wide.entry(forms::utf16(cased, order).into()).or_insert(number);
                }
            }
            exact.entry(fact.lower.as_bytes().into()).or_insert(number);
        }
        Some(Self { facts: known, forms: forms.0, digests, exact, wide, short })
    }

    pub(crate) fn forms(&self) -> &[Form] {
        &self.forms
    }

    /// Whether `value` is one of the facts of `kinds` (or holds one, or is part of one); none where no such fact is known.
    pub(super) fn says_of(&self, kinds: &[&str], value: &str) -> Option<bool> {
        let value = value.to_lowercase();
        // `laptop` is in everybody's address.
        if support::is_common(&value) {
            return None;
        }
        let mut asked = None;
        for fact in self.facts.iter().filter(|fact| kinds.iter().any(|kind| fact.kind.starts_with(kind))) {
            // `dev` is everybody.
            if fact.strength == Strength::Weak {
                continue;
            }
            let known = &*fact.lower;
            if known == value
                || (known.len() >= 3 && is_inside(known, &value))
                || (value.len() >= 3 && is_inside(&value, known))
            {
                return Some(true);
            }
            asked = Some(false);
        }
        asked
    }

    /// Whether `value` is a fact that says something by itself, of whatever kind.
    pub(super) fn is_telling(&self, value: &str) -> bool {
        self.of_value(value).is_some_and(Known::is_telling)
    }

    /// Whether `value` is the zone or locale of this machine, and of many others, but not of most.
    pub(super) fn is_neighbour(&self, value: &str) -> bool {
        let place = |kind: &str| kind.starts_with("tz.") || kind.starts_with("locale.");
        self.of_value(value).is_some_and(|fact| place(&fact.kind) && fact.strength != Strength::Weak && !fact.everyday)
    }

    fn of_value(&self, value: &str) -> Option<&Known> {
        self.exact_value(value.as_bytes()).and_then(|fact| self.facts.get(fact as usize))
    }

    /// The fact whose value is all of `text`, in any case.
    fn exact_value(&self, text: &[u8]) -> Option<u32> {
        if text.is_ascii() {
            let mut lower = [0; 128];
            let lower = lower.get_mut(..text.len())?;
            lower.copy_from_slice(text);
            lower.make_ascii_lowercase();
            return self.exact.get(&*lower).copied();
        }
        let text = std::str::from_utf8(text).ok()?;
        self.exact.get(text.to_lowercase().as_bytes()).copied()
    }

    /// Adds to `findings` every fact that `leaf` holds.
    pub(in crate::engine) fn inspect(
        &self,
        leaf: &Leaf<'_>,
        place: &dyn Place,
        met: &Met<'_>,
        findings: &mut FactFindings,
    ) {
        let forms = met.forms;
        let FactFindings { found, hits, beside } = findings;
        hits.clear();
        match leaf.kind {
            LeafKind::Method | LeafKind::JsonBool | LeafKind::JsonNull => return,
            LeafKind::JsonNumber | LeafKind::PbVarint | LeafKind::PbFixed => {
                if let Some(&fact) = self.exact.get(leaf.text) {
                    self.weigh(fact, Spelling::Raw, At { leaf, place, beside }, 0..leaf.text.len(), hits);
                }
            }
            _ => {
                self.inspect_text(At { leaf, place, beside }, forms, hits);
                for (name, range) in pairs::of(leaf) {
                    let Some(text) = leaf.text.get(range.clone()) else { continue };
                    let within = |run: &&Range<usize>| range.start <= run.start && run.end <= range.end;
                    let moved = |run: &Range<usize>| run.start - range.start..run.end - range.start;
                    let runs: Vec<_> = leaf.runs.iter().filter(within).map(moved).collect();
                    let pair = Leaf { kind: leaf.kind, name, text, runs: &runs, target: leaf.target };
                    let within = |hit: &&FormHit| range.start <= hit.start && hit.end <= range.end;
                    let forms: Vec<FormHit> = forms.iter().filter(within).map(|hit| hit.moved(range.start)).collect();
                    let mut inner = Vec::new();
                    self.inspect_text(At { leaf: &pair, place, beside }, &forms, &mut inner);
                    for hit in inner {
                        let (start, end) = (hit.range.start + range.start, hit.range.end + range.start);
                        keep_longest(hits, Hit { range: start..end, ..hit });
                    }
                }
            }
        }
        if hits.iter().any(|hit| hit.weak) {
            drop_alone(hits, met, leaf, place);
        }
        if leaf.kind == LeafKind::JsonString && matches!(place.pointer().last(), Some(Segment::Index(_))) {
            beside.clear();
            beside.extend_from_slice(leaf.text.get(..64).unwrap_or(leaf.text));
        }
        if !hits.is_empty() {
            found.extend(hits.drain(..).map(|hit| self.found(hit, leaf, place)));
        }
    }

    fn inspect_text(&self, at: At<'_>, forms: &[FormHit], hits: &mut Vec<Hit>) {
        let leaf = at.leaf;
        for hit in forms {
            let Some(form) = self.forms.get(hit.form as usize) else { continue };
            self.weigh(form.fact, form.spelling, at, hit.start..hit.end, hits);
        }
        let alone = leaf.text.trim_ascii().len();
        for run in leaf.runs {
            self.digests_in(leaf.text, run.clone(), hits);
            if run.len() < alone && looks_encoded(&leaf.text[run.clone()]) {
                let padding = leaf.text[run.end..].iter().take(2).take_while(|&&byte| byte == b'=').count();
                self.weigh_bare(run.start..run.end + padding, at, hits);
            }
        }
        for run in coded_runs(leaf.text) {
            if run.len() < alone {
                self.weigh_bare(run, at, hits);
            }
        }
        if leaf.kind == LeafKind::Opaque
            && digests::LENGTHS.contains(&leaf.text.len())
            && let Some(fact) = self.digests.of_bytes(leaf.text)
        {
            keep_longest(hits, Hit { encoded: false, ..Hit::of_digest(fact, 0..leaf.text.len()) });
        }
        // The end of an encoding, its padding, is no part of a form.
        let partly = |hit: &Hit| hit.encoded && hit.range.len() < leaf.text.len();
        if hits.is_empty() || hits.iter().any(partly) {
            self.weigh_bare(0..leaf.text.len(), at, hits);
        }
        if hits.is_empty() {
            self.weigh_short(at, hits);
        }
    }

    /// All of a value, under a name that tells what it is.
    fn weigh_short(&self, at: At<'_>, hits: &mut Vec<Hit>) {
        let text = at.leaf.text.trim_ascii();
        let range = 0..at.leaf.text.len();
        let known = self.short.get(text).iter().find_map(|&fact| {
            let known = self.facts.get(fact as usize)?;
            let support = Support::of(&known.kind, at.leaf, at.place, &range, at.beside);
            (support.named && !support.listed).then_some(fact)
        });
        if let Some(fact) = known {
            hits.push(Hit { confidence: 0.75, telling: false, ..Hit::of_digest(fact, range) });
        }
    }

    fn weigh(&self, fact: u32, spelling: Spelling, at: At<'_>, range: Range<usize>, hits: &mut Vec<Hit>) {
        let leaf = at.leaf;
        let Some(known) = self.facts.get(fact as usize) else { return };
        let raw = matches!(spelling, Spelling::Raw | Spelling::Dashed);
        let alone = match forms::context(spelling, leaf.text, &range, &known.value) {
            Context::Decoded(text, inner) => support::stands_alone(&text, &inner, &known.value),
            Context::Same if matches!(spelling, Spelling::Base32 | Spelling::Utf16 | Spelling::Utf16Base64) => true,
            Context::Same => {
                support::stands_alone(leaf.text, &range, &String::from_utf8_lossy(&leaf.text[range.clone()]))
            }
            Context::Other => false,
        };
        if alone && let Some(confidence) = known.confidence(at, &range, raw) {
            let inside = range.len() < leaf.text.len();
            // In a document that anybody may have written, `"shell": "/bin/bash"` is a fixture's as likely as this machine's.
            let member = leaf.kind == LeafKind::JsonString && known.everyday;
            let weak =
                known.strength == Strength::Weak || member || inside && (known.everyday || known.is_about_place());
            let undone = matches!(
                spelling,
                Spelling::Base64 { .. } | Spelling::Hex | Spelling::Percent | Spelling::Html | Spelling::Escaped
            );
            let telling = known.is_telling();
            keep_longest(hits, Hit { fact, range, confidence, weak, telling, encoded: !raw, undone, pending: false });
        }
    }

    fn weigh_bare(&self, range: Range<usize>, at: At<'_>, hits: &mut Vec<Hit>) {
        let leaf = at.leaf;
        // White space around an encoded value is no part of it.
        let token = &leaf.text[range.clone()];
        let start = range.start + (token.len() - token.trim_ascii_start().len());
        let range = start..start + token.trim_ascii().len();
        let Some(bare) = self.bare(&leaf.text[range.clone()]) else { return };
        let Some(known) = self.facts.get(bare.fact as usize) else { return };
        let confidence = match bare.digest {
            true => Some(0.99),
            // A common word, but nobody encodes one by itself for nothing.
            false if known.strength == Strength::Weak && known.is_word() => Some(0.7),
            false => known.confidence(at, &range, false),
        };
        if let Some(confidence) = confidence {
            keep_longest(hits, Hit { confidence, ..Hit::of_digest(bare.fact, range) });
        }
    }

    /// Digests that are tokens of their own in `run`.
    fn digests_in(&self, text: &[u8], run: Range<usize>, hits: &mut Vec<Hit>) {
        let mut take = |range: Range<usize>, fact: Option<u32>| {
            if let Some(fact) = fact {
                keep_longest(hits, Hit::of_digest(fact, range));
            }
        };
        let token = &text[run.clone()];
        // In an address the letter `/` stands between segments too.
        let starts = memchr::memchr_iter(b'/', token).map(|at| at + 1).take(MOST_SEGMENTS);
        for start in std::iter::once(0).chain(starts).take_while(|start| token.len() - start >= SHORTEST_BASE64) {
            for (length, digest) in base64_lengths() {
                let ends = |byte: Option<&u8>| byte.is_none_or(|byte| matches!(byte, b'/' | b'-' | b'_'));
                if let Some(coded) = token.get(start..start + length)
                    && ends(token.get(start + length))
                    && let Some(bytes) = forms::unbase64(&standard(coded))
                    && bytes.len() == digest
                {
                    take(run.start + start..run.start + start + length, self.digests.of_bytes(&bytes));
                }
            }
        }
        // Hex may have neighbours that base64 counts as its own: `sha256-<hex>`, `/blobs/<hex>/raw`.
        let mut start = run.start;
        let parts = if may_hold_hex(token) { token } else { b"" }.split(|byte| !byte.is_ascii_alphanumeric());
        for part in parts {
            let range = start..start + part.len();
            start = range.end + 1;
            if (digests::SHORTEST..=128).contains(&part.len()) && part.iter().all(u8::is_ascii_hexdigit) {
                take(range, self.digests.of_hex(part));
            }
        }
        if token.len() == 36 && token.iter().filter(|&&byte| byte == b'-').count() == 4 {
            let digits: Vec<u8> = token.iter().copied().filter(|&byte| byte != b'-').collect();
            take(run, self.digests.of_uuid(&digits));
        }
    }

    fn found(&self, hit: Hit, leaf: &Leaf<'_>, place: &dyn Place) -> Found {
        let known = &self.facts[hit.fact as usize];
        let whole = hit.range.len() == leaf.text.len();
        let mut location = place.location();
        if !whole {
            location.steps.push(Step::Window(hit.range.start as u32, hit.range.end as u32));
        }
        let text = String::from_utf8_lossy(&leaf.text[hit.range.clone()]);
        let as_it_stands = *text == *known.value;
        let finding = RawFinding {
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
            restored: None,
        };
        Found {
            fact: hit.fact,
            encoded: hit.encoded,
            undone: hit.undone,
            telling: hit.telling,
            pending: hit.pending,
            finding,
        }
    }
}

impl FactFindings {
    pub(in crate::engine) fn count(&self) -> usize {
        self.found.len()
    }

    /// What was found, each fact at its innermost place. `layers` are those of the walk.
    pub(in crate::engine) fn finish(mut self, layers: &[Layer]) -> Vec<RawFinding> {
        self.drop_strangers();
        let mut inside: HashSet<(u32, LayerId, u32)> = HashSet::new();
        for found in &self.found {
            let mut layer = found.finding.target.layer;
            while let Some(Layer { origin: Origin::Leaf { leaf, .. }, .. }) = layers.get(layer.0 as usize) {
                inside.insert((found.fact, leaf.layer, leaf.raw.start));
                layer = leaf.layer;
            }
        }
        let mut read: HashMap<(LayerId, u32), Vec<Span>> = HashMap::new();
        if self.found.iter().any(|found| found.undone) {
            for layer in layers.iter().filter(|layer| layer.whole) {
                if let Origin::Leaf { leaf, window, .. } = layer.origin {
                    read.entry((leaf.layer, leaf.raw.start)).or_default().push(window);
                }
            }
        }
        let innermost = |found: &Found| {
            let target = found.finding.target;
            let at = (target.layer, target.raw.start);
            // What is a part of something longer behind the encoding is not found there, and so it is not here.
            let within = |window: &Range<usize>| {
                let holds = |span: &Span| span.range().start <= window.start && window.end <= span.range().end;
                read.get(&at).is_some_and(|spans| spans.iter().take(MOST_TOKENS).any(holds))
            };
            let elsewhere = inside.contains(&(found.fact, at.0, at.1))
                || found.undone && found.finding.window.as_ref().is_some_and(within);
            !(found.encoded && elsewhere)
        };
        self.found.into_iter().filter(innermost).map(|found| found.finding).collect()
    }

    /// Drops what counts beside others only, where no other member of its document says whose they are.
    fn drop_strangers(&mut self) {
        if !self.found.iter().any(|found| found.pending) {
            return;
        }
        let place = |found: &Found| (found.finding.target.layer.0, found.finding.target.raw.start);
        let telling: BTreeSet<(u32, u32)> =
            self.found.iter().filter(|found| found.telling && !found.pending).map(place).collect();
        self.found.retain(|found| {
            let (layer, at) = place(found);
            let near = (layer, at.saturating_sub(BLOCK as u32))..=(layer, at.saturating_add(BLOCK as u32));
            !found.pending || telling.range(near).any(|&(_, other)| other != at)
        });
    }
}

/// Whether `inner` stands in `outer`. Both are short, so what is looked for is not prepared first.
fn is_inside(inner: &str, outer: &str) -> bool {
    let (inner, outer) = (inner.as_bytes(), outer.as_bytes());
    let Some((&first, rest)) = inner.split_first() else { return true };
    if inner.len() > outer.len() {
        return false;
    }
    let last = outer.len() - inner.len();
    memchr::memchr_iter(first, &outer[..=last]).any(|at| outer[at + 1..].starts_with(rest))
}

/// Whether a word is one that an encoder made: people do not mix capitals, small letters and digits like that.
fn looks_encoded(token: &[u8]) -> bool {
    let (mut upper, mut lower, mut digits, mut hex) = (0usize, 0usize, 0usize, 0usize);
    // Counted together, as often as each of the four bytes of a sum can take it.
    for part in token.chunks(u8::MAX.into()) {
        let sums = part.iter().fold(0u32, |sums, &byte| sums + SORTS[usize::from(byte)]).to_le_bytes();
        upper += usize::from(sums[0]);
        lower += usize::from(sums[1]);
        digits += usize::from(sums[2]);
        hex += usize::from(sums[3]);
    }
    let hex = hex == token.len() && token.len().is_multiple_of(2);
    hex || (upper > 0 && digits > 0 && (lower > 0 || token.len() >= 16)) || (upper > 2 && lower > 2)
}

/// One in the byte of each sort that a letter is of: capitals, small letters, digits, hex digits.
const SORTS: [u32; 256] = {
    let mut sorts = [0; 256];
    let mut index = 0;
    while index < 256 {
        let byte = index as u8;
        sorts[index] = byte.is_ascii_uppercase() as u32
            | (byte.is_ascii_lowercase() as u32) << 8
            | (byte.is_ascii_digit() as u32) << 16
            | (byte.is_ascii_hexdigit() as u32) << 24;
        index += 1;
    }
    sorts
};

/// Whether the shortest digest in hex may stand in `token`: two neighbours of every sixth byte belong to it.
fn may_hold_hex(token: &[u8]) -> bool {
    let mut before = false;
    token.iter().skip(5).step_by(digests::SHORTEST / 2).any(|byte| {
        let hex = byte.is_ascii_hexdigit();
        std::mem::replace(&mut before, hex) && hex
    })
}

/// Runs of `%41`, `&#65;` and `\u0041` that stand in a text, each at least four characters.
fn coded_runs(text: &[u8]) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            at += memchr::memchr3(b'%', b'&', b'\\', text.get(at..)?)?;
            let start = at;
            let mut units = 0;
            while let Some(length) = coded_unit(text.get(at..).unwrap_or_default()) {
                at += length;
                units += 1;
            }
            if units >= 4 {
                return Some(start..at);
            }
            at = at.max(start + 1);
        }
    })
}

/// The length of the coded character that `text` begins with.
fn coded_unit(text: &[u8]) -> Option<usize> {
    let hex = |range: Range<usize>| text.get(range).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    match text.first()? {
        b'%' if hex(1..3) => Some(3),
        b'\\' if text.get(1) == Some(&b'u') && hex(2..6) => Some(6),
        b'&' if text.get(1) == Some(&b'#') => {
            let end = memchr::memchr(b';', text.get(..12).unwrap_or(text))?;
            (end > 2).then_some(end + 1)
        }
        _ => None,
    }
}

/// Characters of each digest in base64, padding left off, and its bytes.
fn base64_lengths() -> impl Iterator<Item = (usize, usize)> {
    digests::LENGTHS.into_iter().map(|length| ((length * 4).div_ceil(3), length))
}

/// Characters of the shortest digest in base64.
const SHORTEST_BASE64: usize = (digests::LENGTHS[0] * 4).div_ceil(3);

/// Encodings in one text that a finding is compared with.
const MOST_TOKENS: usize = 256;

/// Segments of one address that are looked at.
const MOST_SEGMENTS: usize = 16;

fn standard(token: &[u8]) -> Vec<u8> {
    let letter = |byte: &u8| match byte {
        b'-' => b'+',
        b'_' => b'/',
        byte => *byte,
    };
    token.iter().map(letter).collect()
}

/// How far apart the lines, or the members, of one description stand, in bytes.
const BLOCK: usize = 900;

/// In a text that anybody may have written, a configuration, a page, a turn, `user = dev` is about any machine: unless a
/// description of this one is announced there, or a fact that says more stands by. That of a member of a document may be
/// another member.
fn drop_alone(hits: &mut Vec<Hit>, met: &Met<'_>, leaf: &Leaf<'_>, place: &dyn Place) {
    const LONG: usize = 256;
    const SIGN_REACH: usize = 2500;
    if leaf.text.len() <= LONG && !(met.shared)() {
        return;
    }
    let telling: Vec<usize> = hits.iter().filter(|hit| hit.telling).map(|hit| hit.range.start).collect();
    let member = matches!(leaf.kind, LeafKind::JsonString | LeafKind::JsonNumber)
        && leaf.text.len() <= LONG
        && matches!(place.pointer().last(), Some(Segment::Name(_)));
    hits.retain_mut(|hit| {
        let at = hit.range.start;
        let counts = !hit.weak
            || telling.iter().any(|&other| other.abs_diff(at) <= BLOCK)
            || met.signs.iter().any(|&sign| sign <= at && at - sign <= SIGN_REACH);
        hit.pending = !counts;
        counts || member
    });
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
    /// Offsets are in every time stamp.
    fn is_about_place(&self) -> bool {
        matches!(&*self.kind, "tz.offset" | "tz.abbr" | "locale.country")
    }

    fn is_telling(&self) -> bool {
        matches!(self.strength, Strength::Sure | Strength::Fair)
    }

    fn is_word(&self) -> bool {
        self.value.len() >= 6 && self.value.bytes().any(|byte| byte.is_ascii_alphabetic())
    }

    /// How sure it is that these bytes are the fact; none where they only look alike.
    fn confidence(&self, at: At<'_>, range: &Range<usize>, raw: bool) -> Option<f32> {
        let leaf = at.leaf;
        let name = matches!(leaf.kind, LeafKind::JsonName | LeafKind::FieldName);
        if name && matches!(self.strength, Strength::Vocabulary | Strength::Weak) {
            // `linux_distro_id` names a field, on whatever system.
            return None;
        }
        let whole = leaf.text[..range.start].trim_ascii().is_empty() && leaf.text[range.end..].trim_ascii().is_empty();
        let support = Support::of(&self.kind, leaf, at.place, range, at.beside);
        match self.strength {
            Strength::Sure => Some(if support.named { 0.99 } else { 0.95 }),
            // Nobody encodes a word by chance.
            Strength::Fair | Strength::Vocabulary if !raw => Some(if support.any() { 0.95 } else { 0.85 }),
            Strength::Fair if whole || support.any() => Some(if support.any() { 0.95 } else { 0.85 }),
            Strength::Fair => Some(0.75),
            Strength::Vocabulary if whole && support.listed => None,
            Strength::Vocabulary | Strength::Weak if support.allowed && !support.neighbour => None,
            // Of a picture that is wanted.
            Strength::Vocabulary if &*self.kind == "hw.screen" && leaf.name == "size" && !support.any() => None,
            Strength::Vocabulary if whole => Some(if support.named { 0.95 } else { 0.75 }),
            Strength::Vocabulary if support.named && !self.everyday => Some(0.85),
            Strength::Weak if whole && support.named && !support.listed => Some(0.8),
            // `darwin|linux|win32`: what there is, not what is.
            Strength::Vocabulary | Strength::Weak if support::is_among_its_like(leaf.text, range, &self.kind) => None,
            // Nobody encodes a short text with a zone in it by chance either.
            Strength::Vocabulary if (self.everyday || self.is_about_place()) && !support.any() => {
                (leaf.text.len() <= SHORT_TEXT && is_behind_encoding(at.place)).then_some(0.55)
            }
            Strength::Vocabulary if self.everyday || self.is_about_place() => Some(0.7),
            Strength::Vocabulary => Some(if support.neighbour { 0.85 } else { 0.6 }),
            Strength::Weak if support.neighbour => Some(0.7),
            Strength::Weak if support.named && leaf.text.len() <= 64 && !support.listed => Some(0.55),
            Strength::Weak => None,
        }
    }
}

/// A text of a few words.
const SHORT_TEXT: usize = 128;

/// Whether all of an encoding's content stands at `place`.
fn is_behind_encoding(place: &dyn Place) -> bool {
    let steps = place.location().steps;
    matches!(steps.last(), Some(Step::B64 | Step::B64Url | Step::Hex | Step::Url | Step::Html | Step::Qoder))
}

fn severity(kind: &str) -> Severity {
    match kinds::find(kind).map(|kind| kind.entropy) {
        Some(Entropy::Unique) => Severity::High,
        Some(Entropy::Low) => Severity::Low,
        Some(Entropy::Mid) | None => Severity::Medium,
    }
}

#[cfg(test)]
mod tests;
