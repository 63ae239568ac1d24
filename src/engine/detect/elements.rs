//! What elements of lists came to before: messages of a conversation, tools that are declared.
//!
//! ```text
//! element, where it stands -> digest -> rules and facts that were found: where in the element, and the window there
//!                                       what has to be decoded to get at them
//!                                         + the bytes at hand -> the same findings
//! ```
//!
//! A conversation is sent whole with every turn, so most of a request was in the one before, element by element. Kept is where
//! values stand, never a value, as for whole requests.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::RawFinding;
use super::facts::ToldFact;
use super::hash::Keyed;
use super::told::{Excerpt, Key, ToldRule};
use crate::engine::decode::{Codec, Format, Layer, Member, Origin, read_again};
use crate::engine::digest::{Digest, DigestKey};
use crate::engine::location::{Location, Step};
use crate::engine::remembered::Remembered;
use crate::engine::rewrite::spell::{Marks, Script};
use crate::engine::rewrite::spelled_text;
use crate::engine::visit::{LayerId, Reopen, Spelling, Target};
use crate::wire::span::Span;

/// Bytes of the newer half of what is kept, and of what was seen once.
const HALF: usize = 6 << 20;
const HALF_SEEN: usize = 2 << 20;
/// Shorter elements are read as fast as they are looked up.
const SHORTEST: usize = 512;
const HALF_ENDS: usize = 1 << 20;
/// Bytes at either end by which an element that comes again is guessed.
const ENDS: usize = 64;
/// Documents inside one element in which something is found; one with more is read anew each time.
const MOST_INNER: usize = 256;
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
    /// Where something was found, each place once.
    pub spots: Box<[Spot]>,
    pub rules: Box<[At<ToldRule>]>,
    pub facts: Box<[At<ToldFact>]>,
    /// The last text of a list in it.
    pub beside: Option<Spot>,
    /// It holds texts of a system prompt, at which others look as well.
    pub system: bool,
    /// It holds other documents.
    pub holds: bool,
    /// Those in which something is found, outer ones first.
    pub inner: Box<[Inner]>,
    /// What it costs of what may be decoded in one unit.
    pub spent: usize,
}

/// What was found in one of the spots of an element.
pub(in crate::engine) struct At<T> {
    pub spot: u32,
    /// Where in the bytes of the spot its window begins, if what stands there is spelled as it is.
    pub verbatim: Option<u32>,
    pub told: T,
}

/// A value in an element.
#[derive(Clone, PartialEq)]
pub(in crate::engine) struct Spot {
    /// Its path below the element.
    pointer: Box<str>,
    /// From there inwards.
    steps: Box<[Step]>,
    stands: Stands,
}

/// The bytes of a value.
#[derive(Clone, PartialEq)]
struct Stands {
    /// Which of the inner documents it stands in; none: the element's own.
    inner: Option<u16>,
    /// In the element's bytes, or in what is decoded.
    raw: Range<u32>,
    spelling: Spelling,
    /// As it is decoded.
    plain: bool,
}

/// A layer in an element.
pub(in crate::engine) struct Inner {
    leaf: Stands,
    window: Span,
    codec: Codec,
}

/// The layers of an element that are open, in the order of its [`Inner`]s.
pub(in crate::engine) type Opened = Vec<(LayerId, Bytes)>;

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
        size_of::<Self>()
            + size_of_val(&self.rules[..])
            + size_of_val(&self.facts[..])
            + size_of_val(&self.spots[..])
            + self.spots.iter().map(Spot::weight).sum::<usize>()
            + self.inner.iter().map(Inner::weight).sum::<usize>()
    }
}

impl ToldElement {
    /// There is nothing to tell of it.
    pub fn is_plain(&self) -> bool {
        self.rules.is_empty() && self.facts.is_empty() && self.beside.is_none()
    }

    /// Opens what something is found in again. `raw` is the element, which is spelled at `element`.
    pub fn open(&self, raw: &[u8], element: Target, layers: &mut dyn Reopen) -> Option<Opened> {
        let mut opened = Opened::with_capacity(self.inner.len());
        for inner in &self.inner {
            let content = inner.content(raw, &opened)?;
            let leaf = inner.leaf.target(element, &opened)?;
            let layer = layers.open(content.clone(), leaf, inner.window, inner.codec.clone());
            opened.push((layer, content));
        }
        Some(opened)
    }
}

impl Inner {
    fn weight(&self) -> usize {
        size_of::<Self>() + self.codec.members() * size_of::<Member>()
    }

    /// What it comes to, decoded anew.
    fn content(&self, raw: &[u8], opened: &[(LayerId, Bytes)]) -> Option<Bytes> {
        let text = self.leaf.decoded(self.leaf.spelled(raw, opened)?);
        let coded = text.get(self.window.range())?;
        read_again(&self.codec, coded).map(Bytes::from)
    }
}

/// The layer of a value, and its bytes there.
type Bytewise = (u32, u32, u32);

/// The places of what is found in an element, and its layers that have to be opened to get there.
pub(in crate::engine) struct Needed<'a> {
    layers: &'a [Layer],
    element: Target,
    raw: &'a [u8],
    /// Where its findings say that it stands.
    base: &'a Location,
    spots: Vec<Spot>,
    /// Those at the bytes of a value, and places in these.
    by_bytes: HashMap<Bytewise, (Vec<u32>, Marks), Keyed>,
    /// The last text that had to be decoded.
    decoded: Option<(Bytewise, Vec<u8>)>,
    inner: Vec<Inner>,
    opened: Opened,
}

impl<'a> Needed<'a> {
    pub fn new(layers: &'a [Layer], element: Target, base: &'a Location, raw: &'a [u8]) -> Self {
        let (spots, by_bytes, decoded, inner, opened) = Default::default();
        Self { layers, element, raw, base, spots, by_bytes, decoded, inner, opened }
    }

    pub fn into_parts(self) -> (Box<[Spot]>, Box<[Inner]>, Opened) {
        (self.spots.into(), self.inner.into(), self.opened)
    }

    /// What `told` is told of, the finding, found in the element. None where it could not be told again.
    pub fn at<T>(&mut self, finding: &RawFinding, told: impl FnOnce(usize) -> T) -> Option<At<T>> {
        let spot = Spot::of(finding, self.base, self)?;
        let target = finding.target;
        let spelled = spot.stands.spelled(self.raw, &self.opened)?;
        let key = (target.layer.0, target.raw.start, target.raw.end);
        let (same, marks) = self.by_bytes.entry(key).or_default();
        let (verbatim, length) = if spot.stands.plain {
            (None, spelled.len())
        } else {
            if self.decoded.as_ref().is_none_or(|(last, _)| *last != key) {
                self.decoded = Some((key, spot.stands.decoded(spelled).into_owned()));
            }
            let (_, text) = self.decoded.as_ref()?;
            let verbatim = finding.window.clone().and_then(|window| {
                let raw = marks.locate(Script::of(target.spelling), spelled, window.clone())?;
                (spelled.get(raw.clone())? == text.get(window)?).then_some(raw.start as u32)
            });
            (verbatim, text.len())
        };
        let told = told(length);
        let spots = &mut self.spots;
        let number = same.iter().copied().find(|&number| spots.get(number as usize) == Some(&spot));
        let spot = number.unwrap_or_else(|| {
            same.push(spots.len() as u32);
            spots.push(spot);
            spots.len() as u32 - 1
        });
        Some(At { spot, verbatim, told })
    }

    /// The bytes of `target`, once what they stand in is noted. None where it could not be opened again.
    fn stands(&mut self, target: Target) -> Option<Stands> {
        let whole = self.element.raw.range();
        if target.layer == self.element.layer {
            let part = target.raw.range();
            let inside = whole.start <= part.start && part.end <= whole.end;
            let raw = (part.start - whole.start.min(part.start)) as u32..(part.end - whole.start.min(part.end)) as u32;
            return inside.then(|| Stands::new(None, raw, target.spelling, self.raw));
        }
        let inner = self.inner_of(target.layer)?;
        let content = &self.opened.get(usize::from(inner))?.1;
        Some(Stands::new(Some(inner), target.raw.start..target.raw.end, target.spelling, content))
    }

    fn inner_of(&mut self, id: LayerId) -> Option<u16> {
        if let Some(at) = self.opened.iter().position(|(known, _)| *known == id) {
            return Some(at as u16);
        }
        // They are searched one by one, and decoded once more before they are kept.
        if self.inner.len() >= MOST_INNER {
            return None;
        }
        let layer = self.layers.get(id.0 as usize)?;
        let Origin::Leaf { leaf, window, codec } = &layer.origin else { return None };
        if !layer.whole || layer.format != Format::Plain {
            return None;
        }
        let leaf = self.stands(*leaf)?;
        let inner = Inner { leaf, window: *window, codec: codec.clone() };
        if inner.content(self.raw, &self.opened)? != layer.content {
            return None;
        }
        self.inner.push(inner);
        self.opened.push((id, layer.content.clone()));
        u16::try_from(self.inner.len() - 1).ok()
    }
}

impl Stands {
    fn new(inner: Option<u16>, raw: Range<u32>, spelling: Spelling, content: &[u8]) -> Self {
        let spelled = content.get(raw.start as usize..raw.end as usize).unwrap_or_default();
        let plain = matches!(spelled_text(spelling, spelled), Cow::Borrowed(_));
        Self { inner, raw, spelling, plain }
    }

    fn target(&self, element: Target, opened: &[(LayerId, Bytes)]) -> Option<Target> {
        let (layer, start) = match self.inner {
            None => (element.layer, element.raw.start),
            Some(inner) => (opened.get(usize::from(inner))?.0, 0),
        };
        let raw = Span::of(start as usize + self.raw.start as usize..start as usize + self.raw.end as usize);
        Some(Target { layer, raw, spelling: self.spelling })
    }

    /// The bytes; `raw` is the element.
    fn spelled<'a>(&self, raw: &'a [u8], opened: &'a [(LayerId, Bytes)]) -> Option<&'a [u8]> {
        let content = match self.inner {
            None => raw,
            Some(inner) => &opened.get(usize::from(inner))?.1[..],
        };
        content.get(self.raw.start as usize..self.raw.end as usize)
    }

    /// What `spelled` comes to.
    fn decoded<'a>(&self, spelled: &'a [u8]) -> Cow<'a, [u8]> {
        if self.plain { Cow::Borrowed(spelled) } else { spelled_text(self.spelling, spelled) }
    }
}

impl Spot {
    fn weight(&self) -> usize {
        self.pointer.len() + self.steps.iter().map(Step::weight).sum::<usize>()
    }

    /// Where `finding` stands in the element at `base`. None where it stands elsewhere, or where nobody could get at it again.
    pub fn of(finding: &RawFinding, base: &Location, needed: &mut Needed<'_>) -> Option<Self> {
        let steps = match finding.location.steps.split_last()? {
            (Step::Window(..), steps) if finding.window.is_some() => steps,
            _ => &finding.location.steps[..],
        };
        let (Step::Json(around), outer) = base.steps.split_last()? else { return None };
        let (Step::Json(pointer), inwards) = steps.strip_prefix(outer)?.split_first()? else { return None };
        if finding.location.root != base.root {
            return None;
        }
        let pointer = pointer.strip_prefix(&**around)?;
        Some(Self { pointer: pointer.into(), steps: inwards.into(), stands: needed.stands(finding.target)? })
    }

    /// Of the value at `target`, of which nobody asks how it is called.
    pub fn at(target: Target, needed: &mut Needed<'_>) -> Option<Self> {
        Some(Self { pointer: "".into(), steps: Box::default(), stands: needed.stands(target)? })
    }

    fn location(&self, base: &Location) -> Location {
        // Room for a window, too.
        let mut steps = Vec::with_capacity(base.steps.len() + self.steps.len() + 2);
        match base.steps.split_last() {
            Some((Step::Json(around), outer)) => {
                steps.extend_from_slice(outer);
                steps.push(Step::Json([&**around, &*self.pointer].concat().into()));
            }
            _ => steps.extend_from_slice(&base.steps),
        }
        steps.extend_from_slice(&self.steps);
        Location { root: base.root.clone(), steps }
    }

    /// The decoded text; `raw` is the element.
    pub fn text<'a>(&self, raw: &'a [u8], opened: &'a [(LayerId, Bytes)]) -> Cow<'a, [u8]> {
        self.stands.spelled(raw, opened).map(|spelled| self.stands.decoded(spelled)).unwrap_or_default()
    }
}

/// The spots of an element that is told, each gone to once.
pub(in crate::engine) struct Visited<'a> {
    raw: &'a [u8],
    element: Target,
    base: &'a Location,
    opened: &'a [(LayerId, Bytes)],
    spots: &'a [Spot],
    locations: Vec<Option<Location>>,
    /// The last text that had to be decoded.
    decoded: Option<(u32, Cow<'a, [u8]>)>,
}

impl<'a> Visited<'a> {
    /// `raw` is the element, which is spelled at `element` and stands at `base`.
    pub fn new(
        told: &'a ToldElement,
        raw: &'a [u8],
        element: Target,
        base: &'a Location,
        opened: &'a [(LayerId, Bytes)],
    ) -> Self {
        let locations = vec![None; told.spots.len()];
        Self { raw, element, base, opened, spots: &told.spots, locations, decoded: None }
    }

    /// The location of the value in which `at` was found, and what stands in the window.
    pub fn excerpt<T>(&mut self, at: &At<T>, window: &Range<usize>) -> Option<(Location, Excerpt<'_>)> {
        let spot = self.spots.get(at.spot as usize)?;
        let location = self.locations.get_mut(at.spot as usize)?;
        let location = location.get_or_insert_with(|| spot.location(self.base)).clone();
        let target = spot.stands.target(self.element, self.opened)?;
        let spelled = spot.stands.spelled(self.raw, self.opened)?;
        if let Some(start) = at.verbatim {
            let text = spelled.get(start as usize..)?.get(..window.len())?;
            return Some((location, Excerpt { text, whole: false, target }));
        }
        if self.decoded.as_ref().is_none_or(|(last, _)| *last != at.spot) {
            self.decoded = Some((at.spot, spot.stands.decoded(spelled)));
        }
        let (_, text) = self.decoded.as_ref()?;
        let value = text.get(window.clone())?;
        Some((location, Excerpt { text: value, whole: value.len() == text.len(), target }))
    }
}
