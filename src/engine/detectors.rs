//! All detectors at once, and the names that none of them has anything to say about.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;

use super::decode::{Layer, json_unescape};
use super::detect::elements::{Needed, Spot, ToldElement, Visited};
use super::detect::facts::{FactFindings, Met};
use super::detect::hash::Keyed;
use super::detect::template::{Lesson, Scan};
use super::detect::{RawFinding, Told, ToldKey, ToldRule, covert};
use super::location::Location;
use super::plain::{Plain, PlainTexts};
use super::pseudonym::Vault;
use super::settle::Recalled;
use super::visit::{
    ElementAt, Inside, Known, LayerId, Leaf, LeafKind, Place, Quoted, Reopen, SHORTEST_KNOWN, Segment, Target, Visitor,
};

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
    pub texts: PlainTexts,
    pub template: Scan<'e>,
    /// Where texts of earlier answers are remembered, if any are.
    pub memory: Option<&'e Vault>,
    pub recalled: Vec<Recalled>,
    /// Tells the parts of requests apart.
    pub part: u64,
    /// A text of which it is not known what it comes to.
    pub unknown: Option<Unknown>,
    /// For escapes that are undone.
    pub room: Vec<u8>,
    /// An element that came before and of which it is not known what it comes to.
    pub element: Option<Open>,
    /// Of the element that is being read all but its form is known.
    pub form_only: bool,
    /// An element was known.
    pub follows_known: bool,
}

/// An element that is being read, to be known when it comes again.
pub(super) struct Open {
    key: ToldKey,
    target: Target,
    base: Location,
    /// Findings of rules and facts, and marks, before it.
    before: (usize, usize, usize),
    /// It holds what cannot be told again.
    more: bool,
    beside: Option<Target>,
    /// It is, or may be, part of a system prompt.
    system: bool,
}

/// A text that is being walked, to be known when it comes again.
pub(super) struct Unknown {
    key: ToldKey,
    target: Target,
    /// What it came to, once it was handed out.
    told: Option<Told>,
    /// It was more than one leaf, or not all of it could be read.
    more: bool,
    long: bool,
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
        if self.form_only {
            self.template.leaf(leaf, place);
            return;
        }
        let name = matches!(leaf.kind, LeafKind::JsonName | LeafKind::FieldName) && leaf.text.len() <= LONGEST_NAME;
        if name && (self.names.contains(leaf.text) || self.fresh.contains_key(leaf.text)) {
            self.template.leaf(leaf, place);
            return;
        }
        let before = (self.rules.count(), self.found.count(), self.marks.len());
        let plain = self.texts.of(leaf);
        if plain == Plain::Yes {
            self.rules.pass(leaf, place);
            if self.facts.is_some() {
                self.found.pass(leaf, place);
            }
        } else {
            self.look(leaf, place);
        }
        self.template.leaf(leaf, place);
        if self.unknown.is_some() {
            self.note(before, leaf);
        }
        if let Some(open) = &mut self.element {
            // A name that is a value is not kept.
            open.more |=
                leaf.kind == LeafKind::JsonName && before.0 + before.1 < self.rules.count() + self.found.count();
            if leaf.kind == LeafKind::JsonString && matches!(place.pointer().last(), Some(Segment::Index(_))) {
                open.beside = Some(leaf.target);
            }
        }
        let nothing = before == (self.rules.count(), self.found.count(), self.marks.len());
        if name && nothing && self.fresh.len() < MOST_NAMES {
            let hits = self.rules.hits();
            self.fresh.insert(leaf.text.into(), hits.literals.is_empty() && hits.forms.is_empty());
        }
        if plain == Plain::Unknown {
            self.texts.keep(leaf, nothing, &self.rules, self.facts);
        }
    }

    fn runs(&mut self, text: &[u8], target: Target, runs: &mut Vec<Range<usize>>) {
        if !self.form_only {
            self.rules.runs(text, target, runs);
        }
    }

    fn guess_element(&mut self, rest: &[u8]) -> Option<usize> {
        // What was said in answers is noted text by text.
        self.rules.guess_element(rest).filter(|_| self.memory.is_none())
    }

    fn element(
        &mut self,
        within: &[u8],
        target: Target,
        at: ElementAt,
        place: &dyn Place,
        layers: &mut dyn Reopen,
    ) -> Known {
        self.rules.element();
        self.element = None;
        let raw = &within[target.raw.range()];
        let about = (self.part, self.follows_known || at.guessed);
        let key = match self.memory {
            Some(_) => None,
            None => self.rules.element_key(raw, place, self.found.beside(), about),
        };
        let told = key.and_then(|key| self.rules.elements()?.get(key));
        if at.guessed && told.is_none() {
            return Known::No;
        }
        self.template.element_begins(within, target, place);
        let Some(key) = key else { return Known::No };
        let Some(told) = told else {
            let before = (self.rules.count(), self.found.count(), self.marks.len());
            self.template.keeps_element(key);
            self.element = Some(Open {
                key,
                target,
                base: place.location(),
                before,
                more: false,
                beside: None,
                system: self.rules.is_system(place),
            });
            return Known::No;
        };
        self.follows_known = true;
        if told.spent > at.left {
            return Known::No;
        }
        let form = self.template.is_active() || told.system;
        let whole = !form || self.template.recalls_element(key, within, place);
        if !whole && told.holds {
            // The form of what is in it is in no value at hand.
            return Known::No;
        }
        if !told.is_plain() {
            let Some(opened) = told.open(raw, target, layers) else { return Known::No };
            self.tell_element(&told, raw, target, &place.location(), &opened);
        }
        self.form_only = !whole;
        if whole { Known::Whole { spent: told.spent } } else { Known::Form }
    }

    fn element_ended(&mut self, within: &[u8], inside: &Inside<'_>) {
        let system = self.rules.is_told_by_system();
        self.rules.element();
        self.template.element_ends(within, inside);
        self.form_only = false;
        let found = (self.rules.count(), self.found.count(), self.marks.len());
        if let Some(mut open) = self.element.take()
            && !open.more
            && found.2 == open.before.2
        {
            open.system |= system;
            self.keep_element(&open, &within[open.target.raw.range()], inside);
        }
    }

    fn recall(&mut self, value: &Quoted<'_>, place: &dyn Place) -> bool {
        self.unknown = None;
        if self.form_only {
            let nothing = Told { blocks: memchr::memchr(b'<', value.raw).is_some(), ..Told::default() };
            self.tell(&nothing, value, place);
            return true;
        }
        let Some(key) = self.rules.key_of(value, place, self.found.beside(), self.part) else { return false };
        match self.rules.told(key) {
            Some(told) => self.tell(&told, value, place),
            None => {
                let long = value.raw.len() >= SHORTEST_KNOWN || value.kind == LeafKind::Header;
                self.unknown = Some(Unknown { key, target: value.target, told: None, more: false, long });
            }
        }
        self.unknown.is_none()
    }

    fn learn(&mut self, alone: bool) {
        if let Some(Unknown { key, told: Some(told), more: false, long, .. }) = self.unknown.take()
            && alone
            // A short one in which nothing is costs no more to look at than to look up.
            && (long || !told.is_empty())
        {
            self.rules.keep(key, told);
        }
    }

    fn unread(&mut self, place: &dyn Place, bytes: &[u8], reason: &'static str) {
        if let Some(unknown) = &mut self.unknown {
            unknown.more = true;
        }
        if let Some(open) = &mut self.element {
            open.more = true;
        }
        self.rules.unread(place, bytes, reason);
        self.template.unread(place, bytes, reason);
    }
}

impl Detectors<'_> {
    /// Has all of them look at a leaf.
    #[inline]
    fn look(&mut self, leaf: &Leaf<'_>, place: &dyn Place) {
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
    }

    /// Notes what a text came to, all that was found since there were `before` findings.
    fn note(&mut self, before: (usize, usize, usize), leaf: &Leaf<'_>) {
        let marked = self.marks.len() > before.2;
        let told = self.rules.rules_told(before.0, leaf).filter(|_| !marked).map(|rules| Told {
            rules,
            facts: self.found.told(before.1, leaf.text.len()),
            blocks: super::detect::template::holds_blocks(leaf.text),
        });
        if let Some(unknown) = &mut self.unknown {
            unknown.more |= unknown.told.is_some() || leaf.target != unknown.target || told.is_none();
            unknown.told = told;
        }
    }

    /// Adds what `value` came to where it stood before.
    fn tell(&mut self, told: &Told, value: &Quoted<'_>, place: &dyn Place) {
        let region = self.rules.region_at(place);
        // Who says what follows decides whether it is read.
        let role = value.name == "role";
        let read = !told.is_empty() || self.memory.is_some() || role || Scan::reads(region, told.blocks);
        let mut room = std::mem::take(&mut self.room);
        room.clear();
        let text = match (read, value.escaped) {
            (false, _) => &[],
            (true, false) => value.raw,
            (true, true) => {
                json_unescape(value.raw, &mut room);
                &room[..]
            }
        };
        let leaf = Leaf { kind: value.kind, name: value.name, text, runs: &[], target: value.target };
        if self.memory.is_some() {
            self.remember(&leaf, place);
        }
        if role {
            self.rules.note_role(&leaf, place);
        }
        self.rules.tell(&told.rules, &leaf, place);
        if let Some(facts) = self.facts {
            facts.tell(&told.facts, &leaf, place, &mut self.found);
        }
        self.template.leaf(&leaf, place);
        self.room = room;
    }

    /// Adds what the element `raw` came to where it stood before.
    fn tell_element(
        &mut self,
        told: &ToldElement,
        raw: &[u8],
        target: Target,
        base: &Location,
        opened: &[(LayerId, Bytes)],
    ) {
        let mut spots = Visited::new(told, raw, target, base, opened);
        for at in &told.rules {
            if let Some((location, value)) = spots.excerpt(at, &at.told.window) {
                self.rules.tell_one(&at.told, &value, location);
            }
        }
        let Some(facts) = self.facts else { return };
        for at in &told.facts {
            if let Some((location, value)) = spots.excerpt(at, &at.told.window()) {
                facts.tell_one(&at.told, &value, location, &mut self.found);
            }
        }
        if let Some(beside) = &told.beside {
            self.found.set_beside(&beside.text(raw, opened));
        }
    }

    /// Keeps what the element came to, if the same comes out when it is told again.
    fn keep_element(&mut self, open: &Open, raw: &[u8], inside: &Inside<'_>) {
        let (target, base) = (open.target, &open.base);
        let mut needed = Needed::new(inside.layers, target, base, raw);
        let mut rules = Vec::new();
        for (rule, finding, unsigned) in self.rules.found_since(open.before.0) {
            let (window, confidence) = (finding.window.clone(), finding.confidence);
            let told = |length| ToldRule { rule, window: window.unwrap_or(0..length), confidence, unsigned };
            let Some(at) = needed.at(finding, told) else { return };
            rules.push(at);
        }
        let mut facts = Vec::new();
        for (fact, finding) in self.found.since(open.before.1) {
            let whole = finding.window.is_none();
            let Some(at) = needed.at(finding, |length| fact.in_text_of(whole.then_some(length))) else { return };
            facts.push(at);
        }
        let beside = open.beside.map(|beside| Spot::at(beside, &mut needed));
        if beside.as_ref().is_some_and(Option::is_none) {
            return;
        }
        let (spots, inner, opened) = needed.into_parts();
        let (rules, facts, beside) = (rules.into(), facts.into(), beside.flatten());
        let (holds, spent) = (!inside.is_empty(), inside.spent);
        let told = ToldElement { spots, rules, facts, beside, system: open.system, holds, inner, spent };
        let (mark, fact_mark) = (self.rules.count(), self.found.count());
        self.tell_element(&told, raw, target, base, &opened);
        let same = self.rules.is_repeated(open.before.0, mark) && self.found.is_repeated(open.before.1, fact_mark);
        if same {
            self.rules.keep_element(open.key, told, raw);
        }
    }

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
