//! What was found in one unit, and which of it stays: the innermost place of each fact, the longest of matches that hold one
//! another, short values only where something beside them says whose they are.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::Range;

use super::Met;
use crate::engine::decode::{Layer, Origin};
use crate::engine::detect::hash::Keyed;
use crate::engine::detect::region::is_document;
use crate::engine::detect::strangers::Strange;
use crate::engine::detect::{RawFinding, support};
use crate::engine::visit::{LayerId, Leaf, LeafKind, Place, Segment};
use crate::wire::span::Span;

/// Encodings in one text that a finding is compared with.
const MOST_TOKENS: usize = 256;

/// How far apart the lines, or the members, of one description stand, in bytes.
const BLOCK: usize = 900;

/// A match that counts.
pub(super) struct Hit {
    pub(super) fact: u32,
    pub(super) range: Range<usize>,
    pub(super) confidence: f32,
    /// Short or common, so that other facts, or the sign of a description, must stand near it in a long text.
    pub(super) weak: bool,
    /// A name, a path, an address: it says whose machine it is.
    pub(super) telling: bool,
    /// Spelled in a way that the walk may undo as well.
    pub(super) encoded: bool,
    /// And where it is undone, that says all there is to say.
    pub(super) undone: bool,
    /// Counts only where another member of its document says whose it is.
    pub(super) pending: bool,
    /// In the middle of a text, with nothing beside it that tells what it is: counts only where a fact that says more stands near.
    pub(super) lonely: bool,
    /// Of a public list, in the middle of a text.
    pub(super) public: bool,
}

impl Hit {
    pub(super) fn of_digest(fact: u32, range: Range<usize>) -> Self {
        Self {
            fact,
            range,
            confidence: 0.99,
            weak: false,
            telling: true,
            encoded: true,
            undone: false,
            pending: false,
            lonely: false,
            public: false,
        }
    }
}

/// What is kept of a match, for when its text is met again.
pub(crate) struct ToldFact {
    fact: u32,
    range: Range<u32>,
    confidence: f32,
    telling: bool,
    encoded: bool,
    undone: bool,
    pending: bool,
}

impl ToldFact {
    /// In a text of `length` bytes.
    fn of(found: &Found, length: usize) -> Self {
        let range = found.finding.window.clone().unwrap_or(0..length);
        Self {
            fact: found.fact,
            range: range.start as u32..range.end as u32,
            confidence: found.finding.confidence,
            telling: found.telling,
            encoded: found.encoded,
            undone: found.undone,
            pending: found.pending,
        }
    }

    /// The same; where it is all of its text, that has `length` bytes.
    pub fn in_text_of(self, length: Option<usize>) -> Self {
        match length {
            Some(length) => Self { range: 0..length as u32, ..self },
            None => self,
        }
    }

    /// In the decoded text.
    pub(in crate::engine) fn window(&self) -> Range<usize> {
        self.range.start as usize..self.range.end as usize
    }

    /// The match that it was. What made it count does not matter any more.
    pub(super) fn hit(&self) -> Hit {
        Hit {
            fact: self.fact,
            range: self.window(),
            confidence: self.confidence,
            weak: false,
            telling: self.telling,
            encoded: self.encoded,
            undone: self.undone,
            pending: self.pending,
            lonely: false,
            public: false,
        }
    }
}

/// What was found in one unit.
#[derive(Default)]
pub struct FactFindings {
    pub(super) found: Vec<Found>,
    pub(super) hits: Vec<Hit>,
    /// The last short text of a list.
    pub(super) beside: Vec<u8>,
}

#[derive(PartialEq)]
pub(super) struct Found {
    pub(super) fact: u32,
    pub(super) encoded: bool,
    pub(super) undone: bool,
    pub(super) telling: bool,
    pub(super) pending: bool,
    pub(super) finding: RawFinding,
}

impl FactFindings {
    pub(in crate::engine) fn count(&self) -> usize {
        self.found.len()
    }

    /// What was found from number `from` on, all of it in one text of `length` bytes.
    pub(in crate::engine) fn told(&self, from: usize, length: usize) -> Box<[ToldFact]> {
        self.found.iter().skip(from).map(|found| ToldFact::of(found, length)).collect()
    }

    /// Whether the findings from number `from` to `mark` are those from there on; those from there on are dropped.
    pub(in crate::engine) fn is_repeated(&mut self, from: usize, mark: usize) -> bool {
        let again = self.found.split_off(mark);
        self.found.get(from..).is_some_and(|first| first == again)
    }

    /// Findings from number `from` on.
    pub(in crate::engine) fn since(&self, from: usize) -> impl Iterator<Item = (ToldFact, &RawFinding)> {
        self.found.iter().skip(from).map(|found| {
            let length = found.finding.target.raw.len();
            (ToldFact::of(found, length), &found.finding)
        })
    }

    /// Notes what the next leaf stands beside.
    pub(in crate::engine) fn pass(&mut self, leaf: &Leaf<'_>, place: &dyn Place) {
        let listed = leaf.kind == LeafKind::JsonString && matches!(place.pointer().last(), Some(Segment::Index(_)));
        if listed || leaf.kind == LeafKind::PathSegment {
            self.set_beside(leaf.text);
        } else if matches!(leaf.kind, LeafKind::QueryValue | LeafKind::Header) {
            // The path is over.
            self.beside.clear();
        }
    }

    /// Sets the last short text of a list.
    pub(in crate::engine) fn set_beside(&mut self, text: &[u8]) {
        self.beside.clear();
        self.beside.extend_from_slice(text.get(..64).unwrap_or(text));
    }

    /// The last short text of a list.
    pub(in crate::engine) fn beside(&self) -> &[u8] {
        &self.beside
    }

    /// What was found, each fact at its innermost place. `layers` are those of the walk; `strange` is where other machines
    /// are described.
    pub(in crate::engine) fn finish(mut self, layers: &[Layer], strange: &[Strange]) -> Vec<RawFinding> {
        self.drop_strangers();
        self.drop_what_strangers_share(strange);
        let mut inside: HashSet<(u32, LayerId, u32), Keyed> = HashSet::default();
        for found in &self.found {
            let mut layer = found.finding.target.layer;
            while let Some(Layer { origin: Origin::Leaf { leaf, .. }, .. }) = layers.get(layer.0 as usize) {
                inside.insert((found.fact, leaf.layer, leaf.raw.start));
                layer = leaf.layer;
            }
        }
        let mut read: HashMap<(LayerId, u32), Vec<Span>, Keyed> = HashMap::default();
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

    /// Drops what many machines have, where another one is described and nothing of this one stands by.
    fn drop_what_strangers_share(&mut self, strange: &[Strange]) {
        if strange.is_empty() || self.found.iter().all(|found| found.telling) {
            return;
        }
        let at = |found: &Found| {
            let target = found.finding.target;
            (target.layer.0, target.raw.start, found.finding.window.as_ref().map_or(0, |window| window.start))
        };
        let telling: BTreeSet<(u32, u32, usize)> = self.found.iter().filter(|found| found.telling).map(at).collect();
        let mut texts: HashMap<(u32, u32), Vec<&Range<usize>>, Keyed> = HashMap::default();
        for (layer, text, range) in strange {
            texts.entry((layer.0, *text)).or_default().push(range);
        }
        for ranges in texts.values_mut() {
            ranges.sort_by_key(|range| range.start);
        }
        self.found.retain(|found| {
            let (layer, text, start) = at(found);
            let near = |start: usize| start.saturating_sub(BLOCK)..=start.saturating_add(BLOCK);
            let Some(ranges) = texts.get(&(layer, text)).filter(|_| !found.telling) else { return true };
            // Descriptions lie apart, so the last one that begins before it is the only one that can reach it.
            let last = ranges.partition_point(|range| range.start <= start + BLOCK).checked_sub(1);
            let within = last.and_then(|last| ranges.get(last)).is_some_and(|range| start <= range.end + BLOCK);
            let ours = (layer, text, *near(start).start())..=(layer, text, *near(start).end());
            !within || telling.range(ours).next().is_some()
        });
    }
}

/// In a text that anybody may have written, a configuration, a page, a turn, `user = dev` is about any machine: unless a
/// description of this one is announced there, or a fact that says more stands by. That of a member of a document may be
/// another member.
pub(super) fn drop_alone(hits: &mut Vec<Hit>, met: &Met<'_>, leaf: &Leaf<'_>, place: &dyn Place) {
    const LONG: usize = 256;
    const SIGN_REACH: usize = 2500;
    let shared = (met.shared)();
    let anybody = leaf.text.len() > LONG || shared;
    // In a sentence somebody says it, a program or a page is full of its like.
    let file = shared && (leaf.text.len() > LONG || is_document(leaf));
    let mut telling: Vec<usize> =
        hits.iter().filter(|hit| hit.telling && !hit.lonely).map(|hit| hit.range.start).collect();
    telling.sort_unstable();
    let mut signs = met.signs.to_vec();
    signs.sort_unstable();
    let member = matches!(leaf.kind, LeafKind::JsonString | LeafKind::JsonNumber)
        && leaf.text.len() <= LONG
        && matches!(place.pointer().last(), Some(Segment::Name(_)));
    // `/branch/main`: anybody's programs ask for that.
    let segment = leaf.kind == LeafKind::PathSegment
        && support::is_common(&String::from_utf8_lossy(leaf.text).to_ascii_lowercase());
    hits.retain_mut(|hit| {
        let at = hit.range.start;
        let next = telling.partition_point(|&other| other + BLOCK < at);
        let signed = signs.partition_point(|&sign| sign <= at).checked_sub(1);
        let supported = telling.get(next).is_some_and(|&other| other <= at + BLOCK)
            || signed.is_some_and(|last| at - signs[last] <= SIGN_REACH);
        if hit.lonely {
            return supported;
        }
        let counts = supported || !(hit.weak && (anybody || segment) || hit.public && file);
        hit.pending = !counts;
        counts || member || segment
    });
}

/// Of matches that hold one another the longest stays, the login name inside the home folder is the folder; of those of one
/// text what is spelled as it is, then the surest.
pub(super) fn keep_longest(hits: &mut Vec<Hit>) {
    if hits.len() < 2 {
        return;
    }
    hits.sort_by(|a, b| {
        (a.range.start.cmp(&b.range.start))
            .then(b.range.end.cmp(&a.range.end))
            .then(a.encoded.cmp(&b.encoded))
            .then(b.confidence.total_cmp(&a.confidence))
    });
    // All before begin no later, so what ends no later than one of them is held by it.
    let mut reached = None;
    hits.retain(|hit| {
        let held = reached.is_some_and(|end| hit.range.end <= end);
        if !held {
            reached = Some(hit.range.end);
        }
        !held
    });
}
