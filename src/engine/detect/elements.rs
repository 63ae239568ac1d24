//! What elements of lists came to before: messages of a conversation, tools that are declared.
//!
//! ```text
//! element, where it stands -> digest -> rules and facts that were found: where in the element, and the window there
//!                                         + the bytes at hand -> the same findings
//! ```
//!
//! A conversation is sent whole with every turn, so most of a request was in the one before, element by element. Kept is where
//! values stand, never a value, as for whole requests.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use super::RawFinding;
use super::facts::ToldFact;
use super::told::{Key, ToldRule};
use crate::engine::decode::json_unescape;
use crate::engine::digest::{Digest, DigestKey};
use crate::engine::location::{Location, Step};
use crate::engine::remembered::Remembered;
use crate::engine::visit::{Spelling, Target};
use crate::wire::span::Span;

/// Bytes of the newer half of what is kept, and of what was seen once.
const HALF: usize = 6 << 20;
const HALF_SEEN: usize = 2 << 20;
/// Shorter elements are read as fast as they are looked up.
const SHORTEST: usize = 512;
const HALF_ENDS: usize = 1 << 20;
/// Bytes at either end by which an element that comes again is guessed.
const ENDS: usize = 64;
/// Bytes at its beginning by which its end is guessed: results of tools have an identifier among them.
const BEGINNING: usize = 128;

pub(crate) struct Elements {
    kept: Remembered<Key, Arc<ToldElement>>,
    seen: Remembered<Digest, ()>,
    /// By how an element begins: how long it is, and how it ends.
    ends: Remembered<u64, (u32, u64)>,
}

/// What one element came to.
pub(in crate::engine) struct ToldElement {
    pub rules: Box<[(Spot, ToldRule)]>,
    pub facts: Box<[(Spot, ToldFact)]>,
    /// The last text of a list in it.
    pub beside: Option<Spot>,
    /// It holds texts of a system prompt, at which others look as well.
    pub system: bool,
    /// It holds other documents, in which nothing is found.
    pub holds: bool,
    /// What it costs of what may be decoded in one unit.
    pub spent: usize,
}

/// A value in an element.
#[derive(Clone)]
pub(in crate::engine) struct Spot {
    /// Its path below the element.
    pointer: Box<str>,
    /// In the element's bytes.
    raw: Range<u32>,
    spelling: Spelling,
}

impl Default for Elements {
    fn default() -> Self {
        Self { kept: Remembered::new(HALF), seen: Remembered::new(HALF_SEEN), ends: Remembered::new(HALF_ENDS) }
    }
}

impl Elements {
    /// Whether an element like `raw` was there before, which from now on it was; or may come again, as `follows` says.
    pub fn was_seen(&self, key: &DigestKey, raw: &[u8], follows: bool) -> bool {
        if raw.len() < SHORTEST || follows {
            return raw.len() >= SHORTEST;
        }
        let digest = key.of(&[&raw[..ENDS], &raw[raw.len() - ENDS..]], raw.len() as u64);
        let seen = self.seen.get(digest).is_some();
        if !seen {
            self.seen.put(digest, (), 0);
        }
        seen
    }

    pub(in crate::engine) fn get(&self, key: Key) -> Option<Arc<ToldElement>> {
        self.kept.get(key)
    }

    pub(in crate::engine) fn put(&self, key: Key, told: ToldElement, secret: &DigestKey, raw: &[u8]) {
        let weight = told.weight();
        self.kept.put(key, Arc::new(told), weight);
        if let (Some(first), Some(last)) = (raw.first_chunk::<BEGINNING>(), raw.last_chunk::<ENDS>()) {
            self.ends.put(secret.guess(first), (raw.len() as u32, secret.guess(last)), 0);
        }
    }

    /// Where the element that begins with `rest` may end, without reading it: if it is known as a whole, it does.
    pub(in crate::engine) fn guess(&self, secret: &DigestKey, rest: &[u8]) -> Option<usize> {
        let first = rest.first_chunk::<BEGINNING>()?;
        let (length, end) = self.ends.get(secret.guess(first))?;
        let last = rest.get(..length as usize)?.last_chunk::<ENDS>()?;
        (secret.guess(last) == end).then_some(length as usize)
    }
}

impl ToldElement {
    fn weight(&self) -> usize {
        let spots = self.rules.iter().map(|(spot, _)| spot).chain(self.facts.iter().map(|(spot, _)| spot));
        size_of::<Self>()
            + size_of_val(&self.rules[..])
            + size_of_val(&self.facts[..])
            + spots.map(|spot| spot.pointer.len()).sum::<usize>()
    }
}

impl ToldElement {
    /// There is nothing to tell of it.
    pub fn is_plain(&self) -> bool {
        self.rules.is_empty() && self.facts.is_empty() && self.beside.is_none()
    }
}

impl Spot {
    /// Where `finding` stands in the element at `base`, which is spelled at `element`. None where it stands elsewhere.
    pub fn of(finding: &RawFinding, base: &Location, element: Target) -> Option<Self> {
        let steps = match finding.location.steps.split_last()? {
            (Step::Window(..), steps) if finding.window.is_some() => steps,
            _ => &finding.location.steps[..],
        };
        let (Step::Json(around), outer) = base.steps.split_last()? else { return None };
        let (Step::Json(pointer), same) = steps.split_last()? else { return None };
        if outer != same || finding.location.root != base.root {
            return None;
        }
        let pointer = pointer.strip_prefix(&**around)?;
        Self::at(finding.target, element, pointer)
    }

    /// Of the value at `target`.
    pub fn at(target: Target, element: Target, pointer: &str) -> Option<Self> {
        let (whole, part) = (element.raw.range(), target.raw.range());
        let inside = target.layer == element.layer && whole.start <= part.start && part.end <= whole.end;
        let raw = (part.start - whole.start.min(part.start)) as u32..(part.end - whole.start.min(part.end)) as u32;
        inside.then(|| Self { pointer: pointer.into(), raw, spelling: target.spelling })
    }

    pub fn location(&self, base: &Location) -> Location {
        let mut steps = Vec::with_capacity(base.steps.len() + 1);
        match base.steps.split_last() {
            Some((Step::Json(around), outer)) => {
                steps.extend_from_slice(outer);
                steps.push(Step::Json([&**around, &*self.pointer].concat().into()));
            }
            _ => steps.extend_from_slice(&base.steps),
        }
        Location { root: base.root.clone(), steps }
    }

    pub fn target(&self, element: Target) -> Target {
        let start = element.raw.range().start;
        let raw = Span::of(start + self.raw.start as usize..start + self.raw.end as usize);
        Target { layer: element.layer, raw, spelling: self.spelling }
    }

    /// The decoded text; `raw` is the element.
    pub fn text<'a>(&self, raw: &'a [u8]) -> Cow<'a, [u8]> {
        let spelled = raw.get(self.raw.start as usize..self.raw.end as usize).unwrap_or_default();
        if self.spelling != Spelling::JsonString || memchr::memchr(b'\\', spelled).is_none() {
            return Cow::Borrowed(spelled);
        }
        let mut text = Vec::with_capacity(spelled.len());
        json_unescape(spelled, &mut text);
        Cow::Owned(text)
    }

    /// Whether both are the same value.
    pub fn is_at(&self, other: &Self) -> bool {
        self.raw == other.raw
    }
}
