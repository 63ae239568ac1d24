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
mod found;
mod short;
mod strength;
mod tokens;

use std::ops::Range;
use std::sync::Arc;

use super::RawFinding;
use super::hash::ShortMap;
use super::scanner::FormHit;
use super::support::{self, Support};
use super::told::Excerpt;
use crate::engine::decode::{is_wide, pairs};
use crate::engine::facts::Fact;
use crate::engine::finding::{Detector, Severity};
use crate::engine::kinds::{self, Entropy};
use crate::engine::location::{Location, Step};
use crate::engine::visit::{Leaf, LeafKind, Place};
use digests::Digests;
pub(crate) use forms::Form;
use forms::{Context, Forms, Spelling};
pub use found::FactFindings;
pub(crate) use found::ToldFact;
use found::{Found, Hit, drop_alone, keep_longest};
use short::Spelled;
use strength::{Strength, strength};
use tokens::{MOST_SEGMENTS, SHORTEST_BASE64, base64_lengths, coded_runs, looks_encoded, may_hold_hex, standard};

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

/// A leaf and where it stands.
#[derive(Clone, Copy)]
struct At<'a> {
    leaf: &'a Leaf<'a>,
    place: &'a dyn Place,
    /// The text before, in the list that it stands in.
    beside: &'a [u8],
}

impl At<'_> {
    fn is_name(&self) -> bool {
        matches!(self.leaf.kind, LeafKind::JsonName | LeafKind::FieldName)
    }
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
            digests.add(number, &fact.kind, &fact.value);
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
            // `10.0.0.1` is no part of `10.0.0.17`.
            let parts = !fact.kind.starts_with("net.") || fact.kind.contains("name") || fact.kind.contains("domain");
            if known == value
                || parts && (known.len() >= 3 && is_inside(known, &value))
                || parts && (value.len() >= 3 && is_inside(&value, known))
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
        let FactFindings { found, hits, beside } = &mut *findings;
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
                    // In order of where they start.
                    let first = forms.partition_point(|hit| hit.start < range.start);
                    let inside = forms[first..].iter().take_while(|hit| hit.start < range.end);
                    let inside = inside.filter(|hit| hit.end <= range.end);
                    let forms: Vec<FormHit> = inside.map(|hit| hit.moved(range.start)).collect();
                    let mut inner = Vec::new();
                    self.inspect_text(At { leaf: &pair, place, beside }, &forms, &mut inner);
                    for hit in inner {
                        let (start, end) = (hit.range.start + range.start, hit.range.end + range.start);
                        hits.push(Hit { range: start..end, ..hit });
                    }
                }
                keep_longest(hits);
            }
        }
        if hits.iter().any(|hit| hit.weak || hit.lonely || hit.public) {
            drop_alone(hits, met, leaf, place);
        }
        if !hits.is_empty() {
            let value = |hit: &Hit| Excerpt::of(leaf, &hit.range);
            found.extend(hits.drain(..).filter_map(|hit| Some(self.found(&value(&hit)?, hit, place.location()))));
        }
        findings.pass(leaf, place);
    }

    /// Adds to `findings` what was found in `leaf` where it stood before.
    pub(in crate::engine) fn tell(
        &self,
        told: &[ToldFact],
        leaf: &Leaf<'_>,
        place: &dyn Place,
        findings: &mut FactFindings,
    ) {
        for told in told {
            if let Some(value) = Excerpt::of(leaf, &told.window()) {
                self.tell_one(told, &value, place.location(), findings);
            }
        }
    }

    /// Adds to `findings` one that is known, with what stands in its window.
    pub(in crate::engine) fn tell_one(
        &self,
        told: &ToldFact,
        value: &Excerpt<'_>,
        location: Location,
        findings: &mut FactFindings,
    ) {
        findings.found.push(self.found(value, told.hit(), location));
    }

    fn inspect_text(&self, at: At<'_>, forms: &[FormHit], hits: &mut Vec<Hit>) {
        let leaf = at.leaf;
        for hit in forms {
            let Some(form) = self.forms.get(hit.form as usize) else { continue };
            match form.spelling {
                Spelling::Coded => self.weigh_coded(form, at, hit.start..hit.end, hits),
                spelling => self.weigh(form.fact, spelling, at, hit.start..hit.end, hits),
            }
        }
        let alone = leaf.text.trim_ascii().len();
        for run in leaf.runs {
            self.digests_in(at, run.clone(), hits);
            if run.len() < alone && looks_encoded(&leaf.text[run.clone()]) {
                let padding = leaf.text[run.end..].iter().take(2).take_while(|&&byte| byte == b'=').count();
                self.weigh_bare(run.start..run.end + padding, at, hits);
            }
        }
        for run in coded_runs(leaf.text) {
            match run.len() {
                length if length >= alone => {}
                ..bare::SHORTEST => self.weigh_bare_behind_label(run, at, hits),
                _ => self.weigh_bare(run, at, hits),
            }
        }
        if leaf.kind == LeafKind::Opaque
            && digests::LENGTHS.contains(&leaf.text.len())
            && let Some(fact) = self.digests.of_bytes(leaf.text)
            && self.is_digest_of(fact, at, &(0..leaf.text.len()))
        {
            hits.push(Hit { encoded: false, ..Hit::of_digest(fact, 0..leaf.text.len()) });
        }
        keep_longest(hits);
        // The end of an encoding, its padding, is no part of a form.
        let partly = |hit: &Hit| hit.encoded && hit.range.len() < leaf.text.len();
        if hits.is_empty() || hits.iter().any(partly) {
            self.weigh_bare(0..leaf.text.len(), at, hits);
            keep_longest(hits);
        }
        if hits.is_empty() {
            self.weigh_short(at, hits);
        }
    }

    /// All of a value, under a name that tells what it is.
    fn weigh_short(&self, at: At<'_>, hits: &mut Vec<Hit>) {
        let text = at.leaf.text.trim_ascii();
        let range = 0..at.leaf.text.len();
        let is_meant = |fact: &u32| {
            self.facts.get(*fact as usize).is_some_and(|known| {
                let support = Support::of(&known.kind, at.leaf, at.place, &range, at.beside);
                support.named && !support.listed
            })
        };
        let known = self.short.get(text).iter().copied().find(is_meant);
        if let Some(fact) = known.or_else(|| self.bare_short(text).filter(is_meant)) {
            hits.push(Hit { confidence: 0.75, telling: false, ..Hit::of_digest(fact, range) });
        }
    }

    /// The same of a few coded characters.
    fn weigh_bare_behind_label(&self, range: Range<usize>, at: At<'_>, hits: &mut Vec<Hit>) {
        let text = at.leaf.text;
        let parted = text[..range.start].last().is_some_and(|byte| b"=:>|\t \"'`".contains(byte));
        if !parted || !tokens::ends_value(&text[range.end..]) || at.is_name() {
            return;
        }
        let Some(fact) = self.bare_short(&text[range.clone()]) else { return };
        let Some(known) = self.facts.get(fact as usize) else { return };
        if Support::of(&known.kind, at.leaf, at.place, &range, at.beside).neighbour {
            hits.push(Hit { confidence: 0.75, telling: false, ..Hit::of_digest(fact, range) });
        }
    }

    /// An encoding of a short value in a text: all of what stands behind a label that tells what it is.
    fn weigh_coded(&self, form: &Form, at: At<'_>, range: Range<usize>, hits: &mut Vec<Hit>) {
        let text = at.leaf.text;
        let Some(known) = self.facts.get(form.fact as usize) else { return };
        let padding = text[range.end..].iter().take(2).take_while(|&&byte| byte == b'=').count();
        let range = range.start..range.end + padding;
        let spelled =
            form.is_spelled(&text[range.start..range.end - padding]) && tokens::ends_value(&text[range.end..]);
        if spelled && !at.is_name() && Support::of(&known.kind, at.leaf, at.place, &range, at.beside).neighbour {
            // `ram: 3136` may be a number.
            let weak = text[range.clone()].iter().all(u8::is_ascii_digit);
            hits.push(Hit { confidence: 0.75, telling: false, weak, ..Hit::of_digest(form.fact, range) });
        }
    }

    fn weigh(&self, fact: u32, spelling: Spelling, at: At<'_>, range: Range<usize>, hits: &mut Vec<Hit>) {
        let leaf = at.leaf;
        let Some(known) = self.facts.get(fact as usize) else { return };
        let raw = matches!(spelling, Spelling::Raw | Spelling::Dashed);
        let alone = match forms::context(spelling, leaf.text, &range, &known.value) {
            Context::Decoded(text, inner) => support::stands_alone(&text, &inner, &known.value),
            // In a text of such characters the other byte order would fit between them.
            Context::Same if spelling == Spelling::Utf16 && is_wide(leaf.text) => range.start.is_multiple_of(2),
            Context::Same if matches!(spelling, Spelling::Base32 | Spelling::Utf16 | Spelling::Utf16Base64) => true,
            Context::Same => {
                support::stands_alone(leaf.text, &range, &String::from_utf8_lossy(&leaf.text[range.clone()]))
            }
            Context::Other => false,
        };
        if alone && let Some(confidence) = known.confidence(at, &range, raw) {
            let inside = range.len() < leaf.text.len();
            // In a document that anybody may have written, `"shell": "/bin/bash"` is a fixture's as likely as this machine's.
            let public = known.strength == Strength::Vocabulary && known.is_of_public_list();
            let member = leaf.kind == LeafKind::JsonString && (known.everyday || public);
            // Nobody encodes one by itself for nothing.
            let anybody_s = raw && (member || inside && (known.everyday || known.is_about_place()));
            let weak = known.strength == Strength::Weak || anybody_s;
            // In letters of another case programs do not name them.
            let public = raw && inside && public && leaf.text[range.clone()] == *known.value.as_bytes();
            let lonely = raw && inside && known.kind.starts_with("geo.") && confidence < SAID;
            let undone = matches!(
                spelling,
                Spelling::Base64 { .. } | Spelling::Hex | Spelling::Percent | Spelling::Html | Spelling::Escaped
            );
            let telling = known.is_telling();
            hits.push(Hit {
                fact,
                range,
                confidence,
                weak,
                telling,
                encoded: !raw,
                undone,
                pending: false,
                lonely,
                public,
            });
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
            true => self.is_digest_of(bare.fact, at, &range).then_some(0.99),
            // A common word, but nobody encodes one by itself for nothing.
            false if known.strength == Strength::Weak && known.is_word() => Some(0.7),
            false => known.confidence(at, &range, false),
        };
        if let Some(confidence) = confidence {
            hits.push(Hit { confidence, ..Hit::of_digest(bare.fact, range) });
        }
    }

    /// Whether a digest of the fact means it: everybody has digests of `1` and `en`, so something must tell of them.
    fn is_digest_of(&self, fact: u32, at: At<'_>, range: &Range<usize>) -> bool {
        self.facts.get(fact as usize).is_some_and(|known| {
            !digests::is_anybody_s(&known.value)
                || Support::of(&known.kind, at.leaf, at.place, range, at.beside).any() && !at.is_name()
        })
    }

    /// Digests that are tokens of their own in `run`.
    fn digests_in(&self, at: At<'_>, run: Range<usize>, hits: &mut Vec<Hit>) {
        let text = at.leaf.text;
        let mut take = |range: Range<usize>, fact: Option<u32>| {
            if let Some(fact) = fact.filter(|&fact| self.is_digest_of(fact, at, &range)) {
                hits.push(Hit::of_digest(fact, range));
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

    fn found(&self, value: &Excerpt<'_>, hit: Hit, mut location: Location) -> Found {
        let known = &self.facts[hit.fact as usize];
        if !value.whole {
            location.steps.push(Step::Window(hit.range.start as u32, hit.range.end as u32));
        }
        let as_it_stands = *value.text == *known.value.as_bytes();
        let finding = RawFinding {
            kind: known.kind.clone(),
            location,
            detector: Detector::Fact,
            rule: None,
            severity: known.severity,
            confidence: hit.confidence,
            value: known.value.clone(),
            observed: (!as_it_stands).then(|| String::from_utf8_lossy(value.text).into_owned()),
            target: value.target,
            window: (!value.whole).then_some(hit.range),
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

impl Known {
    /// Offsets are in every time stamp.
    fn is_about_place(&self) -> bool {
        matches!(&*self.kind, "tz.offset" | "tz.abbr" | "locale.country")
    }

    /// Zones, locales, towns and sizes of screens, of which programs and pages are full.
    fn is_of_public_list(&self) -> bool {
        let listed = ["tz.", "locale.", "geo.", "hw.screen"].iter().any(|family| self.kind.starts_with(family));
        listed && &*self.kind != "locale.keyboard"
    }

    fn is_telling(&self) -> bool {
        matches!(self.strength, Strength::Sure | Strength::Fair)
    }

    /// A name that somebody made up, of a program or a part of a machine, on no public list.
    fn is_own_word(&self) -> bool {
        const LONG: usize = 8;
        ["sw.", "hw."].iter().any(|family| self.kind.starts_with(family))
            && self.value.len() >= LONG
            && !support::is_listed(&self.kind, &self.lower)
    }

    fn is_word(&self) -> bool {
        self.value.len() >= 6 && self.value.bytes().any(|byte| byte.is_ascii_alphabetic())
    }

    /// How sure it is that these bytes are the fact; none where they only look alike.
    fn confidence(&self, at: At<'_>, range: &Range<usize>, raw: bool) -> Option<f32> {
        let leaf = at.leaf;
        let all = range.len() == leaf.text.len();
        // `linux_distro_id` names a field, on whatever system; nobody encodes a name, and `kestrel-agentd` names nothing else.
        let names = self.strength == Strength::Vocabulary && (!raw || all && self.is_own_word());
        if at.is_name() && matches!(self.strength, Strength::Vocabulary | Strength::Weak) && !names {
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
            Strength::Weak if support::is_in_domain(leaf.text, range) => None,
            Strength::Weak if support.neighbour => Some(0.7),
            Strength::Weak if support.named && leaf.text.len() <= 64 && !support.listed => Some(0.55),
            Strength::Weak => None,
        }
    }
}

/// Confidence of what something beside it tells of.
const SAID: f32 = 0.7;

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
