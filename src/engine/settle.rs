//! Settles the findings of one unit: one finding a place, one action each, edits that do not overlap.
//!
//! ```text
//! raw findings -> decide each -> merge those of one place -> edits, innermost first -> Settled
//! ```

use std::cmp::Reverse;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::decode::{Layer, Origin};
use super::detect::RawFinding;
use super::detect::hash::Keyed;
use super::detect::integrity::{Binding, binding};
use super::finding::{Action, Detector, Finding};
use super::location::{Location, Root};
use super::policy::{Mode, OnIntegrity, Policy, Question, Subject};
use super::pseudonym::FOLDERS;
use super::replace::{StandIns, Token};
use super::rewrite::{Change, Edit, spelled_text};
use super::visit::{LayerId, Spelling, Target};

/// One edit, with what its certificate says about it.
#[derive(Clone)]
pub(super) struct Planned {
    pub edit: Edit,
    pub location: Location,
    /// What stood there, raw.
    pub old: String,
    /// The findings it answers.
    pub findings: Vec<usize>,
    /// What stands in for a value that cannot be left out.
    pub fallback: Option<String>,
    /// What the model wrote is sent again.
    pub recalled: bool,
}

/// The bytes of a finding.
pub(super) struct Spot {
    pub target: Target,
    pub window: Option<Range<usize>>,
}

/// What one unit came to.
#[derive(Default)]
pub(super) struct Settled {
    pub findings: Vec<Finding>,
    /// One for each finding.
    pub spots: Vec<Spot>,
    pub edits: Vec<Planned>,
    /// The finding for which the unit is withheld.
    pub block: Option<usize>,
    /// Integrity values that edits leave without their match.
    pub integrity: Vec<(Arc<str>, Location)>,
}

/// A finding that is decided and not yet written down.
struct Decided {
    raw: RawFinding,
    action: Action,
    by: Option<Arc<str>>,
    folders: bool,
}

/// A value that the client sends back as it was shown, and what the model had written there.
pub(super) struct Recalled {
    pub target: Target,
    pub location: Location,
    /// As it stands.
    pub shown: String,
    pub written: String,
}

pub(super) struct Judge<'a> {
    pub policy: &'a Policy,
    pub subject: Subject<'a>,
    pub stand_ins: StandIns<'a>,
    pub layers: &'a [Layer],
    pub recalled: Vec<Recalled>,
    /// The head leaves with the body, so digests in it follow.
    pub digests_follow: bool,
}

impl Judge<'_> {
    pub fn settle(&self, raw: Vec<RawFinding>) -> Settled {
        let mut decided = without_parts(merge(raw.into_iter().map(|raw| self.decide(raw)).collect()));
        let mut settled = Settled::default();
        let audit = self.policy.mode() == Mode::Audit;
        settled.findings.reserve_exact(decided.len());
        settled.spots.reserve_exact(decided.len());
        for one in &mut decided {
            let location = match audit {
                // Nobody asks for it again.
                true => std::mem::replace(&mut one.raw.location, Location { root: Root::Body, steps: Vec::new() }),
                false => one.raw.location.clone(),
            };
            settled.findings.push(self.finding(one, location));
            settled.spots.push(Spot { target: one.raw.target, window: one.raw.window.clone() });
        }
        if audit {
            return settled;
        }
        let edits = self.edits(&decided);
        self.weigh_integrity(&decided, edits, &mut settled);
        if settled.block.is_none() {
            settled.block = settled.findings.iter().position(|finding| finding.action == Action::Block);
        }
        settled
    }

    fn decide(&self, raw: RawFinding) -> Decided {
        let question = Question {
            kind: &raw.kind,
            location: &raw.location,
            severity: raw.severity,
            confidence: raw.confidence,
            proposed: raw.action.unwrap_or(Action::Log),
        };
        let decision = self.policy.decide(&self.subject, &question);
        let fixed = decision.action.edits() && (is_fixed(&raw.location) || is_form(&raw.kind) || is_choice(&raw));
        let action = if fixed { Action::Log } else { decision.action };
        Decided { raw, action, by: decision.by, folders: decision.folders }
    }

    fn finding(&self, decided: &Decided, location: Location) -> Finding {
        let raw = &decided.raw;
        let (action, would) = match self.policy.mode() {
            Mode::Audit => (Action::Log, Some(decided.action)),
            Mode::Enforce => (decided.action, None),
        };
        Finding {
            kind: raw.kind.clone(),
            location: location.into(),
            shown_location: None,
            detector: raw.detector,
            rule: raw.rule.clone(),
            severity: raw.severity,
            confidence: raw.confidence,
            value: raw.value.clone(),
            observed: raw.observed.as_deref().map(Into::into),
            part: None,
            span: None,
            action,
            would,
            replacement: None,
            decided_by: decided.by.clone(),
        }
    }

    /// The edits that the decisions ask for, none inside another's bytes.
    fn edits(&self, decided: &[Decided]) -> Vec<Planned> {
        let mut by_leaf: HashMap<(LayerId, u32, u32), Vec<usize>, Keyed> = HashMap::default();
        let mut leaves = Vec::new();
        for (index, one) in decided.iter().enumerate().filter(|(_, one)| one.action.edits()) {
            let target = one.raw.target;
            let members = by_leaf.entry((target.layer, target.raw.start, target.raw.end)).or_default();
            if members.is_empty() {
                leaves.push((target.layer, target.raw.start, target.raw.end));
            }
            members.push(index);
        }
        let mut edits = Vec::new();
        for leaf in leaves {
            let mut members = by_leaf.remove(&leaf).unwrap_or_default();
            members
                .sort_by_key(|&index| (decided[index].window().start, std::cmp::Reverse(decided[index].window().end)));
            let mut rest = members.as_slice();
            while let Some(&first) = rest.first() {
                let mut union = decided[first].window();
                let mut taken = 1;
                while let Some(&next) = rest.get(taken) {
                    let window = decided[next].window();
                    if window.start >= union.end {
                        break;
                    }
                    union.end = union.end.max(window.end);
                    taken += 1;
                }
                let until = rest.get(taken).map_or(usize::MAX, |&next| decided[next].window().start);
                let edit = self.edit(decided, &rest[..taken], union);
                edits.extend(edit.map(|edit| self.to_the_end_of_the_path(decided, edit, until)));
                rest = &rest[taken..];
            }
        }
        for recalled in &self.recalled {
            self.restate(recalled, &mut edits);
        }
        self.without_nested(edits)
    }

    /// What the model wrote is sent again as a whole; no edit of a part of it is made beside that.
    fn restate(&self, recalled: &Recalled, edits: &mut Vec<Planned>) {
        let mut findings = Vec::new();
        edits.retain(|planned| {
            let inside = planned.edit.target == recalled.target;
            if inside {
                findings.extend_from_slice(&planned.findings);
            }
            !inside
        });
        let change = Change::Replace(recalled.written.clone());
        edits.push(Planned {
            edit: Edit { target: recalled.target, window: None, change },
            location: recalled.location.clone(),
            old: recalled.shown.clone(),
            findings,
            fallback: None,
            recalled: true,
        });
    }

    /// One edit for findings whose windows overlap and together cover `union`.
    fn edit(&self, decided: &[Decided], members: &[usize], union: Range<usize>) -> Option<Planned> {
        // The widest leads; of several alike the strictest.
        let lead = *members
            .iter()
            .max_by_key(|&&index| (decided[index].window().len(), decided[index].action, std::cmp::Reverse(index)))?;
        let covers = decided[lead].window() == union;
        let strictest = members.iter().map(|&index| decided[index].action).max()?;
        let one = &decided[lead].raw;
        let old = assembled(decided, members, &union);
        let removal = if covers { decided[lead].action } else { strictest } == Action::Strip;
        let mut fallback = None;
        let restored = one.restored.as_ref().filter(|_| covers);
        let change = if let Some(restored) = restored {
            // Not coarser but as it always is, whatever the action: others cannot tell it from their own.
            match *restored == old {
                true => return None,
                false => Change::Replace(restored.clone()),
            }
        } else if removal && !matches!(one.location.root, Root::Path(_)) {
            fallback = self.stand_in(Action::Redact, &one.kind, &old, one.target.spelling);
            Change::Remove
        } else {
            let action = if covers { decided[lead].action } else { strictest };
            let text = if covers { self.inner_first(decided, lead, members, &old, &union) } else { old.clone() };
            let kind = if decided[lead].folders && one.kind.starts_with("path.") { FOLDERS } else { &one.kind };
            let encoded = one.observed.as_deref().filter(|observed| {
                covers && one.detector == Detector::Fact && *observed == old && is_encoded(&one.value, observed)
            });
            let stand_in = match encoded {
                Some(observed) => self.stand_ins.of_encoded(action, kind, &one.value, observed),
                None => self.stand_in(action, kind, &text, one.target.spelling),
            };
            match stand_in.unwrap_or(text) {
                // Nothing more to take away: what stands there is left as it is.
                same if same == old => return None,
                other => Change::Replace(other),
            }
        };
        let window = (union != WHOLE).then_some(union);
        let mut location = one.location.clone();
        if !covers && let Some(window) = &window {
            location.steps.pop();
            location.steps.push(super::location::Step::Window(window.start as u32, window.end as u32));
        }
        let edit = Edit { target: one.target, window, change };
        Some(Planned { edit, location, old, findings: members.to_vec(), fallback, recalled: false })
    }

    /// A path that goes on behind what was found may name a folder again that has a pseudonym. The edit takes in as much, up
    /// to the next one at `until`.
    fn to_the_end_of_the_path(&self, decided: &[Decided], mut planned: Planned, until: usize) -> Planned {
        let path =
            |&index: &usize| decided[index].action == Action::Pseudonym && decided[index].raw.kind.starts_with("path.");
        let (Change::Replace(text), Some(window)) = (&mut planned.edit.change, &mut planned.edit.window) else {
            return planned;
        };
        let target = planned.edit.target;
        let raw = self.layers.get(target.layer.0 as usize).and_then(|layer| layer.content.get(target.raw.range()));
        let (Some(raw), true) = (raw, planned.findings.iter().any(path)) else { return planned };
        let whole = spelled_text(target.spelling, raw);
        let behind = whole.get(window.end..until.min(whole.len())).unwrap_or_default();
        let separated = matches!(behind.first(), Some(b'/' | b'\\'));
        let ends = |byte: &u8| !byte.is_ascii_alphanumeric() && !b"/\\._-+@~%".contains(byte) && byte.is_ascii();
        let length = behind.iter().position(ends).unwrap_or(behind.len());
        let Some(rest) = std::str::from_utf8(&behind[..length]).ok().filter(|_| separated) else { return planned };
        let Some(other) = self.stand_ins.rest_of_path(rest) else { return planned };
        text.push_str(&other);
        planned.old.push_str(rest);
        window.end += rest.len();
        planned.location.steps.pop();
        planned.location.steps.push(super::location::Step::Window(window.start as u32, window.end as u32));
        planned
    }

    /// The text of the lead with its stricter inner findings already replaced.
    fn inner_first(
        &self,
        decided: &[Decided],
        lead: usize,
        members: &[usize],
        old: &str,
        union: &Range<usize>,
    ) -> String {
        let mut text = String::with_capacity(old.len());
        let mut at = 0;
        for &index in members {
            let inner = &decided[index];
            let window = inner.window();
            if index == lead || inner.action <= decided[lead].action || window == *union {
                continue;
            }
            let (start, end) = (window.start - union.start, window.end.saturating_sub(union.start));
            let (Some(between), Some(piece)) = (old.get(at..start), old.get(start..end)) else { continue };
            text.push_str(between);
            if let Some(restored) = &inner.raw.restored {
                text.push_str(restored);
            } else if inner.action != Action::Strip {
                let stand_in = self.stand_in(inner.action, &inner.raw.kind, piece, Spelling::Raw);
                text.push_str(stand_in.as_deref().unwrap_or(piece));
            }
            at = end;
        }
        text.push_str(old.get(at..).unwrap_or_default());
        text
    }

    fn stand_in(&self, action: Action, kind: &str, text: &str, spelling: Spelling) -> Option<String> {
        let token = match spelling {
            Spelling::JsonToken if matches!(text, "true" | "false") => Token::Bool,
            Spelling::JsonToken | Spelling::Varint | Spelling::Fixed | Spelling::Packed => Token::Number,
            _ => Token::Text,
        };
        self.stand_ins.of(action, kind, text, token)
    }

    /// Drops edits inside bytes that another edit replaces as a whole.
    fn without_nested(&self, edits: Vec<Planned>) -> Vec<Planned> {
        let around = |planned: &Planned| {
            let mut layer = planned.edit.target.layer;
            loop {
                let Some(Layer { origin: Origin::Leaf { leaf, .. }, .. }) = self.layers.get(layer.0 as usize) else {
                    return None;
                };
                if let Some(outer) = edits.iter().position(|other| other.edit.target == *leaf) {
                    return Some(outer);
                }
                layer = leaf.layer;
            }
        };
        let outer: Vec<Option<usize>> = edits.iter().map(around).collect();
        let mut kept = edits.clone();
        for (index, outer) in outer.iter().enumerate() {
            if let Some(outer) = outer {
                let inner = kept[index].findings.clone();
                kept[*outer].findings.extend(inner);
            }
        }
        kept.into_iter().zip(outer).filter(|(_, outer)| outer.is_none()).map(|(edit, _)| edit).collect()
    }

    /// Applies `on_integrity` to the edits of bytes that an integrity value covers, and writes down what
    /// the others do.
    fn weigh_integrity(&self, decided: &[Decided], edits: Vec<Planned>, settled: &mut Settled) {
        let follows = |raw: &RawFinding| {
            self.digests_follow
                && binding(&raw.kind) == Some(Binding::Digest)
                && matches!(raw.location.root, Root::Header { .. })
        };
        let seals = decided.iter().map(|one| &one.raw);
        let seals = seals.filter(|raw| raw.kind.starts_with("integrity.") && !follows(raw));
        let seals: Vec<&RawFinding> = seals.collect();
        let mut edited = vec![false; decided.len()];
        for edit in edits {
            if edit.edit.change == Change::Replace(edit.old.clone()) {
                // The model wrote it so of its own accord.
                continue;
            }
            // What the model wrote is what the provider sealed.
            if !edit.recalled && seals.iter().any(|seal| bond(seal, &edit.location) == Bond::Holds) {
                continue;
            }
            let broken: Vec<_> = seals.iter().filter(|seal| bond(seal, &edit.location) == Bond::Breaks).collect();
            if !broken.is_empty() {
                match self.policy.on_integrity() {
                    OnIntegrity::Log => continue,
                    OnIntegrity::Block => settled.block = settled.block.or(edit.findings.first().copied()),
                    OnIntegrity::Edit => {}
                }
                for seal in broken {
                    let entry = (seal.kind.clone(), seal.location.clone());
                    if !settled.integrity.contains(&entry) {
                        settled.integrity.push(entry);
                    }
                }
            }
            let replacement: Option<Arc<str>> = match &edit.edit.change {
                Change::Replace(text) => Some(text.as_str().into()),
                Change::Remove => None,
            };
            for &index in &edit.findings {
                edited[index] = true;
                settled.findings[index].replacement = replacement.clone();
            }
            settled.edits.push(edit);
        }
        for (finding, edited) in settled.findings.iter_mut().zip(edited) {
            // Said is what was done: a value that was already coarse, or is bound by a seal, stays.
            if finding.action.edits() && !edited {
                finding.action = Action::Log;
            }
        }
        if settled.block.is_some() {
            settled.edits.clear();
        }
    }
}

const WHOLE: Range<usize> = 0..usize::MAX;

/// Whether `observed` spells `value` in another way than by its letters.
fn is_encoded(value: &str, observed: &str) -> bool {
    let (value, observed) = (value.to_lowercase(), observed.to_lowercase());
    !observed.contains(&value) && !value.contains(&observed)
}

impl Decided {
    fn window(&self) -> Range<usize> {
        self.raw.window.clone().unwrap_or(WHOLE)
    }

    fn text(&self) -> &str {
        self.raw.observed.as_deref().unwrap_or(&self.raw.value)
    }
}

/// The text in `union`, put together from the findings that cover it.
fn assembled(decided: &[Decided], members: &[usize], union: &Range<usize>) -> String {
    let mut text: Vec<u8> = Vec::new();
    for &index in members {
        let start = decided[index].window().start - union.start;
        let piece = decided[index].text().as_bytes();
        if start <= text.len() && start + piece.len() > text.len() {
            text.extend_from_slice(&piece[text.len() - start..]);
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// The bytes of a value: its leaf's layer and raw span, and its window.
type Spelled = (LayerId, u32, u32, Option<(usize, usize)>);

/// One finding for each place: those on the same bytes are one fact, told by several detectors.
fn merge(decided: Vec<Decided>) -> Vec<Decided> {
    let mut places: HashMap<Spelled, usize, Keyed> = HashMap::with_capacity_and_hasher(decided.len(), Keyed::default());
    let mut merged: Vec<Decided> = Vec::with_capacity(decided.len());
    for one in decided {
        let target = one.raw.target;
        let window = one.raw.window.as_ref().map(|window| (window.start, window.end));
        // What covers the body as a whole, or stands nowhere, is no value of its place.
        let seal = one.raw.detector == Detector::Integrity || target.raw.is_empty() || is_form(&one.raw.kind);
        let key = (target.layer, target.raw.start, target.raw.end, window);
        match places.get(&key).copied() {
            Some(at) if !seal => join(&mut merged[at], one),
            _ => {
                if !seal {
                    places.insert(key, merged.len());
                }
                merged.push(one);
            }
        }
    }
    merged
}

/// Leaves out what a line of a prompt yields by chance inside a longer value: the first name in a full name.
fn without_parts(mut decided: Vec<Decided>) -> Vec<Decided> {
    if decided.iter().all(|one| one.raw.detector != Detector::Prompt) {
        return decided;
    }
    // Only what stands in the same value can hold it: without this a body of many findings costs their square.
    let value = |index: usize| {
        let target = decided[index].raw.target;
        (target.layer, target.raw.start, target.raw.end)
    };
    let mut sorted: Vec<usize> = (0..decided.len()).collect();
    sorted.sort_by_key(|&index| {
        let window = decided[index].window();
        (value(index), window.start, Reverse(window.end))
    });
    let mut outer: Vec<Option<usize>> = vec![None; decided.len()];
    for members in sorted.chunk_by(|&a, &b| value(a) == value(b)) {
        // What has begun and not ended, as far as the text is gone through: nothing else can hold what comes.
        let mut open: Vec<usize> = Vec::new();
        for &index in members {
            let inner = &decided[index];
            let window = inner.window();
            open.retain(|&other| decided[other].window().end > window.start);
            // What stays as it is shields nothing in it.
            let is_part = |outer: &Decided| {
                window.end <= outer.window().end
                    && window.len() < outer.window().len()
                    && outer.raw.confidence >= inner.raw.confidence
                    && (outer.action.edits() || !inner.action.edits())
            };
            if inner.raw.detector == Detector::Prompt {
                outer[index] = open.iter().copied().filter(|&other| is_part(&decided[other])).min();
            }
            open.push(index);
        }
    }
    for (inner, outer) in outer.iter().enumerate() {
        if let Some(outer) = *outer {
            decided[outer].action = decided[outer].action.max(decided[inner].action);
        }
    }
    let mut outer = outer.into_iter();
    decided.retain(|_| outer.next().flatten().is_none());
    decided
}

/// What is known for certain names the kind; the strictest action stays.
fn join(kept: &mut Decided, other: Decided) {
    let action = kept.action.max(other.action);
    let severity = kept.raw.severity.max(other.raw.severity);
    let confidence = kept.raw.confidence.max(other.raw.confidence);
    let by = if other.action > kept.action { other.by.clone() } else { kept.by.clone() };
    let rule = kept.raw.rule.clone().or_else(|| other.raw.rule.clone());
    let restored = kept.raw.restored.take().or_else(|| other.raw.restored.clone());
    if weight(&other.raw) > weight(&kept.raw) {
        kept.raw = other.raw;
    }
    // What a mark is made of may be plainer to another detector, but only a template knows what belongs there. A fact
    // is not a mark: what the policy says of it stands.
    kept.raw.restored = restored.filter(|_| kept.raw.kind.starts_with("cov."));
    kept.raw.severity = severity;
    kept.raw.confidence = confidence;
    kept.raw.rule = rule;
    kept.action = action;
    kept.by = by;
}

/// How much a detector knows about the kind of what it found.
fn weight(raw: &RawFinding) -> (u8, u32) {
    let rank = match raw.detector {
        Detector::Fact if raw.confidence >= 0.7 => 4,
        Detector::Rule | Detector::Template | Detector::Covert | Detector::Integrity => 3,
        Detector::Prompt => 2,
        Detector::Fact | Detector::Unread => 1,
    };
    (rank, (raw.confidence * 1000.0) as u32)
}

/// Fields that make the message what it is: an edit would not hide a fact but break the request.
fn is_fixed(location: &Location) -> bool {
    const FIXED: &[&str] = &[
        "host",
        ":authority",
        "content-length",
        "content-type",
        "content-encoding",
        "transfer-encoding",
        "connection",
        "upgrade",
        "expect",
        "te",
        "trailer",
        "sec-websocket-key",
        "sec-websocket-version",
        "sec-websocket-extensions",
    ];
    match &location.root {
        Root::Header { name, .. } => FIXED.contains(&&**name),
        Root::Head => true,
        _ => false,
    }
}

/// Says how a thing is written down, not what: there is no value to replace.
fn is_form(kind: &str) -> bool {
    matches!(
        kind,
        "cov.header_order"
            | "cov.header_case"
            | "cov.key_order"
            | "cov.json_ws"
            | "cov.number"
            | "cov.presence"
            | "cov.list_order"
    )
}

/// A word that others have in another's place: which one is not known, and without it the sentence would say less.
fn is_choice(raw: &RawFinding) -> bool {
    raw.kind.as_ref() == "cov.word" && raw.restored.is_none()
}

/// What an integrity value says about an edit.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Bond {
    /// Other bytes than those it vouches for.
    None,
    /// The edit leaves it without its match.
    Breaks,
    /// The provider refuses a conversation in which it does not match: such bytes are never edited.
    Holds,
}

fn bond(seal: &RawFinding, location: &Location) -> Bond {
    let in_body = matches!(location.root, Root::Body | Root::Message(_));
    match seal.kind.as_ref() {
        // Vouch for the object they stand in.
        "integrity.thinking_signature" | "integrity.encrypted_reasoning" | "integrity.thought_signature" => {
            let inside = parent(&seal.location).is_some_and(|parent| location.to_string().starts_with(&parent));
            if in_body && inside { Bond::Holds } else { Bond::None }
        }
        // Sign the request line and named fields as well as the body.
        "integrity.sigv4" | "integrity.signature" => Bond::Breaks,
        _ if in_body => Bond::Breaks,
        _ => Bond::None,
    }
}

/// The object that holds the value.
fn parent(location: &Location) -> Option<String> {
    let printed = location.to_string();
    Some(printed[..=printed.rfind('/')?].to_owned())
}

#[cfg(test)]
#[path = "settle_tests.rs"]
mod tests;
