//! What elements of lists say about form: messages of a conversation, tools that are declared.
//!
//! ```text
//! element -> what it notes and compares, by itself ---------------> a lesson of its own, counts
//!         -> what stands before it, its name among the others' ---> the request's
//! ```
//!
//! An element that was in an earlier request of the same client says what it said then, as long as the same is known of the
//! client: then it need not be read. What it has to do with its neighbours is looked at each time.

use std::ops::{AddAssign, Range, Sub};
use std::sync::Arc;

use super::book::{Lesson, Noted};
use super::space;
use super::structure;
use super::text::mix;
use super::{Scan, name_of};
use crate::engine::detect::ToldKey;
use crate::engine::location::{Location, Step, write_name};
use crate::engine::remembered::OVERHEAD;
use crate::engine::visit::{Inside, LayerId, Place, Spelling, Target};
use crate::wire::span::Span;

/// Names by which one element may stand in its list.
const MOST_NAMES: usize = 4;

/// By what an element is known: its bytes and its place, its client, and how it was asked.
pub(super) type Key = (ToldKey, u64);

/// Comparisons that were made.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    /// Forms that were compared, and those of them in which the others differ among themselves.
    pub forms: u32,
    pub unstable: u32,
    /// The same of pairs of items of lists.
    pub pairs: u32,
    pub loose_pairs: u32,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, more: Self) {
        self.forms += more.forms;
        self.unstable += more.unstable;
        self.pairs += more.pairs;
        self.loose_pairs += more.loose_pairs;
    }
}

impl Sub for Counts {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            forms: self.forms - before.forms,
            unstable: self.unstable - before.unstable,
            pairs: self.pairs - before.pairs,
            loose_pairs: self.loose_pairs - before.loose_pairs,
        }
    }
}

/// The element that is being read.
pub(super) struct Element {
    /// Where it is kept, if it can be.
    key: Option<Key>,
    target: Target,
    /// Names and indices around what is in it.
    pub depth: usize,
    /// Objects that were open before it.
    open: usize,
    /// What was noted before it: what it notes itself goes into a lesson of its own.
    lesson: Lesson,
    before: Counts,
    found: usize,
    first: Option<First>,
    names: Vec<Name>,
    /// Lists in it.
    pub lists: Vec<u64>,
    /// It holds what cannot be told again.
    more: bool,
}

/// The first value in an element.
pub(super) enum First {
    /// What a model or a tool wrote: what stands before it is nobody's form.
    Free,
    Value {
        raw: Range<u32>,
        pattern: u64,
        /// Its path below the element.
        pointer: Box<str>,
    },
}

/// The name by which an element stands in its list.
struct Name {
    raw: Range<u32>,
    /// Its path below the element.
    pointer: Box<str>,
}

/// What an element came to in which nothing was found.
pub(super) struct Told {
    noted: Box<[Arc<Noted>]>,
    counts: Counts,
    first: Option<First>,
    names: Box<[Name]>,
    /// Where its last value ends; none where that is nobody's form.
    last: Option<u32>,
}

impl Told {
    pub fn weight(&self) -> usize {
        let noted: usize = self.noted.iter().map(|noted| noted.weight()).sum();
        OVERHEAD + noted + self.names.iter().map(|name| 40 + name.pointer.len()).sum::<usize>()
    }
}

impl Element {
    pub fn layer(&self) -> LayerId {
        self.target.layer
    }

    /// Its first value is nobody's form, if it is.
    pub fn is_free(&mut self) {
        self.first.get_or_insert(First::Free);
    }

    /// Notes the name by which it stands in its list, as it is spelled at `target`; `text` is what that says.
    pub fn is_named(&mut self, text: &[u8], target: Target, place: &dyn Place) {
        self.more |= text.len() != target.raw.len() || self.names.len() >= MOST_NAMES;
        if !self.more {
            self.names.push(Name { raw: self.inside(target.raw), pointer: self.pointer(place) });
        }
    }

    /// The path of `place` below it.
    fn pointer(&self, place: &dyn Place) -> Box<str> {
        let mut pointer = String::new();
        for segment in place.pointer().get(self.depth..).unwrap_or_default() {
            pointer.push('/');
            // Writing to a string cannot fail.
            let _ = write_name(name_of(segment), &mut pointer);
        }
        pointer.into()
    }

    /// It cannot be told again.
    pub fn cannot_be_told(&mut self) {
        self.more = true;
    }

    fn inside(&self, span: Span) -> Range<u32> {
        let start = self.target.raw.start;
        span.start.saturating_sub(start)..span.end.saturating_sub(start)
    }
}

/// The value at `raw` of the element at `element`.
fn value_at(raw: &Range<u32>, element: Target) -> Target {
    let start = element.raw.start;
    Target { layer: element.layer, raw: Span::new(start + raw.start, start + raw.end), spelling: Spelling::JsonString }
}

impl Scan<'_> {
    /// An element begins at `place`, which is spelled at `target` of `within`.
    pub(in crate::engine) fn element_begins(&mut self, within: &[u8], target: Target, place: &dyn Place) {
        self.role = Default::default();
        if !self.active {
            return;
        }
        self.leave_element();
        space::settle(self, target.layer, within);
        let depth = place.pointer().len();
        structure::close_above(self, target.layer, depth);
        let beside = self.lesson.beside();
        self.element = Some(Box::new(Element {
            key: None,
            target,
            depth,
            open: self.structure.open(),
            lesson: std::mem::replace(&mut self.lesson, beside),
            before: self.counts,
            found: self.found.len(),
            first: None,
            names: Vec::new(),
            lists: Vec::new(),
            more: false,
        }));
    }

    /// The element that has begun is known by `key` from now on.
    pub(in crate::engine) fn keeps_element(&mut self, key: ToldKey) {
        let asked = mix(mix(self.seed, u64::from(self.lesson.wanted())), u64::from(self.page.is_some()));
        if let Some(element) = &mut self.element {
            element.key = Some((key, asked));
        }
    }

    /// Notes what the element that has begun came to before, if that is known by `key`: then it need not be read.
    pub(in crate::engine) fn recalls_element(&mut self, key: ToldKey, within: &[u8], place: &dyn Place) -> bool {
        self.keeps_element(key);
        let Some((Some(key), target)) = self.element.as_ref().map(|element| (element.key, element.target)) else {
            return false;
        };
        let Some(told) = self.cache.element(key, self.templates.revision(self.page)) else { return false };
        self.leave_element();
        match &told.first {
            None => {}
            Some(First::Free) => self.structure.space.skip(),
            Some(First::Value { raw, pattern, pointer }) => {
                let location = || below(place, pointer);
                space::before_element(self, within, value_at(raw, target), *pattern, &location);
            }
        }
        if let Some((_, list)) = place.pointer().split_last() {
            for name in &told.names {
                let target = value_at(&name.raw, target);
                let text = within.get(target.raw.range()).unwrap_or_default();
                structure::item_of(self, list, place.depth(), text, target, &|| below(place, &name.pointer));
            }
        }
        if told.first.is_some() {
            self.structure.space.ends_at(told.last.map(|end| (target.layer, target.raw.start + end)));
        }
        self.counts += told.counts;
        told.noted.iter().for_each(|noted| self.lesson.share(noted.clone()));
        true
    }

    /// The element is over.
    pub(in crate::engine) fn element_ends(&mut self, within: &[u8], inside: &Inside<'_>) {
        self.role = Default::default();
        let Some(element) = &self.element else { return };
        let (target, open) = (element.target, element.open);
        structure::close_from(self, open);
        space::settle(self, target.layer, within);
        space::settle_from(self, inside.layers, inside.before);
        let last = self.structure.space.last(target.layer).map(|end| end.saturating_sub(target.raw.start));
        let Some(element) = self.element.take() else { return };
        let (counts, found) = (self.counts - element.before, self.found.len() - element.found);
        let Element { key, first, names, more, lesson, lists, .. } = *element;
        let noted = self.part(lesson, &lists);
        if let Some(key) = key.filter(|_| !more && found == 0) {
            let told = Told { noted, counts, first, names: names.into(), last };
            self.cache.put_element(key, self.templates.revision(self.page), told);
        }
    }

    /// Goes on with the request, where an element was told or never ended.
    pub(super) fn leave_element(&mut self) {
        if let Some(element) = self.element.take() {
            let Element { lesson, lists, .. } = *element;
            self.part(lesson, &lists);
        }
    }

    /// Adds what an element came to, with `lists` in it, to what was noted `before` it. Gives what it noted itself.
    fn part(&mut self, before: Lesson, lists: &[u64]) -> Box<[Arc<Noted>]> {
        let (own, mut noted) = std::mem::replace(&mut self.lesson, before).into_parts();
        if own.len() > 0 {
            noted.push(self.cache.shared(own));
        }
        noted.iter().for_each(|noted| self.lesson.share(noted.clone()));
        lists.iter().for_each(|list| self.structure.forget(*list));
        noted.into()
    }

    /// Notes what is about the list rather than the element of it that is being read.
    pub(super) fn outside<T>(&mut self, note: impl FnOnce(&mut Self) -> T) -> T {
        let Some(mut element) = self.element.take() else { return note(self) };
        let (counts, found) = (self.counts, self.found.len());
        std::mem::swap(&mut self.lesson, &mut element.lesson);
        let noted = note(self);
        std::mem::swap(&mut self.lesson, &mut element.lesson);
        element.before += self.counts - counts;
        element.found += self.found.len() - found;
        self.element = Some(element);
        noted
    }

    /// The value at `target` is the first one of the element that is being read, if it is.
    pub(super) fn starts_element(&mut self, target: Target, pattern: u64, place: &dyn Place) -> bool {
        let Some(element) = self.element.as_mut().filter(|element| element.first.is_none()) else { return false };
        element.more |= target.spelling != Spelling::JsonString;
        let (raw, pointer) = (element.inside(target.raw), element.pointer(place));
        element.first = Some(First::Value { raw, pattern, pointer });
        true
    }
}

/// The place of what stands at `pointer` below `place`.
fn below(place: &dyn Place, pointer: &str) -> Location {
    let mut location = place.location();
    if let Some(Step::Json(around)) = location.steps.last_mut() {
        *around = [&**around, pointer].concat().into();
    }
    location
}
