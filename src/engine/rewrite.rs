//! Applies edits byte-exactly: from the leaf outwards through every layer that holds it.
//!
//! ```text
//! edit of a leaf -> splice in its layer -> lengths that follow -> the layer's codec made again -> splice
//! in the layer around -> ... -> head and payload
//! ```
//!
//! An edit touches the bytes that spell it and nothing else. Where a layer is text inside text (a JSON string,
//! percent-encoding, hex) that holds byte for byte through the layer; base64 changes from the first group that
//! differs to the last; compression is made again, member by member. Lengths around (protobuf, envelopes,
//! `content-length`) follow. Deterministic: the same edits of the same bytes give the same bytes.

mod digests;
mod lengths;
pub(super) mod recode;
mod remove;
mod spans;
pub(super) mod spell;
mod splice;

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use sha2::{Digest, Sha256};

pub(super) use self::spans::Spans;
pub use self::spans::span_of;
use self::spell::Script;
use self::splice::{Splice, apply};
use super::audit::{Part, Unit};
use super::decode::{Codec, Decoded, Layer, Origin, is_json_number, msgpack};
use super::finding::PartOf;
use super::visit::{LayerId, Spelling, Target};
use crate::wire::head::{Field, HeadEdit};
use crate::wire::span::Span;

/// One change to one leaf.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Edit {
    pub target: Target,
    /// Which bytes of the decoded text; all of it without.
    pub window: Option<Range<usize>>,
    pub change: Change,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Change {
    /// Decoded text in the window's place. For a JSON number, `true`, `false` or `null`: a token of the same
    /// type (either of the two for `true` and `false`).
    Replace(String),
    /// A window: its bytes. A whole leaf: the member with its name and comma, the header line, the pair of a
    /// query, form or cookie, the protobuf field. An element of an array, a document that is a single value, or
    /// plain text stays where it is and becomes empty (`""`, `0`, `false`); a path segment becomes `-`.
    Remove,
}

/// What leaves instead, and the account of it.
#[derive(Debug)]
pub struct Rewrite {
    /// In order, not overlapping; `content-length` among them where the payload's length changed.
    pub head: Vec<HeadEdit>,
    pub payload: Bytes,
    /// The payload with its content codings undone.
    pub body: Bytes,
    /// In order, those of the head first.
    pub applied: Vec<AppliedEdit>,
    /// SHA-256 of everything outside the spans of `applied`, of the head (of units that carry it) and then of the
    /// content-decoded body, as it came ...
    pub rest_before: [u8; 32],
    /// ... and as it leaves, decoded anew from `payload`.
    pub rest_after: [u8; 32],
}

/// One run of bytes that changed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AppliedEdit {
    /// Which of the edits given; none for a length that had to follow.
    pub edit: Option<usize>,
    pub part: PartOf,
    /// Its place as it came. Edits that share one encoded value share its place.
    pub before: Span,
    /// Its place as it leaves.
    pub after: Span,
    /// Of the decoded text.
    pub old_length: usize,
    pub new_length: usize,
}

/// Why edits cannot be made. Indices are into the edits given; nothing was changed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RewriteError {
    #[error("edits {first} and {second} overlap")]
    Overlap { first: usize, second: usize },
    #[error("edit {edit} does not fall on whole characters of its value")]
    Misplaced { edit: usize },
    #[error("edit {edit} would change the type of its value")]
    WrongType { edit: usize },
    #[error("edit {edit} puts characters where they cannot stand")]
    Unspellable { edit: usize },
    #[error("edit {edit} removes what a request cannot be without")]
    NotRemovable { edit: usize },
    #[error("edit {edit} lies in a compressed value that was not read to its end")]
    Incomplete { edit: usize },
    #[error("edit {edit} lies in a value that cannot be encoded again")]
    Encoding { edit: usize },
}

impl RewriteError {
    /// The edit to leave out before trying again.
    pub fn edit(&self) -> usize {
        match *self {
            Self::Overlap { second: edit, .. }
            | Self::Misplaced { edit }
            | Self::WrongType { edit }
            | Self::Unspellable { edit }
            | Self::NotRemovable { edit }
            | Self::Incomplete { edit }
            | Self::Encoding { edit } => edit,
        }
    }
}

/// Makes `edits` of the unit that `decoded` was walked from.
pub fn rewrite(unit: &Unit<'_>, decoded: &Decoded, edits: Vec<Edit>) -> Result<Rewrite, RewriteError> {
    let mut work = Work { unit, decoded, edits: &edits, pending: Vec::new(), applied: Vec::new() };
    work.pending.resize_with(decoded.layers.len(), Vec::new);
    work.sort_in()?;
    let mut head = Vec::new();
    let mut payload = work.payload();
    for index in (0..decoded.layers.len()).rev() {
        let splices = work.settle(index)?;
        if splices.is_empty() {
            continue;
        }
        let layer = &decoded.layers[index];
        match &layer.origin {
            Origin::Head => head = splices,
            Origin::Payload => payload = apply(&layer.content, &splices).into(),
            Origin::Leaf { leaf, window, codec } => {
                let outer = work.pass_out(layer, &splices, leaf, *window, codec)?;
                work.pending[leaf.layer.0 as usize].extend(outer);
            }
        }
    }
    work.finish(head, payload)
}

/// The text that `raw` spells.
pub(super) fn spelled_text(spelling: Spelling, raw: &[u8]) -> Cow<'_, [u8]> {
    Script::of(spelling).decode(raw)
}

struct Work<'a> {
    unit: &'a Unit<'a>,
    decoded: &'a Decoded,
    edits: &'a [Edit],
    /// Splices of each layer that is not settled yet.
    pending: Vec<Vec<Splice>>,
    applied: Vec<AppliedEdit>,
}

impl Work<'_> {
    fn payload(&self) -> Bytes {
        match &self.unit.part {
            Part::Head => Bytes::new(),
            Part::Document(bytes)
            | Part::Frame { bytes, .. }
            | Part::Line { bytes, .. }
            | Part::Message { bytes, .. }
            | Part::Chunk { bytes, .. }
            | Part::Trailers(bytes) => bytes.clone(),
        }
    }

    fn layer(&self, id: LayerId) -> Option<&Layer> {
        self.decoded.layers.get(id.0 as usize)
    }

    /// Turns every edit into a splice of the layer its leaf stands in.
    fn sort_in(&mut self) -> Result<(), RewriteError> {
        let mut removals = vec![Vec::new(); self.decoded.layers.len()];
        for (index, edit) in self.edits.iter().enumerate() {
            let misplaced = RewriteError::Misplaced { edit: index };
            let layer = self.layer(edit.target.layer).ok_or(misplaced.clone())?;
            let raw = layer.content.get(edit.target.raw.range()).ok_or(misplaced)?;
            match (&edit.change, &edit.window) {
                (Change::Remove, None) => removals[edit.target.layer.0 as usize].push(index),
                (change, window) => {
                    let splice = value_splice(raw, edit, change, window.clone(), index)?;
                    self.pending[edit.target.layer.0 as usize].push(splice);
                }
            }
        }
        for (layer, removals) in removals.iter().enumerate().filter(|(_, removals)| !removals.is_empty()) {
            let splices = remove::splices(&self.unit.request.head, &self.decoded.layers[layer], self.edits, removals)?;
            self.pending[layer].extend(splices);
        }
        Ok(())
    }

    /// The splices of one layer, all its inner layers done: in order, not overlapping, lengths included.
    fn settle(&mut self, index: usize) -> Result<Vec<Splice>, RewriteError> {
        let mut splices = std::mem::take(&mut self.pending[index]);
        let layer = &self.decoded.layers[index];
        for splice in &splices {
            let edit = splice.edits.first().copied().unwrap_or_default();
            if layer.content.get(splice.range.clone()).is_none() {
                return Err(RewriteError::Misplaced { edit });
            }
            if matches!(layer.origin, Origin::Head) && !self.can_stand_in_head(splice) {
                return Err(RewriteError::Unspellable { edit });
            }
        }
        splices.retain(|splice| layer.content[splice.range.clone()] != splice.bytes[..]);
        if splices.is_empty() {
            return Ok(splices);
        }
        splice::order(&mut splices)?;
        let first = splices[0].edits.first().copied().unwrap_or_default();
        if !layer.whole {
            return Err(RewriteError::Incomplete { edit: first });
        }
        lengths::follow(layer, &mut splices).ok_or(RewriteError::Encoding { edit: first })?;
        splice::order(&mut splices)?;
        if self.decoded.body == Some(LayerId(index as u32)) {
            self.note(PartOf::Body, &splices);
        }
        Ok(splices)
    }

    /// Whether the new bytes end neither the line nor the pair that they stand in.
    fn can_stand_in_head(&self, splice: &Splice) -> bool {
        let head = &self.unit.request.head;
        let inside = |span: Span| span.range().start <= splice.range.start && splice.range.end <= span.range().end;
        let cookie = |field: &Field| inside(field.value) && head.bytes(field.name).eq_ignore_ascii_case(b"cookie");
        let one_word = inside(head.method_span()) || inside(head.target_span());
        let one_pair = head.fields().iter().any(cookie);
        let name = head.fields().iter().any(|field| inside(field.name));
        let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
        if name && (splice.bytes.is_empty() || !splice.bytes.iter().all(token)) {
            return false;
        }
        let ends = |byte: &u8| match byte {
            b'\r' | b'\n' | 0 => true,
            b' ' => one_word,
            b';' => one_pair,
            _ => false,
        };
        let missing = splice.bytes.is_empty() && splice.range == head.method_span().range();
        !missing && !splice.bytes.iter().any(ends)
    }

    /// The same change as splices of the layer around.
    fn pass_out(
        &self,
        layer: &Layer,
        splices: &[Splice],
        leaf: &Target,
        window: Span,
        codec: &Codec,
    ) -> Result<Vec<Splice>, RewriteError> {
        let edits: Vec<usize> = splices.iter().flat_map(|splice| splice.edits.iter().copied()).collect();
        let first = edits.first().copied().unwrap_or_default();
        let broken = RewriteError::Encoding { edit: first };
        let around = self.layer(leaf.layer).ok_or(broken.clone())?;
        let raw = around.content.get(leaf.raw.range()).ok_or(broken.clone())?;
        let script = Script::of(leaf.spelling);
        let text = script.decode(raw);
        let coded = text.get(window.range()).ok_or(broken.clone())?;
        // First into the leaf's decoded text ...
        let mut inner = match Script::of_codec(codec) {
            Some(script) => script.spell(coded, splices)?,
            None => {
                let content = apply(&layer.content, splices);
                let new = recode::encode(codec, coded, splices, &content).ok_or(broken)?;
                vec![Splice::of_difference(coded, &new, edits)]
            }
        };
        for splice in &mut inner {
            splice.range.start += window.start as usize;
            splice.range.end += window.start as usize;
        }
        // ... then into the bytes that spell it.
        let mut outer = script.spell(raw, &inner)?;
        for splice in &mut outer {
            splice.range.start += leaf.raw.start as usize;
            splice.range.end += leaf.raw.start as usize;
            splice.leaf = leaf.raw.range();
        }
        Ok(outer)
    }

    fn note(&mut self, part: PartOf, splices: &[Splice]) {
        let mut grown = 0isize;
        for splice in splices {
            let start = splice.range.start.wrapping_add_signed(grown);
            let after = Span::of(start..start + splice.bytes.len());
            grown += splice.bytes.len() as isize - splice.range.len() as isize;
            let before = Span::of(splice.range.clone());
            let applied = |edit: Option<usize>| {
                let (old_length, new_length) = match edit {
                    Some(edit) => self.lengths(edit),
                    None => (splice.range.len(), splice.bytes.len()),
                };
                AppliedEdit { edit, part, before, after, old_length, new_length }
            };
            let noted: Vec<_> = match splice.edits.is_empty() {
                true => vec![applied(None)],
                false => splice.edits.iter().map(|&edit| applied(Some(edit))).collect(),
            };
            self.applied.extend(noted);
        }
    }

    /// Decoded length of an edit's window, before and after.
    fn lengths(&self, edit: usize) -> (usize, usize) {
        let edit = &self.edits[edit];
        let old = edit.window.clone().map_or_else(
            || {
                let raw = self.layer(edit.target.layer).and_then(|layer| layer.content.get(edit.target.raw.range()));
                raw.map_or(0, |raw| Script::of(edit.target.spelling).decode(raw).len())
            },
            |window| window.len(),
        );
        match &edit.change {
            Change::Replace(text) => (old, text.len()),
            Change::Remove => (old, 0),
        }
    }

    fn finish(mut self, mut head: Vec<Splice>, payload: Bytes) -> Result<Rewrite, RewriteError> {
        let request = &self.unit.request.head;
        let whole = matches!(self.unit.part, Part::Document(_));
        if whole && payload.len() != self.payload().len() {
            for field in request.fields() {
                let name = request.bytes(field.name);
                let edited = head.iter().any(|splice| {
                    splice.range.start < field.line.range().end && field.line.range().start < splice.range.end
                });
                if name.eq_ignore_ascii_case(b"content-length") && !edited {
                    let length = payload.len().to_string().into_bytes();
                    head.push(Splice::length(field.value.range(), length));
                }
            }
        }
        if whole {
            let edited = |range: &Range<usize>| {
                head.iter().any(|splice| splice.range.start < range.end && range.start < splice.range.end)
            };
            let mut digests = digests::follow(request, &self.payload(), &payload);
            digests.retain(|splice| splice.bytes != request.raw()[splice.range.clone()] && !edited(&splice.range));
            head.extend(digests);
        }
        splice::order(&mut head)?;
        let in_body = std::mem::take(&mut self.applied);
        self.note(PartOf::Head, &head);
        self.applied.extend(in_body);
        let first = self.applied.iter().find_map(|applied| applied.edit).unwrap_or_default();
        let (before, after) = self.body_and_again(&payload).ok_or(RewriteError::Encoding { edit: first })?;
        let with_head = matches!(self.unit.part, Part::Document(_) | Part::Head);
        let raw: &[u8] = if with_head { request.raw() } else { &[] };
        let new_head = apply(raw, if with_head { &head } else { &[] });
        Ok(Rewrite {
            rest_before: self.rest(raw, &before, |applied| applied.before),
            rest_after: self.rest(&new_head, &after, |applied| applied.after),
            head: head
                .into_iter()
                .map(|splice| HeadEdit { span: Span::of(splice.range), bytes: splice.bytes })
                .collect(),
            payload,
            body: after,
            applied: self.applied,
        })
    }

    /// The content-decoded body as it came, and as a receiver decodes it from the new payload.
    fn body_and_again(&self, payload: &Bytes) -> Option<(Bytes, Bytes)> {
        let Some(body) = self.decoded.body else { return Some((Bytes::new(), Bytes::new())) };
        let before = self.layer(body)?.content.clone();
        if *payload == self.payload() {
            return Some((before.clone(), before));
        }
        let mut codecs = Vec::new();
        let mut layer = self.layer(body)?;
        while let Origin::Leaf { leaf, codec, .. } = &layer.origin {
            codecs.push(codec);
            layer = self.layer(leaf.layer)?;
        }
        let mut after = payload.clone();
        for codec in codecs.iter().rev() {
            after = recode::decode(codec, &after)?.into();
        }
        Some((before, after))
    }

    /// Digest of all that no applied edit covers.
    fn rest(&self, head: &[u8], body: &[u8], span: impl Fn(&AppliedEdit) -> Span) -> [u8; 32] {
        let mut digest = Sha256::new();
        for (part, bytes) in [(PartOf::Head, head), (PartOf::Body, body)] {
            let mut at = 0;
            for applied in self.applied.iter().filter(|applied| applied.part == part) {
                let Range { start, end } = span(applied).range();
                digest.update(bytes.get(at..start).unwrap_or_default());
                at = at.max(end);
            }
            digest.update(bytes.get(at..).unwrap_or_default());
        }
        digest.finalize().into()
    }
}

/// The splice that an edit of a leaf's text is in the leaf's own layer.
fn value_splice(
    raw: &[u8],
    edit: &Edit,
    change: &Change,
    window: Option<Range<usize>>,
    index: usize,
) -> Result<Splice, RewriteError> {
    let text = match change {
        Change::Replace(text) => text.as_str(),
        Change::Remove => "",
    };
    let leaf = edit.target.raw;
    let at = leaf.start as usize;
    let whole = |bytes: Vec<u8>| Splice { range: leaf.range(), bytes, edits: vec![index], leaf: leaf.range() };
    match edit.target.spelling {
        Spelling::JsonToken => {
            let window = window.unwrap_or(0..raw.len());
            let misplaced = RewriteError::Misplaced { edit: index };
            let (before, after) = (raw.get(..window.start), raw.get(window.end..));
            let token = [before.ok_or(misplaced.clone())?, text.as_bytes(), after.ok_or(misplaced)?].concat();
            let kept = match raw {
                b"true" | b"false" => matches!(&token[..], b"true" | b"false"),
                b"null" => token == b"null",
                _ => is_json_number(&token),
            };
            if kept { Ok(whole(token)) } else { Err(RewriteError::WrongType { edit: index }) }
        }
        Spelling::Varint | Spelling::Fixed | Spelling::Packed => {
            let bytes = match edit.target.spelling {
                Spelling::Varint => lengths::varint_of(text),
                Spelling::Packed => msgpack::number_of(text, raw),
                _ => lengths::fixed_of(text, raw),
            };
            bytes.map(whole).ok_or(RewriteError::WrongType { edit: index })
        }
        spelling => {
            let script = Script::of(spelling);
            let window = window.unwrap_or_else(|| 0..script.decode(raw).len());
            let splice = Splice { range: window, bytes: text.into(), edits: vec![index], leaf: 0..0 };
            let mut spelled = script.spell(raw, std::slice::from_ref(&splice))?.remove(0);
            spelled.range = spelled.range.start + at..spelled.range.end + at;
            spelled.leaf = leaf.range();
            Ok(spelled)
        }
    }
}
