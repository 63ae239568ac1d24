//! Which bytes of a unit spell what was found in it.
//!
//! A text may hold as many findings as it has words, so what is known of it once, its decoded form and some of its places, is
//! kept for the next.

use std::collections::HashMap;
use std::ops::Range;

use bytes::Bytes;

use super::spell::{Marks, Script};
use crate::engine::decode::{Codec, Decoded, Layer, Origin, html, percent};
use crate::engine::detect::hash::Keyed;
use crate::engine::finding::PartOf;
use crate::engine::visit::{LayerId, Target};
use crate::wire::span::Span;

/// The places of what stands in `layers`.
pub(crate) struct Spans<'d> {
    layers: &'d [Layer],
    /// Places in the spelling of a leaf.
    leaves: HashMap<(LayerId, Span), Marks, Keyed>,
    /// Places in what a layer was decoded from.
    codecs: HashMap<LayerId, Marks, Keyed>,
    /// The decoded text of the leaf that was last asked for: findings come text by text.
    text: Option<((LayerId, Span), Bytes)>,
    /// What is encoded in the text around the layer that was last asked for.
    units: Option<(LayerId, Units)>,
}

/// A window of an encoded text, in the text that holds the encoding.
pub(crate) struct Outward {
    pub leaf: Target,
    /// What was decoded.
    pub text: Bytes,
    pub range: Range<usize>,
    /// Whether anything beside the window is encoded too.
    pub more: bool,
    /// Whether letters are beside the window that no function which encodes a whole text would have touched.
    pub piecemeal: bool,
}

/// The first and the last encoded character of a text, and of those that need not be.
#[derive(Clone, Copy, Default)]
struct Units {
    all: Option<(usize, usize)>,
    letters: Option<(usize, usize)>,
}

impl Units {
    fn of(codec: &Codec, text: &[u8]) -> Self {
        let mut found = Self::default();
        let mut note = |(at, letter): (usize, bool)| {
            let widen = |known: Option<(usize, usize)>| known.map_or((at, at), |(first, _)| (first, at));
            found.all = Some(widen(found.all));
            if letter {
                found.letters = Some(widen(found.letters));
            }
        };
        match codec {
            Codec::Percent => percent::units(text).for_each(&mut note),
            _ => html::units(text).for_each(&mut note),
        }
        found
    }
}

/// Where `window` of the leaf at `target` stands in the head or in the content-decoded body: the bytes that spell it,
/// compressed values whole. None where it is in neither.
pub fn span_of(decoded: &Decoded, target: &Target, window: Option<Range<usize>>) -> Option<(PartOf, Span)> {
    Spans::new(&decoded.layers).of(decoded.body, target, window)
}

impl<'d> Spans<'d> {
    pub fn new(layers: &'d [Layer]) -> Self {
        Self { layers, leaves: HashMap::default(), codecs: HashMap::default(), text: None, units: None }
    }

    /// What [`span_of`] says, of one after the other. `body` is the layer of the content-decoded body.
    pub fn of(
        &mut self,
        body: Option<LayerId>,
        target: &Target,
        window: Option<Range<usize>>,
    ) -> Option<(PartOf, Span)> {
        let mut id = target.layer;
        let mut range = match window {
            Some(window) => self.spelled(target, window)?,
            None => target.raw.range(),
        };
        self.layers.get(id.0 as usize)?.content.get(target.raw.range())?;
        loop {
            if body == Some(id) {
                return Some((PartOf::Body, Span::of(range)));
            }
            match &self.layers.get(id.0 as usize)?.origin {
                Origin::Head => return Some((PartOf::Head, Span::of(range))),
                Origin::Payload => return None,
                Origin::Leaf { leaf, .. } => {
                    let inner = self.coded(id, range)?;
                    range = self.spelled(leaf, inner)?;
                    id = leaf.layer;
                }
            }
        }
    }

    /// The bytes that spell `window` of `layer`, where that was read by percent-encoding or character references.
    pub fn outward(&mut self, layer: LayerId, window: Range<usize>) -> Option<Outward> {
        let Origin::Leaf { leaf, codec: codec @ (Codec::Percent | Codec::Html), .. } =
            &self.layers.get(layer.0 as usize)?.origin
        else {
            return None;
        };
        let range = self.coded(layer, window)?;
        let text = self.text(leaf)?;
        let units = match self.units {
            Some((known, units)) if known == layer => units,
            _ => Units::of(codec, &text),
        };
        self.units = Some((layer, units));
        let beside = |(first, last): (usize, usize)| first < range.start || range.end <= last;
        let (more, piecemeal) = (units.all.is_some_and(beside), units.letters.is_some_and(beside));
        Some(Outward { leaf: *leaf, text, range, more, piecemeal })
    }

    /// Where `window` of `layer` stands in the decoded text of the leaf that the layer was read from.
    fn coded(&mut self, layer: LayerId, window: Range<usize>) -> Option<Range<usize>> {
        let Origin::Leaf { leaf, window: coded, codec } = &self.layers.get(layer.0 as usize)?.origin else {
            return None;
        };
        let inner = match (Script::of_codec(codec), codec) {
            (Some(Script::Raw), _) => window,
            (Some(script), _) => {
                let text = self.text(leaf)?;
                self.codecs.entry(layer).or_default().locate(script, text.get(coded.range())?, window)?
            }
            // Four characters for three bytes.
            (None, Codec::Base64(spelling)) if spelling.wrap.is_none() => {
                window.start / 3 * 4..(window.end.div_ceil(3) * 4).min(coded.len())
            }
            (None, _) => 0..coded.len(),
        };
        let start = coded.start as usize;
        (inner.end <= coded.len()).then_some(inner.start + start..inner.end + start)
    }

    /// Where `window` of the decoded text of `leaf` stands in the leaf's layer.
    fn spelled(&mut self, leaf: &Target, window: Range<usize>) -> Option<Range<usize>> {
        let raw = self.layers.get(leaf.layer.0 as usize)?.content.get(leaf.raw.range())?;
        let marks = self.leaves.entry((leaf.layer, leaf.raw)).or_default();
        let range = marks.locate(Script::of(leaf.spelling), raw, window)?;
        let start = leaf.raw.start as usize;
        Some(range.start + start..range.end + start)
    }

    fn text(&mut self, leaf: &Target) -> Option<Bytes> {
        let key = (leaf.layer, leaf.raw);
        if let Some((known, text)) = &self.text
            && *known == key
        {
            return Some(text.clone());
        }
        let content = &self.layers.get(leaf.layer.0 as usize)?.content;
        let text = match Script::of(leaf.spelling).decode(content.get(leaf.raw.range())?) {
            std::borrow::Cow::Borrowed(_) => content.slice(leaf.raw.range()),
            std::borrow::Cow::Owned(text) => text.into(),
        };
        self.text = Some((key, text.clone()));
        Some(text)
    }
}
