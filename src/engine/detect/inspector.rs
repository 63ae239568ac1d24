//! Walks one unit's leaves past the rules.
//!
//! ```text
//! leaf -> the rules its name calls for (named)  -> findings
//!      -> the literals its text holds (prompt)  ->
//! ```
//!
//! A leaf that calls for nothing costs one look-up of its name and one pass of an automaton over its text,
//! and no allocation.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::prompt::Prompt;
use super::region::Region;
use super::{DEFAULT_CONFIDENCE, RawFinding};
use crate::engine::location::{Location, Root, Step};
use crate::engine::rules::rule::{Part, Rule};
use crate::engine::rules::ruleset::{Candidates, NameMemory, RuleSet};
use crate::engine::visit::{Leaf, LeafKind, Place, Segment, Visitor};

/// Names that one unit may add to what is remembered.
const FRESH_NAMES: usize = 1024;

pub struct Inspector<'r> {
    pub(super) rules: &'r RuleSet,
    active: Vec<u64>,
    /// Findings below are dropped.
    floor: f32,
    memory: Arc<NameMemory>,
    fresh: NameMemory,
    label: Label,
    qualified: String,
    role: Role,
    pub(super) prompt: Prompt,
    found: Vec<Found>,
}

/// Layer, raw span and window: where two rules may meet.
type Spot = (u32, u32, u32, Option<(usize, usize)>);

pub(super) struct Found {
    rule: u16,
    finding: RawFinding,
}

impl<'r> Inspector<'r> {
    pub(crate) fn new(rules: &'r RuleSet, active: Vec<u64>) -> Self {
        Self {
            rules,
            active,
            floor: DEFAULT_CONFIDENCE,
            memory: rules.remembered(),
            fresh: NameMemory::new(),
            label: Label::default(),
            qualified: String::new(),
            role: Role::default(),
            prompt: Prompt::default(),
            found: Vec::new(),
        }
    }

    /// Also reports findings that are less sure than usual.
    pub fn with_floor(mut self, floor: f32) -> Self {
        self.floor = floor;
        self
    }

    /// What was found, in wire order; one finding for each kind and place.
    pub fn finish(mut self) -> Vec<RawFinding> {
        self.settle();
        let rules = self.rules.rules();
        let mut best: HashMap<Spot, usize> = HashMap::new();
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
        kept.into_iter().flatten().map(|found| found.finding).collect()
    }

    /// Every finding of the rule called `id`, also where another rule names the same value.
    pub fn finish_rule(mut self, id: &str) -> Vec<RawFinding> {
        self.settle();
        let rules = self.rules.rules();
        self.found.retain(|found| *rules[usize::from(found.rule)].id == *id);
        self.found.into_iter().map(|found| found.finding).collect()
    }

    fn settle(&mut self) {
        self.rules.remember(std::mem::take(&mut self.fresh));
        super::prompt::confirm_homes(self.found.iter_mut().map(|found| &mut found.finding));
        let floor = self.floor;
        self.found.retain(|found| found.finding.confidence >= floor);
    }

    pub(super) fn is_active(&self, rule: u16) -> bool {
        self.active.get(usize::from(rule) / 64).is_some_and(|bits| bits >> (rule % 64) & 1 == 1)
    }

    fn candidates(&mut self, name: &str) -> Candidates {
        if let Some(candidates) = self.memory.get(name).or_else(|| self.fresh.get(name)) {
            return candidates.clone();
        }
        let candidates = self.rules.candidates(name);
        if self.fresh.len() < FRESH_NAMES && name.len() <= 64 {
            self.fresh.insert(name.into(), candidates.clone());
        }
        candidates
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

    /// Whose words stand at `location`; the role of a message decides where the API leaves it open.
    pub(super) fn region(&self, location: &Location, place: &dyn Place) -> Region {
        match Region::of(location) {
            Region::Conversation => self.role.of(place.pointer()).unwrap_or(Region::Conversation),
            region => region,
        }
    }

    /// Adds a finding of `rule` in `leaf`: all of it, or a window.
    pub(super) fn add(
        &mut self,
        number: u16,
        leaf: &Leaf<'_>,
        mut location: Location,
        window: Range<usize>,
        confidence: f32,
    ) {
        let Some(rule) = self.rules.rules().get(usize::from(number)) else { return };
        let Some(bytes) = leaf.text.get(window.clone()) else { return };
        let value = String::from_utf8_lossy(bytes).into_owned();
        let window = (window != (0..leaf.text.len())).then_some(window);
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
            value,
            observed: None,
            target: leaf.target,
            window,
            action: rule.action,
        };
        self.found.push(Found { rule: number, finding });
    }
}

impl Visitor for Inspector<'_> {
    fn leaf(&mut self, leaf: &Leaf<'_>, place: &dyn Place) {
        self.role.note(leaf, place);
        let labelled = self.label.step(leaf, place);
        if leaf.kind != LeafKind::JsonName && !leaf.text.is_empty() {
            let candidates = if labelled {
                let label = std::mem::take(&mut self.label.text);
                let candidates = self.candidates(&label);
                self.label.text = label;
                candidates
            } else {
                self.candidates(leaf.name)
            };
            for &number in candidates.rules.iter() {
                self.try_named(number, leaf, place);
            }
            if candidates.vague && !labelled {
                self.try_qualified(&candidates, leaf, place);
            }
        }
        self.try_text(leaf, place);
    }

    fn unread(&mut self, _: &dyn Place, _: &[u8], _: &'static str) {}
}

/// Whether a leaf under `root` is in one of `parts`.
pub(super) fn in_parts(rule: &Rule, kind: LeafKind, root: &Root) -> bool {
    rule.select.parts.is_empty()
        || rule.select.parts.iter().any(|part| match part {
            Part::Head => kind == LeafKind::Method || matches!(root, Root::Head),
            Part::Path => matches!(root, Root::Path(_)),
            Part::Query => matches!(root, Root::Query),
            Part::Header => matches!(root, Root::Header { .. } | Root::Trailer(_)),
            Part::Body => matches!(root, Root::Body),
            Part::Ws => matches!(root, Root::Message(_)),
        })
}

/// A value that is named by its neighbour: `{"key":"host.name","value":{"stringValue":"ws17"}}`.
#[derive(Default)]
struct Label {
    text: String,
    /// Digest of the names around the label.
    parent: u64,
    /// Protobuf has no names: the label counts for the next leaf alone.
    next_only: bool,
    set: bool,
}

impl Label {
    const LONGEST: usize = 64;

    /// Notes a label, or says whether the last one names this leaf.
    fn step(&mut self, leaf: &Leaf<'_>, place: &dyn Place) -> bool {
        match leaf.kind {
            LeafKind::PbString => {
                let labelled = self.set && self.next_only;
                self.set = false;
                if !labelled && Self::names(leaf.text) {
                    self.keep(leaf.text, 0, true);
                }
                return labelled;
            }
            LeafKind::JsonString | LeafKind::JsonNumber | LeafKind::JsonBool => {}
            _ => return false,
        }
        match leaf.name {
            "key" | "name" | "k" | "Key" | "Name" | "field" | "attribute" | "label"
                if leaf.kind == LeafKind::JsonString =>
            {
                if Self::names(leaf.text) {
                    let parent = parent_of(place.pointer(), 1);
                    self.keep(leaf.text, parent, false);
                } else {
                    self.set = false;
                }
                false
            }
            "value" | "v" | "Value" | "val" => {
                self.set && !self.next_only && parent_of(place.pointer(), 1) == self.parent
            }
            // Also in an array of values, three steps further in.
            "stringValue" | "intValue" | "doubleValue" | "boolValue" | "string_value" | "int_value" => {
                let labels = |depth| parent_of(place.pointer(), depth) == self.parent;
                self.set && !self.next_only && (labels(2) || labels(5))
            }
            _ => false,
        }
    }

    fn keep(&mut self, text: &[u8], parent: u64, next_only: bool) {
        self.text.clear();
        self.text.push_str(std::str::from_utf8(text).unwrap_or_default());
        self.parent = parent;
        self.next_only = next_only;
        self.set = true;
    }

    fn names(text: &[u8]) -> bool {
        (2..=Self::LONGEST).contains(&text.len())
            && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._-:".contains(byte))
            && text.iter().any(u8::is_ascii_alphabetic)
    }
}

/// FNV-1a over the segments, the last `without` left out.
fn parent_of(pointer: &[Segment<'_>], without: usize) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut put = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    for segment in &pointer[..pointer.len().saturating_sub(without)] {
        match segment {
            Segment::Name(name) => name.bytes().for_each(&mut put),
            Segment::Index(index) => index.to_le_bytes().into_iter().for_each(&mut put),
        }
        put(b'/');
    }
    hash
}

/// The role of the message that is being read, where it stands before the content.
#[derive(Default)]
pub(super) struct Role {
    index: u64,
    region: Option<Region>,
}

impl Role {
    pub(super) fn note(&mut self, leaf: &Leaf<'_>, place: &dyn Place) {
        if leaf.name != "role" || leaf.kind != LeafKind::JsonString {
            return;
        }
        let Some(index) = message_index(place.pointer()) else { return };
        self.index = index;
        self.region = match leaf.text {
            b"system" | b"developer" => Some(Region::System),
            // A model repeats what it has read.
            b"tool" | b"function" | b"assistant" | b"model" => Some(Region::ToolResult),
            _ => None,
        };
    }

    pub(super) fn of(&self, pointer: &[Segment<'_>]) -> Option<Region> {
        self.region.filter(|_| message_index(pointer) == Some(self.index))
    }
}

fn message_index(pointer: &[Segment<'_>]) -> Option<u64> {
    let at = pointer.iter().position(|segment| matches!(segment, Segment::Name("messages" | "input" | "contents")))?;
    match pointer.get(at + 1) {
        Some(Segment::Index(index)) => Some(*index),
        _ => None,
    }
}
