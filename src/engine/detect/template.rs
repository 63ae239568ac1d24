//! Text and form that a client gives every request alike: what differs in one of them may be a mark, however
//! ordinary the character.
//!
//! ```text
//! a client's own text -> places -> spellings -> a lesson, and findings where others agree on another
//! names, members, numbers -> order, case, spelling ->
//! ```
//!
//! Compared with a snapshot of what was learned ([`Templates`]). Dates, paths and names fall out by themselves:
//! a place is known by the words around it, and one that no other request has is nobody's template. So is what
//! people wrote into the client's text, unless the same words stand around it in several requests.

mod book;
mod cache;
mod compare;
mod elements;
mod fold;
mod regional;
mod space;
mod structure;
mod text;
mod unlike;

use std::ops::Range;
use std::sync::Arc;

pub use self::book::{Lesson, Templates};
pub use self::cache::Cache;
use self::cache::Outcome;
use self::elements::{Counts, Element};
use self::structure::Structure;
use self::text::{digest, mix};
use self::unlike::Odd;
use super::RawFinding;
use super::covert;
use super::region::Region;
use super::role::Role;
use crate::engine::audit::Request;
use crate::engine::decode::Layer;
use crate::engine::finding::{Detector, Severity};
use crate::engine::location::{Location, Step};
use crate::engine::visit::{ElementAt, Inside, Known, Leaf, LeafKind, Place, Reopen, Segment, Target, Visitor};

/// Findings of one unit.
const MOST: usize = 128;
/// Bytes of one text that are looked at; no client writes more.
const LONGEST: usize = 1 << 20;
/// Names and indices around a value.
const DEEPEST: usize = 32;
/// Confidence and severity.
type Worth = (f32, Severity);

/// What a single odd apostrophe is worth where nothing is known.
const UNLEARNED: f32 = 0.6;

/// Looks at one unit: what it teaches, and where it differs from what is known.
pub struct Scan<'t> {
    templates: &'t Templates,
    cache: &'t Cache,
    /// What is known of this client, version and endpoint.
    page: Option<&'t book::Page>,
    /// Observations are made at all.
    active: bool,
    counts: Counts,
    seed: u64,
    role: Role,
    structure: Structure,
    lesson: Lesson,
    found: Vec<RawFinding>,
    element: Option<Box<Element>>,
}

impl<'t> Scan<'t> {
    /// `learning`: whether the lesson is wanted. `key` keeps digests from being tried by others.
    pub fn new(
        (templates, cache): (&'t Templates, &'t Cache),
        learning: bool,
        key: &[u8; 32],
        request: &Request,
        client: Option<(&str, Option<&str>)>,
    ) -> Self {
        let page = page_of(key, request, client);
        let known = templates.page(page).filter(|page| page.requests() >= 2 + templates.own());
        Self {
            templates,
            cache,
            page: known,
            active: learning || known.is_some(),
            counts: Counts::default(),
            seed: page,
            role: Role::default(),
            structure: Structure::default(),
            lesson: Lesson::of(page, learning),
            found: Vec::new(),
            element: None,
        }
    }

    /// Looks at order and case of the header, for a unit that carries it.
    pub fn head(&mut self, request: &Request) {
        if self.active {
            structure::head(self, request);
        }
    }

    /// `layers`: those of the walk.
    pub fn finish(mut self, layers: &[Layer]) -> (Vec<RawFinding>, Lesson) {
        self.leave_element();
        structure::close_from(&mut self, 0);
        space::settle_from(&mut self, layers, 0);
        if self.counts.unstable * 2 > self.counts.forms {
            // Whoever sends its fields in any order has no order that something could differ from.
            self.found.retain(|raw| !structure::is_form(&raw.kind));
        }
        if self.counts.pairs >= 8 && self.counts.loose_pairs * 2 > self.counts.pairs {
            self.found.retain(|raw| &*raw.kind != "cov.list_order" || raw.window.is_some());
        }
        (self.found, self.lesson)
    }

    /// Whether form is looked at.
    pub(in crate::engine) fn is_active(&self) -> bool {
        self.active
    }

    /// Whether a text of `region` is read at all; `blocks`: it holds what the client put between a person's words.
    pub(in crate::engine) fn reads(region: Region, blocks: bool) -> bool {
        match region {
            Region::System | Region::Tools => true,
            Region::Conversation => blocks,
            Region::Client | Region::ToolResult => false,
        }
    }

    fn text(&mut self, leaf: &Leaf<'_>, place: &dyn Place) {
        let region = match Region::of_steps(place.pointer().iter().map(name_of)) {
            Region::Conversation => self.role.of(place.pointer()).unwrap_or(Region::Conversation),
            region => region,
        };
        if matches!(region, Region::Client | Region::ToolResult) || region == Region::Conversation && !self.active {
            return;
        }
        let Ok(text) = simdutf8::basic::from_utf8(leaf.text) else { return };
        match region {
            Region::System => {
                if self.page.is_none() && !text.is_ascii() {
                    self.odd_apostrophe(text, leaf, place);
                }
                let name = mix(0, text::opening(text));
                self.stretch(text, (0..text.len(), name, true), leaf, place);
            }
            Region::Tools => {
                let own = !self.structure.is_foreign_tool(place.pointer());
                let name = mix(1, self.structure.tool(place.pointer()));
                self.stretch(text, (0..text.len(), name, own), leaf, place);
            }
            Region::Conversation if self.active => {
                for (name, block) in blocks(text) {
                    let name = digest(2, text[name].as_bytes());
                    self.stretch(text, (block, name, false), leaf, place);
                }
            }
            _ => {}
        }
    }

    /// One stretch of text that the client wrote: `own` where nobody else put words into it.
    fn stretch(
        &mut self,
        text: &str,
        (range, name, own): (Range<usize>, u64, bool),
        leaf: &Leaf<'_>,
        place: &dyn Place,
    ) {
        if !self.active {
            return;
        }
        let around = mix(mix(self.seed, pattern(place.pointer())), name);
        let mut end = range.end.min(range.start + LONGEST);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let (start, text) = (range.start, &text[range.start..end]);
        let revision = self.templates.revision(self.page);
        let asked = u64::from(own) << 1 | u64::from(self.lesson.wanted());
        let key = self.cache.key(text, around, asked);
        let known = key.and_then(|key| self.cache.get(key, revision));
        let outcome = known.unwrap_or_else(|| {
            let outcome = self.read(text, around, own);
            if let Some(key) = key {
                self.cache.put(key, revision, outcome.clone());
            }
            outcome
        });
        self.lesson.share(outcome.noted);
        for (odd, worth) in outcome.odd.iter().cloned() {
            let odd = Odd { window: odd.window.start + start..odd.window.end + start, ..odd };
            self.add(odd, leaf, place.location(), worth);
        }
    }

    fn read(&mut self, text: &str, around: u64, own: bool) -> Outcome {
        let users = users_part(text);
        let reading = text::read(text, around, if own { users } else { 0 });
        let beside = self.lesson.beside();
        let lesson = std::mem::replace(&mut self.lesson, beside);
        let mut odd = self.compare(text, around, &reading, users);
        odd.truncate(MOST);
        let noted = std::mem::replace(&mut self.lesson, lesson).into_noted();
        Outcome { noted: Arc::new(noted), odd: odd.into() }
    }

    /// One apostrophe that is not like all others of its text: worth a look where nothing was learned yet.
    fn odd_apostrophe(&mut self, text: &str, leaf: &Leaf<'_>, place: &dyn Place) {
        let all: Vec<(usize, char)> = contractions(text).collect();
        for usual in ['\'', '\u{2019}'] {
            let mut odd = all.iter().filter(|(_, c)| *c != usual);
            if let (Some(&(at, c)), None) = (odd.next(), odd.next())
                && all.len() > 5
            {
                let (window, restored) = (at..at + c.len_utf8(), Some(usual.to_string()));
                let odd = Odd { kind: "cov.apostrophe", window, restored };
                self.add(odd, leaf, place.location(), (UNLEARNED, Severity::Medium));
            }
        }
    }

    fn add(&mut self, odd: Odd, leaf: &Leaf<'_>, mut location: Location, worth: (f32, Severity)) {
        let window = Some(odd.window).filter(|window| *window != (0..leaf.text.len()));
        let bytes = leaf.text.get(window.clone().unwrap_or(0..leaf.text.len())).unwrap_or_default();
        if let Some(window) = &window {
            location.steps.push(Step::Window(window.start as u32, window.end as u32));
        }
        let value = String::from_utf8_lossy(bytes).into_owned();
        let raw = raw(odd.kind, location, leaf.target, value, worth);
        self.push(RawFinding { window, restored: odd.restored, ..raw });
    }

    fn push(&mut self, raw: RawFinding) {
        if self.found.len() < MOST {
            self.found.push(raw);
        }
    }
}

/// A finding in the whole of its leaf.
fn raw(
    kind: &'static str,
    location: Location,
    target: Target,
    value: String,
    (confidence, severity): (f32, Severity),
) -> RawFinding {
    RawFinding {
        kind: kind.into(),
        location,
        detector: Detector::Template,
        rule: None,
        severity,
        confidence,
        value: value.into(),
        observed: None,
        target,
        window: None,
        action: None,
        restored: None,
    }
}

impl Visitor for Scan<'_> {
    #[inline]
    fn leaf(&mut self, leaf: &Leaf<'_>, place: &dyn Place) {
        self.role.note(leaf, place);
        if place.pointer().len() > DEEPEST {
            return;
        }
        if leaf.kind == LeafKind::JsonString && (self.active || !leaf.text.is_ascii()) {
            self.text(leaf, place);
        }
        if self.active {
            structure::leaf(self, leaf, place);
        }
    }

    fn element(&mut self, within: &[u8], target: Target, _: ElementAt, place: &dyn Place, _: &mut dyn Reopen) -> Known {
        self.element_begins(within, target, place);
        Known::No
    }

    fn element_ended(&mut self, within: &[u8], inside: &Inside<'_>) {
        self.element_ends(within, inside);
    }

    fn unread(&mut self, _: &dyn Place, _: &[u8], _: &'static str) {
        self.structure.space.skip();
        if let Some(element) = &mut self.element {
            element.cannot_be_told();
        }
    }
}

/// Changes with all that is known of the client of `request`.
pub(in crate::engine) fn revision(
    templates: &Templates,
    key: &[u8; 32],
    request: &Request,
    client: Option<(&str, Option<&str>)>,
) -> u64 {
    if templates.is_empty() {
        return 0;
    }
    templates.revision(templates.page(page_of(key, request, client)))
}

/// Client, version and endpoint. A client that is not known goes by what it calls itself.
fn page_of(key: &[u8; 32], request: &Request, client: Option<(&str, Option<&str>)>) -> u64 {
    let mut page = digest(0, key);
    let mut put = |bytes: &[u8]| page = mix(page, digest(page, bytes));
    match client {
        Some((pack, version)) => {
            put(pack.as_bytes());
            put(version.unwrap_or_default().as_bytes());
        }
        None => put(request.head.get("user-agent").unwrap_or_default()),
    }
    put(request.host.as_bytes());
    put(request.head.method().as_bytes());
    let target = request.head.target();
    for segment in target.split(['?', '#']).next().unwrap_or(target).split('/') {
        // An identifier in a path does not make another endpoint.
        let digits = segment.bytes().filter(u8::is_ascii_digit).count();
        let identifier = segment.len() > 40 || digits > 3 || digits > 0 && digits == segment.len();
        put(if identifier { b"#" } else { segment.as_bytes() });
    }
    page
}

fn name_of<'a>(segment: &Segment<'a>) -> &'a str {
    match *segment {
        Segment::Name(name) => name,
        Segment::Index(_) => "*",
    }
}

/// A place in a document, whichever element of a list.
fn pattern(pointer: &[Segment<'_>]) -> u64 {
    pointer.iter().fold(7, |hash, segment| match segment {
        Segment::Name(name) => mix(hash, digest(0, name.as_bytes())),
        Segment::Index(_) => mix(hash, 1),
    })
}

/// Where the text goes over to what people wrote into a file.
fn users_part(text: &str) -> usize {
    const FILES: &[&str] = &["CLAUDE.md", "AGENTS.md", "GEMINI.md", "copilot-instructions.md", ".cursorrules"];
    const LEADS: &[&str] = &["Contents of ", "Context from", "Instructions from"];
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let lead =
            LEADS.iter().find_map(|lead| line.find(lead)).is_some_and(|lead| line[lead..].contains(['/', '\\', '.']));
        let named = FILES.iter().any(|file| line.trim_end().trim_end_matches([':', '`', '*', ')']).ends_with(file));
        if lead || named && line.starts_with('#') {
            return at + line.len();
        }
        at += line.len();
    }
    text.len()
}

/// Whether a text holds any of [`blocks`], or may.
pub(in crate::engine) fn holds_blocks(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| !blocks(text).is_empty())
}

/// `<system-reminder>…</system-reminder>` and the like: name and content of what clients put into messages.
fn blocks(text: &str) -> Vec<(Range<usize>, Range<usize>)> {
    const SINGLE: &[&str] = &["env", "context", "environment", "instructions", "memory", "reminder"];
    const MOST_BLOCKS: usize = 64;
    // What is opened and never closed costs a search of all that follows.
    const MOST_OPEN: usize = 16;
    let mut left_open = 0;
    let mut blocks = Vec::new();
    let mut at = 0;
    while let Some(open) = memchr::memchr(b'<', &text.as_bytes()[at..]) {
        let start = at + open + 1;
        at = start;
        let length = text[start..]
            .bytes()
            .take(40)
            .take_while(|byte| byte.is_ascii_lowercase() || matches!(byte, b'-' | b'_'))
            .count();
        let name = &text[start..start + length];
        let known = SINGLE.contains(&name) || name.len() >= 5 && name.contains(['-', '_']);
        if !known || text.as_bytes().get(start + length) != Some(&b'>') {
            continue;
        }
        let content = start + length + 1;
        let Some(end) = text[content..].find(&format!("</{name}>")) else {
            left_open += 1;
            if left_open >= MOST_OPEN {
                break;
            }
            continue;
        };
        blocks.push((start..start + length, content..content + end));
        if blocks.len() >= MOST_BLOCKS {
            break;
        }
        at = content + end;
    }
    blocks
}

/// The apostrophes of `don't`, `it's` and the like.
fn contractions(text: &str) -> impl Iterator<Item = (usize, char)> + '_ {
    text.char_indices().filter(|&(_, c)| fold::is_apostrophe(c)).filter(|&(at, c)| {
        let rest = &text[at + c.len_utf8()..];
        let letters: String = rest.chars().take(3).take_while(|c| c.is_alphabetic()).collect();
        matches!(letters.to_ascii_lowercase().as_str(), "s" | "t" | "d" | "m" | "re" | "ve" | "ll")
            && text[..at].chars().next_back().is_some_and(|c| c.is_ascii_alphabetic())
    })
}

/// How much a mark can carry, in bits: log2 of the spellings that its place could have.
pub fn capacity(kind: &str, text: &str) -> Option<f64> {
    match kind {
        "cov.apostrophe" => Some(3.0),
        "cov.date_sep" => Some(2.0),
        "cov.space" => Some(4.0),
        "cov.trailing_ws" => Some(text.chars().count().max(1) as f64),
        // The orders that so many items can have.
        "cov.list_order" => {
            let items = text.matches(',').count().min(99) + 1;
            Some((2..=items).map(|count| (count as f64).log2()).sum::<f64>().max(1.0))
        }
        kind if kind.starts_with("cov.") => Some(covert::capacity(kind, text).unwrap_or(1.0)),
        _ => None,
    }
}

#[cfg(test)]
#[path = "template/tests.rs"]
mod tests;
