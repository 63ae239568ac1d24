//! All detectors at once, and the names that none of them has anything to say about.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};

use super::decode::Layer;
use super::detect::facts::{FactFindings, Met};
use super::detect::hash::Keyed;
use super::detect::template::{Lesson, Scan};
use super::detect::{RawFinding, covert};
use super::pseudonym::Vault;
use super::settle::Recalled;
use super::visit::{Leaf, LeafKind, Place, Visitor};

/// Names that are remembered in one unit, and how long they may be.
const MOST_NAMES: usize = 512;
const LONGEST_NAME: usize = 64;
/// Those that are remembered from unit to unit.
const KEPT_NAMES: usize = 4096;

type Names = HashSet<Box<[u8]>, Keyed>;

/// Names of members and fields in which nothing can be found wherever they stand: real clients send the same few hundred
/// again and again.
#[derive(Default)]
pub(super) struct PlainNames(RwLock<Arc<Names>>);

impl PlainNames {
    pub fn known(&self) -> Arc<Names> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps those of a unit that are plain in any other too.
    pub fn remember(&self, fresh: &HashMap<Box<[u8]>, bool, Keyed>) {
        let mut plain = fresh.iter().filter(|(_, plain)| **plain).map(|(name, _)| name).peekable();
        if plain.peek().is_none() || self.known().len() >= KEPT_NAMES {
            return;
        }
        let mut names = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let names = Arc::make_mut(&mut names);
        for name in plain {
            if names.len() >= KEPT_NAMES {
                break;
            }
            names.insert(name.clone());
        }
    }
}

/// All detectors see every value in one walk.
pub(super) struct Detectors<'e> {
    pub rules: super::detect::Inspector<'e>,
    pub facts: Option<&'e super::detect::facts::Matcher>,
    pub found: FactFindings,
    pub marks: Vec<RawFinding>,
    /// Names in which nothing is, whatever the request.
    pub names: Arc<Names>,
    /// Those of this unit: the same few stand in a document again and again. Whether they are as plain in any other.
    pub fresh: HashMap<Box<[u8]>, bool, Keyed>,
    pub template: Scan<'e>,
    /// Where texts of earlier answers are remembered, if any are.
    pub memory: Option<&'e Vault>,
    pub recalled: Vec<Recalled>,
}

impl Visitor for Detectors<'_> {
    fn around(&mut self, value: &Leaf<'_>, place: &dyn Place) {
        self.remember(value, place);
    }

    #[inline]
    fn leaf(&mut self, leaf: &Leaf<'_>, place: &dyn Place) {
        if self.memory.is_some() {
            self.remember(leaf, place);
        }
        let name = matches!(leaf.kind, LeafKind::JsonName | LeafKind::FieldName) && leaf.text.len() <= LONGEST_NAME;
        if name && (self.names.contains(leaf.text) || self.fresh.contains_key(leaf.text)) {
            self.template.leaf(leaf, place);
            return;
        }
        let before = (self.rules.count(), self.found.count(), self.marks.len());
        self.rules.leaf(leaf, place);
        if let Some(facts) = self.facts {
            let hits = self.rules.hits();
            let met = Met { forms: &hits.forms, signs: &hits.signs, shared: &|| self.rules.is_shared(leaf, place) };
            match self.rules.label() {
                Some(name) => facts.inspect(&Leaf { name, ..*leaf }, place, &met, &mut self.found),
                None => facts.inspect(leaf, place, &met, &mut self.found),
            }
        }
        if !self.rules.is_unmarked() {
            covert::inspect(leaf, place, &mut self.marks);
        }
        self.template.leaf(leaf, place);
        let nothing = before == (self.rules.count(), self.found.count(), self.marks.len());
        if name && nothing && self.fresh.len() < MOST_NAMES {
            let hits = self.rules.hits();
            self.fresh.insert(leaf.text.into(), hits.literals.is_empty() && hits.forms.is_empty());
        }
    }

    fn runs(&mut self, text: &[u8], runs: &mut Vec<Range<usize>>) {
        self.rules.runs(text, runs);
    }

    fn unread(&mut self, place: &dyn Place, bytes: &[u8], reason: &'static str) {
        self.rules.unread(place, bytes, reason);
        self.template.unread(place, bytes, reason);
    }
}

impl Detectors<'_> {
    /// Notes a text of an earlier answer that the client sends back.
    fn remember(&mut self, leaf: &Leaf<'_>, place: &dyn Place) {
        let Some(vault) = self.memory.filter(|_| matches!(leaf.kind, LeafKind::JsonString | LeafKind::JsonName)) else {
            return;
        };
        let Ok(text) = std::str::from_utf8(leaf.text) else { return };
        if let Some(written) = vault.recall(text) {
            let (target, location) = (leaf.target, place.location());
            self.recalled.push(Recalled { target, location, shown: text.to_owned(), written });
        }
    }

    pub fn finish(self, layers: &[Layer]) -> (Vec<RawFinding>, Lesson) {
        let (mut found, strange) = self.rules.finish_all();
        found.extend(self.found.finish(layers, &strange));
        super::detect::places::settle(&mut found, layers);
        found.extend(self.marks);
        let (unlike, lesson) = self.template.finish(layers);
        found.extend(unlike);
        (found, lesson)
    }
}
