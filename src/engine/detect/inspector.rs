//! Walks one unit's leaves past the rules.
//!
//! ```text
//! leaf -> the rules its name calls for (named)  -> findings
//!      -> the literals its text holds (prompt)  ->
//! ```
//!
//! A leaf that calls for nothing costs one look-up of its name and one pass of the scanner over its text,
//! and no allocation.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::elements::{Elements, ToldElement};
use super::facts::Matcher;
use super::hash::Keyed;
use super::label::Label;
use super::named::LONGEST_VALUE;
use super::prompt::Prompt;
use super::region::{self, Region};
use super::role::Role;
use super::scanner::{Hits, Scanner};
use super::scans::{Scanned, Scans};
use super::strangers::Strange;
use super::told::{Context, Excerpt, Key, Told, ToldRule, Whole};
use super::{DEFAULT_CONFIDENCE, RawFinding};
use crate::engine::decode::{lines, pairs, runs_of};
use crate::engine::digest::Digest;
use crate::engine::location::{Location, Step};
use crate::engine::rules::ruleset::{Called, Candidates, NameMemory, RuleSet};
use crate::engine::visit::{Leaf, LeafKind, Place, Quoted, Segment, Target, Visitor};

/// Names that one unit may add to what is remembered.
const FRESH_NAMES: usize = 1024;

pub struct Inspector<'r> {
    pub(super) rules: &'r RuleSet,
    scanner: &'r Scanner,
    /// Of this machine, where they are known.
    facts: Option<&'r Matcher>,
    /// Of texts that were there before, where they are remembered.
    scans: Option<&'r Scans>,
    /// The text that comes next.
    next: Next,
    /// Of a text that may come, if it does.
    expected: Option<(Target, Digest)>,
    /// Of this unit, once it was asked for.
    whole: Option<Whole>,
    /// Of texts, and of elements.
    contexts: [Context; 2],
    /// The text that was last seen holds no character that any mark could begin with: known only of what was seen before.
    unmarked: bool,
    pub(super) hits: Hits,
    active: Vec<u64>,
    /// Findings below are dropped.
    floor: f32,
    memory: Called,
    fresh: Called<NameMemory>,
    label: Label,
    /// The label names the leaf that was last seen.
    labelled: bool,
    /// The leaf is the value of a pair within another: a list of pairs is no list of values.
    pub(super) in_pair: bool,
    qualified: String,
    role: Role,
    pub(super) prompt: Prompt,
    pub(super) found: Vec<Found>,
    strange: Vec<Strange>,
}

thread_local! {
    /// Of the last unit, for the room that it has made.
    static SPARE: std::cell::Cell<Option<Hits>> = const { std::cell::Cell::new(None) };
}

/// Layer, raw span and window: where two rules may meet.
type Spot = (u32, u32, u32, Option<(usize, usize)>);

#[derive(PartialEq)]
pub(super) struct Found {
    rule: u16,
    pub(super) finding: RawFinding,
    /// A line in words that are not the client's alone, and nothing there announced a description of the machine.
    pub(super) unsigned: bool,
}

impl<'r> Inspector<'r> {
    pub(crate) fn new(rules: &'r RuleSet, scanner: &'r Scanner, active: Vec<u64>) -> Self {
        Self {
            rules,
            scanner,
            facts: None,
            scans: None,
            next: Next::Unknown,
            expected: None,
            whole: None,
            contexts: Default::default(),
            unmarked: false,
            hits: SPARE.take().unwrap_or_default(),
            memory: rules.remembered(&active),
            active,
            floor: DEFAULT_CONFIDENCE,
            fresh: Called::default(),
            label: Label::default(),
            labelled: false,
            in_pair: false,
            qualified: String::new(),
            role: Role::default(),
            prompt: Prompt::default(),
            found: Vec::new(),
            strange: Vec::new(),
        }
    }

    /// Knows this machine, and so what is about another.
    pub(crate) fn knowing(mut self, facts: Option<&'r Matcher>) -> Self {
        self.facts = facts;
        self
    }

    /// Knows texts again.
    pub(crate) fn remembering(mut self, scans: Option<&'r Scans>) -> Self {
        self.scans = scans;
        self
    }

    /// Also reports findings that are less sure than usual.
    pub fn with_floor(mut self, floor: f32) -> Self {
        self.floor = floor;
        self
    }

    /// What was found, in wire order; one finding for each kind and place.
    pub fn finish(self) -> Vec<RawFinding> {
        self.finish_all().0
    }

    /// The same, and where other machines are described.
    pub(crate) fn finish_all(mut self) -> (Vec<RawFinding>, Vec<Strange>) {
        self.settle();
        let rules = self.rules.rules();
        let mut best: HashMap<Spot, usize, Keyed> =
            HashMap::with_capacity_and_hasher(self.found.len(), Keyed::default());
        let mut kept: Vec<Option<Found>> = Vec::with_capacity(self.found.len());
        for found in self.found.drain(..) {
            let target = found.finding.target;
            let window = found.finding.window.as_ref().map(|window| (window.start, window.end));
            let place = (target.layer.0, target.raw.start, target.raw.end, window);
            if let Some(&at) = best.get(&place)
                && let Some(Some(first)) = kept.get_mut(at)
            {
                let (first_rule, rule) = (&rules[usize::from(first.rule)], &rules[usize::from(found.rule)]);
                // A pack that knows the client knows better what a value is; then the surer rule does.
                let (before, after) =
                    ((!first_rule.generic, first.finding.confidence), (!rule.generic, found.finding.confidence));
                if first.finding.kind == found.finding.kind || before != after {
                    if after > before {
                        *first = found;
                    }
                    continue;
                }
            }
            best.insert(place, kept.len());
            kept.push(Some(found));
        }
        (kept.into_iter().flatten().map(|found| found.finding).collect(), self.strange)
    }

    /// Every finding of the rule called `id`, also where another rule names the same value.
    pub fn finish_rule(mut self, id: &str) -> Vec<RawFinding> {
        self.settle();
        let rules = self.rules.rules();
        self.found.retain(|found| *rules[usize::from(found.rule)].id == *id);
        self.found.into_iter().map(|found| found.finding).collect()
    }

    fn settle(&mut self) {
        SPARE.set(Some(std::mem::take(&mut self.hits).spare()));
        self.rules.remember(&self.active, std::mem::take(&mut self.fresh));
        super::prompt::confirm_homes(self.found.iter_mut().map(|found| &mut found.finding));
        let floor = self.floor;
        self.found.retain(|found| found.finding.confidence >= floor);
        if let Some(facts) = self.facts {
            let (strangers, places) = super::strangers::are_strangers(&self.found, facts);
            let mut strangers = strangers.into_iter();
            self.found.retain(|_| !strangers.next().unwrap_or_default());
            self.strange = places;
        }
    }

    /// Findings so far.
    pub(crate) fn count(&self) -> usize {
        self.found.len()
    }

    /// What the scanner met in the last leaf.
    pub(crate) fn hits(&self) -> &Hits {
        &self.hits
    }

    /// Whether people, models and files speak in `leaf`, not the client alone.
    pub(crate) fn is_shared(&self, leaf: &Leaf<'_>, place: &dyn Place) -> bool {
        let location = place.location();
        let region = self.region(&location, place);
        region::is_uploaded(&location)
            || region.is_shared() && !region::is_packed(&location)
            || region == Region::Client && (region::is_document(leaf) || region::is_filed(&location))
    }

    /// Whether the last leaf holds no mark for certain.
    pub(crate) fn is_unmarked(&self) -> bool {
        self.unmarked
    }

    fn scan(&mut self, leaf: &Leaf<'_>) {
        let next = std::mem::replace(&mut self.next, Next::Unknown);
        self.unmarked = false;
        match (leaf.kind, next) {
            (
                LeafKind::Method
                | LeafKind::JsonNumber
                | LeafKind::JsonBool
                | LeafKind::JsonNull
                | LeafKind::PbVarint
                | LeafKind::PbFixed,
                _,
            ) => self.hits.clear(),
            (_, Next::Known(scanned)) => {
                scanned.hits(&mut self.hits);
                self.unmarked = scanned.unmarked;
            }
            (_, next) => {
                self.scanner.scan(leaf.text, leaf.runs, &mut self.hits);
                if let (Next::New(digest), Some(scans)) = (next, self.scans) {
                    scans.put(digest, leaf.text, leaf.runs, &self.hits);
                }
            }
        }
    }

    /// As [`Visitor::leaf`] of a text in which nothing is.
    pub(crate) fn pass(&mut self, leaf: &Leaf<'_>, place: &dyn Place) {
        self.try_name(leaf, place);
        self.unmarked = false;
        self.next = Next::Unknown;
        self.hits.clear();
    }

    pub(super) fn is_active(&self, rule: u16) -> bool {
        self.active.get(usize::from(rule) / 64).is_some_and(|bits| bits >> (rule % 64) & 1 == 1)
    }

    /// Of the rules that look at the request: many call for a name like `text`, and hardly one of them for any client.
    fn candidates(&mut self, name: &str) -> Candidates {
        if let Some(candidates) = self.memory.active.get(name).or_else(|| self.fresh.active.get(name)) {
            return candidates.clone();
        }
        let kept = self.fresh.active.len() < FRESH_NAMES && name.len() <= 64;
        let known = self.memory.all.get(name).cloned();
        let all = known.unwrap_or_else(|| {
            let all = self.rules.candidates(name);
            if kept {
                self.fresh.all.insert(name.into(), all.clone());
            }
            all
        });
        let active = all.rules.iter().copied().filter(|&number| self.is_active(number));
        let candidates = Candidates { rules: active.collect(), vague: all.vague };
        if kept {
            self.fresh.active.insert(name.into(), candidates.clone());
        }
        candidates
    }

    /// What the name of a leaf, or its neighbour's, says about it.
    #[inline]
    fn try_name(&mut self, leaf: &Leaf<'_>, place: &dyn Place) {
        self.role.note(leaf, place);
        let labelled = leaf.kind != LeafKind::FieldName && self.label.step(leaf, place, self.rules.labels());
        self.labelled = labelled;
        let name = matches!(leaf.kind, LeafKind::JsonName | LeafKind::FieldName);
        if !name && (1..=LONGEST_VALUE).contains(&leaf.text.len()) {
            let candidates = if labelled {
                let label = std::mem::take(&mut self.label);
                let candidates = self.candidates(label.text());
                self.label = label;
                candidates
            } else {
                self.candidates(leaf.name)
            };
            for &number in candidates.rules.iter() {
                self.try_named(number, leaf, place);
            }
            if labelled && leaf.name.is_empty() {
                // The text before a field of protobuf need not be its name: what speaks for itself does so anyway.
                let nameless = self.candidates(leaf.name);
                for &number in nameless.rules.iter().filter(|number| !candidates.rules.contains(number)) {
                    self.try_named(number, leaf, place);
                }
            }
            if candidates.vague && !labelled {
                self.try_qualified(&candidates, leaf, place);
            }
        }
    }

    /// `{"os":{"version":…}}` says what `{"os_version":…}` says.
    fn try_qualified(&mut self, tried: &Candidates, leaf: &Leaf<'_>, place: &dyn Place) {
        let mut names = place.pointer().iter().rev().filter_map(|segment| match segment {
            Segment::Name(name) => Some(*name),
            Segment::Index(_) => None,
        });
        let (Some(_), Some(parent)) = (names.next(), names.next()) else { return };
        if parent.len() + leaf.name.len() > 64 {
            return;
        }
        let mut qualified = std::mem::take(&mut self.qualified);
        qualified.clear();
        qualified.push_str(parent);
        qualified.push('_');
        qualified.push_str(leaf.name);
        let candidates = self.candidates(&qualified);
        self.qualified = qualified;
        for &number in candidates.rules.iter().filter(|number| !tried.rules.contains(number)) {
            self.try_named(number, leaf, place);
        }
    }

    /// A value inside a list of pairs, under the name that it has there.
    fn try_pair(&mut self, name: &str, range: Range<usize>, leaf: &Leaf<'_>, place: &dyn Place) {
        let Some(text) = leaf.text.get(range.clone()) else { return };
        let pair = Leaf { kind: leaf.kind, name, text, runs: &[], target: leaf.target };
        let mark = self.found.len();
        let rules = self.rules.rules();
        for &number in self.candidates(name).rules.iter() {
            // Rules for a header mean the header.
            if rules.get(usize::from(number)).is_some_and(|rule| rule.select.header.is_empty()) {
                self.in_pair = true;
                self.try_named(number, &pair, place);
                self.in_pair = false;
            }
        }
        for found in self.found.get_mut(mark..).unwrap_or_default() {
            found.finding.widen(&range);
        }
    }

    /// What the neighbour of the leaf that was last seen calls it.
    pub(crate) fn label(&self) -> Option<&str> {
        self.labelled.then(|| self.label.text())
    }

    /// Whose words stand at `location`; the role of a message decides where the API leaves it open.
    pub(super) fn region(&self, location: &Location, place: &dyn Place) -> Region {
        match Region::of(location) {
            Region::Conversation => self.role.of(place.pointer()).unwrap_or(Region::Conversation),
            region => region,
        }
    }

    /// Whose words stand at `place`, in a document that no other holds.
    pub(crate) fn region_at(&self, place: &dyn Place) -> Region {
        let names = place.pointer().iter().map(|segment| match segment {
            Segment::Name(name) => *name,
            Segment::Index(_) => "*",
        });
        match Region::of_steps(names) {
            Region::Conversation => self.role.of(place.pointer()).unwrap_or(Region::Conversation),
            region => region,
        }
    }

    /// By what `value` and its place are known, if what it comes to depends on them alone. `beside` is the text before, in a list;
    /// `part` tells the parts of requests apart.
    pub(crate) fn key_of(&mut self, value: &Quoted<'_>, place: &dyn Place, beside: &[u8], part: u64) -> Option<Key> {
        self.expected = None;
        let scans = self.scans?;
        let text = scans.digest_quoted(value);
        self.expected = Some((value.target, text));
        // What names others, or is what others stand beside, is noted for them.
        if value.name == "role" || Label::minds(value.name) || matches!(place.pointer().last(), Some(Segment::Index(_)))
        {
            return None;
        }
        let whole = self.whole(part)?;
        let region = self.region_at(place);
        let context = self.contexts[0].of(scans.key(), value.name, place, region, beside, whole)?;
        Some((text, context))
    }

    /// What an element of a list says about its neighbours ends with it.
    pub(crate) fn element(&mut self) {
        self.label.forget();
        self.role = Role::default();
    }

    /// Notes who says what follows, where nothing else is looked for.
    pub(crate) fn note_role(&mut self, leaf: &Leaf<'_>, place: &dyn Place) {
        self.role.note(leaf, place);
    }

    /// Whether a system prompt stands at `place`.
    pub(crate) fn is_system(&self, place: &dyn Place) -> bool {
        self.region_at(place) == Region::System
    }

    /// Whether the message that was last read says that it is one.
    pub(crate) fn is_told_by_system(&self) -> bool {
        self.role.is_system()
    }

    /// By what the element `raw` and its place are known, if it has been there before, or may well come again: most never do.
    /// `follows`: one that was known stands before it, as in a conversation that goes on.
    pub(crate) fn element_key(
        &mut self,
        raw: &[u8],
        place: &dyn Place,
        beside: &[u8],
        (part, follows): (u64, bool),
    ) -> Option<Key> {
        let scans = self.scans.filter(|scans| scans.elements().was_seen(scans.key(), raw, follows))?;
        let whole = self.whole(part)?;
        let region = self.region_at(place);
        let context = self.contexts[1].of(scans.key(), "", place, region, beside, whole)?;
        Some((scans.key().of(&[raw], 2), context))
    }

    /// Where elements are kept.
    pub(crate) fn elements(&self) -> Option<&'r Elements> {
        self.scans.map(Scans::elements)
    }

    /// How long the element may be that begins with `rest`.
    pub(crate) fn guess_element(&self, rest: &[u8]) -> Option<usize> {
        let scans = self.scans?;
        scans.elements().guess(scans.key(), rest)
    }

    /// Keeps what the element `raw` came to.
    pub(in crate::engine) fn keep_element(&self, key: Key, told: ToldElement, raw: &[u8]) {
        if let Some(scans) = self.scans {
            scans.elements().put(key, told, scans.key(), raw);
        }
    }

    fn whole(&mut self, part: u64) -> Option<Whole> {
        let (active, scans, rules) = (&self.active, self.scans?, self.rules);
        Some(*self.whole.get_or_insert_with(|| {
            let bytes: Vec<u8> = active.iter().flat_map(|word| word.to_le_bytes()).collect();
            Whole { about: scans.key().of(&[&bytes], part).word(), numbered: rules.is_numbered() }
        }))
    }

    /// Whether the findings from number `from` to `mark` are those from there on; those from there on are dropped.
    pub(crate) fn is_repeated(&mut self, from: usize, mark: usize) -> bool {
        let again = self.found.split_off(mark);
        self.found.get(from..).is_some_and(|first| first == again)
    }

    /// Findings from number `from` on.
    pub(crate) fn found_since(&self, from: usize) -> impl Iterator<Item = (u16, &RawFinding, bool)> {
        self.found.iter().skip(from).map(|found| (found.rule, &found.finding, found.unsigned))
    }

    /// Adds a finding that is known, with what stands in its window.
    pub(crate) fn tell_one(&mut self, told: &ToldRule, value: &Excerpt<'_>, location: Location) {
        self.push(told.rule, value, location, told.window.clone(), told.confidence);
        if let Some(found) = self.found.last_mut() {
            found.unsigned = told.unsigned;
        }
    }

    /// What a text and its place came to before.
    pub(crate) fn told(&self, key: Key) -> Option<Arc<Told>> {
        self.scans?.tales().get(key)
    }

    pub(crate) fn keep(&self, key: Key, told: Told) {
        if let Some(scans) = self.scans {
            scans.tales().put(key, told);
        }
    }

    /// What was found from number `from` on, all of it in `leaf`. None where it could not be found again by its window alone.
    pub(crate) fn rules_told(&self, from: usize, leaf: &Leaf<'_>) -> Option<Box<[ToldRule]>> {
        let rules = self.rules.rules();
        let told = self.found.iter().skip(from).map(|found| {
            let finding = &found.finding;
            let window = finding.window.clone().unwrap_or(0..leaf.text.len());
            let rule = rules.get(usize::from(found.rule))?;
            let plain = *finding.value == *String::from_utf8_lossy(leaf.text.get(window.clone())?)
                && (&finding.kind, finding.detector, finding.severity) == (&rule.kind, rule.detector, rule.severity)
                && (finding.action, &finding.observed, &finding.restored) == (rule.action, &None, &None);
            plain.then_some(ToldRule {
                rule: found.rule,
                window,
                confidence: finding.confidence,
                unsigned: found.unsigned,
            })
        });
        told.collect()
    }

    /// Adds what was found in `leaf` where it stood before.
    pub(crate) fn tell(&mut self, told: &[ToldRule], leaf: &Leaf<'_>, place: &dyn Place) {
        for told in told {
            if let Some(value) = Excerpt::of(leaf, &told.window) {
                self.tell_one(told, &value, place.location());
            }
        }
    }

    /// Adds a finding of `rule` in `leaf`: all of it, or a window.
    pub(super) fn add(
        &mut self,
        number: u16,
        leaf: &Leaf<'_>,
        location: Location,
        window: Range<usize>,
        confidence: f32,
    ) {
        if let Some(value) = Excerpt::of(leaf, &window) {
            self.push(number, &value, location, window, confidence);
        }
    }

    fn push(
        &mut self,
        number: u16,
        value: &Excerpt<'_>,
        mut location: Location,
        window: Range<usize>,
        confidence: f32,
    ) {
        let Some(rule) = self.rules.rules().get(usize::from(number)) else { return };
        let window = (!value.whole).then_some(window);
        if let Some(window) = &window {
            location.steps.push(Step::Window(window.start as u32, window.end as u32));
        }
        let finding = RawFinding {
            kind: rule.kind.clone(),
            location,
            detector: rule.detector,
            rule: Some(rule.id.clone()),
            severity: rule.severity,
            confidence,
            value: String::from_utf8_lossy(value.text).into(),
            observed: None,
            target: value.target,
            window,
            action: rule.action,
            restored: None,
        };
        self.found.push(Found { rule: number, finding, unsigned: false });
    }
}

impl Visitor for Inspector<'_> {
    fn leaf(&mut self, leaf: &Leaf<'_>, place: &dyn Place) {
        self.try_name(leaf, place);
        self.scan(leaf);
        self.try_text(leaf, place);
        for (name, range) in pairs::of(leaf) {
            self.try_pair(name, range, leaf, place);
        }
        if leaf.kind == LeafKind::Text && place.location().steps.is_empty() {
            for (name, range) in lines::of(leaf.text) {
                self.try_pair(name, range, leaf, place);
            }
        }
    }

    fn runs(&mut self, text: &[u8], target: Target, runs: &mut Vec<Range<usize>>) {
        let digest = match self.expected {
            Some((expected, digest)) if expected == target => Some(digest),
            _ => self.scans.and_then(|scans| scans.digest(text)),
        };
        let known = digest.and_then(|digest| self.scans?.get(digest));
        match (&known, digest) {
            (Some(scanned), _) => scanned.runs(runs),
            _ => runs_of(text, runs),
        }
        self.next = match (known, digest) {
            (Some(scanned), _) => Next::Known(scanned),
            (None, Some(digest)) => Next::New(digest),
            (None, None) => Next::Unknown,
        };
    }

    fn unread(&mut self, _: &dyn Place, _: &[u8], _: &'static str) {}
}

/// A text that is about to be handed out.
enum Next {
    /// Too short, or nothing is remembered.
    Unknown,
    New(Digest),
    Known(Arc<Scanned>),
}
